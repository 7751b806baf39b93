//! The parent's side: starts workers, hands out work, replaces workers that die or fall silent.
//!
//! One loop serves all workers; what they say comes through one channel. A worker is loading, idle,
//! busy with one [`Piece`] of the [`Queue`], or off.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use super::{
    process::{Fate, Heard, Process},
    protocol::{Command, Report},
    queue::{Piece, Queue},
};
use crate::teacher::{
    GenerateRequest, Generated, Measured, News, Poison, ScoreRequest, Scored, Sink, Step, Teacher,
    TeacherError, TeacherIdentity, llama::LlamaOptions,
};

/// Bytes of prompts that are sent at once.
const PIECE_BYTES: usize = 64 << 20;
/// Pieces per worker, where there are several workers: enough that they end together.
const PIECES: usize = 4;
/// Deaths over one request alone after which it is poison. A kill from outside says less about the
/// request than an end of its own.
const PATIENCE: u8 = 2;
const PATIENCE_IF_KILLED: u8 = 4;
/// Deaths in a row while a model is loaded; more of them where it was loaded before and the worker
/// was killed from outside.
const LOADS: u8 = 2;
const LOADS_IF_KILLED: u8 = 8;
/// Deaths in a row without a single answer in between after which no request is to blame any more.
const FRUITLESS: usize = 24;

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// This program, or one that understands `teacher-worker` like it.
    pub program: PathBuf,
    pub model: PathBuf,
    pub options: LlamaOptions,
    /// Workers side by side, each with a whole model; at least 1.
    pub replicas: usize,
    /// A busy worker that is silent for so long counts as hung.
    pub watchdog: Option<Duration>,
}

impl Launch {
    /// The running program, even if its file was replaced since it was started.
    pub fn this_program() -> PathBuf {
        match std::env::current_exe() {
            Ok(path) if path.exists() => path,
            _ => PathBuf::from("/proc/self/exe"),
        }
    }

    /// The options of one worker: its share of the threads, its one of the devices.
    fn options(&self, replica: usize) -> LlamaOptions {
        let mut options = self.options.clone();
        if self.replicas > 1 {
            let all = match options.threads {
                0 => thread::available_parallelism().map_or(1, usize::from),
                threads => threads,
            };
            options.threads = (all / self.replicas).max(1);
            if let Some(device) = options.devices.get(replica % options.devices.len().max(1)) {
                options.devices = vec![*device];
            }
        }
        options
    }
}

/// A teacher in worker processes.
pub struct Supervised {
    launch: Launch,
    identity: TeacherIdentity,
    slots: Vec<Slot>,
    post: Sender<Letter>,
    inbox: Receiver<Letter>,
    started: u64,
}

/// From which slot, from which of its processes, what.
type Letter = (usize, u64, Heard);

enum State {
    Off,
    Loading,
    Idle,
    Busy { piece: Piece, begun: HashSet<usize> },
    Measuring,
}

/// The place of one worker.
struct Slot {
    state: State,
    process: Option<Process>,
    /// Number of the process, so that words of a dead one are not taken for its successor's.
    number: u64,
    heard: Instant,
    /// Why we killed it ourselves.
    verdict: Option<String>,
    failed_loads: u8,
}

impl Slot {
    /// When the worker counts as hung, unless something is heard of it.
    fn deadline(&self, watchdog: Option<Duration>) -> Option<Instant> {
        let watched = matches!(self.state, State::Busy { .. } | State::Measuring);
        watchdog.filter(|_| watched && self.verdict.is_none()).map(|limit| self.heard + limit)
    }
}

impl Supervised {
    /// Starts the workers and waits until all have loaded the model.
    ///
    /// # Errors
    /// Whatever the engine says of the model; a program that does not start; a worker that dies
    /// while loading, twice.
    pub fn start(launch: Launch) -> Result<Self, TeacherError> {
        let (post, inbox) = mpsc::channel();
        let slot = || Slot {
            state: State::Off,
            process: None,
            number: 0,
            heard: Instant::now(),
            verdict: None,
            failed_loads: 0,
        };
        let slots = (0..launch.replicas.max(1)).map(|_| slot()).collect();
        let unknown = TeacherIdentity {
            name: String::new(),
            file: PathBuf::new(),
            sha256: String::new(),
            parameters: 0,
            context: 0,
        };
        let mut teacher = Self { launch, identity: unknown, slots, post, inbox, started: 0 };
        for slot in 0..teacher.slots.len() {
            teacher.turn_on(slot)?;
        }
        while teacher.slots.iter().any(|slot| matches!(slot.state, State::Loading)) {
            for (slot, heard) in teacher.listen() {
                match heard {
                    Heard::Report(report) => teacher.loaded(slot, *report)?,
                    Heard::Ended(fault) => {
                        let fate = teacher.bury(slot, fault);
                        teacher.died_loading(slot, &fate)?;
                    }
                }
            }
        }
        Ok(teacher)
    }

    fn turn_on(&mut self, slot: usize) -> Result<(), TeacherError> {
        self.started += 1;
        let (post, number) = (self.post.clone(), self.started);
        let process = Process::start(&self.launch.program, move |heard| {
            // Nobody listens any more only when the teacher itself is gone.
            let _ = post.send((slot, number, heard));
        })
        .map_err(|error| TeacherError::Worker {
            message: format!("does not start: {error}"),
            hint: "--in-process does without it".to_owned(),
        })?;
        process.send(Command::Load {
            path: self.launch.model.clone(),
            options: self.launch.options(slot),
        });
        let place = &mut self.slots[slot];
        place.state = State::Loading;
        place.process = Some(process);
        place.number = number;
        place.verdict = None;
        Ok(())
    }

    /// The answer to `Load`.
    fn loaded(&mut self, slot: usize, report: Report) -> Result<(), TeacherError> {
        self.slots[slot].state = State::Off;
        let identity = match report {
            Report::Loaded(identity) => identity,
            Report::Failed(error) => return Err(error),
            other => return Err(out_of_turn(&other)),
        };
        if self.identity.sha256.is_empty() {
            self.identity = identity;
        } else if self.identity.sha256 != identity.sha256 {
            return Err(TeacherError::Load {
                path: identity.file,
                message: "it was changed during the run".to_owned(),
            });
        }
        self.slots[slot].state = State::Idle;
        self.slots[slot].failed_loads = 0;
        Ok(())
    }

    fn died_loading(&mut self, slot: usize, fate: &Fate) -> Result<(), TeacherError> {
        let place = &mut self.slots[slot];
        place.failed_loads += 1;
        let was_loaded = !self.identity.sha256.is_empty();
        let limit = if was_loaded && fate.killed { LOADS_IF_KILLED } else { LOADS };
        if place.failed_loads < limit {
            return self.turn_on(slot);
        }
        let hint = if fate.killed {
            "likely out of memory: choose a smaller model or lower `teacher.context` or `teacher.slots`"
        } else {
            "the model file may be damaged; a lower `teacher.gpu_layers` helps where a driver fails"
        };
        Err(TeacherError::Worker {
            message: format!(
                "ended {} times while it loaded {}: {}",
                place.failed_loads,
                self.launch.model.display(),
                fate.text
            ),
            hint: hint.to_owned(),
        })
    }

    /// Takes the process out of its place. `fault` says how it broke the protocol, if it did.
    fn bury(&mut self, slot: usize, fault: Option<String>) -> Fate {
        let place = &mut self.slots[slot];
        let verdict =
            place.verdict.take().or(fault.map(|fault| format!("its output is broken: {fault}")));
        let Some(mut process) = place.process.take() else {
            return Fate { text: "no process".to_owned(), killed: false };
        };
        match verdict {
            Some(text) => {
                process.kill();
                Fate { text, killed: false }
            }
            None => process.fate(),
        }
    }

    /// Waits for words of the workers, all that have come. Kills workers that are silent for too long.
    fn listen(&mut self) -> Vec<(usize, Heard)> {
        let watchdog = self.launch.watchdog;
        let first = self.slots.iter().filter_map(|slot| slot.deadline(watchdog)).min();
        let patience = first.map_or(Duration::from_secs(3600), |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let mut letters = Vec::new();
        match self.inbox.recv_timeout(patience) {
            Ok(letter) => letters.push(letter),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("`post` keeps the channel open"),
        }
        letters.extend(self.inbox.try_iter());
        letters.retain(|(slot, number, _)| self.slots[*slot].number == *number);
        for (slot, ..) in &letters {
            self.slots[*slot].heard = Instant::now();
        }
        for place in &mut self.slots {
            if place.deadline(watchdog).is_some_and(|deadline| deadline <= Instant::now()) {
                place.verdict = Some(format!(
                    "no sign of life for {} s (`teacher.watchdog_seconds`)",
                    watchdog.unwrap_or_default().as_secs()
                ));
                if let Some(process) = &mut place.process {
                    process.kill();
                }
            }
        }
        letters.into_iter().map(|(slot, _, heard)| (slot, heard)).collect()
    }

    /// Puts `requests` to the workers until each one is answered or given up.
    fn work<W: Work>(
        &mut self,
        requests: &[W],
        sink: Sink<'_, W::Answer>,
    ) -> Result<(), TeacherError> {
        // Prompts that begin alike are answered by the same worker.
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|request| requests[*request].prompt());
        let bytes: usize = requests.iter().map(|request| request.prompt().len()).sum();
        let pieces = if self.slots.len() > 1 { self.slots.len() * PIECES } else { 1 };
        let pieces = pieces.max(bytes.div_ceil(PIECE_BYTES)).max(1);
        let queue = Queue::new(&order, requests.len().div_ceil(pieces));
        let mut shift = Shift { requests, queue, withheld: Vec::new(), fruitless: 0 };
        let outcome = self.run_shift(&mut shift, sink);
        if outcome.is_err() {
            // What they are at is not wanted any more.
            for slot in &mut self.slots {
                if matches!(slot.state, State::Busy { .. }) {
                    (slot.process, slot.state, slot.number) = (None, State::Off, 0);
                }
            }
        }
        outcome
    }

    fn run_shift<W: Work>(
        &mut self,
        shift: &mut Shift<'_, W>,
        sink: Sink<'_, W::Answer>,
    ) -> Result<(), TeacherError> {
        loop {
            let busy = |slot: &Slot| matches!(slot.state, State::Busy { .. });
            if shift.queue.is_done() && !self.slots.iter().any(busy) {
                let withheld = std::mem::take(&mut shift.withheld);
                return deliver(sink, withheld);
            }
            for slot in 0..self.slots.len() {
                self.employ(slot, shift)?;
            }
            let (mut answers, mut outcome) = (Vec::new(), Ok(()));
            for (slot, heard) in self.listen() {
                let handled = match heard {
                    Heard::Report(report) => self.report(slot, *report, shift, &mut answers),
                    Heard::Ended(fault) => {
                        let fate = self.bury(slot, fault);
                        sink(News::Restarted(fate.text.clone())).map_err(TeacherError::Stopped)?;
                        self.died(slot, &fate, shift)
                    }
                };
                outcome = outcome.and(handled);
            }
            if !answers.is_empty() {
                shift.fruitless = 0;
                answers.append(&mut shift.withheld);
                deliver(sink, answers)?;
            }
            outcome?;
        }
    }

    /// Gives a worker something to do, if it can do something and there is something to do.
    fn employ<W: Work>(
        &mut self,
        slot: usize,
        shift: &mut Shift<'_, W>,
    ) -> Result<(), TeacherError> {
        match self.slots[slot].state {
            State::Off if shift.queue.is_waiting() => self.turn_on(slot),
            State::Idle => {
                let Some(piece) = shift.queue.next() else { return Ok(()) };
                let requests = piece.requests.iter().map(|at| shift.requests[*at].clone());
                let place = &mut self.slots[slot];
                if let Some(process) = &place.process {
                    process.send(W::command(requests.collect()));
                }
                place.heard = Instant::now();
                place.state = State::Busy { piece, begun: HashSet::new() };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn report<W: Work>(
        &mut self,
        slot: usize,
        report: Report,
        shift: &mut Shift<'_, W>,
        answers: &mut Vec<(usize, Result<W::Answer, Poison>)>,
    ) -> Result<(), TeacherError> {
        let State::Busy { piece, begun } = &mut self.slots[slot].state else {
            return self.loaded(slot, report);
        };
        let request = |at: usize| piece.requests.get(at).copied();
        match report {
            Report::Finished => {
                let missing = shift.queue.unanswered(piece).first().copied();
                self.slots[slot].state = State::Idle;
                match missing {
                    None => Ok(()),
                    Some(request) => Err(TeacherError::Decode {
                        message: format!("request {} got no answer", shift.requests[request].id()),
                    }),
                }
            }
            Report::Failed(error) => {
                self.slots[slot].state = State::Idle;
                Err(error)
            }
            other => match W::step(other) {
                Ok(Step::Began(at)) => {
                    begun.extend(at.into_iter().filter_map(request));
                    Ok(())
                }
                Ok(Step::Done(done)) => {
                    let done =
                        done.into_iter().filter_map(|(at, answer)| Some((request(at)?, answer)));
                    answers.extend(
                        done.filter(|(request, _)| shift.queue.answer(*request))
                            .map(|(request, answer)| (request, Ok(answer))),
                    );
                    Ok(())
                }
                Ok(Step::Alive) => Ok(()),
                Err(other) => Err(out_of_turn(&other)),
            },
        }
    }

    fn died<W: Work>(
        &mut self,
        slot: usize,
        fate: &Fate,
        shift: &mut Shift<'_, W>,
    ) -> Result<(), TeacherError> {
        let (piece, begun) = match std::mem::replace(&mut self.slots[slot].state, State::Off) {
            State::Busy { piece, begun } => (piece, begun),
            State::Loading => return self.died_loading(slot, fate),
            State::Off | State::Idle | State::Measuring => return Ok(()),
        };
        shift.fruitless += 1;
        if shift.fruitless >= FRUITLESS {
            return Err(TeacherError::Worker {
                message: format!("ended {FRUITLESS} times without one answer: {}", fate.text),
                hint: "the requests are not to blame; a smaller model, a lower `teacher.slots` or `teacher.gpu_layers = 0` may help".to_owned(),
            });
        }
        let patience = if fate.killed { PATIENCE_IF_KILLED } else { PATIENCE };
        if let Some(request) = shift.queue.died(&piece, &begun, patience) {
            let reason = format!("it ended the teacher's process each time: {}", fate.text);
            shift.withheld.push((request, Err(Poison { reason })));
        }
        Ok(())
    }
}

/// The work of one call.
struct Shift<'a, W: Work> {
    requests: &'a [W],
    queue: Queue,
    /// What was given up is told with the next answer: where nothing is answered at all, the fault
    /// is the machine's, and no request shall be remembered as poison.
    withheld: Vec<(usize, Result<W::Answer, Poison>)>,
    /// Deaths since the last answer.
    fruitless: usize,
}

impl Teacher for Supervised {
    fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        let mut deaths = 0;
        loop {
            match self.slots[0].state {
                State::Off => self.turn_on(0)?,
                State::Idle => {
                    let place = &mut self.slots[0];
                    if let Some(process) = &place.process {
                        process.send(Command::Measure(prompts.to_vec()));
                    }
                    (place.heard, place.state) = (Instant::now(), State::Measuring);
                }
                _ => {}
            }
            for (slot, heard) in self.listen() {
                let measuring = matches!(self.slots[slot].state, State::Measuring);
                match heard {
                    Heard::Report(report) if measuring => {
                        self.slots[slot].state = State::Idle;
                        return match *report {
                            Report::Measured(measured) => Ok(measured),
                            Report::Failed(error) => Err(error),
                            other => Err(out_of_turn(&other)),
                        };
                    }
                    Heard::Report(report) => self.loaded(slot, *report)?,
                    Heard::Ended(fault) => {
                        let fate = self.bury(slot, fault);
                        if matches!(self.slots[slot].state, State::Loading) {
                            self.died_loading(slot, &fate)?;
                            continue;
                        }
                        self.slots[slot].state = State::Off;
                        deaths += usize::from(measuring);
                        if deaths >= usize::from(PATIENCE) {
                            return Err(TeacherError::Worker {
                                message: format!(
                                    "ended {deaths} times over the prompts' lengths: {}",
                                    fate.text
                                ),
                                hint: "the model's tokenizer may be damaged; try another file"
                                    .to_owned(),
                            });
                        }
                    }
                }
            }
        }
    }

    fn generate(
        &mut self,
        requests: &[GenerateRequest],
        sink: Sink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        self.work(requests, sink)
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        self.work(requests, sink)
    }
}

/// What the two kinds of requests have in common.
trait Work: Clone {
    type Answer;
    fn id(&self) -> &str;
    fn prompt(&self) -> &str;
    fn command(requests: Vec<Self>) -> Command;
    /// The step that a report is, if it is one of this kind of work.
    fn step(report: Report) -> Result<Step<Self::Answer>, Report>;
}

impl Work for GenerateRequest {
    type Answer = Generated;

    fn id(&self) -> &str {
        &self.id
    }

    fn prompt(&self) -> &str {
        &self.prompt
    }

    fn command(requests: Vec<Self>) -> Command {
        Command::Generate(requests)
    }

    fn step(report: Report) -> Result<Step<Generated>, Report> {
        match report {
            Report::Generated(step) => Ok(step),
            other => Err(other),
        }
    }
}

impl Work for ScoreRequest {
    type Answer = Scored;

    fn id(&self) -> &str {
        &self.id
    }

    fn prompt(&self) -> &str {
        &self.prompt
    }

    fn command(requests: Vec<Self>) -> Command {
        Command::Score(requests)
    }

    fn step(report: Report) -> Result<Step<Scored>, Report> {
        match report {
            Report::Scored(step) => Ok(step),
            other => Err(other),
        }
    }
}

fn deliver<T>(
    sink: Sink<'_, T>,
    answers: Vec<(usize, Result<T, Poison>)>,
) -> Result<(), TeacherError> {
    if answers.is_empty() {
        return Ok(());
    }
    sink(News::Answers(answers)).map_err(TeacherError::Stopped)
}

pub(super) fn out_of_turn(report: &Report) -> TeacherError {
    let text = format!("{report:?}");
    TeacherError::Worker {
        message: format!("spoke out of turn: {}", text.chars().take(80).collect::<String>()),
        hint: "the program was replaced while it ran, or this is a fault of its own".to_owned(),
    }
}
