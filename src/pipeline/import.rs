//! `import`: texts that were written elsewhere become the run's augmented and relabelled rows.

use std::{fs, path::Path};

use serde::Deserialize;

use super::{Event, Pipeline, PipelineError};
use crate::{
    dataset::{AugmentedText, RelabelledText},
    run::{RunError, names},
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
        let rows = read(file, task)?;
        let count = rows.len();
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

/// The rows of `file`.
fn read(file: &Path, task: &Task) -> Result<Vec<ImportedRow>, RunError> {
    let hint = "give a JSONL file with `text` and `major` in each line";
    let content = fs::read_to_string(file).map_err(|source| RunError::Read {
        path: file.to_owned(),
        source,
        hint,
    })?;
    let mut rows = Vec::new();
    for (index, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |message: String| RunError::Row { path: file.to_owned(), line: index + 1, message };
        let row: ImportedText =
            serde_json::from_str(line).map_err(|error| wrong(verbosity::json_fault(&error)))?;
        if row.text.trim().is_empty() {
            return Err(wrong("`text` is empty".to_owned()));
        }
        for label in
            [Some(&row.major), row.minor.as_ref(), row.relabel.as_ref()].into_iter().flatten()
        {
            if task.class_index(label).is_none() {
                let known: Vec<&str> =
                    task.classes.iter().map(|class| class.name.as_str()).collect();
                return Err(wrong(format!(
                    "the label{} is not a class of the task, which has {}",
                    verbosity::quoted(label),
                    known.join(", ")
                )));
            }
        }
        let augmented = AugmentedText {
            id: rows.len(),
            text: row.text,
            major: row.major,
            minor: row.minor,
            alpha: row.alpha,
            ..AugmentedText::default()
        };
        rows.push((augmented, row.relabel.map(|label| (label, row.p.unwrap_or(1.0)))));
    }
    Ok(rows)
}
