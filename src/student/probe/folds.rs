//! Cross-validation: the choice of C, and predictions of texts that the probe did not see.

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{Features, LogisticRegression, Targets};
use crate::{rng::Rng, student::largest};

/// Parts of the texts; each is predicted by a probe of the others.
const FOLDS: usize = 5;
/// Values of C that are tried, the strongest penalty first: from noisy labels to clean ones.
const C_GRID: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
/// C where there is too little to validate on, such as a handful of examples.
pub(crate) const DEFAULT_C: f64 = 10.0;
/// Fewer texts than this say nothing about C.
const MIN_TEXTS: usize = 50;
/// Texts on which C is chosen; more would not change the choice.
const MAX_TEXTS: usize = 2000;

/// Texts with their targets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labelled<'a> {
    pub features: &'a Features,
    pub targets: &'a Targets,
}

/// The logarithm of the probability of each class for each text of `texts`, `[texts, classes]`, by
/// a probe with this `c` that was fitted to the others and to `anchors`.
pub(crate) fn out_of_fold(
    texts: Labelled<'_>,
    anchors: Option<Labelled<'_>>,
    c: f64,
    seed: u64,
) -> Vec<f32> {
    let classes = texts.targets.classes;
    let fold_of = folds(texts.targets, FOLDS, seed);
    let parts: Vec<(Vec<usize>, Vec<f32>)> = (0..FOLDS)
        .into_par_iter()
        .map(|fold| {
            let (held, rest): (Vec<usize>, Vec<usize>) =
                (0..fold_of.len()).partition(|text| fold_of[*text] == fold);
            if held.is_empty() {
                return Default::default();
            }
            let mut features = texts.features.select(&rest);
            let mut targets = texts.targets.select(&rest);
            if let Some(anchors) = anchors {
                features = features.with(anchors.features);
                targets = targets.with(anchors.targets);
            }
            let probe = LogisticRegression::fit(&features, &targets, c);
            let logs = probe.log_probabilities(&texts.features.select(&held));
            (held, logs)
        })
        .collect();
    let mut log_probabilities = vec![0f32; fold_of.len() * classes];
    for (held, logs) in parts {
        for (text, logs) in held.into_iter().zip(logs.chunks_exact(classes.max(1))) {
            log_probabilities[text * classes..][..classes].copy_from_slice(logs);
        }
    }
    log_probabilities
}

/// The log-likelihood of `targets`, summed over all texts.
fn log_likelihood(targets: &Targets, log_probabilities: &[f32]) -> f64 {
    let product = |(target, log): (&f32, &f32)| f64::from(*target) * f64::from(*log);
    targets.values.iter().zip(log_probabilities).map(product).sum()
}

/// The C of [`LogisticRegression::fit`] under which held-out texts are predicted best.
pub(crate) fn choose_c(texts: Labelled<'_>, anchors: Option<Labelled<'_>>, seed: u64) -> f64 {
    let mut some: Vec<usize> = (0..texts.features.len()).collect();
    if some.len() < MIN_TEXTS {
        return DEFAULT_C;
    }
    some.shuffle(&mut Rng::for_item(seed, "probe-strength", 0));
    some.truncate(MAX_TEXTS);
    let (features, targets) = (texts.features.select(&some), texts.targets.select(&some));
    let some = Labelled { features: &features, targets: &targets };
    let mut best = (f64::NEG_INFINITY, DEFAULT_C);
    for c in C_GRID {
        let fit = log_likelihood(&targets, &out_of_fold(some, anchors, c, seed));
        if fit > best.0 {
            best = (fit, c);
        }
    }
    best.1
}

/// The fold of each text, of `parts`. Texts of one class are spread evenly: with two examples of a
/// class, one of them is always left.
pub(crate) fn folds(targets: &Targets, parts: usize, seed: u64) -> Vec<usize> {
    let labels: Vec<usize> = targets.rows().map(largest).collect();
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.shuffle(&mut Rng::for_item(seed, "probe-folds", 0));
    order.sort_by_key(|text| labels[*text]);
    let mut folds = vec![0; order.len()];
    for (place, text) in order.into_iter().enumerate() {
        folds[text] = place % parts;
    }
    folds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clusters of thirty texts each.
    fn clusters() -> (Features, Vec<usize>) {
        let vectors: Vec<Vec<f32>> = (0..60)
            .map(|at| {
                let side = if at % 2 == 0 { 1.0 } else { -1.0 };
                vec![side, 0.05 * (at as f32 - 30.0)]
            })
            .collect();
        (Features::new(&vectors), (0..60).map(|at| at % 2).collect())
    }

    #[test]
    fn a_wrong_label_is_seen_through_by_the_other_folds() {
        let (features, mut labels) = clusters();
        let truth = labels.clone();
        labels[4] = 1;
        let targets = Targets::of_labels(&labels, 2);
        let known = Labelled { features: &features, targets: &targets };
        let found = out_of_fold(known, None, 1.0, 7);
        assert_eq!(found.chunks(2).map(largest).collect::<Vec<_>>(), truth);
    }

    #[test]
    fn random_labels_ask_for_the_strongest_penalty() {
        let (features, labels) = clusters();
        let clean = Targets::of_labels(&labels, 2);
        let random = Targets::of_labels(&(0..60).map(|at| at / 2 % 2).collect::<Vec<_>>(), 2);
        let c = |targets| choose_c(Labelled { features: &features, targets }, None, 7);
        assert_eq!(c(&clean), 30.0);
        assert_eq!(c(&random), 0.1);
    }

    #[test]
    fn every_class_of_two_keeps_one_example_in_each_fold() {
        let labels: Vec<usize> = (0..30).map(|at| at / 2).collect();
        let folds = folds(&Targets::of_labels(&labels, 15), FOLDS, 3);
        assert!(folds.chunks(2).all(|pair| pair[0] != pair[1]), "{folds:?}");
    }
}
