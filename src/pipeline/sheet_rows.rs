//! The texts of a run as rows of a sheet, and the ids by which their answers find back.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Pipeline, PipelineError};
use crate::{
    dataset::{AugmentedText, TextRow},
    run::{RunError, RunFolder, edits::keyed, ledger::Entry, names},
    sheet::{Opinion, SheetRow},
};

/// How the id of a text in a sheet begins. Spreadsheets take no such cell for a number or a date.
pub(super) const PREFIX: &str = "pm";

/// A row of `suggested.jsonl`: an unlabelled text that a person was asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SuggestedText {
    /// As [`TextRow::key`].
    pub key: String,
    pub text: String,
}

/// The unlabelled texts of `run` that people were asked about.
///
/// # Errors
/// A damaged file.
pub(super) fn suggested(run: &RunFolder) -> Result<Vec<SuggestedText>, RunError> {
    match run.path().join(names::SUGGESTED).exists() {
        true => run.read_rows(names::SUGGESTED, "the file must be readable"),
        false => Ok(Vec::new()),
    }
}

/// The id in a sheet of the text that `run` knows by `key`.
pub(super) fn sheet_id(run: &RunFolder, key: &str) -> String {
    format!("{PREFIX}-{}-{key}", run.tag())
}

/// The rows of `train.jsonl` with their keys, in order.
///
/// # Errors
/// A missing or damaged file.
pub(super) fn train_rows(run: &RunFolder) -> Result<Vec<(TextRow, String)>, RunError> {
    run.check_current(&["filter"], names::TRAIN)?;
    let rows = run.read_rows(names::TRAIN, "run `promptmix filter` first")?;
    Ok(keyed(rows).collect())
}

/// The keys of all texts that people have edited or answered about.
pub(super) fn answered(entries: &[Entry]) -> HashSet<&str> {
    let edits = entries.iter().filter_map(|entry| match entry {
        Entry::Edit { changes, .. } => Some(changes),
        _ => None,
    });
    edits.flatten().map(|change| change.key.as_str()).collect()
}

/// `row`, known by `key`, with the opinions that the run has of it.
pub(super) fn of_row(run: &RunFolder, row: &TextRow, key: &str) -> SheetRow {
    let AugmentedText { text, major, by, opinions, .. } = &row.augmented;
    let label = row.relabel.clone().unwrap_or_else(|| major.clone());
    let written = row.augmented.request_id.is_some();
    let why = match (by, label == *major) {
        (Some(_), _) => Some("labelled by a person"),
        (None, false) => Some("written for another class"),
        (None, true) => None,
    };
    SheetRow {
        id: sheet_id(run, key),
        text: text.clone(),
        teacher: opinions.as_ref().map(|of| Opinion { label: of.judge.clone(), p: None }),
        asked: written.then(|| major.clone()),
        suggestion: Some(Opinion { label, p: row.p }),
        student: None,
        why: why.map(str::to_owned),
        probabilities: row.probabilities.clone(),
    }
}

impl Pipeline<'_> {
    /// All texts that the run trains on, as rows of a sheet.
    ///
    /// # Errors
    /// A missing or damaged `train.jsonl`.
    pub(crate) fn sheet_rows(&self) -> Result<Vec<SheetRow>, PipelineError> {
        let rows = train_rows(&self.run)?;
        Ok(rows.iter().map(|(row, key)| of_row(&self.run, row, key)).collect())
    }
}
