//! The data of a kernel: a tile of quantised inputs, a panel of quantised weights, and the window
//! of the output that their product is written to.

use std::marker::PhantomData;

/// Outputs of a panel.
pub(super) const PANEL: usize = 32;
/// Inputs per dot-product instruction: four bytes.
pub(super) const GROUP: usize = 4;
/// Cache lines of a panel for each group of inputs.
pub(super) const LINES: usize = PANEL * GROUP / Line::BYTES;
/// Maximum number of inputs of a layer: sums of that many products of 255 and 127 fit 32 bits.
pub(super) const MAX_INPUTS: usize = i32::MAX as usize / (255 * 127);

/// A cache line of weights. The alignment keeps a kernel's loads from crossing lines.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [i8; Line::BYTES]);

impl Line {
    pub(super) const BYTES: usize = 64;
}

impl Default for Line {
    fn default() -> Self {
        Self([0; Self::BYTES])
    }
}

/// How a kernel reads the inputs' levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// 8 bits each.
    Bytes,
    /// 16 bits each.
    Words,
}

impl Encoding {
    /// Bytes of a group of inputs.
    pub(super) fn group_bytes(self) -> usize {
        match self {
            Self::Bytes => GROUP,
            Self::Words => GROUP * 2,
        }
    }
}

/// Some quantised rows of inputs.
pub(super) struct Tile<'a> {
    /// `[groups, rows, GROUP]`
    pub levels: &'a [u8],
    /// The level of the number zero, `[rows]`.
    pub zero_points: &'a [i32],
    /// The step from one level to the next, `[rows]`.
    pub scales: &'a [f32],
}

/// The weights of [`PANEL`] outputs.
pub(super) struct Panel<'a> {
    /// `[groups, PANEL, GROUP]` as bytes.
    pub levels: &'a [Line],
    /// Sum of each output's levels, `[PANEL]`.
    pub sums: &'a [i32],
    /// The step from one level to the next, `[PANEL]`.
    pub scales: &'a [f32],
    /// `[PANEL]`
    pub bias: &'a [f32],
    /// Outputs in use, 1 to PANEL.
    pub width: usize,
}

/// The output matrix. Several threads write to it, each to its own part.
pub(super) struct Window<'a> {
    /// The part's first number.
    pub at: *mut f32,
    /// Distance from one row to the next.
    pub stride: usize,
    /// Length of the matrix from `at` on.
    pub len: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: a window is an exclusive borrow of floats, and callers of `Kernel::run` promise that no
// two threads write the same part.
unsafe impl Sync for Window<'_> {}

impl<'a> Window<'a> {
    pub(super) fn new(out: &'a mut [f32], stride: usize) -> Self {
        Self { at: out.as_mut_ptr(), stride, len: out.len(), borrowed: PhantomData }
    }

    /// The part that begins at `row` and `column`.
    pub(super) fn part(&self, row: usize, column: usize) -> Self {
        let skip = row * self.stride + column;
        assert!(skip <= self.len, "a part begins in its window");
        // SAFETY: the pointer stays in the slice, as was just asserted.
        let at = unsafe { self.at.add(skip) };
        Self { at, stride: self.stride, len: self.len - skip, borrowed: PhantomData }
    }
}

/// The place of a row in its tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileRow {
    pub row: usize,
    /// Number of rows of the tile.
    pub height: usize,
}

/// Calls `$function` with the tile's number of rows as a const parameter.
macro_rules! by_rows {
    ($function:ident, $tile:ident, $panel:ident, $out:ident, [$($count:literal),*]) => {
        match $tile.scales.len() {
            $($count => $function::<$count>($tile, $panel, $out),)*
            _ => unreachable!("a tile has at most as many rows as its kernel takes"),
        }
    };
}
pub(super) use by_rows;
