//! Judges the texts of replies as they are read: keeps, cleans or drops them (`augment.clean`). A
//! dropped text is missing from its class, so the next round asks for another one. Replies are
//! judged again when they are read from the ledger, with the same result.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    config::AugmentSettings,
    dataset::AugmentedText,
    filter::junk::{Junk, Place, Reference, Verdict, judge},
    prompt::reply,
    task::Task,
};

/// A row of `junk.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct JunkRow {
    /// As the teacher wrote it.
    text: String,
    /// Name of the class that was requested.
    major: String,
    /// The request that generated it.
    #[serde(rename = "ask")]
    request_id: Option<String>,
    /// What is left of a cleaned text.
    #[serde(skip_serializing_if = "Option::is_none")]
    cleaned: Option<String>,
    /// Why it was dropped, or what was removed from it.
    reasons: Vec<Junk>,
}

/// Lets texts pass or not.
pub(super) struct Screen {
    /// `None` if texts are taken as they come, without quotes and percentages around them.
    reference: Option<Reference>,
    rows: Vec<JunkRow>,
    /// How many of the rows are cleaned texts.
    cleaned: usize,
}

impl Screen {
    pub(super) fn new(task: &Task, settings: &AugmentSettings) -> Self {
        let reference = settings.clean.then(|| Reference::new(task, settings.longest()));
        Self { reference, rows: Vec::new(), cleaned: 0 }
    }

    /// The row of a text at `place`, cleaned; `None` if the text is junk.
    pub(super) fn pass(&mut self, place: &Place<'_>, row: AugmentedText) -> Option<AugmentedText> {
        let Some(reference) = &self.reference else {
            let text = reply::bare(&row.text).to_owned();
            return Some(AugmentedText { text, ..row });
        };
        let (cleaned, reasons) = match judge(&row.text, place, reference) {
            Verdict::Keep => return Some(row),
            Verdict::Cleaned(text, removed) => (Some(text), removed),
            Verdict::Drop(junk) => (None, vec![junk]),
        };
        self.cleaned += usize::from(cleaned.is_some());
        let (major, request_id) = (row.major.clone(), row.request_id.clone());
        let text = row.text.clone();
        self.rows.push(JunkRow { text, major, request_id, cleaned: cleaned.clone(), reasons });
        Some(AugmentedText { text: cleaned?, ..row })
    }

    /// The numbers of texts dropped and of texts cleaned so far.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.rows.len() - self.cleaned, self.cleaned)
    }

    pub(super) fn into_rows(self) -> Vec<JunkRow> {
        self.rows
    }
}

/// The dropped texts among `rows` by reason.
pub(crate) fn reasons(rows: &[JunkRow]) -> BTreeMap<&'static str, usize> {
    let mut reasons = BTreeMap::new();
    for row in rows.iter().filter(|row| row.cleaned.is_none()) {
        for junk in &row.reasons {
            *reasons.entry(junk.describe()).or_default() += 1;
        }
    }
    reasons
}

/// What precedes a reason among the counts that the ledger keeps of the stage.
pub(super) const COUNTED: &str = "junk: ";
