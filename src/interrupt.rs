//! Ctrl-C, SIGTERM and SIGHUP: the program ends within two seconds, wherever it is.
//!
//! Nothing has to be unwound: what is finished is in the ledger, every file is written beside its goal
//! and renamed, and a teacher's process ends with the pipe to its parent. So [`on_signal`] ends the
//! process from a thread of its own, whatever the others are in the middle of, and waits for two
//! things alone, and for those not longer than [`PATIENCE`]: a write that is under way (whoever writes
//! [`hold`]s), and a training that is kept, which looks at [`asked`] after each step and saves its
//! state first. What would be left of no use to anybody, gigabytes of a half-made file say, is removed
//! on the way out, if it is a [`Leftover`].

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

/// How long a write may keep the program from ending.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);

static ASKED: AtomicBool = AtomicBool::new(false);
static HELD: RwLock<()> = RwLock::new(());
static LEFTOVERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// While it lives the program waits with ending, for a while.
#[must_use = "it holds as long as it lives"]
pub(crate) struct Hold(
    #[allow(dead_code, reason = "it is dropped")] Option<RwLockReadGuard<'static, ()>>,
);

/// Something is to be brought to its end: a file, a line. Holds may be nested.
pub(crate) fn hold() -> Hold {
    Hold(HELD.read().ok())
}

/// A file or folder that nobody needs once this is gone, or the program ends by a signal: it is removed
/// with all that is in it.
#[must_use = "its path is removed when it goes"]
#[derive(Debug)]
pub(crate) struct Leftover(PathBuf);

impl Leftover {
    /// Takes charge of `path`, whether it is there yet or not.
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

/// Removes a file, or a folder with all that is in it; whether nothing is there any more.
fn remove(path: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return true };
    let removed = match metadata.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    removed.is_ok() || !path.exists()
}

/// Removes all leftovers, again and again while other threads still write into them. From here on no
/// thread can take charge of another.
fn remove_all(deadline: Instant) {
    let mut all = loop {
        match LEFTOVERS.try_lock() {
            Ok(all) => break all,
            Err(TryLockError::Poisoned(held)) => break held.into_inner(),
            Err(_) if Instant::now() >= deadline => return,
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    };
    loop {
        all.retain(|path| !remove(path));
        if all.is_empty() || Instant::now() >= deadline {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    // Held to the end.
    std::mem::forget(all);
}

/// Whether the program is about to end.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Whether a loop is to go on.
pub(crate) fn flow() -> ControlFlow<()> {
    if asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// From here on a signal ends the program: `say` is called first, the exit code is 2.
pub(crate) fn on_signal(say: impl Fn() + Send + 'static) {
    // A second handler cannot be set; the first one serves.
    let _ = ctrlc::set_handler(move || {
        ASKED.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        // A thread that waited for the lock would keep nested holds out: it asks again and again.
        let _last = loop {
            match HELD.try_write() {
                Ok(last) => break Some(last),
                Err(_) if Instant::now() >= deadline => break None,
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        };
        remove_all(deadline);
        say();
        leave(2);
    });
}

/// Waits for the end that a signal has asked for. What the other threads have to say by then, mostly
/// that they were stopped, is of no interest.
pub(crate) fn wait_for_the_end() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Ends the process at once, without the exit handlers of libraries that are in mid-work.
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
    fn holds_are_nested_and_let_go() {
        assert!(!asked() && flow().is_continue());
        let outer = hold();
        let inner = hold();
        assert!(HELD.try_write().is_err());
        drop(outer);
        assert!(HELD.try_write().is_err());
        drop(inner);
    }

    #[test]
    fn leftovers_go_with_their_guard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half");
        fs::create_dir_all(path.join("deep/down")).unwrap();
        let guard = Leftover::new(path.clone());
        assert!(LEFTOVERS.lock().unwrap().contains(&path));
        drop(guard);
        assert!(!path.exists() && !LEFTOVERS.lock().unwrap().contains(&path));
        assert!(remove(&path), "what is not there is removed");
    }
}
