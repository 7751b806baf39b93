//! People's edits of a run: texts, labels, removed and added rows, made with any editor in
//! `augmented.jsonl`, `relabelled.jsonl`, `labelled.jsonl` and `train.jsonl`.
//!
//! ```text
//! a stage writes F ──► written/F.HASH, a copy            (copies)
//! a person edits F ──► F and its copy differ, row by row (diff)
//! the next command ──► Entry::Edit in the ledger         (found)
//! a stage runs again ─► its rows, edited as recorded      (this file)
//! ```
//!
//! A row is known by the text that was first written ([`TextRow::key`]), not by its `id`: ids
//! count rows and shift when a stage runs again. `keys` numbers rows with the same text. For each
//! row the edits of a file add up to one [`Rule`]; the later edit wins, and one that takes the
//! others back leaves none.
//!
//! The decisions of `promptmix review` are edits, too. Each is in the ledger before it is answered,
//! and the file follows later (`waiting`).

mod copies;
mod diff;
mod found;
mod keys;
mod waiting;

use std::collections::{BTreeMap, HashMap, HashSet};

use keys::keyed;

use super::{ledger::Entry, names};
use crate::dataset::{Author, DropReason, DroppedText, GivenLabel, RowEdit, RowFields, TextRow};

pub(crate) use found::{FileEdits, find, next_id};
pub(super) use found::{after_stage, before_write, take_up, write_decided, written_before};
pub(super) use waiting::record;

/// The files that may be edited, each written from the one before it.
pub(crate) const EDITABLE: [&str; 4] =
    [names::AUGMENTED, names::RELABELLED, names::LABELLED, names::TRAIN];

/// What a person made of one row of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub key: String,
    /// As the stage wrote it; absent if a person added the row.
    pub before: Option<RowFields>,
    /// As the person left it; absent if it was removed.
    pub after: Option<RowFields>,
    /// Why it was removed, if the person said so.
    pub reason: Option<DropReason>,
}

/// All edits of a run that stand, by file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Edits {
    files: BTreeMap<String, Rules>,
}

/// The rules of a file, oldest first, and their places by key.
#[derive(Debug, Clone, Default, PartialEq)]
struct Rules {
    list: Vec<Rule>,
    places: HashMap<String, usize>,
}

/// How many rows people edited, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Rows with any edit, in whatever file.
    pub rows: usize,
    pub labels: usize,
    pub texts: usize,
    /// Labels that were right.
    pub confirmed: usize,
    pub added: usize,
    pub removed: usize,
}

impl Edits {
    /// The edits that stand after `entries`.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut edits = Self::default();
        for entry in entries {
            match entry {
                Entry::Edit { file, changes, .. } => edits.record(file, changes),
                Entry::TaskChanged(changed) => edits.rename_classes(&changed.change.renamed),
                _ => {}
            }
        }
        edits
    }

    fn record(&mut self, file: &str, changes: &[RowEdit]) {
        let rules = self.files.entry(file.to_owned()).or_default();
        let mut undone = HashSet::new();
        for RowEdit { key, before, after, reason, .. } in changes {
            let at = rules.places.get(key).copied();
            let first = at.map_or_else(|| before.clone(), |at| rules.list[at].before.clone());
            if is_undone(first.as_ref(), before.as_ref(), after.as_ref()) {
                undone.insert(key.as_str());
                continue;
            }
            undone.remove(key.as_str());
            let rule =
                Rule { key: key.clone(), before: first, after: after.clone(), reason: *reason };
            match at {
                Some(at) => rules.list[at] = rule,
                None => {
                    rules.places.insert(key.clone(), rules.list.len());
                    rules.list.push(rule);
                }
            }
        }
        if !undone.is_empty() {
            rules.list.retain(|rule| !undone.contains(rule.key.as_str()));
            let places = rules.list.iter().enumerate().map(|(at, rule)| (rule.key.clone(), at));
            rules.places = places.collect();
        }
    }

    /// The rules of `file`, oldest first.
    pub(crate) fn rules(&self, file: &str) -> &[Rule] {
        self.files.get(file).map_or(&[], |rules| &rules.list)
    }

    /// The rule of the row `key` of `file`.
    fn rule(&self, file: &str, key: &str) -> Option<&Rule> {
        let rules = self.files.get(file)?;
        Some(&rules.list[*rules.places.get(key)?])
    }

    fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.files.values().flat_map(|rules| &rules.list)
    }

    /// Gives the classes in all edits recorded so far their new names. To be called where the
    /// entries are read in order, at the entry that renames the classes.
    fn rename_classes(&mut self, renamed: &BTreeMap<String, String>) {
        for rule in self.files.values_mut().flat_map(|rules| &mut rules.list) {
            for fields in [&mut rule.before, &mut rule.after].into_iter().flatten() {
                fields.rename_classes(renamed);
            }
        }
    }

    /// Edits the `rows` that a stage has for `file` as people did, in the order of `rows`: removed
    /// rows are left out; rows that were added, or whose original is no longer among `rows`, follow
    /// at the end with new ids. `pool` holds rows that the stage left out: one that a person edited
    /// or removed is taken from there. An edit that names a class for which `is_class` is false is
    /// left out.
    ///
    /// Returns the rows and what is left of the pool.
    pub(crate) fn apply(
        &self,
        file: &str,
        rows: Vec<TextRow>,
        pool: Vec<TextRow>,
        is_class: &dyn Fn(&str) -> bool,
    ) -> (Vec<TextRow>, Vec<TextRow>) {
        let mut rules: HashMap<&str, (usize, &Rule)> = HashMap::new();
        for (number, rule) in self.rules(file).iter().enumerate() {
            if rule.after.as_ref().is_none_or(|after| has_classes(after, is_class)) {
                rules.insert(&rule.key, (number, rule));
            }
        }
        let ids = rows.iter().chain(&pool).map(|row| row.augmented.id + 1);
        let mut next_id = ids.max().unwrap_or(0);
        let (count, all) = (rows.len(), rows.into_iter().chain(pool).collect());
        let mut rows = keyed(all);
        let pool = rows.split_off(count);
        let mut edited = Vec::with_capacity(rows.len());
        for (mut row, key) in rows {
            let Some((_, rule)) = rules.remove(key.as_str()) else {
                edited.push(row);
                continue;
            };
            if let Some(after) = &rule.after {
                put(file, &mut row, &key, rule.before.as_ref(), after);
                edited.push(row);
            }
        }
        let mut left = Vec::with_capacity(pool.len());
        let mut late = Vec::new();
        for (mut row, key) in pool {
            match rules.remove(key.as_str()) {
                None => left.push(row),
                Some((number, Rule { before, after: Some(after), .. })) => {
                    put(file, &mut row, &key, before.as_ref(), after);
                    late.push((number, row));
                }
                Some(_) => {}
            }
        }
        let mut gone: Vec<(usize, &Rule)> = rules.into_values().collect();
        gone.sort_by_key(|(number, _)| *number);
        for (number, rule) in gone {
            let Some(after) = &rule.after else { continue };
            late.push((number, new_row(file, next_id, &rule.key, after)));
            next_id += 1;
        }
        late.sort_by_key(|(number, _)| *number);
        edited.extend(late.into_iter().map(|(_, row)| row));
        (edited, left)
    }

    /// Those of the rows of `file` that a person removed and said why; `rows` and `pool` are as in
    /// [`Self::apply`].
    pub(crate) fn dropped(
        &self,
        file: &str,
        rows: &[TextRow],
        pool: &[TextRow],
    ) -> Vec<DroppedText> {
        let reasons: HashMap<&str, DropReason> = (self.rules(file).iter())
            .filter_map(|rule| Some((rule.key.as_str(), rule.reason?)))
            .collect();
        if reasons.is_empty() {
            return Vec::new();
        }
        let dropped = |(row, key): (TextRow, String)| {
            let dropped = *reasons.get(key.as_str())?;
            Some(DroppedText { row: row.into(), dropped })
        };
        keyed([rows, pool].concat()).into_iter().filter_map(dropped).collect()
    }

    /// The `rows` of `file` as `changes`, which are not recorded in `self` yet, make them; `pool`
    /// is as in [`Self::apply`].
    pub(super) fn rewrite(
        &self,
        file: &str,
        rows: &[TextRow],
        changes: &[RowEdit],
        pool: &[TextRow],
    ) -> Vec<TextRow> {
        let mut then = self.clone();
        then.record(file, changes);
        // The original of a row that a change takes back.
        let first = |key: &str| match then.rule(file, key) {
            Some(_) => None,
            None => self.rule(file, key)?.before.as_ref(),
        };
        let mut left: HashMap<&str, &RowEdit> =
            changes.iter().map(|change| (change.key.as_str(), change)).collect();
        let mut rewritten = Vec::new();
        let (count, all) = (rows.len(), [rows, pool].concat());
        let mut rows = self.keyed(file, all);
        let pool = rows.split_off(count);
        for (mut row, key) in rows {
            match left.remove(key.as_str()) {
                None => rewritten.push(row),
                Some(RowEdit { before, after: Some(after), .. }) => {
                    match first(&key) {
                        Some(first) => {
                            restore(file, &mut row, first, self.is_edited_before(file, &key));
                        }
                        None => put(file, &mut row, &key, before.as_ref(), after),
                    }
                    rewritten.push(row);
                }
                Some(_) => {}
            }
        }
        let mut known: HashMap<String, TextRow> =
            pool.into_iter().map(|(row, key)| (key, row)).collect();
        for RowEdit { row: id, key, after, .. } in changes {
            let Some(after) = after.as_ref().filter(|_| left.contains_key(key.as_str())) else {
                continue;
            };
            let mut row = match known.remove(key) {
                Some(mut row) => {
                    put(file, &mut row, key, None, after);
                    row
                }
                None => new_row(file, *id, key, after),
            };
            if let Some(first) = first(key) {
                restore(file, &mut row, first, self.is_edited_before(file, key));
            }
            rewritten.push(row);
        }
        rewritten
    }

    /// What `changes`, made one after the other and not recorded in `self` yet, make of the rows of
    /// `file` together: one change for each row, none for a row that is as it was.
    fn net(&self, file: &str, changes: &[&RowEdit]) -> Vec<RowEdit> {
        let mut then = self.clone();
        let mut first: Vec<&RowEdit> = Vec::new();
        let mut seen = HashSet::new();
        for change in changes {
            then.record(file, std::slice::from_ref(change));
            if seen.insert(change.key.as_str()) {
                first.push(change);
            }
        }
        let net = |change: &RowEdit| {
            let (after, reason) = match (then.rule(file, &change.key), self.rule(file, &change.key))
            {
                (Some(rule), _) => (rule.after.clone(), rule.reason),
                (None, Some(rule)) => (rule.before.clone(), None),
                (None, None) => return None,
            };
            Some(RowEdit { after, reason, ..change.clone() })
        };
        first.into_iter().filter_map(net).collect()
    }

    /// Whether a person edited the row `key` in a file from which `file` is made.
    fn is_edited_before(&self, file: &str, key: &str) -> bool {
        let earlier = EDITABLE.iter().take_while(|name| **name != file);
        earlier.into_iter().any(|name| self.rule(name, key).is_some())
    }

    /// The number of rows edited.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let mut keys = HashSet::new();
        for rule in self.all_rules() {
            keys.insert(rule.key.as_str());
            tally.count(rule.before.as_ref(), rule.after.as_ref());
        }
        tally.rows = keys.len();
        tally
    }

    /// Of the edits of `file`.
    pub(crate) fn tally_of(&self, file: &str) -> Tally {
        let rules = self.rules(file);
        let mut tally = Tally { rows: rules.len(), ..Tally::default() };
        rules.iter().for_each(|rule| tally.count(rule.before.as_ref(), rule.after.as_ref()));
        tally
    }
}

impl Tally {
    /// Of `changes`, made in one file.
    pub(crate) fn of(changes: &[RowEdit]) -> Self {
        let mut tally = Self { rows: changes.len(), ..Self::default() };
        for RowEdit { before, after, .. } in changes {
            tally.count(before.as_ref(), after.as_ref());
        }
        tally
    }

    fn count(&mut self, before: Option<&RowFields>, after: Option<&RowFields>) {
        match (before, after) {
            (Some(before), Some(after)) => {
                self.labels += usize::from(!before.has_labels_of(after));
                self.texts += usize::from(before.text != after.text);
                self.confirmed += usize::from(before.is_confirmed_by(after));
            }
            (None, Some(_)) => self.added += 1,
            (_, None) => self.removed += 1,
        }
    }
}

/// Whether the step from `before` to `after` takes a row back to what it was `first`: to the very
/// same, or to its text and labels. An edit of the probability alone is an edit, and a row that is
/// left as it is was confirmed.
fn is_undone(
    first: Option<&RowFields>,
    before: Option<&RowFields>,
    after: Option<&RowFields>,
) -> bool {
    // A label that is given and is the one that was asked for changes nothing.
    let label = |row: &RowFields| row.relabel.clone().unwrap_or_else(|| row.major.clone());
    let same = |a: &RowFields, b: &RowFields| {
        (&a.text, &a.major, label(a)) == (&b.text, &b.major, label(b))
            && (&a.minor, a.alpha) == (&b.minor, b.alpha)
    };
    match (first, after) {
        (None, None) => true,
        (Some(first), Some(after)) if first == after => before != Some(after),
        (Some(first), Some(after)) => {
            same(first, after) && before.is_none_or(|before| !same(before, after))
        }
        _ => false,
    }
}

fn has_classes(fields: &RowFields, is_class: &dyn Fn(&str) -> bool) -> bool {
    is_class(&fields.major) && fields.relabel.as_ref().is_none_or(|label| is_class(label))
}

/// Makes of `row` of `file`, known as `key`, what a person made of it: the text, the class asked
/// for and the mixing stand if they were changed since `before`, the label always.
fn put(file: &str, row: &mut TextRow, key: &str, before: Option<&RowFields>, after: &RowFields) {
    let augmented = &mut row.augmented;
    if before.is_none_or(|before| before.text != after.text) {
        after.text.clone_into(&mut augmented.text);
    }
    if before.is_none_or(|before| before.major != after.major) {
        after.major.clone_into(&mut augmented.major);
    }
    if before.is_none_or(|before| (&before.minor, before.alpha) != (&after.minor, after.alpha)) {
        (augmented.minor, augmented.alpha) = (after.minor.clone(), after.alpha);
    }
    augmented.by = Some(Author::Person);
    label(file, row, after);
    if row.key() != key {
        row.augmented.origin = Some(key.to_owned());
    }
}

/// Gives `row` of `file` the label of `fields`.
fn label(file: &str, row: &mut TextRow, fields: &RowFields) {
    let RowFields { relabel, p, probabilities, .. } = fields.clone();
    if file == names::AUGMENTED {
        let given = |label| GivenLabel { label, p: p.unwrap_or(1.0) };
        row.augmented.given = relabel.map(given);
    } else {
        (row.relabel, row.p, row.probabilities) = (relabel, p, probabilities);
    }
}

/// Takes `row` of `file` back to what it was `first`. It stays a person's if an earlier file says
/// so.
fn restore(file: &str, row: &mut TextRow, first: &RowFields, edited_before: bool) {
    let augmented = &mut row.augmented;
    first.text.clone_into(&mut augmented.text);
    first.major.clone_into(&mut augmented.major);
    (augmented.minor, augmented.alpha) = (first.minor.clone(), first.alpha);
    if !edited_before {
        (augmented.by, augmented.origin) = (None, None);
    }
    label(file, row, first);
}

/// A row that no stage wrote.
fn new_row(file: &str, id: usize, key: &str, fields: &RowFields) -> TextRow {
    let mut row = TextRow::default();
    row.augmented.id = id;
    row.augmented.unlabelled_line = (file == names::LABELLED).then_some(0);
    put(file, &mut row, key, None, fields);
    row
}

#[cfg(test)]
mod tests;
