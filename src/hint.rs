//! What a user can do about an error, kept apart from what went wrong.
//!
//! `Display` says what went wrong, [`Error::source`] why, and [`Hint::hint`] what to do about it.
//! None of the three repeats another: the command line prints the message, its causes and, after a
//! blank line, the hint.

use std::{borrow::Cow, error::Error};

/// An error that may have a hint.
pub(crate) trait Hint: Error {
    /// What the user can do: the flag, setting or command that helps. It quotes no text of the
    /// task.
    fn hint(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// The message of `error` and those of its causes on one line, for places that have only one line:
/// a warning, a field of a row.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
