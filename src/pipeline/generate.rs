//! The stage `generate`: asks the teacher for new texts until every class has as many as wanted, or
//! the tries are used up. Writes `augmented.jsonl`.
//!
//! [`generate_texts`] serves the method and the baselines alike.

use std::collections::HashSet;

use super::{
    Context, Event, Pipeline, PipelineError, Watch, paper,
    texts::{Counts, Generation, keep_wanted, parsed_replies},
};
use crate::{
    augment::{Method, mixup::Mixup},
    config::Partners,
    dataset::{AugmentedText, canonical},
    embed::Embedder,
    relabel::nearest_classes,
    run::{RunFolder, names},
    teacher::Teacher,
};

impl Pipeline<'_> {
    /// Runs the stage. It needs the embedder only if `augment.partners` is `confusable`.
    ///
    /// # Errors
    /// Whatever stops the teacher or the disk; finished replies are in the ledger by then.
    pub(crate) fn generate(
        &mut self,
        teacher: &mut dyn Teacher,
    ) -> Result<Vec<AugmentedText>, PipelineError> {
        let seeds = self.seeds();
        let (run, context, embedder, watch) = self.split(&seeds);
        let nearest = nearest(&context, embedder)?;
        let Generation { texts, counts, .. } =
            generate_texts(run, &context, &Mixup, &nearest, teacher, &mut *watch)?;
        run.write_rows(names::AUGMENTED, &texts)?;
        let files = [names::TASK, names::AUGMENTED];
        run.finish_stage("generate", &counts.entries(), &files, Vec::new())?;
        let summary = format!(
            "{} new texts from {} replies, {} of them refused",
            texts.len(),
            counts.calls,
            counts.refused
        );
        watch(Event::End { summary });
        Ok(texts)
    }
}

/// The confusable classes of each class, if the settings ask for such partners.
///
/// # Errors
/// An embedder that is missing or fails.
pub(crate) fn nearest(
    context: &Context<'_>,
    embedder: Option<&dyn Embedder>,
) -> Result<Vec<Vec<usize>>, PipelineError> {
    match (context.settings.augment.partners, embedder) {
        (Partners::Even, _) => Ok(Vec::new()),
        (Partners::Confusable, Some(embedder)) => {
            Ok(nearest_classes(context.task, context.seeds, embedder)?)
        }
        (Partners::Confusable, None) => Err(PipelineError::NoEmbedder),
    }
}

/// Lets `teacher` write texts by `method` until there are `augment.per_class` of each class (as
/// many in all, if the teacher chooses the classes), or the tries are used up.
///
/// # Errors
/// As [`Pipeline::generate`].
pub(crate) fn generate_texts(
    run: &mut RunFolder,
    context: &Context<'_>,
    method: &dyn Method,
    nearest: &[Vec<usize>],
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Generation, PipelineError> {
    let (task, augment) = (context.task, &context.settings.augment);
    if method.supports_unique_per_text() && augment.unique_per_text > 0 {
        return paper::generate_texts(run, context, nearest, teacher, watch);
    }
    let prompts = context.for_prompts(nearest);
    let classes = task.classes.len();
    // A pile for each class, or one for all.
    let (piles, wanted) = match method.teacher_chooses_class() {
        true => (1, augment.per_class * classes),
        false => (classes, augment.per_class),
    };
    let teacher_sha256 = teacher.identity().sha256.clone();
    let mut texts: Vec<Vec<AugmentedText>> = vec![Vec::new(); piles];
    let mut seen = HashSet::new();
    let (mut counts, mut keys) = (Counts::default(), Vec::new());
    for round in 0..augment.tries {
        let missing: Vec<usize> =
            texts.iter().map(|texts| wanted.saturating_sub(texts.len())).collect();
        let requests = method.plan_round(&prompts, round, &missing)?;
        if requests.is_empty() {
            break;
        }
        let replies = parsed_replies(run, &prompts, method, &requests, teacher, &mut *watch)?;
        for (request, (key, reply)) in requests.iter().zip(replies) {
            keys.push(key);
            for (class, row) in counts.rows(task, request, reply, &teacher_sha256) {
                if seen.insert(canonical(&row.text)) {
                    texts[if piles == 1 { 0 } else { class }].push(row);
                }
            }
        }
    }
    counts.unique = texts.iter().map(Vec::len).sum();
    let (texts, counts) = keep_wanted(task, texts, wanted, augment.tries, counts, watch);
    Ok(Generation { texts, counts, keys })
}
