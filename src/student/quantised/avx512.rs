//! AVX-512 VNNI: 14 rows by 32 outputs.
//!
//! `vpdpbusd` adds four products to each of 16 sums, twice per cycle on a server core. 28 of the 32
//! registers hold sums, two weights, one an input: 16 loads for 28 multiplications, so that neither
//! the loads nor the instruction's latency limit it.

// The loops unroll over registers.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::tile::{GROUP, PANEL, Panel, Tile, TileRow, Window, by_rows};

/// Rows of the tallest tile.
pub(super) const ROWS: usize = 14;
/// Outputs of a register.
const LANES: usize = 16;
/// Registers per group of a panel.
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
    // SAFETY: a panel has PANEL = WIDE * LANES sums, scales and biases; each group of its inputs is
    // WIDE registers; a tile has R times four bytes for each group; and the window has R rows of
    // `width` numbers. All of it is asserted by `Kernel::run`.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); WIDE]; R];
        for at in 0..WIDE {
            let column = at * LANES;
            let weights = _mm512_loadu_si512(panel.sums.as_ptr().add(column).cast());
            for row in 0..R {
                let zero = _mm512_set1_epi32(-tile.zero_points[row]);
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

/// Numbers quantised at a time: 16 groups.
const CHUNK: usize = LANES * GROUP;

/// The first `count` numbers of a register.
fn first(count: usize) -> __mmask16 {
    ((1u32 << count.min(LANES)) - 1) as __mmask16
}

/// As `encode::range`.
#[target_feature(enable = "avx512f")]
pub(super) fn range(x: &[f32]) -> (f32, f32) {
    let none = _mm512_setzero_ps();
    let (mut low, mut high, mut not_finite) = ([none; GROUP], [none; GROUP], [none; GROUP]);
    for x in x.chunks(CHUNK) {
        for at in 0..GROUP {
            let mask = first(x.len().saturating_sub(at * LANES));
            // SAFETY: the mask leaves out numbers beyond the slice's end.
            let x = unsafe { _mm512_maskz_loadu_ps(mask, x.as_ptr().wrapping_add(at * LANES)) };
            low[at] = _mm512_min_ps(x, low[at]);
            high[at] = _mm512_max_ps(x, high[at]);
            // NaN for a NaN or an infinity, and 0 for every finite number.
            not_finite[at] = _mm512_fmadd_ps(x, none, not_finite[at]);
        }
    }
    let (mut least, mut most, mut sum) = (0f32, 0f32, 0f32);
    for at in 0..GROUP {
        least = _mm512_reduce_min_ps(low[at]).min(least);
        most = _mm512_reduce_max_ps(high[at]).max(most);
        sum += _mm512_reduce_add_ps(not_finite[at]);
    }
    (least + sum, most + sum)
}

/// As `encode::bytes`.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn bytes(x: &[f32], inverse: f32, zero: f32, at: TileRow, out: &mut [u8]) {
    let TileRow { row, height } = at;
    let step = height * GROUP;
    assert!(row < height && out.len() >= x.len().div_ceil(GROUP) * step);
    let (inverse, zero) = (_mm512_set1_ps(inverse), _mm512_set1_ps(zero));
    // The pack instructions work on 128-bit lanes: the groups of four registers come out in this
    // order.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let offsets = _mm512_mullo_epi32(order, _mm512_set1_epi32(height as i32));
    for (x, out) in x.chunks(CHUNK).zip(out.chunks_mut(LANES * step)) {
        let mut levels = [_mm512_setzero_si512(); GROUP];
        for at in 0..GROUP {
            let mask = first(x.len().saturating_sub(at * LANES));
            // SAFETY: the mask leaves out numbers beyond the slice's end.
            let x = unsafe { _mm512_maskz_loadu_ps(mask, x.as_ptr().wrapping_add(at * LANES)) };
            levels[at] = _mm512_cvtps_epi32(_mm512_add_ps(_mm512_mul_ps(x, inverse), zero));
        }
        let low = _mm512_packs_epi32(levels[0], levels[1]);
        let high = _mm512_packs_epi32(levels[2], levels[3]);
        // Saturates at 0 and 255.
        let groups = _mm512_packus_epi16(low, high);
        let count = _mm512_set1_epi32(x.len().div_ceil(GROUP) as i32);
        let mask = _mm512_cmplt_epi32_mask(order, count);
        let to = out[row * GROUP..].as_mut_ptr().cast();
        // SAFETY: the asserted length holds the row's groups, `step` bytes apart, and the mask
        // leaves out groups beyond the row's end.
        unsafe { _mm512_mask_i32scatter_epi32::<4>(to, mask, offsets, groups) };
    }
}
