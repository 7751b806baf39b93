//! Tiles of 6 rows by 16 columns for AVX2: of 16 registers of eight numbers, 12 hold sums.

use std::arch::x86_64::*;

use super::panels::{Kernel, Tile};

/// Columns of a tile.
const COLUMNS: usize = 16;
/// Steps of the innermost loop that are written out.
const UNROLLED: usize = 4;
/// Numbers in a register.
const HALF: usize = COLUMNS / 2;

pub(super) struct Avx2;

impl Kernel for Avx2 {
    const ROWS: usize = 6;
    const COLUMNS: usize = COLUMNS;
    /// A panel, 16 KB, then stays in the L1 cache beside the rows of a tile.
    const DEPTH: usize = 256;

    fn is_available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
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
                _ => multiply::<{ Self::ROWS }>(tile),
            }
        }
    }
}

/// Computes a tile of `R` rows.
///
/// # Safety
/// As [`Kernel::multiply`].
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply<const R: usize>(tile: &Tile<'_>) {
    // The tile's part of the result arrives while the sums are computed.
    for at in 0..R {
        _mm_prefetch::<_MM_HINT_T0>(tile.c.wrapping_add(at * tile.step).cast());
    }
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    let mut add = |depth: usize, columns: &[f32; COLUMNS]| {
        // SAFETY: a row of a panel has sixteen numbers.
        let columns = unsafe {
            [_mm256_loadu_ps(columns.as_ptr()), _mm256_loadu_ps(columns.as_ptr().add(HALF))]
        };
        for (at, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the row is readable.
            let x = unsafe { _mm256_set1_ps(*tile.x.add(at * tile.x_step + depth)) };
            for (sum, columns) in sums.iter_mut().zip(columns) {
                *sum = _mm256_fmadd_ps(x, columns, *sum);
            }
        }
    };
    let (groups, rest) = tile.panel.as_chunks::<COLUMNS>().0.as_chunks::<UNROLLED>();
    for (at, group) in groups.iter().enumerate() {
        for (ahead, columns) in group.iter().enumerate() {
            let depth = at * UNROLLED + ahead;
            // A row of the panel is a line of the cache.
            _mm_prefetch::<_MM_HINT_T1>(tile.fetch.from.wrapping_add(depth * tile.fetch.step));
            add(depth, columns);
        }
    }
    for (at, columns) in rest.iter().enumerate() {
        add(groups.len() * UNROLLED + at, columns);
    }
    for (at, sums) in sums.into_iter().enumerate() {
        let c = tile.c.wrapping_add(at * tile.step);
        let base = tile.base.wrapping_add(at * tile.base_step);
        // SAFETY: the columns lie in `c`, and in the base if there is one.
        unsafe {
            match tile.columns {
                COLUMNS => store(sums, base, c),
                columns => {
                    let mut numbers = [0f32; COLUMNS];
                    let start = numbers.as_mut_ptr();
                    let base = match base.is_null() {
                        true => std::ptr::null(),
                        false => {
                            base.copy_to_nonoverlapping(start, columns);
                            start.cast_const()
                        }
                    };
                    store(sums, base, start);
                    start.copy_to_nonoverlapping(c, columns);
                }
            }
        }
    }
}

/// Writes a row of sixteen sums, added to the numbers at `base`, to `c`.
///
/// # Safety
/// Sixteen numbers are readable at `base`, unless it is null, and writable at `c`; the processor
/// has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn store(sums: [__m256; 2], base: *const f32, c: *mut f32) {
    for (at, sum) in [0, HALF].into_iter().zip(sums) {
        // SAFETY: the caller promises these numbers.
        unsafe {
            let sum = match base.is_null() {
                true => sum,
                false => _mm256_add_ps(_mm256_loadu_ps(base.add(at)), sum),
            };
            _mm256_storeu_ps(c.add(at), sum);
        }
    }
}
