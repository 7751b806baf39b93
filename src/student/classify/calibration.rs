//! Temperature scaling (Guo et al. 2017, arXiv 1706.04599): all logits are divided by one number T,
//! fitted on texts that were not trained on.
//!
//! Fine-tuned students are overconfident. Dividing by T > 1 flattens their probabilities without
//! changing which class is the most probable. T minimises the mean negative log-likelihood of the
//! correct class, which is convex in 1/T: bisection finds the zero of its slope.

use super::super::{Result, StudentError, error::Fault};
use crate::{
    eval::Calibration,
    hint::{Hint, one_line},
};

/// Bounds of T. If every validation text is classified correctly, the likelihood keeps growing as T
/// falls; that is no reason for more confidence, and T is then at least 1.
const BOUNDS: (f64, f64) = (0.25, 16.0);
/// Bisections of the interval of ln(1/T): the result is far more precise than f32 logits.
const HALVINGS: usize = 40;

/// A fitted temperature and its effect on the texts that it was fitted on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Temperature {
    /// The divisor of logits; from 0.25 to 16.
    pub temperature: f64,
    /// Mean negative log-likelihood of the correct class, in nats.
    pub nll_before: f64,
    /// The same with the temperature.
    pub nll_after: f64,
    /// Expected calibration error in 15 bins, 0 to 1.
    pub ece_before: f64,
    /// The same with the temperature. It can be larger: the fit minimises the likelihood loss, not
    /// this.
    pub ece_after: f64,
}

/// Fits the temperature on the `logits`, `[texts][classes]`, of texts with the correct classes
/// `labels`. The texts should not be training data.
///
/// # Errors
/// [`StudentError::Training`] for no texts, a logit that is not finite, or a label that is not a
/// class.
pub(crate) fn calibrate(
    logits: &[Vec<f32>],
    labels: &[usize],
    classes: usize,
) -> Result<Temperature> {
    let fault = |message: String, hint: &'static str| {
        let message = format!("its probabilities cannot be calibrated: {message}");
        Err(StudentError::Training(Fault::with_hint(message, hint)))
    };
    if logits.is_empty() || logits.len() != labels.len() {
        return fault(
            format!("{} validation texts, {} labels", logits.len(), labels.len()),
            "give one label for each text, and at least one text",
        );
    }
    for (row, (scores, &label)) in logits.iter().zip(labels).enumerate() {
        if scores.len() != classes || label >= classes || !scores.iter().all(|x| x.is_finite()) {
            return fault(
                format!(
                    "validation text {}: class {label} of {classes}, logits {scores:?}",
                    row + 1
                ),
                "a diverged training leaves such logits; lower student.learning_rate",
            );
        }
    }
    // The slope rises with 1/T; its zero is the minimum.
    let all_correct = logits.iter().zip(labels).all(|(row, &label)| {
        row.iter().enumerate().all(|(class, &logit)| class == label || logit < row[label])
    });
    let least = if all_correct { 1.0 } else { BOUNDS.0 };
    let (mut low, mut high) = ((1.0 / BOUNDS.1).ln(), (1.0f64 / least).ln());
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if slope(logits, labels, middle.exp()) < 0.0 { low = middle } else { high = middle }
    }
    let temperature = (-(low + high) / 2.0).exp();
    let ece = |temperature: f64| -> Result<f64> {
        let shares = logits.iter().map(|row| softmax(row, temperature)).collect::<Vec<_>>();
        let calibration = Calibration::new(labels, &shares);
        calibration.map(|it| it.ece).map_err(|error| {
            let fault = match error.hint() {
                Some(hint) => Fault::with_hint(one_line(&error), hint.into_owned()),
                None => Fault::new(one_line(&error)),
            };
            StudentError::Training(fault)
        })
    };
    Ok(Temperature {
        temperature,
        nll_before: negative_log_likelihood(logits, labels, 1.0),
        nll_after: negative_log_likelihood(logits, labels, 1.0 / temperature),
        ece_before: ece(1.0)?,
        ece_after: ece(temperature)?,
    })
}

/// The softmax of `logits / temperature`.
pub(in crate::student) fn softmax(logits: &[f32], temperature: f64) -> Vec<f32> {
    let shares = shares(logits, 1.0 / temperature);
    shares.into_iter().map(|share| share as f32).collect()
}

/// Refuses a temperature that does not give probabilities; the fault's message begins with `what`.
pub(in crate::student) fn check_temperature(
    what: &str,
    temperature: f64,
) -> std::result::Result<(), Fault> {
    // Not subnormal: its reciprocal is finite, too.
    if temperature.is_normal() && temperature > 0.0 {
        return Ok(());
    }
    Err(Fault::with_hint(
        format!("{what} is {temperature}"),
        "the temperature is a positive number; 1 leaves the probabilities unchanged",
    ))
}

fn shares(logits: &[f32], scale: f64) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut shares = logits
        .iter()
        .map(|&logit| ((f64::from(logit) - f64::from(top)) * scale).exp())
        .collect::<Vec<_>>();
    let sum = shares.iter().sum::<f64>();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

/// Mean negative log-likelihood of the correct class, with all logits times `scale`.
fn negative_log_likelihood(logits: &[Vec<f32>], labels: &[usize], scale: f64) -> f64 {
    let row = |(row, &label): (&Vec<f32>, &usize)| {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let over = |logit: f32| (f64::from(logit) - f64::from(top)) * scale;
        row.iter().map(|&logit| over(logit).exp()).sum::<f64>().ln() - over(row[label])
    };
    logits.iter().zip(labels).map(row).sum::<f64>() / logits.len() as f64
}

/// Slope of [`negative_log_likelihood`] in `scale`, up to a positive factor: the sum of (expected
/// logit - correct class's logit).
fn slope(logits: &[Vec<f32>], labels: &[usize], scale: f64) -> f64 {
    let row = |(row, &label): (&Vec<f32>, &usize)| {
        let expected = shares(row, scale).into_iter().zip(row).map(|(p, &z)| p * f64::from(z));
        expected.sum::<f64>() - f64::from(row[label])
    };
    logits.iter().zip(labels).map(row).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_correct_in_four_with_one_logit_worked_by_hand() {
        // Logits (3, 0), correct three times in four: the best probability is 3/4, with log odds
        // ln 3 = 3/T, so T = 3 / ln 3.
        let logits = vec![vec![3.0, 0.0]; 4];
        let fit = calibrate(&logits, &[0, 0, 1, 0], 2).unwrap();
        assert!((fit.temperature - 3.0 / 3f64.ln()).abs() < 1e-6, "{fit:?}");
        let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((fit.nll_after - entropy).abs() < 1e-9 && fit.nll_before > fit.nll_after);
        assert!((fit.ece_before - (1.0 / (1.0 + (-3f64).exp()) - 0.75)).abs() < 1e-6);
        assert!(fit.ece_after < 1e-6);
    }

    #[test]
    fn no_other_temperature_has_a_lower_loss() {
        // The correct class has the highest logit in most rows, in some by a wide margin.
        let labels = (0..40).map(|at| at * 3 % 7 % 3).collect::<Vec<usize>>();
        let logit = |at: usize, class: usize| {
            ((at * 7 + class * 5) % 11) as f32 + if labels[at] == class { 5.0 } else { 0.0 }
        };
        let logits =
            (0..40).map(|at| (0..3).map(|class| logit(at, class)).collect()).collect::<Vec<_>>();
        let fit = calibrate(&logits, &labels, 3).unwrap();
        assert!(fit.temperature > 1.0 && fit.temperature < 15.0, "{fit:?}");
        for at in 0..400 {
            let temperature = 0.25 * 1.01f64.powi(at);
            let here = negative_log_likelihood(&logits, &labels, 1.0 / temperature);
            assert!(here > fit.nll_after - 1e-12, "{temperature}: {here} {fit:?}");
        }
    }

    #[test]
    fn texts_that_are_all_correct_change_nothing_and_all_wrong_ones_end_at_the_bound() {
        let logits = vec![vec![1.0, 0.0]; 3];
        let fit = |label| calibrate(&logits, &[label; 3], 2).unwrap().temperature;
        assert!((fit(0) - 1.0).abs() < 1e-6 && (fit(1) - BOUNDS.1).abs() < 1e-6);
    }

    #[test]
    fn the_most_probable_class_stays_and_invalid_rows_are_refused() {
        for temperature in [0.25, 1.0, 16.0] {
            let shares = softmax(&[2.0, -1.0, 900.0], temperature);
            assert!(shares[2] > shares[0] && shares[0] >= shares[1], "{shares:?}");
            assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert!(calibrate(&[], &[], 2).is_err());
        assert!(calibrate(&[vec![f32::NAN, 0.0]], &[0], 2).is_err());
        let error = calibrate(&[vec![1.0, 0.0]], &[2], 2).unwrap_err().to_string();
        assert!(error.contains("validation text 1: class 2 of 2"), "{error}");
    }
}
