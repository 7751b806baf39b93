//! Parse, call, exit code.

use std::{
    io::{self, Write},
    panic::{self, PanicHookInfo},
    process::{self, ExitCode},
};

fn main() -> ExitCode {
    panic::set_hook(Box::new(|info| {
        if is_broken_pipe(info) {
            process::exit(0);
        }
        // Where stderr is closed nobody hears it.
        let _ = writeln!(
            io::stderr(),
            "error: promptmix has a fault of its own: {}\n\
             hint: what was finished is safe; please report this with the command that led to it",
            promptmix::describe_panic(info.location(), info)
        );
    }));
    panic::catch_unwind(promptmix::cli::main).unwrap_or(ExitCode::from(2))
}

/// Whether `println!` gave up because nobody reads on, as in `promptmix models list | head`.
fn is_broken_pipe(info: &PanicHookInfo<'_>) -> bool {
    // `println!` panics with a formatted message.
    let told = info.payload().downcast_ref::<String>().map_or("", String::as_str);
    told.starts_with("failed printing to stdout") && told.contains("Broken pipe")
}
