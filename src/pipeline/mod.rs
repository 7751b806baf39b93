//! The stages of a run, each a function from the files of the one before to its own.

mod calls;
mod evaluate;
pub(crate) mod examples;
mod filter;
mod free_text;
mod generate;
pub(crate) mod gold;
mod import;
mod paper;
mod relabel;
#[cfg(test)]
mod scripted_teacher;
mod train;

pub(crate) use evaluate::evaluate;
pub(crate) use filter::filter;
pub(crate) use generate::generate;
pub(crate) use generate::{Counts, Generation, generate_texts, nearest};
pub(crate) use import::import;
pub(crate) use relabel::relabel;
pub(crate) use relabel::{Scoring, relabelled};
pub(crate) use train::train;
pub(crate) use train::{StudentTrainer, TrainingJob};

use crate::{
    augment::PromptContext,
    config::{ConfigError, Settings},
    embed::EmbedError,
    eval::EvalError,
    hint::Hint,
    prompt::{PromptError, Prompts},
    relabel::QuestionError,
    report::ReportError,
    run::{RunError, ledger::LedgerError},
    student::StudentError,
    task::{LabelledText, Task},
    teacher::TeacherError,
};

/// Why a stage could not be finished. What it had done by then is in the ledger.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipelineError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
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
        "augment.partners is \"confusable\", but nothing says which classes are near each other\nhint: give a student, whose embeddings do, or set augment.partners=even"
    )]
    NoEmbedder,
    #[error(
        "no text is left to train on\nhint: `dropped.jsonl` says why each one was dropped; {detail}"
    )]
    NothingLeft { detail: String },
}

impl Hint for PipelineError {}

/// What a stage tells whoever is watching.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
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
pub(crate) struct Context<'a> {
    pub task: &'a Task,
    /// The few-shot subset.
    pub seeds: &'a [LabelledText],
    pub settings: &'a Settings,
    pub prompts: &'a Prompts,
    /// The seed of the prompts.
    pub seed: u64,
}

impl<'a> Context<'a> {
    /// What a method of asking sees of it; `nearest` as [`PromptContext::nearest`] has it.
    pub(crate) fn for_prompts(&self, nearest: &'a [Vec<usize>]) -> PromptContext<'a> {
        let Self { task, seeds, settings, prompts, seed } = *self;
        PromptContext { task, seeds, prompts, settings: &settings.augment, nearest, seed }
    }
}

/// Receives the events of a stage.
pub(crate) type Watch<'a> = &'a mut (dyn FnMut(Event) + Send);

/// The seeds that this run uses.
fn run_seeds(task: &Task, settings: &Settings) -> Vec<LabelledText> {
    task.draw_seeds(settings.run.seed)
}
