//! Checks before a download that the disk has enough space, rather than failing after an hour.

use std::{fs, path::Path};

use crate::{fs::free_space, models::ModelError};

/// Bytes left free, for the lock file and everything else that a machine writes meanwhile.
const RESERVE: u64 = 64 << 20;

/// Compares the bytes still to be downloaded into `folder` with the free space there.
///
/// # Errors
/// [`ModelError::DiskFull`] with the number of missing bytes.
pub(super) fn check<'a>(
    folder: &Path,
    files: impl Iterator<Item = (&'a str, u64)>,
) -> Result<(), ModelError> {
    let length = |name: &str| fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
    let wanted: u64 = files
        .map(|(name, size)| size.saturating_sub(length(name).max(length(&format!("{name}.part")))))
        .fold(0, u64::saturating_add);
    match free_space(folder) {
        Some(free) => check_free(folder, wanted, free),
        None => Ok(()),
    }
}

fn check_free(folder: &Path, wanted: u64, free: u64) -> Result<(), ModelError> {
    let needed = wanted.saturating_add(RESERVE);
    if wanted == 0 || needed <= free {
        return Ok(());
    }
    Err(ModelError::DiskFull { path: folder.to_owned(), wanted, free, missing: needed - free })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_the_missing_bytes() {
        let here = Path::new("here");
        check_free(here, 1000, RESERVE + 1000).unwrap();
        check_free(here, 0, 0).unwrap();
        let text = check_free(here, 5 << 20, RESERVE).unwrap_err().to_string();
        assert!(text.contains("5242880 bytes are missing"), "{text}");
    }

    #[test]
    fn downloaded_bytes_need_no_space() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), [("a", 1000)].into_iter()).unwrap();
        let most = u64::MAX / 2;
        assert!(check(folder.path(), [("a", most), ("b", most)].into_iter()).is_err());
        // A sparse file: it occupies no space itself.
        let part = fs::File::create(folder.path().join("a.part")).unwrap();
        part.set_len(1 << 40).unwrap_or_default();
        if part.metadata().unwrap().len() == 1 << 40 {
            check(folder.path(), [("a", 1 << 40)].into_iter()).unwrap();
        }
    }
}
