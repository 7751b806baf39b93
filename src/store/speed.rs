//! What `promptmix bench` found on this machine, by the model's SHA-256.

use std::{fs, path::PathBuf};

use super::{StoreError, home};
use crate::teacher::llama::bench::BenchReport;

fn file(sha256: &str) -> PathBuf {
    home().join("bench").join(format!("{sha256}.json"))
}

/// Keeps `report` for [`speed`].
///
/// # Errors
/// A folder that cannot be written.
pub fn remember_speed(report: &BenchReport) -> Result<(), StoreError> {
    let path = file(&report.sha256);
    let json =
        serde_json::to_vec_pretty(report).expect("a report holds nothing that JSON cannot write");
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(&path, json))
        .map_err(|source| StoreError::Write { path, source })
}

/// What was measured last of the model with this SHA-256, if anything. A file of another version
/// counts as nothing.
pub fn speed(sha256: &str) -> Option<BenchReport> {
    serde_json::from_slice(&fs::read(file(sha256)).ok()?).ok()
}
