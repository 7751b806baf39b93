//! `import`: texts that were written elsewhere become the run's augmented and relabelled rows.

use std::path::Path;

use serde::Deserialize;

use super::{Event, Pipeline, PipelineError, edited};
use crate::{
    dataset::{AugmentedText, GivenLabel, RelabelledText},
    fs::read_regular,
    run::{self, RunError, ledger::Entry, names},
    task::Task,
    verbosity,
};

/// The largest file that is imported, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A line of the imported file; other keys are ignored.
#[derive(Deserialize)]
struct ImportedText {
    text: String,
    major: String,
    minor: Option<String>,
    alpha: Option<f64>,
    relabel: Option<String>,
    p: Option<f64>,
}

impl Pipeline<'_> {
    /// Reads `file` (JSONL with `text`, `major`, optional `minor`, `alpha`, `relabel`, `p`) and
    /// writes `augmented.jsonl` and, if every row has a `relabel`, `relabelled.jsonl`. If some
    /// have, `relabel` keeps these labels and asks for the others.
    ///
    /// # Errors
    /// Rows that are not JSON, have no text, name a class that the task does not have, or have a
    /// share that is none, each with file and line.
    pub(crate) fn import(&mut self, file: &Path) -> Result<usize, PipelineError> {
        let Self { run, task, watch, .. } = self;
        let Imported { rows, left_out } = read(file, task, run.ledger().entries())?;
        let count = rows.len();
        if left_out > 0 {
            watch(Event::Note(format!(
                "{left_out} rows of the file belong to classes removed from the task and are skipped"
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
                "; {given} have a `relabel`, which is kept: run `relabel` next for the others"
            ),
        };
        watch(Event::End { summary: format!("{count} texts imported{next}") });
        Ok(count)
    }
}

/// What a file to import holds.
#[derive(Default)]
struct Imported {
    rows: Vec<AugmentedText>,
    /// Rows of classes that were removed from the task during the run.
    left_out: usize,
}

/// The class of `task` that the file calls `name`: a class that was renamed during the run with
/// these entries has its new name, one that was removed has none.
///
/// # Errors
/// The task has no such class and never had.
fn class_named(task: &Task, entries: &[Entry], name: &str) -> Result<Option<String>, String> {
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

/// The rows of `file`, imported into the run with these entries.
fn read(file: &Path, task: &Task, entries: &[Entry]) -> Result<Imported, RunError> {
    let hint = "give a JSONL file with `text` and `major` in each line";
    let content = read_regular(file, MAX_FILE_BYTES).map_err(|source| RunError::Read {
        path: file.to_owned(),
        source,
        hint,
    })?;
    let mut imported = Imported::default();
    for (index, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |message: String| RunError::Row { path: file.to_owned(), line: index + 1, message };
        let row: ImportedText =
            serde_json::from_str(line).map_err(|error| wrong(verbosity::json_fault(&error)))?;
        if row.text.trim().is_empty() {
            return Err(wrong("`text` is empty".to_owned()));
        }
        let class = |name: &str| class_named(task, entries, name).map_err(wrong);
        let (major, minor) = (class(&row.major)?, row.minor.as_deref().map(class).transpose()?);
        let (Some(major), false) = (major, minor == Some(None)) else {
            imported.left_out += 1;
            continue;
        };
        let relabel = row.relabel.as_deref().map(class).transpose()?.flatten();
        let shares = [("p", row.p), ("alpha", row.alpha)];
        for (name, share) in shares.into_iter().filter_map(|(name, share)| Some((name, share?))) {
            if !(0.0..=1.0).contains(&share) {
                return Err(wrong(format!("`{name}` is {share}; expected a number from 0 to 1")));
            }
        }
        let p = row.p.unwrap_or(1.0) as f32;
        imported.rows.push(AugmentedText {
            id: imported.rows.len(),
            text: row.text,
            major,
            minor: minor.flatten(),
            alpha: row.alpha,
            given: relabel.map(|label| GivenLabel { label, p }),
            ..AugmentedText::default()
        });
    }
    Ok(imported)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        run::TaskChanged,
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
