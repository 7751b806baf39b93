//! Whether the disk has room for what is about to be fetched: better said before than after an hour.

use std::{fs, path::Path};

use crate::models::ModelError;

/// What is left free, for the lock file and all else that a machine writes meanwhile.
const SPARE: u64 = 64 << 20;

/// Holds the bytes that are still to come into `folder` against what is free there.
///
/// # Errors
/// [`ModelError::Full`] says how much is missing.
pub(super) fn check<'a>(
    folder: &Path,
    files: impl Iterator<Item = (&'a str, u64)>,
) -> Result<(), ModelError> {
    let length = |name: &str| fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
    let wanted: u64 = files
        .map(|(name, size)| size.saturating_sub(length(name).max(length(&format!("{name}.part")))))
        .fold(0, u64::saturating_add);
    match free(folder) {
        Some(free) => enough(folder, wanted, free),
        None => Ok(()),
    }
}

fn enough(folder: &Path, wanted: u64, free: u64) -> Result<(), ModelError> {
    let needed = wanted.saturating_add(SPARE);
    if wanted == 0 || needed <= free {
        return Ok(());
    }
    Err(ModelError::Full { path: folder.to_owned(), wanted, free, missing: needed - free })
}

/// Bytes that this user may still write there; `None` where the system does not say.
#[cfg(unix)]
fn free(folder: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in a zero byte, and there is room for the answer.
    if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it is filled in.
    let stat = unsafe { stat.assume_init() };
    // Their widths differ between systems.
    #[allow(clippy::unnecessary_cast)]
    Some((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
}

#[cfg(not(unix))]
fn free(_folder: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let here = Path::new("here");
        enough(here, 1000, SPARE + 1000).unwrap();
        enough(here, 0, 0).unwrap();
        let text = enough(here, 5 << 20, SPARE).unwrap_err().to_string();
        assert!(text.contains("5242880 bytes are missing"), "{text}");
    }

    #[test]
    fn what_is_there_already_needs_no_room() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), [("a", 1000)].into_iter()).unwrap();
        let most = u64::MAX / 2;
        assert!(check(folder.path(), [("a", most), ("b", most)].into_iter()).is_err());
        // A file of that length takes no room itself.
        let part = fs::File::create(folder.path().join("a.part")).unwrap();
        part.set_len(1 << 40).unwrap_or_default();
        if part.metadata().unwrap().len() == 1 << 40 {
            check(folder.path(), [("a", 1 << 40)].into_iter()).unwrap();
        }
    }
}
