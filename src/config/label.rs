//! `[label]`: which unlabelled texts the teacher labels.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check::at_least};

/// How many of the texts of `unlabelled` under `[data]` the teacher labels. Without that file these
/// settings have no effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LabelSettings {
    /// Texts that the teacher labels, a question each. Half of them cover what the file has, the
    /// others are those of which a classifier of your examples is least sure.
    pub budget: usize,
    /// Texts that are embedded to choose from: a random sample of the file, if it has more. A
    /// hundred thousand take 400 MB of memory.
    pub sample: usize,
}

impl Default for LabelSettings {
    fn default() -> Self {
        Self { budget: 500, sample: 100_000 }
    }
}

impl LabelSettings {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        at_least("label.budget", self.budget, 1)?;
        at_least("label.sample", self.sample, self.budget)
    }
}
