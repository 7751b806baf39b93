//! `promptmix serve`: trained students behind an address.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use clap::Args;

use super::{
    build,
    error::{self, CommandError},
    predict,
};
use crate::{
    counted::counted,
    http::{Address, Ip, Listener},
    interrupt,
    run::names,
    serve::{self, Bounds, Engine, Keys},
};

#[derive(Args)]
pub(super) struct ServeArgs {
    /// Folder of a trained student, or of the run that trained it; also `owner/name` in the Hugging
    /// Face cache, or the name of a student in the library
    ///
    /// Several may be given. A request names one; without a name, the first one answers. Its name
    /// is that of the folder, or NAME in `NAME=MODEL`. A folder that is replaced is loaded again.
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Port; 0 is any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Listen on this socket in the file system instead of a port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["port", "host"])]
    unix: Option<PathBuf>,
    /// Listen on this address of the machine instead of 127.0.0.1, so that others can reach it
    ///
    /// Needs --api-key-file. The connection is not encrypted: put a proxy with TLS in front.
    #[arg(long, value_name = "ADDR", requires = "api_key_file")]
    host: Option<Ip>,
    /// File with the keys of clients, one a line; a request must have `Authorization: Bearer KEY`
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Compute with 8-bit weights on a CPU: faster (most with VNNI), slightly less accurate
    #[arg(long)]
    fast: bool,
    /// Most texts of a request; more are refused (413)
    #[arg(long, value_name = "N", default_value_t = serve::TEXTS, value_parser = positive)]
    max_texts: usize,
    /// Most MiB of a request's body; more are refused (413)
    #[arg(long, value_name = "MIB", default_value_t = serve::BODY_MIB, value_parser = positive)]
    max_body: usize,
    /// Most texts that wait for a model; more are refused (429)
    #[arg(long, value_name = "N", default_value_t = serve::QUEUE, value_parser = positive)]
    queue: usize,
    /// Most connections; more are refused (503)
    #[arg(long, value_name = "N", default_value_t = serve::CONNECTIONS, value_parser = positive)]
    connections: usize,
    /// Seconds for a request to arrive (408), to be answered (503), and for the answer to be read,
    /// each; also for requests that were begun when the server is stopped
    #[arg(long, value_name = "SECONDS", default_value_t = serve::SECONDS)]
    timeout: u64,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a number from 1".to_owned()),
    }
}

impl ServeArgs {
    /// Where to listen, if no service manager has opened a socket.
    pub(super) fn address(&self) -> Address {
        match (&self.unix, self.host) {
            (Some(path), _) => Address::Path(path.clone()),
            (None, Some(host)) => Address::Host(host, self.port),
            (None, None) => Address::Port(self.port),
        }
    }

    fn bounds(&self) -> anyhow::Result<Bounds> {
        if self.queue < self.max_texts {
            let message = format!(
                "--queue {} is less than --max-texts {}: a request that large never had room",
                self.queue, self.max_texts
            );
            return Err(CommandError::new(message, "raise --queue or lower --max-texts").into());
        }
        Ok(Bounds {
            texts: self.max_texts,
            queue: self.queue,
            body: self.max_body << 20,
            connections: self.connections,
            time: Duration::from_secs(self.timeout.max(1)),
        })
    }

    /// The models by name, each with its folder.
    fn folders(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let mut folders: Vec<(String, PathBuf)> = Vec::new();
        for model in &self.models {
            let (name, model) = match model.split_once('=') {
                Some((name, path)) if !Path::new(model).exists() => (name.to_owned(), path),
                _ => (name_of(Path::new(model)), model.as_str()),
            };
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || !name.chars().all(allowed) {
                let message = format!("{name:?} is no name for a model in an address");
                let hint = "name it with letters, digits and . _ - as in `tickets=PATH`";
                return Err(CommandError::new(message, hint).into());
            }
            if folders.iter().any(|(other, _)| *other == name) {
                let message = format!("two models have the name {name}");
                return Err(CommandError::new(message, "name one of them: `NAME=MODEL`").into());
            }
            let folder = predict::student_folder(Path::new(model))?;
            // Whatever the working directory becomes.
            let folder = std::path::absolute(&folder).unwrap_or(folder);
            folders.push((name, folder));
        }
        Ok(folders)
    }
}

/// The name of the model at `path`: that of its run, or of its folder.
fn name_of(path: &Path) -> String {
    let path = match std::path::absolute(path) {
        Ok(whole) if path.exists() => whole,
        _ => path.to_owned(),
    };
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = last(&path).unwrap_or_default();
    match path.parent().and_then(last) {
        Some(run) if name == names::STUDENT => run,
        _ => name,
    }
}

/// How often the end is looked for.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the command on `listener`, which was opened before sockets were refused.
pub(super) fn serve(args: &ServeArgs, listener: Listener, quiet: bool) -> anyhow::Result<()> {
    let keys = args.api_key_file.as_deref().map(Keys::read).transpose()?;
    let address = listener.address().clone();
    if address.is_public() && keys.is_none() {
        return Err(CommandError::new(
            format!("other machines can reach {address}, and no key is asked for"),
            "give --api-key-file FILE; `openssl rand -hex 32 > FILE` makes a key",
        )
        .into());
    }
    let (bounds, folders) = (args.bounds()?, args.folders()?);
    let device = build::student_device()?;
    let precision = predict::precision(args.fast, &device);
    let engine = Engine { device, precision };
    let mut serving = serve::start(listener, folders, &engine, keys, bounds);
    println!("{address}");
    if address.is_public() && !quiet {
        eprintln!(
            "other machines can reach this address: whoever has a key may send texts. Texts and keys are not encrypted on the way; put a proxy with TLS in front"
        );
    }
    serving.load()?;
    if !quiet && !interrupt::requested() {
        eprintln!("ready; Ctrl-C ends the server");
    }
    while !interrupt::requested() {
        thread::sleep(PAUSE);
    }
    if !quiet {
        eprintln!("stopping: requests that were begun are answered; Ctrl-C again ends it at once");
    }
    let cut = serving.stop(bounds.time);
    if cut > 0 {
        let seconds = bounds.time.as_secs();
        error::warn(&format!("{} cut after {seconds} s", counted(cut, "connection")), None);
    }
    Ok(())
}
