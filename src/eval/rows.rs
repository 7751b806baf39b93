//! Intervals of means and of the calibration error of one model, by a bootstrap over the test rows.

use super::{
    EvalError, Interval,
    calibration::{BINS, Calibration, bin},
    interval::{F1_DRAWS, below},
};
use crate::rng::Rng;

/// The mean of `values`, `[rows]`, and its interval.
///
/// # Errors
/// [`EvalError::Empty`] without rows.
pub(crate) fn mean_interval(values: &[f64]) -> Result<Interval, EvalError> {
    let rows = values.len();
    if rows == 0 {
        return Err(EvalError::Empty { what: "test row" });
    }
    let mean = values.iter().sum::<f64>() / rows as f64;
    let draws = (0..F1_DRAWS).map(|draw| {
        let mut rng = Rng::for_item(0, "eval/mean", draw);
        (0..rows).map(|_| values[below(&mut rng, rows)]).sum::<f64>() / rows as f64
    });
    Ok(Interval::from_draws(mean, draws.collect()))
}

/// The expected calibration error of `answers` (confidence, whether it is correct), `[rows]`, and
/// its interval.
///
/// With few rows the error of a calibrated model is above 0 too, and more so in a resample: the
/// interval leans upwards.
///
/// # Errors
/// [`EvalError`] without rows, or if a confidence is not a probability.
pub(crate) fn ece_interval(answers: &[(f32, bool)]) -> Result<Interval, EvalError> {
    let ece = Calibration::from_answers(answers.iter().copied())?.ece;
    let rows = answers.len();
    let gap = |&(confidence, correct): &(f32, bool)| {
        (bin(confidence), f64::from(u8::from(correct)) - f64::from(confidence))
    };
    let gaps: Vec<(usize, f64)> = answers.iter().map(gap).collect();
    let draws = (0..F1_DRAWS).map(|draw| {
        let mut rng = Rng::for_item(0, "eval/ece", draw);
        let mut sums = [0.0; BINS];
        for _ in 0..rows {
            let (bin, gap) = gaps[below(&mut rng, rows)];
            sums[bin] += gap;
        }
        sums.iter().map(|sum: &f64| sum.abs()).sum::<f64>() / rows as f64
    });
    Ok(Interval::from_draws(ece, draws.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_distribution() {
        let values: Vec<f64> = (0..400).map(|at| f64::from(at % 2)).collect();
        let interval = mean_interval(&values).unwrap();
        assert_eq!(interval.mean, 0.5);
        // 1.96 · 0.5 / 20.
        assert!((interval.high - 0.549).abs() < 0.005, "{interval:?}");
        assert!((interval.low - 0.451).abs() < 0.005, "{interval:?}");
        assert!(mean_interval(&[]).is_err());
    }

    #[test]
    fn the_calibration_error_is_that_of_the_diagram() {
        // 0.9 confident and 0.7 correct: the error is 0.2 ± 1.96 · √(0.21 / 500).
        let answers: Vec<(f32, bool)> = (0..500).map(|at| (0.9, at % 10 < 7)).collect();
        let interval = ece_interval(&answers).unwrap();
        assert!((interval.mean - 0.2).abs() < 1e-6);
        assert!((interval.high - interval.low - 0.08).abs() < 0.01, "{interval:?}");
        assert!(ece_interval(&[(1.5, true)]).is_err() && ece_interval(&[]).is_err());
    }
}
