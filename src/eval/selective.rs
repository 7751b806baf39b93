//! Selective classification: answering only where the confidence is high enough, and how accurate
//! the answers then are.
//!
//! A threshold is chosen on labelled texts that were not trained on. Its promise is about *new*
//! texts of the same kind: with a chance of at least `confidence`, at least the share `target` of
//! those that are answered is answered correctly. This is selective classification with guaranteed
//! risk (Geifman and El-Yaniv 2017, arXiv 1705.08500), by tests in a fixed order as in Learn then
//! Test (Angelopoulos et al. 2021, arXiv 2110.01052):
//!
//! - The candidates are the confidences that leave the surest 5 %, 10 %, …, 100 % of the texts. The
//!   number of texts above a candidate is fixed beforehand, so that, given the candidate, these
//!   texts are independent draws from those above it, and their errors are binomial.
//! - A candidate passes if so few errors would have a chance of at most 1 - `confidence` at an
//!   accuracy of `target`: the lower end of the Clopper-Pearson interval is then at least `target`.
//! - They are tested from the strictest to the most lenient, up to the first that fails, each at
//!   the full level. The first is the strictest that survives one error.
//!
//! The order needs no correction for the number of tests as long as accuracy falls, or stays, while
//! more is answered. A student that is most often wrong where it is surest breaks this.

use serde::{Deserialize, Serialize};

/// Steps of coverage: candidates, and points of a curve.
const STEPS: usize = 20;
/// Halvings of the interval in which a bound lies.
const HALVINGS: usize = 60;

/// The answer to a labelled text: its confidence, and whether it is correct.
pub(crate) type Answer = (f32, bool);

/// The answers with at least some confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The least probability that is answered.
    pub threshold: f32,
    /// Texts that are answered.
    pub answered: usize,
    /// Correct answers among them.
    pub correct: usize,
    /// All texts.
    pub texts: usize,
}

impl Answered {
    /// Of `answers` with a probability of at least `threshold`.
    pub(crate) fn at(answers: &[Answer], threshold: f32) -> Self {
        let above = || answers.iter().filter(|(confidence, _)| *confidence >= threshold);
        let correct = above().filter(|(_, correct)| *correct).count();
        Self { threshold, answered: above().count(), correct, texts: answers.len() }
    }

    /// Share of the texts that is answered.
    pub(crate) fn coverage(&self) -> f64 {
        self.answered as f64 / self.texts.max(1) as f64
    }

    /// Share of the answers that is correct; 1 without any.
    pub(crate) fn accuracy(&self) -> f64 {
        if self.answered == 0 { 1.0 } else { self.correct as f64 / self.answered as f64 }
    }

    fn wrong(&self) -> usize {
        self.answered - self.correct
    }
}

/// Why no threshold keeps a promise.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub(crate) enum NoThreshold {
    /// Even without any error, so few texts prove nothing.
    #[error(
        "{texts} labelled texts are too few to promise an accuracy of {target}: {needed} are needed"
    )]
    TooFew { texts: usize, needed: usize, target: f64 },
    /// The surest texts have too many errors.
    #[error(
        "no threshold keeps the promise of an accuracy of {target}: of the {} surest texts, {} are answered wrongly, at most {most} may be",
        first.answered, first.wrong()
    )]
    TooManyErrors { first: Answered, most: usize, target: f64 },
}

/// The smallest threshold of those tested for which the accuracy among answered texts is at least
/// `target`, a share below 1, with a chance of at least `confidence`.
///
/// # Errors
/// [`NoThreshold`].
pub(crate) fn choose_threshold(
    answers: &[Answer],
    target: f64,
    confidence: f64,
) -> Result<Answered, NoThreshold> {
    let (texts, risk, level) = (answers.len(), 1.0 - target, 1.0 - confidence);
    let needed = proof(0, risk, level);
    if texts < needed {
        return Err(NoThreshold::TooFew { texts, needed, target });
    }
    let start = proof(1, risk, level);
    let mut chosen = None;
    for answered in candidates(answers).filter(|it| it.answered >= start.min(texts)) {
        if tail(answered.wrong(), answered.answered, risk) > level {
            return chosen.ok_or_else(|| {
                let passes = |wrong: &usize| tail(*wrong, answered.answered, risk) <= level;
                let most = (0..=answered.answered).take_while(passes).count().saturating_sub(1);
                NoThreshold::TooManyErrors { first: answered, most, target }
            });
        }
        chosen = Some(answered);
    }
    // All texts are a candidate, and there are enough of them.
    chosen.ok_or(NoThreshold::TooFew { texts, needed, target })
}

/// Coverage and accuracy at each step, from the surest texts to all.
pub(crate) fn curve(answers: &[Answer]) -> Vec<Answered> {
    let mut curve: Vec<Answered> = candidates(answers).filter(|it| it.answered > 0).collect();
    curve.dedup_by_key(|it| it.answered);
    curve
}

/// The answers above each candidate, from the strictest on: above the confidence of the first text
/// that is left out, so that this text decides on the threshold and is not counted.
fn candidates(answers: &[Answer]) -> impl Iterator<Item = Answered> + '_ {
    let mut sorted: Vec<f32> = answers.iter().map(|(confidence, _)| *confidence).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    (1..=STEPS).map(move |step| {
        let count = answers.len() * step / STEPS;
        let threshold = sorted.get(count).map_or(0.0, |left_out| left_out.next_up());
        Answered::at(answers, threshold)
    })
}

/// The number of texts with which `wrong` errors prove, at `level`, a risk of at most `risk`.
fn proof(wrong: usize, risk: f64, level: f64) -> usize {
    // Doubling, then halving: the chance falls with the number of texts.
    let proves = |texts: usize| tail(wrong, texts, risk) <= level;
    let mut high = wrong + 1;
    while !proves(high) && high < 1 << 40 {
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if proves(middle) { high = middle } else { low = middle }
    }
    high
}

/// The lower end of the one-sided Clopper-Pearson interval for `right` of `texts`, a share: the
/// accuracy is at least this with a chance of at least `confidence` (Clopper and Pearson 1934).
pub(crate) fn least_accuracy(right: usize, texts: usize, confidence: f64) -> f64 {
    if texts == 0 || right == 0 {
        return 0.0;
    }
    // The chance of as few errors rises with the accuracy.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        let chance = tail(texts - right, texts, 1.0 - middle);
        if chance <= 1.0 - confidence { low = middle } else { high = middle }
    }
    low
}

/// The chance of at most `errors` of `texts` where each has the chance `risk`.
fn tail(errors: usize, texts: usize, risk: f64) -> f64 {
    if errors >= texts || risk <= 0.0 {
        return 1.0;
    }
    if risk >= 1.0 {
        return 0.0;
    }
    // Sums of logarithms: the first terms of many texts are below the smallest f64.
    let odds = (risk / (1.0 - risk)).ln();
    let mut term = texts as f64 * (-risk).ln_1p();
    let mut terms = vec![term];
    for k in 0..errors {
        term += ((texts - k) as f64 / (k + 1) as f64).ln() + odds;
        terms.push(term);
    }
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|term| (term - top).exp()).sum();
    (top + sum.ln()).exp().min(1.0)
}

/// The chance that a random one of `inside` has a larger score than one of `outside`; ties count
/// half. This is the area under the ROC curve (Hanley and McNeil 1982).
/// Not a number if one of the two has no score.
#[cfg(test)]
pub(crate) fn auroc(inside: &[f64], outside: &[f64]) -> f64 {
    let mut sorted = outside.to_vec();
    sorted.sort_by(f64::total_cmp);
    let wins = |score: &f64| {
        let below = sorted.partition_point(|other| other < score);
        let equal = sorted.partition_point(|other| other <= score) - below;
        below as f64 + equal as f64 / 2.0
    };
    let sum: f64 = inside.iter().map(wins).sum();
    sum / (inside.len() * outside.len()) as f64
}

#[cfg(test)]
mod tests {
    use rand_core::RngCore;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_tail_and_the_bound_are_those_of_the_binomial() {
        // 0.95^59 = 0.0485 and 0.95^58 = 0.0511: the well-known 59 texts.
        assert_eq!(proof(0, 0.05, 0.05), 59);
        assert_eq!(proof(1, 0.05, 0.05), 93);
        assert_eq!(proof(0, 0.1, 0.05), 29);
        // One error at most of 3 at 1/2: 1/8 + 3/8.
        assert!((tail(1, 3, 0.5) - 0.5).abs() < 1e-12);
        assert!((tail(0, 100_000, 0.05)).abs() < 1e-300);
        assert_eq!((tail(3, 3, 0.2), tail(0, 3, 0.0), tail(0, 3, 1.0)), (1.0, 1.0, 0.0));
        // Without errors the bound has a closed form; 95 of 100 is R's
        // binom.test(95, 100, alternative = "greater").
        assert!((least_accuracy(59, 59, 0.95) - 0.05f64.powf(1.0 / 59.0)).abs() < 1e-9);
        assert!((least_accuracy(95, 100, 0.95) - 0.897_750_7).abs() < 1e-4);
        assert_eq!((least_accuracy(0, 9, 0.95), least_accuracy(0, 0, 0.95)), (0.0, 0.0));
    }

    #[test]
    fn a_threshold_has_the_bound_that_it_promises_and_leaves_out_the_unsure() {
        // Of 400 texts the surer half is right, of the other half every second.
        let answer = |at: usize| (1.0 - at as f32 / 1000.0, at < 200 || at.is_multiple_of(2));
        let answers: Vec<Answer> = (0..400).map(answer).collect();
        let chosen = choose_threshold(&answers, 0.95, 0.95).unwrap();
        assert!(least_accuracy(chosen.correct, chosen.answered, 0.95) >= 0.95);
        assert!((200..240).contains(&chosen.answered), "{chosen:?}");
        assert_eq!(Answered::at(&answers, chosen.threshold), chosen);
        let all = choose_threshold(&answers[..200], 0.95, 0.95).unwrap();
        assert_eq!((all.threshold, all.answered, all.accuracy()), (0.0, 200, 1.0));
    }

    #[test]
    fn too_few_texts_and_too_many_errors_are_refused_with_the_numbers() {
        let error = choose_threshold(&[(0.9, true); 58], 0.95, 0.95).unwrap_err();
        assert_eq!(error, NoThreshold::TooFew { texts: 58, needed: 59, target: 0.95 });
        assert!(choose_threshold(&[(0.9, true); 59], 0.95, 0.95).is_ok());
        assert!(choose_threshold(&[], 0.5, 0.95).is_err());
        let answers: Vec<Answer> = (0..100).map(|at| (0.9, at % 5 > 0)).collect();
        let error = choose_threshold(&answers, 0.95, 0.95).unwrap_err().to_string();
        assert!(error.contains("20 are answered wrongly, at most 1 may be"), "{error}");
    }

    #[test]
    fn a_curve_ends_with_all_texts_and_equal_confidences_stay_together() {
        let answers: Vec<Answer> = (0..100).map(|at| (at as f32 / 100.0, at >= 50)).collect();
        let curve = curve(&answers);
        assert_eq!(curve.len(), STEPS);
        assert_eq!((curve[0].answered, curve[0].accuracy()), (5, 1.0));
        assert_eq!((curve[19].coverage(), curve[19].accuracy()), (1.0, 0.5));
        let flat = super::curve(&[(0.5, true); 40]);
        assert_eq!((flat.len(), flat[0].answered), (1, 40));
        assert!(super::curve(&[]).is_empty());
    }

    /// 1000 calibration sets of a student that is right as often as it says: the promise is broken
    /// for no more than 5 % of them, and most get a threshold.
    #[test]
    fn the_promise_is_kept_as_often_as_it_says() {
        const TARGET: f64 = 0.8;
        let uniform = |rng: &mut Rng| f64::from(rng.next_u32()) / f64::from(u32::MAX);
        // Confidence is uniform from 0.5 to 1, and correctness follows it.
        let accuracy_above = |threshold: f64| (threshold.max(0.5) + 1.0) / 2.0;
        let (mut broken, mut answered) = (0, 0);
        for draw in 0..1000 {
            let mut rng = Rng::for_item(1, "selective", draw);
            let answers: Vec<Answer> = (0..100)
                .map(|_| {
                    let confidence = 0.5 + uniform(&mut rng) / 2.0;
                    (confidence as f32, uniform(&mut rng) < confidence)
                })
                .collect();
            if let Ok(chosen) = choose_threshold(&answers, TARGET, 0.95) {
                answered += 1;
                broken += usize::from(accuracy_above(f64::from(chosen.threshold)) < TARGET);
            }
        }
        assert!(broken <= 50, "{broken} of 1000 broken");
        assert!(answered > 500, "only {answered} of 1000 answered");
    }

    #[test]
    fn the_area_under_the_roc_curve_by_hand() {
        // Of six pairs four are won and one is tied.
        let area = auroc(&[3.0, 1.0], &[1.0, 0.5, 2.0]);
        assert!((area - 4.5 / 6.0).abs() < 1e-12, "{area}");
        assert!(auroc(&[], &[1.0]).is_nan());
    }
}
