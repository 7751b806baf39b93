//! `[filter]`: which texts are left out of the training set.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check::within};

/// Which texts are left out of the training set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FilterSettings {
    /// Drops a text that has at least this ROUGE-L F1 with an earlier text of the same label. A
    /// value above 1 keeps all but exact duplicates.
    pub rouge_l: f64,
    /// Drops a text if the probability of its new label is below this. 0 keeps all, as the paper
    /// does.
    pub min_probability: f32,
    /// Replaces personal data by `[EMAIL]`, `[PHONE]`, … in the training set, seeds included, and
    /// in the report. `augmented.jsonl`, `relabelled.jsonl`, `labelled.jsonl` and the ledger keep
    /// the original texts. Off, because a class may be about addresses, and a student that was
    /// trained without any will see them in use.
    pub redact: bool,
}

impl Default for FilterSettings {
    fn default() -> Self {
        Self { rouge_l: 0.85, min_probability: 0.0, redact: false }
    }
}

impl FilterSettings {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let wanted = "it must be positive and at most 2 (above 1 keeps all)";
        within("filter.rouge_l", self.rouge_l, 1e-6..=2.0, wanted)?;
        let wanted = "it must be between 0 and 1";
        within("filter.min_probability", self.min_probability, 0.0..=1.0, wanted)
    }
}
