//! The stage `filter`: reads `relabelled.jsonl`, writes `train.jsonl` and `dropped.jsonl`.

use std::collections::{BTreeMap, HashSet};

use super::{Event, Pipeline, PipelineError, edited};
use crate::{
    audit::redact,
    counted::{counted, part},
    dataset::{DropReason, DroppedText, RelabelledText},
    filter,
    run::{RunFolder, names},
    task::Task,
};

/// The ledger's counts of real texts; the others count those that were written.
pub(super) const REAL_KEPT: &str = "real kept";
pub(super) const REAL_DROPPED: &str = "real dropped";

impl Pipeline<'_> {
    /// Runs the stage.
    ///
    /// # Errors
    /// A missing or damaged `relabelled.jsonl`, a failed write.
    pub(crate) fn filter(&mut self) -> Result<Vec<RelabelledText>, PipelineError> {
        let Self { run, task, settings, watch, .. } = self;
        run.check_current(&["relabel", "import"], names::RELABELLED)?;
        let rows: Vec<RelabelledText> =
            run.read_rows(names::RELABELLED, "run `relabel` first, or `import` texts")?;
        let real = real_rows(run, task, &rows)?;
        let total = rows.len() + real.len();
        watch(Event::Begin { stage: "filter", total, resumed: 0 });
        let ids: Vec<usize> = rows.iter().chain(&real).map(|row| row.augmented.id).collect();
        // Each alone: what is trained on without the other must not depend on it.
        let filtered = |rows| filter::apply(rows, &task.seeds, &task.test, &settings.filter);
        let ((mut kept, mut dropped), (real, real_dropped)) = (filtered(rows), filtered(real));
        kept.extend(real);
        dropped.extend(real_dropped);
        let (mut kept, dropped) = edited::train_rows(run, task, settings, kept, dropped)?;
        if let Some(warning) = edited::dropped_warning(&dropped) {
            watch(warning);
        }
        // Compared as they were written, trained on with personal data masked.
        redact::rows(settings, &mut kept)?;
        run.write_rows(names::TRAIN, &kept)?;
        run.write_rows(names::DROPPED, &dropped)?;

        let (mut reasons, mut new_reasons, mut real_dropped) =
            (BTreeMap::<DropReason, usize>::new(), BTreeMap::<DropReason, usize>::new(), 0);
        for row in &dropped {
            *reasons.entry(row.dropped).or_default() += 1;
            match row.row.augmented.is_unlabelled() {
                true => real_dropped += 1,
                false => *new_reasons.entry(row.dropped).or_default() += 1,
            }
        }
        let real = kept.iter().filter(|row| row.augmented.is_unlabelled()).count();
        let mut counts = vec![("kept", kept.len() - real)];
        counts.extend(new_reasons.iter().map(|(reason, count)| (reason.describe(), *count)));
        if real + real_dropped > 0 {
            counts.extend([(REAL_KEPT, real), (REAL_DROPPED, real_dropped)]);
        }
        let mut decisions: Vec<(usize, String)> =
            kept.iter().map(|row| (row.augmented.id, "kept".to_owned())).collect();
        let reason = |row: &DroppedText| (row.row.augmented.id, row.dropped.describe().to_owned());
        decisions.extend(dropped.iter().map(reason));
        let decided: HashSet<usize> = decisions.iter().map(|(id, _)| *id).collect();
        let removed = ids.into_iter().filter(|id| !decided.contains(id));
        decisions.extend(removed.map(|id| (id, "removed by hand".to_owned())));
        decisions.sort();
        run.finish_stage("filter", &counts, &[names::TRAIN, names::DROPPED], decisions)?;

        let why: Vec<String> = reasons
            .iter()
            .map(|(reason, count)| format!("{count} {}", reason.describe()))
            .collect();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
        let masks: usize = kept.iter().map(|row| row.redacted).sum();
        let masked =
            if masks > 0 { format!("; {} masked", counted(masks, "value")) } else { String::new() };
        watch(Event::End {
            summary: format!("{} kept{why}{masked}", part(kept.len(), total, "text")),
        });
        Ok(kept.into_iter().map(RelabelledText::from).collect())
    }
}

/// The rows of `labelled.jsonl`, with ids that none of `others` has; none without unlabelled texts.
fn real_rows(
    run: &RunFolder,
    task: &Task,
    others: &[RelabelledText],
) -> Result<Vec<RelabelledText>, PipelineError> {
    let is_written = run.path().join(names::LABELLED).exists();
    if task.unlabelled.is_none() || (run.is_imported() && !is_written) {
        return Ok(Vec::new());
    }
    run.check_current(&["label"], names::LABELLED)?;
    let mut rows: Vec<RelabelledText> = run.read_rows(names::LABELLED, "run `label` first")?;
    // They follow those of the texts that there were when they were labelled.
    let next = others.iter().map(|row| row.augmented.id + 1).max().unwrap_or(0);
    let first = rows.iter().map(|row| row.augmented.id).min().unwrap_or(next);
    rows.iter_mut().for_each(|row| row.augmented.id += next.saturating_sub(first));
    Ok(rows)
}
