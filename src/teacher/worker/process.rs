//! One worker process and the threads at its three pipes.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command as Program, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::protocol::{self, Command, Report};
use crate::voice;

/// Variables of the worker's environment, unless the user has set them. OpenMP reads its own when
/// the program is loaded, hence here: threads that spin while they wait cost far more than the work
/// as soon as anything else runs on the machine. Without the second a failed assertion may start a
/// debugger. CUDA graphs ended in illegal instructions on an H200 where a model runs without flash
/// attention, and were no faster where they worked.
const ENVIRONMENT: [(&str, &str); 3] =
    [("GOMP_SPINCOUNT", "30000"), ("GGML_NO_BACKTRACE", "1"), ("GGML_CUDA_DISABLE_GRAPHS", "1")];

/// The lines of stderr that are kept for the error message, and their length.
const KEPT_LINES: usize = 4;
const KEPT_CHARS: usize = 300;

/// What comes from a worker.
pub(super) enum Heard {
    Report(Box<Report>),
    /// The pipe has ended, or broke the protocol in the way that is said.
    Ended(Option<String>),
}

/// How a process ended.
#[derive(Debug, Clone)]
pub(super) struct Fate {
    pub text: String,
    /// Whether it was killed from outside: by the kernel for want of memory, or by somebody.
    pub killed: bool,
}

/// A running worker. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    commands: Sender<Command>,
    errors: Arc<Mutex<VecDeque<String>>>,
    errors_reader: JoinHandle<()>,
}

impl Process {
    /// Starts `program teacher-worker`. `tell` is called, in a thread of its own, with all that the
    /// worker says, and with [`Heard::Ended`] last.
    pub fn start(program: &Path, tell: impl Fn(Heard) + Send + 'static) -> io::Result<Self> {
        let mut command = Program::new(program);
        command.arg("teacher-worker");
        if voice::texts() {
            command.arg("-vv");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in ENVIRONMENT {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        // A group of its own: Ctrl-C on the terminal is for the parent, which takes it along.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(output), Some(errors)) = pipes else {
            return Err(io::Error::other("a pipe is missing"));
        };

        let (commands, orders) = mpsc::channel::<Command>();
        thread::spawn(move || {
            for command in orders {
                if protocol::write(&mut input, &command).is_err() {
                    // The worker is gone; its stdout says so too.
                    return;
                }
            }
        });
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let fault = loop {
                match protocol::read(&mut output) {
                    Ok(Some(report)) => tell(Heard::Report(Box::new(report))),
                    Ok(None) => break None,
                    // It died while it spoke.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break None,
                    Err(error) => break Some(error.to_string()),
                }
            };
            tell(Heard::Ended(fault));
        });
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let keep = Arc::clone(&kept);
        let errors_reader = thread::spawn(move || {
            for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let line: String = line.trim().chars().take(KEPT_CHARS).collect();
                if !line.is_empty() {
                    let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push_back(line);
                    if kept.len() > KEPT_LINES {
                        kept.pop_front();
                    }
                }
            }
        });
        Ok(Self { child, commands, errors: kept, errors_reader })
    }

    /// Sends `command` without waiting for the worker to read it. Should the worker be gone, its
    /// end is told soon.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Ends the worker at once; its end is told soon.
    pub fn kill(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.child.kill();
    }

    /// How the worker ended, once its pipe has.
    pub fn fate(mut self) -> Fate {
        let status = self.wait();
        let patience = Instant::now() + Duration::from_millis(500);
        while !self.errors_reader.is_finished() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(2));
        }
        let kept = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<&str> = kept.iter().map(String::as_str).collect();
        let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join(" | ")) };
        match status {
            Ok(status) => Fate { text: format!("{status}{said}"), killed: was_killed(status) },
            Err(error) => Fate { text: format!("unknown end, {error}{said}"), killed: false },
        }
    }

    /// The exit status. A pipe ends a moment before the process does; one that closed its pipe and
    /// lives on is killed.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        let patience = Instant::now() + Duration::from_secs(2);
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.kill();
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGKILL)
}

#[cfg(not(unix))]
fn was_killed(_: ExitStatus) -> bool {
    false
}
