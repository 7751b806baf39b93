//! The diagnostics of `report.json`: calibration, the map of texts, lexical diversity.

use serde::{Deserialize, Serialize};

use crate::{
    dataset::Variant,
    eval::{Answered, Calibration},
};

/// A model's confidence compared with its accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Which model: [`Variant::Teacher`] or a student's row.
    pub row: Variant,
    /// Over the test set (students: over all training seeds).
    #[serde(flatten)]
    pub calibration: Calibration,
}

/// What the kept student reaches if it answers only where it is sure, on the test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selective {
    /// Which student; of its training seeds the first.
    pub row: Variant,
    /// From the surest texts to all of them.
    pub curve: Vec<Answered>,
    /// The chance with which a promise holds, 0 to 1.
    pub confidence_level: f64,
    /// What `predict --target-accuracy` answers, for several targets.
    pub targets: Vec<Target>,
}

/// The threshold for a promised accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The accuracy, 0 to 1.
    pub accuracy: f64,
    /// Absent if no threshold keeps the promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Answered>,
}

/// The sentence embeddings in two dimensions: close points are similar, the axes mean nothing.
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
    /// Index of its class: the label trained on; for a test text, the true class.
    pub class: usize,
    /// Index of the class predicted for a test text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<usize>,
    /// Empty if the report is without texts.
    pub text: String,
}

/// The origin of a text of the map.
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

/// Lexical diversity of a set of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LexicalDiversity {
    /// Which texts: `seeds` or `generated`.
    pub of: String,
    /// Number of texts.
    pub texts: u64,
    /// Distinct word pairs as a share of all word pairs (Li et al. 2016); higher is more varied.
    /// Larger sets score lower, so it is taken over the same number of pairs for every set.
    pub distinct_2: f64,
    /// Mean BLEU-4 of a text with the others as references (Zhu et al. 2018); lower is more varied.
    pub self_bleu: f64,
    /// Words per text: mean and standard deviation.
    pub words: (f64, f64),
}
