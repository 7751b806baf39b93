//! `[audit]`: the personal data that is searched for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::pii::Scanner;

/// The personal data that is searched for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditSettings {
    /// Kinds of personal data in addition to the built-in ones: names with regular expressions in
    /// the syntax of the regex crate (no look-around, no back-references), for example
    /// `patterns = { badge = '\bEMP-\d{5}\b' }`.
    pub patterns: BTreeMap<String, String>,
}

impl AuditSettings {
    /// The scanner for personal data, including the task's own kinds.
    ///
    /// # Errors
    /// An invalid regular expression, with the name of its kind.
    pub(crate) fn scanner(&self) -> Result<Scanner, ConfigError> {
        Scanner::new(&self.patterns)
            .map_err(|error| ConfigError::Invalid { message: format!("audit.patterns: {error}") })
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.scanner().map(drop)
    }
}
