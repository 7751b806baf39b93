//! What a run found, for people and for programs: `report.json` and one `report.html`.
//!
//! [`Report`] is the whole of it; the page shows nothing that the JSON does not hold. The page is one
//! file without scripts, fonts or links to fetch: it opens from a memory stick on a machine that has
//! no network, prints, and follows the reader's light or dark setting. What can be chosen on it (a class
//! of the map, a part to unfold) is form fields and style rules alone. Every text in it is foreign (a
//! language model or a customer wrote it) and is escaped wherever it goes.
//!
//! | room | what it does |
//! |---|---|
//! | `parts`, `comparison`, `insight`, `privacy` | the types: what a run, a comparison, a closer look and an audit tell |
//! | `row` | the rows of the result table |
//! | `verdict` | the first sentence: what was reached, and what was *not* shown |
//! | `page` | turns the report into what the templates beside it lay out, a file for each group of sections |
//! | `chart` | bars and whiskers as inline SVG, and a file for every other kind of chart |
//! | `matrix` | label-by-label tables, shaded |
//! | `number` | how numbers are written |
//!
//! Shares, accuracies and α are fractions of 1 in the JSON and percent on the page.

mod analysis;
pub(crate) mod build;
pub(crate) mod card;
mod chart;
mod comparison;
mod confusion;
mod model;
mod number;
mod page;
mod record;
#[cfg(test)]
pub(crate) mod sample;
mod verdict;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    audit::Privacy,
    config::ConfigError,
    dataset::Variant,
    embed::EmbedError,
    eval::{EvalError, Interval},
    hint::Hint,
    run::{RunError, ledger::LedgerError},
    verbosity,
};

pub(crate) use analysis::{Lexical, Map, Point, PointKind, Reliability};
pub(crate) use comparison::{Comparison, Group, LeftOut, Line, LineDifference, Models};
pub(crate) use model::{
    AlphaShare, Class, Confusion, Difference, EightBits, Example, Funnel, MistakenPair, PairShare,
    Provenance, Relabel, Scores, Stage, Student, Task, Teacher,
};
pub use page::render;
pub(crate) use record::Record;

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
    /// What the texts that are trained on give away; absent where no audit was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
    /// What each stage cost.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// What is needed to do it again.
    pub provenance: Provenance,
    /// What the reader should know before believing the rest.
    #[serde(default)]
    pub warnings: Vec<String>,
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
    #[error("{}: {message}\nhint: write the report anew from the run folder", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where; quotes no text.
        message: String,
    },
    /// Answers that do not fit the test set.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The map and the nearest texts need embeddings.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The task's own patterns of personal data.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The run folder that is reported on.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Hint for ReportError {}

impl ReportError {
    fn json(path: &Path, error: &serde_json::Error) -> Self {
        Self::Json { path: path.to_owned(), message: verbosity::json_fault(error) }
    }
}

impl Report {
    /// Scores of one row, where it was run.
    pub fn scores(&self, row: Variant) -> Option<&Scores> {
        self.results.iter().find(|scores| scores.row == row)
    }

    /// Accuracy of `a` minus accuracy of `b`, whichever way round it was stored.
    pub fn difference(&self, a: Variant, b: Variant) -> Option<Interval> {
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
        let mut json =
            serde_json::to_string_pretty(self).map_err(|error| ReportError::json(&path, &error))?;
        json.push('\n');
        let write = |path: PathBuf, text: &str| {
            crate::fs::write_atomic(&path, text.as_bytes())
                .map_err(|source| ReportError::Write { path, source })
        };
        write(path, &json)?;
        write(folder.join("report.html"), &render(self))
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    /// [`ReportError`] where the file is missing or is no report.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let json = fs::read_to_string(path)
            .map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
        serde_json::from_str(&json).map_err(|error| ReportError::json(path, &error))
    }
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
    fn a_report_that_is_none_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, r#"{"task": "call anna at home"}"#).unwrap();
        let error = anyhow::Error::from(Report::read(&path).unwrap_err());
        let told = format!("{error:#}");
        assert!(told.contains("report.json") && !told.contains("anna"), "{told}");
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
        let there = report.difference(Variant::A2, Variant::A1).unwrap();
        let back = report.difference(Variant::A1, Variant::A2).unwrap();
        assert_eq!((there.mean, there.low), (-back.mean, -back.high));
        assert!(report.difference(Variant::Teacher, Variant::Seeds).is_none());
    }
}
