//! The stage `filter`: reads `relabelled.jsonl`, writes `train.jsonl` and `dropped.jsonl`.

use std::collections::{BTreeMap, HashSet};

use super::{Event, Pipeline, PipelineError, edited};
use crate::{
    audit::redact,
    counted::{counted, part},
    dataset::{DropReason, DroppedText, RelabelledText},
    filter,
    run::names,
};

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
        watch(Event::Begin { stage: "filter", total: rows.len(), resumed: 0 });
        let ids: Vec<usize> = rows.iter().map(|row| row.augmented.id).collect();
        let total = ids.len();
        let (kept, dropped) = filter::apply(rows, &task.seeds, &task.test, &settings.filter);
        let (mut kept, dropped) = edited::train_rows(run, task, settings, kept, dropped)?;
        if let Some(warning) = edited::dropped_warning(&dropped) {
            watch(warning);
        }
        // Compared as they were written, trained on with personal data masked.
        redact::rows(settings, &mut kept)?;
        run.write_rows(names::TRAIN, &kept)?;
        run.write_rows(names::DROPPED, &dropped)?;

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
