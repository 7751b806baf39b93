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

/// Opens a file for reading that must be a regular one: reading a pipe or a device may block or
/// never end.
///
/// # Errors
/// Those of opening; [`io::ErrorKind::InvalidInput`] with a message that names what it is instead,
/// such as "it is a folder, not a file".
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // A pipe without a writer would block already while it is opened.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let what = if kind.is_dir() { "a folder" } else { special_kind(kind) };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a file")))
}

#[cfg(unix)]
fn special_kind(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn special_kind(_: fs::FileType) -> &'static str {
    "a device"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, "a").unwrap();
        assert!(open_regular(&file).is_ok());
        let refused = |path: &Path| open_regular(path).unwrap_err().to_string();
        assert_eq!(refused(folder.path()), "it is a folder, not a file");
        let missing = open_regular(&folder.path().join("y")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn pipes_and_devices_are_named_and_do_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
        // SAFETY: `name` is a C string that lives for the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let refused = |path: &Path| open_regular(path).unwrap_err().to_string();
        assert_eq!(refused(&pipe), "it is a named pipe, not a file");
        assert_eq!(refused(Path::new("/dev/zero")), "it is a device, not a file");
    }
}
