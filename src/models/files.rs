//! Writes and deletes private files; the errors name the path.

use std::{fs, io, path::Path};

use super::ModelError;

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ModelError + '_ {
    |source| ModelError::Write { path: path.to_owned(), source }
}

/// Creates `path` and its missing parents, for the owner alone.
pub(super) fn create_dir(path: &Path) -> Result<(), ModelError> {
    crate::fs::create_private_dir(path).map_err(write_error(path))
}

/// Replaces the content of `path` with `bytes` in one step; missing parents are created.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    crate::fs::write_atomic(path, bytes).map_err(write_error(path))
}

/// Deletes a folder and its content, if it exists.
pub(super) fn remove_dir(path: &Path) -> Result<(), ModelError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(write_error(path)(error)),
        _ => Ok(()),
    }
}
