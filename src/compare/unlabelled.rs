//! The row `U`, and the real texts of `A2+U`: picked and labelled for each few-shot subset, after
//! the method's texts, which tell something about their labels.

use super::{Compare, stream, training_set::TrainingSet};
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
        let rows = self.unlabelled_rows(k);
        if rows.is_empty() || !self.can_fill(&rows, k, place, teacher) {
            return Ok(());
        }
        let mut kept = 0;
        for seed in 0..self.grid.seeds {
            let found = self.label_real((k, seed, place), teacher, embedder, &mut *watch);
            let Some((texts, keys)) = self.skip_if_too_long(found, &rows, k, place)? else {
                return Ok(());
            };
            kept += texts.len();
            let examples = self.examples(&self.settings.student).relabelled(&texts, false)?;
            if rows.contains(&Variant::U) {
                self.push(Variant::U, (k, seed), examples.clone(), Some((place, keys.clone())));
            }
            // The row has the written texts already.
            let is_mixed = |set: &&mut TrainingSet| {
                (set.row, set.k, set.seed, set.teacher) == (Variant::A2U, k, seed, Some(place))
            };
            if let Some(mixed) = self.training_sets.iter_mut().find(is_mixed) {
                mixed.examples.extend(examples);
                mixed.keys.extend(keys);
            }
        }
        watch(Event::End { summary: format!("U, k = {k}: {kept} kept") });
        Ok(())
    }

    /// The rows with real texts that are compared for `k` seeds per class.
    pub(super) fn unlabelled_rows(&self, k: usize) -> Vec<Variant> {
        [Variant::U, Variant::A2U].into_iter().filter(|row| self.runs(*row, k)).collect()
    }

    /// Real texts with the teacher's labels, after the filter, and the keys of the calls that
    /// labelled them.
    fn label_real(
        &mut self,
        (k, seed, place): (usize, u64, usize),
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        watch: Watch<'_>,
    ) -> Result<(Vec<RelabelledText>, Vec<String>), PipelineError> {
        let (task, settings) = (self.task, self.settings);
        let subset = &self.subsets[&(k, seed)];
        let written = self.written.get(&(k, seed, place)).map_or(&[][..], Vec::as_slice);
        let seed = stream(settings, seed);
        let context = Context { task, seeds: subset, settings, prompts: self.prompts, seed };
        let (known, candidates) = ((&subset[..], written), &mut self.candidates);
        let LabelledReal { rows, keys, .. } =
            label_texts(self.run, &context, known, teacher, embedder, candidates, watch)?;
        let (kept, _) = filter::apply(rows, subset, &task.test, &settings.filter);
        Ok((kept, keys))
    }
}
