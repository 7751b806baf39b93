//! Arguments that several commands share, and those of the commands in [`super::run`].

use std::path::PathBuf;

use clap::Args;

use super::{plan::MachineArgs, shards::ShardArgs};
use crate::{config, task::Task};

#[derive(Args)]
pub(super) struct DemoArgs {
    /// The run folder
    #[arg(long, default_value = "promptmix-demo")]
    pub out: PathBuf,
    #[command(flatten)]
    pub model_args: ModelArgs,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub(super) struct InitArgs {
    /// CSV, TSV, JSON, JSONL or Parquet file with a text and a label in each row
    pub examples: PathBuf,
    /// Task folder to create
    pub out: PathBuf,
    /// Name of the text column; several, as in `subject,body`, are joined by a blank line
    ///
    /// Without it, the column is found by its name: `text`, a subject and a body, `message` and the
    /// like. What was found is printed.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub text_column: Vec<String>,
    /// Name of the label column; without it, the column is found by its name: `label`, `category`
    /// and the like
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// Print the classes as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags that override the task's settings.
#[derive(Args, Clone)]
pub(super) struct ModelArgs {
    /// Teacher: a GGUF file, a name from `promptmix models list`, or `replay:FILE` for recorded
    /// replies [default: `teacher.model` in task.toml, otherwise none]
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// Student: a Hugging Face folder or a name from `promptmix models list` (write `./NAME` for a
    /// folder of that name) [default: `student.model` in task.toml, otherwise
    /// distilbert-base-uncased]
    #[arg(long, value_name = "MODEL")]
    student: Option<String>,
    /// Seed of all random choices
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    pub teacher_args: TeacherArgs,
    /// Reproduce the paper's published code, faults included, for comparison
    ///
    /// Stands for a group of settings that override those of the task; `--set` overrides them in
    /// turn, and `promptmix plan --paper` prints them all. Partner classes are drawn uniformly;
    /// replies are free-form; each text is requested until 10 distinct ones exist, of which one is
    /// kept; percentages are truncated (55 % and 44 %); the teacher writes the label, and an answer
    /// that is not a class name counts as the nearest of all classes; the seeds are relabelled too;
    /// only exact duplicates are dropped. For sampling and training, the paper's values apply where
    /// the task sets none.
    ///
    /// Left out, because it cannot be repeated or used: ordering classes by a random hash; training
    /// A1 further over 11 cycles while A2 starts afresh; printing the share of unchanged labels as
    /// the share of changed ones; unlimited requests (`augment.tries` is the limit); texts of the
    /// test set among the training texts.
    #[arg(long)]
    paper: bool,
    /// Any setting, for example `--set augment.per_class=40`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
}

/// How the teacher runs; these flags may change when a run is resumed.
#[derive(Args, Clone)]
pub(super) struct TeacherArgs {
    /// Make each reply depend on its request alone: slower, but the same rows every time
    #[arg(long)]
    deterministic: bool,
    /// Run the teacher inside this process, for profiling: if it crashes, so does promptmix
    #[arg(long)]
    in_process: bool,
    /// Let an engine at this address answer, and allow this command to connect there:
    /// `http://127.0.0.1:8080`, `https://HOST:PORT` or `unix:/run/engine.sock`
    ///
    /// The engine is llama-server, vLLM or SGLang, with the same model as the teacher. That is then
    /// a GGUF file or the model's Hugging Face folder, of which tokenizer and chat template are
    /// read. Repeat the flag for several engines, which share the work. Prompts, and the texts in
    /// them, are sent there; docs/cluster.md says more.
    #[arg(long, value_name = "URL")]
    pub allow_address: Vec<String>,
}

impl TeacherArgs {
    pub(super) fn overrides(&self) -> Vec<String> {
        let flags = [
            ("teacher.deterministic=true", self.deterministic),
            ("teacher.in_process=true", self.in_process),
        ];
        let flags = flags.into_iter().filter(|(_, on)| *on).map(|(text, _)| text.to_owned());
        let flags = flags.chain((!self.allow_address.is_empty()).then(|| {
            let addresses = self.allow_address.iter().cloned().map(toml::Value::String);
            format!("teacher.address={}", toml::Value::Array(addresses.collect()))
        }));
        flags.collect()
    }
}

/// The override `key="value"`.
pub(super) fn quoted(key: &str, value: &str) -> String {
    format!("{key}={}", toml::Value::String(value.to_owned()))
}

impl ModelArgs {
    /// The flags as `table.key=value` overrides of the settings of `task`. Later ones win.
    pub(super) fn overrides(&self, task: &Task) -> Vec<String> {
        let mut overrides =
            if self.paper { config::paper_overrides(&task.settings) } else { Vec::new() };
        overrides.extend(self.set.iter().cloned());
        overrides.extend(self.teacher.as_ref().map(|value| quoted("teacher.model", value)));
        overrides.extend(self.student.as_ref().map(|value| quoted("student.model", value)));
        overrides.extend(self.seed.map(|value| format!("run.seed={value}")));
        overrides.extend(self.teacher_args.overrides());
        overrides
    }
}

#[derive(Args)]
pub(super) struct TaskArgs {
    /// A task.toml or the folder that contains it
    pub task: PathBuf,
    #[command(flatten)]
    pub model_args: ModelArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// Run folder to continue: show what is left to do there for this task
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Test the teacher on up to `teacher.check` labelled examples left out of its prompt; warn if
    /// it is no better than guessing or than the nearest class by embedding
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub machines: MachineArgs,
}

#[derive(Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// The run folder; an existing run is resumed
    #[arg(long)]
    pub out: PathBuf,
}

#[derive(Args)]
pub(super) struct GenerateArgs {
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub shard: ShardArgs,
}

#[derive(Args)]
pub(super) struct StageArgs {
    /// The run folder
    pub run: PathBuf,
    /// Any setting, for this and all later stages of the run, for example `--set student.epochs=3`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub(super) struct TeacherStageArgs {
    #[command(flatten)]
    pub stage: StageArgs,
    #[command(flatten)]
    pub teacher_args: TeacherArgs,
}

/// A stage in which the teacher labels texts.
#[derive(Args)]
pub(super) struct LabelStageArgs {
    #[command(flatten)]
    pub stage: TeacherStageArgs,
    #[command(flatten)]
    pub shard: ShardArgs,
}

#[derive(Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// CSV, JSONL or Parquet file with `text`, `major` and optionally `minor`, `alpha`, `relabel`,
    /// `p`
    pub file: PathBuf,
    /// The run folder
    #[arg(long)]
    pub out: PathBuf,
}
