//! The plan of a training: validation split, stages, epochs and steps, all determined before the
//! first step by the examples, the settings and the seed.

use rand::seq::SliceRandom;

use super::{super::optimizer::schedule, Example, Stages, TrainSettings};
use crate::rng::Rng;

/// Default peak of the second stage's learning rate, as a share of the first's.
const GOLD_SHARE: f64 = 0.25;

/// One stage: a training with its own schedule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stage {
    /// Indices of its examples, ascending.
    pub examples: Vec<usize>,
    pub epochs: usize,
    /// Optimiser steps per epoch.
    pub per_epoch: usize,
    /// Peak of the learning rate.
    pub rate: f64,
    /// Steps over which the learning rate rises.
    warmup: usize,
    /// Epochs of the earlier stages, without early stopping.
    pub epochs_before: usize,
}

impl Stage {
    /// A stage over `examples` in `per_epoch` steps an epoch: at least so many epochs, and as many
    /// as it takes for so many steps.
    pub(super) fn new(
        settings: &TrainSettings,
        examples: Vec<usize>,
        per_epoch: usize,
        (epochs, min_steps): (usize, usize),
        rate: f64,
    ) -> Self {
        let epochs = epochs.max(min_steps.div_ceil(per_epoch));
        let warmup = (settings.warmup_share * (epochs * per_epoch) as f64) as usize;
        Self { examples, epochs, per_epoch, rate, warmup, epochs_before: 0 }
    }

    pub(super) fn steps(&self) -> usize {
        self.epochs * self.per_epoch
    }

    /// Learning rate of the stage's step `step`, counted from 0.
    pub(super) fn rate_at(&self, step: usize) -> f64 {
        self.rate * schedule(step, self.steps(), self.warmup)
    }

    /// The examples in an epoch's order.
    pub(super) fn order(&self, epoch: usize, seed: u64) -> Vec<usize> {
        let mut order = self.examples.clone();
        let epoch = (self.epochs_before + epoch) as u64;
        order.shuffle(&mut Rng::for_item(seed, "student", epoch));
        order
    }
}

/// A whole training.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub stages: Vec<Stage>,
    /// Indices of the validation examples, ascending.
    pub validation: Vec<usize>,
}

impl Plan {
    pub(super) fn new(settings: &TrainSettings, examples: &[Example], seed: u64) -> Self {
        let validation = validation_split(settings.validation_share, examples, seed);
        let left = (0..examples.len()).filter(|at| validation.binary_search(at).is_err());
        let left = left.collect::<Vec<_>>();
        let (gold, synthetic): (Vec<_>, Vec<_>) =
            left.iter().copied().partition(|&at| examples[at].gold);
        let two = settings.stages == Stages::SyntheticThenGold
            && !gold.is_empty()
            && !synthetic.is_empty();
        let mut epochs_before = 0;
        let mut stage = |examples: Vec<usize>, epochs: usize, min_steps: usize, rate: f64| {
            let per_epoch = examples.len().div_ceil(settings.batch_size);
            let stage = Stage::new(settings, examples, per_epoch, (epochs, min_steps), rate);
            let stage = Stage { epochs_before, ..stage };
            epochs_before += stage.epochs;
            stage
        };
        let (first, rate) = (settings.min_steps, settings.learning_rate);
        let stages = if two {
            let gold_rate = match settings.gold_learning_rate {
                0.0 => rate * GOLD_SHARE,
                rate => rate,
            };
            vec![
                stage(synthetic, settings.epochs, first, rate),
                stage(gold, settings.gold_epochs, 0, gold_rate),
            ]
        } else {
            vec![stage(left, settings.epochs, first, rate)]
        };
        Self { stages, validation }
    }

    /// Optimiser steps of all stages.
    pub(super) fn steps(&self) -> usize {
        self.stages.iter().map(Stage::steps).sum()
    }

    /// Epochs of all stages.
    pub(super) fn epochs(&self) -> usize {
        self.stages.iter().map(|stage| stage.epochs).sum()
    }
}

/// Draws the validation examples: `share` of each class, rounded, at least one and never all of a
/// class.
fn validation_split(share: f64, examples: &[Example], seed: u64) -> Vec<usize> {
    if share == 0.0 {
        return Vec::new();
    }
    let classes = examples.iter().map(|example| example.label + 1).max().unwrap_or(0);
    let mut held = Vec::new();
    for class in 0..classes {
        let own = (0..examples.len()).filter(|&at| examples[at].label == class);
        let mut own = own.collect::<Vec<_>>();
        own.shuffle(&mut Rng::for_item(seed, "student-validation", class as u64));
        if own.len() > 1 {
            let count = (share * own.len() as f64).round() as usize;
            held.extend(own.drain(..count.clamp(1, own.len() - 1)));
        }
    }
    held.sort_unstable();
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<Example> {
        // Ten of class 0, one of class 1, three of class 2; every third is gold.
        let labels = [0, 0, 2, 0, 0, 1, 0, 0, 2, 0, 0, 0, 2, 0];
        let example = |(at, &label): (usize, &usize)| Example {
            gold: at % 3 == 0,
            ..Example::new(format!("{at}"), label)
        };
        labels.iter().enumerate().map(example).collect()
    }

    #[test]
    fn the_validation_split_takes_its_share_of_each_class_but_never_all() {
        let examples = examples();
        let settings = TrainSettings { validation_share: 0.2, ..TrainSettings::default() };
        let plan = Plan::new(&settings, &examples, 3);
        let count = |class: usize| {
            plan.validation.iter().filter(|&&at| examples[at].label == class).count()
        };
        assert_eq!([0, 1, 2].map(count), [2, 0, 1]);
        assert_eq!(plan.stages[0].examples.len() + plan.validation.len(), examples.len());
        assert!(plan.stages[0].examples.iter().all(|at| !plan.validation.contains(at)));
        assert_eq!(plan, Plan::new(&settings, &examples, 3));
        assert_ne!(plan, Plan::new(&settings, &examples, 4));
    }

    #[test]
    fn gold_comes_second_with_its_own_rate_and_epochs() {
        let settings = TrainSettings {
            stages: Stages::SyntheticThenGold,
            batch_size: 4,
            epochs: 2,
            min_steps: 8,
            learning_rate: 0.4,
            warmup_share: 0.25,
            ..TrainSettings::default()
        };
        let examples = examples();
        let plan = Plan::new(&settings, &examples, 0);
        let [first, second] = &plan.stages[..] else { panic!("{plan:?}") };
        assert!(first.examples.iter().all(|&at| !examples[at].gold));
        assert!(second.examples.iter().all(|&at| examples[at].gold));
        assert_eq!((first.examples.len(), first.per_epoch, first.epochs), (9, 3, 3));
        assert_eq!((second.examples.len(), second.per_epoch, second.epochs), (5, 2, 3));
        assert_eq!((second.rate, second.epochs_before), (0.1, 3));
        assert_eq!((plan.steps(), plan.epochs()), (15, 6));
        // Each stage has its own warm-up and decay.
        assert_eq!((first.rate_at(0), first.rate_at(1)), (0.2, 0.4));
        assert_eq!(second.rate_at(0), 0.1);
        assert!((second.rate_at(5) - 0.02).abs() < 1e-12);

        let gold = examples.into_iter().filter(|example| example.gold).collect::<Vec<_>>();
        let plan = Plan::new(&settings, &gold, 0);
        assert_eq!((plan.stages.len(), plan.stages[0].rate), (1, 0.4));
    }
}
