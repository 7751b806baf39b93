//! Dynamic quantisation of a layer's inputs: each row between its own smallest and largest number.
//!
//! The range always includes zero, which has a level of its own (the zero point), so that zeros
//! stay exact. It is asymmetric because of GELU, whose negative outputs all lie above -0.17: a
//! symmetric range would leave half of the levels unused.

use rayon::prelude::*;

use super::{
    encode::{STEPS, inverse_scale},
    kernel::Kernel,
    tile::{GROUP, Tile, TileRow},
};

/// Below this many numbers one thread quantises alone.
const SMALL: usize = 64 << 10;

/// Rows of inputs in 8 bits, in tiles of as many rows as the kernel computes at once.
#[derive(Debug)]
pub(in crate::student) struct QuantisedActivations {
    kernel: Kernel,
    inputs: usize,
    rows: usize,
    /// Rows of the tallest tile; every tile has space for that many.
    max_height: usize,
    /// `[tiles, groups, rows of the tile, GROUP]`; a tile begins every `max_height` rows.
    levels: Vec<u8>,
    /// The level of the number zero, `[tiles, max_height]`.
    zero_points: Vec<i32>,
    /// The step from one level to the next, `[tiles, max_height]`.
    scales: Vec<f32>,
}

impl Default for QuantisedActivations {
    fn default() -> Self {
        Self::with(Kernel::best())
    }
}

impl QuantisedActivations {
    /// The rows of `x` `[rows, inputs]`, quantised.
    #[cfg(test)]
    pub(crate) fn of(x: &[f32], inputs: usize) -> Self {
        let mut rows = Self::default();
        rows.fill(x, inputs);
        rows
    }

    /// No rows yet; for the given kernel.
    pub(super) fn with(kernel: Kernel) -> Self {
        let (levels, zero_points, scales) = (Vec::new(), Vec::new(), Vec::new());
        Self { kernel, inputs: 0, rows: 0, max_height: 1, levels, zero_points, scales }
    }

    /// Replaces the rows by those of `x` `[rows, inputs]`, in the same memory.
    ///
    /// A row with a NaN or an infinity has the scale NaN, and so all its outputs are NaN.
    pub(crate) fn fill(&mut self, x: &[f32], inputs: usize) {
        assert!(inputs > 0 && x.len().is_multiple_of(inputs), "x is [rows, inputs]");
        self.inputs = inputs;
        self.rows = x.len() / inputs;
        let tiles = self.tiles();
        self.max_height = self.rows.div_ceil(tiles.max(1)).max(1);
        let max_height = self.max_height;
        let stride = max_height * self.row_bytes();
        self.levels.resize(tiles * stride, 0);
        self.zero_points.resize(tiles * max_height, 0);
        self.scales.resize(tiles * max_height, 0.0);
        let (rows, kernel) = (self.rows, self.kernel);
        type Part<'a> = (usize, ((&'a mut [u8], &'a mut [i32]), &'a mut [f32]));
        let fill = |(tile, ((levels, zero_points), scales)): Part| {
            let (first, height) = span(rows, tiles, tile);
            for row in 0..height {
                let x = &x[(first + row) * inputs..(first + row + 1) * inputs];
                let (low, high) = kernel.range(x);
                let scale = (high - low) / STEPS;
                let inverse = inverse_scale(scale);
                let zero = (-low * inverse).round_ties_even();
                (zero_points[row], scales[row]) = (zero as i32, scale);
                kernel.lay_out(x, inverse, zero, TileRow { row, height }, levels);
            }
        };
        if x.len() < SMALL {
            let tiles = self.levels.chunks_mut(stride).zip(self.zero_points.chunks_mut(max_height));
            tiles.zip(self.scales.chunks_mut(max_height)).enumerate().for_each(fill);
        } else {
            let tiles =
                self.levels.par_chunks_mut(stride).zip(self.zero_points.par_chunks_mut(max_height));
            tiles
                .zip(self.scales.par_chunks_mut(max_height))
                .enumerate()
                .with_min_len(4)
                .for_each(fill);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Width of a row.
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
        let from = at * self.max_height;
        let levels = &self.levels[from * self.row_bytes()..][..height * self.row_bytes()];
        let (zero_points, scales) =
            (&self.zero_points[from..][..height], &self.scales[from..][..height]);
        (first, Tile { levels, zero_points, scales })
    }

    fn row_bytes(&self) -> usize {
        self.inputs.div_ceil(GROUP) * self.kernel.encoding().group_bytes()
    }
}

/// First row and height of tile `at`. Heights differ by one at most; the taller tiles come first.
fn span(rows: usize, tiles: usize, at: usize) -> (usize, usize) {
    let (height, taller) = (rows / tiles, rows % tiles);
    (at * height + at.min(taller), height + usize::from(at < taller))
}
