//! The parts of `report.json` that every run has: task, models, scores, and what happened to the
//! texts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{dataset::Variant, eval::Interval};

/// The task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// The classes, in the order of the rows and columns of matrices.
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
    /// Its display name.
    pub name: String,
    /// SHA-256 of the weights, hexadecimal.
    pub sha256: String,
    /// Name of the GGUF file.
    pub file: String,
    /// Where it answered, if not on this machine: prompts and the texts in them were sent there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// The fine-tuned encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Student {
    /// Its display name.
    pub name: String,
    /// What `predict --fast` costs in accuracy; absent without a test set or if the processor lacks
    /// the instructions for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eight_bits: Option<EightBits>,
}

/// The kept student (the first of row A2) in 8 bits compared with F32, on the test set; shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EightBits {
    /// Accuracy in F32.
    pub accuracy_f32: f64,
    /// Accuracy in 8 bits.
    pub accuracy: f64,
    /// Texts that both assign to the same class.
    pub same_class: f64,
}

/// Test scores of one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Which model.
    pub row: Variant,
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
    /// The variant expected to be better.
    pub a: Variant,
    /// The variant that it is compared with.
    pub b: Variant,
    /// `mean`, `low` and `high`, -1 to 1, beside `a` and `b` in the JSON.
    #[serde(flatten)]
    pub interval: Interval,
}

/// Numbers of real texts that nobody labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlabelled {
    /// Rows of the file.
    pub read: u64,
    /// Labelled by the teacher.
    pub labelled: u64,
    /// Trained on.
    pub kept: u64,
}

/// Number of texts left after each step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Funnel {
    /// Requested in prompts.
    pub asked: u64,
    /// Found in the replies.
    pub parsed: u64,
    /// Left after exact duplicates.
    pub unique: u64,
    /// Labelled by the teacher.
    pub relabelled: u64,
    /// Trained on.
    pub kept: u64,
    /// Texts in the replies that were dropped as junk, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub junk: BTreeMap<String, u64>,
    /// Texts of which only a bracket, a list mark or the like was removed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cleaned: u64,
    /// Dropped texts by reason.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
}

/// What relabelling changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Relabel {
    /// Texts with a changed label.
    pub changed: u64,
    /// Texts relabelled.
    pub total: u64,
    /// The same by the mixing ratio that was requested, ascending.
    #[serde(default)]
    pub by_alpha: Vec<AlphaShare>,
    /// The same by the pair of classes that was requested, the most changed first.
    #[serde(default)]
    pub by_pair: Vec<PairShare>,
    /// Number of texts, `[label requested][label given]`, in the task's order.
    #[serde(default)]
    pub flow: Vec<Vec<u64>>,
}

/// Relabelled texts of one pair of classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairShare {
    /// The class that they should mostly belong to.
    pub major: String,
    /// The class that was mixed in.
    pub minor: String,
    /// Texts of this pair.
    pub total: u64,
    /// Texts with a changed label.
    pub changed: u64,
}

/// Relabelled texts of one α.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlphaShare {
    /// Share of the major class that was requested, 0.5 to 1.
    pub alpha: f64,
    /// Texts with this α.
    pub total: u64,
    /// Texts with a changed label.
    pub changed: u64,
}

/// A confusion matrix, summed over training seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Which model.
    pub row: Variant,
    /// Counts, `[true class][predicted class]`, in the task's order.
    pub matrix: Vec<Vec<u64>>,
    /// The pairs that are confused most often, the worst first.
    #[serde(default)]
    pub pairs: Vec<MistakenPair>,
}

/// Test texts of one class that were predicted as another.
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

/// One generated text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The text as generated.
    pub text: String,
    /// The class that it should mostly belong to.
    pub major: String,
    /// The class that was mixed in; absent without mixing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<String>,
    /// Share of `major` that was requested, 0.5 to 1.
    pub alpha: f64,
    /// The label after relabelling; absent if it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabelled: Option<String>,
    /// The teacher's probability of that label, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// The cost of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens read by the teacher.
    pub prompt_tokens: u64,
    /// Tokens generated by the teacher.
    pub generated_tokens: u64,
    /// Requests to the teacher.
    pub calls: u64,
}

/// How many rows people edited by hand, and how; the edits that stand, in all files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// Rows with any edit.
    pub rows: u64,
    /// Rows of a file with another label.
    pub labels: u64,
    /// Rows of a file with another text.
    pub texts: u64,
    /// Rows of a file whose text and label a person found to be right.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub confirmed: u64,
    /// Rows added.
    pub added: u64,
    /// Rows removed.
    pub removed: u64,
}

/// What is needed to repeat the run.
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

fn is_zero(count: &u64) -> bool {
    *count == 0
}
