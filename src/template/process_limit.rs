//! Limits the time that a template may take while it is compiled or rendered, and its memory.
//!
//! minijinja limits steps, but a step can double a text: forty rounds of `{% set x = x ~ x %}` make
//! a terabyte; and a step can compare two lists of a hundred thousand numbers. The
//! [`budget`](super::budget) refuses the known ways; a clock and a limit of the kernel on the
//! address space stop all others. The clock ends the process with a message. Exceeding the memory
//! aborts it, so that limit is set only in processes that may be aborted: the teacher's worker,
//! which its supervisor reports and replaces, and the process in which `doctor` examines a
//! template.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::interrupt::leave;

/// Bytes beyond those that the process already uses.
const ALLOWANCE: u64 = 256 << 20;
const PER_INPUT_BYTE: u64 = 64;
/// The longest rendering, in milliseconds; a real template takes one or two.
const MAX_MILLISECONDS: u64 = 10_000;
const CHECK_EVERY: Duration = Duration::from_millis(250);

static MEMORY: AtomicBool = AtomicBool::new(false);
/// When the current rendering began, in milliseconds since the first call of [`now`]; 0: there is
/// none.
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// From now on, a rendering that takes more than 256 MiB plus 64 times its input aborts this
/// process. Works on Linux only.
pub(crate) fn limit_memory() {
    MEMORY.store(true, Ordering::Relaxed);
}

/// Starts the clock, once.
#[allow(clippy::print_stderr, reason = "the process ends here; nothing of a text is printed")]
fn start_clock() {
    static CLOCK: OnceLock<()> = OnceLock::new();
    CLOCK.get_or_init(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(CHECK_EVERY);
                let began = BEGAN.load(Ordering::Relaxed);
                if began > 0 && now().saturating_sub(began) > MAX_MILLISECONDS {
                    eprintln!(
                        "error: a chat template or prompt takes more than {} seconds",
                        MAX_MILLISECONDS / 1000
                    );
                    leave(2);
                }
            }
        });
    });
}

/// Milliseconds since the first call, at least 1.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX).max(1)
}

/// Runs `work`, which renders `input` bytes of a user's text, under the limits.
pub(super) fn within<T>(input: usize, work: impl FnOnce() -> T) -> T {
    start_clock();
    let _limit = MEMORY
        .load(Ordering::Relaxed)
        .then(|| Limit::new(ALLOWANCE + PER_INPUT_BYTE * input as u64));
    BEGAN.store(now(), Ordering::Relaxed);
    let result = work();
    BEGAN.store(0, Ordering::Relaxed);
    result
}

#[cfg(target_os = "linux")]
struct Limit(Option<libc::rlimit>);

#[cfg(target_os = "linux")]
impl Limit {
    fn new(allowance: u64) -> Self {
        let Some(used) = used() else { return Self(None) };
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `before` is valid for writes during the call.
        if unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut before) } != 0 {
            return Self(None);
        }
        let wanted = used.saturating_add(allowance).min(before.rlim_cur);
        let lower = libc::rlimit { rlim_cur: wanted, rlim_max: before.rlim_max };
        // SAFETY: `lower` is a valid limit, below the hard one, and outlives the call.
        let done = unsafe { libc::setrlimit(libc::RLIMIT_AS, &lower) } == 0;
        Self(done.then_some(before))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: `before` is the limit that was in force, to which a soft limit may be raised.
            unsafe { libc::setrlimit(libc::RLIMIT_AS, before) };
        }
    }
}

/// Bytes of address space of this process.
#[cfg(target_os = "linux")]
fn used() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').next()?.parse().ok()?;
    // SAFETY: reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.checked_mul(u64::try_from(page).ok()?)
}

#[cfg(not(target_os = "linux"))]
struct Limit;

#[cfg(not(target_os = "linux"))]
impl Limit {
    fn new(_allowance: u64) -> Self {
        Self
    }
}
