//! Output under a temporary name beside its destination, until it is complete.
//!
//! The temporary name is fixed, and beside it there is a lock file: the process that holds the lock
//! may delete what a killed process has left. On success, an error or a signal both are removed.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

use super::BundleError;
use crate::interrupt::Leftover;

/// A file or folder that is being written; it is deleted when this is dropped.
#[derive(Debug)]
pub(super) struct Partial {
    part: Leftover,
    // Removed while it is still locked: fields are dropped in this order.
    _lock_file: Leftover,
    _lock: File,
}

impl Partial {
    /// Reserves the temporary name beside `destination` and deletes what is there.
    ///
    /// # Errors
    /// Another process is writing the same output, or the folder cannot be written to.
    pub(super) fn beside(destination: &Path, what: &str) -> Result<Self, BundleError> {
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        let path = destination.with_file_name(format!(".{name}.promptmix-{what}"));
        let lock_path = destination.with_file_name(format!(".{name}.promptmix-{what}-lock"));
        let write = |source| BundleError::Write { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(write)?;
        }
        let lock = loop {
            let file = crate::fs::open_for_update(&lock_path).map_err(write)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(BundleError::Busy { path }),
                // Some file systems have no locks.
                Err(TryLockError::Error(_)) => break file,
            }
            // A previous holder may have removed the file: the lock counts only if it still has its
            // name.
            if crate::fs::is_at(&file, &lock_path) {
                break file;
            }
        };
        let part = Self {
            part: Leftover::new(path.clone()),
            _lock_file: Leftover::new(lock_path),
            _lock: lock,
        };
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

    /// Moves the finished file to its destination without replacing a file that has appeared there.
    ///
    /// # Errors
    /// The destination exists or cannot be written.
    pub(super) fn finish_file(&self, to: &Path) -> Result<(), BundleError> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => BundleError::Exists { path: to.to_owned() },
            _ => BundleError::Write { path: to.to_owned(), source: error },
        };
        match fs::hard_link(self.path(), to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // Some file systems have no hard links. An empty file reserves the name first.
                File::create_new(to).map_err(fail)?;
                fs::rename(self.path(), to).map_err(|error| {
                    let _ = fs::remove_file(to);
                    fail(error)
                })
            }
            other => other.map_err(fail),
        }
    }

    /// Moves the finished folder to its destination.
    ///
    /// # Errors
    /// The destination exists or cannot be written.
    pub(super) fn finish_folder(&self, to: &Path) -> Result<(), BundleError> {
        if fs::symlink_metadata(to).is_ok() {
            return Err(BundleError::Exists { path: to.to_owned() });
        }
        fs::rename(self.path(), to)
            .map_err(|source| BundleError::Write { path: to.to_owned(), source })
    }
}

/// Sets the mode of a file or folder, regardless of the umask.
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
    fn remains_of_a_killed_process_are_deleted_and_a_second_writer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let goal = folder.path().join("b");
        // What a killed process leaves: both names, and no lock.
        fs::create_dir_all(folder.path().join(".b.promptmix-part/deep")).unwrap();
        fs::write(folder.path().join(".b.promptmix-part-lock"), "").unwrap();
        let part = Partial::beside(&goal, "part").unwrap();
        assert!(!part.path().exists());
        assert!(matches!(Partial::beside(&goal, "part"), Err(BundleError::Busy { .. })));
        fs::write(part.path(), "whole").unwrap();
        part.finish_file(&goal).unwrap();
        assert!(matches!(part.finish_file(&goal), Err(BundleError::Exists { .. })));
        drop(part);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(Partial::beside(&goal, "part").unwrap());
        assert_eq!(fs::read_to_string(goal).unwrap(), "whole");
    }
}
