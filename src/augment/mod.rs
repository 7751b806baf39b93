//! How new text is asked for. One way of asking is one file; [`mixup`] is the method itself.

pub mod mixup;

use serde::{Deserialize, Serialize};

/// One request to the teacher for new texts, in terms of the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// `round.class.number`: names the request in the ledger.
    pub id: String,
    /// Classes in the order in which the prompt shows them.
    pub shown: Vec<usize>,
    /// The class that the text is to belong to for the most part.
    pub major: usize,
    /// The class that is mixed in.
    pub minor: usize,
    /// α in percent, 50 to 100 in steps of 5.
    pub percent: u8,
    /// Texts asked for.
    pub count: usize,
    pub prompt: String,
    /// Key of the request's random stream.
    pub seed: u64,
}

/// A row of `augmented.jsonl`: a new text and where it came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AugmentedText {
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
