//! The folder of a run on disk: its files, its lock and its ledger. Storage only; the stages are in
//! [`crate::pipeline`].
//!
//! ```text
//! settings.toml task.json ─ generate ─► augmented.jsonl ─ relabel ─► relabelled.jsonl
//!     ─ filter ─► train.jsonl dropped.jsonl ─ train ─► student/
//!     ─ evaluate ─► report.json report.html
//! ```
//!
//! Each stage reads the file that the one before it wrote, so any stage can be run alone, inspected
//! with `jq`, resumed or replaced. Work that takes time goes into the [`ledger`] the moment it is
//! finished: killing the program at any point loses at most the requests in flight.

mod change;
mod clock;
pub(crate) mod edits;
mod files;
mod folder;
pub(crate) mod ledger;
pub(crate) mod names;
mod replay;
pub(crate) mod shards;

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

pub(crate) use change::{PendingChange, kept_texts, present_name, present_task, set_aside_now};
pub(crate) use files::{
    INCOMPLETE, read_json, read_ledger, read_rows, read_rows_if_any, read_settings,
    read_task_and_settings, read_texts,
};
pub(crate) use folder::{Remark, RunFolder, is_imported};
pub(crate) use replay::replay;

use crate::{
    counted::{agree, part},
    hash,
    hint::{Hint, shell_path},
    task::first_few,
    teacher::TeacherIdentity,
    verbosity,
};
use ledger::LedgerError;
pub(crate) use ledger::{KeptTexts, SetAside, TaskChanged};

/// Why a run folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error, hint: &'static str },
    #[error("{path}:{line}: {message}")]
    Row { path: PathBuf, line: usize, message: String },
    /// A file that is read as a whole, such as `settings.toml`.
    #[error("{path}:{line}: {message}")]
    Document { path: PathBuf, line: usize, message: String },
    #[error("{path}:{line}: {message}")]
    Import { path: PathBuf, line: usize, message: String },
    #[error("{path}:{line}: {message}")]
    Edit { path: PathBuf, line: usize, message: String, hint: String },
    #[error("{path} was edited while this command ran")]
    EditedMeanwhile { path: PathBuf },
    #[error("{path} is out of date: the task has changed since it was written")]
    Stale { path: PathBuf, stage: String },
    #[error("{path} belongs to another task: none of its classes is left")]
    OtherTask { path: PathBuf },
    #[error(
        "{file} is not the teacher that {path} was started with: expected sha256 {was}, found {found}"
    )]
    OtherTeacher { file: PathBuf, path: PathBuf, was: String, found: String },
    #[error(
        "{addresses} is not the teacher that {path} was started with: it gives other probabilities after a fixed prompt"
    )]
    OtherModel { path: PathBuf, addresses: String },
    #[error("the teacher of {path} answers at {addresses}, not on this machine")]
    TeacherElsewhere { path: PathBuf, addresses: String, first: String },
    #[error("{path} is in use by another promptmix{}", process(.pid))]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("{path} is not safe to write to: {reason}")]
    Unsafe { path: PathBuf, reason: String },
    #[error("{path} is not a run folder: it holds other files")]
    NotARun { path: PathBuf },
    #[error("{path} holds a single run")]
    SingleRun { path: PathBuf },
    #[error("{path} holds a comparison")]
    Comparison { path: PathBuf },
    #[error("{path} was begun before the run in {run} changed")]
    StaleShard { path: PathBuf, run: PathBuf },
    #[error("the shard in {path} is still running")]
    ShardRunning { path: PathBuf },
    #[error("{path} is not the folder of a shard")]
    NoShard { path: PathBuf },
    #[error("{path} and {other} do not belong together; they differ in {what}")]
    OtherShard { path: PathBuf, other: PathBuf, what: String },
    #[error(
        "{} of {stage} {} missing or unfinished: {}",
        part(missing.len(), *of, "shard"),
        agree(missing.len(), "is", "are"),
        indices(missing, *of)
    )]
    MissingShards { stage: String, of: usize, missing: Vec<usize> },
    #[error("{path} names no teacher")]
    NoTeacher { path: PathBuf },
}

impl Hint for RunError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Ledger(error) => return error.hint(),
            Self::Write { .. } => {
                "finished work is kept; fix the cause, then rerun the command to continue"
            }
            Self::Read { hint, .. } => hint,
            Self::Edit { hint, .. } => hint.as_str(),
            Self::EditedMeanwhile { .. } => {
                "nothing was overwritten; rerun the command, which records the edit and keeps it"
            }
            Self::Row { .. } => "each line is one JSON object with the keys of this file's rows",
            Self::Document { .. } => {
                "undo the edit, or start in another folder with --out: another version of promptmix may have written this one"
            }
            Self::Import { .. } => {
                "give a CSV, JSONL or Parquet file with the columns `text` and `major` (a class), and optionally `minor`, `alpha`, `relabel` and `p`"
            }
            Self::Stale { stage, .. } => {
                return Some(
                    format!("run the stage `{stage}` first, or all stages with `promptmix run`")
                        .into(),
                );
            }
            Self::OtherTask { .. } => {
                "choose another folder with --out; if all classes were renamed, say so in task.toml with `formerly = \"old name\"`"
            }
            Self::OtherTeacher { .. } => {
                "put the old file back; to use the new one, start in another folder with --out, or rename the new file to keep both in this run"
            }
            Self::OtherModel { .. } => {
                "start the engine with the old model again; to use the new one, start in another folder with --out"
            }
            Self::TeacherElsewhere { first, .. } => {
                return Some(
                    format!("add --allow-address {first} to let this command connect there, with the settings of `teacher.tls_ca`, `teacher.tls_pin` and `teacher.api_key_file` by --set").into(),
                );
            }
            Self::InUse { .. } => {
                "wait until it has finished (a review ends with Ctrl-C in its terminal), or choose another folder with --out"
            }
            Self::Unsafe { .. } => {
                "choose a folder of your own with --out, or run `chmod -R go-w` on this one and replace its links with files"
            }
            Self::NotARun { .. } => "choose an empty or a new folder with --out",
            Self::SingleRun { .. } => "give the comparison a folder of its own with --out",
            Self::Comparison { .. } => "give the run a folder of its own with --out",
            Self::StaleShard { run, .. } => {
                return Some(
                    format!(
                        "`promptmix merge --partial --out {}` takes what it has answered; then run it again",
                        shell_path(run)
                    )
                    .into(),
                );
            }
            Self::ShardRunning { .. } => "nothing was merged; wait until it has finished",
            Self::NoShard { .. } => {
                "name folders that a command with `--shard` made in the folder `shards` of a run"
            }
            Self::OtherShard { .. } => {
                "run all shards of a stage with the same task, flags and teacher; to merge without one that differs, name the folders of the others"
            }
            Self::MissingShards { stage, of, missing } => {
                let first = missing.first().unwrap_or(&0);
                return Some(
                    format!(
                        "nothing was merged; run `promptmix {stage} … --shard {first}/{of}` (again). With --partial the others are merged, and the next command asks the teacher for the rest"
                    )
                    .into(),
                );
            }
            Self::NoTeacher { .. } => {
                "`replay:` takes the ledger of a run that has generated or relabelled texts"
            }
        };
        Some(hint.into())
    }
}

impl RunError {
    /// Line `line` of `path` has the label `name`, which no class of the task has.
    pub(crate) fn unknown_label(path: PathBuf, line: usize, name: &str) -> Self {
        let message = format!("the label{} is not a class of the task", verbosity::quoted(name));
        Self::Row { path, line, message }
    }
}

impl RunError {
    /// `found` is not the teacher `before`, which the run in the folder `path` was started with.
    fn other_teacher(path: &Path, before: &TeacherIdentity, found: &TeacherIdentity) -> Self {
        let path = path.to_owned();
        match (before.addresses(), found.addresses()) {
            ([first, ..], []) => Self::TeacherElsewhere {
                path,
                addresses: before.addresses().join(", "),
                first: first.clone(),
            },
            _ if before.sha256 == found.sha256 => {
                Self::OtherModel { path, addresses: found.addresses().join(", ") }
            }
            _ => Self::OtherTeacher {
                file: found.file.clone(),
                path,
                was: before.sha256.clone(),
                found: found.sha256.clone(),
            },
        }
    }
}

/// The shards `missing`, as the command line has them.
fn indices(missing: &[usize], of: usize) -> String {
    first_few(&missing.iter().map(|index| format!("{index}/{of}")).collect::<Vec<_>>())
}

fn process(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// SHA-256 (hex) over the JSON of `parts`: names a piece of work by all that its result depends on.
pub(crate) fn key(parts: &impl Serialize) -> String {
    hash::of_bytes(serde_json::to_vec(parts).expect("keys are plain values"))
}
