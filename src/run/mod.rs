//! The folder of a run on disk: its files, its lock and its ledger. Storage alone: what a stage does
//! with them stands in [`crate::pipeline`].
//!
//! ```text
//! settings.toml task.json ─ generate ─► augmented.jsonl ─ relabel ─► relabelled.jsonl
//!     ─ filter ─► train.jsonl, dropped.jsonl ─ train ─► student/ ─ evaluate ─► report.json, report.html
//! ```
//!
//! Each stage reads the file that the one before it wrote, so any stage can be run alone, looked at with
//! `jq`, resumed or replaced. What costs time goes into the [`ledger`] the moment it is finished; killing
//! the program at any point loses at most the requests in flight.

mod files;
mod folder;
pub(crate) mod ledger;
mod replay;

use std::{io, path::PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

pub(crate) use files::read_json;
pub(crate) use files::{begun_with, read_texts};
pub(crate) use folder::RunFolder;
pub(crate) use folder::{imported, read_settings};
pub(crate) use replay::replay;

use crate::hint::Hint;
use ledger::LedgerError;

/// Why a run folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(
        "cannot write {path}: {source}\nhint: what was finished is safe; mend it and run the same command again"
    )]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}\nhint: {hint}")]
    Read { path: PathBuf, source: io::Error, hint: &'static str },
    #[error(
        "{path}:{line}: {message}\nhint: each line holds one JSON object with the keys of this stage's rows"
    )]
    Row { path: PathBuf, line: usize, message: String },
    #[error(
        "{path} belongs to another task (its classes, seeds or test set differ)\nhint: choose another folder with --out, or go back to the task it was begun with"
    )]
    OtherTask { path: PathBuf },
    #[error(
        "{file} is not the teacher that {path} was begun with: its sha256 is {found}, it was {was}\nhint: put the old file back; with the new one start anew in another folder with --out, or give it another name to go on with both"
    )]
    OtherTeacher { file: PathBuf, path: PathBuf, was: String, found: String },
    #[error(
        "{path} is in use by another promptmix (process {pid})\nhint: wait until it has finished, or choose another folder with --out"
    )]
    InUse { path: PathBuf, pid: String },
    #[error(
        "{path} is not a run folder: it holds other files\nhint: choose an empty or a new folder with --out"
    )]
    NotARun { path: PathBuf },
    #[error("{path} holds a single run\nhint: give the comparison a folder of its own with --out")]
    SingleRun { path: PathBuf },
    #[error("{path} holds a comparison\nhint: give the run a folder of its own with --out")]
    Comparison { path: PathBuf },
    #[error(
        "{path} names no teacher\nhint: `replay:` takes the ledger of a run that has generated or relabelled texts"
    )]
    NoTeacher { path: PathBuf },
}

impl Hint for RunError {}

/// SHA-256 (hex) over the JSON of `parts`: names a piece of work by everything it depends on.
pub(crate) fn key(parts: &impl Serialize) -> String {
    let json = serde_json::to_vec(parts).expect("keys are plain values");
    format!("{:x}", Sha256::digest(json))
}
