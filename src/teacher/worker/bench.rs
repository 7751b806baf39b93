//! Measures the engine where it works: in a worker, with a worker's environment.

use std::sync::mpsc::{self, Receiver};

use super::{
    process::{Process, WorkerMessage},
    protocol::{Command, Report},
    worker_pool::{Launch, out_of_turn},
};
use crate::teacher::{
    TeacherError,
    llama::bench::{BenchReport, Measure, Workload},
};

/// Runs `workload` in a worker; `done` hears of each measure.
///
/// # Errors
/// Whatever the engine says; a worker that dies.
pub(crate) fn bench(
    launch: &Launch,
    workload: &Workload,
    mut done: impl FnMut(&Measure),
) -> Result<BenchReport, TeacherError> {
    let mut talk = WorkerConnection::begin(launch)?;
    talk.say(Command::Bench(workload.clone()));
    loop {
        match talk.hear()? {
            Report::Measure(measure) => done(&measure),
            Report::Benched(report) => return Ok(*report),
            other => return Err(out_of_turn(&other)),
        }
    }
}

/// The prompts of `workload` as token numbers.
///
/// # Errors
/// As [`bench`].
pub(crate) fn bench_prompts(
    launch: &Launch,
    workload: &Workload,
) -> Result<Vec<Vec<i32>>, TeacherError> {
    let mut talk = WorkerConnection::begin(launch)?;
    talk.say(Command::BenchPrompts(workload.clone()));
    match talk.hear()? {
        Report::BenchPrompts(prompts) => Ok(prompts),
        other => Err(out_of_turn(&other)),
    }
}

/// A worker without a supervisor: a measurement that dies is not taken up again.
struct WorkerConnection {
    process: Option<Process>,
    inbox: Receiver<WorkerMessage>,
}

impl WorkerConnection {
    fn begin(launch: &Launch) -> Result<Self, TeacherError> {
        let (post, inbox) = mpsc::channel();
        let process = Process::start(&launch.program, move |heard| {
            // Nobody listens any more only when the measurement is over.
            let _ = post.send(heard);
        })
        .map_err(|error| TeacherError::Worker {
            message: format!("does not start: {error}"),
            hint: "the program's own file must be executable".to_owned(),
        })?;
        process.send(Command::Load { path: launch.model.clone(), options: launch.options.clone() });
        let mut talk = Self { process: Some(process), inbox };
        match talk.hear()? {
            Report::Loaded(_) => Ok(talk),
            other => Err(out_of_turn(&other)),
        }
    }

    fn hear(&mut self) -> Result<Report, TeacherError> {
        match self.inbox.recv() {
            Ok(WorkerMessage::Report(report)) => match *report {
                Report::Failed(error) => Err(error),
                report => Ok(report),
            },
            Ok(WorkerMessage::Ended(_)) | Err(_) => {
                let fate = self.process.take().map(|process| process.fate().text);
                Err(TeacherError::Worker {
                    message: format!("ended in the middle of it: {}", fate.unwrap_or_default()),
                    hint: "lower `teacher.slots` or `teacher.context`, or choose a smaller model"
                        .to_owned(),
                })
            }
        }
    }

    fn say(&self, command: Command) {
        if let Some(process) = &self.process {
            process.send(command);
        }
    }
}
