//! The stage `filter`: reads `relabelled.jsonl`, writes `train.jsonl` and `dropped.jsonl`.

use std::collections::BTreeMap;

use super::{Event, PipelineError, Watch, run_seeds};
use crate::{
    audit::redact::{self, RedactedText},
    config::Settings,
    dataset::{DropReason, DroppedText, RelabelledText},
    filter,
    run::RunFolder,
    task::Task,
};

/// Runs the stage.
///
/// # Errors
/// A missing or damaged `relabelled.jsonl`, a disk that does not take the result.
pub(crate) fn filter(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    watch: Watch<'_>,
) -> Result<Vec<RelabelledText>, PipelineError> {
    let rows: Vec<RelabelledText> =
        run.read_rows("relabelled.jsonl", "run the stage `relabel` first, or `import` texts")?;
    watch(Event::Begin { stage: "filter", total: rows.len(), resumed: 0 });
    let total = rows.len();
    let (mut kept, dropped) =
        filter::apply(rows, &run_seeds(task, settings), &task.test, &settings.filter);
    // Compared as they were written, trained on as they may be seen.
    let marks = redact::rows(settings, &mut kept)?;
    let redacted: Vec<RedactedText<'_>> = kept
        .iter()
        .zip(&marks)
        .map(|(row, marks)| RedactedText { row, redacted: *marks })
        .collect();
    run.write_rows("train.jsonl", &redacted)?;
    run.write_rows("dropped.jsonl", &dropped)?;
    let mut reasons: BTreeMap<DropReason, usize> = BTreeMap::new();
    for row in &dropped {
        *reasons.entry(row.dropped).or_default() += 1;
    }
    let mut counts = vec![("kept", kept.len())];
    counts.extend(reasons.iter().map(|(reason, count)| (reason.describe(), *count)));
    let mut decisions: Vec<(usize, String)> =
        kept.iter().map(|row| (row.augmented.id, "kept".to_owned())).collect();
    let reason = |row: &DroppedText| (row.row.augmented.id, row.dropped.describe().to_owned());
    decisions.extend(dropped.iter().map(reason));
    decisions.sort();
    run.finish_stage("filter", &counts, &["train.jsonl", "dropped.jsonl"], decisions)?;
    let why: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {}", reason.describe())).collect();
    let marks: usize = marks.iter().sum();
    let masked = if marks > 0 { format!("; {marks} values masked") } else { String::new() };
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    watch(Event::End { summary: format!("{} of {total} texts kept{why}{masked}", kept.len()) });
    Ok(kept)
}
