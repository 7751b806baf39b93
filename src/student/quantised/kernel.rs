//! A tile of inputs times a panel of weights: chooses the kernel by processor; holds the portable
//! one.

#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use super::{
    encode,
    tile::{Encoding, GROUP, LINES, Line, PANEL, Panel, Tile, TileRow, Window},
};

/// The instruction set that computes a tile.
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
    /// The kernels that this processor can run, the fastest first.
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

    /// The fastest kernel of this processor.
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
            // SAFETY: a kernel is chosen only where the processor has its instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512::range(x) },
            _ => encode::range(x),
        }
    }

    /// Writes the levels `x * inverse + zero` into the place of a row in a tile.
    pub(super) fn lay_out(self, x: &[f32], inverse: f32, zero: f32, at: TileRow, out: &mut [u8]) {
        match (self, self.encoding()) {
            // SAFETY: a kernel is chosen only where the processor has its instructions.
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, _) => unsafe { avx512::bytes(x, inverse, zero, at, out) },
            (_, Encoding::Bytes) => encode::bytes(x, inverse, zero, at, out),
            (_, Encoding::Words) => encode::words(x, inverse, zero, at, out),
        }
    }

    /// Writes the tile's rows of the panel's outputs to `out`.
    ///
    /// # Safety
    /// The processor has the kernel's instructions, and no other thread accesses that part of `out`
    /// meanwhile: the first `panel.width` numbers of each of the tile's rows.
    pub(super) unsafe fn run(self, tile: &Tile, panel: &Panel, out: &Window) {
        let rows = tile.scales.len();
        let groups = panel.levels.len() / LINES;
        assert!(rows > 0 && rows <= self.rows() && tile.zero_points.len() == rows);
        assert_eq!(tile.levels.len(), groups * rows * self.encoding().group_bytes());
        assert_eq!(panel.levels.len(), groups * LINES);
        assert!([panel.sums.len(), panel.scales.len(), panel.bias.len()] == [PANEL; 3]);
        assert!(panel.width <= PANEL && panel.width <= out.stride);
        assert!((rows - 1) * out.stride + panel.width <= out.len, "a tile lies in its window");
        // SAFETY: the lengths that kernels rely on were just asserted; the caller promises the
        // rest.
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

/// Outputs that the portable kernel computes at a time.
const BESIDE: usize = 8;

/// For any processor: row by row, with one sum for each position in a group, so that the compiler
/// vectorises the products.
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
            let sum = sum.wrapping_sub(tile.zero_points[row] * panel.sums[lane]);
            let value = sum as f32 * (tile.scales[row] * panel.scales[lane]) + panel.bias[lane];
            // SAFETY: the caller promises that the rows and outputs of the tile are in the window.
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
        // 255 · 127 fits 16 bits.
        let product = levels[at].wrapping_mul(i16::from(weights[at]));
        sums[at] = sums[at].wrapping_add(i32::from(product));
    }
    sums
}
