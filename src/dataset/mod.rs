//! The rows that pass between the steps of the method, as the files of a run hold them.
//!
//! ```text
//! generate ─ AugmentedText ─► relabel ─ RelabelledText ─► filter ─ DroppedText
//!                                                           └─ RelabelledText ─► train ─ TrainedStudent
//! ```

mod variant;

use serde::{Deserialize, Serialize};

pub(crate) use variant::Variant;

/// A row of `augmented.jsonl`: a new text and where it came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AugmentedText {
    pub id: usize,
    pub text: String,
    /// Name of the class asked for.
    pub major: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<String>,
    /// α in 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Names of the classes shown in the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_sha256: Option<String>,
}

/// A row of `relabelled.jsonl`: a new text with the teacher's second opinion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RelabelledText {
    #[serde(flatten)]
    pub augmented: AugmentedText,
    /// Name of the most probable class.
    pub relabel: String,
    /// Its probability among the candidates.
    pub p: f32,
    /// Probability of each candidate, by class name; they add up to 1. Empty for imported rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<(String, f32)>,
}

/// Why a text was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DropReason {
    /// Equals an earlier text, letter case and punctuation aside.
    Duplicate,
    /// ROUGE-L with an earlier text of the same label reaches the threshold.
    NearDuplicate,
    /// Equals a seed.
    CopyOfSeed,
    /// Equals a text of the test set.
    LeakFromTest,
    /// The teacher itself was not sure of the label.
    Unsure,
}

impl DropReason {
    /// The reason in words.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::NearDuplicate => "near-duplicate",
            Self::CopyOfSeed => "copy of a seed",
            Self::LeakFromTest => "stands in the test set",
            Self::Unsure => "relabelled without confidence",
        }
    }
}

/// A row of `dropped.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DroppedText {
    #[serde(flatten)]
    pub row: RelabelledText,
    pub dropped: DropReason,
}

/// One trained student's predictions on the test set, as class indices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainedStudent {
    pub row: Variant,
    pub seed: u64,
    pub train_rows: usize,
    #[serde(flatten)]
    pub predictions: TestPredictions,
}

/// What a student says about the test set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TestPredictions {
    /// Class indices.
    pub predicted: Vec<usize>,
    /// The probability of each predicted class.
    #[serde(default)]
    pub confidence: Vec<f32>,
    /// The classes in 8 bits (`predict --fast`), of the student that is kept, where this processor
    /// has the instructions for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast: Option<Vec<usize>>,
}

/// A line of a run's file of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntheticText {
    /// From 1.
    pub line: usize,
    /// Names the text in all files of the run.
    pub id: usize,
    pub text: String,
    /// Values that were masked in it.
    pub redacted: usize,
}

/// Lower case, runs of letters and digits separated by one space.
pub(crate) fn canonical(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}
