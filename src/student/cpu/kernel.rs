//! The matrix product itself, by AVX-512: `gemm` serves every other processor.
//!
//! Ours because it is most of a training step, and `gemm` packs into memory that it fetches from
//! the system anew for each product. The scheme is the usual one (Goto and van de Geijn 2008): a
//! block of `a` is packed into panels of [`ROWS`] rows, a panel of `b` into [`COLUMNS`] columns, and
//! a tile of the result stays in registers while both are walked along their common side. The order
//! of the sums depends on that side's length alone, never on where a product was cut.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::cell::RefCell;

use super::pages::zeros;

/// Numbers of a vector.
const LANES: usize = 16;
/// PackedBatch of a tile.
const ROWS: usize = 8;
/// Vectors of a tile's row: with eight rows 24 sums, which leaves registers for four and one more.
const VECTORS: usize = 3;
/// Columns of a tile.
const COLUMNS: usize = VECTORS * LANES;
/// Longest stretch of the common side that is packed at a time: a panel of `b` then stays in the
/// second cache.
const DEPTH: usize = 512;

/// A matrix where it lies: the number at (row, column) is `start[row * row_step + column *
/// column_step]`.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub start: *const f32,
    pub row_step: usize,
    pub column_step: usize,
}

impl View {
    /// The address of a number.
    fn at(&self, row: usize, column: usize) -> *const f32 {
        self.start.wrapping_add(row * self.row_step + column * self.column_step)
    }
}

/// Whether this processor has the instructions.
pub(super) fn serves() -> bool {
    #[cfg(target_arch = "x86_64")]
    return crate::simd::has_avx512();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Room for the packed parts, one per thread, made once.
#[derive(Default)]
struct Packed {
    a: Vec<f32>,
    b: Vec<f32>,
}

thread_local! {
    static PACKED: RefCell<Packed> = RefCell::default();
}

/// What becomes of the numbers that are in `c`.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    /// They are overwritten.
    Forgotten,
    /// The product is added to them.
    Kept,
    /// They are overwritten, and the product is added to this row in each of theirs.
    Row(&'a [f32]),
}

/// `c = a · b`, or what `before` says: `m` by `k` times `k` by `n`; rows of `c` begin `step` numbers
/// apart.
///
/// # Safety
/// [`serves`] has said yes. A row of [`Before`] has `n` numbers. All numbers of `a`, `b` and `c` can be read, those of `c` be written,
/// and nobody else has the latter.
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
    before: Before,
) {
    let blocks = k.div_ceil(DEPTH).max(1);
    let depth = k.div_ceil(blocks);
    PACKED.with_borrow_mut(|packed| {
        let Packed { a: packed_a, b: packed_b } = packed;
        grow(packed_a, m.next_multiple_of(ROWS) * depth);
        grow(packed_b, COLUMNS * depth);
        for block in 0..blocks {
            let from = block * depth;
            let depth = depth.min(k - from);
            for row in (0..m).step_by(ROWS) {
                let panel = &mut packed_a[row * depth..][..ROWS * depth];
                // SAFETY: the rows and columns named are of `a`.
                unsafe { pack_rows(a, row, ROWS.min(m - row), from, depth, panel) };
            }
            for column in (0..n).step_by(COLUMNS) {
                let columns = COLUMNS.min(n - column);
                let width = columns.next_multiple_of(LANES);
                let panel = &mut packed_b[..width * depth];
                // SAFETY: the rows and columns named are of `b`.
                unsafe { pack_columns(b, column, columns, from, depth, width, panel) };
                for row in (0..m).step_by(ROWS) {
                    let c = c.wrapping_add(row * step + column);
                    let (base, base_step) = match before {
                        Before::Row(row) if block == 0 => (row[column..].as_ptr(), 0),
                        Before::Forgotten if block == 0 => (std::ptr::null(), 0),
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
                    // SAFETY: the processor serves; both panels are whole; the tile's rows and
                    // columns are of `c`.
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
    _: Before,
) {
    unreachable!("`serves` says no on this processor");
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        *buffer = zeros(len);
    }
}

/// Packs `rows` rows of `a` from `row` on: for each of `depth` columns from `from` on, [`ROWS`]
/// numbers, zero where there is no row.
///
/// # Safety
/// The numbers named can be read; the processor has AVX-512.
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
            // SAFETY: eight rows lie side by side.
            *out = unsafe { a.at(row, from + column).cast::<[f32; ROWS]>().read_unaligned() };
        }
    } else if rows == ROWS && a.column_step == 1 {
        let whole = depth / LANES * LANES;
        for column in (0..whole).step_by(LANES) {
            // SAFETY: sixteen columns of eight rows are there, and so is their place.
            unsafe {
                let rows = a.at(row, from + column);
                let out = panel[column * ROWS..][..LANES * ROWS].as_mut_ptr();
                turn_8x16(rows, a.row_step, out);
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
                // SAFETY: only rows that are there are read.
                *out = if at < rows { unsafe { *a.at(row + at, from + column) } } else { 0.0 };
            }
        }
    }
}

/// Packs `columns` columns of `b` from `column` on: for each of `depth` rows from `from` on, `width`
/// numbers, zero where there is no column.
///
/// # Safety
/// The numbers named can be read; the processor has AVX-512.
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
        // SAFETY: the rows' columns lie side by side, and the panel has room for them.
        return unsafe { copy_columns(b.at(from, column), b.row_step, depth, panel) };
    }
    if b.column_step == 1 {
        for (row, out) in panel.chunks_exact_mut(width).enumerate() {
            // SAFETY: the row's columns lie side by side.
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
            // SAFETY: sixteen rows of sixteen columns are there, and so is their place.
            unsafe {
                let out = panel[row * width + at..].as_mut_ptr();
                turn_16x16(b.at(from + row, column + at), b.column_step, out, width);
            }
        }
    }
    for row in 0..depth {
        // What the squares did not cover.
        let done = if row < deep { whole } else { 0 };
        for at in done..width {
            // SAFETY: only columns that are there are read.
            panel[row * width + at] =
                if at < columns { unsafe { *b.at(from + row, column + at) } } else { 0.0 };
        }
    }
}

/// Copies `depth` rows of [`COLUMNS`] numbers, `step` apart, into a panel.
///
/// # Safety
/// All of them can be read; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn copy_columns(x: *const f32, step: usize, depth: usize, panel: &mut [f32]) {
    for (row, out) in panel[..depth * COLUMNS].as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
        for vector in 0..VECTORS {
            // SAFETY: the caller's promise; a chunk of the panel has as many vectors.
            unsafe {
                let numbers = _mm512_loadu_ps(x.add(row * step + vector * LANES));
                _mm512_storeu_ps(out.as_mut_ptr().add(vector * LANES), numbers);
            }
        }
    }
}

/// `N` rows of sixteen numbers, `step` apart, each square of four by four turned: vector `4i + j` holds
/// in quarter `q` the numbers `x[4i..4i + 4][4q + j]`.
///
/// # Safety
/// All of them can be read; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn turn_quarters<const N: usize>(x: *const f32, step: usize) -> [__m512; N] {
    let mut r = [_mm512_setzero_ps(); N];
    for (i, r) in r.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *r = unsafe { _mm512_loadu_ps(x.add(i * step)) };
    }
    let mut t = r;
    // Pairs of numbers, then of pairs.
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

/// Sixteen rows of sixteen numbers, `step` apart, turned: `out[j * out_step + i] = x[i * step + j]`.
///
/// # Safety
/// All of them can be read and written; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn turn_16x16(x: *const f32, step: usize, out: *mut f32, out_step: usize) {
    // SAFETY: the caller's promise.
    let r = unsafe { turn_quarters::<16>(x, step) };
    let mut t = r;
    // The quarters change places.
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
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(out.add(j * out_step), *t) };
    }
}

/// Eight rows of sixteen numbers, `step` apart, turned into sixteen rows of eight.
///
/// # Safety
/// All of them can be read and written; the processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn turn_8x16(x: *const f32, step: usize, out: *mut f32) {
    // SAFETY: the caller's promise.
    let r = unsafe { turn_quarters::<8>(x, step) };
    // r[j] and r[4 + j] hold in quarter q rows 0..4 and 4..8 of column 4q + j: eight in a row.
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
            // SAFETY: the caller's promise.
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
    /// What the sums are added to, rows `base_step` apart; null for nothing.
    base: *const f32,
    base_step: usize,
}

#[cfg(target_arch = "x86_64")]
impl Tile {
    /// Computes the tile with `V` vectors in a row.
    ///
    /// # Safety
    /// The panels are whole; the tile's rows and columns of `c` are nobody else's; the processor
    /// has AVX-512.
    #[target_feature(enable = "avx512f")]
    unsafe fn multiply<const V: usize>(&self) {
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        let (mut a, mut b) = (self.a, self.b);
        for _ in 0..self.depth {
            let mut columns = [_mm512_setzero_ps(); V];
            for (at, columns) in columns.iter_mut().enumerate() {
                // SAFETY: the panel is whole.
                *columns = unsafe { _mm512_loadu_ps(b.add(at * LANES)) };
            }
            for (at, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the panel is whole.
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
                    // SAFETY: the mask leaves out what is not of the tile.
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
