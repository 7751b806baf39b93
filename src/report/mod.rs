//! The results of a run, for people and for programs: `report.json` and `report.html`.
//!
//! [`Report`] is the content of `report.json`; the page shows nothing that is not in it. The page
//! is one file without scripts, fonts or external links: it opens offline, prints, and follows the
//! reader's light or dark setting. Its controls (the classes of the map, sections to unfold) are
//! form fields and style rules. All texts in it come from outside (a language model or the user
//! wrote them), so each one is escaped.
//!
//! | module | what it does |
//! |---|---|
//! | `model`, `length`, `comparison`, `analysis` | the types of `report.json`: a run, a comparison, the diagnostics |
//! | `evaluation` | how an existing classifier does on labelled texts, for `promptmix evaluate` |
//! | `build` | makes a report from a run's rows and predictions |
//! | `fitness` | signs of an unfit teacher, in words |
//! | `teacher_check` | what the teacher reached on examples that it did not see, in words |
//! | `record` | what a finished run folder says about itself, for the model card |
//! | `verdict` | the first sentence: what was reached, and what was *not* shown |
//! | `page` | the HTML page: values for the templates, one file per group of sections |
//! | `card` | the model card |
//! | `chart` | bars and whiskers as inline SVG, one file for each other kind of chart |
//! | `confusion` | label-by-label tables, shaded |
//! | `number` | number formats |
//!
//! Shares, accuracies and α are fractions of 1 in the JSON and percent on the page.

mod analysis;
pub(crate) mod build;
pub(crate) mod card;
mod chart;
mod comparison;
mod confusion;
pub(crate) mod evaluation;
pub(crate) mod fitness;
mod length;
mod model;
mod number;
mod page;
mod record;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod teacher_check;
mod verdict;

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

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

pub(crate) use analysis::{
    LexicalDiversity, Map, Point, PointKind, Reliability, Selective, Target,
};
pub(crate) use comparison::{Comparison, Group, LeftOut, Line, LineDifference, Models};
pub(crate) use length::{CutTexts, TextLength};
pub(crate) use model::{
    AlphaShare, ByHand, Class, Confusion, Difference, EightBits, Example, Funnel, MistakenPair,
    PairShare, Provenance, Relabel, Scores, Stage, Student, Task, Teacher, Unlabelled,
};
pub use page::render;
pub(crate) use page::render_evaluation;
pub(crate) use record::RunRecord;
pub(crate) use teacher_check::TeacherCheck;

/// The largest `report.json` that is read, in bytes.
const MAX_REPORT_BYTES: u64 = 256 << 20;

/// The results of a run: the content of `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The task.
    pub task: Task,
    /// The language model that generated and relabelled the texts.
    pub teacher: Teacher,
    /// How well it labels examples that it did not see; absent if it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_check: Option<TeacherCheck>,
    /// The encoder that was fine-tuned.
    pub student: Student,
    /// Test scores, one entry for each variant that was run; empty without a test set.
    #[serde(default)]
    pub results: Vec<Scores>,
    /// Paired differences of accuracy between two variants.
    #[serde(default)]
    pub differences: Vec<Difference>,
    /// Number of texts after each step, from those requested to those trained on.
    #[serde(default)]
    pub funnel: Funnel,
    /// What people edited by hand; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
    /// What relabelling changed; absent if it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabel: Option<Relabel>,
    /// Which classes the student confuses; absent without a test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
    /// About a dozen generated texts.
    #[serde(default)]
    pub examples: Vec<Example>,
    /// All rows of `promptmix compare`; absent for a single run. [`Self::results`] then has the
    /// rows for the first number of seeds per class, student and teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Calibration of the teacher and the student; empty without a test set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<Reliability>,
    /// Accuracy of the student by the share of texts that it answers; absent without a test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selective: Option<Selective>,
    /// The texts in two dimensions; absent if nothing was embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<Map>,
    /// Lexical diversity: the seeds first, then the generated texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diversity: Vec<LexicalDiversity>,
    /// How much of a text the student reads; absent in reports of older versions and comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_length: Option<TextLength>,
    /// Personal data and copied wording in the training texts; absent without an audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
    /// Real texts that the teacher labelled; absent without unlabelled texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlabelled: Option<Unlabelled>,
    /// The cost of each stage.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// What is needed to repeat the run.
    pub provenance: Provenance,
    /// What the reader should know before relying on the results.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Why a report could not be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("cannot write the report {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read the report {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is not a report, or the report contains a number that JSON cannot represent. The
    /// message quotes no text.
    #[error("{}: {message}", path.display())]
    Json { path: PathBuf, message: String },
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The task's own patterns of personal data.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Hint for ReportError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Write { .. } => {
                Some("check that the run folder exists, is writable and has free space".into())
            }
            Self::Read { .. } => {
                Some("a run writes its report last; rerun its command to finish it".into())
            }
            Self::Json { .. } => {
                Some("write the report again from the run folder: `promptmix eval RUN`".into())
            }
            Self::Eval(error) => error.hint(),
            Self::Embed(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Ledger(error) => error.hint(),
        }
    }
}

/// The name of the report in a run folder, for programs.
pub(crate) const JSON_FILE: &str = "report.json";
/// The same for people.
pub(crate) const HTML_FILE: &str = "report.html";

impl ReportError {
    fn json(path: &Path, error: &serde_json::Error) -> Self {
        Self::Json { path: path.to_owned(), message: verbosity::json_fault(error) }
    }
}

impl Report {
    /// Scores of one variant, if it was run.
    pub fn scores(&self, row: Variant) -> Option<&Scores> {
        self.results.iter().find(|scores| scores.row == row)
    }

    /// Scores of the variant whose first student is kept, if it was tested.
    pub(crate) fn kept_student(&self) -> Option<&Scores> {
        [Variant::A2U, Variant::A2].into_iter().find_map(|row| self.scores(row))
    }

    /// Accuracy of `a` minus accuracy of `b`, stored in either order.
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

    /// Writes `report.json` and `report.html` to `folder`, each atomically.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        let path = folder.join(JSON_FILE);
        let mut json =
            serde_json::to_string_pretty(self).map_err(|error| ReportError::json(&path, &error))?;
        json.push('\n');
        let write = |path: PathBuf, text: &str| {
            crate::fs::write_atomic(&path, text.as_bytes())
                .map_err(|source| ReportError::Write { path, source })
        };
        write(path, &json)?;
        write(folder.join(HTML_FILE), &render(self))
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    /// The file is missing or is not a report.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let json = crate::fs::read_regular(path, MAX_REPORT_BYTES)
            .map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
        serde_json::from_str(&json).map_err(|error| ReportError::json(path, &error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_json_keeps_its_format_and_round_trips() {
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
    fn an_invalid_report_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, r#"{"task": "call anna at home"}"#).unwrap();
        let error = anyhow::Error::from(Report::read(&path).unwrap_err());
        let message = format!("{error:#}");
        assert!(message.contains("report.json") && !message.contains("anna"), "{message}");
    }

    #[test]
    fn a_report_without_optional_fields_is_read() {
        let json = r#"{"task": {"name": "t", "classes": [{"name": "a"}], "shots": 0, "test_rows": 0, "sha256": ""},
            "teacher": {"name": "", "sha256": "", "file": ""}, "student": {"name": ""},
            "provenance": {"version": "", "started": "", "settings": "", "prompts_sha256": "", "ledger_rows": 0}}"#;
        let report: Report = serde_json::from_str(json).unwrap();
        assert!(report.results.is_empty() && report.relabel.is_none());
        render(&report);
    }

    #[test]
    fn writing_creates_two_files_and_replaces_old_ones() {
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
        let error = report.write(&folder.path().join("missing")).unwrap_err();
        assert!(error.to_string().contains("report.json"), "{error}");
        assert!(error.hint().unwrap().contains("run folder"));
    }

    #[test]
    fn a_difference_can_be_read_in_both_directions() {
        let report = sample::tickets();
        let there = report.difference(Variant::A2, Variant::A1).unwrap();
        let back = report.difference(Variant::A1, Variant::A2).unwrap();
        assert_eq!((there.mean, there.low), (-back.mean, -back.high));
        assert!(report.difference(Variant::Teacher, Variant::Seeds).is_none());
    }
}
