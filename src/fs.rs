//! Folders and files that only their owner may read, and files that are replaced as a whole: a reader,
//! or who comes after a power cut, finds the old one or the new one and never half of it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use crate::interrupt;

/// Makes `path` and what is missing above it, for the owner alone (0700). A folder that exists keeps
/// its rights: it may be shared on purpose.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Options for a file that only its owner may read (0600).
pub(crate) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Puts `bytes` in the place of what the file `path` held. Its folder is there.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _whole = interrupt::hold();
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
        // The first failure is the one worth telling.
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Makes a rename in `folder` outlast a power cut.
pub(crate) fn sync_dir(folder: &Path) -> io::Result<()> {
    // The parent of a name without a folder is empty.
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) { File::open(here)?.sync_all() } else { Ok(()) }
}
