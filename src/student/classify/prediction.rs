//! The answer to a text.

/// The prediction for a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prediction {
    /// Index of the most probable class in the labels.
    pub class: usize,
    /// Its probability.
    pub probability: f32,
    /// The probability of each class, `[classes]`.
    pub probabilities: Vec<f32>,
    /// Whether the text was longer than the student reads.
    pub truncated: bool,
    /// The share of held-out texts that are as far from the training texts or farther; `None` if
    /// the student's folder does not tell.
    pub in_scope: Option<f32>,
}

impl Prediction {
    pub(in crate::student) fn new(
        probabilities: Vec<f32>,
        truncated: bool,
        in_scope: Option<f32>,
    ) -> Self {
        let class = largest(&probabilities);
        let probability = probabilities[class];
        Self { class, probability, probabilities, truncated, in_scope }
    }
}

/// Index of the largest value; the first one if several are equal.
pub(crate) fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
