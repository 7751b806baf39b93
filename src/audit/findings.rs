//! What the training texts reveal of the reference texts: personal data, copied wording,
//! similarity. These types make up `privacy` in `report.json`; `promptmix audit` prints the same.
//! Values are masked.

use serde::{Deserialize, Serialize};

/// The findings of an audit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Privacy {
    /// Number of texts scanned.
    pub texts: u64,
    /// Reference texts that they were compared with.
    pub compared: Compared,
    /// Values by kind; kinds without any are left out.
    pub kinds: Vec<KindCount>,
    /// Texts that contain a value of a reference text.
    pub leaking_texts: u64,
    /// Copied wording.
    pub copies: Copies,
    /// Absent if nothing was embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
    /// Each value, in the order of the texts.
    pub findings: Vec<PrivateValue>,
    /// Each text that is a copy or contains copied words, in order.
    pub copied: Vec<CopiedText>,
    /// Whether personal data was masked in the training texts.
    #[serde(default)]
    pub redacted: bool,
}

/// The number of reference texts by source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Compared {
    /// All labelled seeds, drawn or not.
    pub seeds: u64,
    /// The pool: real training texts.
    pub pool: u64,
    /// The test set.
    pub test: u64,
}

/// The number of values of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    /// The name of the kind.
    pub kind: String,
    /// Values that also occur in a reference text.
    pub leaks: u64,
    /// Values that occur only in synthetic texts.
    pub phantoms: u64,
}

/// The number of texts with copied wording; a text counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Copies {
    /// Copies, character for character.
    pub exact: u64,
    /// Copies except for letter case, white space and punctuation.
    pub normalised: u64,
    /// Texts that share eight or more consecutive words.
    pub shared: u64,
    /// Most consecutive words shared; 0 if fewer than eight.
    pub longest: u64,
}

impl Copies {
    /// Texts with any copied wording.
    pub fn all(&self) -> u64 {
        self.exact + self.normalised + self.shared
    }
}

/// Cosine similarity between each text and its nearest reference text.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Nearest {
    /// Number of reference texts compared with.
    pub compared_with: u64,
    /// Pairs of a share of the texts (0 to 1) and the cosine that this share does not exceed.
    pub quantiles: Vec<(f64, f64)>,
    /// The texts closest to a reference text, the closest first.
    pub few: Vec<Near>,
}

/// A text and the reference text nearest to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// The text's file.
    pub file: String,
    /// The text's line, from 1.
    pub line: usize,
    /// -1 to 1.
    pub cosine: f64,
    /// The reference text, such as `seed 3`.
    pub source: String,
}

/// Personal data found in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateValue {
    /// The text's file.
    pub file: String,
    /// The text's line, from 1.
    pub line: usize,
    /// The name of its kind.
    pub kind: String,
    /// The value, masked.
    pub value: String,
    /// The reference text that also contains it, such as `seed 3`; absent for a phantom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A text with copied wording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedText {
    /// The text's file.
    pub file: String,
    /// The text's line, from 1.
    pub line: usize,
    /// How much of it is copied.
    pub how: HowCopied,
    /// Number of consecutive words; absent for whole texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<u64>,
    /// The reference text that it copies, such as `seed 3`.
    pub source: String,
}

/// How much of a text is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HowCopied {
    /// All of it, character for character.
    Exact,
    /// All of it except letter case, white space and punctuation.
    Normalised,
    /// A run of words.
    Words,
}

impl Privacy {
    /// Values that also occur in a reference text.
    pub fn leaks(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.leaks).sum()
    }

    /// Values that occur only in synthetic texts.
    pub fn phantoms(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.phantoms).sum()
    }

    /// The warning at the top of a report; `None` if nothing leaked.
    pub fn warning(&self) -> Option<String> {
        let texts = match self.leaking_texts {
            0 => return None,
            1 => "1 training text contains".to_owned(),
            many => format!("{many} training texts contain"),
        };
        Some(format!(
            "{texts} personal data of the seeds, the pool or the test set: `promptmix audit` lists the \
             values and, with --redact, masks them"
        ))
    }
}
