//! `promptmix bench`: the speed of a teacher or a student on this machine. The result is saved, and
//! `promptmix plan` bases its estimates on it.

mod student;
mod teacher;

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::error::CommandError;

#[derive(Args)]
#[command(group = ArgGroup::new("subject").required(true).args(["teacher", "student"]))]
pub(crate) struct BenchArgs {
    /// Teacher to measure: a GGUF file or a name from `promptmix models list`
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// Student to measure: a Hugging Face folder, trained or not, or a name from `promptmix models
    /// list`
    #[arg(long, value_name = "MODEL")]
    student: Option<String>,
    /// CPU threads; 0 = chosen from the model for a teacher, all for a student [default: 0]
    #[arg(long)]
    threads: Option<usize>,
    /// Measure only these kinds, comma-separated
    ///
    /// Of a teacher: generate, decode, labels (the default), generate_single, labels_single,
    /// labels_generated, labels_77. Of a student: train, classify, classify_fast, students (the
    /// default: all).
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    only: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    teacher_args: TeacherBenchArgs,
    #[command(flatten)]
    student_args: StudentBenchArgs,
}

#[derive(Args)]
#[command(next_help_heading = "With --teacher")]
struct TeacherBenchArgs {
    /// Concurrent requests; 0 = chosen from the model [default: 0]
    #[arg(long, conflicts_with = "student")]
    slots: Option<usize>,
    /// Tokens that all prompts share
    #[arg(long, default_value_t = 600, conflicts_with = "student")]
    shared: usize,
    /// Tokens of each prompt that are not shared
    #[arg(long, default_value_t = 20, conflicts_with = "student")]
    own: usize,
    /// Tokens of each reply
    #[arg(long, default_value_t = 40, conflicts_with = "student")]
    new: usize,
    /// Prompts per measurement
    #[arg(long, default_value_t = 64, conflicts_with = "student")]
    items: usize,
    /// Candidate labels per question
    #[arg(long, default_value_t = 6, conflicts_with = "student")]
    labels: usize,
    /// Range of the tokens in a candidate's name
    #[arg(long, value_name = "LOW-HIGH", default_value = "1-3", value_parser = range)]
    #[arg(conflicts_with = "student")]
    label_tokens: (usize, usize),
    /// Write the prompts as token IDs (JSONL) for other programs instead of measuring
    #[arg(long, value_name = "FILE", conflicts_with = "student")]
    export: Option<PathBuf>,
    /// Any setting of the teacher, for example `--set teacher.kv_type=q8_0`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE", conflicts_with = "student")]
    set: Vec<String>,
}

#[derive(Args)]
#[command(next_help_heading = "With --student")]
struct StudentBenchArgs {
    /// CSV, JSONL, Parquet (columns `text` and optionally `label`) or plain text file [default:
    /// synthetic texts]
    #[arg(long, value_name = "FILE", conflicts_with = "teacher")]
    texts: Option<PathBuf>,
    /// Number of texts; of a file, the first ones
    #[arg(long, default_value_t = 320, conflicts_with = "teacher")]
    rows: usize,
    /// Texts per optimiser step
    #[arg(long, default_value_t = 8, conflicts_with = "teacher")]
    batch: usize,
    /// Maximum tokens per text
    #[arg(long, default_value_t = 50, conflicts_with = "teacher")]
    max_length: usize,
    /// Pad or truncate every text to exactly this many tokens
    #[arg(long, value_name = "TOKENS", conflicts_with = "teacher")]
    equal_length: Option<usize>,
    /// Optimiser steps per training; 0 = all steps of --epochs
    #[arg(long, default_value_t = 40, conflicts_with = "teacher")]
    steps: usize,
    /// Epochs per training if --steps is 0
    #[arg(long, default_value_t = 5, conflicts_with = "teacher")]
    epochs: usize,
    /// Students trained concurrently; 0 = two per thread
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

/// The kinds of `all` that `--only` names.
fn kinds<K: Copy>(
    only: &[String],
    all: &[K],
    name: fn(K) -> &'static str,
) -> anyhow::Result<Vec<K>> {
    let find = |text: &String| {
        all.iter().copied().find(|&kind| name(kind) == text).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|&kind| name(kind)).collect();
            let hint = format!("use one of {}", names.join(", "));
            CommandError::new(format!("--only: unknown kind {text:?}"), hint).into()
        })
    };
    only.iter().map(find).collect()
}

fn range(text: &str) -> Result<(usize, usize), String> {
    let parse = |part: &str| part.trim().parse::<usize>().ok();
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (parse(low), parse(high)) {
        (Some(low), Some(high)) if (1..=high).contains(&low) => Ok((low, high)),
        _ => Err("expected LOW-HIGH, for example 1-3".to_owned()),
    }
}
