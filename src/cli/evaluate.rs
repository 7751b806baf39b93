//! `promptmix evaluate`: how a trained student, or any other classifier in its format, does on
//! labelled texts.

mod render;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{
    build,
    error::{self, CommandError},
    exit_status::FailedGate,
    predict::open_student,
};
use crate::{
    counted::{agree, counted, part},
    eval::Interval,
    fs, hash,
    printable::excerpt,
    report::{
        self,
        evaluation::{Answers, Evaluation, Input},
    },
    student::{Classifier, Item, Precision},
    suggest,
    task::{Contents, LabelledFile},
};

#[derive(Args)]
pub(super) struct EvaluateArgs {
    /// Folder of a trained student, or of the run that trained it; also `owner/name` in the Hugging
    /// Face cache, or the name of a student in the library
    model: PathBuf,
    /// File with texts and labels: CSV, TSV, JSON, JSONL or Parquet, also compressed with gzip
    file: PathBuf,
    /// Another model, measured on the same texts: prints the paired difference of accuracy
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    /// A label of the file that stands for a class of the model; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = renaming)]
    map: Vec<(String, String)>,
    /// Exit with 1 if the accuracy is below ACC (0 to 1)
    ///
    /// The measured accuracy decides, not the lower end of its interval. If the accuracy passes but
    /// the interval reaches below ACC, a note says so: with other texts of the same kind, the
    /// accuracy may lie below.
    #[arg(long, value_name = "ACC", value_parser = share)]
    fail_below: Option<f64>,
    /// Write a page with all results
    #[arg(long, value_name = "PAGE")]
    html: Option<PathBuf>,
    /// Name of the text column; several, as in `subject,body`, are joined by a blank line
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    text_column: Vec<String>,
    /// Name of the label column
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1, for example 0.9".to_owned()),
    }
}

fn renaming(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => {
            Ok((old.to_owned(), new.to_owned()))
        }
        _ => Err("expected OLD=NEW: a label of the file and a class of the model".to_owned()),
    }
}

/// Runs the command.
pub(super) fn evaluate(args: &EvaluateArgs, quiet: bool) -> anyhow::Result<()> {
    let device = build::student_device()?;
    let (folder, student) = open_student(&args.model, &device, Precision::F32)?;
    let answers = answers(args, &student)?;
    if let Some(warning) = student.coverage().warning() {
        error::warn(&warning, Some("take a student that was trained on texts of this language"));
    }
    let file = Input { path: args.file.display().to_string(), sha256: sha256(&args.file)? };
    let model = model_input(&args.model, &folder)?;
    let mut evaluation = Evaluation::new(model, file, student.labels(), &answers)?;
    if let Some(against) = &args.against {
        let (folder, other) = open_student(against, &device, Precision::F32)?;
        let others = self::answers(args, &other)?;
        evaluation.set_against(model_input(against, &folder)?, &answers, &others)?;
    }
    show(args, &evaluation, quiet)?;
    check_gate(args, &evaluation, quiet)
}

/// What `student` answers to the texts of the file.
fn answers(args: &EvaluateArgs, student: &Classifier) -> anyhow::Result<Answers> {
    let labels = student.labels();
    if let Some((_, new)) = args.map.iter().find(|(_, new)| !labels.contains(new)) {
        return Err(CommandError::new(
            format!("--map: the model has no class \"{}\"", excerpt(new)),
            format!("its classes are {}", listed(labels)),
        )
        .into());
    }
    let columns = (args.text_column.as_slice(), args.label_column.as_deref());
    let file = LabelledFile::new(&args.file, columns, labels, &args.map);
    check_labels(&file, &file.check()?, labels)?;
    let mut answers = Answers::default();
    let items = file.items()?.map(|item| {
        let item = item?;
        Ok::<_, anyhow::Error>(Labelled { text: item.text, class: item.class })
    });
    for answer in student.stream(items) {
        let (Labelled { class, .. }, Some(prediction)) = answer? else { continue };
        answers.push(class, prediction.class, &prediction.probabilities);
        answers.truncated += usize::from(prediction.truncated);
    }
    Ok(answers)
}

/// A text on its way through the student.
struct Labelled {
    text: String,
    class: usize,
}

impl Item for Labelled {
    fn text(&self) -> Option<&str> {
        Some(&self.text)
    }
}

/// Checks that the model knows all labels of the file.
fn check_labels(file: &LabelledFile, found: &Contents, labels: &[String]) -> anyhow::Result<()> {
    let Some((first, (line, _))) = found.unknown.iter().min_by_key(|(_, (line, _))| *line) else {
        return Ok(());
    };
    let unknown: Vec<&String> = found.unknown.keys().collect();
    let rows = found.unknown.values().map(|(_, rows)| rows).sum();
    let like = suggest::nearest(first, labels).map_or(&labels[0], |like| like);
    Err(CommandError::new(
        format!(
            "{}: the model has no {} {} ({})",
            file.place(*line),
            agree(unknown.len(), "class", "classes"),
            listed(&unknown),
            part(rows, found.rows, "row"),
        ),
        format!(
            "the classes of the model are {}; say which of them a label stands for with --map {}, or correct the file",
            listed(labels),
            crate::hint::shell_word(format!("{}={}", excerpt(first), excerpt(like))),
        ),
    )
    .into())
}

/// Names in quotes, at most twenty.
fn listed(names: &[impl AsRef<str>]) -> String {
    const MOST: usize = 20;
    let shown = names.iter().take(MOST).map(|name| format!("\"{}\"", excerpt(name.as_ref())));
    let mut list = shown.collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        list += &format!(" and {} more", names.len() - MOST);
    }
    list
}

fn sha256(path: &Path) -> anyhow::Result<String> {
    hash::of_file(path).with_context(|| format!("cannot read {}", path.display()))
}

fn model_input(model: &Path, folder: &Path) -> anyhow::Result<Input> {
    let sha256 = sha256(&folder.join("model.safetensors"))?;
    Ok(Input { path: model.display().to_string(), sha256 })
}

fn show(args: &EvaluateArgs, evaluation: &Evaluation, quiet: bool) -> anyhow::Result<()> {
    if let Some(page) = &args.html {
        let html = report::render_evaluation(evaluation);
        fs::write_atomic(page, html.as_bytes()).map_err(|source| {
            CommandError::new(
                format!("cannot write {}", page.display()),
                "name a file in a folder that exists and is writable with --html",
            )
            .caused_by(source)
        })?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(evaluation)?);
    } else {
        print!("{}", render::table(evaluation));
    }
    if let (Some(page), false) = (&args.html, quiet) {
        eprintln!("page: {}", page.display());
    }
    Ok(())
}

fn check_gate(args: &EvaluateArgs, evaluation: &Evaluation, quiet: bool) -> anyhow::Result<()> {
    let Some(least) = args.fail_below else { return Ok(()) };
    let Interval { mean, low, high, .. } = evaluation.accuracy;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let interval = format!("95 % interval {} to {}", percent(low), percent(high));
    if mean < least {
        return Err(FailedGate::because(CommandError::new(
            format!(
                "the accuracy is {} on {} ({interval}), below --fail-below {least}",
                percent(mean),
                counted(evaluation.rows, "text")
            ),
            "see the scores of the classes above; the measured accuracy decides, not its interval",
        ))
        .into());
    }
    if low < least && !quiet {
        eprintln!(
            "note: the accuracy passes --fail-below {least}, but its interval reaches below ({interval}); more texts make it narrower"
        );
    }
    Ok(())
}
