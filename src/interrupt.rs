//! Ctrl-C, SIGTERM and SIGHUP: the program ends within two seconds, whatever it is doing.
//!
//! Nothing has to be unwound: finished work is in the ledger, files are written under another name
//! and renamed, and a teacher's process ends when the pipe from its parent closes. So [`on_signal`]
//! ends the process from a separate thread, whatever the other threads are doing. It waits, for at
//! most [`PATIENCE`], for two things: writes in progress, which take a [`hold`], and a training
//! that saves its state, which checks [`requested`] after each step and saves before it stops.
//! A server instead finishes the requests that were begun ([`on_signal_finish`]).
//! Partial files of no use, possibly gigabytes, are removed on the way out if they are
//! [`Leftover`]s.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Mutex, RwLock, RwLockReadGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a write may delay the end of the program.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);

static REQUESTED: AtomicBool = AtomicBool::new(false);
static HELD: RwLock<()> = RwLock::new(());
static LEFTOVERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Delays the end of the program until it is dropped, for at most [`PATIENCE`].
#[must_use = "it only holds until it is dropped"]
pub(crate) struct Hold(
    #[allow(dead_code, reason = "held until it is dropped")] Option<RwLockReadGuard<'static, ()>>,
);

/// Delays the end of the program until a file or a line is written. Holds may be nested.
pub(crate) fn hold() -> Hold {
    Hold(HELD.read().ok())
}

/// A temporary file or folder: removed, with all its contents, when this is dropped or the program
/// ends by a signal.
#[must_use = "its path is removed when it is dropped"]
#[derive(Debug)]
pub(crate) struct Leftover(PathBuf);

impl Leftover {
    /// Will remove `path`, which need not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        LEFTOVERS.lock().unwrap_or_else(|held| held.into_inner()).push(path.clone());
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        remove(&self.0);
        let mut all = LEFTOVERS.lock().unwrap_or_else(|held| held.into_inner());
        if let Some(at) = all.iter().position(|path| *path == self.0) {
            all.swap_remove(at);
        }
    }
}

/// Removes a file, or a folder with all its contents. Returns whether nothing is left.
fn remove(path: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return true };
    let removed = match metadata.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    removed.is_ok() || !path.exists()
}

/// Pause between two checks of the leftovers.
const PAUSE: Duration = Duration::from_millis(2);
/// Consecutive checks at which they must be absent.
const ABSENT_CHECKS: usize = 50;

/// Removes all leftovers, repeatedly while other threads still write into them. From here on no
/// thread can register another one.
fn remove_all(deadline: Instant) {
    let all = loop {
        match LEFTOVERS.try_lock() {
            Ok(all) => break all,
            Err(TryLockError::Poisoned(held)) => break held.into_inner(),
            Err(_) if Instant::now() >= deadline => return,
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    };
    // A writer may create a folder anew for its next file.
    let mut absent = 0;
    while absent < ABSENT_CHECKS && !all.is_empty() {
        let there = all.iter().filter(|path| fs::symlink_metadata(path).is_ok()).count();
        all.iter().for_each(|path| {
            remove(path);
        });
        absent = if there == 0 { absent + 1 } else { 0 };
        if Instant::now() >= deadline {
            break;
        }
        thread::sleep(PAUSE);
    }
    // Stays locked until the process ends.
    std::mem::forget(all);
}

/// Whether a signal has requested the end of the program.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// `Break` once a signal has requested the end of the program.
pub(crate) fn flow() -> ControlFlow<()> {
    if requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Installs the handler: a signal calls `report` and ends the program with exit code 2.
pub(crate) fn on_signal(report: impl Fn() + Send + 'static) {
    // Fails if a handler is installed already, which then stays.
    let _ = ctrlc::set_handler(move || {
        REQUESTED.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        // Polls, because a writer that waits for the lock would block nested holds.
        let _last = loop {
            match HELD.try_write() {
                Ok(last) => break Some(last),
                Err(_) if Instant::now() >= deadline => break None,
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        };
        remove_all(deadline);
        report();
        leave(2);
    });
}

/// Installs the handler of a program that ends by itself once [`requested`] is true. A second
/// signal calls `report` and ends it at once, with exit code 2.
pub(crate) fn on_signal_finish(report: impl Fn() + Send + 'static) {
    // Fails if a handler is installed already, which then stays.
    let _ = ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            remove_all(Instant::now() + PATIENCE);
            report();
            leave(2);
        }
    });
}

/// Waits until the signal handler ends the process. Errors of the calling thread, mostly that it
/// was stopped, are not worth reporting by then.
pub(crate) fn wait_for_the_end() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Ends the process at once, without exit handlers: libraries may still be at work in other
/// threads.
pub(crate) fn leave(code: i32) -> ! {
    #[cfg(unix)]
    // SAFETY: `_exit` may be called from any thread at any time.
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_can_be_nested_and_are_released() {
        assert!(!requested() && flow().is_continue());
        let outer = hold();
        let inner = hold();
        assert!(HELD.try_write().is_err());
        drop(outer);
        assert!(HELD.try_write().is_err());
        drop(inner);
    }

    #[test]
    fn leftovers_are_removed_with_their_guard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half");
        fs::create_dir_all(path.join("deep/down")).unwrap();
        let guard = Leftover::new(path.clone());
        assert!(LEFTOVERS.lock().unwrap().contains(&path));
        drop(guard);
        assert!(!path.exists() && !LEFTOVERS.lock().unwrap().contains(&path));
        assert!(remove(&path), "a missing path counts as removed");
    }
}
