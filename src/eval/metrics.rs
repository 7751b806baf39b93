//! Point scores of one list of predictions.

#[cfg(test)]
use super::{EvalError, in_range, same_length};

/// Scores of one model on one test set.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metrics {
    /// Share of rows predicted right, 0 to 1.
    pub accuracy: f64,
    /// Unweighted mean F1 of the classes that occur in the test set, 0 to 1.
    pub macro_f1: f64,
    /// Counts, `[true class][predicted class]`, shape `[classes, classes]`.
    pub confusion: Vec<Vec<usize>>,
    /// Scores of each class, in the task's order.
    pub per_class: Vec<ClassMetrics>,
}

/// Scores of one class; 0 where a denominator is 0.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClassMetrics {
    /// Of the rows predicted as this class, the share that is.
    pub precision: f64,
    /// Of the rows of this class, the share that was found.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Rows of this class in the test set.
    pub support: usize,
}

#[cfg(test)]
impl Metrics {
    /// Scores `predicted` against `gold`, both `[rows]` of class indices below `classes`.
    ///
    /// Macro-F1 is the mean over classes with support, so a class that the test set lacks neither
    /// helps nor harms; predicting it still costs the recall of the class that was meant.
    ///
    /// # Errors
    /// [`EvalError`] where the lists are empty, differ in length or name a class outside the task.
    pub(crate) fn new(
        gold: &[usize],
        predicted: &[usize],
        classes: usize,
    ) -> Result<Self, EvalError> {
        same_length("rows of gold and of predicted labels", gold.len(), predicted.len())?;
        if gold.is_empty() {
            return Err(EvalError::Empty { what: "test row" });
        }
        in_range("gold", gold, classes)?;
        in_range("predicted", predicted, classes)?;
        let mut confusion = vec![vec![0; classes]; classes];
        for (&truth, &guess) in gold.iter().zip(predicted) {
            confusion[truth][guess] += 1;
        }
        let mut tally = Tally::new(classes);
        for (&truth, &guess) in gold.iter().zip(predicted) {
            tally.add(truth, guess, 1);
        }
        let hits: usize = tally.hits.iter().sum();
        Ok(Self {
            accuracy: hits as f64 / gold.len() as f64,
            macro_f1: tally.macro_f1(),
            confusion,
            per_class: (0..classes).map(|class| tally.class(class)).collect(),
        })
    }
}

/// The three margins of a confusion matrix that F1 needs; cheap enough to refill per resample.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    hits: Vec<usize>,
    gold: Vec<usize>,
    predicted: Vec<usize>,
}

impl Tally {
    pub(super) fn new(classes: usize) -> Self {
        Self { hits: vec![0; classes], gold: vec![0; classes], predicted: vec![0; classes] }
    }

    pub(super) fn clear(&mut self) {
        self.hits.fill(0);
        self.gold.fill(0);
        self.predicted.fill(0);
    }

    pub(super) fn add(&mut self, truth: usize, guess: usize, times: usize) {
        self.gold[truth] += times;
        self.predicted[guess] += times;
        if truth == guess {
            self.hits[truth] += times;
        }
    }

    /// F1 = 2·hits / (gold + predicted), averaged over classes with support; 0 without any.
    pub(super) fn macro_f1(&self) -> f64 {
        let (mut sum, mut seen) = (0.0, 0_usize);
        for class in 0..self.gold.len() {
            if self.gold[class] > 0 {
                sum += 2.0 * self.hits[class] as f64
                    / (self.gold[class] + self.predicted[class]) as f64;
                seen += 1;
            }
        }
        if seen == 0 { 0.0 } else { sum / seen as f64 }
    }

    #[cfg(test)]
    fn class(&self, class: usize) -> ClassMetrics {
        let (hits, gold, predicted) = (self.hits[class], self.gold[class], self.predicted[class]);
        ClassMetrics {
            precision: share(hits, predicted),
            recall: share(hits, gold),
            f1: share(2 * hits, gold + predicted),
            support: gold,
        }
    }
}

#[cfg(test)]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_rows_by_hand() {
        // class 0: 2 of 3 found, predicted 3 times; class 1: 1 of 2, predicted twice; class 2: found.
        let metrics = Metrics::new(&[0, 0, 0, 1, 1, 2], &[0, 0, 1, 1, 0, 2], 3).unwrap();
        assert!((metrics.accuracy - 4.0 / 6.0).abs() < 1e-12);
        assert_eq!(metrics.confusion, vec![vec![2, 1, 0], vec![1, 1, 0], vec![0, 0, 1]]);
        let f1 = [2.0 / 3.0, 0.5, 1.0];
        for (class, expected) in metrics.per_class.iter().zip(f1) {
            assert!((class.f1 - expected).abs() < 1e-12);
        }
        assert!((metrics.macro_f1 - (2.0 / 3.0 + 0.5 + 1.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_class_without_support_is_left_out_of_the_mean() {
        let metrics = Metrics::new(&[0, 0, 1], &[0, 2, 1], 4).unwrap();
        // class 0: precision 1, recall 1/2, F1 2/3; class 1: 1; classes 2 and 3 have no row.
        assert!((metrics.macro_f1 - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        let zero = ClassMetrics { precision: 0.0, recall: 0.0, f1: 0.0, support: 0 };
        assert_eq!(metrics.per_class[2], zero);
        assert_eq!(metrics.per_class[3], zero);
    }

    #[test]
    fn faults_name_the_row() {
        assert_eq!(Metrics::new(&[], &[], 2).unwrap_err(), EvalError::Empty { what: "test row" });
        let text = Metrics::new(&[0, 1], &[0, 2], 2).unwrap_err().to_string();
        assert!(text.contains("row 1 of predicted names class 2"), "{text}");
        assert!(Metrics::new(&[0], &[0, 1], 2).unwrap_err().to_string().contains("1 against 2"));
    }
}
