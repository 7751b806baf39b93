//! How an existing classifier does on labelled texts: the result of `promptmix evaluate`.

use serde::{Deserialize, Serialize};

use super::Class;
use crate::eval::{
    self, Calibration, ClassScores, EvalError, Interval, accuracy_difference, accuracy_interval,
    by_class, ece_interval, macro_f1_interval, mean_interval,
};

/// The scores of a classifier on a file of labelled texts. Shares are fractions of 1, intervals are
/// 95 % over the choice of texts: the model is given, no training seed varies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evaluation {
    /// The version of this program.
    pub version: String,
    pub model: Input,
    pub file: Input,
    /// Texts that were longer than the model reads.
    pub truncated: usize,
    /// Rows of the file.
    pub rows: usize,
    pub accuracy: Interval,
    /// Unweighted mean F1 of the classes that the file has.
    pub macro_f1: Interval,
    /// The scores of each class, in the order of the model.
    pub classes: Vec<ClassResult>,
    pub calibration: CalibrationResult,
    /// Counts, `[true class][predicted class]`, in the order of `classes`.
    pub confusion: Vec<Vec<u64>>,
    /// The same of another model on the same texts, and the difference; absent without
    /// `--against`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// A file that the result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    /// Its path as it was given.
    pub path: String,
    /// SHA-256 of the file, of a model that of its weights; hexadecimal.
    pub sha256: String,
}

/// A class and its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassResult {
    pub name: String,
    #[serde(flatten)]
    pub scores: ClassScores,
}

/// How confidence and accuracy agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CalibrationResult {
    /// Expected calibration error with its interval, which leans upwards on few texts.
    pub ece: Interval,
    /// Brier score: mean squared distance of the probabilities and the truth, over all classes;
    /// 0 to 2.
    pub brier: Interval,
    /// Fifteen bins of equal width.
    pub bins: Vec<eval::Bin>,
}

/// Another model on the same texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Against {
    pub model: Input,
    pub accuracy: Interval,
    /// Accuracy of the first model minus that of this one, paired by text.
    pub difference: Interval,
    /// Texts that only the first model gets right, and those that only this one does.
    pub wins: usize,
    pub losses: usize,
}

/// The answers of a classifier, row by row; 24 bytes a row.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// True classes.
    pub gold: Vec<usize>,
    /// Predicted classes.
    pub predicted: Vec<usize>,
    /// The probability of each predicted class.
    pub confidence: Vec<f32>,
    /// The squared distance of the probabilities and the truth.
    pub brier: Vec<f32>,
    /// Texts that were cut.
    pub truncated: usize,
}

impl Answers {
    /// Adds a text of class `gold`, which has these `probabilities`, `[classes]`.
    pub(crate) fn push(&mut self, gold: usize, predicted: usize, probabilities: &[f32]) {
        let distance = |(class, &share): (usize, &f32)| {
            let truth = if class == gold { 1.0 } else { 0.0 };
            (share - truth).powi(2)
        };
        self.gold.push(gold);
        self.predicted.push(predicted);
        self.confidence.push(probabilities[predicted]);
        self.brier.push(probabilities.iter().enumerate().map(distance).sum());
    }

    fn correct(&self) -> Vec<bool> {
        self.gold.iter().zip(&self.predicted).map(|(gold, predicted)| gold == predicted).collect()
    }
}

impl Evaluation {
    /// Scores the answers of `model`, whose classes are `labels`, on the texts of `file`.
    ///
    /// # Errors
    /// [`EvalError`] without rows, or if a confidence is not a probability.
    pub(crate) fn new(
        model: Input,
        file: Input,
        labels: &[String],
        answers: &Answers,
    ) -> Result<Self, EvalError> {
        let (gold, predicted) = (&answers.gold, &answers.predicted);
        let correct = answers.correct();
        let named =
            |(name, scores): (&String, ClassScores)| ClassResult { name: name.clone(), scores };
        let scores = by_class(gold, predicted, labels.len())?;
        let pairs: Vec<(f32, bool)> =
            answers.confidence.iter().copied().zip(correct.iter().copied()).collect();
        let brier: Vec<f64> = answers.brier.iter().map(|&value| f64::from(value)).collect();
        let mut confusion = vec![vec![0; labels.len()]; labels.len()];
        gold.iter().zip(predicted).for_each(|(&gold, &predicted)| confusion[gold][predicted] += 1);
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model,
            file,
            truncated: answers.truncated,
            rows: gold.len(),
            accuracy: accuracy_interval(std::slice::from_ref(&correct))?,
            macro_f1: macro_f1_interval(gold, std::slice::from_ref(predicted), labels.len())?,
            classes: labels.iter().zip(scores).map(named).collect(),
            calibration: CalibrationResult {
                ece: ece_interval(&pairs)?,
                brier: mean_interval(&brier)?,
                bins: Calibration::from_answers(pairs)?.bins,
            },
            confusion,
            against: None,
        })
    }

    /// Adds another model, whose answers on the same texts are `other`; those of the first one are
    /// `answers`.
    ///
    /// # Errors
    /// [`EvalError`] if the numbers of rows differ.
    pub(crate) fn set_against(
        &mut self,
        model: Input,
        answers: &Answers,
        other: &Answers,
    ) -> Result<(), EvalError> {
        let (one, other) = (answers.correct(), other.correct());
        let difference =
            accuracy_difference(std::slice::from_ref(&one), std::slice::from_ref(&other))?;
        let only = |a: bool| one.iter().zip(&other).filter(|it| (*it.0, *it.1) == (a, !a)).count();
        self.against = Some(Against {
            model,
            accuracy: accuracy_interval(std::slice::from_ref(&other))?,
            difference,
            wins: only(true),
            losses: only(false),
        });
        Ok(())
    }

    /// The calibration as the report has it.
    pub(super) fn reliability(&self) -> Calibration {
        Calibration { ece: self.calibration.ece.mean, bins: self.calibration.bins.clone() }
    }

    /// The classes as the report has them.
    pub(super) fn report_classes(&self) -> Vec<Class> {
        let class = |it: &ClassResult| Class { name: it.name.clone(), description: String::new() };
        self.classes.iter().map(class).collect()
    }

    /// What the reader should know before relying on the scores.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let missing = self.classes.iter().filter(|class| class.scores.support == 0).count();
        if missing > 0 {
            warnings.push(format!(
                "the file has no text of {missing} of the {} classes of the model; macro-F1 is over the others",
                self.classes.len()
            ));
        }
        if self.truncated > 0 {
            warnings.push(format!(
                "{} of {} texts are longer than the model reads and were cut",
                self.truncated, self.rows
            ));
        }
        warnings
    }
}

impl Against {
    /// What the difference says. Both models are given, so that the interval over texts is all
    /// there is to know: no training seed varies.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.difference {
            interval if interval.includes_zero() => "no difference shown",
            interval if interval.mean > 0.0 => "better",
            _ => "worse",
        }
    }
}

#[cfg(test)]
pub(crate) fn sample() -> Evaluation {
    let input = |path: &str| Input { path: path.to_owned(), sha256: "0".repeat(64) };
    let labels = ["vpn", "printer & fax", "other"].map(str::to_owned);
    let answers = |wrong_every: usize| {
        let mut answers = Answers::default();
        for row in 0..120 {
            let gold = row % 2;
            let predicted = if row % wrong_every == 0 { 2 } else { gold };
            let mut shares = [0.05, 0.05, 0.05];
            shares[predicted] = 0.9;
            answers.push(gold, predicted, &shares);
        }
        answers
    };
    let (one, other) = (answers(10), answers(4));
    let mut evaluation =
        Evaluation::new(input("student"), input("new.csv"), &labels, &one).expect("rows");
    evaluation.set_against(input("older"), &one, &other).expect("the same rows");
    evaluation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scores_by_hand() {
        let evaluation = sample();
        assert!((evaluation.accuracy.mean - 0.9).abs() < 1e-12);
        assert_eq!(evaluation.rows, 120);
        // Right: 2 · 0.05² + 0.1²; wrong: 0.05² + 0.95² + 0.9².
        let brier = 0.9 * 0.015 + 0.1 * 1.715;
        assert!((evaluation.calibration.brier.mean - brier).abs() < 1e-6);
        assert!(evaluation.calibration.ece.mean < 1e-6);
        assert_eq!(evaluation.confusion, [[48, 0, 12], [0, 60, 0], [0, 0, 0]]);
        let against = evaluation.against.as_ref().unwrap();
        // Of 120 rows the first is wrong in 12, the other in 30; both in 6.
        assert_eq!((against.wins, against.losses), (24, 6));
        assert!((against.difference.mean - 0.15).abs() < 1e-12);
        assert_eq!(against.verdict(), "better");
        assert_eq!(evaluation.warnings().len(), 1);
        let json = serde_json::to_string(&evaluation).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), evaluation);
    }
}
