//! Bounds the memory that a template may take while it is rendered.
//!
//! minijinja counts steps, and a text doubles in four: forty rounds of `{% set x = x ~ x %}` are a
//! terabyte. The common ways are refused in [`crate::teacher::chat::jinja`]; whatever else there is ends here, by a
//! limit of the kernel's on the address space. To run into it ends the process, so it holds only in
//! processes that are there to be ended: the teacher's worker, whose supervisor then says so and goes
//! on, and the one that `doctor` looks at a template with.

use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes beside those that the process has already.
const ROOM: u64 = 256 << 20;
const PER_INPUT_BYTE: u64 = 64;

static CAGED: AtomicBool = AtomicBool::new(false);

/// From here on, a rendering that takes more than 256 MiB (and 64 times its input) ends this process.
/// Works on Linux.
pub(crate) fn cage() {
    CAGED.store(true, Ordering::Relaxed);
}

/// Does `work`, which renders `input` bytes of a user's text.
pub(crate) fn within<T>(input: usize, work: impl FnOnce() -> T) -> T {
    if !CAGED.load(Ordering::Relaxed) {
        return work();
    }
    let _limit = Limit::new(ROOM + PER_INPUT_BYTE * input as u64);
    work()
}

#[cfg(target_os = "linux")]
struct Limit(Option<libc::rlimit>);

#[cfg(target_os = "linux")]
impl Limit {
    fn new(room: u64) -> Self {
        let Some(used) = used() else { return Self(None) };
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `before` is valid for writes during the call.
        if unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut before) } != 0 {
            return Self(None);
        }
        let wanted = used.saturating_add(room).min(before.rlim_cur);
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
            // SAFETY: `before` is the limit that was in force; a soft limit may be raised to it again.
            unsafe { libc::setrlimit(libc::RLIMIT_AS, before) };
        }
    }
}

/// Bytes of address space of this process.
#[cfg(target_os = "linux")]
fn used() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').next()?.parse().ok()?;
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.checked_mul(u64::try_from(page).ok()?)
}

#[cfg(not(target_os = "linux"))]
struct Limit;

#[cfg(not(target_os = "linux"))]
impl Limit {
    fn new(_room: u64) -> Self {
        Self
    }
}
