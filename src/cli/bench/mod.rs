//! `promptmix bench`: what the teacher or the student does in a second on this machine. The result is
//! kept, and `plan` estimates with it.

mod student;
mod teacher;

use std::path::PathBuf;

use clap::{ArgGroup, Args};

#[derive(Args)]
#[command(group = ArgGroup::new("subject").required(true).args(["teacher", "student"]))]
pub(crate) struct BenchArgs {
    /// The teacher: a GGUF file, or a name from `promptmix models list`
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// The student: a Hugging Face folder, trained or not, or a name from `promptmix models list`
    #[arg(long, value_name = "MODEL")]
    student: Option<String>,
    /// CPU threads; 0 = chosen from the model, for a student all there are
    #[arg(long)]
    threads: Option<usize>,
    /// What to measure, for a teacher of generate, decode, labels (these unless given), generate_single,
    /// labels_single, labels_generated, labels_77; for a student of train, classify, classify_fast,
    /// students
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    only: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    of_teacher: TeacherBenchArgs,
    #[command(flatten)]
    of_student: StudentArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Of a teacher")]
struct TeacherBenchArgs {
    /// Requests side by side; 0 = chosen from the model
    #[arg(long, conflicts_with = "student")]
    slots: Option<usize>,
    /// Tokens that all prompts share
    #[arg(long, default_value_t = 600, conflicts_with = "student")]
    shared: usize,
    /// Tokens of each prompt's own
    #[arg(long, default_value_t = 20, conflicts_with = "student")]
    own: usize,
    /// Tokens of each reply
    #[arg(long, default_value_t = 40, conflicts_with = "student")]
    new: usize,
    #[arg(long, default_value_t = 64, conflicts_with = "student")]
    items: usize,
    /// Candidates of each question for a label
    #[arg(long, default_value_t = 6, conflicts_with = "student")]
    labels: usize,
    /// Fewest and most tokens of a candidate's name
    #[arg(long, value_name = "LOW-HIGH", default_value = "1-3", value_parser = range)]
    #[arg(conflicts_with = "student")]
    label_tokens: (usize, usize),
    /// Write the prompts as token numbers (JSONL) for other programs, and measure nothing
    #[arg(long, value_name = "FILE", conflicts_with = "student")]
    export: Option<PathBuf>,
    /// Any setting of the teacher, for example `--set teacher.kv_type=q8_0`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE", conflicts_with = "student")]
    set: Vec<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Of a student")]
struct StudentArgs {
    /// A CSV, JSONL, Parquet (columns `text`, and `label` where there are labels) or plain text file;
    /// texts are made up unless given
    #[arg(long, value_name = "FILE", conflicts_with = "teacher")]
    texts: Option<PathBuf>,
    /// Texts, the first so many of the file
    #[arg(long, default_value_t = 320, conflicts_with = "teacher")]
    rows: usize,
    /// Texts per optimiser step
    #[arg(long, default_value_t = 8, conflicts_with = "teacher")]
    batch: usize,
    /// Tokens per text, at most
    #[arg(long, default_value_t = 50, conflicts_with = "teacher")]
    max_length: usize,
    /// Tokens of every text: each is lengthened or cut to so many
    #[arg(long, value_name = "TOKENS", conflicts_with = "teacher")]
    equal_length: Option<usize>,
    /// Optimiser steps of a training; 0 = as many as --epochs over all texts give
    #[arg(long, default_value_t = 40, conflicts_with = "teacher")]
    steps: usize,
    /// Epochs of a training, where --steps is 0
    #[arg(long, default_value_t = 5, conflicts_with = "teacher")]
    epochs: usize,
    /// Students that are trained side by side; 0 = two per thread
    #[arg(long, default_value_t = 0, conflicts_with = "teacher")]
    students: usize,
}

/// Runs the command.
pub(super) fn bench(args: &BenchArgs, quiet: bool) -> anyhow::Result<()> {
    match &args.student {
        Some(model) => student::bench(args, model, quiet),
        None => teacher::bench(args, quiet),
    }
}

/// The kinds that `--only` names, of those in `all` by their names.
fn kinds<K: Copy>(
    only: &[String],
    all: &[K],
    name: fn(K) -> &'static str,
) -> anyhow::Result<Vec<K>> {
    let find = |text: &String| {
        all.iter().copied().find(|&kind| name(kind) == text).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|&kind| name(kind)).collect();
            anyhow::anyhow!("--only: there is no {text:?}\nhint: it is one of {}", names.join(", "))
        })
    };
    only.iter().map(find).collect()
}

fn range(text: &str) -> Result<(usize, usize), String> {
    let parse = |part: &str| part.trim().parse::<usize>().ok();
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (parse(low), parse(high)) {
        (Some(low), Some(high)) if (1..=high).contains(&low) => Ok((low, high)),
        _ => Err("write LOW-HIGH, for example 1-3".to_owned()),
    }
}
