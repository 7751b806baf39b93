//! A teacher behind addresses: who may be connected to, decided before anything else is read.

use std::{borrow::Cow, path::PathBuf, time::Duration};

use super::{TeacherArgs, error::CommandError};
use crate::{
    config::Settings,
    hint::Hint,
    teacher::{
        remote::{Address, AddressError, RemoteOptions, broker},
        worker::Launch,
    },
};

/// The variable that allows the addresses of a task.
const ALLOW: &str = "PROMPTMIX_ALLOW_NETWORK";

/// Starts the process that may connect, if the user allows it: to the addresses of the command
/// line, or, with the variable, to those that the task names. Call it while this process can still
/// hand on the network.
///
/// # Errors
/// A text that is no address; addresses together with `--offline`; a process that does not start.
pub(super) fn start_broker(args: Option<&TeacherArgs>, offline: bool) -> anyhow::Result<()> {
    let Some(args) = args else { return Ok(()) };
    let by_variable = std::env::var_os(ALLOW).is_some_and(|value| value == "1");
    if args.allow_address.is_empty() && (offline || !by_variable) {
        return Ok(());
    }
    if offline {
        return Err(CommandError::new(
            "--allow-address connects, and --offline forbids it",
            "leave one of them out",
        )
        .into());
    }
    let addresses = parsed(&args.allow_address)?;
    broker::start(&Launch::this_program(), &addresses).map_err(|source| {
        CommandError::new(
            "the process that connects does not start",
            "the file of this program must be executable",
        )
        .caused_by(source)
        .into()
    })
}

/// The engine behind addresses that `settings` name, if they name any.
///
/// # Errors
/// A text that is no address; addresses that the user has not allowed.
pub(super) fn remote(
    settings: &Settings,
    chat_template: Option<String>,
) -> anyhow::Result<Option<RemoteOptions>> {
    let teacher = &settings.teacher;
    let addresses = parsed(&teacher.address)?;
    let Some(first) = addresses.first() else {
        // Nor is any later one to be connected to.
        if broker::is_running() {
            broker::allow(Vec::new()).map_err(|_| ended())?;
        }
        return Ok(None);
    };
    if !broker::is_running() {
        return Err(CommandError::new(
            format!("the teacher answers at {first}, and this command was not allowed to connect"),
            format!("--allow-address {first} allows it, and so does {ALLOW}=1 in the environment; prompts, and the texts in them, are sent there"),
        )
        .into());
    }
    let refused = |what: &str, hint: &str| Err(CommandError::new(what.to_owned(), hint).into());
    if teacher.in_process {
        return refused(
            "--in-process runs the teacher in this process, but it answers at an address",
            "leave --in-process out",
        );
    }
    if teacher.deterministic {
        return refused(
            "the answers of an engine at an address depend on what else it works on",
            "leave --deterministic out, or use a teacher on this machine",
        );
    }
    // The command line has named its addresses to the broker already.
    broker::allow(addresses.clone()).map_err(|_| ended())?;
    let seconds = teacher.watchdog_seconds;
    Ok(Some(RemoteOptions {
        addresses,
        tls_ca: teacher.tls_ca.as_ref().map(PathBuf::from),
        tls_pin: teacher.tls_pin.clone(),
        api_key_file: teacher.api_key_file.as_ref().map(PathBuf::from),
        silence: (seconds > 0).then(|| Duration::from_secs(seconds)),
        chat_template,
    }))
}

fn ended() -> CommandError {
    CommandError::new("the process that connects has ended", "rerun the same command")
}

fn parsed(addresses: &[String]) -> Result<Vec<Address>, CommandError> {
    let parsed = addresses.iter().map(|address| address.parse());
    parsed.collect::<Result<_, AddressError>>().map_err(|error| {
        let hint = error.hint().map(Cow::into_owned).unwrap_or_default();
        CommandError::new(error.to_string(), hint)
    })
}
