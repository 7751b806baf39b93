//! `[label]`: which unlabelled texts the teacher labels.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check::at_least};
use crate::auto::Auto;

/// Texts that are embedded for each that the teacher labels. How picks from fewer and from all
/// compare: `docs/recipe.md`, Real texts.
const CHOICE: usize = 40;
/// The most texts that are embedded unless a setting asks for more: 400 MB.
const MOST: usize = 100_000;

/// How many of the texts of `unlabelled` under `[data]` the teacher labels. Without that file these
/// settings have no effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LabelSettings {
    /// Texts that the teacher labels, a question each. Half of them cover what the file has, the
    /// others are those of which a classifier of your examples is least sure.
    pub budget: usize,
    /// Texts that are embedded to choose from: a random sample of the file, if it has more. `auto`
    /// is 40 for each text of `label.budget`, at most 100,000, which take 400 MB of memory.
    pub sample: Auto,
}

impl Default for LabelSettings {
    fn default() -> Self {
        Self { budget: 500, sample: Auto::Auto }
    }
}

impl LabelSettings {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        at_least("label.budget", self.budget, 1)?;
        at_least("label.sample", self.sample(), self.budget)
    }

    /// The number of texts that are embedded to choose from, if the file has as many.
    pub(crate) fn sample(&self) -> usize {
        let enough = self.budget.saturating_mul(CHOICE).min(MOST);
        self.sample.unwrap_or(enough.max(self.budget))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_follows_the_budget_unless_it_is_set() {
        let sample = |budget, sample| {
            let settings = LabelSettings { budget, sample };
            settings.validate().map(|()| settings.sample())
        };
        assert_eq!(sample(500, Auto::Auto).unwrap(), 20_000);
        assert_eq!(sample(50_000, Auto::Auto).unwrap(), 100_000);
        assert_eq!(sample(200_000, Auto::Auto).unwrap(), 200_000);
        assert_eq!(sample(500, Auto::Exactly(600)).unwrap(), 600);
        assert!(sample(500, Auto::Exactly(499)).is_err());
    }
}
