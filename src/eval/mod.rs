//! The quality of a classifier's predictions: scores, their confidence intervals, and calibration.
//!
//! Everything here is arithmetic on class indices (and, for diversity, on words); nothing reads a
//! file or knows a model. There are macro-F1 and the scores of each class, [`Interval`]s (Wilson, a
//! hierarchical bootstrap over training seeds and test items, and the paired difference of two
//! models), [`Calibration`] (expected calibration error), thresholds of confidence with a promised
//! accuracy, and diversity (distinct-2, self-BLEU).
//!
//! All scores are fractions of 1. All intervals are 95 % and deterministic: the resampling draws
//! from [`crate::rng::Rng`] with fixed keys, so the same predictions always give the same interval.

mod by_class;
mod calibration;
mod diversity;
mod interval;
mod metrics;
mod rows;
mod selective;

use std::borrow::Cow;

use crate::hint::Hint;
pub(crate) use by_class::{ClassScores, by_class};
pub(crate) use calibration::{Bin, Calibration};
pub(crate) use diversity::diversity;
pub(crate) use interval::{
    Interval, accuracy_difference, accuracy_interval, macro_f1_interval, wilson,
};
pub(crate) use rows::{ece_interval, mean_interval};
#[cfg(test)]
pub(crate) use selective::auroc;
pub(crate) use selective::{
    Answer, Answered, NoThreshold, choose_threshold, curve, least_accuracy,
};

/// Why predictions could not be scored. Rows and classes count from 0, as in the slices given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// There is no test row, training seed or class.
    #[error("nothing to score: there is no {what}")]
    Empty { what: &'static str },
    /// Two lists that describe the same items differ in length.
    #[error("the number of {what} differs: {left} and {right}")]
    Length { what: &'static str, left: usize, right: usize },
    /// A class index is outside the task; `side` is `gold` or `predicted`.
    #[error(
        "row {row} of {side} has class {class}, but the task has {classes} classes (0 to {})",
        classes.saturating_sub(1)
    )]
    Class { side: &'static str, row: usize, class: usize, classes: usize },
    /// A value is not a probability.
    #[error("row {row}: {value} is not a probability between 0 and 1")]
    Probability { row: usize, value: f64 },
}

impl Hint for EvalError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Empty { .. } => "a test set needs at least one row",
            Self::Length { .. } => {
                "predict every row of the same test set, once for each training seed"
            }
            Self::Class { .. } => "use a model and a test set of the same task",
            Self::Probability { .. } => "pass the output of softmax, not logits",
        };
        Some(hint.into())
    }
}

/// Whether each prediction is correct, `[seeds][rows]`; `gold` is `[rows]`.
pub(crate) fn correct(predicted: &[impl AsRef<[usize]>], gold: &[usize]) -> Vec<Vec<bool>> {
    let of_seed = |seed: &[usize]| seed.iter().zip(gold).map(|(a, b)| a == b).collect();
    predicted.iter().map(|seed| of_seed(seed.as_ref())).collect()
}

/// Checks that two lists have the same length.
fn same_length(what: &'static str, left: usize, right: usize) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::Length { what, left, right }) }
}

/// Checks that every class index is within the task.
fn in_range(side: &'static str, labels: &[usize], classes: usize) -> Result<(), EvalError> {
    match labels.iter().position(|&class| class >= classes) {
        Some(row) => Err(EvalError::Class { side, row, class: labels[row], classes }),
        None => Ok(()),
    }
}
