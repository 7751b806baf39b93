//! Parses the command line, runs the command, returns its exit code.

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
        if promptmix::catches_panics() {
            return;
        }
        // stderr may be closed.
        let _ = writeln!(
            io::stderr(),
            "error: internal error in promptmix: {}\n\n\
             hint: finished work is kept; please report this together with the command that you ran",
            promptmix::describe_panic(info.location(), info)
        );
    }));
    panic::catch_unwind(promptmix::cli::main).unwrap_or(ExitCode::from(2))
}

/// Whether `println!` failed because the reader closed the pipe, as in `promptmix models list |
/// head`.
fn is_broken_pipe(info: &PanicHookInfo<'_>) -> bool {
    // `println!` panics with a formatted message.
    let message = info.payload().downcast_ref::<String>().map_or("", String::as_str);
    message.starts_with("failed printing to stdout") && message.contains("Broken pipe")
}
