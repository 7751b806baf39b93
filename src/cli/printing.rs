//! The printer: every line of the commands passes through [`printable`], so that no text of a file
//! or a model controls the terminal.
//!
//! The macros have the names and the behaviour of those of `std`, which they hide in the commands;
//! the lints `print_stdout` and `print_stderr` find a use of the others.

use crate::printable::printable;

/// `std::print!`, made safe for a terminal.
macro_rules! print {
    ($($arg:tt)*) => { $crate::cli::printing::stdout(&::std::format!($($arg)*)) };
}

/// `std::println!`, made safe for a terminal.
macro_rules! println {
    () => { $crate::cli::printing::stdout("\n") };
    ($($arg:tt)*) => {
        $crate::cli::printing::stdout(&::std::format!("{}\n", ::std::format_args!($($arg)*)))
    };
}

/// `std::eprintln!`, made safe for a terminal.
macro_rules! eprintln {
    () => { $crate::cli::printing::stderr("\n") };
    ($($arg:tt)*) => {
        $crate::cli::printing::stderr(&::std::format!("{}\n", ::std::format_args!($($arg)*)))
    };
}

/// Prints results.
#[allow(clippy::print_stdout, reason = "this is the printer")]
pub(super) fn stdout(text: &str) {
    std::print!("{}", printable(text));
}

/// Prints everything else, in one write: several processes may print at once.
#[allow(clippy::print_stderr, reason = "this is the printer")]
pub(super) fn stderr(text: &str) {
    std::eprint!("{}", printable(text));
}
