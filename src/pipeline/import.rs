//! `import`: texts that were written elsewhere become the run's augmented and relabelled rows.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{Event, Pipeline, PipelineError, Watch, edited};
use crate::{
    counted::{agree, counted},
    dataset::{AugmentedText, GivenLabel, RelabelledText},
    run::{
        self, PendingChange, RunError, TaskChanged, ledger::Entry, names, present_task, read_ledger,
    },
    task::{self, Columns, Reader, TableRow, Task, TaskError},
    verbosity,
};

/// The texts of a file to import.
#[derive(Default)]
pub(crate) struct ImportedTexts {
    rows: Vec<AugmentedText>,
    /// Rows of classes that were removed from the task during the run.
    left_out: usize,
}

impl ImportedTexts {
    /// Reads `file` for a run of `task` in the folder `out`, which may be there or not: `text` and
    /// `major`, optional `minor`, `alpha`, `relabel`, `p`, in any format that a task may have.
    /// Other columns are ignored. Writes nothing.
    ///
    /// # Errors
    /// Rows that cannot be read, have no text, name a class that the task does not have, or have a
    /// share that is none, each with file and line; a damaged ledger in `out`.
    pub(crate) fn read(
        file: &Path,
        task: &Task,
        out: &Path,
        watch: Watch<'_>,
    ) -> Result<Self, PipelineError> {
        let entries = entries(out, task)?;
        let name = file.display().to_string();
        let origin = task::open_file(&name, file).map_err(TaskError::from)?;
        let columns = Columns::texts(&[]);
        let mut reader = Reader::open(&name, origin, &columns, None).map_err(TaskError::from)?;
        let mut imported = Self::default();
        while let Some(mut row) = reader.next_row().map_err(TaskError::from)? {
            if !row.faults.is_empty() {
                return Err(TaskError::from(std::mem::take(&mut row.faults)).into());
            }
            let line = row.place.0;
            let wrong = |message| RunError::Import { path: file.to_owned(), line, message };
            imported.add(row, task, &entries).map_err(wrong)?;
        }
        if let Some(note) = reader.note() {
            watch(Event::Note(note));
        }
        Ok(imported)
    }

    /// Adds a `row` of the file, or says what is wrong with it.
    fn add(&mut self, row: TableRow, task: &Task, entries: &[Entry]) -> Result<(), String> {
        let class = |key| {
            let name = name_in(&row, key)?;
            name.map(|name| class_named(task, entries, &name)).transpose()
        };
        let share = |key| share_in(&row, key);
        let (major, minor, relabel) = (class("major")?, class("minor")?, class("relabel")?);
        let (alpha, p) = (share("alpha")?, share("p")?);
        let major = major.ok_or("`major`, the name of its class, is missing")?;
        let (Some(major), false) = (major, minor == Some(None)) else {
            self.left_out += 1;
            return Ok(());
        };
        let p = p.unwrap_or(1.0) as f32;
        self.rows.push(AugmentedText {
            id: self.rows.len(),
            text: row.text.map(|text| text.value).unwrap_or_default(),
            major,
            minor: minor.flatten(),
            alpha,
            given: relabel.flatten().map(|label| GivenLabel { label, p }),
            ..AugmentedText::default()
        });
        Ok(())
    }
}

/// The value of the column `key`; nothing if it is empty or not there.
fn value<'a>(row: &'a TableRow, key: &str) -> Option<&'a Value> {
    let exact = row.fields.get(key);
    let alike = || row.fields.iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(key));
    let found = exact.or_else(|| alike().map(|(_, value)| value))?;
    let is_empty = found.is_null() || found.as_str().is_some_and(|text| text.trim().is_empty());
    (!is_empty).then_some(found)
}

/// The name of a class in the column `key`; a number or a truth value is one, too.
fn name_in(row: &TableRow, key: &str) -> Result<Option<String>, String> {
    match value(row, key) {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(name @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(name.to_string())),
        Some(_) => Err(format!("`{key}` is no name of a class")),
    }
}

/// The share in the column `key`, from 0 to 1.
fn share_in(row: &TableRow, key: &str) -> Result<Option<f64>, String> {
    let Some(found) = value(row, key) else { return Ok(None) };
    let number = match found {
        Value::String(text) => text.trim().parse().ok(),
        found => found.as_f64(),
    };
    match number {
        Some(share) if (0.0..=1.0).contains(&share) => Ok(Some(share)),
        Some(number) => Err(format!("`{key}` is {number}; expected a number from 0 to 1")),
        None => Err(format!("`{key}` is not a number; expected one from 0 to 1")),
    }
}

/// The entries of the run in the folder `out`, if there is one, as if the change from its task to
/// `task` was taken up.
fn entries(out: &Path, task: &Task) -> Result<Vec<Entry>, RunError> {
    if !out.join(names::TASK).exists() {
        return Ok(Vec::new());
    }
    let mut entries = read_ledger(out, run::INCOMPLETE)?;
    let before = present_task(out, &entries)?;
    if let Some(PendingChange { before, change }) = PendingChange::between(out, before, task)? {
        entries.push(Entry::TaskChanged(Box::new(TaskChanged {
            before: before.sha256,
            after: task.sha256.clone(),
            change,
            texts: None,
            files: BTreeMap::new(),
        })));
    }
    Ok(entries)
}

impl Pipeline<'_> {
    /// Writes `texts` to `augmented.jsonl` and, if every one has a `relabel`, to
    /// `relabelled.jsonl`. If some have, `relabel` keeps these labels and asks for the others.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn import(&mut self, texts: ImportedTexts) -> Result<usize, PipelineError> {
        let Self { run, task, watch, .. } = self;
        let ImportedTexts { rows, left_out } = texts;
        let count = rows.len();
        if left_out > 0 {
            watch(Event::Note(format!(
                "{} of classes removed from the task {} skipped",
                counted(left_out, "row"),
                agree(left_out, "is", "are")
            )));
        }
        watch(Event::Begin { stage: "import", total: count, resumed: 0 });
        let augmented = edited::rows(run, names::AUGMENTED, rows, task);
        run.write_rows(names::AUGMENTED, &augmented)?;
        let given = augmented.iter().filter(|row| row.given.is_some()).count();
        let complete = given == augmented.len();
        if complete {
            let rows: Vec<RelabelledText> =
                augmented.into_iter().filter_map(RelabelledText::of_given).collect();
            run.write_rows(names::RELABELLED, &edited::rows(run, names::RELABELLED, rows, task))?;
        }
        let counts = [("texts", count), ("relabelled", given)];
        let files = [names::TASK, names::AUGMENTED, names::RELABELLED];
        run.finish_stage("import", &counts, &files[..2 + usize::from(complete)], Vec::new())?;
        let next = match (complete, given) {
            (true, _) => String::new(),
            (false, 0) => "; none has a `relabel`: run `relabel` next".to_owned(),
            (false, _) => format!(
                "; {given} {} a `relabel`, which is kept: run `relabel` next for the others",
                agree(given, "has", "have")
            ),
        };
        watch(Event::End { summary: format!("{} imported{next}", counted(count, "text")) });
        Ok(count)
    }
}

/// The class of `task` that the file calls `name`: a class that was renamed during the run with
/// these entries has its new name, one that was removed has none.
///
/// # Errors
/// The task has no such class and never had.
pub(super) fn class_named(
    task: &Task,
    entries: &[Entry],
    name: &str,
) -> Result<Option<String>, String> {
    // A class that is called so now comes before one that was called so once.
    if task.class_index(name).is_some() {
        return Ok(Some(name.to_owned()));
    }
    let now = run::present_name(entries, 0, name);
    if task.class_index(&now).is_some() {
        return Ok(Some(now.into_owned()));
    }
    let was_removed = |entry: &Entry| match entry {
        Entry::TaskChanged(changed) => changed.change.removed.iter().any(|gone| *gone == now),
        _ => false,
    };
    if entries.iter().any(was_removed) {
        return Ok(None);
    }
    let known: Vec<&str> = task.classes.iter().map(|class| class.name.as_str()).collect();
    Err(format!(
        "the label{} is not a class of the task (classes: {})",
        verbosity::quoted(name),
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        task::TaskChange,
    };

    #[test]
    fn a_class_that_is_called_so_now_comes_before_one_that_was() {
        let task = |names: &[&str]| Sample::new(names, vec![seed("x", 0), seed("y", 1)]).task;
        let change = TaskChange {
            renamed: [("billing".to_owned(), "invoices".to_owned())].into(),
            removed: vec!["spam".to_owned()],
            ..TaskChange::default()
        };
        let entries = [Entry::TaskChanged(Box::new(TaskChanged {
            before: String::new(),
            after: String::new(),
            change,
            texts: None,
            files: BTreeMap::new(),
        }))];
        let of = |names: &[&str], name| class_named(&task(names), &entries, name);
        assert_eq!(of(&["invoices", "x"], "billing"), Ok(Some("invoices".to_owned())));
        assert_eq!(of(&["invoices", "billing"], "billing"), Ok(Some("billing".to_owned())));
        assert_eq!(of(&["invoices", "x"], "spam"), Ok(None));
        assert!(of(&["invoices", "x"], "other").unwrap_err().contains("invoices, x"));
    }
}
