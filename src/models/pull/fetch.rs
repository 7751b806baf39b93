//! Brings one file down, however often the line is cut.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    thread,
    time::Duration,
};

use hf_hub::api::Progress;

use super::hub::{Answer, Hub, Miss, Remote};
use crate::models::{ModelError, private};

/// Attempts in a row without a single byte, before one gives up.
const ATTEMPTS: u32 = 4;

/// Fetches `remote` to `path`. What an earlier attempt left in `path.part` is gone on with; a file that
/// is there in full length is not asked for again.
pub(super) fn fetch(
    hub: &Hub,
    remote: &Remote,
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
    let mut target =
        private::private_options().append(true).create(true).open(&part).map_err(write)?;
    let mut there = length(&part);
    progress.init(remote.size as usize, file);
    progress.update(there as usize);
    let mut misses = 0;
    while there < remote.size {
        let result = hub.get(&remote.url, file, &format!("bytes={there}-"));
        let got =
            result.and_then(|answer| {
                let start = begin(hub, remote, file, &answer, there).map_err(Miss::never)?;
                if start < there {
                    // The server does not do parts: the whole comes again.
                    target.set_len(0).map_err(|source| Miss::never(write(source)))?;
                    there = 0;
                    progress.init(remote.size as usize, file);
                }
                copy(answer.body, &mut target, remote.size - there, progress).map_err(
                    |(got, end)| match end {
                        End::Disk(source) => Miss::never(write(source)),
                        End::Line(message) => {
                            there += got;
                            misses = if got > 0 { 0 } else { misses };
                            let size = remote.size;
                            Miss::perhaps(hub.fault(
                        file,
                        format!("the connection was cut after {there} of {size} bytes: {message}"),
                        "pull again: it goes on from there",
                    ))
                        }
                    },
                )
            });
        match got {
            Ok(count) => there += count,
            Err(Miss::Never(error)) => return Err(*error),
            Err(Miss::Perhaps(error)) => {
                misses += 1;
                if misses >= ATTEMPTS {
                    return Err(*error);
                }
                thread::sleep(pause(misses));
            }
        }
    }
    target.sync_all().map_err(write)?;
    progress.finish();
    fs::rename(&part, path).map_err(write)
}

/// Where the body begins, if it is of the file that was asked for.
fn begin(
    hub: &Hub,
    remote: &Remote,
    file: &str,
    answer: &Answer,
    asked: u64,
) -> Result<u64, ModelError> {
    let fault = |message: String| {
        Err(hub.fault(file, message, "the file changed or a proxy meddles; pull again"))
    };
    match (answer.status, answer.range) {
        (206, Some((start, size))) if start == asked && size == remote.size => Ok(start),
        (200, _) if answer.length.is_none_or(|length| length == remote.size) => Ok(0),
        (416, _) => fault(format!("the server has nothing after byte {asked}")),
        (status, range) => fault(format!(
            "the answer ({status}, {}) is not the rest after byte {asked} of {} bytes",
            range.map_or_else(
                || "no range".to_owned(),
                |(start, size)| format!("from {start} of {size}")
            ),
            remote.size
        )),
    }
}

enum End {
    Line(String),
    Disk(io::Error),
}

/// Copies exactly `wanted` bytes; or says how many came, and why no more.
fn copy(
    mut body: Box<dyn Read>,
    target: &mut File,
    wanted: u64,
    progress: &mut dyn Progress,
) -> Result<u64, (u64, End)> {
    let mut buffer = vec![0; 1 << 16];
    let mut got = 0;
    while got < wanted {
        let most = buffer.len().min(usize::try_from(wanted - got).unwrap_or(usize::MAX));
        let count = match body.read(&mut buffer[..most]) {
            Ok(0) => return Err((got, End::Line("the server sent no more".to_owned()))),
            Ok(count) => count,
            Err(error) => return Err((got, End::Line(error.to_string()))),
        };
        target.write_all(&buffer[..count]).map_err(|error| (got, End::Disk(error)))?;
        got += count as u64;
        progress.update(count);
    }
    Ok(got)
}

/// Asks again while an answer may yet come.
pub(super) fn patiently<T>(ask: impl FnMut() -> Result<T, Miss>) -> Result<T, ModelError> {
    attempts(ATTEMPTS, |misses| thread::sleep(pause(misses)), ask)
}

fn attempts<T>(
    most: u32,
    mut wait: impl FnMut(u32),
    mut ask: impl FnMut() -> Result<T, Miss>,
) -> Result<T, ModelError> {
    let mut misses = 0;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(Miss::Perhaps(_)) if misses + 1 < most => misses += 1,
            Err(miss) => return Err(miss.into_error()),
        }
        wait(misses);
    }
}

/// 0.4, 0.8, 1.6 seconds: a router that starts anew takes longer, but the next pull goes on.
fn pause(misses: u32) -> Duration {
    Duration::from_millis(200 << misses.min(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_body_is_a_cut_line_and_a_long_one_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut target = File::create(folder.path().join("a")).unwrap();
        let body = |bytes: &'static [u8]| Box::new(bytes) as Box<dyn Read>;
        assert!(matches!(copy(body(b"abc"), &mut target, 5, &mut ()), Err((3, End::Line(_)))));
        assert_eq!(copy(body(b"defgh"), &mut target, 2, &mut ()).ok(), Some(2));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"abcde");
    }

    #[test]
    fn patience_ends() {
        let fault = || ModelError::Offline { by: "x".into(), mend: "y".into() };
        // How often it is asked, how long it waits; `Never` comes at the asking of that number.
        let count = |never: u32| {
            let (mut asked, mut waits) = (0, Vec::new());
            let result: Result<(), _> = attempts(
                4,
                |misses| waits.push(misses),
                || {
                    asked += 1;
                    assert!(asked < 100, "it never ends");
                    let again = asked != never;
                    Err(if again { Miss::perhaps(fault()) } else { Miss::never(fault()) })
                },
            );
            assert!(result.is_err());
            (asked, waits)
        };
        assert_eq!(count(0), (4, vec![1, 2, 3]));
        assert_eq!(count(2), (2, vec![1]));
        assert_eq!(count(1), (1, vec![]));
        let mut asked = 0;
        let answer = attempts(
            4,
            |_| {},
            || {
                asked += 1;
                if asked < 4 { Err(Miss::perhaps(fault())) } else { Ok(asked) }
            },
        );
        assert_eq!(answer.ok(), Some(4));
    }
}
