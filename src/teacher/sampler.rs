//! Draws the next token from a row of logits, in Rust: llama.cpp's own chain can abort the process
//! and keeps its own random state, ours is keyed by the request.

use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// How tokens are drawn. The defaults are the paper's: temperature 1, nothing cut off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Divides the logits; 0 always takes the most probable token.
    pub temperature: f32,
    /// Keeps the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the smallest set of tokens whose probabilities reach this sum.
    pub top_p: f32,
    /// Drops tokens less probable than this share of the most probable one.
    pub min_p: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 }
    }
}

impl Sampling {
    /// Index of the token drawn from `logits` (`[vocabulary]`, unnormalised). `banned` tokens are
    /// never drawn.
    pub fn draw(&self, logits: &[f32], banned: &[bool], rng: &mut Rng) -> usize {
        let allowed = || {
            logits.iter().enumerate().filter(|(token, logit)| !banned[*token] && !logit.is_nan())
        };
        let (best, top) = allowed().fold((0, f32::NEG_INFINITY), |best, (token, &logit)| {
            if logit > best.1 { (token, logit) } else { best }
        });
        if self.temperature <= 0.0 {
            return best;
        }
        let mut weights: Vec<(usize, f32)> = allowed()
            .map(|(token, logit)| (token, ((logit - top) / self.temperature).exp()))
            .filter(|(_, weight)| *weight > self.min_p)
            .collect();
        if self.top_k > 0 || self.top_p < 1.0 {
            weights.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            if self.top_k > 0 {
                weights.truncate(self.top_k);
            }
            self.cut_nucleus(&mut weights);
        }
        let total: f64 = weights.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let mut left = rng.random::<f64>() * total;
        for &(token, weight) in &weights {
            left -= f64::from(weight);
            if left < 0.0 {
                return token;
            }
        }
        best
    }

    fn cut_nucleus(&self, sorted: &mut Vec<(usize, f32)>) {
        let total: f32 = sorted.iter().map(|(_, weight)| weight).sum();
        let mut mass = 0.0;
        let keep = sorted.iter().position(|(_, weight)| {
            mass += weight;
            mass >= self.top_p * total
        });
        if let Some(last) = keep {
            sorted.truncate(last + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [bool; 4] = [false; 4];

    fn shares(sampling: Sampling, banned: &[bool]) -> Vec<f64> {
        let logits = [0.4f32.ln(), 0.3f32.ln(), 0.2f32.ln(), 0.1f32.ln()];
        let mut counts = vec![0.0; 4];
        let mut rng = Rng::for_item(1, "test", 0);
        for _ in 0..20_000 {
            counts[sampling.draw(&logits, banned, &mut rng)] += 1.0 / 20_000.0;
        }
        counts
    }

    fn close(found: &[f64], wanted: &[f64]) {
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 0.015, "{found} is not {wanted}");
        }
    }

    #[test]
    fn draws_follow_the_distribution() {
        close(&shares(Sampling::default(), &NONE), &[0.4, 0.3, 0.2, 0.1]);
    }

    #[test]
    fn each_cut_keeps_what_it_should() {
        let base = Sampling::default();
        close(&shares(Sampling { top_k: 2, ..base }, &NONE), &[4.0 / 7.0, 3.0 / 7.0, 0.0, 0.0]);
        close(&shares(Sampling { top_p: 0.6, ..base }, &NONE), &[4.0 / 7.0, 3.0 / 7.0, 0.0, 0.0]);
        close(
            &shares(Sampling { min_p: 0.45, ..base }, &NONE),
            &[4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0, 0.0],
        );
        close(&shares(Sampling { temperature: 0.0, ..base }, &NONE), &[1.0, 0.0, 0.0, 0.0]);
        close(&shares(base, &[true, false, false, true]), &[0.0, 0.6, 0.4, 0.0]);
    }
}
