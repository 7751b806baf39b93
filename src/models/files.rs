//! [`crate::fs`], in the store's words.

use std::{fs, io, path::Path};

use super::ModelError;
pub(super) use crate::fs::private_options;

fn told(path: &Path) -> impl FnOnce(io::Error) -> ModelError + '_ {
    |source| ModelError::Write { path: path.to_owned(), source }
}

/// Makes `path` and what is missing above it, for the owner alone.
pub(super) fn folder(path: &Path) -> Result<(), ModelError> {
    crate::fs::create_private_dir(path).map_err(told(path))
}

/// Puts `bytes` in the place of what `path` held, in a folder that may be missing.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    if let Some(parent) = path.parent() {
        folder(parent)?;
    }
    crate::fs::write_atomic(path, bytes).map_err(told(path))
}

/// Makes a rename in `folder` outlast a power cut. Where folders cannot be synced, nothing is lost
/// but that promise.
pub(super) fn sync_folder(folder: &Path) {
    let _ = crate::fs::sync_dir(folder);
}

/// Deletes a folder with all in it; one that is not there is fine.
pub(super) fn clear(path: &Path) -> Result<(), ModelError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(told(path)(error)),
        _ => Ok(()),
    }
}
