//! The entry of a changed task: what is kept of the run, what is set aside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{dataset::AugmentedText, task::TaskChange};

/// An entry of the ledger: the task changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskChanged {
    /// SHA-256 (hex) of the task's files, before and after.
    pub before: String,
    pub after: String,
    pub change: TaskChange,
    /// What becomes of the texts; absent if no prompt changed, so that all are found in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<KeptTexts>,
    /// SHA-256 (hex) of the files that were written, by their names in the run folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// The texts of a run whose task changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptTexts {
    /// Texts that stay, with the present names of their classes and the `id` that they had.
    pub kept: Vec<AugmentedText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<SetAside>,
    /// Number of texts of a class, by name, that a person removed: they are not written anew.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withdrawn: BTreeMap<String, usize>,
    /// The first round of requests after the change. Earlier ones were answered for the kept texts.
    pub first_round: usize,
    /// The first `id` that no text has had.
    pub next_id: usize,
    /// Hash of the settings that the texts depend on. With others they are all written anew.
    pub made_with: String,
}

/// A text whose class is gone or described otherwise; a row of `set-aside.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    #[serde(flatten)]
    pub row: AugmentedText,
    /// The descriptions of its classes, by name. It is restored when they are as they were.
    pub descriptions: BTreeMap<String, String>,
}
