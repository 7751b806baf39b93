//! AVX-VNNI and AVX2: of the 16 registers of 256 bits, 12 hold sums of 6 rows.
//!
//! With VNNI that is 6 rows by 16 outputs. AVX2's own product of bytes (`vpmaddubsw`) saturates at
//! 16 bits, so that the AVX2 kernel widens weights and inputs to 16 bits and multiplies them by
//! `vpmaddwd`, which is exact: 6 rows by 8 outputs.

// The loops unroll over registers.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::tile::{GROUP, Line, PANEL, Panel, Tile, Window, by_rows};

/// Rows of the tallest tile.
pub(super) const ROWS: usize = 6;
/// Outputs of a register of sums.
const LANES: usize = 8;

pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx2")
}

pub(super) fn vnni_available() -> bool {
    available() && is_x86_feature_detected!("avxvnni")
}

/// With AVX-VNNI.
///
/// # Safety
/// As `Kernel::run`, and its assertions hold.
pub(super) unsafe fn run_vnni(tile: &Tile, panel: &Panel, out: &Window) {
    // SAFETY: as promised by the caller.
    unsafe { by_rows!(vnni, tile, panel, out, [1, 2, 3, 4, 5, 6]) }
}

/// With AVX2.
///
/// # Safety
/// As `Kernel::run`, and its assertions hold.
pub(super) unsafe fn run(tile: &Tile, panel: &Panel, out: &Window) {
    // SAFETY: as promised by the caller.
    unsafe { by_rows!(avx2, tile, panel, out, [1, 2, 3, 4, 5, 6]) }
}

/// # Safety
/// As [`run_vnni`], for a tile of `R` rows.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn vnni<const R: usize>(tile: &Tile, panel: &Panel, out: &Window) {
    // SAFETY: a panel's group of inputs is two lines, each of two registers; a tile has R times
    // four bytes for each group. Both are asserted by `Kernel::run`.
    unsafe {
        for half in 0..2 {
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            let mut levels = tile.levels.as_ptr().cast::<i32>();
            for lines in panel.levels.as_chunks::<2>().0 {
                let weights = lines[half].0.as_ptr().cast::<__m256i>();
                let weights = [_mm256_load_si256(weights), _mm256_load_si256(weights.add(1))];
                for row in 0..R {
                    let level = _mm256_set1_epi32(levels.add(row).read_unaligned());
                    for at in 0..2 {
                        sums[row][at] = _mm256_dpbusd_avx_epi32(sums[row][at], level, weights[at]);
                    }
                }
                levels = levels.add(R);
            }
            for at in 0..2 {
                for row in 0..R {
                    finish(sums[row][at], row, (half * 2 + at) * LANES, tile, panel, out);
                }
            }
        }
    }
}

/// # Safety
/// As [`run`], for a tile of `R` rows.
#[target_feature(enable = "avx2")]
unsafe fn avx2<const R: usize>(tile: &Tile, panel: &Panel, out: &Window) {
    // SAFETY: a panel's group of inputs is 128 bytes, of which 16 are read at each of 8 places; a
    // tile has R times four words for each group. Both are asserted by `Kernel::run`.
    unsafe {
        for quarter in 0..PANEL / LANES {
            // Four outputs per register, each as two sums of two products.
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            let mut levels = tile.levels.as_ptr().cast::<i64>();
            for lines in panel.levels.as_chunks::<2>().0 {
                let byte = quarter * LANES * GROUP;
                let line = lines[byte / Line::BYTES].0.as_ptr().add(byte % Line::BYTES);
                let line = line.cast::<__m128i>();
                let weights = [
                    _mm256_cvtepi8_epi16(_mm_load_si128(line)),
                    _mm256_cvtepi8_epi16(_mm_load_si128(line.add(1))),
                ];
                for row in 0..R {
                    let level = _mm256_set1_epi64x(levels.add(row).read_unaligned());
                    for at in 0..2 {
                        let products = _mm256_madd_epi16(level, weights[at]);
                        sums[row][at] = _mm256_add_epi32(sums[row][at], products);
                    }
                }
                levels = levels.add(R);
            }
            for row in 0..R {
                // Pairs of neighbours: outputs 0 1 4 5 2 3 6 7, then in order.
                let sum = _mm256_hadd_epi32(sums[row][0], sums[row][1]);
                let sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(sum);
                finish(sum, row, quarter * LANES, tile, panel, out);
            }
        }
    }
}

/// Eight sums to eight outputs of a row, from `column` on.
///
/// # Safety
/// As `Kernel::run`; `row` is a row of the tile, `column` a multiple of 8 below PANEL.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn finish(
    sum: __m256i,
    row: usize,
    column: usize,
    tile: &Tile,
    panel: &Panel,
    out: &Window,
) {
    // SAFETY: a panel has PANEL sums, scales and biases, and no output beyond its width is written.
    unsafe {
        let zero = _mm256_set1_epi32(tile.zero_points[row]);
        let shift = _mm256_loadu_si256(panel.sums.as_ptr().add(column).cast());
        let sum = _mm256_sub_epi32(sum, _mm256_mullo_epi32(zero, shift));
        let scales = _mm256_loadu_ps(panel.scales.as_ptr().add(column));
        let scale = _mm256_mul_ps(_mm256_set1_ps(tile.scales[row]), scales);
        let value = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
        let value = _mm256_add_ps(value, _mm256_loadu_ps(panel.bias.as_ptr().add(column)));
        let to = out.at.wrapping_add(row * out.stride + column);
        if column + LANES <= panel.width {
            _mm256_storeu_ps(to, value);
        } else {
            let mut values = [0f32; LANES];
            _mm256_storeu_ps(values.as_mut_ptr(), value);
            for (lane, &value) in values[..panel.width.saturating_sub(column)].iter().enumerate() {
                to.add(lane).write(value);
            }
        }
    }
}
