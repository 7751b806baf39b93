//! The parent's side: hands out work to the crew of workers and gathers their answers.
//!
//! One loop serves all workers. Who is asked what, and what becomes of requests that a worker died
//! on, is the [`Queue`]'s business.

use std::{collections::HashSet, time::Instant};

use super::{
    process::{Fate, WorkerMessage},
    protocol::{Command, Report},
    queue::Queue,
    worker_pool::{Launch, Slot, State, WorkerPool, out_of_turn},
};
use crate::teacher::{
    GenerateRequest, Generated, Measured, Poison, ScoreRequest, Scored, Sink, Step, Teacher,
    TeacherError, TeacherEvent, TeacherIdentity,
};

/// Bytes of prompts that are sent at once.
const PIECE_BYTES: usize = 64 << 20;
/// TokenBytes per worker, where there are several workers: enough that they end together.
const PIECES: usize = 4;
/// Deaths over one request alone after which it is poison. A kill from outside says less about the
/// request than an end of its own.
const PATIENCE: u8 = 2;
const PATIENCE_IF_KILLED: u8 = 8;
/// Deaths in a row without a single answer in between after which no request is to blame any more.
const FRUITLESS: usize = 24;

/// A teacher in worker processes.
pub(crate) struct Supervised {
    crew: WorkerPool,
}

impl Supervised {
    /// Starts the workers and waits until all have loaded the model.
    ///
    /// # Errors
    /// Whatever the engine says of the model; a program that does not start; a worker that dies
    /// while loading, twice.
    pub(crate) fn start(launch: Launch) -> Result<Self, TeacherError> {
        Ok(Self { crew: WorkerPool::start(launch)? })
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
        let pieces = if self.crew.slots.len() > 1 { self.crew.slots.len() * PIECES } else { 1 };
        let pieces = pieces.max(bytes.div_ceil(PIECE_BYTES)).max(1);
        let queue = Queue::new(&order, requests.len().div_ceil(pieces));
        let mut shift =
            Shift { requests, queue, withheld: Vec::new(), fruitless: 0, answered: false };
        let outcome = self.run_shift(&mut shift, sink);
        if outcome.is_err() {
            // What they are at is not wanted any more.
            for slot in &mut self.crew.slots {
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
            if shift.queue.is_done() && !self.crew.slots.iter().any(busy) {
                let withheld = std::mem::take(&mut shift.withheld);
                if let Some((request, _)) = withheld.first().filter(|_| !shift.answered) {
                    self.prove_sound(&shift.requests[*request])?;
                }
                return deliver(sink, withheld);
            }
            for slot in 0..self.crew.slots.len() {
                self.employ(slot, shift)?;
            }
            let (mut answers, mut outcome) = (Vec::new(), Ok(()));
            for (slot, heard) in self.crew.listen() {
                let handled = match heard {
                    WorkerMessage::Report(report) => {
                        self.report(slot, *report, shift, &mut answers)
                    }
                    WorkerMessage::Ended(fault) => {
                        let fate = self.crew.bury(slot, fault);
                        let told = sink(TeacherEvent::Restarted(fate.text.clone()));
                        self.died(slot, &fate, shift).and(told.map_err(TeacherError::Stopped))
                    }
                };
                outcome = outcome.and(handled);
            }
            if !answers.is_empty() {
                (shift.fruitless, shift.answered) = (0, true);
                answers.append(&mut shift.withheld);
                deliver(sink, answers)?;
            }
            outcome?;
        }
    }

    /// Where every request was given up the machine may be to blame instead: a harmless request, of
    /// the kind of `request`, tells.
    fn prove_sound<W: Work>(&mut self, request: &W) -> Result<(), TeacherError> {
        let harmless = [request.harmless()];
        let queue = Queue::new(&[0], 1);
        let mut shift = Shift {
            requests: &harmless,
            queue,
            withheld: Vec::new(),
            fruitless: 0,
            answered: true,
        };
        let mut poison = None;
        self.run_shift(&mut shift, &mut |event| {
            if let TeacherEvent::Answers(answers) = event {
                poison = answers.into_iter().find_map(|(_, answer)| answer.err());
            }
            Ok(())
        })?;
        match poison {
            None => Ok(()),
            Some(poison) => Err(TeacherError::Worker {
                message: format!("answers nothing at all: {poison}"),
                hint:
                    "a smaller model, a lower `teacher.slots` or `teacher.gpu_layers = 0` may help"
                        .to_owned(),
            }),
        }
    }

    /// Gives a worker something to do, if it can do something and there is something to do.
    fn employ<W: Work>(
        &mut self,
        slot: usize,
        shift: &mut Shift<'_, W>,
    ) -> Result<(), TeacherError> {
        match self.crew.slots[slot].state {
            State::Off if shift.queue.is_waiting() => self.crew.turn_on(slot),
            State::Idle => {
                let Some(piece) = shift.queue.next() else { return Ok(()) };
                let requests = piece.requests.iter().map(|at| shift.requests[*at].clone());
                let place = &mut self.crew.slots[slot];
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
        let State::Busy { piece, begun } = &mut self.crew.slots[slot].state else {
            return self.crew.loaded(slot, report);
        };
        let request = |at: usize| piece.requests.get(at).copied();
        match report {
            Report::Finished => {
                let missing = shift.queue.unanswered(piece).first().copied();
                self.crew.slots[slot].state = State::Idle;
                match missing {
                    None => Ok(()),
                    Some(request) => Err(TeacherError::Decode {
                        message: format!(
                            "request {} got no answer\nhint: run the same command again; what was finished is kept",
                            shift.requests[request].id()
                        ),
                    }),
                }
            }
            Report::Failed(error) => {
                self.crew.slots[slot].state = State::Idle;
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
        let (piece, begun) = match std::mem::replace(&mut self.crew.slots[slot].state, State::Off) {
            State::Busy { piece, begun } => (piece, begun),
            State::Loading => return self.crew.died_loading(slot, fate),
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
    /// Whether there was an answer at all.
    answered: bool,
}

impl Teacher for Supervised {
    fn identity(&self) -> &TeacherIdentity {
        &self.crew.identity
    }

    fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        let mut deaths = 0;
        loop {
            match self.crew.slots[0].state {
                State::Off => self.crew.turn_on(0)?,
                State::Idle => {
                    let place = &mut self.crew.slots[0];
                    if let Some(process) = &place.process {
                        process.send(Command::Measure(prompts.to_vec()));
                    }
                    (place.heard, place.state) = (Instant::now(), State::Measuring);
                }
                _ => {}
            }
            let mut outcome = None;
            for (slot, heard) in self.crew.listen() {
                let state = &mut self.crew.slots[slot].state;
                let measuring = matches!(state, State::Measuring);
                match heard {
                    WorkerMessage::Report(report) if measuring => {
                        *state = State::Idle;
                        outcome = Some(match *report {
                            Report::Measured(measured) => Ok(measured),
                            Report::Failed(error) => Err(error),
                            other => Err(out_of_turn(&other)),
                        });
                    }
                    WorkerMessage::Report(report) => self.crew.loaded(slot, *report)?,
                    WorkerMessage::Ended(fault) => {
                        let loading =
                            matches!(std::mem::replace(state, State::Off), State::Loading);
                        let fate = self.crew.bury(slot, fault);
                        if loading {
                            self.crew.died_loading(slot, &fate)?;
                        }
                        deaths += u8::from(measuring);
                        if deaths >= PATIENCE {
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
            if let Some(outcome) = outcome {
                return outcome;
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
    /// A request of this kind that any sound engine answers.
    fn harmless(&self) -> Self;
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

    fn harmless(&self) -> Self {
        let (id, prompt) = ("a trial".to_owned(), "Hello".to_owned());
        Self { id, prompt, constrained: false, max_tokens: 1, ..self.clone() }
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

    fn harmless(&self) -> Self {
        let (id, prompt) = ("a trial".to_owned(), "Hello".to_owned());
        Self { id, prompt, candidates: vec!["yes".to_owned()], ..self.clone() }
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
    sink(TeacherEvent::Answers(answers)).map_err(TeacherError::Stopped)
}
