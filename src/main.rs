//! Parse, call, exit code.

use std::{
    io::{self, Write},
    panic,
    process::ExitCode,
};

use promptmix::voice;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|info| {
        // Where stderr is closed nobody hears it.
        let _ = writeln!(
            io::stderr(),
            "error: promptmix has a fault of its own: {}\n\
             hint: what was finished is safe; please report this with the command that led to it",
            voice::panic(info.location(), info)
        );
    }));
    panic::catch_unwind(promptmix::cli::main).unwrap_or(ExitCode::from(2))
}
