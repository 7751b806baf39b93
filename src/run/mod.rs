//! A run is a folder. Each stage reads the file that the last one wrote and writes the next, so any
//! stage can be run alone, looked at with `jq`, resumed or replaced:
//!
//! ```text
//! settings.toml task.json ─ generate ─► augmented.jsonl ─ relabel ─► relabelled.jsonl
//!     ─ filter ─► train.jsonl, dropped.jsonl ─ train ─► student/ ─ evaluate ─► report.json, report.html
//! ```
//!
//! What costs time goes into the [`ledger`] the moment it is finished. A stage that is started again
//! looks there first; killing the program at any point loses at most the requests in flight.

pub(crate) mod arms;
pub(crate) mod assembly;
mod calls;
pub mod card;
mod evaluate;
mod files;
mod filtering;
mod folder;
mod free_text;
mod generate;
pub(crate) mod gold;
mod import;
pub mod ledger;
mod published;
mod record;
mod relabelling;
mod replay;
#[cfg(test)]
mod scripted;
pub(crate) mod sections;
mod train;

use std::{io, path::PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

pub use evaluate::evaluate;
use files::read_json;
pub use filtering::filter;
pub use folder::RunFolder;
use folder::{imported, read_settings};
pub use generate::generate;
pub(crate) use generate::{Counts, Harvest, harvest, nearest};
pub use import::import;
pub use record::{Record, SyntheticText, begun_with};
pub use relabelling::relabel;
pub(crate) use relabelling::{Scoring, relabelled};
pub use replay::replay;
pub(crate) use train::{Job, School};
pub use train::{Said, TrainedRow, train};

use crate::{
    augment::Setting,
    config::{ConfigError, Settings},
    eval::EvalError,
    prompt::{PromptError, Prompts},
    relabel::QuestionError,
    report::ReportError,
    student::StudentError,
    task::{LabelledText, Task},
    teacher::TeacherError,
};
use ledger::LedgerError;

/// Why a stage could not be finished. What it had done by then is in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Report(#[from] ReportError),
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
    #[error(
        "augment.partners is \"confusable\", but nothing says which classes are near each other\nhint: give a student, whose embeddings do, or set augment.partners=even"
    )]
    NoEmbedder,
    #[error(
        "no text is left to train on\nhint: `dropped.jsonl` says why each one was dropped; {detail}"
    )]
    NothingLeft { detail: String },
}

/// What a stage tells whoever is watching.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage begins with `total` items, `resumed` of which are known from before.
    Begin { stage: &'static str, total: usize, resumed: usize },
    /// `items` more are finished; of them `rejected` came to nothing; `tokens` were read or written.
    Advance { items: usize, rejected: usize, tokens: usize },
    /// The stage is over; a summary in words.
    End { summary: String },
    /// Something the user should know. Quotes no text.
    Warning(String),
    /// Something that `-v` shows. Quotes no text.
    Fact(String),
    /// A text of the task or of the teacher, private: `-vv` shows it.
    Text { what: String, text: String },
}

/// What texts and labels depend on beside the teacher: the task and the few-shot subset of one seed.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub task: &'a Task,
    /// The few-shot subset.
    pub seeds: &'a [LabelledText],
    pub settings: &'a Settings,
    pub prompts: &'a Prompts,
    /// The seed of the prompts.
    pub seed: u64,
}

impl<'a> Scene<'a> {
    /// What a method of asking sees of it; `nearest` as [`Setting::nearest`] has it.
    pub(crate) fn setting(&self, nearest: &'a [Vec<usize>]) -> Setting<'a> {
        let Self { task, seeds, settings, prompts, seed } = *self;
        Setting { task, seeds, prompts, settings: &settings.augment, nearest, seed }
    }
}

/// Receives the events of a stage.
pub type Watch<'a> = &'a mut (dyn FnMut(Event) + Send);

/// The seeds that this run uses.
fn run_seeds(task: &Task, settings: &Settings) -> Vec<LabelledText> {
    task.draw_seeds(settings.run.seed)
}

/// SHA-256 (hex) over the JSON of `parts`: names a piece of work by everything it depends on.
fn key(parts: &impl Serialize) -> String {
    let json = serde_json::to_vec(parts).expect("keys are plain values");
    format!("{:x}", Sha256::digest(json))
}
