//! The supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362, equation 2).
//!
//! For the embeddings `u` of a batch, all of unit length, and the texts P(i) of the class of i:
//!
//! ```text
//! loss = Σ_i w_i / Σ w · mean over p in P(i) of -log(e^(u_i·u_p / τ) / Σ_{a≠i} e^(u_i·u_a / τ))
//! ```

use crate::{simd::dot, student::probe::log_softmax};

/// τ, the divisor of cosines: 0.1, as in the paper.
const TEMPERATURE: f32 = 0.1;

/// The loss of the embeddings `[texts, width]` of texts with `labels`, its mean over the texts by
/// their `weights`. Writes its gradient to `gradient`, `[texts, width]`. A text without another
/// of its class counts only as a negative.
pub(super) fn contrastive_loss(
    embeddings: &[f32],
    labels: &[usize],
    weights: &[f32],
    gradient: &mut [f32],
) -> f64 {
    let (texts, width) = (labels.len(), embeddings.len() / labels.len().max(1));
    let row = |text: usize| &embeddings[text * width..][..width];
    gradient.fill(0.0);
    let total: f32 = weights.iter().sum();
    let mut loss = 0.0;
    for (i, (&label, &weight)) in labels.iter().zip(weights).enumerate() {
        let others: Vec<usize> = (0..texts).filter(|&a| a != i).collect();
        let positives = others.iter().filter(|&&a| labels[a] == label).count();
        if positives == 0 || weight == 0.0 {
            continue;
        }
        let (weight, share) = (weight / total, 1.0 / positives as f32);
        let mut logs: Vec<f32> =
            others.iter().map(|&a| dot(row(i), row(a)) / TEMPERATURE).collect();
        log_softmax(&mut logs);
        for (&a, log) in others.iter().zip(logs) {
            let target = if labels[a] == label { share } else { 0.0 };
            loss -= f64::from(weight * target * log);
            let slope = weight * (log.exp() - target) / TEMPERATURE;
            for at in 0..width {
                gradient[i * width + at] += slope * embeddings[a * width + at];
                gradient[a * width + at] += slope * embeddings[i * width + at];
            }
        }
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five texts of three classes, the last one alone in its class.
    const LABELS: [usize; 5] = [0, 1, 0, 1, 2];
    const WEIGHTS: [f32; 5] = [3.0, 2.0, 2.0, 2.0, 1.0];

    fn embeddings() -> Vec<f32> {
        let angles = [0.1f32, 1.2, 0.5, 1.0, 2.5];
        angles.iter().flat_map(|angle| [angle.cos(), angle.sin()]).collect()
    }

    /// The loss in F64, by its definition.
    fn reference(u: &[f64]) -> f64 {
        let cosine = |i: usize, a: usize| u[2 * i] * u[2 * a] + u[2 * i + 1] * u[2 * a + 1];
        let power = |i: usize, a: usize| (cosine(i, a) / f64::from(TEMPERATURE)).exp();
        let term = |i: usize| {
            let others = || (0..5).filter(move |&a| a != i);
            let sum: f64 = others().map(|a| power(i, a)).sum();
            let same: Vec<usize> = others().filter(|&a| LABELS[a] == LABELS[i]).collect();
            let logs = same.iter().map(|&p| -(power(i, p) / sum).ln());
            f64::from(WEIGHTS[i]) / 10.0 * logs.sum::<f64>() / same.len().max(1) as f64
        };
        (0..5).map(term).sum()
    }

    #[test]
    fn the_loss_is_its_definition_and_the_gradient_its_finite_differences() {
        let embeddings = embeddings();
        let mut gradient = vec![f32::NAN; 10];
        let loss = contrastive_loss(&embeddings, &LABELS, &WEIGHTS, &mut gradient);
        let wide: Vec<f64> = embeddings.iter().map(|&u| f64::from(u)).collect();
        assert!((loss - reference(&wide)).abs() < 1e-6, "{loss} {}", reference(&wide));
        for at in 0..10 {
            let moved = |by: f64| {
                let mut moved = wide.clone();
                moved[at] += by;
                reference(&moved)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((f64::from(gradient[at]) - slope).abs() < 1e-5, "{at}: {gradient:?} {slope}");
        }
    }

    #[test]
    fn a_batch_of_one_class_without_others_of_a_class_has_no_loss() {
        let mut gradient = vec![f32::NAN; 4];
        let loss = contrastive_loss(&[1.0, 0.0, 0.0, 1.0], &[0, 1], &[0.5; 2], &mut gradient);
        assert_eq!((loss, gradient), (0.0, vec![0.0; 4]));
    }
}
