//! The product with packed weights for AVX2: inference on a processor without AVX-512.
//!
//! Of 16 registers of eight numbers, 12 hold the sums of a tile of 6 rows by 16 columns. Panels are
//! laid out as [`super::kernel`] has them, but each is 16 columns wide. Rows are read in place: a
//! tile reads six of them from left to right.

use std::arch::x86_64::*;

use super::{
    kernel::{Init, LANES, blocks, panel_start},
    pages::zeros,
    product::Matrix,
};

/// Rows of the tallest tile.
const ROWS: usize = 6;
/// Columns of a tile, and of a panel.
const COLUMNS: usize = LANES;
/// Numbers in a register.
const HALF: usize = COLUMNS / 2;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// All panels of the transpose of `weight` `[outputs, inputs]`.
pub(super) fn pack(weight: &[f32], inputs: usize) -> Vec<f32> {
    let outputs = weight.len() / inputs.max(1);
    let mut panels = zeros(inputs * outputs.next_multiple_of(COLUMNS));
    for block in blocks(inputs) {
        for first in (0..outputs).step_by(COLUMNS) {
            let start = panel_start(outputs, first, block.start, block.len());
            let panel = panels[start..][..block.len() * COLUMNS].as_chunks_mut::<COLUMNS>().0;
            let rows = weight[first * inputs..].chunks_exact(inputs).take(COLUMNS);
            for (at, row) in rows.enumerate() {
                for (numbers, value) in panel.iter_mut().zip(&row[block.clone()]) {
                    numbers[at] = *value;
                }
            }
        }
    }
    panels
}

/// `c = init + x · b`: `b` are `n` columns, from `first` on, of the matrix of `columns` columns in
/// `panels`; rows of `c` begin `step` numbers apart.
///
/// # Safety
/// [`is_available`] is true. `x` has contiguous rows, of as many numbers as `panels` was packed
/// for; `first` is a multiple of 16. All of `c` is writable and no other thread accesses it.
#[expect(clippy::too_many_arguments, reason = "three matrices and their sizes")]
pub(super) unsafe fn multiply(
    x: Matrix,
    panels: &[f32],
    columns: usize,
    first: usize,
    n: usize,
    c: *mut f32,
    step: usize,
    init: Init,
) {
    let (m, k) = (x.rows, x.columns);
    let tiles = m.div_ceil(ROWS);
    for block in blocks(k) {
        let depth = block.len();
        for column in (0..n).step_by(COLUMNS) {
            let start = panel_start(columns, first + column, block.start, depth);
            let panel = &panels[start..][..depth * COLUMNS];
            // Tiles of about the same height: one of few rows takes as long as one of six.
            let mut row = 0;
            for tile in 0..tiles {
                let rows = (m - row).div_ceil(tiles - tile);
                let c = c.wrapping_add(row * step + column);
                let columns = COLUMNS.min(n - column);
                let (base, base_step) = match init {
                    Init::Row(row) if block.start == 0 => (row[column..].as_ptr(), 0),
                    Init::Zero if block.start == 0 => (std::ptr::null(), 0),
                    _ => (c.cast_const(), step),
                };
                let a = x.at(row, block.start);
                let tile = Tile { a, a_step: k, panel, c, step, columns, base, base_step };
                // SAFETY: the processor has AVX2 and FMA; the rows and the panel are complete; the
                // tile lies in `c`.
                unsafe {
                    match rows {
                        1 => tile.multiply::<1>(),
                        2 => tile.multiply::<2>(),
                        3 => tile.multiply::<3>(),
                        4 => tile.multiply::<4>(),
                        5 => tile.multiply::<5>(),
                        _ => tile.multiply::<ROWS>(),
                    }
                }
                row += rows;
            }
        }
    }
}

/// A tile of the result.
struct Tile<'a> {
    /// Its first row of `x`; the next is `a_step` numbers further.
    a: *const f32,
    a_step: usize,
    /// `[depth, COLUMNS]`.
    panel: &'a [f32],
    c: *mut f32,
    step: usize,
    columns: usize,
    /// What the sums are added to, in rows `base_step` apart; null for zero.
    base: *const f32,
    base_step: usize,
}

impl Tile<'_> {
    /// Computes the tile, which has `R` rows.
    ///
    /// # Safety
    /// The rows of `x` are readable; no other thread accesses the tile's part of `c`; the processor
    /// has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn multiply<const R: usize>(&self) {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for (depth, columns) in self.panel.as_chunks::<COLUMNS>().0.iter().enumerate() {
            // SAFETY: a row of a panel has sixteen numbers.
            let columns = unsafe {
                [_mm256_loadu_ps(columns.as_ptr()), _mm256_loadu_ps(columns.as_ptr().add(HALF))]
            };
            for (at, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the row is readable.
                let row = unsafe { _mm256_set1_ps(*self.a.add(at * self.a_step + depth)) };
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm256_fmadd_ps(row, columns, *sum);
                }
            }
        }
        for (at, sums) in sums.iter().enumerate() {
            let mut numbers = [0f32; COLUMNS];
            // SAFETY: both halves lie in the array.
            unsafe {
                _mm256_storeu_ps(numbers.as_mut_ptr(), sums[0]);
                _mm256_storeu_ps(numbers.as_mut_ptr().add(HALF), sums[1]);
            }
            let c = self.c.wrapping_add(at * self.step);
            let base = self.base.wrapping_add(at * self.base_step);
            for (column, sum) in numbers.iter().take(self.columns).enumerate() {
                // SAFETY: the column lies in `c`, and in the base if there is one.
                unsafe {
                    let base = if self.base.is_null() { 0.0 } else { *base.add(column) };
                    *c.add(column) = base + sum;
                }
            }
        }
    }
}
