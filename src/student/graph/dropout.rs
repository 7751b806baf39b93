//! Dropout masks that depend on nothing but (seed, step, place in the network).

use rand_core::RngCore;

use crate::rng::Rng;

/// Draws the dropout masks of one training step, one after another, from their own streams.
#[derive(Debug, Clone)]
pub struct DropoutRng {
    seed: u64,
    step: u64,
    site: u64,
}

/// Streams per step: far more than any network has places that drop.
const SITES: u64 = 1 << 20;

impl DropoutRng {
    /// The masks of optimiser step `step` of a training with `seed`.
    pub fn new(seed: u64, step: u64) -> Self {
        Self { seed, step, site: 0 }
    }

    /// The next mask: `len` factors, each 0 with probability `share`, else `1 / (1 - share)`.
    pub(in crate::student) fn mask(&mut self, len: usize, share: f64) -> Vec<f32> {
        let mut rng = Rng::for_item(self.seed, "dropout", self.step * SITES + self.site);
        self.site += 1;
        let threshold = (share * 65_536.0).round() as u64;
        let kept = (1.0 / (1.0 - share)) as f32;
        let mut mask = vec![kept; len];
        // Four 16-bit draws from each random word: the share is exact to 1/65536.
        for factors in mask.chunks_mut(4) {
            let word = rng.next_u64();
            for (lane, factor) in factors.iter_mut().enumerate() {
                if (word >> (16 * lane)) & 0xffff < threshold {
                    *factor = 0.0;
                }
            }
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_drop_their_share_keep_the_mean_and_repeat() {
        let draw = |step| DropoutRng::new(3, step).mask(200_001, 0.2);
        let mask = draw(5);
        let dropped = mask.iter().filter(|&&factor| factor == 0.0).count() as f64 / 200_001.0;
        assert!((dropped - 0.2).abs() < 0.004, "{dropped}");
        assert!(mask.iter().all(|&factor| factor == 0.0 || factor == 1.25));
        assert_eq!(mask, draw(5));
        assert_ne!(mask, draw(6));
    }

    #[test]
    fn two_places_of_one_step_draw_different_masks() {
        let mut rng = DropoutRng::new(3, 0);
        assert_ne!(rng.mask(64, 0.5), rng.mask(64, 0.5));
    }
}
