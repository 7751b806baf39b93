//! What `promptmix bench` found on this machine, by the model's SHA-256.

use std::{fs, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use super::{StoreError, home};
use crate::{student::bench::StudentBenchReport, teacher::llama::bench::BenchReport};

fn file(role: &str, sha256: &str) -> PathBuf {
    home().join("bench").join(format!("{role}{sha256}.json"))
}

fn remember(path: PathBuf, report: &impl Serialize) -> Result<(), StoreError> {
    let json =
        serde_json::to_vec_pretty(report).expect("a report holds nothing that JSON cannot write");
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(&path, json))
        .map_err(|source| StoreError::Write { path, source })
}

/// A file of another version counts as nothing.
fn recall<T: DeserializeOwned>(path: PathBuf) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Keeps `report` for [`speed`].
///
/// # Errors
/// A folder that cannot be written.
pub fn remember_speed(report: &BenchReport) -> Result<(), StoreError> {
    remember(file("", &report.sha256), report)
}

/// What was measured last of the teacher with this SHA-256, if anything.
pub fn speed(sha256: &str) -> Option<BenchReport> {
    recall(file("", sha256))
}

/// Keeps `report` for [`student_speed`].
///
/// # Errors
/// A folder that cannot be written.
pub fn remember_student_speed(report: &StudentBenchReport) -> Result<(), StoreError> {
    remember(file("student-", &report.sha256), report)
}

/// What was measured last of students from the base with this SHA-256, if anything.
pub fn student_speed(sha256: &str) -> Option<StudentBenchReport> {
    recall(file("student-", sha256))
}
