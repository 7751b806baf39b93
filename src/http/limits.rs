//! What connections may take: time, number, memory.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// The bounds of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// A connection without a request is closed after this time.
    pub idle: Duration,
    /// A request must have come as a whole, and its answer gone, in this time each: who sends one
    /// byte now and then does not keep a thread.
    pub request: Duration,
    /// Bytes of all request bodies in memory.
    pub bodies: usize,
}

/// The memory of the bodies that are being read or answered.
pub(super) struct Budget {
    left: AtomicUsize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes) }
    }

    /// A share without any bytes yet.
    pub(super) fn share(&self) -> Share<'_> {
        Share { budget: self, bytes: 0 }
    }
}

/// The part of a budget that one body takes, given back when it is dropped.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Share<'_> {
    /// Whether there was room for `bytes` more.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .budget
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes));
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.grow(6) && !other.grow(5) && other.grow(4) && !one.grow(1));
        drop(one);
        assert!(other.grow(6) && !other.grow(1));
    }
}
