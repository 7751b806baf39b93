//! Downloads one file, resuming it whenever the connection is lost.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    thread,
};

use hf_hub::api::Progress;

use super::{
    hub::{Hub, RemoteFile, Response},
    retry::{Backoff, Failure},
};
use crate::{fs::open_for_update, models::ModelError};

/// Downloads `remote` to `path`. The bytes that an earlier attempt left in `path.part` are kept and
/// the rest is fetched; a file of the full length is not fetched again.
pub(super) fn fetch(
    hub: &Hub,
    remote: &RemoteFile,
    file: &str,
    path: &Path,
    progress: &mut dyn Progress,
) -> Result<(), ModelError> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    if path.is_file() && length(path) == remote.size {
        return Ok(());
    }
    let part = path.with_file_name(format!("{file}.part"));
    if length(&part) > remote.size {
        let _ = fs::remove_file(&part);
    }
    let write = |source| ModelError::Write { path: part.clone(), source };
    let target = open_for_update(&part).map_err(write)?;
    let mut download = Download { hub, remote, file, part: &part, target, done: length(&part) };
    progress.init(remote.size as usize, file);
    progress.update(download.done as usize);
    let mut backoff = Backoff::default();
    while download.done < remote.size {
        if let Err(failure) = download.attempt(&mut backoff, progress) {
            thread::sleep(backoff.after(failure)?);
        }
    }
    download.target.sync_all().map_err(write)?;
    progress.finish();
    fs::rename(&part, path).map_err(write)
}

/// A file that is being downloaded.
struct Download<'a> {
    hub: &'a Hub,
    remote: &'a RemoteFile,
    file: &'a str,
    part: &'a Path,
    /// `part`, opened for appending.
    target: File,
    /// Bytes in `part`.
    done: u64,
}

impl Download<'_> {
    /// Requests the missing bytes once and appends those that arrive.
    fn attempt(
        &mut self,
        backoff: &mut Backoff,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let Self { hub, remote, file, part, .. } = *self;
        let disk = |source| Failure::permanent(ModelError::Write { path: part.to_owned(), source });
        let response = hub.get(&remote.url, file, &format!("bytes={}-", self.done))?;
        let start = first_byte(hub, remote, file, &response, self.done);
        if start.map_err(Failure::permanent)? < self.done {
            // The server does not support ranges and sends the whole file again.
            self.target.set_len(0).map_err(disk)?;
            self.done = 0;
            progress.init(remote.size as usize, file);
        }
        match copy(response.body, &mut self.target, remote.size - self.done, progress) {
            Ok(count) => {
                self.done += count;
                Ok(())
            }
            Err((_, Interruption::Disk(source))) => Err(disk(source)),
            Err((count, Interruption::Connection(message))) => {
                self.done += count;
                if count > 0 {
                    backoff.reset();
                }
                Err(Failure::transient(hub.error(
                    file,
                    format!(
                        "the connection was lost after {} of {} bytes: {message}",
                        self.done, remote.size
                    ),
                    "pull again; interrupted downloads are resumed",
                )))
            }
        }
    }
}

/// The position in the file at which the body of `response` begins: that of the `requested` byte,
/// or 0.
///
/// # Errors
/// The response has another range, or is about a file of another size.
fn first_byte(
    hub: &Hub,
    remote: &RemoteFile,
    file: &str,
    response: &Response,
    requested: u64,
) -> Result<u64, ModelError> {
    let error = |message: String| {
        let hint =
            "pull again; the file may have changed, or a proxy may have altered the response";
        Err(hub.error(file, message, hint))
    };
    match (response.status, response.range) {
        (206, Some((start, size))) if start == requested && size == remote.size => Ok(start),
        (200, _) if response.length.is_none_or(|length| length == remote.size) => Ok(0),
        (416, _) => error(format!("the server has no bytes after byte {requested}")),
        (status, range) => error(format!(
            "requested the bytes from {requested} of {}, received a response with status {status} and {}",
            remote.size,
            range.map_or_else(
                || "no range".to_owned(),
                |(start, size)| format!("the bytes from {start} of {size}")
            ),
        )),
    }
}

/// Why a copy ended early.
enum Interruption {
    Connection(String),
    Disk(io::Error),
}

/// Copies exactly `wanted` bytes; an error comes with the number of bytes copied before it.
fn copy(
    mut body: Box<dyn Read>,
    target: &mut File,
    wanted: u64,
    progress: &mut dyn Progress,
) -> Result<u64, (u64, Interruption)> {
    let mut buffer = vec![0; 1 << 16];
    let mut done = 0;
    while done < wanted {
        let most = buffer.len().min(usize::try_from(wanted - done).unwrap_or(usize::MAX));
        let lost = |message: String| (done, Interruption::Connection(message));
        let count = match body.read(&mut buffer[..most]) {
            Ok(0) => return Err(lost("the server sent no more".to_owned())),
            Ok(count) => count,
            Err(error) => return Err(lost(error.to_string())),
        };
        target.write_all(&buffer[..count]).map_err(|error| (done, Interruption::Disk(error)))?;
        done += count as u64;
        progress.update(count);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_body_is_a_lost_connection_and_a_long_one_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut target = File::create(folder.path().join("a")).unwrap();
        let body = |bytes: &'static [u8]| Box::new(bytes) as Box<dyn Read>;
        let short = copy(body(b"abc"), &mut target, 5, &mut ());
        assert!(matches!(short, Err((3, Interruption::Connection(_)))));
        assert_eq!(copy(body(b"defgh"), &mut target, 2, &mut ()).ok(), Some(2));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"abcde");
    }
}
