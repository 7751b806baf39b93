//! What a user can do about an error, kept apart from what went wrong.
//!
//! `Display` says what went wrong, [`std::error::Error::source`] why, [`Hint::hint`] what to do about it.
//! Nothing is said twice: the command line prints the message, its causes and, after a blank line, the
//! hint.

use std::{borrow::Cow, error::Error};

/// An error that may know the way out.
pub trait Hint: Error {
    /// What the user can do, in one line: a flag, a setting, a command. Quotes no text of the task.
    fn hint(&self) -> Option<Cow<'_, str>> {
        None
    }
}
