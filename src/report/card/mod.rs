//! The model card of an exported classifier: `README.md` as Hugging Face reads it.
//!
//! Every number comes from the run's own files or from the export's checks; what is not known there
//! is called unknown. The card holds names and descriptions of classes, which can be left out, and
//! no text of anybody: no example, no test text, no generated one.

use std::collections::BTreeMap;

use minijinja::{Environment, context};
use serde::Serialize;

use super::{Record, Report};
use crate::{
    dataset::Variant,
    eval::Interval,
    report,
    student::{
        Architecture, Pooling,
        export::{Checks, Facts, Format},
    },
};

/// All that a card is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Card<'a> {
    /// The heading.
    pub title: &'a str,
    /// As Hugging Face writes licences; "unknown" where nobody said.
    pub licence: &'a str,
    /// Whether the classes' descriptions are told.
    pub descriptions: bool,
    pub format: Format,
    pub facts: &'a Facts,
    pub checks: &'a Checks,
    /// The run that made the classifier and what it began from, where known.
    pub run: Option<(&'a Record, &'a Base)>,
}

/// The encoder that a training began from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Base {
    /// Its name, no path.
    pub name: String,
    /// Where it can be had on the hub.
    pub repo: Option<String>,
    /// SHA-256 (hex) of its weights, where they were found.
    pub sha256: Option<String>,
}

impl Card<'_> {
    /// The card as Markdown with a YAML head.
    pub(crate) fn render(&self) -> String {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_keep_trailing_newline(true);
        environment.add_filter("md", |text: String| plain(&text));
        let template = environment
            .template_from_str(include_str!("card.md.j2"))
            .expect("the card's template is compiled into the program and tested");
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
                mean => facts.pooling == Pooling::Mean,
                temperature => facts.temperature,
                classes => self.classes(),
                described => self.descriptions && self.run.is_some(),
                run => self.run.map(|(record, base)| Made::new(record, base)),
                results => tables.results,
                differences => tables.differences,
                test_rows => tables.test_rows,
                own_seeds => tables.own_seeds,
                folder => self.format != Format::Onnx,
                folder_check => context! { texts => self.checks.folder.texts },
                onnx => self.checks.onnx_weights.map(|weights| context! { weights }),
                version => env!("CARGO_PKG_VERSION"),
            })
            .expect("the card's template is rendered by a test with all that it names")
    }

    /// The classes in the order of the logits, with their descriptions where the run has them.
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

/// How the classifier came to be.
#[derive(Serialize)]
struct Made<'a> {
    version: &'a str,
    task: &'a str,
    task_sha256: &'a str,
    shots: usize,
    funnel: String,
    relabelled: String,
    dropped: Vec<String>,
    rouge_l: f64,
    min_probability: f32,
    teacher: Option<Who>,
    prompts_sha256: &'a str,
    base: &'a Base,
    training: Vec<Setting>,
}

#[derive(Serialize)]
struct Who {
    name: String,
    file: String,
    sha256: String,
}

#[derive(Serialize)]
struct Setting {
    key: String,
    value: String,
}

impl<'a> Made<'a> {
    fn new(record: &'a Record, base: &'a Base) -> Self {
        let Record { task, settings, report, .. } = record;
        let count = |stage: &str, name: &str| {
            record.counts.get(stage).and_then(|counts| counts.get(name)).copied()
        };
        let number = |count: Option<usize>| count.map_or("unknown".to_owned(), |n| n.to_string());
        let funnel = match report {
            Some(Report { funnel, .. }) => format!(
                "{} asked for, {} found in the replies, {} after exact doubles, {} trained on",
                funnel.asked, funnel.parsed, funnel.unique, funnel.kept
            ),
            None => format!("{} trained on", number(count("filter", "kept"))),
        };
        let candidates = match task.classes.len() <= settings.relabel.all_up_to {
            true => "all classes".to_owned(),
            false => format!("the {} nearest classes", settings.relabel.candidates),
        };
        let changed = report.as_ref().and_then(|report| report.relabel.as_ref()).map_or_else(
            || "how many labels changed was not reported".to_owned(),
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
                true => format!("{changed}; the labels may have come with the imported texts"),
                false => format!("the teacher scored the names of {candidates}; {changed}"),
            },
            dropped: dropped.map(|(why, n)| format!("{why} {n}")).collect(),
            rouge_l: settings.filter.rouge_l,
            min_probability: settings.filter.min_probability,
            teacher: record.teacher.as_ref().filter(|_| !record.imported).map(|teacher| Who {
                name: teacher.name.clone(),
                file: file(&teacher.file),
                sha256: teacher.sha256.clone(),
            }),
            prompts_sha256: &record.prompts_sha256,
            base,
            training: training(record),
        }
    }
}

/// Every setting of the student but its model, which is named elsewhere and may be a path.
fn training(record: &Record) -> Vec<Setting> {
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

/// The report's numbers, written out.
#[derive(Default)]
struct Tables {
    results: Vec<BTreeMap<&'static str, String>>,
    differences: Vec<BTreeMap<&'static str, String>>,
    test_rows: usize,
    own_seeds: usize,
}

impl Tables {
    fn new(report: &Report) -> Self {
        let results = report.results.iter().map(|scores: &report::Scores| {
            BTreeMap::from([
                ("name", name(scores.row).to_owned()),
                ("accuracy", percent(scores.accuracy.mean)),
                ("accuracy_span", span(scores.accuracy)),
                ("f1", percent(scores.macro_f1.mean)),
                ("f1_span", span(scores.macro_f1)),
                ("seeds", scores.seeds.to_string()),
                ("train_rows", scores.train_rows.to_string()),
            ])
        });
        let differences = report.differences.iter().map(|difference| {
            let Interval { mean, low, high } = difference.interval;
            BTreeMap::from([
                ("a", name(difference.a).to_owned()),
                ("b", name(difference.b).to_owned()),
                ("mean", points(mean)),
                ("span", format!("{} to {}", points(low), points(high))),
            ])
        });
        Self {
            results: results.collect(),
            differences: differences.collect(),
            test_rows: report.results.first().map_or(0, |scores| scores.test_rows),
            own_seeds: report.scores(Variant::A2).map_or(0, |scores| scores.seeds),
        }
    }
}

/// What the rows of the table are.
fn name(row: Variant) -> &'static str {
    match row {
        Variant::Seeds => "student of the labelled examples alone",
        Variant::A1 => "student of the labels that were asked for",
        Variant::A2 => "this classifier's row: labels after relabelling",
        Variant::Teacher => "the teacher itself",
        rival => rival.name(),
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

/// Foreign text as Markdown that shows it and does nothing else, also inside a table.
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
    // JSON's strings are YAML's.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
