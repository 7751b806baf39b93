//! What `promptmix compare` has to tell: one line for each row of the table, number of seeds per class,
//! student and teacher, and the paired differences between them.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::eval::Interval;

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

impl Comparison {
    /// How `line` compares with the seeds alone, where that was tested.
    pub fn against_seeds(&self, line: &Line) -> Option<Interval> {
        let of = |name: &Option<String>, other: &Option<String>| name.is_none() || name == other;
        let found = self.differences.iter().find(|difference| {
            (difference.a, difference.b, difference.k) == (line.row, Row::Seeds, line.k)
                && of(&line.student, &difference.student)
                && of(&line.teacher, &difference.teacher)
        });
        found.map(|difference| difference.interval)
    }
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
