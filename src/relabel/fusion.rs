//! Three annotators label each generated text: the class that was *asked* for, the *judge* (the
//! teacher's label scores), and the *probe* (a logistic regression on the embeddings of the other
//! texts, which did not see this one). Their labels become one.
//!
//! Nobody knows beforehand which of them is right. Their agreement tells: Dawid & Skene (1979)
//! estimate by expectation maximisation how each annotator errs (its confusion matrix), together
//! with the probability of each class for each text. In every round the probe is fitted anew to
//! what follows from the other two: fitted to labels in which it had a say itself, it would agree
//! with them and seem right. A judge that is always right decides, one that guesses is ignored.
//!
//! What is known beforehand goes in: the share of each class was chosen by the request, so the
//! scores of judge and probe are scaled to these shares; labelled examples are texts whose class
//! is known, as far as judge and probe answered without seeing them.

mod em;
mod gain;

use super::scoring::{self, ClassProbabilities};
use crate::student::{
    largest,
    probe::{self, DEFAULT_C, Features, Labelled, Targets},
};
use em::{Annotator, Model};
pub(crate) use gain::Gain;

/// Rounds of fitting the probe and estimating; most texts settle in two.
const ROUNDS: usize = 5;
/// Share of labels that may still change when the rounds end.
const SETTLED: f64 = 0.005;

/// What is known of some texts.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub classes: usize,
    /// Embeddings of the texts.
    pub features: &'a Features,
    /// The class asked for, of each text.
    pub asked: &'a [usize],
    /// The class mixed in, of each text that has one.
    pub partners: &'a [Option<usize>],
    /// The judge's probability of each class that it was offered, of each text; empty if it did
    /// not answer.
    pub judged: &'a [ClassProbabilities],
    /// Embeddings of the labelled examples, and their classes.
    pub examples: (&'a Features, &'a [usize]),
    /// The class of examples and the judge's probabilities, from prompts that did not show them.
    pub judged_examples: &'a [(usize, ClassProbabilities)],
    /// Seed of the folds.
    pub seed: u64,
}

/// The labels that the evidence leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fused {
    /// The probability of each class for each text, `[texts][classes]`.
    pub posteriors: Vec<Vec<f32>>,
    pub reliability: Reliability,
    /// The class of each text by the probe of the last round.
    pub probed: Vec<usize>,
    /// The C of the probe.
    c: f64,
}

/// How often each annotator names the class of a text, by the estimate: shares of 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reliability {
    /// `None` if no class was asked for.
    pub asked: Option<f64>,
    pub judge: f64,
    pub probe: f64,
}

impl Reliability {
    /// In words.
    pub(crate) fn summary(&self) -> String {
        let percent = |share: f64| (100.0 * share).round();
        let (judge, probe) = (percent(self.judge), percent(self.probe));
        match self.asked.map(percent) {
            Some(asked) => format!(
                "estimated right: {asked} % of the labels asked for, {judge} % of the teacher's, {probe} % of a probe's"
            ),
            None => format!(
                "estimated right: {judge} % of the teacher's labels, {probe} % of a probe's"
            ),
        }
    }

    /// For the ledger, in thousandths.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let Self { asked, judge, probe } = *self;
        let shares = [
            ("asked_right_per_mille", asked),
            ("judge_right_per_mille", Some(judge)),
            ("probe_right_per_mille", Some(probe)),
        ];
        let thousandths = |share: f64| (1000.0 * share).round() as usize;
        shares.into_iter().filter_map(move |(name, share)| Some((name, thousandths(share?))))
    }
}

/// How often `labels` name the class of a text, by the `posteriors`, `[texts][classes]`: a share
/// of 1.
pub(super) fn share_right(labels: &[Option<usize>], posteriors: &[Vec<f32>]) -> f64 {
    let (mut right, mut all) = (0.0, 0.0);
    for (label, posterior) in labels.iter().zip(posteriors) {
        let Some(label) = label else { continue };
        right += f64::from(posterior[*label]);
        all += 1.0;
    }
    if all > 0.0 { right / all } else { 0.0 }
}

/// Fuses the evidence. Deterministic.
pub(crate) fn fuse(evidence: &Evidence<'_>) -> Fused {
    fuse_with(evidence, None, ROUNDS)
}

/// As [`fuse`], with the C of the probe, if it is known, and a number of rounds.
fn fuse_with(evidence: &Evidence<'_>, mut c: Option<f64>, rounds: usize) -> Fused {
    let classes = evidence.classes;
    let shares = shares(evidence.asked, classes);
    let judge = judge(evidence);
    let examples = Targets::of_labels(evidence.examples.1, classes);
    let anchors = Labelled { features: evidence.examples.0, targets: &examples };

    // The first probe knows the examples alone: it errs independently of what was asked.
    let first = probe::LogisticRegression::fit(anchors.features, anchors.targets, DEFAULT_C);
    let mut logs = first.log_probabilities(evidence.features);
    let mut probed = scaled_labels(&mut logs, classes, &shares);
    let model = Model::new(classes, &shares, evidence.partners);
    let mut posteriors = model.estimate(&annotators(evidence, &judge, &probed), None);

    for _ in 0..rounds {
        let others = &annotators(evidence, &judge, &probed)[..PROBE];
        let targets = Targets { values: model.step(others, &posteriors, true).concat(), classes };
        let texts = Labelled { features: evidence.features, targets: &targets };
        let c = *c.get_or_insert_with(|| probe::choose_c(texts, Some(anchors), evidence.seed));
        let mut logs = probe::out_of_fold(texts, Some(anchors), c, evidence.seed);
        probed = scaled_labels(&mut logs, classes, &shares);
        let next = model.estimate(&annotators(evidence, &judge, &probed), Some(&posteriors));
        let changed = next.iter().zip(&posteriors);
        let changed = changed.filter(|(a, b)| largest(a) != largest(b)).count();
        posteriors = next;
        if changed as f64 <= SETTLED * posteriors.len() as f64 {
            break;
        }
    }
    let [asked, judge, probe] = annotators(evidence, &judge, &probed)
        .map(|annotator| share_right(&annotator.labels, &posteriors));
    let reliability = Reliability { asked: Some(asked), judge, probe };
    Fused { posteriors, reliability, probed, c: c.unwrap_or(DEFAULT_C) }
}

/// The judge's labels of the texts and of the examples that it did not see.
struct Judge {
    texts: Vec<Option<usize>>,
    examples: Vec<(usize, usize)>,
}

/// The place of the probe among the [`annotators`], the last.
const PROBE: usize = 2;

fn annotators<'a>(
    evidence: &'a Evidence<'_>,
    judge: &'a Judge,
    probed: &[usize],
) -> [Annotator<'a>; 3] {
    let all = |labels: &[usize]| labels.iter().copied().map(Some).collect();
    [
        Annotator { labels: all(evidence.asked), known: &[], mixes_partner: true },
        Annotator { labels: judge.texts.clone(), known: &judge.examples, mixes_partner: false },
        Annotator { labels: all(probed), known: &[], mixes_partner: false },
    ]
}

/// The share of each class among the texts, as it was asked for; no class has none.
fn shares(asked: &[usize], classes: usize) -> Vec<f64> {
    let mut counts = vec![1.0; classes];
    asked.iter().for_each(|class| counts[*class] += 1.0);
    let total: f64 = counts.iter().sum();
    counts.into_iter().map(|count| count / total).collect()
}

/// The judge's labels: its scores corrected so that the classes have the shares asked for, which
/// removes a bias towards some of them. The same correction applies to the examples.
fn judge(evidence: &Evidence<'_>) -> Judge {
    let Evidence { judged, asked, classes, .. } = *evidence;
    let correction = scoring::correction_to_asked(judged, asked, classes);
    let label = |scores: &ClassProbabilities| {
        let mut scores = scores.clone();
        scoring::correct(&mut scores, &correction);
        scoring::best_class(scores)
    };
    let example = |(class, scores): &(usize, ClassProbabilities)| Some((*class, label(scores)?));
    let examples = evidence.judged_examples.iter().filter_map(example).collect();
    Judge { texts: judged.iter().map(label).collect(), examples }
}

fn scaled_labels(logs: &mut [f32], classes: usize, shares: &[f64]) -> Vec<usize> {
    scoring::scale(logs, shares);
    logs.chunks_exact(classes).map(largest).collect()
}

#[cfg(test)]
mod tests;
