//! Whether generated texts help: probes predict labelled examples that they did not see, once from
//! the other examples alone and once from these and the texts.

use rayon::prelude::*;

use super::{Evidence, Fused, fuse_with};
use crate::{
    counted::counted,
    student::{
        largest,
        probe::{DEFAULT_C, Labelled, LogisticRegression, Targets, choose_c, folds},
    },
};

/// Most parts of the examples; each is predicted from the others.
const MAX_FOLDS: usize = 5;
/// Rounds in which the labels are fused anew without the examples of a fold: most texts have
/// settled.
const ROUNDS: usize = 2;
/// With fewer examples than this the fused labels must not be all that speaks for the texts.
const MANY: usize = 50;

/// How many of the labelled examples are predicted right without having been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Gain {
    /// Examples that are predicted.
    pub examples: usize,
    /// Right from the other examples alone.
    pub alone: usize,
    /// Right from these and the texts with the labels that were asked for.
    pub asked: usize,
    /// Right from these and the texts with their fused labels.
    pub fused: usize,
}

/// The names of the counts in the ledger.
const COUNTS: [&str; 4] = [
    "examples_left_out",
    "right_from_examples",
    "right_with_asked_labels",
    "right_with_fused_labels",
];

impl Gain {
    /// Whether the texts are worth training on, in a task of so many `classes`. From a dozen
    /// examples the fused labels tell little, since the examples took part in fusing them and in
    /// the prompts. There, a tie does not speak for the texts, and both kinds of labels count
    /// together: they must predict more than the examples alone, and more than guessing.
    pub(crate) fn helps(&self, classes: usize) -> bool {
        let Self { examples, alone, asked, fused } = *self;
        if examples >= MANY {
            return fused >= alone;
        }
        let both = asked + fused;
        let gains = fused > alone && both > 2 * alone && both * classes > 2 * examples;
        gains || fused == examples
    }

    /// In words.
    pub(crate) fn summary(&self) -> String {
        let Self { examples, alone, asked, fused } = *self;
        let few = if examples < MANY {
            format!(", {asked} with the labels asked for")
        } else {
            String::new()
        };
        format!(
            "of {} left out, {alone} are predicted from the others alone, {fused} with the teacher's texts{few}",
            counted(examples, "labelled example"),
        )
    }

    /// For the ledger.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 4] {
        let Self { examples, alone, asked, fused } = *self;
        let [a, b, c, d] = COUNTS;
        [(a, examples), (b, alone), (c, asked), (d, fused)]
    }

    /// From the counts of a stage; `None` if the stage did not measure it.
    pub(crate) fn of_counts(count: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        let [examples, alone, asked, fused] = COUNTS.map(count);
        Some(Self { examples: examples?, alone: alone?, asked: asked?, fused: fused? })
    }
}

impl Fused {
    /// What the texts gain, if each of them has `weight` against 1 of an example. The labels are
    /// fused anew without the examples that are predicted. Of the `examples` of the evidence the
    /// first `labelled` are labelled ones; those of a class that has only one are not predicted.
    /// `None` if there are no others.
    pub(crate) fn gain(
        &self,
        evidence: &Evidence<'_>,
        labelled: usize,
        weight: f64,
    ) -> Option<Gain> {
        let (features, labels) = evidence.examples;
        let classes = evidence.classes;
        let mut of_class = vec![0; classes];
        labels[..labelled].iter().for_each(|label| of_class[*label] += 1);
        let tested: Vec<usize> = (0..labelled).filter(|&at| of_class[labels[at]] > 1).collect();
        if tested.is_empty() {
            return None;
        }
        let targets = Targets::of_labels(labels, classes);
        // As many parts as a class has examples, so that each part has one of each class: a class
        // of which fewer are left than of others would seldom be predicted.
        let tested_classes = of_class.iter().filter(|count| **count > 1).count();
        let parts = (tested.len() / tested_classes).min(MAX_FOLDS);
        let fold_of = folds(&targets.select(&tested), parts, evidence.seed);
        let asked = Targets::of_labels(evidence.asked, classes);
        let asked_texts = Labelled { features: evidence.features, targets: &asked };
        let asked_c =
            choose_c(asked_texts, Some(Labelled { features, targets: &targets }), evidence.seed);
        let counts: Vec<[usize; 3]> = (0..parts)
            .into_par_iter()
            .map(|fold| {
                let held: Vec<usize> = (tested.iter().zip(&fold_of))
                    .filter(|(_, of)| **of == fold)
                    .map(|(at, _)| *at)
                    .collect();
                let rest: Vec<usize> = (0..labels.len()).filter(|at| !held.contains(at)).collect();
                let rest_labels: Vec<usize> = rest.iter().map(|&at| labels[at]).collect();
                let rest = (&features.select(&rest), &rest_labels[..]);
                let refused =
                    fuse_with(&Evidence { examples: rest, ..*evidence }, Some(self.c), ROUNDS);
                let fused = Targets { values: refused.posteriors.concat(), classes };
                let rest = Labelled {
                    features: rest.0,
                    targets: &Targets::of_labels(&rest_labels, classes),
                };
                let right = |probe: LogisticRegression| {
                    let logs = probe.log_probabilities(&features.select(&held));
                    let guesses = logs.chunks_exact(classes).map(largest);
                    guesses.zip(&held).filter(|(guess, at)| *guess == labels[**at]).count()
                };
                let alone = LogisticRegression::fit(rest.features, rest.targets, DEFAULT_C);
                let fused_texts = Labelled { features: evidence.features, targets: &fused };
                let with = |texts, c| right(both(rest, texts, weight, c));
                [right(alone), with(asked_texts, asked_c), with(fused_texts, self.c)]
            })
            .collect();
        let sum = |which: usize| counts.iter().map(|part| part[which]).sum();
        Some(Gain { examples: tested.len(), alone: sum(0), asked: sum(1), fused: sum(2) })
    }
}

/// A probe of the examples and the texts, each of which has this `weight`.
fn both(examples: Labelled<'_>, texts: Labelled<'_>, weight: f64, c: f64) -> LogisticRegression {
    let mut light = texts.targets.clone();
    light.values.iter_mut().for_each(|value| *value *= weight as f32);
    let features = examples.features.with(texts.features);
    LogisticRegression::fit(&features, &examples.targets.with(&light), c)
}
