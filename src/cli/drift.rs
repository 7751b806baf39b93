//! `promptmix drift`: whether texts are still like those that a student was tested on.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    build,
    error::{self, CommandError},
    exit_status::FailedGate,
    predict::open_student,
    table::aligned,
};
use crate::{
    counted::{agree, counted},
    drift::{
        self, Drift, EMBEDDED, FEW, LEAST_LEVEL, LEVEL, Measure, ROWS, Readings, Reference,
        Sampler, Source, Test,
    },
    student::{Classifier, Precision},
    task::UnlabelledTexts,
    verbosity::{self, Notice},
};

#[derive(Args)]
pub(super) struct DriftArgs {
    /// Folder of a trained student, or of the run that trained it; also `owner/name` in the Hugging
    /// Face cache, or the name of a student in the library
    model: PathBuf,
    /// File with the new texts: CSV, TSV, JSON, JSONL, Parquet or one text per line, also
    /// compressed with gzip
    file: PathBuf,
    /// File with texts to compare with, instead of the reference in the student's folder
    ///
    /// Real texts of the time when the student was good, which it was not trained on.
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Exit with 1 if the p-value of all tests together is below LEVEL (0.001 to 0.5)
    ///
    /// LEVEL is the probability of an alarm although nothing has changed.
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    fail_on: Option<f64>,
    /// Name of the text column; several, as in `subject,body`, are joined by a blank line
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    text_column: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn level(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(level) if (LEAST_LEVEL..=0.5).contains(&level) => Ok(level),
        _ => Err(format!("expected a level from {LEAST_LEVEL} to 0.5, for example 0.05")),
    }
}

/// Runs the command.
pub(super) fn drift(args: &DriftArgs, quiet: bool) -> anyhow::Result<()> {
    let device = build::student_device()?;
    let (folder, student) = open_student(&args.model, &device, Precision::F32)?;
    let reference = match &args.reference {
        Some(file) => {
            let readings = sample(args, &student, file, "drift/file")?;
            Reference { source: Source::File, readings }
        }
        None => Reference::read(&folder, student.labels())?,
    };
    let new = sample(args, &student, &args.file, "drift/new")?;
    let drift = drift::compare(&reference, &new, student.labels())?;
    let level = args.fail_on.unwrap_or(LEVEL);
    if !quiet {
        for (message, hint) in cautions(&drift) {
            error::warn(&message, hint);
        }
    }
    if args.json {
        let mut json = serde_json::to_value(&drift)?;
        json["level"] = json!(level);
        json["drift"] = json!(drift.p < level);
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        print!("{}", render(&drift, level));
    }
    check_gate(args, &drift)
}

/// A sample of the texts of `file`, as the student reads them.
fn sample(
    args: &DriftArgs,
    student: &Classifier,
    file: &std::path::Path,
    key: &'static str,
) -> anyhow::Result<Readings> {
    let mut texts = UnlabelledTexts::open(file, &args.text_column)?;
    let mut sampler = Sampler::new(student, key);
    while let Some(text) = texts.next_text()? {
        sampler.add(text.text)?;
    }
    if let Some(fault) = &texts.first_fault {
        let message = format!(
            "{} left out; first: {fault}",
            format_args!(
                "{} {}",
                counted(texts.unusable, "row"),
                agree(texts.unusable, "was", "were")
            )
        );
        verbosity::notify(Notice::Warning { message, hint: None });
    }
    Ok(sampler.finish()?)
}

/// What the reader should know about the comparison itself.
fn cautions(drift: &Drift) -> Vec<(String, Option<&'static str>)> {
    let mut cautions = Vec::new();
    if drift.source == Source::Training {
        cautions.push((
            "the reference is made of training texts, most of which are generated: a difference may be that between these and real texts; confidence is not compared".to_owned(),
            Some("compare with real texts: --reference FILE, or a test set of 50 texts or more in the task"),
        ));
    }
    let sides = [("the reference has", drift.reference_texts), ("there are", drift.new_texts)];
    for (side, (_, texts)) in sides {
        if texts < FEW {
            let message =
                format!("{side} only {}: small changes are not found", counted(texts, "text"));
            cautions.push((message, None));
        }
    }
    let embedded = drift.tests.iter().any(|test| test.measure == Measure::Embeddings);
    if !embedded {
        cautions.push((
            "embeddings are not compared: the reference has none, or all texts are equal"
                .to_owned(),
            None,
        ));
    }
    cautions
}

fn check_gate(args: &DriftArgs, drift: &Drift) -> anyhow::Result<()> {
    let Some(level) = args.fail_on.filter(|level| drift.p < *level) else { return Ok(()) };
    let found: Vec<&str> =
        drift.tests.iter().filter(|it| it.adjusted_p < level).map(|it| name(it.measure)).collect();
    Err(FailedGate::because(CommandError::new(
        format!(
            "the texts differ from {} in {}: p = {}, below --fail-on {level}",
            drift.source.words(),
            found.join(", "),
            p_value(drift.p)
        ),
        "label some of the new texts and measure the student on them with `promptmix evaluate`",
    ))
    .into())
}

/// The tests as a table, the classes that changed most, the verdict.
fn render(drift: &Drift, level: f64) -> String {
    let texts = |(seen, used): (u64, usize)| match seen as usize == used {
        true => counted(used, "text"),
        false => format!("a random {used} of {}", counted(seen as usize, "text")),
    };
    let mut out = format!(
        "{} compared with {} of {}\n\n",
        texts(drift.new_texts),
        texts(drift.reference_texts),
        drift.source.words()
    );
    let header = ["", "reference", "new", "statistic", "p", "p (Holm)"];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(drift.tests.iter().map(row));
    out += &aligned(&lines);
    let changed: Vec<_> = drift.classes.iter().filter(|it| it.reference != it.new).collect();
    let mut lines = vec![["class", "reference %", "new %"].map(str::to_owned)];
    for share in changed.iter().take(CLASSES) {
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        lines.push([share.class.clone(), percent(share.reference), percent(share.new)]);
    }
    if lines.len() > 1 {
        let _ = write!(out, "\n{}", aligned(&lines));
    }
    let found: Vec<&str> =
        drift.tests.iter().filter(|it| it.adjusted_p < level).map(|it| name(it.measure)).collect();
    let verdict = match found.is_empty() {
        true => format!("no drift shown: p = {}", p_value(drift.p)),
        false => format!("drift in {}: p = {}", found.join(", "), p_value(drift.p)),
    };
    let _ = writeln!(
        out,
        "\n{verdict} for {} together (Holm), level {level}",
        counted(drift.tests.len(), "test")
    );
    if drift.new_texts.1 == ROWS || drift.reference_texts.1 > EMBEDDED {
        let _ = writeln!(out, "embeddings: at most {EMBEDDED} texts of each side");
    }
    out
}

/// Classes that are listed.
const CLASSES: usize = 5;

fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::Classes => "classes",
        Measure::Confidence => "confidence",
        Measure::Length => "length",
        Measure::UnknownTokens => "unknown tokens",
        Measure::Embeddings => "embeddings",
    }
}

fn row(test: &Test) -> [String; 6] {
    let (label, statistic) = match test.measure {
        Measure::Classes => ("classes", format!("chi² {:.2}", test.statistic)),
        Measure::Confidence => ("confidence, mean %", format!("KS {:.3}", test.statistic)),
        Measure::Length => ("length, mean tokens", format!("KS {:.3}", test.statistic)),
        Measure::UnknownTokens => {
            ("unknown tokens, %", format!("difference {:.2}", 100.0 * test.statistic))
        }
        Measure::Embeddings => ("embeddings", format!("MMD² {:.5}", test.statistic)),
    };
    let mean = |value: f64| match test.measure {
        Measure::Confidence => format!("{:.1}", 100.0 * value),
        Measure::UnknownTokens => format!("{:.2}", 100.0 * value),
        _ => format!("{value:.1}"),
    };
    let means = test.means.map(|(old, new)| (mean(old), mean(new)));
    let (old, new) = means.unwrap_or_else(|| ("-".to_owned(), "-".to_owned()));
    [label.to_owned(), old, new, statistic, p_value(test.p), p_value(test.adjusted_p)]
}

fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.4}") } else { format!("{p:.3}") }
}
