//! A tile of rows times a panel of outputs: what a kernel is given, which one runs, and the one
//! that runs anywhere.

use std::marker::PhantomData;

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::rows::{self, Place};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Outputs of a panel.
pub(super) const PANEL: usize = 32;
/// Inputs whose products are added up at once.
pub(super) const GROUP: usize = 4;
/// Cache lines of a panel per group of inputs.
pub(super) const LINES: usize = PANEL * GROUP / Line::BYTES;
/// As many products of 255 and 127 add up within 32 bits.
pub(super) const MAX_INPUTS: usize = i32::MAX as usize / (255 * 127);

/// A cache line of weights, so that no kernel's load crosses one.
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

/// How a kernel wants the inputs' levels.
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

/// Some quantised rows.
pub(super) struct Tile<'a> {
    /// `[groups, rows, GROUP]`
    pub levels: &'a [u8],
    /// The level that stands for zero, `[rows]`.
    pub zeros: &'a [i32],
    /// What a level is worth, `[rows]`.
    pub scales: &'a [f32],
}

/// Some outputs' weights.
pub(super) struct Panel<'a> {
    /// `[groups, PANEL, GROUP]` as bytes.
    pub levels: &'a [Line],
    /// Σ of an output's levels, `[PANEL]`.
    pub sums: &'a [i32],
    /// What a level is worth, `[PANEL]`.
    pub scales: &'a [f32],
    /// `[PANEL]`
    pub bias: &'a [f32],
    /// Outputs that there really are, 1 to PANEL.
    pub width: usize,
}

/// The output matrix, written by several threads each in a part of its own.
pub(super) struct Window<'a> {
    /// First number of the part.
    pub at: *mut f32,
    /// From row to row.
    pub stride: usize,
    /// Numbers from `at` on.
    room: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: a window is an exclusive borrow of floats; who writes through it promises (see
// `Kernel::run`) that no two threads write the same part.
unsafe impl Sync for Window<'_> {}

impl<'a> Window<'a> {
    pub(super) fn new(out: &'a mut [f32], stride: usize) -> Self {
        Self { at: out.as_mut_ptr(), stride, room: out.len(), borrowed: PhantomData }
    }

    /// The part that begins at `row` and `column`.
    pub(super) fn part(&self, row: usize, column: usize) -> Self {
        let skip = row * self.stride + column;
        assert!(skip <= self.room, "a part begins in its window");
        // SAFETY: the pointer stays in the slice, as was just asserted.
        let at = unsafe { self.at.add(skip) };
        Self { at, stride: self.stride, room: self.room - skip, borrowed: PhantomData }
    }
}

/// The instructions that a tile is worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Dot,
    Plain,
}

impl Kernel {
    /// All that this processor has, the fastest first.
    pub(super) fn available() -> impl Iterator<Item = Self> {
        let all = [
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, avx512::available()),
            #[cfg(target_arch = "x86_64")]
            (Self::AvxVnni, avx2::vnni_available()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, avx2::available()),
            #[cfg(target_arch = "aarch64")]
            (Self::Dot, neon::available()),
            (Self::Plain, true),
        ];
        all.into_iter().filter_map(|(kernel, available)| available.then_some(kernel))
    }

    /// The fastest that this processor has.
    pub(super) fn best() -> Self {
        Self::available().next().unwrap_or(Self::Plain)
    }

    /// Rows of the tallest tile.
    pub(super) fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni | Self::Avx2 => avx2::ROWS,
            #[cfg(target_arch = "aarch64")]
            Self::Dot => neon::ROWS,
            Self::Plain => 4,
        }
    }

    pub(super) fn encoding(self) -> Encoding {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Encoding::Words,
            _ => Encoding::Bytes,
        }
    }

    /// The smallest and the largest of `x` and zero; NaN where a number is NaN or infinite.
    pub(super) fn range(self, x: &[f32]) -> (f32, f32) {
        match self {
            // SAFETY: a kernel is there only where the processor has its instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512::range(x) },
            _ => rows::range(x),
        }
    }

    /// Writes the levels `x * inverse + zero` where a row of a tile has its place.
    pub(super) fn lay_out(self, x: &[f32], inverse: f32, zero: f32, place: Place, out: &mut [u8]) {
        match (self, self.encoding()) {
            // SAFETY: a kernel is there only where the processor has its instructions.
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, _) => unsafe { avx512::bytes(x, inverse, zero, place, out) },
            (_, Encoding::Bytes) => rows::bytes(x, inverse, zero, place, out),
            (_, Encoding::Words) => rows::words(x, inverse, zero, place, out),
        }
    }

    /// Writes the tile's rows of the panel's outputs to `out`.
    ///
    /// # Safety
    /// The processor has the kernel's instructions, and nobody else reads or writes that part of
    /// `out` meanwhile: the first `panel.width` numbers of each of the tile's rows.
    pub(super) unsafe fn run(self, tile: &Tile, panel: &Panel, out: &Window) {
        let rows = tile.scales.len();
        let groups = panel.levels.len() / LINES;
        assert!(rows > 0 && rows <= self.rows() && tile.zeros.len() == rows);
        assert_eq!(tile.levels.len(), groups * rows * self.encoding().group_bytes());
        assert_eq!(panel.levels.len(), groups * LINES);
        assert!([panel.sums.len(), panel.scales.len(), panel.bias.len()] == [PANEL; 3]);
        assert!(panel.width <= PANEL && panel.width <= out.stride);
        assert!((rows - 1) * out.stride + panel.width <= out.room, "a tile lies in its window");
        // SAFETY: the lengths that kernels rely on were just asserted, the rest is promised by the
        // caller.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512::run(tile, panel, out),
                #[cfg(target_arch = "x86_64")]
                Self::AvxVnni => avx2::run_vnni(tile, panel, out),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2::run(tile, panel, out),
                #[cfg(target_arch = "aarch64")]
                Self::Dot => neon::run(tile, panel, out),
                Self::Plain => plain(tile, panel, out),
            }
        }
    }
}

/// Outputs that the plain kernel works at a time.
const BESIDE: usize = 8;

/// Any processor: rows one after another, a sum of its own for each place in a group, so that the
/// compiler finds products side by side.
///
/// # Safety
/// As [`Kernel::run`], and its assertions hold.
unsafe fn plain(tile: &Tile, panel: &Panel, out: &Window) {
    let rows = tile.scales.len();
    let groups = tile.levels.as_chunks::<GROUP>().0;
    for (row, first) in (0..rows).flat_map(|row| (0..PANEL / BESIDE).map(move |at| (row, at))) {
        let (line, byte) =
            (first * BESIDE * GROUP / Line::BYTES, first * BESIDE * GROUP % Line::BYTES);
        let mut sums = [0i32; BESIDE * GROUP];
        let groups = groups.iter().skip(row).step_by(rows);
        for (group, lines) in groups.zip(panel.levels.as_chunks::<LINES>().0) {
            let weights = lines[line].0[byte..].first_chunk().expect("a line has whole groups");
            let mut levels = [0; BESIDE * GROUP];
            for at in 0..BESIDE * GROUP {
                levels[at] = i16::from(group[at % GROUP]);
            }
            sums = add(sums, levels, weights);
        }
        for (at, sums) in sums.as_chunks::<GROUP>().0.iter().enumerate() {
            let lane = first * BESIDE + at;
            if lane >= panel.width {
                break;
            }
            let sum = sums.iter().fold(0i32, |sum, &more| sum.wrapping_add(more));
            let sum = sum.wrapping_sub(tile.zeros[row] * panel.sums[lane]);
            let value = sum as f32 * (tile.scales[row] * panel.scales[lane]) + panel.bias[lane];
            // SAFETY: the rows and outputs of the tile are in the window, says the caller.
            unsafe { out.at.add(row * out.stride + lane).write(value) };
        }
    }
}

#[inline(always)]
fn add(
    mut sums: [i32; BESIDE * GROUP],
    levels: [i16; BESIDE * GROUP],
    weights: &[i8; BESIDE * GROUP],
) -> [i32; BESIDE * GROUP] {
    for at in 0..BESIDE * GROUP {
        // 255 · 127 fits into 16 bits.
        let product = levels[at].wrapping_mul(i16::from(weights[at]));
        sums[at] = sums[at].wrapping_add(i32::from(product));
    }
    sums
}

/// `$function` for the tile's number of rows, which is then known when compiling.
macro_rules! by_rows {
    ($function:ident, $tile:ident, $panel:ident, $out:ident, [$($count:literal),*]) => {
        match $tile.scales.len() {
            $($count => $function::<$count>($tile, $panel, $out),)*
            _ => unreachable!("a tile has at most as many rows as its kernel takes"),
        }
    };
}
pub(super) use by_rows;
