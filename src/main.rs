//! Parse, call, exit code.

use std::{panic, process::ExitCode};

use promptmix::voice;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|info| {
        eprintln!(
            "error: promptmix has a fault of its own: {}",
            voice::panic(info.location(), info)
        );
        eprintln!(
            "hint: what was finished is safe; please report this with the command that led to it"
        );
    }));
    panic::catch_unwind(promptmix::cli::main).unwrap_or(ExitCode::from(2))
}
