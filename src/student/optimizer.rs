//! The part of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) that both engines share: its
//! constants, which weights decay, clipping by the global norm, and the schedule (linear warm-up,
//! then linear decay to zero). Each engine implements the update itself:
//!
//! ```text
//! g      = clip · gradient
//! first  = BETA1 · first  + (1 - BETA1) · g
//! second = BETA2 · second + (1 - BETA2) · g²
//! weight = keep · weight - rate · first / (sqrt(second · second_scale) + EPSILON)
//! ```

use super::network::Update;

/// Decay of the running mean of the gradient.
pub(super) const BETA1: f64 = 0.9;
/// Decay of the running mean of its square.
pub(super) const BETA2: f64 = 0.999;
/// Limits how far a tiny gradient is amplified.
pub(super) const EPSILON: f64 = 1e-8;
/// As in `torch.nn.utils.clip_grad_norm_`.
const CLIP_EPSILON: f64 = 1e-6;

/// The factors of one step, with the bias corrections applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Factors {
    /// Factor of every gradient.
    pub clip: f64,
    /// Learning rate over `1 - BETA1^step`.
    pub rate: f64,
    /// `1 / (1 - BETA2^step)`.
    pub second_scale: f64,
    /// Factor of a weight that decays.
    pub keep: f64,
}

impl Factors {
    /// The factors of `update` for gradients of the global norm `norm`.
    pub(super) fn new(update: Update, norm: f64) -> Self {
        let clip = match update.clip_norm > 0.0 {
            true => (update.clip_norm / (norm + CLIP_EPSILON)).min(1.0),
            false => 1.0,
        };
        let corrected = |beta: f64| 1.0 - beta.powf(update.step as f64);
        Self {
            clip,
            rate: update.rate / corrected(BETA1),
            second_scale: 1.0 / corrected(BETA2),
            keep: 1.0 - update.rate * update.weight_decay,
        }
    }

    /// Factor by which decay multiplies the weight `name`.
    pub(super) fn keep_of(&self, name: &str) -> f64 {
        if decays(name) { self.keep } else { 1.0 }
    }
}

/// Whether a weight of this name decays: matrices and tables do, biases and norms do not.
pub(super) fn decays(name: &str) -> bool {
    !(name.ends_with(".bias") || name.contains("LayerNorm") || name.contains("layer_norm"))
}

/// Learning rate as a share of its peak: rises over the first `warmup` of `steps`, then falls to
/// zero.
pub(super) fn schedule(step: usize, steps: usize, warmup: usize) -> f64 {
    if step < warmup {
        (step + 1) as f64 / warmup as f64
    } else {
        (steps - step) as f64 / (steps - warmup).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_climbs_to_one_and_ends_just_above_zero() {
        let rates = (0..10).map(|step| schedule(step, 10, 2)).collect::<Vec<_>>();
        assert_eq!(rates[..3], [0.5, 1.0, 1.0]);
        assert_eq!(rates[9], 0.125);
        assert_eq!(schedule(0, 3, 0), 1.0);
    }

    #[test]
    fn only_matrices_and_tables_decay() {
        assert!(decays("distilbert.embeddings.word_embeddings.weight"));
        assert!(decays("classifier.weight"));
        for name in ["classifier.bias", "a.LayerNorm.weight", "b.output_layer_norm.weight"] {
            assert!(!decays(name), "{name}");
        }
    }

    #[test]
    fn factors_worked_by_hand() {
        let update = Update { rate: 0.1, weight_decay: 0.5, clip_norm: 2.0, step: 1 };
        let factors = Factors::new(update, 4.0);
        assert!((factors.clip - 0.5).abs() < 1e-6, "{factors:?}");
        assert!((factors.rate - 1.0).abs() < 1e-12 && (factors.second_scale - 1e3).abs() < 1e-9);
        assert_eq!((factors.keep_of("a.weight"), factors.keep_of("a.bias")), (0.95, 1.0));
        assert_eq!(Factors::new(Update { clip_norm: 0.0, ..update }, 4.0).clip, 1.0);
        assert_eq!(Factors::new(update, 1.0).clip, 1.0);
    }
}
