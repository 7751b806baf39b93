//! What names a row in edits: its text as it was first written, and a number behind it if several
//! rows have the same one.
//!
//! `train.jsonl` and `dropped.jsonl` are numbered together, first the one and then the other: an
//! exact duplicate was dropped, and may be moved back. A row that was edited says in its `origin`
//! what it is known by. No other row gets that key, nor that of a row that a person removed: what
//! is left of several equal rows is still known by what it was known by before.

use std::collections::{HashMap, HashSet};

use super::Edits;
use crate::dataset::TextRow;

/// `rows` as a stage has them, before any edit, with the keys that name them. Of rows with the same
/// text, the second has `#2` at the end of its key, and so on.
pub(super) fn keyed(rows: Vec<TextRow>) -> Vec<(TextRow, String)> {
    numbered(rows, HashSet::new())
}

impl Edits {
    /// The `rows` of `file` as they stand there with the edits made so far, and their keys. Those
    /// of `dropped.jsonl` follow behind those of `train.jsonl`, if they are wanted, too.
    pub(crate) fn keyed(&self, file: &str, rows: Vec<TextRow>) -> Vec<(TextRow, String)> {
        let removed = self.rules(file).iter().filter(|rule| rule.after.is_none());
        numbered(rows, removed.map(|rule| rule.key.clone()).collect())
    }
}

/// The keys of rows that are added behind others with the keys `known`.
pub(super) fn keys_behind<'r>(
    known: HashSet<String>,
    added: impl IntoIterator<Item = &'r TextRow>,
) -> Vec<String> {
    let mut numbers = Numbers { taken: known, next: HashMap::new() };
    added.into_iter().map(|row| numbers.next(row.key())).collect()
}

/// `rows` with their keys, none of which is one of `taken`.
fn numbered(rows: Vec<TextRow>, taken: HashSet<String>) -> Vec<(TextRow, String)> {
    let mut numbers = Numbers { taken, next: HashMap::new() };
    let mut own: HashSet<String> =
        rows.iter().filter_map(|row| row.augmented.origin.clone()).collect();
    numbers.taken.extend(own.iter().cloned());
    let key = |row: TextRow| {
        let key = row.augmented.origin.clone().filter(|origin| own.remove(origin));
        let key = key.unwrap_or_else(|| numbers.next(row.key()));
        (row, key)
    };
    rows.into_iter().map(key).collect()
}

/// Gives out keys, each of them once.
struct Numbers {
    taken: HashSet<String>,
    /// The next number to try for a key.
    next: HashMap<String, usize>,
}

impl Numbers {
    fn next(&mut self, key: String) -> String {
        let number = self.next.entry(key.clone()).or_insert(1);
        loop {
            let numbered = if *number == 1 { key.clone() } else { format!("{key}#{number}") };
            *number += 1;
            if self.taken.insert(numbered.clone()) {
                return numbered;
            }
        }
    }
}
