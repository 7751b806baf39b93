//! `promptmix predict`: reads texts, prints a row for each.
//!
//! Predictions are printed as they are computed, and memory does not grow with the input: a pipe
//! may run for days. An interactive user gets each prediction at once. A row that cannot be
//! answered gets no label but a reason; the others are answered, and the exit code tells.
//!
//! `answers` prints the rows, `threshold` decides which get a label, `why` explains them.

mod answers;
mod threshold;
mod why;

use std::io;
use std::path::{Path, PathBuf};

use candle_core::Device;
use clap::{Args, ValueEnum};

use super::{
    build,
    error::{self, CommandError},
};
use crate::{
    model_file,
    models::{self, StudentFiles},
    run::names,
    shard::Shard,
    student::{Classifier, Item, Precision, Texts},
    task::{Columns, Format, Origin, Reader, TableRow, TaskError, open_file},
    verbosity::{self, Notice},
};

use answers::Answers;
use why::Explainer;

#[derive(Args)]
pub(super) struct PredictArgs {
    /// Folder of a trained student, or of the run that trained it; also `owner/name` in the Hugging
    /// Face cache, or the name of a student in the library
    #[arg(long)]
    model: PathBuf,
    /// Text to classify; without it and without --file, stdin is read
    text: Option<String>,
    /// File with the texts to classify: CSV, TSV, JSON, JSONL, Parquet or one text per line, also
    /// compressed with gzip
    #[arg(long, conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Format of the input; without it, the name and the first bytes decide
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "text")]
    format: Option<InputFormat>,
    /// Read the whole input as one text, for instance an e-mail with blank lines
    #[arg(long, conflicts_with_all = ["format", "text", "text_column"])]
    whole: bool,
    /// Name of the text column; several, as in `subject,body`, are joined by a blank line
    ///
    /// Without it, the column is found by its name: `text`, a subject and a body, `message` and the
    /// like. What was found is printed to stderr.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', conflicts_with = "text")]
    text_column: Vec<String>,
    /// Format of the output
    ///
    /// Both have all columns of the input, then the label and its probability. JSON lines, the
    /// default, also have the probability of each class.
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Option<OutputFormat>,
    /// Print no label if the most probable class is less probable than P (0 to 1)
    ///
    /// `label` is then null. With this flag, every row names the most probable class in `best`.
    #[arg(long, value_name = "P", value_parser = probability)]
    abstain_below: Option<f32>,
    /// Print no label where the answers could not keep this accuracy (a share, such as 0.95)
    ///
    /// The least probability that gets a label is chosen on labelled texts that the student was
    /// not trained on: those of the task's test set, or of --calibration. It is the smallest for
    /// which at least this share of the labels is promised to be right, for new texts of the same
    /// kind. Too few texts, or too many errors among them, are an error.
    #[arg(long, value_name = "SHARE", value_parser = open_share, conflicts_with = "abstain_below")]
    target_accuracy: Option<f64>,
    /// File of labelled texts that the student was not trained on, for --target-accuracy
    #[arg(long, value_name = "FILE", requires = "target_accuracy")]
    calibration: Option<PathBuf>,
    /// How sure the promise of --target-accuracy is: the chance that the choice of labelled texts
    /// does not break it
    #[arg(
        long,
        value_name = "SHARE",
        value_parser = open_share,
        default_value_t = 0.95,
        requires = "target_accuracy"
    )]
    confidence_level: f64,
    /// Print no label if fewer than this share of held-out texts are as far from the training texts
    ///
    /// The share is in the column `in_scope`. 0.05 leaves about one in twenty texts of the usual
    /// kind without a label, and most others.
    #[arg(long, value_name = "SHARE", value_parser = probability)]
    min_in_scope: Option<f32>,
    /// Show which words speak for and against the label, and the nearest training texts
    ///
    /// Each word is left out once; its effect is the change of the label's log-odds. The training
    /// texts are in the folder of the run, not in that of the student. A TEXT is explained in
    /// words, a file or stdin in the column `why` of the JSON lines.
    #[arg(long)]
    why: bool,
    /// Tokens to read of each text; by default as many as in training
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(3..))]
    max_length: Option<u32>,
    /// Classify only part I of N of the rows of --file
    ///
    /// I counts from 0 to N-1. `auto/N` takes I from a Slurm job array or an indexed Kubernetes
    /// Job. The parts follow each other: joined in order, the outputs are those of the whole file,
    /// up to rounding (CSV repeats its header line).
    #[arg(long, value_name = "I/N", value_parser = Shard::parse, requires = "file")]
    shard: Option<Shard>,
    /// Compute with 8-bit weights on a CPU: faster (most with VNNI), slightly less accurate
    #[arg(long)]
    fast: bool,
    /// Accepted for uniformity: JSON lines are the default
    #[arg(long, hide = true, conflicts_with = "to")]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    /// A header line; separated by commas, semicolons, tabs or bars
    Csv,
    /// One object per line, or an array of objects
    Jsonl,
    /// One text per line
    Text,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// One object per line
    Jsonl,
    /// Comma-separated, in UTF-8, with a header line
    Csv,
    /// For people
    #[value(skip)]
    Words,
}

/// Runs the command.
pub(super) fn predict(args: &PredictArgs, quiet: bool) -> anyhow::Result<()> {
    let student = load(args)?;
    let columns = Columns::texts(&args.text_column);
    let format = match args.format {
        Some(InputFormat::Csv) => Some(Format::Csv),
        Some(InputFormat::Jsonl) => Some(Format::Json),
        Some(InputFormat::Text) => Some(Format::Text),
        None => args.whole.then_some(Format::Whole),
    };
    let (name, origin, format) = match (&args.text, &args.file) {
        (Some(text), _) => ("TEXT".to_owned(), Origin::Bytes(text.as_bytes()), Some(Format::Whole)),
        (None, Some(file)) => {
            let name = file.display().to_string();
            let origin = open_file(&name, file).map_err(TaskError::from)?;
            (name, origin, format)
        }
        (None, None) => ("stdin".to_owned(), Origin::Pipe(Box::new(io::stdin())), format),
    };
    let reader = Reader::open(&name, origin, &columns, format).map_err(TaskError::from)?;
    let (reader, left) = match (args.shard, &args.file) {
        (Some(shard), Some(file)) => {
            match count_rows(file, &columns, format)? {
                // An error, as without shards.
                0 => (reader, usize::MAX),
                rows => {
                    let part = shard.part(rows);
                    (skip_rows(reader, part.start)?, part.len())
                }
            }
        }
        _ => (reader, usize::MAX),
    };
    let to = match args.to {
        None if args.why && args.text.is_some() && !args.json => OutputFormat::Words,
        to => to.unwrap_or(OutputFormat::Jsonl),
    };
    if args.why && to == OutputFormat::Csv {
        let message = "--why has no place in CSV";
        return Err(CommandError::new(message, "use --to jsonl").into());
    }
    let explainer = args.why.then(|| Explainer::new(&student, &args.model, args.fast));
    let explainer = explainer.transpose()?;
    let (rule, notes) = threshold::rule(args, &student)?;
    notes.iter().filter(|_| !quiet).for_each(|note| eprintln!("{note}"));
    let mut answers = Answers::new(&student, io::stdout().lock(), to, rule, explainer);
    let rows = answers.write_all(Rows { reader, left })?;
    if rows == 0 && left > 0 && args.file.is_some() {
        return Err(CommandError::new(
            format!("{name}: the file contains no texts"),
            "add rows to it",
        )
        .into());
    }
    if !quiet {
        answers.tell();
    }
    answers.verdict()
}

/// The number of rows in `file`.
fn count_rows(file: &Path, columns: &Columns, format: Option<Format>) -> Result<usize, TaskError> {
    let name = file.display().to_string();
    let origin = open_file(&name, file)?;
    let mut reader = Reader::open(&name, origin, columns, format)?;
    let mut rows = 0;
    while reader.next_row()?.is_some() {
        rows += 1;
    }
    Ok(rows)
}

/// `reader` after its next `count` rows.
fn skip_rows(mut reader: Reader<'_>, count: usize) -> Result<Reader<'_>, TaskError> {
    for _ in 0..count {
        reader.next_row()?;
    }
    Ok(reader)
}

/// The student that the flags ask for.
fn load(args: &PredictArgs) -> anyhow::Result<Classifier> {
    let device = build::student_device()?;
    let precision = precision(args.fast, &device);
    let student = open_student(&args.model, &device, precision)?.1;
    let Some(max_length) = args.max_length.map(|tokens| tokens as usize) else {
        return Ok(student);
    };
    let longest = student.longest();
    if max_length > longest {
        let message = format!("--max-length {max_length} is more than the student can read");
        return Err(CommandError::new(message, format!("use at most {longest}")).into());
    }
    Ok(student.with_max_length(max_length))
}

/// The student that `model` names, and its folder.
pub(super) fn open_student(
    model: &Path,
    device: &Device,
    precision: Precision,
) -> anyhow::Result<(PathBuf, Classifier)> {
    let folder = student_folder(model)?;
    let weights = folder.join("model.safetensors");
    if weights.exists() {
        model_file::check_one(&weights)?;
    }
    let student = Classifier::load_with(&folder, device, precision)?;
    Ok((folder, student))
}

/// The number type that `--fast` asks for on `device`.
pub(super) fn precision(fast: bool, device: &Device) -> Precision {
    match fast {
        true if device.is_cpu() && Precision::Int8.pays() => Precision::Int8,
        true => {
            error::warn(
                "--fast has no effect: it needs a CPU with 8-bit instructions, and a student on the CPU",
                None,
            );
            Precision::F32
        }
        false => Precision::F32,
    }
}

/// The folder of the student that `model` names: a folder, that of its run, or a model's name.
pub(super) fn student_folder(model: &Path) -> anyhow::Result<PathBuf> {
    let of_run = model.join(names::STUDENT);
    if !model.join("config.json").exists() && of_run.join("config.json").exists() {
        return Ok(of_run);
    }
    if model.exists() {
        return Ok(model.to_owned());
    }
    match models::student_files(&model.to_string_lossy())? {
        StudentFiles::Folder(folder, _) => Ok(folder),
        StudentFiles::Embedded(_) => Err(CommandError::new(
            format!("{} is an encoder that has not learnt any classes", model.display()),
            "name the folder of a run, or of a trained student",
        )
        .into()),
    }
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("expected a probability from 0 to 1".to_owned()),
    }
}

fn open_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a share between 0 and 1, such as 0.95".to_owned()),
    }
}

/// The rows to answer. Tells what was guessed about them.
struct Rows<'a> {
    reader: Reader<'a>,
    /// Rows that are still to be answered at most.
    left: usize,
}

impl Texts for Rows<'_> {
    type Item = TableRow;
    type Error = anyhow::Error;

    fn next_text(&mut self) -> Option<anyhow::Result<TableRow>> {
        self.left = self.left.checked_sub(1)?;
        let row = self.reader.next_row();
        if let Some(note) = self.reader.note() {
            verbosity::notify(Notice::Message(note));
        }
        row.map_err(|fault| TaskError::from(fault).into()).transpose()
    }

    fn pauses(&self) -> bool {
        self.reader.pauses()
    }
}

impl Item for TableRow {
    fn text(&self) -> Option<&str> {
        self.text.as_ref().filter(|_| self.faults.is_empty()).map(|text| text.value.as_str())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
