//! `promptmix predict`: reads texts, prints one JSON line for each.
//!
//! Predictions are printed as they are computed, and memory does not grow with the input: a pipe
//! may run for days. An interactive user gets each prediction at once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    build,
    error::{self, CommandError},
};
use crate::{
    interrupt,
    student::{Classifier, Precision, Prediction, Texts},
    task,
};

/// Bytes of stdin that are read ahead: the capacity of a pipe. A window of texts ends with them.
const AHEAD: usize = 64 << 10;
/// Longest line in bytes: a binary file may have no line feeds at all.
const LONGEST: usize = 16 << 20;

#[derive(Args)]
pub(super) struct PredictArgs {
    /// Folder of a trained student
    #[arg(long)]
    model: PathBuf,
    /// Text to classify; without it and without --file, stdin is read, one text per line
    text: Option<String>,
    /// CSV, JSONL, Parquet or plain text file with the texts to classify
    #[arg(long, conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Name of the text column
    #[arg(long, default_value = "text")]
    text_column: String,
    /// Print no label if the most probable class is less probable than P (0 to 1)
    ///
    /// `label` is then null. With this flag, every row names the most probable class in `best`.
    #[arg(long, value_name = "P", value_parser = probability)]
    abstain_below: Option<f32>,
    /// Compute with 8-bit weights on a CPU: about twice as fast, slightly less accurate
    #[arg(long)]
    fast: bool,
    /// Accepted for uniformity: the output is always JSON lines
    #[arg(long, hide = true)]
    json: bool,
}

/// Runs the command.
pub(super) fn predict(args: &PredictArgs, quiet: bool) -> anyhow::Result<()> {
    let device = build::student_device()?;
    let precision = match args.fast {
        true if device.is_cpu() && Precision::Int8.pays() => Precision::Int8,
        true => {
            error::warn(
                "--fast has no effect: it needs a CPU with 8-bit instructions, and a student on the CPU",
                None,
            );
            Precision::F32
        }
        false => Precision::F32,
    };
    let student = Classifier::load_with(&args.model, &device, precision)?;
    let (out, lines) = (io::stdout().lock(), Vec::new());
    let below = args.abstain_below;
    let mut output = Output { student: &student, below, out, lines, counts: (0, 0) };
    if let Some(text) = &args.text {
        output.write_all(std::iter::once(anyhow::Ok(text.clone())))?;
    } else if let Some(file) = &args.file {
        let texts = task::stream_texts(file, &args.text_column)?;
        output.write_all(texts.map(|text| text.map_err(anyhow::Error::from)))?;
    } else {
        output.write_all(Lines::new(io::stdin().lock()))?;
    }
    let (abstained, texts) = output.counts;
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
        _ => Err("expected a probability from 0 to 1".to_owned()),
    }
}

/// Where predictions are printed.
struct Output<'a, W> {
    student: &'a Classifier,
    below: Option<f32>,
    out: W,
    /// Complete lines that are not printed yet: a signal must not cut one in two.
    lines: Vec<u8>,
    /// Number of texts without a label, and of all texts.
    counts: (usize, usize),
}

impl<W: Write> Output<'_, W> {
    fn write_all(&mut self, texts: impl Texts<Error = anyhow::Error>) -> anyhow::Result<()> {
        let mut stream = self.student.stream(texts);
        while let Some(prediction) = stream.next() {
            match prediction {
                Ok(prediction) => self.write(&prediction)?,
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

    fn write(&mut self, prediction: &Prediction) -> io::Result<()> {
        let labels = self.student.labels();
        let best = &labels[prediction.class];
        let abstains = self.below.is_some_and(|below| prediction.probability < below);
        self.counts = (self.counts.0 + usize::from(abstains), self.counts.1 + 1);
        let by_label =
            labels.iter().cloned().zip(prediction.probabilities.iter().map(|&p| p.into()));
        let mut row = Map::new();
        row.insert("text".into(), prediction.text.as_str().into());
        row.insert("label".into(), if abstains { Value::Null } else { best.as_str().into() });
        if self.below.is_some() {
            row.insert("best".into(), best.as_str().into());
        }
        row.insert("probability".into(), prediction.probability.into());
        row.insert("probabilities".into(), json!(by_label.collect::<Map<_, _>>()));
        writeln!(self.lines, "{}", Value::Object(row))
    }
}

/// The lines of a stream, one text each.
struct Lines<R> {
    input: BufReader<R>,
    /// Number of the current line, from 1.
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
        self.input.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line).map_err(
            |source| {
                CommandError::new(format!("stdin:{number}: cannot read the line"), "run it again")
                    .caused_by(source)
            },
        )?;
        if line.is_empty() {
            return Ok(None);
        }
        let fault = |what: String, hint: &str| {
            CommandError::new(format!("stdin:{number}: the line {what}"), hint)
        };
        if line.len() == LONGEST {
            let what = format!("is longer than {} MiB", LONGEST >> 20);
            return Err(fault(what, "give one text per line, each ended by a line feed").into());
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        let line = String::from_utf8(line).map_err(|_| {
            fault(
                "is not valid UTF-8".to_owned(),
                "convert the input first, for example with iconv",
            )
        })?;
        if line.trim().is_empty() {
            return Err(fault("is empty".to_owned(), "give one text per line").into());
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
    fn lines_are_split_and_pauses_of_the_input_are_seen() {
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
        let error = |bytes: &[u8]| {
            let mut lines = Lines::new(bytes);
            lines.next_text();
            let error = lines.next_text().unwrap().unwrap_err();
            (error.to_string(), error::hint(&*error).unwrap().into_owned())
        };
        let (empty, hint) = error(b"a\n\n");
        assert_eq!((&*empty, &*hint), ("stdin:2: the line is empty", "give one text per line"));
        let (foreign, hint) = error(b"a\n\xff\n");
        assert_eq!(foreign, "stdin:2: the line is not valid UTF-8");
        assert!(hint.contains("iconv"));
        let (endless, hint) = error(&[b"a\n".to_vec(), vec![b'x'; LONGEST + 5]].concat());
        assert_eq!(endless, "stdin:2: the line is longer than 16 MiB");
        assert!(hint.contains("line feed"));
    }
}
