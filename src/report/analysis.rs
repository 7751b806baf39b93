//! What lies behind the scores: how sure the models are, where the texts lie, how varied they are.

use serde::{Deserialize, Serialize};

use crate::{dataset::Variant, eval::Calibration};

/// A model's confidence held against its accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Which model: [`Variant::Teacher`] or a student's row.
    pub row: Variant,
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
