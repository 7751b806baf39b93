//! Inputs to bytes: each row between its smallest and its largest number.
//!
//! The range always has zero in it, which is a level of its own (`zero`), so that what is cut off or
//! padded with zeros stays exactly that. A range of its own on either side of zero matters behind a
//! GELU, where all that is negative lies above -0.17: half of the levels would never be used.

use rayon::prelude::*;

use super::kernel::{Encoding, GROUP, Kernel, Tile};
use crate::vector::wide;

/// Levels above the lowest.
const STEPS: f32 = 255.0;
/// Adding 1.5·2^23 rounds to a whole number and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;
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
    pub fn of(x: &[f32], inputs: usize) -> Self {
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
    pub fn fill(&mut self, x: &[f32], inputs: usize) {
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
        let (rows, encoding) = (self.rows, self.kernel.encoding());
        let fill =
            |(tile, ((levels, zeros), scales)): (usize, ((&mut [u8], &mut [i32]), &mut [f32]))| {
                let (first, height) = span(rows, tiles, tile);
                for row in 0..height {
                    let x = &x[(first + row) * inputs..(first + row + 1) * inputs];
                    let (low, high) = range(x);
                    let scale = (high - low) / STEPS;
                    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                    let zero = (-low * inverse).round_ties_even();
                    (zeros[row], scales[row]) = (zero as i32, scale);
                    match encoding {
                        Encoding::Bytes => bytes(x, inverse, zero, height, row, levels),
                        Encoding::Words => words(x, inverse, zero, height, row, levels),
                    }
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

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub fn inputs(&self) -> usize {
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

/// First row and height of tile `at`: tiles differ by one row at most, the taller ones in front.
fn span(rows: usize, tiles: usize, at: usize) -> (usize, usize) {
    let (height, taller) = (rows / tiles, rows % tiles);
    (at * height + at.min(taller), height + usize::from(at < taller))
}

/// Lanes worked side by side, so that a fold vectorises and yet has one fixed order.
const LANES: usize = 32;

wide! {
    /// The smallest and the largest of `x` and zero; NaN for both where a number is NaN.
    fn range(x: &[f32]) -> (f32, f32) {
        let (mut low, mut high) = ([0f32; LANES], [0f32; LANES]);
        // What is a number is zero here.
        let mut none = [0u32; LANES];
        let mut look = |lane: usize, x: f32| {
            low[lane] = if x < low[lane] { x } else { low[lane] };
            high[lane] = if x > high[lane] { x } else { high[lane] };
            none[lane] |= u32::from(x.is_nan());
        };
        let mut blocks = x.chunks_exact(LANES);
        for block in &mut blocks {
            for lane in 0..LANES {
                look(lane, block[lane]);
            }
        }
        for (lane, &x) in blocks.remainder().iter().enumerate() {
            look(lane, x);
        }
        if none.iter().any(|&none| none > 0) {
            return (f32::NAN, f32::NAN);
        }
        (low.into_iter().fold(0.0, f32::min), high.into_iter().fold(0.0, f32::max))
    }
}

/// Numbers quantised before they are laid out.
const CHUNK: usize = 256;

#[inline(always)]
fn levels(x: &[f32], inverse: f32, zero: f32, out: &mut [u8; CHUNK]) {
    for (out, &x) in out.iter_mut().zip(x) {
        let level = x * inverse + zero;
        // One instruction each, and 0 for NaN.
        let level = if level > 0.0 { level } else { 0.0 };
        let level = if level < STEPS { level } else { STEPS };
        *out = (level + ROUND).to_bits() as u8;
    }
}

wide! {
    /// Lays out a row of a tile of `height` rows: groups of bytes, the rows' groups in turn.
    fn bytes(x: &[f32], inverse: f32, zero: f32, height: usize, row: usize, out: &mut [u8]) {
        let step = height * GROUP;
        let mut chunk = [0u8; CHUNK];
        for (x, out) in x.chunks(CHUNK).zip(out.chunks_mut(CHUNK / GROUP * step)) {
            levels(x, inverse, zero, &mut chunk);
            // Behind the row's end stand levels of no meaning, and the weights there are zero.
            let groups = chunk.as_chunks::<GROUP>().0[..x.len().div_ceil(GROUP)].iter();
            for (group, out) in groups.zip(out[row * GROUP..].chunks_mut(step)) {
                out[..GROUP].copy_from_slice(group);
            }
        }
    }
}

wide! {
    /// As [`bytes`], each level in 16 bits.
    fn words(x: &[f32], inverse: f32, zero: f32, height: usize, row: usize, out: &mut [u8]) {
        let step = height * GROUP * 2;
        let mut chunk = [0u8; CHUNK];
        for (x, out) in x.chunks(CHUNK).zip(out.chunks_mut(CHUNK / GROUP * step)) {
            levels(x, inverse, zero, &mut chunk);
            let groups = chunk.as_chunks::<GROUP>().0[..x.len().div_ceil(GROUP)].iter();
            for (group, out) in groups.zip(out[row * GROUP * 2..].chunks_mut(step)) {
                for (out, &level) in out.as_chunks_mut::<2>().0.iter_mut().zip(group) {
                    *out = u16::from(level).to_ne_bytes();
                }
            }
        }
    }
}
