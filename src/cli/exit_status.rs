//! Gates: checks that a command makes on the user's behalf. A gate can fail although the command
//! itself worked: the program then exits with 1, and with 2 after an error, so that scripts can
//! tell the two apart.

use std::error::Error;

/// A failed check. It is printed like an error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct FailedGate(#[source] Box<dyn Error + Send + Sync>);

impl FailedGate {
    pub(super) fn because(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

/// Whether `error` is a failed gate.
pub(super) fn is_failed_gate(error: &anyhow::Error) -> bool {
    error.downcast_ref::<FailedGate>().is_some()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::{super::error::CommandError, *};

    #[test]
    fn a_failed_gate_differs_from_an_error() {
        let failed = || FailedGate::because(CommandError::new("2 leaks", "read them"));
        assert_eq!(failed().to_string(), "2 leaks");
        assert!(is_failed_gate(&failed().into()) && !is_failed_gate(&anyhow::anyhow!("2 leaks")));
        let in_context = Err::<(), _>(failed()).context("in the run out").unwrap_err();
        assert!(is_failed_gate(&in_context), "also with a context");
    }
}
