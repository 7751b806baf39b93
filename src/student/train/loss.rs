//! The loss and its gradient, in plain Rust: the same for both engines.
//!
//! For an example with logits `z`, hard target `h` and the teacher's probabilities `p`:
//!
//! ```text
//! h    = (1 - label_smoothing) · one-hot(label) + label_smoothing / classes
//! t    = p^(1/T), normalised
//! loss = (1 - mix) · CE(h, softmax(z)) + mix · T² · CE(t, softmax(z / T))
//! ```
//!
//! with `mix` = `soft_labels` if the example has the teacher's probabilities, else 0, and `T` =
//! `temperature`. This is distillation as in Hinton, Vinyals and Dean 2015 (arXiv 1503.02531): the
//! T² keeps the soft part's gradient as large as the hard part's; at T = 1 it is plain
//! cross-entropy with the target `(1 - mix) · h + mix · p`. Smoothing applies to the hard part
//! only, since the teacher's probabilities are already smooth. `kl` subtracts the targets'
//! entropies, `(1 - mix) · H(h) + mix · T² · H(t)`, from the reported loss, so that a perfect
//! student has loss 0; the gradient is the same.
//!
//! An example's weight is its own times that of its class. Balanced class weights give all classes
//! the same total weight and leave the mean over all examples unchanged. The class is that of the
//! hard label, even if the target is soft or smoothed. Weights are relative to their mean over the
//! training data: a batch of light examples moves the student less than one of heavy examples.

use super::{ClassWeights, Example, Loss, TrainSettings};

/// A loss over `classes` classes.
pub(crate) struct LossFunction {
    smoothing: f64,
    soft: f64,
    temperature: f64,
    kl: bool,
    class_weights: Vec<f64>,
    /// Of the training data.
    mean_weight: f64,
}

impl LossFunction {
    /// The loss function of `settings`; `examples` is the training data.
    pub(super) fn new(settings: &TrainSettings, classes: usize, examples: &[&Example]) -> Self {
        let class_weights = match settings.class_weights {
            ClassWeights::Off => vec![1.0; classes],
            ClassWeights::Balanced => balanced(classes, examples),
        };
        let mut loss_function = Self {
            smoothing: settings.label_smoothing,
            soft: settings.soft_labels,
            temperature: settings.temperature,
            kl: settings.loss == Loss::Kl,
            class_weights,
            mean_weight: 1.0,
        };
        let total: f64 = examples.iter().map(|example| loss_function.weight(example)).sum();
        if total > 0.0 {
            loss_function.mean_weight = total / examples.len() as f64;
        }
        loss_function
    }

    /// Weight of an example; the mean over the training data is 1.
    pub(super) fn weight(&self, example: &Example) -> f64 {
        f64::from(example.weight) * self.class_weights[example.label] / self.mean_weight
    }

    /// Loss of one example with `logits` `[classes]`, times `scale`. Writes its gradient with
    /// respect to the logits, also times `scale`, to `gradient`.
    pub(super) fn example_loss(
        &self,
        logits: &[f32],
        example: &Example,
        scale: f64,
        gradient: &mut [f32],
    ) -> f64 {
        let classes = logits.len();
        let spread = self.smoothing / classes as f64;
        let hard =
            |class: usize| spread + if class == example.label { 1.0 - self.smoothing } else { 0.0 };
        let soft = if example.teacher.is_empty() { 0.0 } else { self.soft };
        let logs = log_softmax(logits, 1.0);
        let mut loss = 0.0;
        for class in 0..classes {
            let target = hard(class);
            loss -= (1.0 - soft) * target * self.log_ratio(logs[class], target);
            gradient[class] = (scale * (1.0 - soft) * (logs[class].exp() - target)) as f32;
        }
        if soft > 0.0 {
            let temperature = self.temperature;
            let logs = log_softmax(logits, temperature);
            let teacher = soften(&example.teacher, temperature);
            for class in 0..classes {
                let target = teacher[class];
                loss -=
                    soft * temperature * temperature * target * self.log_ratio(logs[class], target);
                let slope = soft * temperature * (logs[class].exp() - target);
                gradient[class] += (scale * slope) as f32;
            }
        }
        loss * scale
    }

    /// The log-probability; under `kl` minus the target's logarithm.
    fn log_ratio(&self, log: f64, target: f64) -> f64 {
        if self.kl && target > 0.0 { log - target.ln() } else { log }
    }
}

/// Total weight / (classes that occur · weight of the class); 1 for a class that does not occur.
fn balanced(classes: usize, examples: &[&Example]) -> Vec<f64> {
    let mut sums = vec![0f64; classes];
    for example in examples {
        sums[example.label] += f64::from(example.weight);
    }
    let total = sums.iter().sum::<f64>();
    let present = sums.iter().filter(|&&sum| sum > 0.0).count() as f64;
    sums.into_iter().map(|sum| if sum > 0.0 { total / (present * sum) } else { 1.0 }).collect()
}

/// `p^(1/temperature)`, normalised.
fn soften(probabilities: &[f32], temperature: f64) -> Vec<f64> {
    let powers = probabilities.iter().map(|&p| f64::from(p).powf(1.0 / temperature));
    let powers = powers.collect::<Vec<_>>();
    let sum = powers.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    powers.into_iter().map(|power| power / sum).collect()
}

/// Logarithms of the softmax of `logits / temperature`.
pub(crate) fn log_softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let scaled = logits.iter().map(|&logit| f64::from(logit) / temperature).collect::<Vec<_>>();
    let top = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = scaled.iter().map(|value| (value - top).exp()).sum::<f64>().ln();
    scaled.into_iter().map(|value| value - top - sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(label: usize, weight: f32, teacher: &[f32]) -> Example {
        Example { weight, teacher: teacher.to_vec(), ..Example::new("", label) }
    }

    fn loss_function(settings: &TrainSettings) -> LossFunction {
        LossFunction::new(settings, 3, &[])
    }

    fn loss(loss_function: &LossFunction, logits: &[f32], example: &Example) -> (f64, Vec<f32>) {
        let mut gradient = vec![f32::NAN; logits.len()];
        (loss_function.example_loss(logits, example, 1.0, &mut gradient), gradient)
    }

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
    }

    #[test]
    fn cross_entropy_worked_by_hand() {
        // softmax of ln(1), ln(1), ln(2) is 1/4, 1/4, 1/2.
        let logits = [0.0, 0.0, 2f32.ln()];
        let plain = loss_function(&TrainSettings::default());
        let (value, gradient) = loss(&plain, &logits, &example(2, 1.0, &[]));
        close(value, 2f64.ln());
        for (found, wanted) in gradient.iter().zip([0.25, 0.25, -0.5]) {
            close(f64::from(*found), wanted);
        }
        // A smoothing of 0.3 gives the target 0.1, 0.1, 0.8.
        let smooth = TrainSettings { label_smoothing: 0.3, ..TrainSettings::default() };
        let (value, gradient) = loss(&loss_function(&smooth), &logits, &example(2, 1.0, &[]));
        close(value, 0.2 * 4f64.ln() + 0.8 * 2f64.ln());
        for (found, wanted) in gradient.iter().zip([0.15, 0.15, -0.3]) {
            close(f64::from(*found), wanted);
        }
        // Half of the target from the teacher: 0.25, 0.25, 0.5 are exactly the student's
        // probabilities.
        let soft = TrainSettings { soft_labels: 0.5, ..TrainSettings::default() };
        let teacher = example(2, 1.0, &[0.5, 0.5, 0.0]);
        let (value, gradient) = loss(&loss_function(&soft), &logits, &teacher);
        close(value, 0.5 * 4f64.ln() + 0.5 * 2f64.ln());
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-7), "{gradient:?}");
        // An example without the teacher's probabilities stays hard.
        close(loss(&loss_function(&soft), &logits, &example(2, 1.0, &[])).0, 2f64.ln());
    }

    #[test]
    fn a_perfect_student_has_no_divergence() {
        let kl = TrainSettings {
            loss: Loss::Kl,
            soft_labels: 1.0,
            temperature: 2.0,
            ..TrainSettings::default()
        };
        let teacher = example(0, 1.0, &[0.7, 0.2, 0.1]);
        let logits = [0.7f32.ln(), 0.2f32.ln(), 0.1f32.ln()];
        let (value, gradient) = loss(&loss_function(&kl), &logits, &teacher);
        close(value, 0.0);
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-6), "{gradient:?}");
        // The square roots of 0.5, 0.5, 0 against an even student: T² · ln(3/2).
        let (value, _) = loss(&loss_function(&kl), &[0.0; 3], &example(0, 1.0, &[0.5, 0.5, 0.0]));
        close(value, 4.0 * 1.5f64.ln());
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let logits = [0.3f32, -1.2, 0.9];
        for loss_kind in [Loss::CrossEntropy, Loss::Kl] {
            for (smoothing, soft, heat) in [(0.0, 0.0, 1.0), (0.2, 0.6, 1.0), (0.1, 0.7, 3.0)] {
                let settings = TrainSettings {
                    label_smoothing: smoothing,
                    soft_labels: soft,
                    temperature: heat,
                    loss: loss_kind,
                    ..TrainSettings::default()
                };
                let loss_function = loss_function(&settings);
                let example = example(1, 1.0, &[0.2, 0.5, 0.3]);
                let mut gradient = [0f32; 3];
                loss_function.example_loss(&logits, &example, 0.4, &mut gradient);
                for class in 0..3 {
                    let at = |step: f32| {
                        let mut moved = logits;
                        moved[class] += step;
                        let moved_by = f64::from(moved[class] - logits[class]);
                        (
                            loss_function.example_loss(&moved, &example, 0.4, &mut [0f32; 3]),
                            moved_by,
                        )
                    };
                    let ((up, right), (down, left)) = (at(1e-3), at(-1e-3));
                    let slope = (up - down) / (right - left);
                    let off = (slope - f64::from(gradient[class])).abs();
                    assert!(off < 1e-6, "{settings:?} {class}: {slope} {gradient:?}");
                }
            }
        }
    }

    #[test]
    fn balanced_classes_weigh_the_same_in_sum() {
        let settings =
            TrainSettings { class_weights: ClassWeights::Balanced, ..TrainSettings::default() };
        // Class 0 three times, class 1 once with half a weight, class 2 never.
        let examples = [
            example(0, 1.0, &[]),
            example(0, 1.0, &[]),
            example(0, 1.0, &[]),
            example(1, 0.5, &[]),
        ];
        let examples = examples.iter().collect::<Vec<_>>();
        let loss_function = LossFunction::new(&settings, 3, &examples);
        let weights =
            examples.iter().map(|example| loss_function.weight(example)).collect::<Vec<_>>();
        close(weights[..3].iter().sum(), weights[3]);
        close(weights.iter().sum(), 4.0);
        close(loss_function.class_weights[2], 1.0);
    }
}
