//! [`crate::private`], in the store's words.

use std::{fs, io, path::Path};

use super::StoreError;
pub(super) use crate::private::options;

fn told(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    |source| StoreError::Write { path: path.to_owned(), source }
}

/// Makes `path` and what is missing above it, for the owner alone.
pub fn folder(path: &Path) -> Result<(), StoreError> {
    crate::private::folder(path).map_err(told(path))
}

/// Puts `bytes` in the place of what `path` held, in a folder that may be missing.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    if let Some(parent) = path.parent() {
        folder(parent)?;
    }
    crate::private::replace(path, bytes).map_err(told(path))
}

/// Makes a rename in `folder` outlast a power cut. Where folders cannot be synced, nothing is lost
/// but that promise.
pub fn sync_folder(folder: &Path) {
    let _ = crate::private::sync_folder(folder);
}

/// Deletes a folder with all in it; one that is not there is fine.
pub fn clear(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(told(path)(error)),
        _ => Ok(()),
    }
}
