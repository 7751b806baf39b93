//! Precision, recall and F1 of each class, of one model on one test set.

use serde::{Deserialize, Serialize};

use super::{
    EvalError, Interval, in_range,
    interval::{F1_DRAWS, below},
    metrics::Tally,
    same_length, wilson,
};
use crate::rng::Rng;

/// The scores of a class, fractions of 1 with 95 % intervals over the choice of test texts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassScores {
    /// Test rows of this class.
    pub support: usize,
    /// Test rows that were predicted as this class.
    pub predicted: usize,
    /// Share of the predicted rows that are of this class, with Wilson's interval; absent if
    /// there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Interval>,
    /// Share of its rows that were predicted as it, with Wilson's interval; absent without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<Interval>,
    /// Harmonic mean of the two, with a bootstrap over the rows; absent without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<Interval>,
}

/// The scores of each class; `gold` and `predicted` are `[rows]`, the result `[classes]`. Macro-F1
/// is the mean of the F1 that are there.
///
/// # Errors
/// [`EvalError`] if there is no row, lengths differ, or a class is outside the task.
pub(crate) fn by_class(
    gold: &[usize],
    predicted: &[usize],
    classes: usize,
) -> Result<Vec<ClassScores>, EvalError> {
    same_length("gold and predicted labels", gold.len(), predicted.len())?;
    if gold.is_empty() {
        return Err(EvalError::Empty { what: "test row" });
    }
    in_range("gold", gold, classes)?;
    in_range("predicted", predicted, classes)?;
    let rows = gold.len();
    let mut tally = Tally::new(classes);
    gold.iter().zip(predicted).for_each(|(&gold, &predicted)| tally.add(gold, predicted, 1));
    let whole = tally.clone();
    let mut draws: Vec<Vec<f64>> = vec![Vec::with_capacity(F1_DRAWS as usize); classes];
    for draw in 0..F1_DRAWS {
        let mut rng = Rng::for_item(0, "eval/by_class", draw);
        tally.clear();
        for _ in 0..rows {
            let row = below(&mut rng, rows);
            tally.add(gold[row], predicted[row], 1);
        }
        for (class, draws) in
            draws.iter_mut().enumerate().filter(|(class, _)| tally.gold[*class] > 0)
        {
            draws.push(tally.f1(class));
        }
    }
    let scores = |(class, draws): (usize, Vec<f64>)| {
        let (support, predicted) = (whole.gold[class], whole.predicted[class]);
        let share = |of: usize| (of > 0).then(|| wilson(whole.hits[class], of));
        // A class of one row is in some 63 % of the draws.
        let f1 = (support > 0 && !draws.is_empty())
            .then(|| Interval::from_draws(whole.f1(class), draws));
        ClassScores { support, predicted, precision: share(predicted), recall: share(support), f1 }
    };
    Ok(draws.into_iter().enumerate().map(scores).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::macro_f1_interval;

    #[test]
    fn six_rows_by_hand() {
        // Class 0: 2 of 3 found, predicted 3 times; class 1: 1 of 2, predicted twice and once for
        // nothing; class 2: never there, predicted never; class 3: predicted, but never there.
        let (gold, predicted) = ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 3]);
        let scores = by_class(&gold, &predicted, 4).unwrap();
        let means = |class: usize| {
            let of = |it: Option<Interval>| it.map(|it| (it.mean * 1000.0).round() / 1000.0);
            (of(scores[class].precision), of(scores[class].recall), of(scores[class].f1))
        };
        assert_eq!(means(0), (Some(0.667), Some(0.667), Some(0.667)));
        assert_eq!(means(1), (Some(0.5), Some(0.333), Some(0.4)));
        assert_eq!(means(2), (None, None, None));
        assert_eq!(means(3), (Some(0.0), None, None));
        assert_eq!((scores[1].support, scores[1].predicted), (3, 2));
        for interval in scores.iter().filter_map(|score| score.f1) {
            assert!(interval.low <= interval.mean && interval.mean <= interval.high);
            assert!(interval.low < interval.high);
        }
        let macro_f1 = macro_f1_interval(&gold, &[predicted.to_vec()], 4).unwrap().mean;
        let f1: Vec<f64> = scores.iter().filter_map(|score| Some(score.f1?.mean)).collect();
        assert!((macro_f1 - f1.iter().sum::<f64>() / f1.len() as f64).abs() < 1e-12);
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        assert!(by_class(&[], &[], 2).is_err());
        assert!(by_class(&[0], &[0, 1], 2).is_err());
        assert!(by_class(&[0], &[2], 2).is_err());
    }
}
