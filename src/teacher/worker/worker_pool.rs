//! The workers of one teacher: starts them, hears them all through one channel, buries the dead,
//! ends those that fall silent. A worker is loading, idle, busy with one [`WorkItem`] of work, or off.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use super::{
    process::{Fate, Process, WorkerMessage},
    protocol::{Command, Report},
    queue::WorkItem,
};
use crate::teacher::{TeacherError, TeacherIdentity, llama::LlamaOptions};

/// Deaths in a row while a model is loaded; more of them where it was loaded before and the worker
/// was killed from outside.
const LOADS: u8 = 2;
const LOADS_IF_KILLED: u8 = 8;
/// How workers are started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
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
    pub(crate) fn this_program() -> PathBuf {
        match std::env::current_exe() {
            Ok(path) if path.exists() => path,
            _ => PathBuf::from("/proc/self/exe"),
        }
    }

    /// The options of one worker: with several of them, its one of the devices.
    fn options(&self, replica: usize) -> LlamaOptions {
        let mut options = self.options.clone();
        if self.replicas > 1
            && let Some(device) = options.devices.get(replica % options.devices.len().max(1))
        {
            options.devices = vec![*device];
            // It shares that device with fewer of them.
            options.replicas = self.replicas.div_ceil(self.options.devices.len());
        }
        options
    }
}

/// All workers of a teacher.
pub(crate) struct WorkerPool {
    launch: Launch,
    pub identity: TeacherIdentity,
    pub slots: Vec<Slot>,
    post: Sender<Envelope>,
    inbox: Receiver<Envelope>,
    started: u64,
}

/// From which slot, from which of its processes, what.
type Envelope = (usize, u64, WorkerMessage);

pub(crate) enum State {
    Off,
    Loading,
    Idle,
    Busy { piece: WorkItem, begun: HashSet<usize> },
    Measuring,
}

/// The place of one worker.
pub(crate) struct Slot {
    pub state: State,
    pub process: Option<Process>,
    /// Number of the process, so that words of a dead one are not taken for its successor's.
    pub number: u64,
    pub heard: Instant,
    /// Why we killed it ourselves.
    verdict: Option<String>,
    failed_loads: u8,
}

impl Slot {
    /// When the worker counts as hung, unless something is heard of it.
    fn deadline(&self, watchdog: Option<Duration>) -> Option<Instant> {
        let patience = match self.state {
            State::Busy { .. } | State::Measuring => 1,
            // A large file from a slow disk says nothing for long.
            State::Loading => 4,
            State::Off | State::Idle => return None,
        };
        watchdog.filter(|_| self.verdict.is_none()).map(|limit| self.heard + patience * limit)
    }
}

impl WorkerPool {
    /// Starts the workers and waits until all have loaded the model.
    ///
    /// # Errors
    /// Whatever the engine says of the model; a program that does not start; a worker that dies
    /// while loading, twice.
    pub(super) fn start(launch: Launch) -> Result<Self, TeacherError> {
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
            template_sha256: String::new(),
            context: 0,
        };
        let mut crew = Self { launch, identity: unknown, slots, post, inbox, started: 0 };
        for slot in 0..crew.slots.len() {
            crew.turn_on(slot)?;
        }
        while crew.slots.iter().any(|slot| matches!(slot.state, State::Loading)) {
            for (slot, heard) in crew.listen() {
                match heard {
                    WorkerMessage::Report(report) => crew.loaded(slot, *report)?,
                    WorkerMessage::Ended(fault) => {
                        let fate = crew.bury(slot, fault);
                        crew.died_loading(slot, &fate)?;
                    }
                }
            }
        }
        Ok(crew)
    }

    pub(super) fn turn_on(&mut self, slot: usize) -> Result<(), TeacherError> {
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
        place.heard = Instant::now();
        place.process = Some(process);
        place.number = number;
        place.verdict = None;
        Ok(())
    }

    /// The answer to `Load`.
    pub(super) fn loaded(&mut self, slot: usize, report: Report) -> Result<(), TeacherError> {
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

    pub(super) fn died_loading(&mut self, slot: usize, fate: &Fate) -> Result<(), TeacherError> {
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
    pub(super) fn bury(&mut self, slot: usize, fault: Option<String>) -> Fate {
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
    pub(super) fn listen(&mut self) -> Vec<(usize, WorkerMessage)> {
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
}

/// The error of a worker that does not keep to the protocol.
pub(crate) fn out_of_turn(report: &Report) -> TeacherError {
    // Its kind alone: what it holds may be a text.
    let text = format!("{report:?}");
    let kind: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    TeacherError::Worker {
        message: format!("spoke out of turn: {kind}"),
        hint: "the program was replaced while it ran, or this is a fault of its own".to_owned(),
    }
}
