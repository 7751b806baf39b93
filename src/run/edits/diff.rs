//! Compares an edited file with what was written, row by row.
//!
//! What is no edit: the order of rows, white space and the order of keys, CRLF and a byte-order
//! mark, numbers that an editor rounds, keys that it leaves out or fills with `null`, renumbered
//! rows. The keys that say where a text came from cannot be edited: they are taken from the copy.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use serde::Deserialize;
use serde_json::Number;

use super::{super::RunError, Edits, keys::keys_behind};
use crate::{
    dataset::{GivenLabel, RowEdit, RowFields, TextRow, rename_classes},
    run::names,
    task::Problem,
    verbosity,
};

/// Numbers closer than this are the same: spreadsheets round them.
const SAME: f64 = 1e-6;

/// A line as a person left it.
#[derive(Debug, Deserialize)]
struct Line {
    /// From 1.
    #[serde(skip)]
    number: usize,
    id: Option<Number>,
    text: String,
    major: Option<String>,
    minor: Option<String>,
    alpha: Option<f64>,
    relabel: Option<String>,
    p: Option<f64>,
    probabilities: Option<Vec<(String, f32)>>,
    given: Option<GivenLabel>,
}

/// A file that a person may have edited, for errors.
#[derive(Clone, Copy)]
pub(super) struct Edited<'a> {
    pub path: &'a Path,
    pub file: &'a str,
    /// Names of all classes.
    pub classes: &'a [String],
    /// Present names of classes that the file may call by their former ones.
    pub renamed: &'a BTreeMap<String, String>,
    /// The edits that the rows that it is compared with have.
    pub edits: &'a Edits,
}

impl Edited<'_> {
    fn wrong(&self, line: usize, message: impl Into<String>, hint: impl Into<String>) -> RunError {
        let (path, message, hint) = (self.path.to_owned(), message.into(), hint.into());
        RunError::Edit { path, line, message, hint }
    }

    /// What a person changed in `bytes`, the content of the file, since it held the rows `base`:
    /// changed and removed rows in the order of `base`, then added ones. New ids start at
    /// `next_id`.
    ///
    /// # Errors
    /// A line that is no row, an unknown class, an id given twice, each with its line.
    pub(super) fn diff(
        &self,
        bytes: &[u8],
        base: &[TextRow],
        next_id: usize,
    ) -> Result<Vec<RowEdit>, RunError> {
        let lines = self.lines(bytes)?;
        let owners = self.owners(&lines, base)?;
        let mut by_row: HashMap<usize, &Line> = HashMap::new();
        let mut added = Vec::new();
        for (line, owner) in lines.iter().zip(owners) {
            match owner {
                Some(row) => drop(by_row.insert(row, line)),
                None => added.push(line),
            }
        }
        let (mut changes, mut keys) = (Vec::new(), HashSet::new());
        for (at, (row, key)) in self.edits.keyed(self.file, base.to_vec()).into_iter().enumerate() {
            keys.insert(key.clone());
            let before = row.fields();
            let after = by_row.get(&at).map(|line| self.changed(line, &before)).transpose()?;
            if after.as_ref() != Some(&before) {
                let row = row.augmented.id;
                changes.push(RowEdit { row, key, before: Some(before), after, reason: None });
            }
        }
        changes.extend(self.added(&added, keys, next_id)?);
        Ok(changes)
    }

    fn with_present_names(&self, mut line: Line) -> Line {
        let labels = [&mut line.major, &mut line.minor, &mut line.relabel].into_iter().flatten();
        let given = line.given.iter_mut().map(|given| &mut given.label);
        let scored = line.probabilities.iter_mut().flatten().map(|(name, _)| name);
        rename_classes(labels.chain(given).chain(scored), self.renamed);
        line
    }

    fn lines(&self, bytes: &[u8]) -> Result<Vec<Line>, RunError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_slice(line).map_err(|error| {
                let hint = "each line is one JSON object with `text` and the labels; correct the line, or remove it to remove the row";
                self.wrong(number, verbosity::json_fault(&error), hint)
            })?;
            if line.text.trim().is_empty() {
                return Err(self.wrong(number, "empty text", Problem::EmptyText.hint()));
            }
            let shares = [("p", line.p), ("alpha", line.alpha)];
            for (name, share) in shares.into_iter().filter_map(|(name, p)| Some((name, p?))) {
                if !(0.0..=1.0).contains(&share) {
                    let message = format!("`{name}` is {share}");
                    return Err(self.wrong(number, message, "use a number from 0 to 1"));
                }
            }
            lines.push(Line { number, ..self.with_present_names(line) });
        }
        if lines.is_empty() {
            let hint = "remove the file, and the next stage writes it anew with all recorded edits; to remove rows by hand, leave at least one";
            return Err(self.wrong(1, "the file holds no row", hint));
        }
        Ok(lines)
    }

    /// The row of `base` that each line is of: by its text and its id, by its text alone, or by its
    /// id alone. `None` for a line that was added.
    fn owners(&self, lines: &[Line], base: &[TextRow]) -> Result<Vec<Option<usize>>, RunError> {
        let mut by_id = HashMap::new();
        let mut by_text: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, row) in base.iter().enumerate() {
            by_id.insert(row.augmented.id, at);
            by_text.entry(&row.augmented.text).or_default().push(at);
        }
        let by_id = |line: &Line| by_id.get(&id(line)?).copied();
        let mut free: HashSet<usize> = (0..base.len()).collect();
        let mut owners = vec![None; lines.len()];
        for (owner, line) in owners.iter_mut().zip(lines) {
            let same = by_id(line).filter(|at| base[*at].augmented.text == line.text);
            *owner = same.filter(|at| free.remove(at));
        }
        for (owner, line) in owners.iter_mut().zip(lines).filter(|(owner, _)| owner.is_none()) {
            let same = by_text.get(line.text.as_str()).into_iter().flatten();
            *owner = same.copied().find(|at| free.remove(at));
        }
        for (owner, line) in owners.iter_mut().zip(lines).filter(|(owner, _)| owner.is_none()) {
            *owner = by_id(line).filter(|at| free.remove(at));
        }
        self.check_ids(lines, &owners)?;
        Ok(owners)
    }

    /// A line that was added must not have the id of another one: it may be a copy of it.
    fn check_ids(&self, lines: &[Line], owners: &[Option<usize>]) -> Result<(), RunError> {
        let mut first: HashMap<usize, usize> = HashMap::new();
        for owned in [true, false] {
            for (line, owner) in lines.iter().zip(owners) {
                let Some(id) = id(line).filter(|_| owner.is_some() == owned) else { continue };
                match first.get(&id) {
                    Some(other) if !owned => {
                        let message = format!("the id {id} is that of line {other}, too");
                        let hint = "leave `id` out of a row that you add";
                        return Err(self.wrong(line.number, message, hint));
                    }
                    _ => drop(first.insert(id, line.number)),
                }
            }
        }
        Ok(())
    }

    /// What `line` makes of the row that was `before`. Keys that are absent were not changed.
    fn changed(&self, line: &Line, before: &RowFields) -> Result<RowFields, RunError> {
        let mut after = before.clone();
        after.text.clone_from(&line.text);
        if let Some(major) = &line.major {
            after.major.clone_from(major);
        }
        after.minor = line.minor.clone().or(after.minor);
        after.alpha = moved(before.alpha, line.alpha);
        let (relabel, p) = self.label_of(line);
        after.relabel = relabel.or(after.relabel);
        after.p = moved(before.p.map(f64::from), p).map(|p| p as f32);
        let moved_p = after.p != before.p;
        if let Some(probabilities) = &line.probabilities
            && !are_same(probabilities, &before.probabilities)
        {
            after.probabilities.clone_from(probabilities);
        }
        self.settle(&mut after, before, moved_p);
        for (old, new) in [
            (Some(&before.major), Some(&after.major)),
            (before.minor.as_ref(), after.minor.as_ref()),
            (before.relabel.as_ref(), after.relabel.as_ref()),
        ] {
            if let Some(label) = new.filter(|_| old != new) {
                self.check_class(line.number, label)?;
            }
        }
        for (name, _) in after.probabilities.iter().filter(|_| after != *before) {
            self.check_class(line.number, name)?;
        }
        Ok(after)
    }

    /// A label or a text that a person wrote stands with probability 1.
    fn settle(&self, after: &mut RowFields, before: &RowFields, moved_p: bool) {
        let augmented = self.file == names::AUGMENTED;
        if augmented && after.major != before.major && after.relabel == before.relabel {
            after.relabel = Some(after.major.clone());
        }
        // In augmented.jsonl the teacher is asked about a new text.
        let decided = after.relabel != before.relabel || (!augmented && after.text != before.text);
        if decided && !moved_p {
            after.p = Some(1.0);
        }
        if decided && after.probabilities == before.probabilities {
            after.probabilities.clear();
        }
    }

    /// The label of `line` and its probability. In `augmented.jsonl` that is the one that
    /// relabelling keeps.
    fn label_of(&self, line: &Line) -> (Option<String>, Option<f64>) {
        if self.file != names::AUGMENTED {
            return (line.relabel.clone(), line.p);
        }
        let given = line.given.as_ref();
        let label = given.map(|given| given.label.clone()).or_else(|| line.relabel.clone());
        (label, given.map(|given| f64::from(given.p)).or(line.p))
    }

    /// The rows that `lines` add behind those with the keys `known`.
    fn added(
        &self,
        lines: &[&Line],
        known: HashSet<String>,
        mut next_id: usize,
    ) -> Result<Vec<RowEdit>, RunError> {
        let mut rows = Vec::new();
        for line in lines {
            let (relabel, p) = self.label_of(line);
            let Some(label) = relabel.clone().or_else(|| line.major.clone()) else {
                let message = "the row has no label";
                let hint = "give `major`, the name of a class, in a row that you add";
                return Err(self.wrong(line.number, message, hint));
            };
            let major = line.major.clone().unwrap_or_else(|| label.clone());
            for name in [Some(&label), Some(&major), line.minor.as_ref()].into_iter().flatten() {
                self.check_class(line.number, name)?;
            }
            let mut row = TextRow::default();
            // Without anything to compare with, the ids are all that is known.
            let own = id(line).filter(|_| known.is_empty());
            row.augmented.id = own.unwrap_or(next_id);
            next_id = next_id.max(row.augmented.id) + 1;
            row.augmented.text.clone_from(&line.text);
            let fields = RowFields {
                text: line.text.clone(),
                major,
                minor: line.minor.clone(),
                alpha: line.alpha,
                relabel: Some(label),
                p: Some(p.map_or(1.0, |p| p as f32)),
                probabilities: Vec::new(),
            };
            rows.push((row, fields));
        }
        let keys = keys_behind(known, rows.iter().map(|(row, _)| row));
        let edit = |((row, after), key): ((TextRow, RowFields), String)| RowEdit {
            row: row.augmented.id,
            key,
            before: None,
            after: Some(after),
            reason: None,
        };
        Ok(rows.into_iter().zip(keys).map(edit).collect())
    }

    fn check_class(&self, line: usize, label: &str) -> Result<(), RunError> {
        if self.classes.iter().any(|class| class == label) {
            return Ok(());
        }
        let (label, classes) = (label.to_owned(), self.classes.into());
        let problem = Problem::UnknownLabel { label, classes };
        Err(self.wrong(line, problem.to_string(), problem.hint()))
    }
}

/// The id of a line. Some editors write it as 3.0.
fn id(line: &Line) -> Option<usize> {
    const MOST: u64 = u32::MAX as u64;
    let number = line.id.as_ref()?;
    let float = || number.as_f64().filter(|id| id.fract() == 0.0 && *id >= 0.0).map(|id| id as u64);
    let id = number.as_u64().or_else(float)?;
    usize::try_from(id).ok().filter(|_| id <= MOST)
}

/// `after`, unless it is absent or as good as `before`.
fn moved(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    match (before, after) {
        (Some(before), Some(after)) if (before - after).abs() < SAME => Some(before),
        (before, after) => after.or(before),
    }
}

fn are_same(a: &[(String, f32)], b: &[(String, f32)]) -> bool {
    let same = |((a, p), (b, q)): (&(String, f32), &(String, f32))| {
        a == b && f64::from((p - q).abs()) < SAME
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

#[cfg(test)]
mod tests;
