//! The worker: the child process that runs the engine (`promptmix teacher-worker`).
//!
//! stdout is for frames only. So the pipe is first moved to another descriptor, and whatever else
//! writes to stdout goes to stderr, which the supervisor keeps for its error messages. A thread
//! owns stdin and ends the process at the end of stdin, even in the middle of a batch: a worker
//! never outlives its parent.
//!
//! Tests can make a worker fail: `PROMPTMIX_TEST_CRASH` holds a comma-separated list of `abort:ID`
//! and `hang:ID`, and the worker aborts or hangs when it begins the request with that id (`loading`
//! is the id of loading the model). Only the worker itself is affected.

#![allow(clippy::print_stderr, reason = "the supervisor reads the stderr of this process")]

use std::{
    fs::File,
    io,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use super::protocol::{self, Command, Report};
#[cfg(all(target_os = "linux", feature = "remote"))]
use crate::teacher::remote::RemoteTeacher;
use crate::{
    interrupt::leave,
    sandbox,
    teacher::{
        EngineEvent, TeacherError, TeacherIdentity, llama::LlamaTeacher,
        tokens::PromptTokenizer as _,
    },
    template::process_limit,
};

/// The engine reports after each step that it is alive; at most one such report is sent in this
/// time.
const ALIVE_INTERVAL: Duration = Duration::from_millis(500);

/// Serves until the parent closes the pipe, which ends the process.
///
/// # Errors
/// A broken pipe, or a parent that breaks the protocol.
pub(crate) fn serve() -> io::Result<()> {
    let pipe = private_stdout()?;
    let mut output =
        Output { pipe, last_sent: Instant::now(), crash: CrashHook::from_environment() };
    volunteer_for_oom_killer();
    process_limit::limit_memory();
    let commands = read_commands();
    let loaded = match commands.recv() {
        Ok(Command::Load { path, options }) => {
            output.crash.reach("loading");
            LlamaTeacher::load(&path, options).map(|it| Engine::Here(Box::new(it)))
        }
        #[cfg(all(target_os = "linux", feature = "remote"))]
        Ok(Command::LoadRemote { path, options }) => {
            output.crash.reach("loading");
            RemoteTeacher::load(&path, &options).map(|it| Engine::Elsewhere(Box::new(it)))
        }
        _ => return Err(io::Error::other("the first command must load a model")),
    };
    let mut engine = match loaded {
        Ok(engine) => engine,
        Err(error) => {
            output.send(&Report::Failed(error))?;
            return Ok(());
        }
    };
    output.send(&Report::Loaded(engine.identity().clone()))?;
    for command in commands {
        let outcome = answer(&mut engine, command, &mut output);
        let outcome = outcome.unwrap_or_else(|error| match error {
            // Only a failed write to our own pipe stops the engine.
            TeacherError::Stopped(reason) => {
                Report::Failed(TeacherError::Decode { message: reason.to_string() })
            }
            error => Report::Failed(error),
        });
        output.send(&outcome)?;
    }
    Ok(())
}

/// The engine of this worker.
enum Engine {
    Here(Box<LlamaTeacher>),
    #[cfg(all(target_os = "linux", feature = "remote"))]
    Elsewhere(Box<RemoteTeacher>),
}

/// Calls a method that both kinds of engine have.
macro_rules! either {
    ($engine:expr, $it:ident => $call:expr) => {
        match $engine {
            Engine::Here($it) => $call,
            #[cfg(all(target_os = "linux", feature = "remote"))]
            Engine::Elsewhere($it) => $call,
        }
    };
}

impl Engine {
    fn identity(&self) -> &TeacherIdentity {
        either!(self, it => it.identity())
    }

    /// The engine of this process, for benchmarks.
    fn here(&mut self) -> Result<&mut LlamaTeacher, TeacherError> {
        match self {
            Self::Here(teacher) => Ok(teacher),
            #[cfg(all(target_os = "linux", feature = "remote"))]
            Self::Elsewhere(_) => Err(TeacherError::Backend {
                message: "only an engine on this machine is measured".to_owned(),
            }),
        }
    }
}

/// The last report about `command`; the others go to `output`.
fn answer(
    engine: &mut Engine,
    command: Command,
    output: &mut Output,
) -> Result<Report, TeacherError> {
    match command {
        Command::Measure(prompts) => {
            either!(engine, it => it.measure(&prompts)).map(Report::Measured)
        }
        Command::Generate(requests) => {
            let sink = &mut |event| {
                let begun = begun(&event).iter().map(|&index| requests[index].id.clone());
                let begun = begun.collect();
                output.send_event(&Report::Generated(event), begun)
            };
            either!(engine, it => it.generate(&requests, sink)).map(|()| Report::Finished)
        }
        Command::Score(requests) => {
            let sink = &mut |event| {
                let begun = begun(&event).iter().map(|&index| requests[index].id.clone());
                let begun = begun.collect();
                output.send_event(&Report::Scored(event), begun)
            };
            either!(engine, it => it.score(&requests, sink)).map(|()| Report::Finished)
        }
        Command::Bench(workload) => engine
            .here()?
            .bench(&workload, |measure| {
                // If the parent has ended, the end of stdin ends this process.
                let _ = output.send(&Report::Measure(measure.clone()));
            })
            .map(|report| Report::Benched(Box::new(report))),
        Command::BenchPrompts(workload) => {
            engine.here().map(|it| Report::BenchPrompts(it.bench_prompts(&workload)))
        }
        // `Load` and `LoadRemote`.
        _ => Err(TeacherError::Backend { message: "a worker loads one model only".to_owned() }),
    }
}

/// The pipe to the supervisor.
struct Output {
    pipe: File,
    last_sent: Instant,
    crash: CrashHook,
}

impl Output {
    fn send(&mut self, report: &Report) -> io::Result<()> {
        let only_alive = matches!(
            report,
            Report::Generated(EngineEvent::Alive) | Report::Scored(EngineEvent::Alive)
        );
        if only_alive && self.last_sent.elapsed() < ALIVE_INTERVAL {
            return Ok(());
        }
        self.last_sent = Instant::now();
        protocol::write(&mut self.pipe, report)
    }

    /// Sends an event in which the requests with the ids `begun` begin.
    fn send_event(
        &mut self,
        report: &Report,
        begun: Vec<String>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.send(report)?;
        begun.iter().for_each(|id| self.crash.reach(id));
        Ok(())
    }
}

/// The requests that begin in `event`.
fn begun<T>(event: &EngineEvent<T>) -> &[usize] {
    match event {
        EngineEvent::Began(begun) => begun,
        EngineEvent::Done(_) | EngineEvent::Skipped(..) | EngineEvent::Alive => &[],
    }
}

/// Reads commands in a thread of its own, so that the end of stdin is noticed at any time.
fn read_commands() -> Receiver<Command> {
    let (sender, commands) = mpsc::channel();
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            match protocol::read(&mut input) {
                Ok(Some(command)) => {
                    // It fails only when the main thread has finished and the process is ending.
                    let _ = sender.send(command);
                }
                Ok(None) => leave(0),
                Err(error) => {
                    eprintln!("the teacher's process cannot read its commands: {error}");
                    leave(2);
                }
            }
        }
    });
    commands
}

/// Keeps the pipe at stdout for frames and redirects all other output to stderr.
#[cfg(unix)]
fn private_stdout() -> io::Result<File> {
    use std::os::fd::AsFd;
    let pipe = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    // SAFETY: both descriptors are open. `dup2` closes the one of stdout; `pipe` keeps its pipe
    // open.
    if unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(pipe)
}

#[cfg(windows)]
fn private_stdout() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    Ok(File::from(io::stdout().as_handle().try_clone_to_owned()?))
}

/// When memory runs out, Linux should kill the worker rather than the program that can replace it.
fn volunteer_for_oom_killer() {
    if cfg!(target_os = "linux") {
        // Best effort: without it the kernel chooses the largest process, most likely this one.
        // The file belongs to root while this process is not dumpable.
        sandbox::set_dumpable(true);
        let _ = std::fs::write("/proc/self/oom_score_adj", "500");
        sandbox::set_dumpable(false);
    }
}

/// The hook for tests, described at the top of this file: pairs of `abort` or `hang` and an id.
struct CrashHook(Vec<(String, String)>);

impl CrashHook {
    fn from_environment() -> Self {
        let wanted = std::env::var("PROMPTMIX_TEST_CRASH").unwrap_or_default();
        let pairs = wanted.split(',').filter_map(|pair| pair.split_once(':'));
        Self(pairs.map(|(how, id)| (how.to_owned(), id.to_owned())).collect())
    }

    /// Aborts or hangs if the hook says so for `id`.
    fn reach(&self, id: &str) {
        match self.0.iter().find(|(_, wanted)| wanted == id).map(|(how, _)| how.as_str()) {
            Some("abort") => {
                eprintln!("the test hook aborts at {id}");
                std::process::abort()
            }
            Some("hang") => loop {
                thread::sleep(Duration::from_secs(3600));
            },
            _ => {}
        }
    }
}
