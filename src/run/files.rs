//! The files of a run folder: how they are read, and what is swept up of a program that was killed while it
//! wrote one.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

use super::RunError;
use crate::{private, voice};

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
    private::folder(path).map_err(|source| RunError::Write { path: path.to_owned(), source })
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
        if kind.is_file() && name.ends_with(".part") {
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
