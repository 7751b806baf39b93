//! The product with packed weights, tile by tile: inference. What computes a tile is a [`Kernel`].
//!
//! ```text
//!            columns of the weight ─►
//!           ┌ panel ┬ panel ┬ …        a panel: COLUMNS columns of DEPTH rows, contiguous
//!  rows of ─┤ tile  │ tile  │          a tile: at most ROWS rows times one panel, its sums
//!     x     │ tile  │ tile  │          in registers
//! ```
//!
//! Rows are read in place: a tile reads a few of them from left to right. The tiles of a panel have
//! about the same height, so that 9 rows do not take as long as two tiles of 8.
//!
//! With the rows of one text, reading the weights takes about as long as multiplying with them.
//! The tiles of a panel therefore fetch the next panel into the L2 cache, each its share: memory
//! then works all the time, instead of while the first tile of a panel is computed.
//!
//! The order of the sums depends on the common dimension alone, not on the rows beside a row.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

use std::ops::Range;

use super::{
    kernel::{Init, blocks},
    pages::zeros,
    product::Matrix,
};

/// Tiles in a chunk of rows: the chunk's slice of the common dimension stays in the L2 cache while
/// it is multiplied with one panel after another.
const CHUNK: usize = 16;

/// What computes the tiles, for one instruction set.
pub(super) trait Kernel {
    /// Rows of the tallest tile.
    const ROWS: usize;
    /// Columns of a tile, and of a panel.
    const COLUMNS: usize;
    /// Largest slice of the common dimension.
    const DEPTH: usize;

    /// Whether this processor has the instructions.
    fn is_available() -> bool;

    /// Computes `tile`, which has `rows` rows, at most [`Self::ROWS`].
    ///
    /// # Safety
    /// [`Self::is_available`] is true; the rows of `x` and what the sums are added to are readable;
    /// the tile's part of the result is writable and no other thread accesses it.
    unsafe fn multiply(tile: &Tile<'_>, rows: usize);
}

/// A tile of the result.
pub(super) struct Tile<'a> {
    /// Its first row of `x`; the next is `x_step` numbers further.
    pub x: *const f32,
    pub x_step: usize,
    /// `[depth, COLUMNS]`.
    pub panel: &'a [f32],
    /// Where the result goes, in rows `step` apart.
    pub c: *mut f32,
    pub step: usize,
    /// Columns of the result: the last panel may be wider.
    pub columns: usize,
    /// What the sums are added to, in rows `base_step` apart; null for zero.
    pub base: *const f32,
    pub base_step: usize,
    pub fetch: Fetch,
}

/// What a tile fetches into the cache: `step` bytes for each row of its panel.
pub(super) struct Fetch {
    /// May lie behind the end of the weights.
    pub from: *const i8,
    pub step: usize,
}

/// All panels of the transpose of `weight` `[outputs, inputs]`, the last one padded with zeros.
pub(super) fn pack<K: Kernel>(weight: &[f32], inputs: usize) -> Vec<f32> {
    let outputs = weight.len() / inputs.max(1);
    let mut panels = zeros(inputs * outputs.next_multiple_of(K::COLUMNS));
    for block in blocks(inputs, K::DEPTH) {
        for first in (0..outputs).step_by(K::COLUMNS) {
            let panel = &mut panels[panel::<K>(outputs, first, &block)];
            let rows = weight[first * inputs..].chunks_exact(inputs).take(K::COLUMNS);
            for (at, row) in rows.enumerate() {
                let numbers = panel.chunks_exact_mut(K::COLUMNS);
                for (numbers, value) in numbers.zip(&row[block.clone()]) {
                    numbers[at] = *value;
                }
            }
        }
    }
    panels
}

/// Where a panel is among those of a matrix of `columns` columns: that of the columns from `first`
/// on, in a `block` of the common dimension.
fn panel<K: Kernel>(columns: usize, first: usize, block: &Range<usize>) -> Range<usize> {
    let start = block.start * columns.next_multiple_of(K::COLUMNS) + first * block.len();
    start..start + block.len() * K::COLUMNS
}

/// `c = init + x · b`: `b` are `n` columns, from `first` on, of the matrix of `columns` columns in
/// `panels`; rows of `c` begin `step` numbers apart.
///
/// # Safety
/// The kernel is available. `x` has contiguous rows, of as many numbers as `panels` was packed for;
/// `first` is a multiple of the kernel's columns. All of `c` is writable and no other thread
/// accesses it.
#[expect(clippy::too_many_arguments, reason = "three matrices and their sizes")]
pub(super) unsafe fn multiply<K: Kernel>(
    x: Matrix,
    panels: &[f32],
    columns: usize,
    first: usize,
    n: usize,
    c: *mut f32,
    step: usize,
    init: Init,
) {
    for (rows, block) in blocks(x.rows, CHUNK * K::ROWS)
        .flat_map(|rows| blocks(x.columns, K::DEPTH).map(move |block| (rows.clone(), block)))
    {
        let tiles = rows.len().div_ceil(K::ROWS);
        for column in (0..n).step_by(K::COLUMNS) {
            let place = panel::<K>(columns, first + column, &block);
            let next = match column + K::COLUMNS < n {
                true => place.end,
                false => panel::<K>(columns, first, &(block.end..block.end + block.len())).start,
            };
            let panel = &panels[place];
            let mut row = rows.start;
            for at in 0..tiles {
                let height = (rows.end - row).div_ceil(tiles - at);
                let c = c.wrapping_add(row * step + column);
                let (base, base_step) = match init {
                    Init::Row(row) if block.start == 0 => (row[column..].as_ptr(), 0),
                    Init::Zero if block.start == 0 => (std::ptr::null(), 0),
                    _ => (c.cast_const(), step),
                };
                let fetch = Fetch {
                    from: panels.as_ptr().wrapping_add(next + at * panel.len() / tiles).cast(),
                    step: (K::COLUMNS * size_of::<f32>()).div_ceil(tiles),
                };
                let tile = Tile {
                    x: x.at(row, block.start),
                    x_step: x.columns,
                    panel,
                    c,
                    step,
                    columns: K::COLUMNS.min(n - column),
                    base,
                    base_step,
                    fetch,
                };
                // SAFETY: the kernel is available; the rows and the panel are complete; the tile
                // lies in `c`.
                unsafe { K::multiply(&tile, height) };
                row += height;
            }
        }
    }
}
