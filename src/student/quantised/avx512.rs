//! AVX-512 VNNI: 14 rows by 32 outputs.
//!
//! `vpdpbusd` adds four products to each of 16 sums, twice per cycle on a server core. 28 of the 32
//! registers are sums, two hold weights, one an input: 16 loads for 28 multiplications, so that
//! neither loads nor the instruction's latency hold it up.

use std::arch::x86_64::*;

use super::kernel::{PANEL, Panel, Tile, Window, by_rows};

/// Rows of the tallest tile.
pub(super) const ROWS: usize = 14;
/// Outputs of a register.
const LANES: usize = 16;
/// Registers of a panel.
const WIDE: usize = PANEL / LANES;

pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

/// # Safety
/// As `Kernel::run`, and its assertions hold.
pub(super) unsafe fn run(tile: &Tile, panel: &Panel, out: &Window) {
    // SAFETY: as promised by the caller.
    unsafe {
        by_rows!(rows, tile, panel, out, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    }
}

/// # Safety
/// As [`run`], for a tile of `R` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn rows<const R: usize>(tile: &Tile, panel: &Panel, out: &Window) {
    // SAFETY: a panel has PANEL = WIDE * LANES sums, scales and biases, each group of its inputs is
    // WIDE registers, a tile has R bytes times four for each group, and the window has R rows of
    // `width` numbers: all asserted by `Kernel::run`.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); WIDE]; R];
        for at in 0..WIDE {
            let column = at * LANES;
            let weights = _mm512_loadu_si512(panel.sums.as_ptr().add(column).cast());
            for row in 0..R {
                let zero = _mm512_set1_epi32(-tile.zeros[row]);
                sums[row][at] = _mm512_mullo_epi32(zero, weights);
            }
        }
        let mut levels = tile.levels.as_ptr().cast::<i32>();
        for line in panel.levels.as_chunks::<WIDE>().0 {
            let mut weights = [_mm512_setzero_si512(); WIDE];
            for at in 0..WIDE {
                weights[at] = _mm512_load_si512(line[at].0.as_ptr().cast());
            }
            for row in 0..R {
                let level = _mm512_set1_epi32(levels.add(row).read_unaligned());
                for at in 0..WIDE {
                    sums[row][at] = _mm512_dpbusd_epi32(sums[row][at], level, weights[at]);
                }
            }
            levels = levels.add(R);
        }
        for at in 0..WIDE {
            let column = at * LANES;
            let here = panel.width.saturating_sub(column).min(LANES);
            let mask = ((1u32 << here) - 1) as __mmask16;
            let scales = _mm512_loadu_ps(panel.scales.as_ptr().add(column));
            let bias = _mm512_loadu_ps(panel.bias.as_ptr().add(column));
            for row in 0..R {
                let scale = _mm512_mul_ps(_mm512_set1_ps(tile.scales[row]), scales);
                let value = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[row][at]), scale);
                let value = _mm512_add_ps(value, bias);
                let to = out.at.wrapping_add(row * out.stride + column);
                _mm512_mask_storeu_ps(to, mask, value);
            }
        }
    }
}
