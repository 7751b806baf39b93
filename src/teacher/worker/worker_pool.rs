//! The workers of one teacher: starts them, receives their messages on one channel, reaps exited
//! workers, kills unresponsive ones. A worker is loading, idle, busy with one [`WorkItem`], or off.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use super::{
    process::{WorkerExit, WorkerMessage, WorkerProcess},
    protocol::{Command, Report},
    queue::WorkItem,
};
#[cfg(all(target_os = "linux", feature = "remote"))]
use crate::teacher::remote::RemoteOptions;
use crate::teacher::{TeacherError, TeacherIdentity, llama::LlamaOptions};

/// How often in a row a worker may end while it loads the model.
const MAX_LOADS: u8 = 2;
/// The same if the model was loaded before and the worker was killed from outside.
const MAX_LOADS_IF_KILLED: u8 = 8;

/// How workers are started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// This program, or another one with the command `teacher-worker`.
    pub program: PathBuf,
    pub model: PathBuf,
    pub options: LlamaOptions,
    /// The engine that answers, unless the worker runs one. `model` is then where its tokenizer and
    /// chat template come from.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    pub remote: Option<RemoteOptions>,
    /// Number of workers, each with the whole model; at least 1.
    pub replicas: usize,
    /// A busy worker that is silent for this long counts as hung.
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

    /// Whether the engine is behind addresses.
    fn connects(&self) -> bool {
        #[cfg(all(target_os = "linux", feature = "remote"))]
        return self.remote.is_some();
        #[cfg(not(all(target_os = "linux", feature = "remote")))]
        false
    }

    /// What a worker is told first.
    fn load_command(&self, replica: usize) -> Command {
        let path = self.model.clone();
        #[cfg(all(target_os = "linux", feature = "remote"))]
        if let Some(options) = self.remote.clone() {
            return Command::LoadRemote { path, options };
        }
        Command::Load { path, options: self.options(replica) }
    }

    /// The options of one worker. Several workers are distributed over the devices, one device
    /// each.
    fn options(&self, replica: usize) -> LlamaOptions {
        let mut options = self.options.clone();
        if self.replicas > 1
            && let Some(device) = options.devices.get(replica % options.devices.len().max(1))
        {
            options.devices = vec![*device];
            // Only the workers on the same device share its memory.
            options.replicas = self.replicas.div_ceil(self.options.devices.len());
        }
        options
    }
}

/// All workers of a teacher.
pub(super) struct WorkerPool {
    launch: Launch,
    pub identity: TeacherIdentity,
    pub slots: Vec<Slot>,
    sender: Sender<Envelope>,
    receiver: Receiver<Envelope>,
    /// Number of processes started so far.
    started: u64,
}

/// A message of a worker.
struct Envelope {
    slot: usize,
    /// Number of the process that sent it.
    process: u64,
    message: WorkerMessage,
}

pub(super) enum WorkerState {
    Off,
    Loading,
    Idle,
    Busy { item: WorkItem, begun: HashSet<usize> },
    Measuring,
}

/// A slot for one worker, filled by one process after another.
pub(super) struct Slot {
    pub state: WorkerState,
    pub process: Option<WorkerProcess>,
    /// Number of the process, so that late messages of its predecessor are recognised.
    pub process_number: u64,
    pub last_heard: Instant,
    /// Why the supervisor killed the process.
    kill_reason: Option<String>,
    failed_loads: u8,
}

impl Slot {
    /// When the worker counts as hung, unless it sends something before.
    fn deadline(&self, watchdog: Option<Duration>) -> Option<Instant> {
        let factor = match self.state {
            WorkerState::Busy { .. } | WorkerState::Measuring => 1,
            // Loading a large file from a slow disk sends no message for a long time.
            WorkerState::Loading => 4,
            WorkerState::Off | WorkerState::Idle => return None,
        };
        let limit = watchdog.filter(|_| self.kill_reason.is_none())?;
        Some(self.last_heard + factor * limit)
    }
}

impl WorkerPool {
    /// Starts the workers and waits until all have loaded the model.
    ///
    /// # Errors
    /// Errors of the engine about the model; a program that does not start; a worker that ends
    /// twice while it loads the model.
    pub(super) fn start(launch: Launch) -> Result<Self, TeacherError> {
        let (sender, receiver) = mpsc::channel();
        let slot = || Slot {
            state: WorkerState::Off,
            process: None,
            process_number: 0,
            last_heard: Instant::now(),
            kill_reason: None,
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
            remote: None,
        };
        let mut pool = Self { launch, identity: unknown, slots, sender, receiver, started: 0 };
        for slot in 0..pool.slots.len() {
            pool.start_worker(slot)?;
        }
        while pool.slots.iter().any(|slot| matches!(slot.state, WorkerState::Loading)) {
            for (slot, message) in pool.receive() {
                match message {
                    WorkerMessage::Report(report) => pool.finish_loading(slot, *report)?,
                    WorkerMessage::Ended(fault) => {
                        let exit = pool.reap(slot, fault);
                        pool.retry_loading(slot, &exit)?;
                    }
                }
            }
        }
        Ok(pool)
    }

    /// Starts a worker in `slot` and tells it to load the model.
    pub(super) fn start_worker(&mut self, slot: usize) -> Result<(), TeacherError> {
        self.started += 1;
        let (sender, number) = (self.sender.clone(), self.started);
        let process =
            WorkerProcess::start(&self.launch.program, self.launch.connects(), move |message| {
                // It fails only when the pool was dropped and nothing receives any more.
                let _ = sender.send(Envelope { slot, process: number, message });
            })
            .map_err(|error| TeacherError::Worker {
                message: format!("does not start: {error}"),
                hint: "--in-process runs the teacher without a process of its own".to_owned(),
            })?;
        process.send(self.launch.load_command(slot));
        let slot = &mut self.slots[slot];
        slot.state = WorkerState::Loading;
        slot.last_heard = Instant::now();
        slot.process = Some(process);
        slot.process_number = number;
        slot.kill_reason = None;
        Ok(())
    }

    /// Handles the answer to `Load`.
    pub(super) fn finish_loading(
        &mut self,
        slot: usize,
        report: Report,
    ) -> Result<(), TeacherError> {
        self.slots[slot].state = WorkerState::Off;
        let identity = match report {
            Report::Loaded(identity) => identity,
            Report::Failed(error) => return Err(error),
            other => return Err(unexpected_report(&other)),
        };
        if self.identity.sha256.is_empty() {
            self.identity = identity;
        } else if !self.identity.is_same_model(&identity) {
            return Err(match identity.remote {
                None => TeacherError::Load {
                    path: identity.file,
                    message: "it was changed during the run".to_owned(),
                },
                Some(remote) => TeacherError::Address {
                    address: remote.addresses.join(", "),
                    message: "another model answers there than at the start".to_owned(),
                    hint: "start the engine with the old model again".to_owned(),
                },
            });
        }
        self.slots[slot].state = WorkerState::Idle;
        self.slots[slot].failed_loads = 0;
        Ok(())
    }

    /// Restarts a worker that ended while it loaded the model, unless that happened too often.
    pub(super) fn retry_loading(
        &mut self,
        slot: usize,
        exit: &WorkerExit,
    ) -> Result<(), TeacherError> {
        self.slots[slot].failed_loads += 1;
        let failed_loads = self.slots[slot].failed_loads;
        let was_loaded = !self.identity.sha256.is_empty();
        let limit = if was_loaded && exit.killed { MAX_LOADS_IF_KILLED } else { MAX_LOADS };
        if failed_loads < limit {
            return self.start_worker(slot);
        }
        let hint = if exit.killed {
            "probably out of memory: choose a smaller model, or lower `teacher.context` or `teacher.slots`"
        } else {
            "the model file may be damaged; if a GPU driver fails, lower `teacher.gpu_layers`"
        };
        Err(TeacherError::Worker {
            message: format!(
                "ended {failed_loads} times while it loaded {}: {}",
                self.launch.model.display(),
                exit.description
            ),
            hint: hint.to_owned(),
        })
    }

    /// Removes the process that ended from its slot. `fault` is how it broke the protocol, if it
    /// did.
    pub(super) fn reap(&mut self, slot: usize, fault: Option<String>) -> WorkerExit {
        let slot = &mut self.slots[slot];
        let reason = slot
            .kill_reason
            .take()
            .or(fault.map(|fault| format!("its output is invalid: {fault}")));
        let Some(mut process) = slot.process.take() else {
            return WorkerExit { description: "no process".to_owned(), killed: false };
        };
        match reason {
            Some(description) => {
                process.kill();
                WorkerExit { description, killed: false }
            }
            None => process.exit(),
        }
    }

    /// Waits for messages of the workers and returns all that have arrived. Kills workers that were
    /// silent for too long.
    pub(super) fn receive(&mut self) -> Vec<(usize, WorkerMessage)> {
        let watchdog = self.launch.watchdog;
        let deadline = self.slots.iter().filter_map(|slot| slot.deadline(watchdog)).min();
        let timeout = deadline.map_or(Duration::from_secs(3600), |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let mut envelopes = Vec::new();
        match self.receiver.recv_timeout(timeout) {
            Ok(envelope) => envelopes.push(envelope),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("`sender` keeps the channel open"),
        }
        envelopes.extend(self.receiver.try_iter());
        envelopes.retain(|envelope| self.slots[envelope.slot].process_number == envelope.process);
        for envelope in &envelopes {
            self.slots[envelope.slot].last_heard = Instant::now();
        }
        for slot in &mut self.slots {
            if slot.deadline(watchdog).is_some_and(|deadline| deadline <= Instant::now()) {
                slot.kill_reason = Some(format!(
                    "no sign of life for {} s (`teacher.watchdog_seconds`)",
                    watchdog.unwrap_or_default().as_secs()
                ));
                if let Some(process) = &mut slot.process {
                    process.kill();
                }
            }
        }
        envelopes.into_iter().map(|envelope| (envelope.slot, envelope.message)).collect()
    }
}

/// The error for a worker that breaks the protocol.
pub(super) fn unexpected_report(report: &Report) -> TeacherError {
    // Only the kind: the content may be a text of the task.
    let text = format!("{report:?}");
    let kind: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    TeacherError::Worker {
        message: format!("sent an unexpected message: {kind}"),
        hint: "the program was replaced while it ran, or this is an internal error in promptmix"
            .to_owned(),
    }
}
