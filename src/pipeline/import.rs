//! `import`: takes texts that were written elsewhere as the run's augmented and relabelled rows.

use serde::Deserialize;

use super::{Event, PipelineError, Watch};
use crate::{
    dataset::{AugmentedText, RelabelledText},
    run::{RunError, RunFolder},
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

/// Reads `file` (JSONL with `text`, `major`, optional `minor`, `alpha`, `relabel`, `p`) and writes
/// `augmented.jsonl`, and, if every row says what it was relabelled to, `relabelled.jsonl`.
///
/// # Errors
/// Rows that are no JSON, have no text, or name a class the task does not know: file and line are named.
pub(crate) fn import(
    run: &mut RunFolder,
    task: &Task,
    file: &std::path::Path,
    watch: Watch<'_>,
) -> Result<usize, PipelineError> {
    let hint = "give a JSONL file with `text` and `major` in each line";
    let content = std::fs::read_to_string(file).map_err(|source| RunError::Read {
        path: file.to_owned(),
        source,
        hint,
    })?;
    let mut rows: Vec<(AugmentedText, Option<(String, f32)>)> = Vec::new();
    for (index, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |message: String| RunError::Row { path: file.to_owned(), line: index + 1, message };
        let row: ImportedText =
            serde_json::from_str(line).map_err(|error| wrong(verbosity::json_fault(&error)))?;
        if row.text.trim().is_empty() {
            return Err(wrong("`text` is empty".to_owned()).into());
        }
        for label in
            [Some(&row.major), row.minor.as_ref(), row.relabel.as_ref()].into_iter().flatten()
        {
            if !task.classes.iter().any(|class| class.name == *label) {
                let known: Vec<&str> =
                    task.classes.iter().map(|class| class.name.as_str()).collect();
                return Err(wrong(format!(
                    "the label{} is no class of the task; it has {}",
                    verbosity::quoted(label),
                    known.join(", ")
                ))
                .into());
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
    watch(Event::Begin { stage: "import", total: rows.len(), resumed: 0 });
    let augmented: Vec<&AugmentedText> = rows.iter().map(|(row, _)| row).collect();
    run.write_rows("augmented.jsonl", &augmented)?;
    let count = rows.len();
    let relabelled: Option<Vec<RelabelledText>> = rows
        .into_iter()
        .map(|(augmented, relabel)| {
            let (relabel, p) = relabel?;
            Some(RelabelledText { augmented, relabel, p, probabilities: Vec::new() })
        })
        .collect();
    let complete = relabelled.is_some();
    if let Some(rows) = relabelled {
        run.write_rows("relabelled.jsonl", &rows)?;
    }
    let counts = [("texts", count), ("relabelled", if complete { count } else { 0 })];
    let files = ["task.json", "augmented.jsonl", "relabelled.jsonl"];
    run.finish_stage("import", &counts, &files[..2 + usize::from(complete)], Vec::new())?;
    let next = if complete { "" } else { "; not all are relabelled: run the stage `relabel` next" };
    watch(Event::End { summary: format!("{count} texts taken over{next}") });
    Ok(count)
}
