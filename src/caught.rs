//! Runs code of other crates that may panic on a hostile file.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// The result of `work`, or `None` if it panicked. The panic is not reported. What `work` changed
/// must not be used afterwards.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work)).ok();
    CATCHING.set(before);
    result
}

/// Whether a panic of this thread would be caught, so that nobody need hear of it.
pub fn catches_panics() -> bool {
    CATCHING.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_and_known_to_be() {
        assert_eq!(catch(catches_panics), Some(true));
        assert_eq!(catch(|| assert!(!catches_panics(), "a panic on purpose")), None);
        assert!(!catches_panics());
    }
}
