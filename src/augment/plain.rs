//! PromptMix without mixing (the paper's ablation): the same prompt, but each text is to belong to one
//! class alone.

use rand::Rng as _;

use super::{Ask, Method, Setting, class_by_class, examples, mixup::draw_shown};
use crate::prompt::{PromptError, shown_classes};

/// Asks for texts of one class.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Method for Plain {
    fn plan_round(
        &self,
        setting: &Setting<'_>,
        round: usize,
        missing: &[usize],
    ) -> Result<Vec<Ask>, PromptError> {
        let Setting { task, prompts, settings, .. } = *setting;
        class_by_class(setting, "plain", round, missing, |class, id, rng| {
            let shown = draw_shown(setting, class, rng);
            let classes = shown_classes(task, &shown, |class| examples(setting, class, rng));
            let place = shown.iter().position(|shown| *shown == class).unwrap_or_default();
            let count = settings.texts_per_request;
            Ok(Ask {
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
