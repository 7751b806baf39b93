//! Benchmarks the engine where it normally runs: in a worker, with a worker's environment.

use std::sync::mpsc::{self, Receiver};

use super::{
    process::{WorkerMessage, WorkerProcess},
    protocol::{Command, Report},
    worker_pool::{Launch, unexpected_report},
};
use crate::teacher::{
    TeacherError,
    llama::bench::{BenchReport, Measure, Workload},
};

/// Runs `workload` in a worker. `on_measure` receives each measurement as soon as it is finished.
///
/// # Errors
/// Errors of the engine; a worker that ends.
pub(crate) fn bench(
    launch: &Launch,
    workload: &Workload,
    mut on_measure: impl FnMut(&Measure),
) -> Result<BenchReport, TeacherError> {
    let mut connection = WorkerConnection::open(launch)?;
    connection.send(Command::Bench(workload.clone()));
    loop {
        match connection.receive()? {
            Report::Measure(measure) => on_measure(&measure),
            Report::Benched(report) => return Ok(*report),
            other => return Err(unexpected_report(&other)),
        }
    }
}

/// The prompts of `workload` as token numbers.
///
/// # Errors
/// As [`bench()`].
pub(crate) fn bench_prompts(
    launch: &Launch,
    workload: &Workload,
) -> Result<Vec<Vec<i32>>, TeacherError> {
    let mut connection = WorkerConnection::open(launch)?;
    connection.send(Command::BenchPrompts(workload.clone()));
    match connection.receive()? {
        Report::BenchPrompts(prompts) => Ok(prompts),
        other => Err(unexpected_report(&other)),
    }
}

/// A worker without a supervisor: a benchmark whose worker ends is not resumed.
struct WorkerConnection {
    process: Option<WorkerProcess>,
    messages: Receiver<WorkerMessage>,
}

impl WorkerConnection {
    /// Starts a worker and waits until it has loaded the model.
    fn open(launch: &Launch) -> Result<Self, TeacherError> {
        let (sender, messages) = mpsc::channel();
        let process = WorkerProcess::start(&launch.program, false, move |message| {
            // It fails only after the benchmark, when nothing receives any more.
            let _ = sender.send(message);
        })
        .map_err(|error| TeacherError::Worker {
            message: format!("does not start: {error}"),
            hint: "the file of this program must be executable".to_owned(),
        })?;
        process.send(Command::Load { path: launch.model.clone(), options: launch.options.clone() });
        let mut connection = Self { process: Some(process), messages };
        match connection.receive()? {
            Report::Loaded(_) => Ok(connection),
            other => Err(unexpected_report(&other)),
        }
    }

    fn receive(&mut self) -> Result<Report, TeacherError> {
        match self.messages.recv() {
            Ok(WorkerMessage::Report(report)) => match *report {
                Report::Failed(error) => Err(error),
                report => Ok(report),
            },
            Ok(WorkerMessage::Ended(_)) | Err(_) => {
                let exit = self.process.take().map(|process| process.exit().description);
                Err(TeacherError::Worker {
                    message: format!("ended during the benchmark: {}", exit.unwrap_or_default()),
                    hint: "lower `teacher.slots` or `teacher.context`, or choose a smaller model"
                        .to_owned(),
                })
            }
        }
    }

    fn send(&self, command: Command) {
        if let Some(process) = &self.process {
            process.send(command);
        }
    }
}
