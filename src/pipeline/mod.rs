//! The stages of a run. Each reads the files of the one before it from the run folder and writes
//! its own; [`Pipeline::run`] calls them in order.
//!
//! | file | what it does |
//! |---|---|
//! | `teacher_check` | before stage 1: the teacher's labels of examples that it did not see |
//! | `generate` | stage 1: new texts; `paper` asks for them as the published code does, `texts` is what both share |
//! | `grow` | what becomes of a run whose task changed |
//! | `kept` | the texts that a change kept, where generation starts |
//! | `screen` | lets texts pass, cleans them or drops them as junk |
//! | `import` | in place of stages 1 and 2: texts that were written elsewhere |
//! | `suggest` | the texts whose labels by a person would help most |
//! | `sheet_rows` | texts as rows of a sheet, and their ids |
//! | `refine` | drafts of sharper descriptions, and what they change; `mistaken` finds the classes that need them, `draft` reads a draft |
//! | `import_labels` | what people answered about texts in a sheet, as edits |
//! | `relabel` | stage 2: the teacher's labels of the texts; `gold` is its labels of the seeds |
//! | `label` | between stages 2 and 3: the teacher's labels of real texts; `pick` chooses these |
//! | `fuse` | the labels of new texts from what was asked, the teacher's scores and a probe |
//! | `filter` | stage 3: drops duplicates, copies and leaks |
//! | `train` | stage 4: one student for each variant and seed; `examples` makes their training sets |
//! | `reference` | what the student's folder keeps for `drift` |
//! | `training_progress` | how far the students are that are being trained |
//! | `evaluate` | stage 5: scores and the report |
//! | `edited` | what people edited by hand, for the stages that write texts |
//! | `remaining` | what a run has left to do, for `plan` |
//! | `scoring` | the teacher as a classifier, for stages 2 and 5 |
//! | `class_rows` | whether every class has a row to train on |
//! | `length` | the length of texts in the student's tokens, and what is cut |
//! | `cut` | questions about texts that are too long for the teacher |
//! | `fit` | examples in prompts that are too long for the teacher |
//! | `calls` | the one loop that talks to the teacher: ask, record, read |
//! | `model_names` | what teacher and student are called in reports |

mod calls;
mod class_rows;
mod cut;
mod draft;
mod edited;
mod evaluate;
pub(crate) mod examples;
mod filter;
pub(crate) mod fit;
pub(crate) mod fuse;
mod generate;
pub(crate) mod gold;
pub(crate) mod grow;
mod import;
mod import_labels;
mod kept;
pub(crate) mod label;
pub(crate) mod length;
mod mistaken;
mod model_names;
mod paper;
mod pick;
mod reference;
mod refine;
mod relabel;
pub(crate) mod remaining;
mod scoring;
mod screen;
#[cfg(test)]
mod scripted_teacher;
mod sheet_rows;
mod style;
mod suggest;
pub(crate) mod teacher_check;
mod texts;
mod train;
mod training_progress;

use std::{borrow::Cow, path::PathBuf};

pub(crate) use cut::cut_questions;
pub(crate) use generate::{generate_texts, material};
pub(crate) use import::ImportedTexts;
pub(crate) use model_names::{student_name, teacher_name};
pub(crate) use pick::Candidates;
pub(crate) use relabel::relabelled;
pub(crate) use scoring::{Answers, ClassShares, Scoring, asked_classes};
pub(crate) use screen::reasons;
pub(crate) use texts::{Counts, Generation};
pub(crate) use train::{StudentTrainer, TrainingJob};

use crate::{
    augment::{Material, PromptContext},
    config::{ConfigError, Settings},
    counted::{agree, part},
    embed::{EmbedError, Embedder},
    eval::EvalError,
    hint::{Hint, shell_path},
    prompt::{PromptError, Prompts},
    relabel::QuestionError,
    report::{Report, ReportError},
    run::{RunError, RunFolder, ledger::LedgerError},
    student::{BaseModel, StudentError},
    task::{LabelledText, Task, TaskError, enumerated},
    teacher::{Teacher, TeacherError},
};

/// An open run with all that its stages need.
pub(crate) struct Pipeline<'a> {
    pub run: RunFolder,
    pub task: Task,
    pub settings: Settings,
    pub prompts: Prompts,
    /// Finds the nearest classes of a text. Stages that need none work without.
    pub embedder: Option<Box<dyn Embedder>>,
    /// Receives the events of the stages.
    pub watch: Box<dyn FnMut(Event) + Send + 'a>,
}

impl Pipeline<'_> {
    /// Runs all stages; students are fine-tuned from `base`.
    ///
    /// # Errors
    /// The first error of a stage. Finished work is in the ledger: running it again continues
    /// there.
    pub(crate) fn run(
        &mut self,
        teacher: &mut dyn Teacher,
        base: &BaseModel,
    ) -> Result<Report, PipelineError> {
        self.check_teacher(teacher)?;
        self.generate(teacher)?;
        self.relabel(teacher)?;
        if self.task.unlabelled.is_some() {
            self.label(teacher)?;
        }
        self.filter()?;
        self.train(base)?;
        self.evaluate(Some(teacher))
    }

    /// The few-shot subset of this run.
    fn seeds(&self) -> Vec<LabelledText> {
        self.task.draw_seeds(self.settings.run.seed)
    }

    /// The parts that a stage works with, borrowed side by side; `seeds` are those of
    /// [`Self::seeds`].
    fn split<'b>(
        &'b mut self,
        seeds: &'b [LabelledText],
    ) -> (&'b mut RunFolder, Context<'b>, Option<&'b dyn Embedder>, Watch<'b>) {
        let Self { run, task, settings, prompts, embedder, watch } = self;
        let context = Context { task, seeds, settings, prompts, seed: settings.run.seed };
        (run, context, embedder.as_deref(), &mut **watch)
    }
}

/// What texts and labels depend on besides the teacher: the task and the few-shot subset of one
/// seed.
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
    /// The part that methods of generation see.
    pub(crate) fn for_prompts(&self, material: &'a Material) -> PromptContext<'a> {
        let Self { task, seeds, settings, prompts, seed } = *self;
        let Material { nearest, style } = material;
        PromptContext { task, seeds, prompts, settings: &settings.augment, nearest, style, seed }
    }

    /// The settings with the lengths of texts and replies chosen, where they are `"auto"`, from the
    /// examples that prompts show: an example that no prompt shows must not change a request. A
    /// teacher takes `tokens`.
    pub(crate) fn with_lengths(&self, tokens: usize) -> Settings {
        let seeds = if self.seeds.is_empty() { &self.task.seeds } else { self.seeds };
        let augment = self.settings.augment.with_lengths(seeds, tokens);
        Settings { augment, ..self.settings.clone() }
    }
}

/// What a stage reports while it runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A stage begins with `total` items, of which `resumed` are in the ledger.
    Begin { stage: &'static str, total: usize, resumed: usize },
    /// Work begins that reports nothing until it is done, such as loading a model.
    Wait { what: String },
    /// The teacher reads the prompts of `items` more.
    Reading { items: usize },
    /// The items that are worked on, so many of them, are done by these shares in sum.
    Partly { items: f64 },
    /// `items` more are finished, of which `rejected` are of no use; they took `tokens`.
    Advance { items: usize, rejected: usize, tokens: usize },
    /// The stage has finished; a summary in words.
    End { summary: String },
    /// Something that the user should know and that is no fault. Quotes no text.
    Note(String),
    /// Something the user should know, and what helps. Quotes no text.
    Warning { message: String, hint: Option<String> },
    /// Something that `-v` shows. Quotes no text.
    Fact(String),
    /// A text of the task or of the teacher. It is private: only `-vv` shows it.
    Text { what: String, text: String },
}

impl Event {
    /// A warning without a hint.
    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self::Warning { message: message.into(), hint: None }
    }
}

/// Receives the events of a stage.
pub(crate) type Watch<'a> = &'a mut (dyn FnMut(Event) + Send);

/// Why a stage could not finish. What it had finished by then is in the ledger.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipelineError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("no student is given, but its embeddings are needed to find the nearest classes")]
    NoEmbedder,
    #[error("the students in {} were trained on another train.jsonl than the one that is there now", run.display())]
    OldStudents { run: PathBuf },
    #[error(
        "{} {} no row to train on: {}",
        part(names.len(), *classes, "class"),
        agree(names.len(), "has", "have"),
        enumerated(names)
    )]
    EmptyClasses { classes: usize, names: Vec<String> },
    #[error("the task names no unlabelled texts")]
    NoUnlabelled,
    #[error("a recording of texts with their labels cannot label unlabelled texts")]
    RecordedTeacher,
    #[error("the teacher cannot be asked about any labelled example")]
    NothingToCheck,
    #[error("a recording has no answers about new descriptions")]
    RecordedDescriptions,
    /// No fault: the shard has answered its requests.
    #[error("the stage needs the answers of other shards")]
    OtherShards,
    #[error("no text is left to train on: {detail}")]
    NothingLeft { detail: String },
}

impl Hint for PipelineError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Ledger(error) => error.hint(),
            Self::Task(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Teacher(error) => error.hint(),
            Self::Prompt(error) => error.hint(),
            Self::Question(error) => error.hint(),
            Self::Embed(error) => error.hint(),
            Self::Student(error) => error.hint(),
            Self::Eval(error) => error.hint(),
            Self::Report(error) => error.hint(),
            Self::OldStudents { run } => Some(
                format!("`promptmix train {}` trains them on it; then evaluate", shell_path(run))
                    .into(),
            ),
            Self::EmptyClasses { .. } => Some(
                "give each of them an example in the seeds, let the teacher try more often \
                 (`augment.tries`), or remove it from task.toml; `--set \
                 student.allow_empty_classes=true` trains without them"
                    .into(),
            ),
            Self::NoUnlabelled => Some(
                "name a file with `unlabelled = \"FILE\"` under [data] in task.toml, then run the \
                 task again"
                    .into(),
            ),
            Self::RecordedTeacher => {
                Some("name a model with --teacher, or remove `unlabelled` from task.toml".into())
            }
            Self::NothingToCheck => {
                Some("the task needs labelled examples, and `teacher.check` must be above 0".into())
            }
            Self::RecordedDescriptions => {
                Some("name a model with `--set teacher.model=MODEL`".into())
            }
            Self::NoEmbedder => Some("name a student with --student".into()),
            Self::OtherShards => Some("`promptmix merge` joins them".into()),
            Self::NothingLeft { .. } => {
                Some("`dropped.jsonl` gives the reason for each dropped text".into())
            }
        }
    }
}
