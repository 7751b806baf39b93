//! Gates: checks that a command makes for its user, and that can fail without anything being wrong with
//! the command itself. A failed gate ends the program with 1, a mistake or an accident with 2, so that a
//! script can tell them apart.

use crate::hint::Hint;
use std::error::Error;

/// A check that failed; it says what an error would say.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FailedGate(Box<dyn Error + Send + Sync>);

impl Hint for FailedGate {}

impl FailedGate {
    /// With the reason, which ends with what can be done.
    pub(crate) fn because(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

/// Whether an error is a failed gate.
pub(crate) fn is_failed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<FailedGate>().is_some()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_failed_gate_is_no_error_like_others() {
        let failed = anyhow::Error::from(FailedGate::because("2 leaks\nhint: look at them"));
        assert_eq!(failed.to_string(), "2 leaks\nhint: look at them");
        assert!(is_failed(&failed) && !is_failed(&anyhow::anyhow!("2 leaks")));
        let told = Err::<(), _>(FailedGate::because("x")).context("in the run out").unwrap_err();
        assert!(is_failed(&told), "also with what it was about");
    }
}
