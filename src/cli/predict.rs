//! `promptmix predict`: texts in, one JSON line each out.
//!
//! Answers are written as they are known and memory does not grow with the input: a pipe may run
//! for days. An interactive one gets each answer at once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};

use super::build;
use crate::{
    interrupt,
    student::{Classifier, Precision, Prediction, Texts},
    task,
};

/// Bytes of stdin that are read ahead: what a pipe holds. A window of texts ends with them.
const AHEAD: usize = 64 << 10;
/// Longest line in bytes: a file of another kind may have no line ends at all.
const LONGEST: usize = 16 << 20;

#[derive(Args)]
pub(super) struct PredictArgs {
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
    /// Give no label where the likeliest class is less probable than this (0 to 1): `label` is then
    /// null, and `best` names that class in every row
    #[arg(long, value_name = "P", value_parser = probability)]
    abstain_below: Option<f32>,
    /// Compute in 8 bits on a CPU: about twice as fast, and a little less exact
    #[arg(long)]
    fast: bool,
    /// JSON lines are what is printed anyway; accepted for uniformity
    #[arg(long, hide = true)]
    json: bool,
}

/// Runs the command.
pub(super) fn predict(args: &PredictArgs, quiet: bool) -> anyhow::Result<()> {
    let device = build::student_device()?;
    let precision = match args.fast {
        true if device.is_cpu() && Precision::Int8.pays() => Precision::Int8,
        true => {
            eprintln!(
                "warning: --fast is left out: it is for processors with instructions for 8 bits, this one has none or the student is on a GPU"
            );
            Precision::F32
        }
        false => Precision::F32,
    };
    let student = Classifier::load_with(&args.model, &device, precision)?;
    let (out, lines) = (io::stdout().lock(), Vec::new());
    let below = args.abstain_below;
    let mut answers = Answers { student: &student, below, out, lines, told: (0, 0) };
    if let Some(text) = &args.text {
        answers.write_all(std::iter::once(anyhow::Ok(text.clone())))?;
    } else if let Some(file) = &args.file {
        let texts = task::stream_texts(file, &args.text_column)?;
        answers.write_all(texts.map(|text| text.map_err(anyhow::Error::from)))?;
    } else {
        answers.write_all(Lines::new(io::stdin().lock()))?;
    }
    let (abstained, texts) = answers.told;
    if let (Some(below), false) = (args.abstain_below, quiet) {
        let share = abstained as f64 / (texts.max(1) as f64) * 100.0;
        eprintln!(
            "no label for {abstained} of {texts} texts ({share:.1} %): below a probability of {below}"
        );
    }
    Ok(())
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("a probability from 0 to 1 is wanted".to_owned()),
    }
}

/// Where answers go.
struct Answers<'a, W> {
    student: &'a Classifier,
    below: Option<f32>,
    out: W,
    /// Whole lines that are not written yet: a signal must not cut one in two.
    lines: Vec<u8>,
    /// Texts without a label, and all texts.
    told: (usize, usize),
}

impl<W: Write> Answers<'_, W> {
    fn write_all(&mut self, texts: impl Texts<Error = anyhow::Error>) -> anyhow::Result<()> {
        let mut stream = self.student.stream(texts);
        while let Some(answer) = stream.next() {
            match answer {
                Ok(answer) => self.write(&answer)?,
                Err(error) => {
                    self.flush()?;
                    return Err(error);
                }
            }
            if stream.drained() || self.lines.len() >= AHEAD {
                self.flush()?;
            }
        }
        Ok(self.flush()?)
    }

    fn flush(&mut self) -> io::Result<()> {
        let _whole = interrupt::hold();
        self.out.write_all(&self.lines)?;
        self.lines.clear();
        self.out.flush()
    }

    fn write(&mut self, answer: &Prediction) -> io::Result<()> {
        let labels = self.student.labels();
        let best = &labels[answer.class];
        let abstains = self.below.is_some_and(|below| answer.probability < below);
        self.told = (self.told.0 + usize::from(abstains), self.told.1 + 1);
        let by_label = labels.iter().cloned().zip(answer.probabilities.iter().map(|&p| p.into()));
        let mut row = Map::new();
        row.insert("text".into(), answer.text.as_str().into());
        row.insert("label".into(), if abstains { Value::Null } else { best.as_str().into() });
        if self.below.is_some() {
            row.insert("best".into(), best.as_str().into());
        }
        row.insert("probability".into(), answer.probability.into());
        row.insert("probabilities".into(), json!(by_label.collect::<Map<_, _>>()));
        writeln!(self.lines, "{}", Value::Object(row))
    }
}

/// The lines of a stream, one text each.
struct Lines<R> {
    input: BufReader<R>,
    /// Lines read so far.
    number: usize,
}

impl<R: Read> Lines<R> {
    fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(AHEAD, input), number: 0 }
    }

    fn read(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = Vec::new();
        self.number += 1;
        let number = self.number;
        self.input
            .by_ref()
            .take(LONGEST as u64)
            .read_until(b'\n', &mut line)
            .with_context(|| format!("stdin:{number}: cannot be read"))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() == LONGEST {
            anyhow::bail!(
                "stdin:{number}: the line is longer than {} MiB\nhint: give one text per line, each ended by a line feed",
                LONGEST >> 20
            );
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        let line = String::from_utf8(line).ok().with_context(|| {
            format!("stdin:{number}: the line is not UTF-8 text\nhint: convert it first, for example with iconv")
        })?;
        if line.trim().is_empty() {
            anyhow::bail!("stdin:{number}: the line is empty\nhint: give one text per line");
        }
        Ok(Some(line))
    }
}

impl<R: Read> Texts for Lines<R> {
    type Error = anyhow::Error;

    fn next_text(&mut self) -> Option<anyhow::Result<String>> {
        self.read().transpose()
    }

    fn pauses(&self) -> bool {
        !self.input.buffer().contains(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_they_should_and_say_where_the_input_pauses() {
        let mut lines = Lines::new("one\r\ntwo \nthree".as_bytes());
        assert_eq!(lines.next_text().unwrap().unwrap(), "one");
        assert!(!lines.pauses());
        assert_eq!(lines.next_text().unwrap().unwrap(), "two ");
        assert!(lines.pauses());
        assert_eq!(lines.next_text().unwrap().unwrap(), "three");
        assert!(lines.next_text().is_none());
    }

    #[test]
    fn a_faulty_line_is_named() {
        let told = |bytes: &[u8]| {
            let mut lines = Lines::new(bytes);
            lines.next_text();
            lines.next_text().unwrap().unwrap_err().to_string()
        };
        assert!(told(b"a\n\n").starts_with("stdin:2: the line is empty\nhint: "));
        assert!(told(b"a\n\xff\n").starts_with("stdin:2: the line is not UTF-8"));
        let endless = [b"a\n".to_vec(), vec![b'x'; LONGEST + 5]].concat();
        assert!(told(&endless).starts_with("stdin:2: the line is longer than 16 MiB\nhint: "));
    }
}
