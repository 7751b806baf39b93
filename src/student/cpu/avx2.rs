//! The product with packed weights for AVX2: inference on a processor without AVX-512.
//!
//! Of 16 registers of eight numbers, 12 hold the sums of a tile of 6 rows by 16 columns. Panels are
//! laid out as [`super::kernel`] has them, but each is 16 columns wide. Rows are read in place: a
//! tile reads six of them from left to right.
//!
//! With the rows of one text, reading the weights takes about as long as multiplying with them.
//! The tiles of a panel therefore fetch the next panel into the L2 cache, each its share: memory
//! then works all the time, instead of while the first tile of a panel is computed.

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
/// Largest slice of the common dimension: a panel, 16 KB, then stays in the L1 cache beside the
/// rows of a tile.
const DEPTH: usize = 256;
/// Rows that are multiplied with one panel after another: their slice, about 96 KB, stays in the
/// L2 cache.
const CHUNK: usize = 16 * ROWS;
/// Steps of the innermost loop that are written out.
const UNROLLED: usize = 4;
/// Bytes in a row of a panel, and in a line of the cache.
const LINE: usize = COLUMNS * size_of::<f32>();
/// Numbers in a register.
const HALF: usize = COLUMNS / 2;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// All panels of the transpose of `weight` `[outputs, inputs]`.
pub(super) fn pack(weight: &[f32], inputs: usize) -> Vec<f32> {
    let outputs = weight.len() / inputs.max(1);
    let mut panels = zeros(inputs * outputs.next_multiple_of(COLUMNS));
    for block in blocks(inputs, DEPTH) {
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
    let k = x.columns;
    for (rows, block) in blocks(x.rows, CHUNK)
        .flat_map(|rows| blocks(k, DEPTH).map(move |block| (rows.clone(), block)))
    {
        let tiles = rows.len().div_ceil(ROWS);
        for column in (0..n).step_by(COLUMNS) {
            let start = panel_start(columns, first + column, block.start, block.len());
            let panel = &panels[start..][..block.len() * COLUMNS];
            let next = match column + COLUMNS < n {
                true => start + panel.len(),
                false => panel_start(columns, first, block.end, block.len()),
            };
            // Tiles of about the same height: one of few rows takes as long as one of six.
            let mut row = rows.start;
            for tile in 0..tiles {
                let height = (rows.end - row).div_ceil(tiles - tile);
                let c = c.wrapping_add(row * step + column);
                let columns = COLUMNS.min(n - column);
                let (base, base_step) = match init {
                    Init::Row(row) if block.start == 0 => (row[column..].as_ptr(), 0),
                    Init::Zero if block.start == 0 => (std::ptr::null(), 0),
                    _ => (c.cast_const(), step),
                };
                let a = x.at(row, block.start);
                let fetch = Fetch {
                    from: panels.as_ptr().wrapping_add(next + tile * panel.len() / tiles).cast(),
                    step: LINE.div_ceil(tiles),
                };
                let tile = Tile { a, a_step: k, panel, c, step, columns, base, base_step, fetch };
                // SAFETY: the processor has AVX2 and FMA; the rows and the panel are complete; the
                // tile lies in `c`.
                unsafe {
                    match height {
                        1 => tile.multiply::<1>(),
                        2 => tile.multiply::<2>(),
                        3 => tile.multiply::<3>(),
                        4 => tile.multiply::<4>(),
                        5 => tile.multiply::<5>(),
                        _ => tile.multiply::<ROWS>(),
                    }
                }
                row += height;
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
    fetch: Fetch,
}

/// What a tile fetches into the cache: `step` bytes for each row of its panel.
struct Fetch {
    /// May lie behind the end of the weights.
    from: *const i8,
    step: usize,
}

impl Tile<'_> {
    /// Computes the tile, which has `R` rows.
    ///
    /// # Safety
    /// The rows of `x` are readable; no other thread accesses the tile's part of `c`; the processor
    /// has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn multiply<const R: usize>(&self) {
        // The tile's part of the result arrives while the sums are computed.
        for at in 0..R {
            _mm_prefetch::<_MM_HINT_T0>(self.c.wrapping_add(at * self.step).cast());
        }
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        let mut add = |depth: usize, columns: &[f32; COLUMNS]| {
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
        };
        let (groups, rest) = self.panel.as_chunks::<COLUMNS>().0.as_chunks::<UNROLLED>();
        for (at, group) in groups.iter().enumerate() {
            for (ahead, columns) in group.iter().enumerate() {
                let depth = at * UNROLLED + ahead;
                _mm_prefetch::<_MM_HINT_T1>(self.fetch.from.wrapping_add(depth * self.fetch.step));
                add(depth, columns);
            }
        }
        for (at, columns) in rest.iter().enumerate() {
            add(groups.len() * UNROLLED + at, columns);
        }
        for (at, sums) in sums.into_iter().enumerate() {
            let c = self.c.wrapping_add(at * self.step);
            let base = self.base.wrapping_add(at * self.base_step);
            // SAFETY: the columns lie in `c`, and in the base if there is one.
            unsafe {
                match self.columns {
                    COLUMNS => self.store(sums, base, c),
                    columns => {
                        let mut numbers = [0f32; COLUMNS];
                        if !self.base.is_null() {
                            base.copy_to_nonoverlapping(numbers.as_mut_ptr(), columns);
                        }
                        self.store(sums, numbers.as_ptr(), numbers.as_mut_ptr());
                        numbers.as_ptr().copy_to_nonoverlapping(c, columns);
                    }
                }
            }
        }
    }

    /// Writes a row of sixteen sums and `base` to `c`.
    ///
    /// # Safety
    /// Sixteen numbers are readable at `base`, unless the tile has none, and writable at `c`; the
    /// processor has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn store(&self, sums: [__m256; 2], base: *const f32, c: *mut f32) {
        for (at, sum) in [0, HALF].into_iter().zip(sums) {
            // SAFETY: the caller promises these numbers.
            unsafe {
                let sum = match self.base.is_null() {
                    true => sum,
                    false => _mm256_add_ps(_mm256_loadu_ps(base.add(at)), sum),
                };
                _mm256_storeu_ps(c.add(at), sum);
            }
        }
    }
}
