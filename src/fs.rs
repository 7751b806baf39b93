//! Folders and files that only their owner may read, and atomic writes: a reader, also after a
//! power cut, finds the old content or the new one and never a part of it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use crate::interrupt;

/// Creates the folder `path` and its missing parents for the owner only (0700). A folder that
/// exists keeps its permissions: it may be shared on purpose.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Options that create a file for its owner only (0600).
pub(crate) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Replaces the content of the file `path` by `bytes`, or creates it, in a folder that exists.
/// Writes a file beside it, syncs it, renames it over `path`, and syncs the folder; a signal waits
/// for the end.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _hold = interrupt::hold();
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = private_options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    match written {
        Ok(()) => path.parent().map_or(Ok(()), sync_dir),
        // Reports the write error, not that of the clean-up.
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Syncs `folder`, so that a rename in it survives a power cut.
pub(crate) fn sync_dir(folder: &Path) -> io::Result<()> {
    // The parent of a bare file name is the empty path.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder; the rename has happened all the same.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        result => result,
    }
}
