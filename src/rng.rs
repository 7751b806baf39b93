//! Counter-based randomness: every item draws from its own stream, keyed by (seed, stage, item),
//! so that order, batch size and resumption change nothing.

use rand_core::{RngCore, impls};

/// A SplitMix64 generator whose state is derived from a key instead of a running stream.
///
/// ```
/// use promptmix::rng::Rng;
/// use rand::Rng as _;
/// let mut a = Rng::for_item(7, "augment", 3);
/// let mut b = Rng::for_item(7, "augment", 3);
/// assert_eq!(a.random::<u64>(), b.random::<u64>());
/// ```
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of item number `item` of `stage` in a run with `seed`.
    pub(crate) fn for_item(seed: u64, stage: &str, item: u64) -> Self {
        // FNV-1a spreads the stage's name; SplitMix's finaliser mixes the three keys.
        let stage = stage.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { state: mix(mix(mix(seed) ^ stage) ^ item) }
    }
}

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
