//! Decisions of a person.

use serde::Deserialize;

use super::{
    Review,
    row::{Row, Source, label},
};
use crate::{
    dataset::{DropReason, RowEdit, RowFields, canonical},
    hint,
};

/// What a person decides about a row.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Action {
    /// Text and label are right; a dropped text is kept.
    Keep,
    /// The label is this one.
    Label(String),
    /// The text reads like this.
    Text(String),
    /// The text is not to be trained on.
    Drop,
    /// The last decision about the row is taken back.
    Undo,
}

/// A decision, and what the page knew when it was made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    pub key: String,
    /// [`Row::version`].
    pub version: usize,
    pub action: Action,
}

/// Why a decision was not recorded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No row has this key.
    Unknown,
    /// Somebody has decided since the page was shown.
    Outdated { row: usize },
    /// It is impossible, for this reason.
    Impossible(String),
    /// The review has ended.
    Closed,
    /// It could not be written; it is not in the ledger.
    Failed(String),
}

impl Review {
    /// Records `decision`. Returns the place of its row.
    ///
    /// # Errors
    /// Whatever stands against it; nothing was recorded then.
    pub(super) fn decide(&mut self, decision: &Decision) -> Result<usize, Refusal> {
        if self.closed {
            return Err(Refusal::Closed);
        }
        let place = *self.places.get(&decision.key).ok_or(Refusal::Unknown)?;
        let row = &self.rows[place];
        if row.version != decision.version {
            return Err(Refusal::Outdated { row: place });
        }
        let file = row.source.edited_file().ok_or(Refusal::Unknown)?;
        let steps = self.steps(row, &decision.action)?;
        let changes: Vec<RowEdit> = steps
            .iter()
            .map(|(before, after)| RowEdit {
                row: row.id,
                key: row.key.clone(),
                before: before.clone(),
                after: after.clone(),
                reason: None,
            })
            .collect();
        let last = self
            .run
            .decide(file, changes)
            .map_err(|error| Refusal::Failed(hint::one_line(&error)))?;
        let row = &mut self.rows[place];
        let was_decided = row.is_decided();
        row.version += steps.len();
        let after = steps.into_iter().next_back().and_then(|(_, after)| after);
        let before = std::mem::replace(&mut row.now, after);
        match decision.action {
            Action::Undo => drop(row.history.pop()),
            _ => row.history.push(before),
        }
        row.last = Some(last);
        let is_decided = row.is_decided();
        for members in &mut self.lists {
            if was_decided != is_decided && members.places.binary_search(&place).is_ok() {
                members.left = if is_decided { members.left - 1 } else { members.left + 1 };
            }
        }
        self.decisions += 1;
        Ok(place)
    }

    /// What `action` does to `row`, step by step: what it was, and what it becomes.
    fn steps(&self, row: &Row, action: &Action) -> Result<Vec<Step>, Refusal> {
        let impossible = |why: &str| Err(Refusal::Impossible(why.to_owned()));
        let now = row.now.clone();
        let sure = |fields: RowFields| Some(fields.confirmed());
        let after = match action {
            Action::Keep => sure(row.shown().clone()),
            Action::Label(name) if self.task.class_index(name).is_none() => {
                return impossible("No class has this name.");
            }
            Action::Label(name) => {
                sure(RowFields { relabel: Some(name.clone()), ..row.shown().clone() })
            }
            Action::Text(text) if text.trim().is_empty() => {
                return impossible("A text cannot be empty; drop it instead.");
            }
            Action::Text(text) => {
                sure(RowFields { text: text.trim().to_owned(), ..row.shown().clone() })
            }
            Action::Drop => None,
            Action::Undo => return undone(row),
        };
        // Nobody was asked to write it, so it has no other class.
        let after = after.map(|after| match row.source {
            Source::Suggested => RowFields { major: label(&after).to_owned(), ..after },
            _ => after,
        });
        // A class may be gone since the text was suggested.
        let has_label = |after: &RowFields| self.task.class_index(label(after)).is_some();
        if after.as_ref().is_some_and(|after| !has_label(after)) {
            return impossible("The text has no label yet; give it one.");
        }
        if after.as_ref().is_some_and(|after| self.is_test_text(row, after)) {
            return impossible("The text is in the test set, so it is never trained on.");
        }
        if after == now && row.is_decided() {
            return impossible("That is decided already.");
        }
        // The first label, given again, is a decision and takes nothing back.
        let is_first = |after: &RowFields| {
            let parts = |row: &RowFields| (row.text.clone(), label(row).to_owned());
            parts(after) == parts(&row.first)
        };
        let again = row.source == Source::Train && after.as_ref().is_some_and(is_first);
        if again && now.as_ref() != Some(&row.first) {
            let first = Some(row.first.clone());
            return Ok(vec![(now, first.clone()), (first, after)]);
        }
        Ok(vec![(now, after)])
    }

    /// Whether `after` reads like a text of the test set and `row` did not.
    fn is_test_text(&self, row: &Row, after: &RowFields) -> bool {
        let leaked = row.source == Source::Dropped(DropReason::LeakFromTest);
        if after.text == row.first.text {
            return leaked;
        }
        let text = canonical(&after.text);
        self.task.test.iter().any(|item| canonical(&item.text) == text)
    }
}

type Step = (Option<RowFields>, Option<RowFields>);

/// The step that takes the last decision about `row` back.
fn undone(row: &Row) -> Result<Vec<Step>, Refusal> {
    let nothing = || Refusal::Impossible("Nothing was decided about this text.".to_owned());
    let before = row.history.last().ok_or_else(nothing)?.clone();
    // A confirmed row may be the very same as before: only its absence differs.
    let now = row.now.clone().filter(|now| Some(now) != before.as_ref());
    Ok(vec![(now, before)])
}
