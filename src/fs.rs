//! Every file that this program writes is opened here, and every folder that it replaces is
//! replaced here.
//!
//! * Files and folders are for their owner alone.
//! * A reader, also after a power cut, finds the old content or the new one and never a part of it.
//! * No link is followed: a run folder may lie where others can write, and a link in it would
//!   overwrite a file elsewhere. [`create_anew`] and [`write_atomic`] make their files anew;
//!   [`open_for_update`] refuses links, hard ones too, and whatever is no regular file.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
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

/// Options that create a file for its owner only (0600), do not follow a link in its last
/// component, and do not wait for the other end of a pipe.
fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    options
}

/// Creates the file `path` for writing and reading.
///
/// # Errors
/// It exists, also as a link.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    private_options().read(true).write(true).create_new(true).open(path)
}

/// As [`create_new`], but whatever had that name, a link for example, is removed first.
pub(crate) fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => create_new(path),
    }
}

/// Opens the file `path` to read it and to append to it, or creates it.
///
/// # Errors
/// `path` is a link, has a second name (a hard link), or is no regular file.
pub(crate) fn open_for_update(path: &Path) -> io::Result<File> {
    let file = private_options().read(true).append(true).create(true).open(path);
    let file = file.map_err(|error| not_followed(path, error))?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(irregular(metadata.file_type()));
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&metadata) > 1 {
        let message = "it has a second name (a hard link), whose content would change too";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

/// Opens the file `path` for reading; a link is followed.
///
/// # Errors
/// Those of opening; [`io::ErrorKind::InvalidInput`] with a message that names what it is instead
/// of a file: a folder, or a pipe or a device, which may have no end.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for its writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.read(true).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(irregular(kind)) }
}

/// The text of the regular file `path`, which may have at most `most` bytes.
///
/// # Errors
/// As [`open_regular`]; also a longer file, and one that is not UTF-8.
pub(crate) fn read_regular(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = io::Read::take(open_regular(path)?, most + 1);
    io::Read::read_to_end(&mut { read }, &mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (offset, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = 1 + bytes[..offset].iter().filter(|byte| **byte == b'\n').count();
        let byte = bytes[offset];
        let message = format!("not UTF-8: byte 0x{byte:02x} at offset {offset}, line {line}");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// The content of the regular file `path`.
///
/// # Errors
/// As [`open_regular`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut open_regular(path)?, &mut bytes)?;
    Ok(bytes)
}

/// Something that is no regular file, by its name.
fn irregular(kind: fs::FileType) -> io::Error {
    let what = if kind.is_dir() { "a folder" } else { special_kind(kind) };
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a file"))
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

/// Names the reason if `path` was not opened because it is a link.
fn not_followed(path: &Path, error: io::Error) -> io::Error {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link")
        }
        _ => error,
    }
}

/// Whether `path` still names the open `file`.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |one: fs::Metadata, other: fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    file.metadata().is_ok_and(|one| fs::symlink_metadata(path).is_ok_and(|other| same(one, other)))
}

/// Whether `path` still names the open `file`.
#[cfg(not(unix))]
pub(crate) fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Why nothing is to be written into the folder `path`: somebody else could plant links in it or
/// change what is read from it, or has planted one. `None` if there is no reason, or no folder.
pub(crate) fn unsafe_to_write(path: &Path) -> Option<String> {
    let has_modes = || has_modes(path);
    let top = fs::metadata(path).ok()?;
    open_to_others("it", &top, &has_modes).or_else(|| unsafe_in(path, Path::new(""), &has_modes))
}

/// What others may do to `subject`, which has this `metadata`, that they should not. Permissions
/// count only if the file system `has_modes`.
#[cfg(unix)]
fn open_to_others(
    subject: &str,
    metadata: &fs::Metadata,
    has_modes: &dyn Fn() -> bool,
) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: it takes nothing and cannot fail.
    let user = unsafe { libc::geteuid() };
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    // The administrator works in folders of others, as in a container with a mounted folder.
    if ![user, 0].contains(&owner) && user != 0 {
        return Some(format!("{subject} belongs to another user (number {owner})"));
    }
    (mode & 0o002 != 0 && has_modes())
        .then(|| format!("every user may write to {subject} (mode {mode:o})"))
}

#[cfg(not(unix))]
fn open_to_others(_: &str, _: &fs::Metadata, _: &dyn Fn() -> bool) -> Option<String> {
    None
}

/// Whether the file system of the folder `path` keeps permissions. A drive with FAT, or one of
/// Windows in its subsystem for Linux, shows the same for everything.
#[cfg(unix)]
fn has_modes(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let probe = new_beside(&path.join("probe"));
    let mode = create_anew(&probe).and_then(|file| Ok(file.metadata()?.permissions().mode()));
    let _ = fs::remove_file(&probe);
    mode.map_or(true, |mode| mode & 0o077 == 0)
}

/// The first link, pipe or device in the folder `root` joined with `below`, or in a folder in it,
/// or what others may write to there; in words, with its path relative to `root`.
fn unsafe_in(root: &Path, below: &Path, has_modes: &dyn Fn() -> bool) -> Option<String> {
    for entry in fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
        let (Ok(kind), name) = (entry.file_type(), below.join(entry.file_name())) else { continue };
        let subject = format!("{} in it", name.display());
        if kind.is_symlink() {
            return Some(format!("{subject} is a symbolic link"));
        }
        if !kind.is_dir() && !kind.is_file() {
            return Some(format!("{subject} is {}", special_kind(kind)));
        }
        // Not that of a link that has taken its place.
        let metadata = entry.metadata().ok();
        let open = metadata.and_then(|metadata| open_to_others(&subject, &metadata, has_modes));
        let deeper = || kind.is_dir().then(|| unsafe_in(root, &name, has_modes)).flatten();
        if let Some(reason) = open.or_else(deeper) {
            return Some(reason);
        }
    }
    None
}

/// Replaces the content of the file `path` by `bytes`, or creates it, in a folder that exists.
/// Writes a file beside it, syncs it, renames it over `path`, and syncs the folder; a signal waits
/// for the end.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _hold = interrupt::hold();
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = create_anew(&temporary)
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

/// A hidden name beside the folder `path`, for a new version of it that this process writes.
pub(crate) fn new_beside(path: &Path) -> PathBuf {
    beside(path, NEW)
}

const NEW: &str = "new";
const OLD: &str = "old";

fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{what}-{}", std::process::id()))
}

/// Puts the folder `new`, which is complete and synced, in the place of the folder `path`, and
/// deletes what was there. At any moment `path` is the old folder or the new one; where the file
/// system cannot exchange two names, [`repair_dirs`] restores this after a kill.
pub(crate) fn replace_dir(new: &Path, path: &Path) -> io::Result<()> {
    let _hold = interrupt::hold();
    let old = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::rename(new, path)?;
            None
        }
        Err(error) => return Err(error),
        Ok(_) => Some(exchange(new, path)?),
    };
    path.parent().map_or(Ok(()), sync_dir)?;
    old.map_or(Ok(()), fs::remove_dir_all)
}

/// Exchanges `new` and `path`; returns where the old content of `path` is.
fn exchange(new: &Path, path: &Path) -> io::Result<PathBuf> {
    match exchange_names(new, path) {
        Ok(()) => Ok(new.to_owned()),
        // The file system or the system cannot do it.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            exchange_in_two_steps(new, path)
        }
        Err(error) => Err(error),
    }
}

fn exchange_in_two_steps(new: &Path, path: &Path) -> io::Result<PathBuf> {
    let old = beside(path, OLD);
    fs::rename(path, &old)?;
    if let Err(error) = fs::rename(new, path) {
        // If this fails as well, `repair_dirs` does it later.
        let _ = fs::rename(&old, path);
        return Err(error);
    }
    Ok(old)
}

#[cfg(target_os = "linux")]
fn exchange_names(one: &Path, other: &Path) -> io::Result<()> {
    use std::{ffi::CString, os::unix::ffi::OsStrExt};
    let one = CString::new(one.as_os_str().as_bytes())?;
    let other = CString::new(other.as_os_str().as_bytes())?;
    let here = libc::AT_FDCWD;
    // SAFETY: both are texts that end with a zero and outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            here,
            one.as_ptr(),
            here,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn exchange_names(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Completes in the folder `parent` what a process that was killed within [`replace_dir`] left: a
/// folder whose name is missing gets its old content back, then the other leftovers are deleted.
/// Only for a `parent` that no other process writes to. Best effort: leftovers do no harm.
pub(crate) fn repair_dirs(parent: &Path) {
    let exists = |path: &Path| fs::symlink_metadata(path).is_ok();
    for (leftover, path, what) in leftovers(parent) {
        if what == OLD && !exists(&path) && fs::rename(&leftover, &path).is_ok() {
            let _ = sync_dir(parent);
        }
    }
    for (leftover, path, what) in leftovers(parent) {
        // An old folder that could not be restored may be all that is left.
        if what == NEW || exists(&path) {
            let _ = fs::remove_dir_all(leftover);
        }
    }
}

/// The leftovers in `parent`: the path, that of the folder that was to be replaced, and [`NEW`] or
/// [`OLD`].
fn leftovers(parent: &Path) -> Vec<(PathBuf, PathBuf, &'static str)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .filter_map(|entry| {
            let name = entry.file_name();
            let (of, what) = leftover_of(name.to_str()?)?;
            Some((entry.path(), parent.join(of), what))
        })
        .collect()
}

/// The name of the folder of which `name` is a leftover, and which one.
fn leftover_of(name: &str) -> Option<(&str, &'static str)> {
    let (rest, number) = name.strip_prefix('.')?.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let (of, what) = rest.rsplit_once('.')?;
    let what = [NEW, OLD].into_iter().find(|known| *known == what)?;
    (is_number && !of.is_empty()).then_some((of, what))
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

/// Bytes that this user may still write to the disk of `folder`; `None` if the system does not
/// report them.
#[cfg(unix)]
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in a zero byte, and `stat` has room for the result.
    if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so `stat` is initialised.
    let stat = unsafe { stat.assume_init() };
    // The types of the fields differ between systems.
    #[allow(clippy::unnecessary_cast)]
    Some((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
}

#[cfg(not(unix))]
pub(crate) fn free_space(_folder: &Path) -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests;
