//! PromptMix, step 1: texts that belong α % to one class and the rest to another
//! (Sahu et al., EMNLP 2023, section 3.1).

use rand::{Rng as _, seq::SliceRandom};
use rand_distr::{Beta, Distribution};

use super::Ask;
use crate::{
    config::AugmentSettings,
    prompt::{PromptError, Prompts, shown_classes},
    rng::Rng,
    task::{LabelledText, Task},
};

/// The requests of one round. `missing[class]` texts are still wanted of each class.
///
/// Everything random about a request derives from (`seed`, round, class, number), so that a round
/// can be planned again after a restart and comes out the same.
pub fn plan_round(
    task: &Task,
    seeds: &[LabelledText],
    prompts: &Prompts,
    settings: &AugmentSettings,
    (seed, round): (u64, usize),
    missing: &[usize],
) -> Result<Vec<Ask>, PromptError> {
    let mut asks = Vec::new();
    for (class, &wanted) in missing.iter().enumerate() {
        for number in 0..wanted.div_ceil(settings.texts_per_request) {
            let item = ((round as u64) << 48) | ((class as u64) << 24) | number as u64;
            let mut rng = Rng::for_item(seed, "augment", item);
            let shown = draw_shown(task.classes.len(), class, settings.classes_shown, &mut rng);
            let others: Vec<usize> =
                shown.iter().copied().filter(|other| *other != class).collect();
            let minor = others[rng.random_range(0..others.len())];
            let percent = draw_percent(settings.beta, &mut rng);
            let classes = shown_classes(task, &shown, |class| {
                let mut examples: Vec<String> = seeds
                    .iter()
                    .filter(|seed| seed.label == class)
                    .map(|seed| one_line(&seed.text))
                    .collect();
                examples.shuffle(&mut rng);
                examples
            });
            let place = |class| shown.iter().position(|shown| *shown == class).unwrap_or_default();
            let count = settings.texts_per_request;
            asks.push(Ask {
                id: format!("{round}.{class}.{number}"),
                prompt: prompts.mixup(
                    task,
                    &classes,
                    (place(class), place(minor)),
                    percent,
                    count,
                )?,
                shown: shown.clone(),
                major: class,
                minor,
                percent,
                count,
                seed: rng.random(),
            });
        }
    }
    // Classes take turns, so that the first rows of a run show all of them.
    asks.sort_by_key(|ask| {
        let number = ask.id.rsplit('.').next().and_then(|number| number.parse::<usize>().ok());
        (number, ask.major)
    });
    Ok(asks)
}

/// A text as one bullet of a list.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The class itself and `limit - 1` others, in random order.
fn draw_shown(classes: usize, class: usize, limit: usize, rng: &mut Rng) -> Vec<usize> {
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
