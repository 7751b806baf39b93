//! How the files of a run folder are written: for the user alone, each beside its place and then renamed,
//! so that there is no half of one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde::de::DeserializeOwned;

use super::RunError;
use crate::{interrupt, voice};

/// What the file `path` says.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let hint = "the run folder is incomplete; start anew in another one with --out";
    let bytes =
        fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source, hint })?;
    serde_json::from_slice(&bytes).map_err(|error| RunError::Row {
        path: path.to_owned(),
        line: error.line(),
        message: voice::json_fault(&error),
    })
}

/// Makes the folder `path` and those above it, for the user alone.
pub(super) fn create_private_folder(path: &Path) -> Result<(), RunError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// Replaces the file `path` in one step: a reader sees the old one or the new one, also after a power
/// cut.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _whole = interrupt::hold();
    let temporary = path.with_extension("part");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Brings the new name of the file `path` to the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Removes what a program that was killed in the middle of a write has left in the run folder `path`:
/// each file and each student is written beside its place and renamed. Best effort: a leftover does no
/// harm.
pub(super) fn sweep(path: &Path) {
    let numbered = |name: &str, before: &str| {
        let number = name.strip_prefix(before);
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(name) = name.to_str() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        let report = name.strip_suffix(".tmp").is_some_and(|name| numbered(name, "report."));
        if kind.is_file() && (name.ends_with(".part") || report) {
            let _ = fs::remove_file(path);
        } else if kind.is_dir()
            && (numbered(name, ".student.new-") || numbered(name, ".student.old-"))
        {
            let _ = fs::remove_dir_all(path);
        } else if kind.is_dir() && name != "student" && !name.starts_with('.') {
            sweep(&path);
        }
    }
}
