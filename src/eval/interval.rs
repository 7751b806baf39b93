//! 95 % confidence intervals.
//!
//! A student's accuracy varies for two reasons: another training seed gives another model, and
//! another test set of the same kind contains other texts. Both are resampled (a hierarchical
//! bootstrap). All seeds predict the *same* texts, so one draw picks seeds with replacement, picks
//! texts with replacement, and scores those seeds on those texts. Drawing new texts for each seed
//! would treat a hard text as hard for one seed only, and make intervals too narrow.
//!
//! Three seeds are a small sample of seeds: the bootstrap sees (n-1)/n of their variance, so it
//! underestimates the uncertainty. With one seed, nothing is known about the variance of seeds;
//! accuracy then falls back to Wilson's interval over the texts, macro-F1 and differences to a
//! bootstrap over the texts only. Such an interval says how these two trained models differ, not
//! how the two ways of training do: [`Interval::one_seed`] marks it, and no difference is claimed.
//!
//! If two models differ on few texts, the bootstrap interval of their difference is too narrow,
//! because it draws only from the wins and losses it has seen. Four wins and no loss already
//! exclude zero; an exact sign test would need six. Larger test sets help, more resamples do not.

use rand_core::RngCore;
use serde::{Deserialize, Serialize};

use super::{EvalError, in_range, metrics::Tally, same_length};
use crate::rng::Rng;

/// Resamples for accuracy and differences: the quantiles then vary by about 0.1 points.
const DRAWS: u64 = 10_000;
/// Resamples for macro-F1; fewer, because each one needs a tally.
pub(super) const F1_DRAWS: u64 = 2_000;
/// The two-sided 95 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A score and its 95 % interval, fractions of 1 (differences: -1 to 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The score itself, averaged over seeds; not an average of resamples.
    pub mean: f64,
    /// Lower end, 2.5 %.
    pub low: f64,
    /// Upper end, 97.5 %.
    pub high: f64,
    /// Of a difference: whether a trained model in it has a single training seed. The interval then
    /// covers the choice of test texts only, and no difference is claimed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_seed: bool,
}

impl Interval {
    pub(crate) fn new(mean: f64, low: f64, high: f64) -> Self {
        Self { mean, low, high, one_seed: false }
    }

    /// Whether the interval contains 0, ends included.
    pub fn includes_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }

    /// Whether a difference is shown: the interval excludes 0 and covers training seeds too.
    pub fn shows_difference(&self) -> bool {
        !self.includes_zero() && !self.one_seed
    }

    /// What to say of a difference for which [`Self::shows_difference`] is false.
    pub(crate) fn not_shown(&self) -> &'static str {
        match self.one_seed {
            true => "no difference shown (one training seed)",
            false => "no difference shown",
        }
    }

    /// The difference b - a, given a - b.
    pub fn negated(&self) -> Self {
        Self { mean: -self.mean, low: -self.high, high: -self.low, one_seed: self.one_seed }
    }

    pub(super) fn from_draws(mean: f64, mut draws: Vec<f64>) -> Self {
        draws.sort_by(f64::total_cmp);
        let at = |share: f64| draws[((draws.len() - 1) as f64 * share).round() as usize];
        // A quantile of resamples can lie beyond the score itself by a rounding step.
        Self::new(mean, at(0.025).min(mean), at(0.975).max(mean))
    }
}

/// Wilson's score interval for `hits` of `rows` (Wilson 1927); 0 to 1 for no rows.
pub(crate) fn wilson(hits: usize, rows: usize) -> Interval {
    if rows == 0 {
        return Interval::new(0.0, 0.0, 1.0);
    }
    let (n, p, zz) = (rows as f64, hits as f64 / rows as f64, Z * Z);
    let centre = (p + zz / (2.0 * n)) / (1.0 + zz / n);
    let half = Z / (1.0 + zz / n) * (p * (1.0 - p) / n + zz / (4.0 * n * n)).sqrt();
    Interval::new(p, (centre - half).max(0.0).min(p), (centre + half).min(1.0).max(p))
}

/// Mean accuracy over seeds and its interval; `correct` is `[seeds][rows]`.
///
/// Wilson's interval is used for a single seed, and if every answer of every seed is correct (or
/// wrong): resampling constant answers would give an interval of width 0.
///
/// # Errors
/// [`EvalError`] if there is no seed or row, or seeds differ in their number of rows.
pub(crate) fn accuracy_interval(correct: &[Vec<bool>]) -> Result<Interval, EvalError> {
    let rows = shape(correct.iter().map(Vec::len))?;
    let hits: usize = correct.iter().map(|seed| seed.iter().filter(|&&hit| hit).count()).sum();
    if correct.len() == 1 || hits == 0 || hits == rows * correct.len() {
        return Ok(wilson(hits / correct.len(), rows));
    }
    let scores: Vec<Vec<i32>> =
        correct.iter().map(|seed| seed.iter().map(|&hit| i32::from(hit)).collect()).collect();
    Ok(resample(&scores, "eval/accuracy"))
}

/// Mean accuracy of `a` minus that of `b`, and its interval; both `[seeds][rows]`, the same seeds
/// and the same rows in the same order, so that rows that are hard for both cancel out.
fn paired_difference(a: &[Vec<bool>], b: &[Vec<bool>]) -> Result<Interval, EvalError> {
    same_length("training seeds of the models", a.len(), b.len())?;
    let (rows_a, rows_b) = (shape(a.iter().map(Vec::len))?, shape(b.iter().map(Vec::len))?);
    same_length("test rows of the models", rows_a, rows_b)?;
    let scores: Vec<Vec<i32>> = a
        .iter()
        .zip(b)
        .map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| i32::from(a) - i32::from(b)).collect())
        .collect();
    Ok(resample(&scores, "eval/difference"))
}

/// Mean accuracy of `a` minus that of `b`, and its interval; both `[seeds][rows]`, the same seeds
/// and the same rows in the same order, so that rows that are hard for both cancel out.
///
/// A model with a single set of answers (the teacher, which is not trained, or a variant that does
/// not depend on the seed) is compared with every seed of the other one; then only the other's
/// seeds and the rows vary.
///
/// # Errors
/// [`EvalError`] if either is empty or their shapes differ.
pub(crate) fn accuracy_difference(a: &[Vec<bool>], b: &[Vec<bool>]) -> Result<Interval, EvalError> {
    match (a, b) {
        ([one], many) if many.len() > 1 => paired_difference(&vec![one.clone(); many.len()], many),
        (many, [one]) if many.len() > 1 => paired_difference(many, &vec![one.clone(); many.len()]),
        _ => paired_difference(a, b),
    }
}

/// Mean macro-F1 over seeds and its interval; `gold` is `[rows]`, `predicted` is `[seeds][rows]`.
///
/// Each resample averages over the classes that occur in it.
///
/// # Errors
/// [`EvalError`] if there is no seed or row, shapes differ, or a class is outside the task.
pub(crate) fn macro_f1_interval(
    gold: &[usize],
    predicted: &[Vec<usize>],
    classes: usize,
) -> Result<Interval, EvalError> {
    let rows = shape(predicted.iter().map(Vec::len))?;
    same_length("gold and predicted labels", gold.len(), rows)?;
    in_range("gold", gold, classes)?;
    for seed in predicted {
        in_range("predicted", seed, classes)?;
    }
    let seeds = predicted.len();
    let mut tally = Tally::new(classes);
    let mut score = |seed: &[usize], times: &[usize]| {
        tally.clear();
        for (row, &times) in times.iter().enumerate() {
            tally.add(gold[row], seed[row], times);
        }
        tally.macro_f1()
    };
    let once = vec![1; rows];
    let mean = predicted.iter().map(|seed| score(seed, &once)).sum::<f64>() / seeds as f64;
    let mut times = vec![0_usize; rows];
    let draws = (0..F1_DRAWS)
        .map(|draw| {
            let mut rng = Rng::for_item(0, "eval/macro_f1", draw);
            times.fill(0);
            (0..rows).for_each(|_| times[below(&mut rng, rows)] += 1);
            let sum: f64 =
                (0..seeds).map(|_| score(&predicted[below(&mut rng, seeds)], &times)).sum();
            sum / seeds as f64
        })
        .collect();
    Ok(Interval::from_draws(mean, draws))
}

/// The mean of `scores`, `[seeds][rows]`, with its bootstrap interval over seeds and rows.
fn resample(scores: &[Vec<i32>], stage: &str) -> Interval {
    let cells = (scores.len() * scores[0].len()) as f64;
    let mean = scores.iter().flatten().map(|&score| f64::from(score)).sum::<f64>() / cells;
    Interval::from_draws(mean, means(scores, stage))
}

/// The mean of `scores`, `[seeds][rows]`, in each of [`DRAWS`] resamples.
fn means(scores: &[Vec<i32>], stage: &str) -> Vec<f64> {
    let (seeds, rows) = (scores.len(), scores[0].len());
    let mut sums = vec![0_i32; rows];
    (0..DRAWS)
        .map(|draw| {
            let mut rng = Rng::for_item(0, stage, draw);
            sums.fill(0);
            for _ in 0..seeds {
                for (sum, score) in sums.iter_mut().zip(&scores[below(&mut rng, seeds)]) {
                    *sum += score;
                }
            }
            let total: i64 = (0..rows).map(|_| i64::from(sums[below(&mut rng, rows)])).sum();
            total as f64 / (seeds * rows) as f64
        })
        .collect()
}

/// A uniform index below `n` by multiply-shift (Lemire 2019); the bias is below n/2^32.
pub(super) fn below(rng: &mut Rng, n: usize) -> usize {
    ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize
}

/// The number of rows, which is the same for all seeds.
fn shape(mut lengths: impl Iterator<Item = usize>) -> Result<usize, EvalError> {
    let first = lengths.next().ok_or(EvalError::Empty { what: "training seed" })?;
    if first == 0 {
        return Err(EvalError::Empty { what: "test row" });
    }
    for length in lengths {
        same_length("test rows of training seeds", first, length)?;
    }
    Ok(first)
}

#[cfg(test)]
mod tests;
