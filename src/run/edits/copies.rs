//! Copies of the editable files as the stages wrote them: what an edited file is compared with.
//!
//! A copy is named after its content, `written/augmented.HASH.jsonl`, and written before the file
//! itself. So there is a copy of whatever stands in the place of the file, also after a kill, and
//! a copy that was changed is no longer one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::super::{RunError, files::create_private_folder, names};
use crate::{dataset::TextRow, hash};

/// Digits of the hash in a copy's name.
const DIGITS: usize = 16;

/// The copy of `file` with the hash `sha256`.
fn path(folder: &Path, file: &str, sha256: &str) -> PathBuf {
    let stem = file.trim_end_matches(".jsonl");
    // What a ledger from elsewhere calls a hash may be anything, and then names no copy.
    let digits = sha256.get(..DIGITS).filter(|text| text.bytes().all(|c| c.is_ascii_hexdigit()));
    folder.join(names::WRITTEN).join(format!("{stem}.{}.jsonl", digits.unwrap_or("none")))
}

pub(super) fn exists(folder: &Path, file: &str, sha256: &str) -> bool {
    path(folder, file, sha256).is_file()
}

/// Keeps `bytes`, which are going to be written to `file`.
pub(super) fn keep(folder: &Path, file: &str, bytes: &[u8]) -> Result<(), RunError> {
    let path = path(folder, file, &hash::of_bytes(bytes));
    if path.is_file() {
        return Ok(());
    }
    create_private_folder(&folder.join(names::WRITTEN))?;
    crate::fs::write_atomic(&path, bytes).map_err(|source| RunError::Write { path, source })
}

/// Removes the copies of `file` but that with the hash `sha256`. Best effort: a copy too many does
/// no harm.
pub(super) fn keep_only(folder: &Path, file: &str, sha256: &str) {
    let kept = path(folder, file, sha256);
    for other in paths(folder, file).into_iter().filter(|path| *path != kept) {
        let _ = fs::remove_file(other);
    }
}

/// The rows of the copies of `file`, each with the copy's bytes. A copy that was changed or cannot
/// be read is left out.
pub(super) fn read(folder: &Path, file: &str) -> Vec<(Vec<u8>, Vec<TextRow>)> {
    let rows = |at: PathBuf| {
        let bytes = crate::fs::read(&at).ok()?;
        let same = path(folder, file, &hash::of_bytes(&bytes)) == at;
        same.then(|| rows(&bytes)).flatten().map(|rows| (bytes, rows))
    };
    paths(folder, file).into_iter().filter_map(rows).collect()
}

/// The rows of a file as a stage writes it; `None` if it is something else.
pub(super) fn rows(bytes: &[u8]) -> Option<Vec<TextRow>> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| serde_json::from_slice(line).ok()).collect()
}

/// All copies of `file`, sorted by name.
fn paths(folder: &Path, file: &str) -> Vec<PathBuf> {
    let entries: io::Result<Vec<_>> =
        fs::read_dir(folder.join(names::WRITTEN)).and_then(Iterator::collect);
    let stem = format!("{}.", file.trim_end_matches(".jsonl"));
    let is_copy = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&stem) && name.ends_with(".jsonl")
    };
    let mut paths: Vec<PathBuf> =
        entries.unwrap_or_default().iter().map(fs::DirEntry::path).filter(is_copy).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_hash_names_no_copy() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in ["", "x", "äääääääääääääääää", "../../../../../../x/"] {
            assert!(!exists(folder.path(), names::TRAIN, wrong));
            let name = path(folder.path(), names::TRAIN, wrong);
            assert_eq!(name, folder.path().join("written/train.none.jsonl"));
        }
    }
}
