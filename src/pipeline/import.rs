//! `import`: texts that were written elsewhere become the run's augmented and relabelled rows.

use std::{fs, path::Path};

use serde::Deserialize;

use super::{Event, Pipeline, PipelineError};
use crate::{
    dataset::{AugmentedText, RelabelledText},
    run::{self, RunError, ledger::Entry, names},
    task::Task,
    verbosity,
};

/// A line of the imported file; other keys are ignored.
#[derive(Deserialize)]
struct ImportedText {
    text: String,
    major: String,
    minor: Option<String>,
    alpha: Option<f64>,
    relabel: Option<String>,
    p: Option<f32>,
}

impl Pipeline<'_> {
    /// Reads `file` (JSONL with `text`, `major`, optional `minor`, `alpha`, `relabel`, `p`) and
    /// writes `augmented.jsonl` and, if every row has a `relabel`, `relabelled.jsonl`.
    ///
    /// # Errors
    /// Rows that are not JSON, have no text, or name a class that the task does not have, each with
    /// file and line.
    pub(crate) fn import(&mut self, file: &Path) -> Result<usize, PipelineError> {
        let Self { run, task, watch, .. } = self;
        let Imported { rows, left_out } = read(file, task, run.ledger().entries())?;
        let count = rows.len();
        if left_out > 0 {
            watch(Event::Note(format!(
                "{left_out} rows of the file belong to classes that the task has no more: they are left out"
            )));
        }
        watch(Event::Begin { stage: "import", total: count, resumed: 0 });
        let augmented: Vec<&AugmentedText> = rows.iter().map(|(row, _)| row).collect();
        run.write_rows(names::AUGMENTED, &augmented)?;
        let relabelled: Option<Vec<RelabelledText>> = rows
            .into_iter()
            .map(|(augmented, relabel)| {
                let (relabel, p) = relabel?;
                Some(RelabelledText { augmented, relabel, p, probabilities: Vec::new() })
            })
            .collect();
        let complete = relabelled.is_some();
        if let Some(rows) = relabelled {
            run.write_rows(names::RELABELLED, &rows)?;
        }
        let counts = [("texts", count), ("relabelled", if complete { count } else { 0 })];
        let files = [names::TASK, names::AUGMENTED, names::RELABELLED];
        run.finish_stage("import", &counts, &files[..2 + usize::from(complete)], Vec::new())?;
        let next = if complete { "" } else { "; not all have a `relabel`: run `relabel` next" };
        watch(Event::End { summary: format!("{count} texts imported{next}") });
        Ok(count)
    }
}

/// A text, with the label and the probability of its `relabel`, if it has one.
type ImportedRow = (AugmentedText, Option<(String, f32)>);

/// What a file to import holds.
#[derive(Default)]
struct Imported {
    rows: Vec<ImportedRow>,
    /// Rows of classes that were removed from the task during the run.
    left_out: usize,
}

/// The class of `task` that the file calls `name`: a class that was renamed during the run with
/// these entries has its new name, one that was removed has none.
///
/// # Errors
/// The task has no such class and never had.
fn class_named(task: &Task, entries: &[Entry], name: &str) -> Result<Option<String>, String> {
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
        "the label{} is not a class of the task, which has {}",
        verbosity::quoted(name),
        known.join(", ")
    ))
}

/// The rows of `file`, imported into the run with these entries.
fn read(file: &Path, task: &Task, entries: &[Entry]) -> Result<Imported, RunError> {
    let hint = "give a JSONL file with `text` and `major` in each line";
    let content = fs::read_to_string(file).map_err(|source| RunError::Read {
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
        let augmented = AugmentedText {
            id: imported.rows.len(),
            text: row.text,
            major,
            minor: minor.flatten(),
            alpha: row.alpha,
            ..AugmentedText::default()
        };
        imported.rows.push((augmented, relabel.map(|label| (label, row.p.unwrap_or(1.0)))));
    }
    Ok(imported)
}
