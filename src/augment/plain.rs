//! PromptMix without mixing (the paper's ablation): the same prompt, but each text should belong to
//! one class only.

use rand::Rng as _;

use super::{
    Method, PromptContext, PromptRequest, examples, near_miss, requests_by_class,
    shown::draw_shown, wanted,
};
use crate::{
    prompt::{PromptError, shown_classes},
    rng::Rng,
};

/// Asks for texts of one class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

impl Method for Plain {
    fn plan_round(
        &self,
        context: &PromptContext<'_>,
        round: usize,
        missing: &[usize],
    ) -> Result<Vec<PromptRequest>, PromptError> {
        requests_by_class(context, "plain", round, missing, |(class, number), id, rng| {
            request(context, class, (round, number), id, rng)
        })
    }
}

/// The request `id` for texts of `class`, number `number` of the `round`.
pub(super) fn request(
    context: &PromptContext<'_>,
    class: usize,
    (round, number): (usize, usize),
    id: String,
    rng: &mut Rng,
) -> Result<PromptRequest, PromptError> {
    let PromptContext { task, prompts, settings, .. } = *context;
    if task.none_of_these() == Some(class) {
        return near_miss::request(context, class, (round, number), id, rng);
    }
    let shown = draw_shown(context, class, rng);
    let classes = shown_classes(task, &shown, |class| examples(context, class, rng));
    let place = shown.iter().position(|shown| *shown == class).unwrap_or_default();
    let wanted = wanted(context, rng);
    Ok(PromptRequest {
        id,
        prompt: prompts.plain(settings.prompts, task, &classes, place, &wanted)?,
        shown,
        major: class,
        mix: None,
        near: None,
        count: wanted.count,
        seed: rng.random(),
    })
}
