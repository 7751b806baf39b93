//! What a user can do about an error, kept apart from what went wrong.
//!
//! `Display` says what went wrong, [`Error::source`] why, and [`Hint::hint`] what to do about it.
//! None of the three repeats another: the command line prints the message, its causes and, after a
//! blank line, the hint.

use std::{borrow::Cow, error::Error, ffi::OsStr, path::Path};

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

/// `word` as it can be typed in a POSIX shell: quoted where necessary.
pub(crate) fn shell_word(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// `path` as an argument of a command in a POSIX shell; one that begins with a dash is no flag.
pub(crate) fn shell_path(path: &Path) -> String {
    match path.to_string_lossy().starts_with('-') {
        true => shell_word(Path::new(".").join(path)),
        false => shell_word(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_printed_as_it_can_be_typed() {
        let printed = ["run", "my task", "", "--set=a.b=1", "it's", "$(id)"].map(shell_word);
        assert_eq!(printed, ["run", "'my task'", "''", "--set=a.b=1", "'it'\\''s'", "'$(id)'"]);
        let paths = ["a b/c", "-x"].map(|path| shell_path(Path::new(path)));
        assert_eq!(paths, ["'a b/c'", "./-x"]);
    }
}
