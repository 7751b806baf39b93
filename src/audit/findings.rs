//! What the texts that are trained on give away of the customer's: personal data, wording, likeness.
//! `promptmix audit` prints the same. Values are masked.

use serde::{Deserialize, Serialize};

/// The findings of an audit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Privacy {
    /// Texts that were looked at.
    pub texts: u64,
    /// Texts of the customer's they were held against.
    pub compared: Compared,
    /// Personal data by kind, those without any left out.
    pub kinds: Vec<KindCount>,
    /// Texts that hold a value of the customer's.
    pub leaking_texts: u64,
    /// Wording that was taken over.
    pub copies: Copies,
    /// Absent where nothing was embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
    /// Each value, in the order of the texts.
    pub findings: Vec<PrivateValue>,
    /// Each text that is a copy or holds a part of one, in order.
    pub copied: Vec<CopiedText>,
    /// Whether personal data was masked in the texts that are trained on.
    #[serde(default)]
    pub redacted: bool,
}

/// Texts of the customer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Compared {
    /// All labelled seeds, drawn or not.
    pub seeds: u64,
    /// Real training texts.
    pub pool: u64,
    /// The test set.
    pub test: u64,
}

/// Values of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    /// Its name.
    pub kind: String,
    /// Values that also stand in a text of the customer's.
    pub leaks: u64,
    /// Values that stand in synthetic texts alone.
    pub phantoms: u64,
}

/// Wording of the customer's; a text counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Copies {
    /// Letter for letter.
    pub exact: u64,
    /// But for letter case, white space and punctuation.
    pub normalised: u64,
    /// Eight words or more in a row.
    pub shared: u64,
    /// The most words in a row; 0 where it is fewer than eight.
    pub longest: u64,
}

impl Copies {
    /// Texts of any of these kinds.
    pub fn all(&self) -> u64 {
        self.exact + self.normalised + self.shared
    }
}

/// Cosines between texts and the nearest text of the customer's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Nearest {
    /// Texts that were compared with.
    pub compared_with: u64,
    /// Shares of the texts and the cosine that so many do not exceed.
    pub quantiles: Vec<(f64, f64)>,
    /// The nearest texts, the nearest first.
    pub few: Vec<Near>,
}

/// A text and the customer's text nearest to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// The file it stands in.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// -1 to 1.
    pub cosine: f64,
    /// Which text of the customer's, as `seed 3`.
    pub source: String,
}

/// A value in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateValue {
    /// The file it stands in.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What it is.
    pub kind: String,
    /// The value, masked.
    pub value: String,
    /// The text of the customer's that holds it too, as `seed 3`; absent for a phantom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A text with wording of the customer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedText {
    /// The file it stands in.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// How much of it.
    pub how: HowCopied,
    /// The words in a row; absent for whole texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<u64>,
    /// Whose, as `seed 3`.
    pub source: String,
}

/// How much of a text was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HowCopied {
    /// Letter for letter.
    Exact,
    /// But for letter case, white space and punctuation.
    Normalised,
    /// Words in a row.
    Words,
}

impl Privacy {
    /// Values that also stand in a text of the customer's.
    pub fn leaks(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.leaks).sum()
    }

    /// Values that stand in synthetic texts alone.
    pub fn phantoms(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.phantoms).sum()
    }

    /// What a reader must know first: nothing where nothing leaked.
    pub fn warning(&self) -> Option<String> {
        let texts = match self.leaking_texts {
            0 => return None,
            1 => "1 text that is trained on carries".to_owned(),
            many => format!("{many} texts that are trained on carry"),
        };
        Some(format!(
            "{texts} personal data of the seeds, the pool or the test set: promptmix audit names each one and, with --redact, masks it"
        ))
    }
}
