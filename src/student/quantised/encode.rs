//! From f32 to levels of 8 bits, in the order that the kernels read.

use super::tile::{GROUP, TileRow};
use crate::simd::multiversion;

/// Largest level of an input.
pub(super) const STEPS: f32 = 255.0;
/// Adding 1.5·2^23 rounds to an integer and leaves it in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// The factor from numbers to levels. It is 0, and so are all levels, where the scale is subnormal.
pub(super) fn inverse_scale(scale: f32) -> f32 {
    if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 }
}

/// Lanes of a fold, so that it vectorises.
const LANES: usize = 32;

#[inline(always)]
fn less(a: f32, b: f32) -> f32 {
    // Compiles to one instruction; `f32::min` does not.
    if a < b { a } else { b }
}

#[inline(always)]
fn more(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

multiversion! {
    /// The smallest and the largest of `x` and zero; NaN where a number is NaN or infinite.
    pub(super) fn range(x: &[f32]) -> (f32, f32) {
        let (mut low, mut high, mut not_finite) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let blocks = x.as_chunks::<LANES>();
        for block in blocks.0 {
            for lane in 0..LANES {
                low[lane] = less(block[lane], low[lane]);
                high[lane] = more(block[lane], high[lane]);
                // NaN for a NaN or an infinity, and 0 for every finite number.
                not_finite[lane] += block[lane] * 0.0;
            }
        }
        for (lane, &x) in blocks.1.iter().enumerate() {
            low[lane] = less(x, low[lane]);
            high[lane] = more(x, high[lane]);
            not_finite[lane] += x * 0.0;
        }
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                low[lane] = less(low[lane + half], low[lane]);
                high[lane] = more(high[lane + half], high[lane]);
                not_finite[lane] += not_finite[lane + half];
            }
            half /= 2;
        }
        (low[0] + not_finite[0], high[0] + not_finite[0])
    }
}

/// Numbers quantised at a time, before they are laid out.
const CHUNK: usize = 256;

#[inline(always)]
fn levels(x: &[f32], inverse: f32, zero: f32, out: &mut [u8; CHUNK]) {
    for (out, &x) in out.iter_mut().zip(x) {
        let level = less(more(x * inverse + zero, 0.0), STEPS);
        *out = (level + ROUND).to_bits() as u8;
    }
}

multiversion! {
    /// Quantises a row into its place in a tile, which interleaves the rows' groups of bytes.
    pub(super) fn bytes(x: &[f32], inverse: f32, zero: f32, at: TileRow, out: &mut [u8]) {
        let (step, at) = (at.height * GROUP, at.row * GROUP);
        let mut chunk = [0u8; CHUNK];
        for (x, out) in x.chunks(CHUNK).zip(out.chunks_mut(CHUNK / GROUP * step)) {
            levels(x, inverse, zero, &mut chunk);
            // Levels beyond the row's end are arbitrary: the weights there are zero.
            let groups = chunk.as_chunks::<GROUP>().0[..x.len().div_ceil(GROUP)].iter();
            for (group, out) in groups.zip(out.chunks_exact_mut(step)) {
                out[at..at + GROUP].copy_from_slice(group);
            }
        }
    }
}

multiversion! {
    /// As [`bytes()`], each level in 16 bits.
    pub(super) fn words(x: &[f32], inverse: f32, zero: f32, at: TileRow, out: &mut [u8]) {
        let (step, at) = (at.height * GROUP * 2, at.row * GROUP * 2);
        let mut chunk = [0u8; CHUNK];
        for (x, out) in x.chunks(CHUNK).zip(out.chunks_mut(CHUNK / GROUP * step)) {
            levels(x, inverse, zero, &mut chunk);
            let groups = chunk.as_chunks::<GROUP>().0[..x.len().div_ceil(GROUP)].iter();
            for (group, out) in groups.zip(out.chunks_exact_mut(step)) {
                let words = group.map(|level| u16::from(level).to_ne_bytes());
                out[at..at + GROUP * 2].copy_from_slice(words.as_flattened());
            }
        }
    }
}
