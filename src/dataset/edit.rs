//! What a person changed in a row by hand, and the rows of the files that may be edited in a form
//! that all of them share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AugmentedText, DropReason, RelabelledText};
use crate::hash;

/// Who decided about a row besides the teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    Person,
}

/// A label that the teacher is not asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GivenLabel {
    /// Name of the class.
    pub label: String,
    /// Its probability, 0 to 1.
    pub p: f32,
}

/// The parts of a row that a person may edit; the others say where the text came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RowFields {
    pub text: String,
    pub major: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The label after relabelling; in `augmented.jsonl` the label that relabelling keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<(String, f32)>,
}

impl RowFields {
    /// Whether `other` has the same labels.
    pub(crate) fn has_labels_of(&self, other: &Self) -> bool {
        self.major == other.major && self.relabel == other.relabel
    }

    /// Whether a person who left the row as `after` found its text and its label to be right.
    pub(crate) fn is_confirmed_by(&self, after: &Self) -> bool {
        *after == self.clone().confirmed()
    }

    /// The row with its label as a person's, who is sure.
    pub(crate) fn confirmed(self) -> Self {
        Self { p: Some(1.0), probabilities: Vec::new(), ..self }
    }

    /// Calls each class by its new name, if it has one.
    pub(crate) fn rename_classes(&mut self, renamed: &BTreeMap<String, String>) {
        let labels = self.minor.iter_mut().chain(&mut self.relabel).chain([&mut self.major]);
        let scored = self.probabilities.iter_mut().map(|(name, _)| name);
        rename_classes(labels.chain(scored), renamed);
    }
}

/// Calls each of `classes` by its new name, if it has one; all at once, so that two may swap names.
pub(crate) fn rename_classes<'n>(
    classes: impl Iterator<Item = &'n mut String>,
    renamed: &BTreeMap<String, String>,
) {
    for name in classes {
        if let Some(new) = renamed.get(name.as_str()) {
            new.clone_into(name);
        }
    }
}

/// One row that a person changed, added or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowEdit {
    /// The row's `id`.
    pub row: usize,
    /// [`TextRow::key`]: names the row when it is written again, whatever its `id` is then.
    pub key: String,
    /// Absent if the row was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RowFields>,
    /// Absent if the row was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RowFields>,
    /// Why it was removed, if the person said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DropReason>,
}

/// A row of `augmented.jsonl`, `relabelled.jsonl` or `train.jsonl`. It is written with the same
/// bytes as the row of the stage that the file is of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TextRow {
    #[serde(flatten)]
    pub augmented: AugmentedText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<(String, f32)>,
    /// Number of values masked in the text.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redacted: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl TextRow {
    /// What the row is known by when its stage runs again: a hash of its text as it was first
    /// written. Ids count rows, so they shift.
    pub(crate) fn key(&self) -> String {
        let key = || {
            let mut key = hash::of_bytes(&self.augmented.text);
            key.truncate(16);
            key
        };
        self.augmented.origin.clone().unwrap_or_else(key)
    }

    /// Calls each class by its new name, if it has one.
    pub(crate) fn rename_classes(&mut self, renamed: &BTreeMap<String, String>) {
        let scored = self.probabilities.iter_mut().map(|(name, _)| name);
        let labels = self.relabel.iter_mut().chain(scored);
        rename_classes(self.augmented.names_mut().chain(labels), renamed);
    }

    /// The parts that a person may edit.
    pub(crate) fn fields(&self) -> RowFields {
        let AugmentedText { text, major, minor, alpha, given, .. } = &self.augmented;
        let given = given.as_ref();
        RowFields {
            text: text.clone(),
            major: major.clone(),
            minor: minor.clone(),
            alpha: *alpha,
            relabel: self.relabel.clone().or_else(|| Some(given?.label.clone())),
            p: self.p.or_else(|| Some(given?.p)),
            probabilities: self.probabilities.clone(),
        }
    }
}

impl From<AugmentedText> for TextRow {
    fn from(augmented: AugmentedText) -> Self {
        Self { augmented, ..Self::default() }
    }
}

impl From<RelabelledText> for TextRow {
    fn from(row: RelabelledText) -> Self {
        let RelabelledText { augmented, relabel, p, probabilities } = row;
        Self { augmented, relabel: Some(relabel), p: Some(p), probabilities, redacted: 0 }
    }
}

impl From<TextRow> for AugmentedText {
    fn from(row: TextRow) -> Self {
        row.augmented
    }
}

impl From<TextRow> for RelabelledText {
    fn from(row: TextRow) -> Self {
        let TextRow { augmented, relabel, p, probabilities, .. } = row;
        let relabel = relabel.unwrap_or_else(|| augmented.major.clone());
        Self { augmented, relabel, p: p.unwrap_or(1.0), probabilities }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_with_the_bytes_of_their_stage() {
        let augmented = AugmentedText {
            id: 3,
            text: "x".to_owned(),
            major: "a".to_owned(),
            minor: Some("b".to_owned()),
            alpha: Some(0.85),
            shown: vec!["a".to_owned()],
            request_id: Some("0.0.1".to_owned()),
            seed: Some(u64::MAX - 1),
            ..AugmentedText::default()
        };
        let probabilities = vec![("a".to_owned(), 0.1_f32), ("b".to_owned(), 0.9)];
        let relabel = "b".to_owned();
        let relabelled =
            RelabelledText { augmented: augmented.clone(), relabel, p: 0.912_345, probabilities };
        let same = |written: String| {
            let row: TextRow = serde_json::from_str(&written).unwrap();
            assert_eq!(serde_json::to_string(&row).unwrap(), written);
            row
        };
        assert_eq!(same(serde_json::to_string(&augmented).unwrap()), augmented.clone().into());
        let row = same(serde_json::to_string(&relabelled).unwrap());
        assert_eq!(RelabelledText::from(row.clone()), relabelled);
        same(serde_json::to_string(&TextRow { redacted: 2, ..row }).unwrap());
    }
}
