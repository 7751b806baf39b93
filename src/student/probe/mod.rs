//! The probe: logistic regression on the embeddings of a frozen encoder. It is fitted in a second,
//! judges texts that it did not see, and is where the head of a student starts.
//!
//! | file | what it is for |
//! |---|---|
//! | `lbfgs` | the optimiser |
//! | `folds` | cross-validation: the choice of C, and predictions of held-out texts |

mod folds;
mod lbfgs;

use super::cpu::{Matrix, ProductInit, Target, product};
use crate::embed::normalise;
pub(crate) use folds::{DEFAULT_C, Labelled, choose_c, folds, out_of_fold};
use lbfgs::Limits;

/// Enough for 150 classes; most fits end before by their tolerance.
const LIMITS: Limits = Limits { iterations: 200, tolerance: 1e-6 };

/// Vectors of equal width: the embeddings of some texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Features {
    /// `[texts, width]`.
    values: Vec<f32>,
    width: usize,
}

impl Features {
    /// Of `[texts][width]`.
    pub(crate) fn new(vectors: &[Vec<f32>]) -> Self {
        let width = vectors.first().map_or(0, Vec::len);
        Self { values: vectors.concat(), width }
    }

    /// Number of texts.
    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// The vector of text number `text`.
    pub(crate) fn row(&self, text: usize) -> &[f32] {
        &self.values[text * self.width..][..self.width]
    }

    /// Adds `[texts][width]` at the end.
    pub(crate) fn extend(&mut self, vectors: &[Vec<f32>]) {
        self.width = self.width.max(vectors.first().map_or(0, Vec::len));
        vectors.iter().for_each(|vector| self.values.extend_from_slice(vector));
    }

    /// The mean of the vectors.
    pub(crate) fn mean(&self) -> Vec<f32> {
        let mut sum = vec![0f64; self.width];
        for row in self.values.chunks_exact(self.width.max(1)) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        sum.into_iter().map(|sum| (sum / self.len().max(1) as f64) as f32).collect()
    }

    /// The vectors less `mean`, scaled to unit length.
    pub(crate) fn centred(&self, mean: &[f32]) -> Self {
        let mut values = self.values.clone();
        for row in values.chunks_exact_mut(self.width.max(1)) {
            row.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
            normalise(row);
        }
        Self { values, width: self.width }
    }

    /// The vectors of `texts`, in this order.
    pub(crate) fn select(&self, texts: &[usize]) -> Self {
        let values = texts.iter().flat_map(|&text| self.row(text)).copied().collect();
        Self { values, width: self.width }
    }

    /// These and those of `more`.
    pub(crate) fn with(&self, more: &Self) -> Self {
        Self { values: [&self.values[..], &more.values].concat(), width: self.width }
    }
}

/// What is known about the class of each text: a distribution over the classes, times the weight
/// of the text. A known label is a one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Targets {
    /// `[texts, classes]`; a row sums to the weight of its text.
    pub values: Vec<f32>,
    pub classes: usize,
}

impl Targets {
    /// Of one label for each text.
    pub(crate) fn of_labels(labels: &[usize], classes: usize) -> Self {
        let mut values = vec![0f32; labels.len() * classes];
        for (row, &label) in values.chunks_exact_mut(classes.max(1)).zip(labels) {
            row[label] = 1.0;
        }
        Self { values, classes }
    }

    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.classes.max(1))
    }

    /// The rows of `texts`, in this order.
    pub(crate) fn select(&self, texts: &[usize]) -> Self {
        let row = |&text: &usize| &self.values[text * self.classes..][..self.classes];
        Self { values: texts.iter().flat_map(row).copied().collect(), classes: self.classes }
    }

    /// These and those of `more`.
    pub(crate) fn with(&self, more: &Self) -> Self {
        Self { values: [&self.values[..], &more.values].concat(), classes: self.classes }
    }
}

/// A multinomial logistic regression with an L2 penalty on the weights, not on the biases.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogisticRegression {
    /// `[classes, width]`.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

impl LogisticRegression {
    /// Minimises Σ cross-entropy + ‖weight‖² / 2·`c`, as scikit-learn's `LogisticRegression(C=c)`
    /// does: the larger `c`, the closer the fit.
    pub(crate) fn fit(features: &Features, targets: &Targets, c: f64) -> Self {
        let classes = targets.classes;
        let objective = Objective { features, targets, c };
        let mut point = vec![0f32; classes * (features.width + 1)];
        let (mut logits, mut errors) = (Vec::new(), Vec::new());
        lbfgs::minimise(&mut point, LIMITS, |at, gradient| {
            objective.evaluate(at, gradient, &mut logits, &mut errors)
        });
        let bias = point.split_off(classes * features.width);
        Self { weight: point, bias }
    }

    /// The logarithm of the probability of each class for each text, `[texts, classes]`.
    pub(crate) fn log_probabilities(&self, features: &Features) -> Vec<f32> {
        let classes = self.bias.len();
        let mut logits = vec![0f32; features.len() * classes];
        self.logits(features, &mut logits);
        logits.chunks_exact_mut(classes.max(1)).for_each(log_softmax);
        logits
    }

    fn logits(&self, features: &Features, out: &mut [f32]) {
        let classes = self.bias.len();
        product(
            Matrix::new(&features.values, features.width),
            Matrix::new(&self.weight, features.width).transposed(),
            Target::new(out, classes),
            ProductInit::Row(&self.bias),
        );
    }
}

/// The function that a fit minimises.
struct Objective<'a> {
    features: &'a Features,
    targets: &'a Targets,
    c: f64,
}

impl Objective<'_> {
    /// The value at `point`, the weights and then the biases; its gradient into `gradient`.
    fn evaluate(
        &self,
        point: &[f32],
        gradient: &mut [f32],
        logits: &mut Vec<f32>,
        errors: &mut Vec<f32>,
    ) -> f64 {
        let (width, classes) = (self.features.width, self.targets.classes);
        let (weight, bias) = point.split_at(classes * width);
        logits.resize(self.targets.values.len(), 0.0);
        errors.resize(self.targets.values.len(), 0.0);
        let features = Matrix::new(&self.features.values, width);
        let weights = Matrix::new(weight, width).transposed();
        product(features, weights, Target::new(logits, classes), ProductInit::Row(bias));
        let (weight_gradient, bias_gradient) = gradient.split_at_mut(classes * width);
        bias_gradient.fill(0.0);
        let mut value = 0.0;
        let rows = logits.chunks_exact_mut(classes).zip(errors.chunks_exact_mut(classes));
        for ((logs, errors), target) in rows.zip(self.targets.rows()) {
            log_softmax(logs);
            let total: f32 = target.iter().sum();
            for class in 0..classes {
                value -= f64::from(target[class]) * f64::from(logs[class]);
                errors[class] = total * logs[class].exp() - target[class];
                bias_gradient[class] += errors[class];
            }
        }
        product(
            Matrix::new(errors, classes).transposed(),
            features,
            Target::new(weight_gradient, width),
            ProductInit::Zero,
        );
        let penalty = (1.0 / self.c) as f32;
        for (gradient, weight) in weight_gradient.iter_mut().zip(weight) {
            *gradient += weight * penalty;
        }
        let squares: f64 = weight.iter().map(|weight| f64::from(*weight).powi(2)).sum();
        value + squares / (2.0 * self.c)
    }
}

/// Logits to logarithms of probabilities, in place.
pub(crate) fn log_softmax(row: &mut [f32]) {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|value| f64::from(value - top).exp()).sum();
    let shift = top + sum.ln() as f32;
    row.iter_mut().for_each(|value| *value -= shift);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> (Features, Vec<usize>) {
        let at = |x: f32, y: f32| vec![x, y];
        let vectors = [at(1.0, 0.1), at(0.9, -0.1), at(-0.2, 1.0), at(0.1, 0.8), at(-1.0, -1.0)];
        (Features::new(&vectors), vec![0, 0, 1, 1, 2])
    }

    #[test]
    fn a_fit_equals_that_of_scikit_learn() {
        let (features, labels) = points();
        let fit = LogisticRegression::fit(&features, &Targets::of_labels(&labels, 3), 10.0);
        // LogisticRegression(C=10, tol=1e-10, max_iter=10000) of scikit-learn 1.9.
        let wanted = [
            2.051306f32,
            -0.766080,
            -0.798791,
            2.025534,
            -1.252516,
            -1.259454, // weights
            0.183034,
            0.297025,
            -0.480059, // biases
        ];
        for (found, wanted) in fit.weight.iter().chain(&fit.bias).zip(wanted) {
            assert!((found - wanted).abs() < 5e-3, "{fit:?} is not {wanted:?}");
        }
    }

    #[test]
    fn a_soft_target_counts_like_the_labels_that_it_mixes() {
        let (features, labels) = points();
        let hard = Targets::of_labels(&labels, 3);
        let twice = features.with(&features);
        let mixed: Vec<f32> = hard.values.iter().map(|value| 2.0 * value).collect();
        let doubled = LogisticRegression::fit(&twice, &hard.with(&hard), 1.0);
        let weighted =
            LogisticRegression::fit(&features, &Targets { values: mixed, classes: 3 }, 1.0);
        for (a, b) in doubled.weight.iter().zip(&weighted.weight) {
            assert!((a - b).abs() < 1e-3, "{doubled:?} {weighted:?}");
        }
    }
}
