//! PromptMix, step 1: texts that belong α % to one class and the rest to another
//! (Sahu et al., EMNLP 2023, section 3.1).

use rand::{Rng as _, seq::SliceRandom};
use rand_distr::{Beta, Distribution};

use super::{Ask, Method, Setting, class_by_class, examples};
use crate::{
    prompt::{PromptError, shown_classes},
    rng::Rng,
};

/// The method.
#[derive(Debug, Clone, Copy)]
pub struct Mixup;

impl Method for Mixup {
    fn plan_round(
        &self,
        setting: &Setting<'_>,
        round: usize,
        missing: &[usize],
    ) -> Result<Vec<Ask>, PromptError> {
        let Setting { task, prompts, settings, .. } = *setting;
        class_by_class(setting, "augment", round, missing, |class, id, rng| {
            let shown = draw_shown(task.classes.len(), class, settings.classes_shown, rng);
            let others: Vec<usize> =
                shown.iter().copied().filter(|other| *other != class).collect();
            let minor = others[rng.random_range(0..others.len())];
            let percent = draw_percent(settings.beta, rng);
            let classes = shown_classes(task, &shown, |class| examples(setting, class, rng));
            let place = |class| shown.iter().position(|shown| *shown == class).unwrap_or_default();
            let pair = (place(class), place(minor));
            let count = settings.texts_per_request;
            Ok(Ask {
                id,
                prompt: prompts.mixup(task, &classes, pair, percent, count)?,
                shown,
                major: class,
                mix: Some((minor, percent)),
                count,
                seed: rng.random(),
            })
        })
    }
}

/// The class itself and `limit - 1` others, in random order.
pub(super) fn draw_shown(classes: usize, class: usize, limit: usize, rng: &mut Rng) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..classes).filter(|other| *other != class).collect();
    shown.shuffle(rng);
    shown.truncate(limit - 1);
    shown.push(class);
    shown.shuffle(rng);
    shown
}

/// α = 0.5 + 0.5·Beta(a, b) as a percentage, rounded to 5: both shares are whole numbers.
fn draw_percent((a, b): (f64, f64), rng: &mut Rng) -> u8 {
    let beta = Beta::new(a, b).expect("the settings were validated: both parameters are positive");
    let alpha = 0.5 + 0.5 * beta.sample(rng);
    (alpha * 20.0).round() as u8 * 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_follows_the_paper() {
        let draws: Vec<f64> = (0..20_000)
            .map(|item| f64::from(draw_percent((5.0, 2.0), &mut Rng::for_item(1, "test", item))))
            .collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 85.7).abs() < 0.3, "mean {mean}");
        assert!(draws.iter().all(|p| *p >= 50.0 && *p <= 100.0 && p % 5.0 == 0.0));
        let count = |percent: f64| draws.iter().filter(|draw| **draw == percent).count();
        assert!(count(90.0) > count(80.0) && count(90.0) > count(95.0));
    }

    #[test]
    fn the_class_itself_is_always_shown_once() {
        for item in 0..200 {
            let shown = draw_shown(9, 3, 4, &mut Rng::for_item(1, "test", item));
            assert_eq!(shown.len(), 4);
            assert_eq!(shown.iter().filter(|class| **class == 3).count(), 1);
            let mut unique = shown.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), 4);
        }
        assert_eq!(draw_shown(2, 0, 4, &mut Rng::for_item(1, "test", 0)).len(), 2);
    }
}
