//! What a run found, for people and for programs: `report.json` and one `report.html`.
//!
//! [`Report`] is the whole of it; the page shows nothing that the JSON does not hold. The page is one
//! file without scripts, fonts or links to fetch: it opens from a memory stick on a machine that has
//! no network, prints, and follows the reader's light or dark setting. Every text in it is foreign (a
//! language model or a customer wrote it) and is escaped wherever it goes.
//!
//! | room | what it does |
//! |---|---|
//! | `row` | the rows of the result table |
//! | `verdict` | the first sentence: what was reached, and what was *not* shown |
//! | `page` | turns the report into what the template `page.html.j2` lays out |
//! | `chart` | bars, whiskers and columns as inline SVG |
//! | `matrix` | label-by-label tables, shaded |
//! | `number` | how numbers are written |
//!
//! Shares, accuracies and α are fractions of 1 in the JSON and percent on the page.

mod chart;
mod matrix;
mod number;
mod page;
mod row;
#[cfg(test)]
pub(crate) mod sample;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::eval::{Calibration, Interval};

pub use page::render;
pub use row::Row;

/// All that a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was to be told apart.
    pub task: Task,
    /// The language model that wrote and relabelled.
    pub teacher: Teacher,
    /// The encoder that was fine-tuned.
    pub student: Student,
    /// Test scores, one entry per row that was run; empty without a test set.
    #[serde(default)]
    pub results: Vec<Scores>,
    /// Paired differences of accuracy between two rows.
    #[serde(default)]
    pub differences: Vec<Difference>,
    /// From the texts asked for to those trained on.
    #[serde(default)]
    pub funnel: Funnel,
    /// What relabelling changed; absent where it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabel: Option<Relabel>,
    /// Which classes the student mistakes for which; absent without a test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
    /// About a dozen generated texts.
    #[serde(default)]
    pub examples: Vec<Example>,
    /// All rows of `promptmix compare`; absent for a single run. [`Self::results`] then holds the
    /// rows of the first number of seeds per class, student and teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Whether the teacher and the student are as sure as they may be; empty without a test set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<Reliability>,
    /// Where the texts lie among each other; absent where nothing was embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<Map>,
    /// How varied the texts are: the seeds first, then the generated ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diversity: Vec<Lexical>,
    /// What each stage cost.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// What is needed to do it again.
    pub provenance: Provenance,
    /// What the reader should know before believing the rest.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// The classes, in the order in which matrices count them.
    pub classes: Vec<Class>,
    /// Labelled seeds per class.
    pub shots: usize,
    /// Rows of the test set; 0 without one.
    pub test_rows: usize,
    /// SHA-256 over the task's files, hexadecimal.
    pub sha256: String,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Short name, the label itself.
    pub name: String,
    /// One line; may be empty.
    #[serde(default)]
    pub description: String,
}

/// The language model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Teacher {
    /// Its name for people.
    pub name: String,
    /// SHA-256 of the weights, hexadecimal.
    pub sha256: String,
    /// Name of the GGUF file.
    pub file: String,
}

/// The fine-tuned encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Student {
    /// Its name for people.
    pub name: String,
    /// What `predict --fast` costs; absent without a test set, and where the processor has no
    /// instructions for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eight_bits: Option<EightBits>,
}

/// The kept student (the first of row A2) in 8 bits beside itself in F32, on the test set; shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EightBits {
    /// Accuracy in F32.
    pub accuracy_f32: f64,
    /// Accuracy in 8 bits.
    pub accuracy: f64,
    /// Texts that both put into the same class.
    pub same_class: f64,
}

/// Test scores of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Which model.
    pub row: Row,
    /// Accuracy, mean over seeds, with its 95 % interval.
    pub accuracy: Interval,
    /// Macro-F1, mean over seeds, with its 95 % interval.
    pub macro_f1: Interval,
    /// Training seeds averaged over (1 for the teacher).
    pub seeds: usize,
    /// Rows trained on (0 for the teacher).
    pub train_rows: usize,
    /// Rows tested on.
    pub test_rows: usize,
}

/// Accuracy of `a` minus accuracy of `b`, paired by seed and test row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The row that is hoped to be better.
    pub a: Row,
    /// The row it is held against.
    pub b: Row,
    /// `mean`, `low` and `high`, -1 to 1, beside `a` and `b` in the JSON.
    #[serde(flatten)]
    pub interval: Interval,
}

/// How many texts were left after each step; every number counts texts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Funnel {
    /// Asked for in prompts.
    pub asked: u64,
    /// Found in the replies.
    pub parsed: u64,
    /// Left after exact duplicates.
    pub unique: u64,
    /// Given a label by the teacher.
    pub relabelled: u64,
    /// Trained on.
    pub kept: u64,
    /// Why the others were dropped, with counts.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
}

/// What relabelling changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Relabel {
    /// Texts whose label changed.
    pub changed: u64,
    /// Texts relabelled.
    pub total: u64,
    /// The same, by the mixing share that was asked for; ascending.
    #[serde(default)]
    pub by_alpha: Vec<AlphaShare>,
    /// The same, by the pair of classes that was asked for; the most changed first.
    #[serde(default)]
    pub by_pair: Vec<PairShare>,
    /// Texts by label, `[label asked for][label given]`, in the task's order.
    #[serde(default)]
    pub flow: Vec<Vec<u64>>,
}

/// Relabelled texts of one pair of classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairShare {
    /// The class they were to belong to for the most part.
    pub major: String,
    /// The class that was mixed in.
    pub minor: String,
    /// Texts of this pair.
    pub total: u64,
    /// Those whose label changed.
    pub changed: u64,
}

/// Relabelled texts of one α.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlphaShare {
    /// Share of the major class that was asked for, 0.5 to 1.
    pub alpha: f64,
    /// Texts with this α.
    pub total: u64,
    /// Those whose label changed.
    pub changed: u64,
}

/// A confusion matrix, summed over training seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Which model.
    pub row: Row,
    /// Counts, `[true class][predicted class]`, in the task's order.
    pub matrix: Vec<Vec<u64>>,
    /// The pairs that are mistaken most often, the worst first.
    #[serde(default)]
    pub pairs: Vec<MistakenPair>,
}

/// Test texts of one class that were taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MistakenPair {
    /// The true class.
    pub gold: String,
    /// The predicted class.
    pub predicted: String,
    /// How often, summed over training seeds.
    pub count: u64,
    /// A few of the texts, those that most seeds get wrong first.
    pub texts: Vec<String>,
}

/// A model's confidence held against its accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Which model: [`Row::Teacher`] or a student's row.
    pub row: Row,
    /// Over the test set (students: over all training seeds).
    #[serde(flatten)]
    pub calibration: Calibration,
}

/// The sentence embeddings in two dimensions: near each other is alike, axes mean nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Map {
    /// In the order in which they are drawn.
    pub points: Vec<Point>,
}

/// One text of the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// 0 to 1, left to right.
    pub x: f32,
    /// 0 to 1, bottom to top.
    pub y: f32,
    pub kind: PointKind,
    /// Index of its class: the label trained on, of a test text the true one.
    pub class: usize,
    /// What a test text was taken for, as a class index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<usize>,
    pub text: String,
}

/// What a text of the map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointKind {
    /// A generated text.
    Synthetic,
    /// A test text that the student gets wrong.
    TestError,
    /// A labelled seed.
    Seed,
}

/// How varied a set of texts is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lexical {
    /// Which texts, in words: `seeds`, `generated`.
    pub of: String,
    /// How many.
    pub texts: u64,
    /// Different word pairs as a share of all word pairs (Li et al. 2016); more is more varied.
    /// Longer sets score lower, so it is taken over as many words for every set.
    pub distinct_2: f64,
    /// Mean BLEU-4 of a text with the others as references (Zhu et al. 2018); less is more varied.
    pub self_bleu: f64,
    /// Words in a text: mean and standard deviation.
    pub words: (f64, f64),
}

/// What `promptmix compare` found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    pub lines: Vec<Line>,
    /// Paired differences of accuracy between two rows of one (k, student, teacher).
    pub differences: Vec<LineDifference>,
    /// Rows that were left out, and why.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}

/// A row of the table for one number of seeds per class, one student and one teacher. Costs are those
/// of one seed: what making this student once would cost, also where work was shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub row: Row,
    /// Labelled seeds per class.
    pub k: usize,
    /// Absent for the teacher itself.
    pub student: Option<String>,
    /// Absent where no teacher was asked.
    pub teacher: Option<String>,
    pub accuracy: Interval,
    pub macro_f1: Interval,
    /// Seeds averaged over; each draws its few-shot subset, its prompts and its initial weights.
    pub seeds: usize,
    /// Rows of the test set.
    pub test_rows: usize,
    /// Rows trained on, mean over seeds.
    pub train_rows: f64,
    /// Share of the generated texts whose label relabelling changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabelled: Option<f64>,
    /// Requests to the teacher, mean over seeds.
    pub teacher_calls: f64,
    /// Tokens read and written by the teacher, mean over seeds.
    pub tokens: f64,
    /// … of them read.
    pub prompt_tokens: f64,
    /// … of them written.
    pub generated_tokens: f64,
    /// Seconds of teacher and student together, mean over seeds.
    pub seconds: f64,
    /// … of them the student's training and its answers to the test set.
    pub student_seconds: f64,
}

/// Accuracy of row `a` minus accuracy of row `b`, paired by seed and test text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineDifference {
    pub a: Row,
    pub b: Row,
    pub k: usize,
    pub student: Option<String>,
    pub teacher: Option<String>,
    #[serde(flatten)]
    pub interval: Interval,
}

/// A row that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub row: Row,
    pub k: usize,
    pub reason: String,
}

/// One generated text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The text as generated.
    pub text: String,
    /// The class it was mostly asked to belong to.
    pub major: String,
    /// The class it was asked to lean towards; absent where nothing was mixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<String>,
    /// Share of `major` that was asked for, 0.5 to 1.
    pub alpha: f64,
    /// The label after relabelling; absent where it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabelled: Option<String>,
    /// The teacher's probability of that label, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// What one stage cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens read by the teacher.
    pub prompt_tokens: u64,
    /// Tokens written by the teacher.
    pub generated_tokens: u64,
    /// Requests to the teacher.
    pub calls: u64,
}

/// What is needed to do the run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this program.
    pub version: String,
    /// When the run started, RFC 3339.
    pub started: String,
    /// The resolved settings, TOML.
    pub settings: String,
    /// SHA-256 over the prompt templates, hexadecimal.
    pub prompts_sha256: String,
    /// Rows of the run's ledger.
    pub ledger_rows: u64,
}

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file could not be written.
    #[error("{}: cannot write the report: {source}\nhint: check that the run folder exists, is writable and has room", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be read.
    #[error("{}: cannot read the report: {source}\nhint: a run writes it last; finish the run first", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no report, or the report holds a number JSON cannot.
    #[error("{}: {source}\nhint: write the report anew from the run folder", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
}

impl Report {
    /// Scores of one row, where it was run.
    pub fn scores(&self, row: Row) -> Option<&Scores> {
        self.results.iter().find(|scores| scores.row == row)
    }

    /// Accuracy of `a` minus accuracy of `b`, whichever way round it was stored.
    pub fn difference(&self, a: Row, b: Row) -> Option<Interval> {
        self.differences.iter().find_map(|difference| {
            if (difference.a, difference.b) == (a, b) {
                Some(difference.interval)
            } else if (difference.a, difference.b) == (b, a) {
                Some(difference.interval.negated())
            } else {
                None
            }
        })
    }

    /// Writes `report.json` and `report.html` into `folder`; each appears whole or not at all.
    ///
    /// # Errors
    /// [`ReportError`] names the file that could not be written.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        let path = folder.join("report.json");
        let mut json = serde_json::to_string_pretty(self)
            .map_err(|source| ReportError::Json { path: path.clone(), source })?;
        json.push('\n');
        write_whole(&path, &json)?;
        write_whole(&folder.join("report.html"), &render(self))
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    /// [`ReportError`] where the file is missing or is no report.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let json = fs::read_to_string(path)
            .map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
        serde_json::from_str(&json)
            .map_err(|source| ReportError::Json { path: path.to_owned(), source })
    }
}

/// Writes beside the goal and renames over it, so that a reader or a crash never meets half a file.
fn write_whole(path: &Path, text: &str) -> Result<(), ReportError> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // The first failure is the one worth telling.
        let _ = fs::remove_file(&temporary);
        ReportError::Write { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_keeps_its_contract_and_comes_back() {
        let report = sample::tickets();
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["results"][0]["row"], "seeds");
        assert_eq!(json["results"][2]["row"], "A2");
        assert_eq!(json["results"][3]["row"], "teacher");
        for field in ["mean", "low", "high"] {
            assert!(json["results"][0]["accuracy"][field].is_f64());
            assert!(json["results"][0]["macro_f1"][field].is_f64());
            assert!(json["differences"][0][field].is_f64());
        }
        assert_eq!(json["differences"][0]["a"], "A2");
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }

    #[test]
    fn a_short_report_is_read_too() {
        let json = r#"{"task": {"name": "t", "classes": [{"name": "a"}], "shots": 0, "test_rows": 0, "sha256": ""},
            "teacher": {"name": "", "sha256": "", "file": ""}, "student": {"name": ""},
            "provenance": {"version": "", "started": "", "settings": "", "prompts_sha256": "", "ledger_rows": 0}}"#;
        let report: Report = serde_json::from_str(json).unwrap();
        assert!(report.results.is_empty() && report.relabel.is_none());
        render(&report);
    }

    #[test]
    fn writing_leaves_two_files_and_replaces_old_ones() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = sample::tickets();
        report.write(folder.path()).unwrap();
        report.task.name = "another".into();
        report.write(folder.path()).unwrap();
        assert_eq!(Report::read(&folder.path().join("report.json")).unwrap(), report);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["report.html", "report.json"]);
        let error = report.write(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(error.contains("report.json") && error.contains("hint:"), "{error}");
    }

    #[test]
    fn a_difference_reads_both_ways() {
        let report = sample::tickets();
        let there = report.difference(Row::A2, Row::A1).unwrap();
        let back = report.difference(Row::A1, Row::A2).unwrap();
        assert_eq!((there.mean, there.low), (-back.mean, -back.high));
        assert!(report.difference(Row::Teacher, Row::Seeds).is_none());
    }
}
