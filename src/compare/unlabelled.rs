//! The row `U`, and the real texts of `A2+U`: picked and labelled for each few-shot subset.

use super::{Compare, stream};
use crate::{
    dataset::{RelabelledText, Variant},
    embed::Embedder,
    filter,
    pipeline::{
        Context, Event, PipelineError, Watch,
        label::{LabelledReal, label_texts},
    },
    teacher::Teacher,
};

/// Real texts with a teacher's labels, after the filter.
#[derive(Default)]
pub(super) struct RealTexts {
    pub kept: Vec<RelabelledText>,
    /// Keys of the calls that labelled them.
    pub keys: Vec<String>,
}

impl Compare<'_> {
    /// Lets `teacher` label unlabelled texts for `k` seeds per class, if a row needs them.
    ///
    /// # Errors
    /// Whatever stops the teacher, the embedder or the disk.
    pub(super) fn gather_unlabelled(
        &mut self,
        (k, place): (usize, usize),
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        watch: Watch<'_>,
    ) -> Result<(), PipelineError> {
        let rows = [Variant::U, Variant::A2U];
        let rows: Vec<Variant> = rows.into_iter().filter(|row| self.runs(*row, k)).collect();
        if rows.is_empty() || !self.can_fill(&rows, k, place, teacher) {
            return Ok(());
        }
        let mut kept = 0;
        for seed in 0..self.grid.seeds {
            let found = self.label_real((k, seed), teacher, embedder, &mut *watch);
            let Some(texts) = self.skip_if_too_long(found, &rows, k, place)? else { return Ok(()) };
            kept += texts.kept.len();
            if rows.contains(&Variant::U) {
                let examples =
                    self.examples(&self.settings.student).relabelled(&texts.kept, false)?;
                let asked = Some((place, texts.keys.clone()));
                self.push(Variant::U, (k, seed), examples, asked);
            }
            self.real_texts.insert((k, seed, place), texts);
        }
        watch(Event::End { summary: format!("U, k = {k}: {kept} kept") });
        Ok(())
    }

    fn label_real(
        &mut self,
        (k, seed): (usize, u64),
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        watch: Watch<'_>,
    ) -> Result<RealTexts, PipelineError> {
        let (task, settings) = (self.task, self.settings);
        let subset = &self.subsets[&(k, seed)];
        let seed = stream(settings, seed);
        let context = Context { task, seeds: subset, settings, prompts: self.prompts, seed };
        let candidates = &mut self.candidates;
        let LabelledReal { rows, keys, .. } =
            label_texts(self.run, &context, subset, teacher, embedder, candidates, watch)?;
        let (kept, _) = filter::apply(rows, subset, &task.test, &settings.filter);
        Ok(RealTexts { kept, keys })
    }
}
