//! The texts of a run as rows of a sheet, and the ids by which their answers find back.

use std::collections::HashSet;

use super::{Pipeline, PipelineError};
use crate::{
    dataset::{AugmentedText, TextRow},
    run::{RunError, RunFolder, edits::EDITABLE, ledger::Entry, names},
    sheet::{Opinion, SheetRow},
};

/// How the id of a text in a sheet begins. Spreadsheets take no such cell for a number or a date.
pub(super) const PREFIX: &str = "pm";

/// The rows of `train.jsonl` with their keys, in order.
///
/// # Errors
/// A missing or damaged file.
pub(super) fn train_rows(run: &RunFolder) -> Result<Vec<(TextRow, String)>, RunError> {
    run.check_current(&["filter"], names::TRAIN)?;
    let rows = run.read_rows(names::TRAIN, "run `promptmix filter` first")?;
    Ok(run.edits().keyed(names::TRAIN, rows))
}

/// The keys of all texts that people have edited or answered about.
pub(super) fn answered(entries: &[Entry]) -> HashSet<&str> {
    let edits = entries.iter().filter_map(|entry| match entry {
        Entry::Edit { changes, .. } => Some(changes),
        _ => None,
    });
    edits.flatten().map(|change| change.key.as_str()).collect()
}

/// Makes the rows of a sheet of a run.
pub(super) struct SheetOf {
    /// How the ids of its texts begin.
    prefix: String,
    /// Keys of the rows that people added: nobody was asked to write them.
    added: HashSet<String>,
}

impl SheetOf {
    pub(super) fn new(run: &RunFolder) -> Self {
        let edits = run.edits();
        let rules = EDITABLE.iter().flat_map(|file| edits.rules(file));
        let added = rules.filter(|rule| rule.before.is_none()).map(|rule| rule.key.clone());
        Self { prefix: format!("{PREFIX}-{}", run.tag()), added: added.collect() }
    }

    fn id(&self, key: &str) -> String {
        format!("{}-{key}", self.prefix)
    }

    /// `row` of the run, known by `key`, with the opinions that the run has of it.
    pub(super) fn row(&self, row: &TextRow, key: &str) -> SheetRow {
        let AugmentedText { text, major, by, opinions, .. } = &row.augmented;
        let label = row.relabel.clone().unwrap_or_else(|| major.clone());
        // A text that the filter had dropped was written, too, whoever brought it back.
        let was_written = row.augmented.request_id.is_some() || !self.added.contains(key);
        let asked = was_written && !row.augmented.is_unlabelled();
        let why = match (by, label == *major) {
            (Some(_), _) => Some("labelled by a person"),
            (None, false) => Some("written for another class"),
            (None, true) => None,
        };
        SheetRow {
            id: self.id(key),
            text: text.clone(),
            teacher: opinions.as_ref().map(|of| Opinion { label: of.judge.clone(), p: None }),
            asked: asked.then(|| major.clone()),
            suggestion: Some(Opinion { label, p: row.p }),
            student: None,
            why: why.map(str::to_owned),
            probabilities: row.probabilities.clone(),
        }
    }

    /// An unlabelled `text`, known by `key`.
    pub(super) fn new_row(&self, text: &str, key: &str) -> SheetRow {
        SheetRow { id: self.id(key), text: text.to_owned(), ..SheetRow::default() }
    }
}

impl Pipeline<'_> {
    /// All texts that the run trains on, as rows of a sheet.
    ///
    /// # Errors
    /// A missing or damaged `train.jsonl`.
    pub(crate) fn sheet_rows(&self) -> Result<Vec<SheetRow>, PipelineError> {
        let (rows, sheet) = (train_rows(&self.run)?, SheetOf::new(&self.run));
        Ok(rows.iter().map(|(row, key)| sheet.row(row, key)).collect())
    }
}
