//! Keyed randomness: every item draws from its own stream, keyed by (seed, stage, item), so that
//! order, batch size and resuming change nothing.

use rand::Rng as _;
use rand_core::{RngCore, impls};

/// A SplitMix64 generator with a state derived from a key.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// The stream for item number `item` of `stage` in a run with `seed`.
    pub(crate) fn for_item(seed: u64, stage: &str, item: u64) -> Self {
        // FNV-1a hashes the stage's name; SplitMix64's finaliser mixes the three keys.
        let stage = stage.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { state: mix(mix(mix(seed) ^ stage) ^ item) }
    }

    /// A place in `weights`, which are not negative, each with a probability in proportion to its
    /// weight; `None` if they are all 0.
    pub(crate) fn weighted(&mut self, weights: &[f64]) -> Option<usize> {
        let last = weights.iter().rposition(|weight| *weight > 0.0)?;
        let mut left = self.random::<f64>() * weights.iter().sum::<f64>();
        let is_passed = |weight: &f64| {
            left -= weight;
            left < 0.0
        };
        // Rounding may leave a little after the last one.
        Some(weights.iter().position(is_passed).unwrap_or(last))
    }
}

/// The finaliser of SplitMix64.
fn mix(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        let out = mix(self.state);
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        out
    }

    fn fill_bytes(&mut self, dst: &mut [u8]) {
        impls::fill_bytes_via_next(self, dst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_drawn_in_proportion_to_their_weights() {
        let mut rng = Rng::for_item(1, "test", 0);
        let mut counts = [0u32; 4];
        for _ in 0..4000 {
            counts[rng.weighted(&[1.0, 0.0, 3.0, 0.0]).unwrap()] += 1;
        }
        assert!(counts[0].abs_diff(1000) < 100 && counts[2].abs_diff(3000) < 100, "{counts:?}");
        assert_eq!(rng.weighted(&[0.0, 0.0]), None);
    }

    #[test]
    fn a_stream_depends_only_on_its_key() {
        let first = |seed, stage, item| Rng::for_item(seed, stage, item).random::<u64>();
        assert_eq!(first(7, "augment", 3), first(7, "augment", 3));
        for other in [first(8, "augment", 3), first(7, "relabel", 3), first(7, "augment", 4)] {
            assert_ne!(other, first(7, "augment", 3));
        }
    }
}
