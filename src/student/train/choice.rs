//! Whether fine-tuning pays: the frozen encoder and the fine-tuned one both predict examples that
//! neither was trained on.

use std::ops::ControlFlow;

use super::{Example, TrainOutcome, TrainStep, Training};
use crate::student::{
    Result, largest,
    probe::{Targets, folds},
};

/// With more examples than this, one part in five is held out once; with fewer, each of three
/// parts in turn: every example then counts.
const MANY: usize = 400;

/// How many held-out examples each of the two predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Choice {
    pub held_out: usize,
    /// Predicted by the frozen encoder alone.
    pub frozen_only: usize,
    /// Predicted by the fine-tuned encoder alone.
    pub tuned_only: usize,
    /// Predicted by both.
    pub both: usize,
}

impl Choice {
    /// Whether the fine-tuned encoder is ahead by more than a standard error of the difference
    /// (McNemar): less says nothing, and the frozen encoder is the safer choice.
    pub(crate) fn fine_tunes(&self) -> bool {
        let (gained, lost) = (self.tuned_only as f64, self.frozen_only as f64);
        gained - lost > (gained + lost).sqrt()
    }

    /// In words.
    pub(crate) fn summary(&self) -> String {
        let Self { held_out, frozen_only, tuned_only, both } = *self;
        let (choice, reason) = match self.fine_tunes() {
            true => ("fine-tuned", "it"),
            false => ("frozen", "fine-tuning"),
        };
        let (tuned, frozen) = (both + tuned_only, both + frozen_only);
        let other = match self.fine_tunes() {
            true => format!("the frozen one {frozen}"),
            false => format!("the frozen one {frozen}, which is not clearly fewer"),
        };
        format!(
            "the encoder is {choice}: {reason} predicts {tuned} of {held_out} held-out examples, {other}"
        )
    }
}

impl Training<'_> {
    /// Trains on a part of the examples, frozen and fine-tuned, and compares the predictions of
    /// the rest. `on_step` sees every step of the fine-tuning.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub(super) fn choose(
        &self,
        on_step: &mut dyn FnMut(TrainStep) -> ControlFlow<()>,
    ) -> Result<Choice> {
        let labels: Vec<usize> = self.examples.iter().map(|example| example.label).collect();
        let many = labels.len() > MANY;
        let (parts, tried) = if many { (5, 1) } else { (3, 3) };
        let fold_of = folds(&Targets::of_labels(&labels, self.labels.len()), parts, self.seed);
        let mut choice = Choice::default();
        for fold in 0..tried {
            let side = |held: bool| {
                let picked = self.examples.iter().zip(&fold_of);
                picked.filter(move |(_, of)| (**of == fold) == held).map(|(example, _)| example)
            };
            let rest: Vec<Example> = side(false).cloned().collect();
            let held: Vec<&Example> = side(true).collect();
            if rest.is_empty() || held.is_empty() {
                continue;
            }
            let texts: Vec<String> = held.iter().map(|example| example.text.clone()).collect();
            let start = Training { examples: &rest, snapshots: None, head: None, ..self.clone() };
            let contrasted = start.contrasted(on_step)?;
            let base = contrasted.as_ref().unwrap_or(self.base);
            let start = Training { base, ..start };
            let start = Training { head: start.start()?, ..start };
            let right = |trained: &TrainOutcome| -> Result<Vec<bool>> {
                let logits = trained.classifier.logits(&texts)?;
                let guesses = logits.iter().map(|row| largest(row));
                Ok(guesses.zip(&held).map(|(guess, example)| guess == example.label).collect())
            };
            let frozen = right(&start.untrained()?)?;
            let tuned = right(&start.fine_tune(on_step)?)?;
            choice.held_out += held.len();
            for pair in frozen.into_iter().zip(tuned) {
                match pair {
                    (true, true) => choice.both += 1,
                    (true, false) => choice.frozen_only += 1,
                    (false, true) => choice.tuned_only += 1,
                    (false, false) => {}
                }
            }
        }
        Ok(choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_within_a_standard_error_leaves_the_encoder_as_it_is() {
        let choice =
            |frozen_only, tuned_only| Choice { held_out: 100, frozen_only, tuned_only, both: 50 };
        assert!(!choice(0, 0).fine_tunes() && !choice(8, 12).fine_tunes());
        assert!(choice(2, 8).fine_tunes() && !choice(8, 2).fine_tunes());
    }
}
