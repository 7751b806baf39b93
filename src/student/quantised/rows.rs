//! Inputs to bytes: each row between its smallest and its largest number.
//!
//! The range always has zero in it, which is a level of its own (`zero`), so that what is cut off or
//! padded with zeros stays exactly that. A range of its own on either side of zero matters behind a
//! GELU, where all that is negative lies above -0.17: half of the levels would never be used.

use rayon::prelude::*;

use super::kernel::{GROUP, Kernel, Tile};
use crate::simd::multiversion;

/// Levels above the lowest.
const STEPS: f32 = 255.0;
/// Adding 1.5·2^23 rounds to a whole number and leaves it in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;
/// Numbers below which quantising is done by one thread.
const SMALL: usize = 64 << 10;

/// Rows of numbers in 8 bits, in tiles of as many rows as the kernel takes at once.
#[derive(Debug)]
pub(in crate::student) struct QuantisedRows {
    kernel: Kernel,
    inputs: usize,
    rows: usize,
    /// Rows of the tallest tile. Each tile has room for as many.
    tall: usize,
    /// `[tiles, groups, rows of the tile, GROUP]`, a tile beginning every `tall` rows.
    levels: Vec<u8>,
    /// The level that stands for zero, `[tiles, tall]`.
    zeros: Vec<i32>,
    /// What a level is worth, `[tiles, tall]`.
    scales: Vec<f32>,
}

impl Default for QuantisedRows {
    fn default() -> Self {
        Self::with(Kernel::best())
    }
}

impl QuantisedRows {
    /// Rows `x` `[rows, inputs]`, quantised.
    #[cfg(test)]
    pub(crate) fn of(x: &[f32], inputs: usize) -> Self {
        let mut rows = Self::default();
        rows.fill(x, inputs);
        rows
    }

    /// No rows yet, for the given kernel.
    pub(super) fn with(kernel: Kernel) -> Self {
        let (levels, zeros, scales) = (Vec::new(), Vec::new(), Vec::new());
        Self { kernel, inputs: 0, rows: 0, tall: 1, levels, zeros, scales }
    }

    /// Forgets its rows and quantises `x` `[rows, inputs]` in the same memory.
    ///
    /// A row with a number in it that is none (NaN, infinity) has a scale that is none: all outputs
    /// of the row are NaN.
    pub(crate) fn fill(&mut self, x: &[f32], inputs: usize) {
        assert!(inputs > 0 && x.len().is_multiple_of(inputs), "x is [rows, inputs]");
        self.inputs = inputs;
        self.rows = x.len() / inputs;
        let tiles = self.tiles();
        self.tall = self.rows.div_ceil(tiles.max(1)).max(1);
        let tall = self.tall;
        let stride = tall * self.row_bytes();
        self.levels.resize(tiles * stride, 0);
        self.zeros.resize(tiles * tall, 0);
        self.scales.resize(tiles * tall, 0.0);
        let (rows, kernel) = (self.rows, self.kernel);
        type Part<'a> = (usize, ((&'a mut [u8], &'a mut [i32]), &'a mut [f32]));
        let fill = |(tile, ((levels, zeros), scales)): Part| {
            let (first, height) = span(rows, tiles, tile);
            for row in 0..height {
                let x = &x[(first + row) * inputs..(first + row + 1) * inputs];
                let (low, high) = kernel.range(x);
                let scale = (high - low) / STEPS;
                let inverse = inverse(scale);
                let zero = (-low * inverse).round_ties_even();
                (zeros[row], scales[row]) = (zero as i32, scale);
                kernel.lay_out(x, inverse, zero, Place { row, height }, levels);
            }
        };
        if x.len() < SMALL {
            let tiles = self.levels.chunks_mut(stride).zip(self.zeros.chunks_mut(tall));
            tiles.zip(self.scales.chunks_mut(tall)).enumerate().for_each(fill);
        } else {
            let tiles = self.levels.par_chunks_mut(stride).zip(self.zeros.par_chunks_mut(tall));
            tiles.zip(self.scales.par_chunks_mut(tall)).enumerate().with_min_len(4).for_each(fill);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Number of tiles.
    pub(super) fn tiles(&self) -> usize {
        self.rows.div_ceil(self.kernel.rows())
    }

    /// The first row of tile `at`, and the tile.
    pub(super) fn tile(&self, at: usize) -> (usize, Tile<'_>) {
        let (first, height) = span(self.rows, self.tiles(), at);
        let from = at * self.tall;
        let levels = &self.levels[from * self.row_bytes()..][..height * self.row_bytes()];
        let (zeros, scales) = (&self.zeros[from..][..height], &self.scales[from..][..height]);
        (first, Tile { levels, zeros, scales })
    }

    fn row_bytes(&self) -> usize {
        self.inputs.div_ceil(GROUP) * self.kernel.encoding().group_bytes()
    }
}

/// What turns numbers into levels; 0, and with it all levels, where they are too near zero for one.
pub(super) fn inverse(scale: f32) -> f32 {
    if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 }
}

/// First row and height of tile `at`: tiles differ by one row at most, the taller ones in front.
fn span(rows: usize, tiles: usize, at: usize) -> (usize, usize) {
    let (height, taller) = (rows / tiles, rows % tiles);
    (at * height + at.min(taller), height + usize::from(at < taller))
}

/// Lanes worked side by side, so that a fold vectorises.
const LANES: usize = 32;

#[inline(always)]
fn less(a: f32, b: f32) -> f32 {
    // One instruction, which `f32::min` does not compile to.
    if a < b { a } else { b }
}

#[inline(always)]
fn more(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

multiversion! {
    /// The smallest and the largest of `x` and zero; NaN where a number is NaN or infinite.
    pub(super) fn range(x: &[f32]) -> (f32, f32) {
        let (mut low, mut high, mut none) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let blocks = x.as_chunks::<LANES>();
        for block in blocks.0 {
            for lane in 0..LANES {
                low[lane] = less(block[lane], low[lane]);
                high[lane] = more(block[lane], high[lane]);
                // NaN for what is no number, and 0 for every number.
                none[lane] += block[lane] * 0.0;
            }
        }
        for (lane, &x) in blocks.1.iter().enumerate() {
            low[lane] = less(x, low[lane]);
            high[lane] = more(x, high[lane]);
            none[lane] += x * 0.0;
        }
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                low[lane] = less(low[lane + half], low[lane]);
                high[lane] = more(high[lane + half], high[lane]);
                none[lane] += none[lane + half];
            }
            half /= 2;
        }
        (low[0] + none[0], high[0] + none[0])
    }
}

/// Where a row stands in its tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub row: usize,
    /// Rows of the tile.
    pub height: usize,
}

/// Numbers quantised before they are laid out.
const CHUNK: usize = 256;

#[inline(always)]
fn levels(x: &[f32], inverse: f32, zero: f32, out: &mut [u8; CHUNK]) {
    for (out, &x) in out.iter_mut().zip(x) {
        let level = less(more(x * inverse + zero, 0.0), STEPS);
        *out = (level + ROUND).to_bits() as u8;
    }
}

multiversion! {
    /// Lays out a row of a tile as groups of bytes, the rows' groups in turn.
    pub(super) fn bytes(x: &[f32], inverse: f32, zero: f32, place: Place, out: &mut [u8]) {
        let (step, at) = (place.height * GROUP, place.row * GROUP);
        let mut chunk = [0u8; CHUNK];
        for (x, out) in x.chunks(CHUNK).zip(out.chunks_mut(CHUNK / GROUP * step)) {
            levels(x, inverse, zero, &mut chunk);
            // Behind the row's end stand levels of no meaning, and the weights there are zero.
            let groups = chunk.as_chunks::<GROUP>().0[..x.len().div_ceil(GROUP)].iter();
            for (group, out) in groups.zip(out.chunks_exact_mut(step)) {
                out[at..at + GROUP].copy_from_slice(group);
            }
        }
    }
}

multiversion! {
    /// As [`bytes`], each level in 16 bits.
    pub(super) fn words(x: &[f32], inverse: f32, zero: f32, place: Place, out: &mut [u8]) {
        let (step, at) = (place.height * GROUP * 2, place.row * GROUP * 2);
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
