//! Calibration: whether predictions with 90 % confidence are correct nine times in ten.

use serde::{Deserialize, Serialize};

use super::{EvalError, in_range, same_length};

/// Bins of equal width, as in Guo et al. 2017 (arXiv 1706.04599).
pub(super) const BINS: usize = 15;

/// Confidence (the highest probability) compared with accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: mean |accuracy - confidence| of the bins, weighted by rows,
    /// 0 to 1.
    pub ece: f64,
    /// Fifteen bins of equal width over confidences from 0 to 1.
    pub bins: Vec<Bin>,
}

/// The rows with a confidence in one bin (its upper end included).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Bin {
    /// Rows in the bin.
    pub rows: usize,
    /// Their mean confidence; 0 without rows.
    pub confidence: f64,
    /// Their accuracy; 0 without rows.
    pub accuracy: f64,
}

impl Calibration {
    /// Compares `probabilities`, `[rows][classes]`, with `gold`, `[rows]`.
    ///
    /// # Errors
    /// [`EvalError`] if there is no row, lengths differ, a class is outside the row's
    /// probabilities, or a value is not a probability.
    pub fn new(gold: &[usize], probabilities: &[Vec<f32>]) -> Result<Self, EvalError> {
        same_length("gold labels and rows of probabilities", gold.len(), probabilities.len())?;
        let classes = probabilities.first().ok_or(EvalError::Empty { what: "test row" })?.len();
        if classes == 0 {
            return Err(EvalError::Empty { what: "class" });
        }
        in_range("gold", gold, classes)?;
        let mut answers = Vec::with_capacity(gold.len());
        for (row, (&truth, probabilities)) in gold.iter().zip(probabilities).enumerate() {
            same_length("probabilities in two rows", classes, probabilities.len())?;
            let (mut guess, mut confidence) = (0, f32::MIN);
            for (class, &value) in probabilities.iter().enumerate() {
                is_probability(row, value)?;
                if value > confidence {
                    (guess, confidence) = (class, value);
                }
            }
            answers.push((confidence, guess == truth));
        }
        Self::from_answers(answers)
    }

    /// Compares the confidence of each answer with whether it was correct.
    ///
    /// # Errors
    /// [`EvalError`] if there is no answer or a confidence is not a probability.
    pub fn from_answers(answers: impl IntoIterator<Item = (f32, bool)>) -> Result<Self, EvalError> {
        let mut bins = vec![Bin::default(); BINS];
        let mut rows = 0_u32;
        for (row, (confidence, right)) in answers.into_iter().enumerate() {
            is_probability(row, confidence)?;
            let index = bin(confidence);
            let confidence = f64::from(confidence);
            bins[index].rows += 1;
            bins[index].confidence += confidence;
            bins[index].accuracy += f64::from(u8::from(right));
            rows += 1;
        }
        if rows == 0 {
            return Err(EvalError::Empty { what: "test row" });
        }
        let mut ece = 0.0;
        for bin in bins.iter_mut().filter(|bin| bin.rows > 0) {
            ece += (bin.accuracy - bin.confidence).abs() / f64::from(rows);
            bin.confidence /= bin.rows as f64;
            bin.accuracy /= bin.rows as f64;
        }
        Ok(Self { ece, bins })
    }
}

/// The bin of a confidence.
pub(super) fn bin(confidence: f32) -> usize {
    ((f64::from(confidence) * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

/// Checks that `value`, of row `row`, is a probability.
fn is_probability(row: usize, value: f32) -> Result<(), EvalError> {
    let value = f64::from(value);
    // Softmax in f32 can exceed 1 by a few units in the last place.
    if (0.0..=1.0 + 1e-5).contains(&value) {
        Ok(())
    } else {
        Err(EvalError::Probability { row, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint as _;

    #[test]
    fn four_rows_by_hand() {
        // Two rows at 0.75, one correct: gap 0.25. Two at 1.0, both correct: gap 0. ECE = 0.125.
        let probabilities = [vec![0.75, 0.25], vec![0.25, 0.75], vec![1.0, 0.0], vec![0.0, 1.0]];
        let calibration = Calibration::new(&[0, 0, 0, 1], &probabilities).unwrap();
        assert!((calibration.ece - 0.125).abs() < 1e-9, "{calibration:?}");
        assert_eq!(calibration.bins.len(), 15);
        // 0.75 · 15 = 11.25, so the twelfth bin; 1.0 belongs to the last.
        assert_eq!(calibration.bins[11], Bin { rows: 2, confidence: 0.75, accuracy: 0.5 });
        assert_eq!(calibration.bins[14].rows, 2);
    }

    #[test]
    fn answers_by_hand() {
        // One bin of three: mean confidence 0.5, 2 of 3 correct, gap 1/6. A missing answer (wrong,
        // confidence 0) is in the first bin, without a gap. ECE = 3/4 · 1/6.
        let answers = [(0.5, true), (0.48, false), (0.52, true), (0.0, false)];
        let calibration = Calibration::from_answers(answers).unwrap();
        assert!((calibration.ece - 0.125).abs() < 1e-7, "{calibration:?}");
        assert_eq!(calibration.bins[0], Bin { rows: 1, confidence: 0.0, accuracy: 0.0 });
        // 0.48 · 15 = 7.2 and 0.52 · 15 = 7.8: the eighth.
        assert_eq!(calibration.bins[7].rows, 3);
        assert!(Calibration::from_answers([(1.5, true)]).is_err());
        assert!(Calibration::from_answers([]).is_err());
    }

    #[test]
    fn logits_are_rejected() {
        let error = Calibration::new(&[0], &[vec![3.2, -1.0]]).unwrap_err();
        assert!(error.to_string().contains("row 0: 3.2"), "{error}");
        assert!(error.hint().unwrap().contains("not logits"));
        assert!(Calibration::new(&[0], &[vec![f32::NAN, 0.5]]).is_err());
        assert!(Calibration::new(&[2], &[vec![0.5, 0.5]]).is_err());
        assert!(Calibration::new(&[], &[]).is_err());
    }
}
