//! Unlabelled texts that requests show as examples of style, never as examples of a class.

use super::{Context, PipelineError};
use crate::{
    prompt::one_line,
    selection::{Sample, Sieve},
};

/// Texts that requests draw from; a few hundred requests show a few each.
const SAMPLE: usize = 1000;

/// A random sample of the task's unlabelled texts, each on one line; empty unless
/// `augment.style_examples` asks for them. Copies of labelled texts and of the test set are not
/// among them, nor texts longer than `augment.longest`.
///
/// # Errors
/// The settings ask for texts and the task has no file of them, or it cannot be read.
pub(super) fn sample(context: &Context<'_>) -> Result<Vec<String>, PipelineError> {
    let Context { task, seed, .. } = *context;
    // The length of texts does not depend on the teacher's context.
    let settings = context.with_lengths(0).augment;
    if settings.style_examples == 0 {
        return Ok(Vec::new());
    }
    let mut texts = task.open_unlabelled()?.ok_or(PipelineError::NoUnlabelled)?;
    let (mut sieve, mut place) = (Sieve::new(&task.seeds, &task.test), 0);
    let mut sample = Sample::new(SAMPLE, seed, "style");
    while let Some(text) = texts.next_text()? {
        if text.text.chars().count() <= settings.longest() && sieve.passes(&text.text) {
            sample.offer(place, || one_line(&text.text));
        }
        place += 1;
    }
    Ok(sample.finish().into_iter().map(|(_, text)| text).collect())
}
