//! The worker: the child process that holds the engine (`promptmix teacher-worker`).
//!
//! Frames alone may go through stdout, so the pipe is moved to a descriptor of its own first and
//! whatever else writes to stdout ends up on stderr, which the supervisor keeps for its error
//! messages. A thread owns stdin and ends the process where stdin ends, even in the middle of a
//! batch: a worker never outlives its parent.
//!
//! For tests of the supervision there is a hook: `PROMPTMIX_TEST_CRASH` holds a comma-separated list
//! of `abort:ID` and `hang:ID`, and the worker does so when it begins with the request of that id
//! (`loading` stands for the loading of the model). Nothing but the worker itself can come to harm.

use std::{
    fs::File,
    io,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use super::protocol::{self, Command, Report};
use crate::{
    interrupt::leave,
    teacher::{Step, TeacherError, chat, llama::LlamaTeacher},
};

/// An engine tells after each step that it is alive; the supervisor hears it this often.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// Serves until the parent closes the pipe, which ends the process.
///
/// # Errors
/// A pipe that breaks, or a parent that does not keep to the protocol.
pub(crate) fn serve() -> io::Result<()> {
    let pipe = private_stdout()?;
    let mut output = Output { pipe, spoke: Instant::now(), crash: Crash::from_environment() };
    die_first();
    chat::cage();
    let commands = listen();
    let Ok(Command::Load { path, options }) = commands.recv() else {
        return Err(io::Error::other("the first command is not to load a model"));
    };
    output.crash.at("loading");
    let mut teacher = match LlamaTeacher::load(&path, options) {
        Ok(teacher) => teacher,
        Err(error) => {
            output.say(&Report::Failed(error))?;
            return Ok(());
        }
    };
    output.say(&Report::Loaded(teacher.identity().clone()))?;
    for command in commands {
        let outcome = match command {
            Command::Load { .. } => {
                Err(TeacherError::Backend { message: "a worker loads one model only".to_owned() })
            }
            Command::Measure(prompts) => teacher.measure(&prompts).map(Report::Measured),
            Command::Generate(requests) => teacher
                .generate(&requests, &mut |step| {
                    let begun = begun(&step).iter().map(|at| requests[*at].id.clone()).collect();
                    output.step(&Report::Generated(step), begun)
                })
                .map(|()| Report::Finished),
            Command::Bench(workload) => teacher
                .bench(&workload, |measure| {
                    // A parent that is gone ends this process by its other pipe.
                    let _ = output.say(&Report::Measure(measure.clone()));
                })
                .map(|report| Report::Benched(Box::new(report))),
            Command::BenchPrompts(workload) => {
                Ok(Report::BenchPrompts(teacher.bench_prompts(&workload)))
            }
            Command::Score(requests) => teacher
                .score(&requests, &mut |step| {
                    let begun = begun(&step).iter().map(|at| requests[*at].id.clone()).collect();
                    output.step(&Report::Scored(step), begun)
                })
                .map(|()| Report::Finished),
        };
        let outcome = outcome.unwrap_or_else(|error| match error {
            // Only this side's own pipe can have stopped the engine.
            TeacherError::Stopped(reason) => {
                Report::Failed(TeacherError::Decode { message: reason.to_string() })
            }
            error => Report::Failed(error),
        });
        output.say(&outcome)?;
    }
    Ok(())
}

/// The pipe to the supervisor.
struct Output {
    pipe: File,
    /// When the supervisor heard of us last.
    spoke: Instant,
    crash: Crash,
}

impl Output {
    fn say(&mut self, report: &Report) -> io::Result<()> {
        let is_mere_sign =
            matches!(report, Report::Generated(Step::Alive) | Report::Scored(Step::Alive));
        if is_mere_sign && self.spoke.elapsed() < SIGN_OF_LIFE {
            return Ok(());
        }
        self.spoke = Instant::now();
        protocol::write(&mut self.pipe, report)
    }

    fn step(
        &mut self,
        report: &Report,
        begun: Vec<String>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.say(report)?;
        begun.iter().for_each(|id| self.crash.at(id));
        Ok(())
    }
}

fn begun<T>(step: &Step<T>) -> &[usize] {
    match step {
        Step::Began(begun) => begun,
        Step::Done(_) | Step::Alive => &[],
    }
}

/// Reads commands in a thread of its own, so that the end of stdin is noticed at any time.
fn listen() -> Receiver<Command> {
    let (send, commands) = mpsc::channel();
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            match protocol::read(&mut input) {
                Ok(Some(command)) => {
                    // The main thread has left only if the process is about to end.
                    let _ = send.send(command);
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

/// Takes stdout for frames alone and lets everything else that is printed go to stderr.
#[cfg(unix)]
fn private_stdout() -> io::Result<File> {
    use std::os::fd::AsFd;
    let pipe = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    // SAFETY: both descriptors are open; the one that is closed belongs to stdout, whose pipe lives
    // on in `pipe`.
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

/// Where memory runs out, Linux shall end the worker and not the program that can replace it.
fn die_first() {
    if cfg!(target_os = "linux") {
        // Best effort: without it the kernel chooses the largest process, most likely this one.
        let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    }
}

/// The hook for tests, see the top of this file.
struct Crash(Vec<(String, String)>);

impl Crash {
    fn from_environment() -> Self {
        let wanted = std::env::var("PROMPTMIX_TEST_CRASH").unwrap_or_default();
        let pairs = wanted.split(',').filter_map(|pair| pair.split_once(':'));
        Self(pairs.map(|(how, id)| (how.to_owned(), id.to_owned())).collect())
    }

    fn at(&self, id: &str) {
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
