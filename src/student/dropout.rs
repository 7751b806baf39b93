//! Dropout without stored masks: whether a number is dropped is a hash of (seed, step, site in the
//! network, index). So the backward pass recomputes the mask, and both engines drop the same
//! numbers.
//!
//! The index counts packed rows, `[tokens, width]`; of the attention weights, `[heads, len, len]`
//! of one text after another.

use rand_core::RngCore;

use crate::rng::Rng;

/// The dropout of one training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropout {
    seed: u64,
    step: u64,
}

/// Where the network applies dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    Embeddings,
    /// The attention weights of a layer.
    Attention(usize),
    /// The attention's dense layer, of a layer.
    Output(usize),
    /// The feed-forward layer of a layer.
    FeedForward(usize),
    /// Before the classifier.
    Head,
}

impl Site {
    fn number(self) -> u64 {
        match self {
            Site::Embeddings => 0,
            Site::Head => 1,
            Site::Attention(layer) => 2 + 3 * layer as u64,
            Site::Output(layer) => 3 + 3 * layer as u64,
            Site::FeedForward(layer) => 4 + 3 * layer as u64,
        }
    }
}

/// Sites per step: far more than any network has.
const SITES: u64 = 1 << 20;

impl Dropout {
    /// The dropout of pass `step` of a training with `seed`.
    pub(super) fn new(seed: u64, step: u64) -> Self {
        Self { seed, step }
    }

    /// The mask of one site, which drops a `share` of the numbers.
    pub(super) fn at(self, site: Site, share: f64) -> Mask {
        let mut rng = Rng::for_item(self.seed, "dropout", self.step * SITES + site.number());
        let word = rng.next_u64();
        Mask {
            keys: [word as u32, (word >> 32) as u32],
            threshold: (share * f64::from(1u32 << 24)).round() as u32,
            kept: (1.0 / (1.0 - share)) as f32,
        }
    }
}

/// One site's mask: a factor is 0 with probability `share`, else `1 / (1 - share)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mask {
    keys: [u32; 2],
    /// The dropped share, in units of 2^-24.
    threshold: u32,
    kept: f32,
}

impl Mask {
    /// The mask that drops nothing.
    pub(super) const NONE: Self = Self { keys: [0; 2], threshold: 0, kept: 1.0 };

    /// Whether anything is dropped.
    #[inline(always)]
    pub(super) fn drops(&self) -> bool {
        self.threshold > 0
    }

    /// The factor of the numbers that are kept.
    pub(super) fn kept(&self) -> f32 {
        self.kept
    }

    /// The factor of number `index`.
    #[inline(always)]
    pub(super) fn factor(&self, index: u32) -> f32 {
        if self.keeps(index) { self.kept } else { 0.0 }
    }

    /// Whether number `index` is kept.
    #[inline(always)]
    pub(super) fn keeps(&self, index: u32) -> bool {
        // Two rounds of Chris Wellons' lowbias32, each after adding a key.
        let mut x = index ^ self.keys[0];
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x = (x ^ (x >> 16)).wrapping_add(self.keys[1]);
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        x >> 8 >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(step: u64, site: Site, share: f64) -> Vec<f32> {
        let mask = Dropout::new(3, step).at(site, share);
        (0..200_000).map(|index| mask.factor(index)).collect()
    }

    #[test]
    fn masks_drop_their_share_keep_the_mean_and_repeat() {
        for step in 0..20 {
            let drawn = mask(step, Site::Embeddings, 0.2);
            let dropped = drawn.iter().filter(|&&factor| factor == 0.0).count() as f64 / 200_000.0;
            assert!((dropped - 0.2).abs() < 0.004, "{dropped}");
            assert!(drawn.iter().all(|&factor| factor == 0.0 || factor == 1.25));
            assert_eq!(drawn, mask(step, Site::Embeddings, 0.2));
        }
        assert!((0..1000).all(|index| Mask::NONE.factor(index) == 1.0));
    }

    #[test]
    fn steps_places_and_neighbours_are_independent() {
        // Two independent masks that drop one half agree in half of their factors.
        let agree = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len().min(b.len()) as f64
        };
        let first = mask(0, Site::Head, 0.5);
        let others = [mask(1, Site::Head, 0.5), mask(0, Site::Output(3), 0.5), first[1..].to_vec()];
        for other in others {
            let share = agree(&first, &other);
            assert!((share - 0.5).abs() < 0.006, "{share}");
        }
    }
}
