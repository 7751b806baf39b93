//! What is written beside its goal until it is whole, and how it gets its name.
//!
//! A part has one fixed name beside its goal, and a lock beside that: whoever holds the lock may clear
//! what a process that was killed has left there. On an orderly end, an error or a signal both go.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

use super::BundleError;
use crate::interrupt::Leftover;

/// The place of a file or folder that is being made. What is there when this goes is removed.
#[derive(Debug)]
pub(super) struct Part {
    part: Leftover,
    // Removed while it is still locked: fields go in this order.
    _mark: Leftover,
    _lock: File,
}

impl Part {
    /// Claims the place beside `goal`, and clears it.
    ///
    /// # Errors
    /// Another process makes the same; the folder cannot be written to.
    pub(super) fn beside(goal: &Path, what: &str) -> Result<Self, BundleError> {
        let name = goal.file_name().unwrap_or_default().to_string_lossy();
        let path = goal.with_file_name(format!(".{name}.promptmix-{what}"));
        let mark = goal.with_file_name(format!(".{name}.promptmix-{what}-lock"));
        let write = |source| BundleError::Write { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(write)?;
        }
        let lock = loop {
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&mark)
                .map_err(write)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(BundleError::Busy { path }),
                // Not every file system has locks.
                Err(TryLockError::Error(_)) => break file,
            }
            // Whoever held it before has removed it: only one that still has its name counts.
            if is_at(&file, &mark) {
                break file;
            }
        };
        let part =
            Self { part: Leftover::new(path.clone()), _mark: Leftover::new(mark), _lock: lock };
        let cleared = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        cleared.map_err(write)?;
        Ok(part)
    }

    pub(super) fn path(&self) -> &Path {
        self.part.path()
    }

    /// Gives the finished file its name, never over another that came meanwhile.
    ///
    /// # Errors
    /// The name is taken, or cannot be written.
    pub(super) fn finish_file(&self, to: &Path) -> Result<(), BundleError> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => BundleError::Exists { path: to.to_owned() },
            _ => BundleError::Write { path: to.to_owned(), source: error },
        };
        match fs::hard_link(self.path(), to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // Not every file system has links. The name is taken with an empty file of ours first.
                File::create_new(to).map_err(fail)?;
                fs::rename(self.path(), to).map_err(|error| {
                    let _ = fs::remove_file(to);
                    fail(error)
                })
            }
            other => other.map_err(fail),
        }
    }

    /// Gives the finished folder its name.
    ///
    /// # Errors
    /// The name is taken, or cannot be written.
    pub(super) fn finish_folder(&self, to: &Path) -> Result<(), BundleError> {
        if fs::symlink_metadata(to).is_ok() {
            return Err(BundleError::Exists { path: to.to_owned() });
        }
        fs::rename(self.path(), to)
            .map_err(|source| BundleError::Write { path: to.to_owned(), source })
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |one: fs::Metadata, other: fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    file.metadata().is_ok_and(|one| fs::metadata(path).is_ok_and(|other| same(one, other)))
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Sets the mode of a file or folder whatever the umask is.
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    return fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    {
        let _ = (path, mode);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_cleared_and_two_at_once_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let goal = folder.path().join("b");
        // As a kill leaves it: both names, and no lock.
        fs::create_dir_all(folder.path().join(".b.promptmix-part/deep")).unwrap();
        fs::write(folder.path().join(".b.promptmix-part-lock"), "").unwrap();
        let part = Part::beside(&goal, "part").unwrap();
        assert!(!part.path().exists());
        assert!(matches!(Part::beside(&goal, "part"), Err(BundleError::Busy { .. })));
        fs::write(part.path(), "whole").unwrap();
        part.finish_file(&goal).unwrap();
        assert!(matches!(part.finish_file(&goal), Err(BundleError::Exists { .. })));
        drop(part);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(Part::beside(&goal, "part").unwrap());
        assert_eq!(fs::read_to_string(goal).unwrap(), "whole");
    }
}
