//! Tiles of 8 rows by 48 columns for AVX-512: of 32 registers of sixteen numbers, 24 hold sums.

use std::arch::x86_64::*;

use super::{
    kernel::{self, COLUMNS, LANES, VECTORS},
    panels::{Kernel, Tile},
};

/// Bytes in a line of the cache.
const LINE: usize = 64;

pub(super) struct Avx512;

impl Kernel for Avx512 {
    const ROWS: usize = 8;
    const COLUMNS: usize = COLUMNS;
    /// As in training: a panel, 96 KB, stays in the L2 cache beside the next one.
    const DEPTH: usize = kernel::DEPTH;

    fn is_available() -> bool {
        kernel::is_available()
    }

    unsafe fn multiply(tile: &Tile<'_>, rows: usize) {
        // SAFETY: promised by the caller.
        unsafe {
            match rows {
                1 => multiply::<1>(tile),
                2 => multiply::<2>(tile),
                3 => multiply::<3>(tile),
                4 => multiply::<4>(tile),
                5 => multiply::<5>(tile),
                6 => multiply::<6>(tile),
                7 => multiply::<7>(tile),
                _ => multiply::<{ Self::ROWS }>(tile),
            }
        }
    }
}

/// Computes a tile of `R` rows.
///
/// # Safety
/// As [`Kernel::multiply`].
#[target_feature(enable = "avx512f")]
unsafe fn multiply<const R: usize>(tile: &Tile<'_>) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; R];
    for (depth, columns) in tile.panel.as_chunks::<COLUMNS>().0.iter().enumerate() {
        let fetch = tile.fetch.from.wrapping_add(depth * tile.fetch.step);
        for line in (0..tile.fetch.step).step_by(LINE) {
            _mm_prefetch::<_MM_HINT_T1>(fetch.wrapping_add(line));
        }
        let mut vectors = [_mm512_setzero_ps(); VECTORS];
        for (vector, columns) in vectors.iter_mut().zip(columns.as_chunks::<LANES>().0) {
            // SAFETY: the chunk has as many numbers as a register.
            *vector = unsafe { _mm512_loadu_ps(columns.as_ptr()) };
        }
        for (at, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the row is readable.
            let x = _mm512_set1_ps(unsafe { *tile.x.add(at * tile.x_step + depth) });
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = _mm512_fmadd_ps(x, vector, *sum);
            }
        }
    }
    for (at, sums) in sums.into_iter().enumerate() {
        for (vector, sum) in sums.into_iter().enumerate() {
            let first = vector * LANES;
            let left = tile.columns.saturating_sub(first).min(LANES);
            let mask = ((1u32 << left) - 1) as __mmask16;
            let c = tile.c.wrapping_add(at * tile.step + first);
            let base = tile.base.wrapping_add(at * tile.base_step + first);
            // SAFETY: the mask leaves out columns beyond the tile.
            unsafe {
                let sum = match tile.base.is_null() {
                    true => sum,
                    false => _mm512_add_ps(_mm512_maskz_loadu_ps(mask, base), sum),
                };
                _mm512_mask_storeu_ps(c, mask, sum);
            }
        }
    }
}
