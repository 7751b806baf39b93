//! Folders and files that only their owner may read, and files that are replaced as a whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use super::StoreError;

/// Makes `path` and what is missing above it, for the owner alone (0700). A folder that exists keeps
/// its rights: it may be shared on purpose.
pub fn folder(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| StoreError::Write { path: path.to_owned(), source })
}

/// Options for a file that only its owner may read (0600).
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Puts `bytes` in the place of what `path` held: at no moment is there half a file.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    if let Some(parent) = path.parent() {
        folder(parent)?;
    }
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        StoreError::Write { path: path.to_owned(), source }
    })
}

/// Makes a rename in `folder` outlast a power cut. Where folders cannot be synced, nothing is lost
/// but that promise.
pub fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// Deletes a folder with all in it; one that is not there is fine.
pub fn clear(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Write { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
