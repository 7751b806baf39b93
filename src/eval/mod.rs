//! What a classifier's predictions are worth: scores, how sure one may be of them, and whether its
//! probabilities mean what they say.
//!
//! Everything here is arithmetic on class indices (and, for diversity, on words); nothing reads a file
//! or knows a model. The four rooms are [`Metrics`] (accuracy, macro-F1, confusion), [`Interval`]s (Wilson and a hierarchical
//! bootstrap over training seeds and test items, and the paired difference of two models),
//! [`Calibration`] (expected calibration error) and [`Diversity`] (distinct-2, self-BLEU).
//!
//! All scores are fractions of 1. All intervals are 95 % and deterministic: the resampling draws from
//! [`crate::rng::Rng`] under fixed keys, so the same predictions always give the same interval.

mod calibration;
mod diversity;
mod interval;
mod metrics;

use crate::hint::Hint;
pub(crate) use calibration::{Bin, Calibration};
pub(crate) use diversity::diversity;
pub(crate) use interval::{Interval, accuracy_interval, against, macro_f1_interval, wilson};

/// Why predictions could not be scored. Rows and classes count from 0, as in the slices given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// No test item, or no training seed.
    #[error("nothing to score: there is no {what}\nhint: a test set needs at least one row")]
    Empty {
        /// What was missing.
        what: &'static str,
    },
    /// Two lists that describe the same things differ in length.
    #[error(
        "{what}: {left} against {right}\nhint: predict every row of the same test set, once per training seed"
    )]
    Length {
        /// Which lists.
        what: &'static str,
        /// Length of the first list.
        left: usize,
        /// Length of the second list.
        right: usize,
    },
    /// A class index outside the task.
    #[error(
        "row {row} of {side} names class {class}, but the task has {classes} classes (0 to {})\nhint: the model and the test set must come from the same task",
        classes.saturating_sub(1)
    )]
    Class {
        /// `gold` or `predicted`.
        side: &'static str,
        /// Index of the offending row.
        row: usize,
        /// The class it names.
        class: usize,
        /// Number of classes of the task.
        classes: usize,
    },
    /// A probability that is none.
    #[error(
        "row {row}: {value} is not a probability between 0 and 1\nhint: give softmax outputs, not logits"
    )]
    Probability {
        /// Index of the offending row.
        row: usize,
        /// The value found.
        value: f64,
    },
}

impl Hint for EvalError {}

/// Which predictions are right, `[seeds][rows]`; `gold` is `[rows]`.
pub(crate) fn correct(predicted: &[impl AsRef<[usize]>], gold: &[usize]) -> Vec<Vec<bool>> {
    let right = |seed: &[usize]| {
        seed.iter().zip(gold).map(|(said, true_class)| said == true_class).collect()
    };
    predicted.iter().map(|seed| right(seed.as_ref())).collect()
}

/// Checks that two lists are equally long and not empty.
fn same_length(what: &'static str, left: usize, right: usize) -> Result<(), EvalError> {
    if left == right { Ok(()) } else { Err(EvalError::Length { what, left, right }) }
}

/// Checks that every class index lies inside the task.
fn in_range(side: &'static str, labels: &[usize], classes: usize) -> Result<(), EvalError> {
    match labels.iter().position(|&class| class >= classes) {
        Some(row) => Err(EvalError::Class { side, row, class: labels[row], classes }),
        None => Ok(()),
    }
}
