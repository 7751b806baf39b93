//! `promptmix predict`: texts in, one JSON line each out.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};

use super::parts;
use crate::{student::Classifier, task};

/// Texts that are classified together when they come from a stream.
const CHUNK: usize = 256;

#[derive(Args)]
pub struct PredictArgs {
    /// The folder of a trained student
    #[arg(long)]
    model: PathBuf,
    /// The text to classify; without it, and without --file, one text per line is read from stdin
    text: Option<String>,
    /// A CSV, JSONL, Parquet or plain text file
    #[arg(long, conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Name of the column that holds the text
    #[arg(long, default_value = "text")]
    text_column: String,
    /// JSON lines are what is printed anyway; accepted for uniformity
    #[arg(long, hide = true)]
    json: bool,
}

/// Runs the command.
pub fn predict(args: &PredictArgs) -> anyhow::Result<()> {
    let student = Classifier::load(&args.model, &parts::student_device()?)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if let Some(text) = &args.text {
        return write_predictions(&student, std::slice::from_ref(text), &mut out);
    }
    if let Some(file) = &args.file {
        let cells = task::read_texts(file, &args.text_column)?;
        let texts: Vec<String> = cells.into_iter().map(|cell| cell.value).collect();
        for chunk in texts.chunks(CHUNK) {
            write_predictions(&student, chunk, &mut out)?;
        }
        return Ok(());
    }
    predict_stream(&student, io::stdin().lock(), &mut out)
}

/// Reads lines until the end, in constant memory. A line that is there is answered at the latest
/// when the chunk is full or the input pauses at its end.
fn predict_stream(
    student: &Classifier,
    input: impl BufRead,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK);
    for (index, line) in input.lines().enumerate() {
        let line = line.with_context(|| {
            format!("stdin:{}: the line is not UTF-8 text\nhint: convert it first, for example with iconv", index + 1)
        })?;
        if line.trim().is_empty() {
            anyhow::bail!("stdin:{}: the line is empty\nhint: give one text per line", index + 1);
        }
        chunk.push(line);
        if chunk.len() == CHUNK {
            write_predictions(student, &chunk, out)?;
            chunk.clear();
        }
    }
    write_predictions(student, &chunk, out)
}

fn write_predictions(
    student: &Classifier,
    texts: &[String],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    for (text, probabilities) in texts.iter().zip(student.predict(texts)?) {
        let (mut label, mut probability) = ("", f32::NEG_INFINITY);
        let mut by_label = Map::new();
        for (name, &p) in student.labels().iter().zip(&probabilities) {
            if p > probability {
                (label, probability) = (name, p);
            }
            by_label.insert(name.clone(), Value::from(p));
        }
        let row = json!({"text": text, "label": label, "probability": probability, "probabilities": by_label});
        writeln!(out, "{row}")?;
    }
    out.flush()?;
    Ok(())
}
