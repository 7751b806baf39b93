//! Labels of texts that were not asked for: the *judge* (the teacher's calibrated label scores) and
//! the *probe* (a logistic regression on the embeddings of the labelled examples, and of the texts
//! that a teacher wrote, where there are any) are pooled, each as sure as it says it is: the
//! product of their probabilities (Hinton 2002, a product of experts).
//!
//! On 500 real texts of TREC6 with Qwen2.5-Coder-1.5B, mean of three draws of two examples a class,
//! the judge alone is right about 66.9 %, the product with a probe of the examples about 67.9 %,
//! and with one of the examples and 580 written texts about 69.2 %. Fitting the probe again to the
//! pooled labels does not make better students (docs/recipe.md, Real texts).

use super::{
    fusion::{Reliability, share_right},
    scoring::ClassProbabilities,
};
use crate::student::{
    largest,
    probe::{DEFAULT_C, Features, Labelled, LogisticRegression, Targets, log_softmax},
};

/// What is known of some texts.
#[derive(Clone, Copy)]
pub(crate) struct Opinions<'a> {
    /// Embeddings of the texts.
    pub features: &'a Features,
    /// The judge's probability of each class that it was offered, of each text.
    pub judged: &'a [ClassProbabilities],
    /// Embeddings and classes of other texts: labelled examples, and those that a teacher wrote.
    pub known: Labelled<'a>,
}

/// The labels that the opinions lead to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pooled {
    /// The probability of each class for each text, `[texts][classes]`.
    pub posteriors: Vec<Vec<f32>>,
    /// The class of each text by the probe.
    pub probed: Vec<usize>,
    pub reliability: Reliability,
}

/// Pools the opinions. Deterministic.
pub(crate) fn pool(opinions: &Opinions<'_>) -> Pooled {
    let known = opinions.known;
    let classes = known.targets.classes;
    let judged: Vec<f32> =
        opinions.judged.iter().flat_map(|scores| logarithms(scores, classes)).collect();
    let mut probe = LogisticRegression::fit(known.features, known.targets, DEFAULT_C)
        .log_probabilities(opinions.features);
    undecided(&mut probe, known.targets);
    let posteriors = product(&judged, &probe, classes);
    let classes_of = |logs: &[f32]| logs.chunks_exact(classes).map(largest).collect();
    let (judged, probed): (Vec<usize>, Vec<usize>) = (classes_of(&judged), classes_of(&probe));
    let posteriors: Vec<Vec<f32>> = posteriors.chunks_exact(classes).map(<[f32]>::to_vec).collect();
    let right = |labels: &[usize]| {
        let labels: Vec<Option<usize>> = labels.iter().copied().map(Some).collect();
        share_right(&labels, &posteriors)
    };
    let reliability = Reliability { asked: None, judge: right(&judged), probe: right(&probed) };
    Pooled { posteriors, probed, reliability }
}

/// Gives each class of which nothing is known its even share in the logarithms of probabilities
/// `probe`, `[texts, classes]`: a probe that never saw the class would rule it out for all texts.
fn undecided(probe: &mut [f32], known: &Targets) {
    let classes = known.classes;
    let is_known = |class: &usize| known.rows().any(|row| row[*class] > 0.0);
    let unseen: Vec<usize> = (0..classes).filter(|class| !is_known(class)).collect();
    if unseen.is_empty() {
        return;
    }
    let even = 1.0 / classes as f32;
    let rest = (1.0 - even * unseen.len() as f32).max(f32::MIN_POSITIVE);
    for row in probe.chunks_exact_mut(classes) {
        unseen.iter().for_each(|class| row[*class] = f32::NEG_INFINITY);
        if unseen.len() < classes {
            log_softmax(row);
        }
        row.iter_mut().for_each(|log| *log += rest.ln());
        unseen.iter().for_each(|class| row[*class] = even.ln());
    }
}

/// The logarithm of the judge's probability of each class. One that it was not offered counts like
/// the least probable one that it was.
fn logarithms(scores: &ClassProbabilities, classes: usize) -> Vec<f32> {
    let log = |p: f32| p.max(f32::MIN_POSITIVE).ln();
    let least = scores.iter().map(|(_, p)| log(*p)).fold(0.0, f32::min);
    let mut logs = vec![least; classes];
    scores.iter().for_each(|(class, p)| logs[*class] = log(*p));
    logs
}

/// The products of two distributions for each text, `[texts, classes]`, from their logarithms.
fn product(a: &[f32], b: &[f32], classes: usize) -> Vec<f32> {
    let mut product: Vec<f32> = a.iter().zip(b).map(|(a, b)| a + b).collect();
    product.chunks_exact_mut(classes).for_each(log_softmax);
    product.iter_mut().for_each(|log| *log = log.exp());
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of two classes, the first half of each; the examples stand for their centres.
    fn opinions(judged: &[ClassProbabilities]) -> Pooled {
        opinions_with(judged, &[0, 1])
    }

    /// The same with these examples alone.
    fn opinions_with(judged: &[ClassProbabilities], examples: &[usize]) -> Pooled {
        let vector = |text: usize| {
            let (side, angle) =
                (if text.is_multiple_of(2) { 1.0f32 } else { -1.0 }, text as f32 / 40.0);
            vec![side * angle.cos(), angle.sin()]
        };
        let features = Features::new(&(0..judged.len()).map(vector).collect::<Vec<_>>());
        let centres = Features::new(&[vec![1.0, 0.0], vec![-1.0, 0.0]]).select(examples);
        let known = Labelled { features: &centres, targets: &Targets::of_labels(examples, 2) };
        pool(&Opinions { features: &features, judged, known })
    }

    #[test]
    fn a_judge_that_guesses_leaves_the_label_to_the_probe_and_a_sure_one_decides() {
        let guess = vec![(0, 0.5), (1, 0.5)];
        let mut judged = vec![guess; 40];
        judged[0] = vec![(0, 1e-6), (1, 1.0 - 1e-6)];
        let pooled = opinions(&judged);
        assert_eq!(largest(&pooled.posteriors[0]), 1);
        let wrong = (1..40).filter(|&text| largest(&pooled.posteriors[text]) != text % 2);
        assert_eq!(wrong.count(), 0, "{:?}", pooled.posteriors);
        assert_eq!((pooled.probed[2], pooled.probed[3]), (0, 1));
        let Reliability { judge, probe, .. } = pooled.reliability;
        assert!(probe > judge, "{:?}", pooled.reliability);
        for posterior in &pooled.posteriors {
            assert!((posterior.iter().sum::<f32>() - 1.0).abs() < 1e-4, "{posterior:?}");
        }
    }

    #[test]
    fn a_class_of_which_nothing_is_known_is_left_to_the_judge() {
        let judged = |text: usize| match text.is_multiple_of(2) {
            true => vec![(0, 0.9), (1, 0.1)],
            false => vec![(0, 0.1), (1, 0.9)],
        };
        let pooled = opinions_with(&(0..40).map(judged).collect::<Vec<_>>(), &[0]);
        let wrong = (0..40).filter(|&text| largest(&pooled.posteriors[text]) != text % 2);
        assert_eq!(wrong.count(), 0, "{:?}", pooled.posteriors);
        // Nothing is made of a judge that never names it.
        let pooled = opinions_with(&vec![vec![(0, 0.99), (1, 0.01)]; 40], &[0]);
        assert!(pooled.posteriors.iter().all(|row| largest(row) == 0), "{:?}", pooled.posteriors);
        // Without any example, everything is left to the judge.
        let mut probe = [0.9f32.ln(), 0.1f32.ln()];
        undecided(&mut probe, &Targets::of_labels(&[], 2));
        assert_eq!(probe, [0.5f32.ln(); 2]);
        undecided(&mut probe, &Targets::of_labels(&[1], 2));
        assert!((probe[0].exp() - 0.5).abs() < 1e-6 && (probe[1].exp() - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_text_counts_with_its_weight() {
        // The centre of the second class is said to be of the first, with little weight.
        let features = Features::new(&[vec![-1.0, 0.0]]);
        let known = Features::new(&[vec![1.0, 0.0], vec![-1.0, 0.0], vec![-1.0, 0.0]]);
        let judged = [vec![(0, 0.5), (1, 0.5)]];
        let first = |weight: f32| {
            let mut targets = Targets::of_labels(&[0, 1, 0], 2);
            targets.values[4] = weight;
            let known = Labelled { features: &known, targets: &targets };
            let opinions = Opinions { features: &features, judged: &judged, known };
            pool(&opinions).posteriors[0][0]
        };
        assert!(first(0.1) < 0.3 && first(10.0) > 0.7, "{} {}", first(0.1), first(10.0));
    }

    #[test]
    fn a_class_that_was_not_offered_is_as_unlikely_as_the_least_likely_one() {
        let logs = logarithms(&vec![(2, 0.9), (0, 0.1)], 4);
        assert_eq!(logs, [0.1f32.ln(), 0.1f32.ln(), 0.9f32.ln(), 0.1f32.ln()]);
    }
}
