//! Limits the memory that a template may take while it is compiled or rendered.
//!
//! minijinja limits steps, but a step can double a text: forty rounds of `{% set x = x ~ x %}` make
//! a terabyte. The [`budget`](super::budget) refuses the known ways; this limit of the kernel on
//! the address space stops all others. Exceeding it aborts the process, so it is set only in
//! processes that may be aborted: the teacher's worker, which its supervisor reports and replaces,
//! and the process in which `doctor` examines a template.

use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes beyond those that the process already uses.
const ALLOWANCE: u64 = 256 << 20;
const PER_INPUT_BYTE: u64 = 64;

static ENABLED: AtomicBool = AtomicBool::new(false);

/// From now on, a rendering that takes more than 256 MiB plus 64 times its input aborts this
/// process. Works on Linux only.
pub(crate) fn limit_memory() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// Runs `work`, which renders `input` bytes of a user's text, under the limit.
pub(super) fn within<T>(input: usize, work: impl FnOnce() -> T) -> T {
    if !ENABLED.load(Ordering::Relaxed) {
        return work();
    }
    let _limit = Limit::new(ALLOWANCE + PER_INPUT_BYTE * input as u64);
    work()
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
