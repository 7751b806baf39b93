//! `[run]`: what every stage shares.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check::at_least};

/// Random seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunSettings {
    /// The one random seed from which every random choice derives. `--seed` is short for it.
    pub seed: u64,
    /// Students trained for each row of the result table, each with its own random seed. The paper
    /// reports 3 or more; 5 narrow the confidence interval at little cost.
    pub seeds: u64,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self { seed: 1, seeds: 5 }
    }
}

impl RunSettings {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        at_least("run.seeds", self.seeds, 1)
    }
}
