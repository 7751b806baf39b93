//! `promptmix review`: a page on this machine on which a person decides on the texts of a run.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use clap::Args;

use super::{error::CommandError, labels, run};
use crate::{
    counted::counted,
    hint::{shell_path, shell_word},
    http::{self, Address, Guard, Listener, Page, Request},
    interrupt,
    pipeline::Event,
    review::Review,
    run::RunFolder,
};

#[derive(Args)]
pub(super) struct ReviewArgs {
    /// The run folder
    run: PathBuf,
    /// Suggest this many texts first, as `promptmix suggest` does; they are a list on the page
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    suggest: Option<u32>,
    /// Port on 127.0.0.1; without it, any that is free
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Listen on this socket in the file system instead of a port, for an SSH tunnel
    #[arg(long, value_name = "PATH", conflicts_with = "port")]
    unix: Option<PathBuf>,
}

impl ReviewArgs {
    /// Where the page is.
    pub(super) fn address(&self) -> Address {
        match &self.unix {
            Some(path) => Address::Path(path.clone()),
            None => Address::Port(self.port.unwrap_or(0)),
        }
    }
}

/// The port of the tunnel in the example for a socket in the file system.
const TUNNEL: u16 = 8800;
/// How often the end is looked for.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs the command on `listener`, which was opened before sockets were refused.
pub(super) fn review(args: &ReviewArgs, listener: Listener, quiet: bool) -> anyhow::Result<()> {
    if let Some(count) = args.suggest {
        labels::suggested(&args.run, count, quiet)?;
    }
    // A signal ends the program when the files hold the decisions.
    let until_written = interrupt::hold();
    let (run, task, _) = RunFolder::reopen(&args.run)?;
    let mut watch = run::watch(quiet);
    run::opened(&run, &mut *watch);
    watch(Event::Wait { what: "reading the texts".to_owned() });
    let review = Review::open(run, task)?;
    let guard = Guard::new(listener.address().clone()).map_err(|source| {
        CommandError::new("the system provides no random numbers", "check /dev/urandom")
            .caused_by(source)
    })?;
    let url = guard.url(TUNNEL);
    if let Some(path) = args.unix.as_deref().filter(|_| !quiet) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let tunnel = format!("{TUNNEL}:{}", path.display());
        eprintln!("on your machine: ssh -N -L {} HOST", shell_word(tunnel));
    }
    if !quiet {
        eprintln!("open this address in a browser; it works once. Ctrl-C ends the review");
    }
    drop(watch);
    println!("{url}");
    let review = Arc::new(Mutex::new(review));
    let answering = Arc::clone(&review);
    let answer = move |request: &Request| crate::review::answer(&answering, request);
    let _server = http::serve(listener, Page { guard, answer }, http::PAGE);
    let lock = || review.lock().unwrap_or_else(PoisonError::into_inner);
    while !interrupt::requested() && !lock().is_closed() {
        thread::sleep(PAUSE);
    }
    let mut review = lock();
    let decisions = review.decisions();
    for line in review.close()? {
        eprintln!("{line}");
    }
    if !quiet {
        eprintln!("{} recorded", counted(decisions, "decision"));
        if decisions > 0 {
            let run = shell_path(&args.run);
            eprintln!(
                "to train on what was decided, repeat the command that made the run, or:\n  promptmix train {run} && promptmix eval {run}"
            );
        }
    }
    drop(review);
    // The page gets its last answer.
    thread::sleep(PAUSE);
    drop(until_written);
    Ok(())
}
