//! PromptMix without mixing (the paper's ablation): the same prompt, but each text should belong to
//! one class only.

use rand::Rng as _;

use super::{Method, PromptContext, PromptRequest, examples, mixup::draw_shown, requests_by_class};
use crate::prompt::{PromptError, shown_classes};

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
        let PromptContext { task, prompts, settings, .. } = *context;
        requests_by_class(context, "plain", round, missing, |class, id, rng| {
            let shown = draw_shown(context, class, rng);
            let classes = shown_classes(task, &shown, |class| examples(context, class, rng));
            let place = shown.iter().position(|shown| *shown == class).unwrap_or_default();
            let count = settings.texts_per_request;
            Ok(PromptRequest {
                id,
                prompt: prompts.plain(task, &classes, place, count)?,
                shown,
                major: class,
                mix: None,
                count,
                seed: rng.random(),
            })
        })
    }
}
