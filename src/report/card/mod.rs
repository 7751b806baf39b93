//! The model card of an exported classifier: a `README.md` in Hugging Face's format.
//!
//! Every number comes from the run's own files or from the checks of the export; anything else is
//! called unknown. The card contains the names and (optionally) descriptions of the classes, but no
//! examples, test texts or generated texts.

use std::collections::BTreeMap;

use minijinja::{Environment, context};
use serde::Serialize;

use super::{Report, RunRecord};
use crate::{
    dataset::Variant,
    eval::Interval,
    report,
    student::{
        Architecture, Head, Pooling,
        export::{Checks, Facts, Format},
    },
};

/// Everything that a card is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Card<'a> {
    /// The heading.
    pub title: &'a str,
    /// Licence identifier of Hugging Face; "unknown" if none was given.
    pub licence: &'a str,
    /// Whether to include the descriptions of the classes.
    pub descriptions: bool,
    pub format: Format,
    pub facts: &'a Facts,
    pub checks: &'a Checks,
    /// The run that made the classifier and its base model, if known.
    pub run: Option<(&'a RunRecord, &'a Base)>,
}

/// The encoder that was fine-tuned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Base {
    /// Its name, not a path.
    pub name: String,
    /// Its repository on the Hugging Face hub.
    pub repo: Option<String>,
    /// SHA-256 (hex) of its weights, if they were found.
    pub sha256: Option<String>,
}

impl Card<'_> {
    /// The card as Markdown with a YAML header.
    pub(crate) fn render(&self) -> String {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_keep_trailing_newline(true);
        environment.add_filter("md", |text: String| plain(&text));
        let template = environment
            .template_from_str(include_str!("card.md.j2"))
            .expect("the built-in template compiles");
        let facts = self.facts;
        let report = self.run.and_then(|(record, _)| record.report.as_ref());
        let tables = report.map(Tables::new).unwrap_or_default();
        let bert = facts.architecture == Architecture::Bert;
        template
            .render(context! {
                title => self.title,
                licence => quoted(self.licence),
                unknown_licence => self.licence == "unknown",
                base_repo => self.run.and_then(|(_, base)| base.repo.as_deref()).map(quoted),
                architecture => if bert { "BERT" } else { "DistilBERT" },
                family => if bert { "bert" } else { "distilbert" },
                student => context! {
                    layers => facts.layers,
                    hidden => facts.hidden,
                    parameters => facts.parameters,
                    labels => facts.labels,
                    max_length => facts.max_length,
                    sha256 => facts.sha256,
                },
                positions => facts.positions,
                mean => facts.head.pooling() == Pooling::Mean,
                linear => matches!(facts.head, Head::Linear(_)),
                prompt => (!facts.prompt.is_empty()).then(|| quoted(&facts.prompt)),
                temperature => facts.temperature,
                classes => self.classes(),
                described => self.descriptions && self.run.is_some(),
                run => self.run.map(|(record, base)| Origin::new(record, base)),
                results => tables.results,
                differences => tables.differences,
                test_rows => tables.test_rows,
                student_seeds => tables.student_seeds,
                folder => self.format != Format::Onnx,
                folder_check => context! { texts => self.checks.folder.texts },
                onnx => self.checks.onnx_weights.map(|weights| context! { weights }),
                version => env!("CARGO_PKG_VERSION"),
            })
            .expect("the template uses only values that are passed to it")
    }

    /// The classes in the order of the logits, with their descriptions if the run has them.
    fn classes(&self) -> Vec<BTreeMap<&str, &str>> {
        let known = self.run.map_or(&[][..], |(record, _)| &record.task.classes);
        let describe = |name: &str| {
            let class = known.iter().find(|class| class.name == name);
            class.filter(|_| self.descriptions).map_or("", |class| class.description.as_str())
        };
        let labels = self.facts.labels.iter();
        labels
            .map(|name| [("name", name.as_str()), ("description", describe(name))].into())
            .collect()
    }
}

/// The data, teacher and training behind a classifier.
#[derive(Serialize)]
struct Origin<'a> {
    version: &'a str,
    task: &'a str,
    task_sha256: &'a str,
    shots: usize,
    funnel: String,
    relabelled: String,
    dropped: Vec<String>,
    rouge_l: f64,
    min_probability: f32,
    teacher: Option<TeacherFile>,
    prompts_sha256: &'a str,
    base: &'a Base,
    training: Vec<Setting>,
}

#[derive(Serialize)]
struct TeacherFile {
    name: String,
    file: String,
    sha256: String,
    /// Where it, or another teacher of the run, answered, if not on the machine of the run.
    addresses: Vec<String>,
}

#[derive(Serialize)]
struct Setting {
    key: String,
    value: String,
}

impl<'a> Origin<'a> {
    fn new(record: &'a RunRecord, base: &'a Base) -> Self {
        let RunRecord { task, settings, report, .. } = record;
        let count = |stage: &str, name: &str| {
            record.counts.get(stage).and_then(|counts| counts.get(name)).copied()
        };
        let number = |count: Option<usize>| count.map_or("unknown".to_owned(), |n| n.to_string());
        let funnel = match report {
            Some(Report { funnel, .. }) => format!(
                "{} requested, {} found in the replies, {} after exact duplicates, {} trained on",
                funnel.asked, funnel.parsed, funnel.unique, funnel.kept
            ),
            None => format!("{} trained on", number(count("filter", "kept"))),
        };
        let candidates = match task.classes.len() <= settings.relabel.all_up_to {
            true => "all classes".to_owned(),
            false => format!("the {} nearest classes", settings.relabel.candidates),
        };
        let changed = report.as_ref().and_then(|report| report.relabel.as_ref()).map_or_else(
            || "the number of changed labels was not reported".to_owned(),
            |relabel| format!("{} of {} labels changed", relabel.changed, relabel.total),
        );
        let dropped = report.iter().flat_map(|report| &report.funnel.dropped);
        let file = |path: &std::path::Path| {
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        Self {
            version: &record.version,
            task: &task.name,
            task_sha256: &task.sha256,
            shots: task.shots,
            funnel,
            relabelled: match record.imported {
                true => format!("{changed}; the labels may be those of the imported texts"),
                false => format!("the teacher scored the names of {candidates}; {changed}"),
            },
            dropped: dropped.map(|(why, n)| format!("{why} {n}")).collect(),
            rouge_l: settings.filter.rouge_l,
            min_probability: settings.filter.min_probability,
            teacher: record.teacher.as_ref().filter(|_| !record.imported).map(|teacher| {
                TeacherFile {
                    name: teacher.name.clone(),
                    file: file(&teacher.file),
                    sha256: teacher.sha256.clone(),
                    addresses: record.sent_to.iter().cloned().collect(),
                }
            }),
            prompts_sha256: &record.prompts_sha256,
            base,
            training: training(record),
        }
    }
}

/// Every setting of the student except its model, which is named elsewhere and can be a path.
fn training(record: &RunRecord) -> Vec<Setting> {
    let table = toml::Table::try_from(&record.settings.student).unwrap_or_default();
    let settings = table.into_iter().filter(|(key, _)| key != "model");
    let settings = settings.map(|(key, value)| {
        let value = match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        Setting { key, value }
    });
    let seed = Setting { key: "seed".into(), value: record.settings.run.seed.to_string() };
    settings.chain([seed]).collect()
}

/// The numbers of the report as text.
#[derive(Default)]
struct Tables {
    results: Vec<BTreeMap<&'static str, String>>,
    differences: Vec<BTreeMap<&'static str, String>>,
    test_rows: usize,
    student_seeds: usize,
}

impl Tables {
    fn new(report: &Report) -> Self {
        let kept = report.kept_student().map(|scores| scores.row);
        let results = report.results.iter().map(|scores: &report::Scores| {
            BTreeMap::from([
                ("name", name(scores.row, kept)),
                ("accuracy", percent(scores.accuracy.mean)),
                ("accuracy_span", span(scores.accuracy)),
                ("f1", percent(scores.macro_f1.mean)),
                ("f1_span", span(scores.macro_f1)),
                ("seeds", scores.seeds.to_string()),
                ("train_rows", scores.train_rows.to_string()),
            ])
        });
        let differences = report.differences.iter().map(|difference| {
            let Interval { mean, low, high, .. } = difference.interval;
            BTreeMap::from([
                ("a", name(difference.a, kept)),
                ("b", name(difference.b, kept)),
                ("mean", points(mean)),
                ("span", format!("{} to {}", points(low), points(high))),
            ])
        });
        Self {
            results: results.collect(),
            differences: differences.collect(),
            test_rows: report.results.first().map_or(0, |scores| scores.test_rows),
            student_seeds: report.kept_student().map_or(0, |scores| scores.seeds),
        }
    }
}

/// The rows of the table.
fn name(row: Variant, kept: Option<Variant>) -> String {
    let of_kept = if kept == Some(row) { "this classifier's row: " } else { "" };
    format!("{of_kept}{}", described(row))
}

fn described(row: Variant) -> &'static str {
    match row {
        Variant::Seeds => "student trained on the labelled examples only",
        Variant::EmbedSeeds => "logistic regression on the examples' embeddings",
        Variant::A1 => "student trained on the requested labels",
        Variant::A2U => "new and real texts, labelled by the teacher",
        Variant::A2 => "labels after relabelling",
        Variant::Teacher => "the teacher itself",
        other => other.name(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn span(interval: Interval) -> String {
    format!("{:.1} to {:.1} %", 100.0 * interval.low, 100.0 * interval.high)
}

fn points(difference: f64) -> String {
    format!("{:+.1}", 100.0 * difference)
}

/// Escapes a text so that Markdown shows it literally, also inside a table.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        if "\\`*_{}[]<>#|~$&".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// A YAML string.
fn quoted(text: &str) -> String {
    // A JSON string is also a YAML string.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
