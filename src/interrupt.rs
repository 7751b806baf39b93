//! Ctrl-C, SIGTERM and SIGHUP: the program ends within two seconds, wherever it is.
//!
//! Nothing has to be unwound: what is finished is in the ledger, every file is written beside its goal
//! and renamed, and a teacher's process ends with the pipe to its parent. So [`on_signal`] ends the
//! process from a thread of its own, whatever the others are in the middle of, and waits for two
//! things alone, and for those not longer than [`PATIENCE`]: a write that is under way (whoever writes
//! [`hold`]s), and a training that is kept, which looks at [`asked`] after each step and saves its
//! state first.

use std::{
    ops::ControlFlow,
    sync::{
        RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a write may keep the program from ending.
pub const PATIENCE: Duration = Duration::from_millis(1500);

static ASKED: AtomicBool = AtomicBool::new(false);
static HELD: RwLock<()> = RwLock::new(());

/// While it lives the program waits with ending, for a while.
#[must_use = "it holds as long as it lives"]
pub struct Hold(#[allow(dead_code, reason = "it is dropped")] Option<RwLockReadGuard<'static, ()>>);

/// Something is to be brought to its end: a file, a line. Holds may be nested.
pub fn hold() -> Hold {
    Hold(HELD.read().ok())
}

/// Whether the program is about to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Whether a loop is to go on.
pub fn flow() -> ControlFlow<()> {
    if asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// From here on a signal ends the program: `say` is called first, the exit code is 2.
pub fn on_signal(say: impl Fn() + Send + 'static) {
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
        say();
        leave(2);
    });
}

/// Waits for the end that a signal has asked for. What the other threads have to say by then, mostly
/// that they were stopped, is of no interest.
pub fn wait_for_the_end() -> ! {
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
}
