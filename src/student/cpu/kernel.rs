//! The matrix product of training for AVX-512; other processors use `gemm`.
//!
//! It is our own because it takes most of a training step, and `gemm` allocates its packing buffers
//! anew for each product. The scheme is the usual one (Goto and van de Geijn 2008): a block of `a`
//! is packed into panels of [`ROWS`] rows, `b` into panels of [`COLUMNS`] columns, and a tile of
//! the result stays in registers while both panels are traversed along their common dimension. The
//! order of the sums depends on that dimension alone, not on how a product was divided.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::{cell::RefCell, ops::Range};

use super::pages::zeros;

/// Numbers in a vector register.
pub(super) const LANES: usize = 16;
/// Rows of a tile.
const ROWS: usize = 8;
/// Vectors in a tile's row: eight rows take 24 registers for sums, which leaves eight of 32 for
/// operands.
pub(super) const VECTORS: usize = 3;
/// Columns of a tile, and of a panel.
pub(super) const COLUMNS: usize = VECTORS * LANES;
/// Largest slice of the common dimension that is packed at a time: a panel of `b` then stays in the
/// L2 cache.
pub(super) const DEPTH: usize = 512;

/// A strided matrix: the number at (row, column) is `start[row * row_step + column * column_step]`.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub start: *const f32,
    pub row_step: usize,
    pub column_step: usize,
}

impl View {
    /// The address of a number.
    pub(super) fn at(&self, row: usize, column: usize) -> *const f32 {
        self.start.wrapping_add(row * self.row_step + column * self.column_step)
    }
}

/// Whether this processor has AVX-512.
pub(super) fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return crate::simd::has_avx512();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Buffers for the packed panels, allocated once per thread.
#[derive(Default)]
struct Packed {
    a: Vec<f32>,
    b: Vec<f32>,
}

thread_local! {
    static PACKED: RefCell<Packed> = RefCell::default();
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(in crate::student) enum Init<'a> {
    /// Zero: the destination is overwritten.
    Zero,
    /// The destination's current numbers.
    Current,
    /// This row, for every row of the destination, which is overwritten.
    Row(&'a [f32]),
}

/// `c = init + a · b`, `m` by `k` times `k` by `n`; rows of `c` begin `step` numbers apart.
///
/// # Safety
/// [`is_available`] is true. [`Init::Row`] has `n` numbers. All numbers of `a`, `b` and `c` are
/// readable; those of `c` are writable and no other thread accesses them.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::too_many_arguments, reason = "three matrices and their sizes")]
pub(super) unsafe fn multiply(
    m: usize,
    k: usize,
    n: usize,
    a: View,
    b: View,
    c: *mut f32,
    step: usize,
    init: Init,
) {
    PACKED.with_borrow_mut(|packed| {
        let Packed { a: packed_a, b: packed_b } = packed;
        for Range { start: from, end } in blocks(k, DEPTH) {
            let depth = end - from;
            grow(packed_a, m.next_multiple_of(ROWS) * depth);
            for row in (0..m).step_by(ROWS) {
                let panel = &mut packed_a[row * depth..][..ROWS * depth];
                // SAFETY: the rows and columns lie in `a`.
                unsafe { pack_rows(a, row, ROWS.min(m - row), from, depth, panel) };
            }
            for column in (0..n).step_by(COLUMNS) {
                let columns = COLUMNS.min(n - column);
                let width = columns.next_multiple_of(LANES);
                grow(packed_b, COLUMNS * depth);
                let panel = &mut packed_b[..width * depth];
                // SAFETY: the rows and columns lie in `b`.
                unsafe { pack_columns(b, column, columns, from, depth, width, panel) };
                for row in (0..m).step_by(ROWS) {
                    let c = c.wrapping_add(row * step + column);
                    let (base, base_step) = match init {
                        Init::Row(row) if from == 0 => (row[column..].as_ptr(), 0),
                        Init::Zero if from == 0 => (std::ptr::null(), 0),
                        _ => (c.cast_const(), step),
                    };
                    let tile = Tile {
                        depth,
                        a: packed_a[row * depth..].as_ptr(),
                        b: panel.as_ptr(),
                        c,
                        step,
                        rows: ROWS.min(m - row),
                        columns,
                        base,
                        base_step,
                    };
                    // SAFETY: the processor has AVX-512; both panels are complete; the tile lies in
                    // `c`.
                    unsafe {
                        match width / LANES {
                            1 => tile.multiply::<1>(),
                            2 => tile.multiply::<2>(),
                            _ => tile.multiply::<VECTORS>(),
                        }
                    }
                }
            }
        }
    });
}

#[cfg(not(target_arch = "x86_64"))]
#[expect(clippy::too_many_arguments, reason = "three matrices and their sizes")]
pub(super) unsafe fn multiply(
    _: usize,
    _: usize,
    _: usize,
    _: View,
    _: View,
    _: *mut f32,
    _: usize,
    _: Init,
) {
    unreachable!("`is_available` is false on this processor");
}

/// A dimension of `k` in slices that are multiplied one after another: of about the same size, at
/// most `largest`.
pub(super) fn blocks(k: usize, largest: usize) -> impl Iterator<Item = Range<usize>> {
    let depth = k.div_ceil(k.div_ceil(largest).max(1)).max(1);
    (0..k.max(1)).step_by(depth).map(move |from| from..(from + depth).min(k))
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        *buffer = zeros(len);
    }
}

/// Packs `rows` rows of `a` from `row` on: for each of `depth` columns from `from` on, [`ROWS`]
/// numbers, padded with zeros.
///
/// # Safety
/// These numbers are readable; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
unsafe fn pack_rows(
    a: View,
    row: usize,
    rows: usize,
    from: usize,
    depth: usize,
    panel: &mut [f32],
) {
    if rows == ROWS && a.row_step == 1 {
        for (column, out) in panel.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            // SAFETY: eight rows are contiguous.
            *out = unsafe { a.at(row, from + column).cast::<[f32; ROWS]>().read_unaligned() };
        }
    } else if rows == ROWS && a.column_step == 1 {
        let whole = depth / LANES * LANES;
        for column in (0..whole).step_by(LANES) {
            // SAFETY: `a` has sixteen columns of eight rows here, and the panel has space for them.
            unsafe {
                let rows = a.at(row, from + column);
                let out = panel[column * ROWS..][..LANES * ROWS].as_mut_ptr();
                transpose_8x16(rows, a.row_step, out);
            }
        }
        for column in whole..depth {
            for at in 0..ROWS {
                // SAFETY: as above.
                panel[column * ROWS + at] = unsafe { *a.at(row + at, from + column) };
            }
        }
    } else {
        for (column, out) in panel.chunks_exact_mut(ROWS).enumerate() {
            for (at, out) in out.iter_mut().enumerate() {
                // SAFETY: only existing rows are read.
                *out = if at < rows { unsafe { *a.at(row + at, from + column) } } else { 0.0 };
            }
        }
    }
}

/// Packs `columns` columns of `b` from `column` on: for each of `depth` rows from `from` on,
/// `width` numbers, padded with zeros.
///
/// # Safety
/// These numbers are readable; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
unsafe fn pack_columns(
    b: View,
    column: usize,
    columns: usize,
    from: usize,
    depth: usize,
    width: usize,
    panel: &mut [f32],
) {
    if b.column_step == 1 && columns == COLUMNS {
        // SAFETY: the columns are contiguous, and the panel has space for them.
        return unsafe { copy_columns(b.at(from, column), b.row_step, depth, panel) };
    }
    if b.column_step == 1 {
        for (row, out) in panel.chunks_exact_mut(width).enumerate() {
            // SAFETY: the row's columns are contiguous.
            let row = unsafe { std::slice::from_raw_parts(b.at(from + row, column), columns) };
            out[..columns].copy_from_slice(row);
            out[columns..].fill(0.0);
        }
        return;
    }
    let whole = if b.row_step == 1 { columns / LANES * LANES } else { 0 };
    let deep = depth / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        for row in (0..deep).step_by(LANES) {
            // SAFETY: `b` has sixteen rows of sixteen columns here, and the panel has space for
            // them.
            unsafe {
                let out = panel[row * width + at..].as_mut_ptr();
                transpose_16x16(b.at(from + row, column + at), b.column_step, out, width);
            }
        }
    }
    for row in 0..depth {
        // The remainder that the 16 by 16 blocks did not cover.
        let done = if row < deep { whole } else { 0 };
        for at in done..width {
            // SAFETY: only existing columns are read.
            panel[row * width + at] =
                if at < columns { unsafe { *b.at(from + row, column + at) } } else { 0.0 };
        }
    }
}

/// Copies `depth` rows of [`COLUMNS`] numbers, `step` apart, into a panel.
///
/// # Safety
/// All of them are readable; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn copy_columns(x: *const f32, step: usize, depth: usize, panel: &mut [f32]) {
    for (row, out) in panel[..depth * COLUMNS].as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
        for vector in 0..VECTORS {
            // SAFETY: promised by the caller; a chunk of the panel has that many vectors.
            unsafe {
                let numbers = _mm512_loadu_ps(x.add(row * step + vector * LANES));
                _mm512_storeu_ps(out.as_mut_ptr().add(vector * LANES), numbers);
            }
        }
    }
}

/// `N` rows of sixteen numbers, `step` apart, with each block of four by four transposed: quarter
/// `q` of vector `4i + j` holds `x[4i..4i + 4][4q + j]`.
///
/// # Safety
/// All of them are readable; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn transpose_4x4_blocks<const N: usize>(x: *const f32, step: usize) -> [__m512; N] {
    let mut r = [_mm512_setzero_ps(); N];
    for (i, r) in r.iter_mut().enumerate() {
        // SAFETY: promised by the caller.
        *r = unsafe { _mm512_loadu_ps(x.add(i * step)) };
    }
    let mut t = r;
    // Interleave numbers, then pairs of numbers.
    for i in 0..N / 2 {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..N / 4 {
        let pair = |a: __m512, b: __m512| (_mm512_castps_pd(a), _mm512_castps_pd(b));
        let (a, b) = pair(t[4 * i], t[4 * i + 2]);
        let (c, d) = pair(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
        r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    }
    r
}

/// Transposes sixteen rows of sixteen numbers: `out[j * out_step + i] = x[i * step + j]`.
///
/// # Safety
/// All of `x` is readable, all of `out` writable; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn transpose_16x16(x: *const f32, step: usize, out: *mut f32, out_step: usize) {
    // SAFETY: promised by the caller.
    let r = unsafe { transpose_4x4_blocks::<16>(x, step) };
    let mut t = r;
    // Transpose the blocks.
    for j in 0..4 {
        let low = _mm512_shuffle_f32x4::<0x88>(r[j], r[4 + j]);
        let high = _mm512_shuffle_f32x4::<0xdd>(r[j], r[4 + j]);
        let low2 = _mm512_shuffle_f32x4::<0x88>(r[8 + j], r[12 + j]);
        let high2 = _mm512_shuffle_f32x4::<0xdd>(r[8 + j], r[12 + j]);
        t[j] = _mm512_shuffle_f32x4::<0x88>(low, low2);
        t[8 + j] = _mm512_shuffle_f32x4::<0xdd>(low, low2);
        t[4 + j] = _mm512_shuffle_f32x4::<0x88>(high, high2);
        t[12 + j] = _mm512_shuffle_f32x4::<0xdd>(high, high2);
    }
    for (j, t) in t.iter().enumerate() {
        // SAFETY: promised by the caller.
        unsafe { _mm512_storeu_ps(out.add(j * out_step), *t) };
    }
}

/// Transposes eight rows of sixteen numbers, `step` apart, into sixteen contiguous rows of eight.
///
/// # Safety
/// All of `x` is readable, all of `out` writable; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn transpose_8x16(x: *const f32, step: usize, out: *mut f32) {
    // SAFETY: promised by the caller.
    let r = unsafe { transpose_4x4_blocks::<8>(x, step) };
    // Quarter q of r[j] and of r[4 + j] holds rows 0..4 and 4..8 of column 4q + j.
    let low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    let high = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    for j in 0..4 {
        let (first, second) = (
            _mm512_permutex2var_ps(r[j], low, r[4 + j]),
            _mm512_permutex2var_ps(r[j], high, r[4 + j]),
        );
        let halves = [
            (j, _mm512_castps512_ps256(first)),
            (4 + j, _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0x4e>(first, first))),
            (8 + j, _mm512_castps512_ps256(second)),
            (12 + j, _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0x4e>(second, second))),
        ];
        for (column, eight) in halves {
            // SAFETY: promised by the caller.
            unsafe { _mm256_storeu_ps(out.add(column * ROWS), eight) };
        }
    }
}

/// A tile of the result.
#[cfg(target_arch = "x86_64")]
struct Tile {
    depth: usize,
    /// `[depth, ROWS]`.
    a: *const f32,
    /// `[depth, vectors · LANES]`.
    b: *const f32,
    c: *mut f32,
    step: usize,
    rows: usize,
    columns: usize,
    /// What the sums are added to, in rows `base_step` apart; null for zero.
    base: *const f32,
    base_step: usize,
}

#[cfg(target_arch = "x86_64")]
impl Tile {
    /// Computes the tile with `V` vectors in a row.
    ///
    /// # Safety
    /// The panels are complete; no other thread accesses the tile's part of `c`; the processor has
    /// AVX-512.
    #[target_feature(enable = "avx512f")]
    unsafe fn multiply<const V: usize>(&self) {
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        let (mut a, mut b) = (self.a, self.b);
        for _ in 0..self.depth {
            let mut columns = [_mm512_setzero_ps(); V];
            for (at, columns) in columns.iter_mut().enumerate() {
                // SAFETY: the panel is complete.
                *columns = unsafe { _mm512_loadu_ps(b.add(at * LANES)) };
            }
            for (at, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the panel is complete.
                let row = _mm512_set1_ps(unsafe { *a.add(at) });
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_fmadd_ps(row, columns, *sum);
                }
            }
            a = a.wrapping_add(ROWS);
            b = b.wrapping_add(V * LANES);
        }
        for (at, sums) in sums.iter().enumerate() {
            if at < self.rows {
                for (vector, sum) in sums.iter().enumerate() {
                    let left = self.columns - (vector * LANES).min(self.columns);
                    let mask = ((1u32 << left.min(LANES)) - 1) as __mmask16;
                    let c = self.c.wrapping_add(at * self.step + vector * LANES);
                    let base = self.base.wrapping_add(at * self.base_step + vector * LANES);
                    // SAFETY: the mask leaves out columns beyond the tile.
                    unsafe {
                        let sum = match self.base.is_null() {
                            true => *sum,
                            false => _mm512_add_ps(_mm512_maskz_loadu_ps(mask, base), *sum),
                        };
                        _mm512_mask_storeu_ps(c, mask, sum);
                    }
                }
            }
        }
    }
}
