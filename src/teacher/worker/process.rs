//! One worker process and the threads that serve its three pipes.

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
#[cfg(all(target_os = "linux", feature = "remote"))]
use crate::teacher::remote;
use crate::verbosity;

/// Environment variables of the worker, unless the user has set them. OpenMP reads its variable
/// when the program is loaded, so the worker cannot set it itself; threads that spin while they
/// wait cost far more than the work as soon as anything else runs on the machine. Without the
/// second variable a failed assertion may start a debugger. CUDA graphs ended in illegal
/// instructions on an H200 for models that run without flash attention; with it they made
/// generation slower and scoring faster.
const ENVIRONMENT: [(&str, &str); 3] =
    [("GOMP_SPINCOUNT", "30000"), ("GGML_NO_BACKTRACE", "1"), ("GGML_CUDA_DISABLE_GRAPHS", "1")];

/// How many of the last lines of stderr are kept for the error message, and of what length. An
/// error of a GPU's driver has four.
const KEPT_LINES: usize = 4;
const KEPT_CHARS: usize = 300;

/// What the supervisor receives from a worker.
pub(super) enum WorkerMessage {
    Report(Box<Report>),
    /// The pipe was closed, or the worker broke the protocol in the given way.
    Ended(Option<String>),
}

/// How a process ended.
#[derive(Debug, Clone)]
pub(super) struct WorkerExit {
    pub description: String,
    /// Whether it was killed from outside: by the kernel because memory ran out, or by a user.
    pub killed: bool,
}

/// A running worker. Dropping it kills it.
pub(super) struct WorkerProcess {
    child: Child,
    commands: Sender<Command>,
    stderr_tail: Arc<Mutex<VecDeque<String>>>,
    stderr_reader: JoinHandle<()>,
}

impl WorkerProcess {
    /// Starts `program teacher-worker`, which can ask the broker for connections if it `connects`.
    /// `on_message` is called, in a thread of its own, with every
    /// message of the worker, and finally with [`WorkerMessage::Ended`].
    pub(super) fn start(
        program: &Path,
        connects: bool,
        on_message: impl Fn(WorkerMessage) + Send + 'static,
    ) -> io::Result<Self> {
        let mut command = Program::new(program);
        command.arg("teacher-worker");
        if verbosity::texts() {
            command.arg("-vv");
        }
        #[cfg(all(target_os = "linux", feature = "remote"))]
        if connects && let Some(number) = remote::broker::pass_on(&mut command) {
            command.arg("--broker").arg(number.to_string());
        }
        #[cfg(not(all(target_os = "linux", feature = "remote")))]
        let _ = connects;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in ENVIRONMENT {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        // A process group of its own: Ctrl-C in the terminal goes to the parent, which ends the
        // worker.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("a pipe is missing"));
        };

        let (commands, to_send) = mpsc::channel::<Command>();
        thread::spawn(move || {
            for command in to_send {
                if protocol::write(&mut stdin, &command).is_err() {
                    // The worker has ended; the thread at its stdout reports that.
                    return;
                }
            }
        });
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let fault = loop {
                match protocol::read(&mut stdout) {
                    Ok(Some(report)) => on_message(WorkerMessage::Report(Box::new(report))),
                    Ok(None) => break None,
                    // It ended in the middle of a message.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break None,
                    Err(error) => break Some(error.to_string()),
                }
            };
            on_message(WorkerMessage::Ended(fault));
        });
        let stderr_tail = Arc::new(Mutex::new(VecDeque::new()));
        let tail = Arc::clone(&stderr_tail);
        let stderr_reader = thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let line: String = line.trim().chars().take(KEPT_CHARS).collect();
                if !line.is_empty() {
                    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                    tail.push_back(line);
                    if tail.len() > KEPT_LINES {
                        tail.pop_front();
                    }
                }
            }
        });
        Ok(Self { child, commands, stderr_tail, stderr_reader })
    }

    /// Sends `command` without waiting for the worker to read it. If the worker has ended, that is
    /// reported by [`WorkerMessage::Ended`].
    pub(super) fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Kills the worker; [`WorkerMessage::Ended`] follows.
    pub(super) fn kill(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.child.kill();
    }

    /// How the worker ended, once its pipe was closed.
    pub(super) fn exit(mut self) -> WorkerExit {
        let status = self.wait();
        let deadline = Instant::now() + Duration::from_millis(500);
        while !self.stderr_reader.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        let tail = self.stderr_tail.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = tail.iter().map(String::as_str).collect();
        let stderr =
            if lines.is_empty() { String::new() } else { format!(" ({})", lines.join(" | ")) };
        match status {
            Ok(status) => {
                WorkerExit { description: format!("{status}{stderr}"), killed: was_killed(status) }
            }
            Err(error) => WorkerExit {
                description: format!("unknown exit status, {error}{stderr}"),
                killed: false,
            },
        }
    }

    /// The exit status. The pipe is closed a moment before the process ends; a process that only
    /// closed its pipe is killed.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.kill();
        self.child.wait()
    }
}

impl Drop for WorkerProcess {
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
