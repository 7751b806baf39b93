//! Matrix products, divided among the threads of the pool.
//!
//! Each thread computes one part with [`kernel`] where the processor has AVX-512, with `gemm`
//! elsewhere. Only the longer side of the result is divided, so that the order of every sum is
//! independent of the number of threads.

use std::marker::PhantomData;
use std::ops::Range;

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

pub(in crate::student) use super::kernel::Init;
use super::kernel::{self, View};

/// A view of a matrix: `rows` by `columns`, with the strides of both.
#[derive(Clone, Copy)]
pub(in crate::student) struct Matrix<'a> {
    values: &'a [f32],
    pub rows: usize,
    pub columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// Contiguous rows of `columns` numbers.
    pub(in crate::student) fn new(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len() / columns.max(1);
        Self { values, rows, columns, row_step: columns, column_step: 1 }
    }

    /// `rows` rows of `columns` numbers that begin `step` numbers apart.
    pub(super) fn strided(values: &'a [f32], rows: usize, columns: usize, step: usize) -> Self {
        Self { values, rows, columns, row_step: step, column_step: 1 }
    }

    /// The transposed view.
    pub(in crate::student) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    /// The rows from `row` on.
    pub(super) fn below(self, row: usize) -> Self {
        let skip = (row * self.row_step).min(self.values.len());
        Self { values: &self.values[skip..], rows: self.rows - row, ..self }
    }

    /// The address of a number.
    pub(super) fn at(&self, row: usize, column: usize) -> *const f32 {
        self.view().at(row, column)
    }

    pub(super) fn view(&self) -> View {
        let Self { row_step, column_step, .. } = *self;
        View { start: self.values.as_ptr(), row_step, column_step }
    }

    pub(super) fn check(&self) {
        let last = match self.rows == 0 || self.columns == 0 {
            true => return,
            false => (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step,
        };
        assert!(last < self.values.len(), "a matrix of the student ends within its buffer");
    }
}

/// The destination of a product: rows that begin `step` numbers apart, borrowed exclusively.
pub(in crate::student) struct Target<'a> {
    start: *mut f32,
    len: usize,
    step: usize,
    _owner: PhantomData<&'a mut [f32]>,
}

impl<'a> Target<'a> {
    /// Contiguous rows of `columns` numbers.
    pub(in crate::student) fn new(values: &'a mut [f32], columns: usize) -> Self {
        Self::strided(values, columns)
    }

    /// Rows that begin `step` numbers apart.
    pub(super) fn strided(values: &'a mut [f32], step: usize) -> Self {
        let (start, len) = (values.as_mut_ptr(), values.len());
        Self { start, len, step, _owner: PhantomData }
    }

    pub(super) fn start(&self) -> *mut f32 {
        self.start
    }
}

/// A buffer that several threads write to, each to its own part.
#[derive(Clone, Copy)]
pub(super) struct SharedBuffer {
    start: *mut f32,
    len: usize,
}
// SAFETY: callers that take a part promise that no other part overlaps it.
unsafe impl Send for SharedBuffer {}
// SAFETY: as above.
unsafe impl Sync for SharedBuffer {}

impl SharedBuffer {
    pub(super) fn of(values: &mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }

    /// One part of the buffer.
    ///
    /// # Safety
    /// No other live part overlaps this one.
    pub(super) unsafe fn slice<'a>(self, part: Range<usize>) -> &'a mut [f32] {
        assert!(part.start <= part.end && part.end <= self.len, "a part lies within its buffer");
        // SAFETY: it lies inside the buffer, and the caller promises that no other part overlaps
        // it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(part.start), part.len()) }
    }

    /// The destination of a product: rows from `from` on that begin `step` numbers apart.
    ///
    /// # Safety
    /// No other live part or target contains the numbers that the product writes.
    pub(super) unsafe fn target<'a>(self, from: usize, step: usize) -> Target<'a> {
        assert!(from <= self.len, "a part begins within its buffer");
        // SAFETY: it begins within the buffer.
        let start = unsafe { self.start.add(from) };
        Target { start, len: self.len - from, step, _owner: PhantomData }
    }
}

/// Below this many multiplications one thread computes a product alone.
pub(super) const MIN_PARALLEL: usize = 1 << 20;
/// Parts begin at multiples of this, so that they consist of whole vectors.
const GRAIN: usize = 64;
/// Minimum rows or columns of a part: `gemm` sums smaller ones in another order.
const MIN_PART: usize = 2 * GRAIN;

/// Matrix product `a · b` into `target`, by all threads of the current pool.
pub(in crate::student) fn product(a: Matrix, b: Matrix, target: Target, init: Init) {
    share(a, b, target, init, multiply);
}

/// Divides a product into parts that `one` computes.
fn share(a: Matrix, b: Matrix, target: Target, init: Init, one: fn(Matrix, Matrix, Target, Init)) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let threads = rayon::current_num_threads();
    if threads == 1 || m * k * n < MIN_PARALLEL {
        return one(a, b, target, init);
    }
    check(&a, &b, &target, init);
    let long = m.max(n);
    let size = (long / threads / GRAIN * GRAIN).max(MIN_PART);
    // The last part takes the remainder.
    let parts = (long / size).clamp(1, threads);
    let Target { start, len, step, .. } = target;
    let buffer = SharedBuffer { start, len };
    (0..parts).into_par_iter().for_each(|at| {
        let from = at * size;
        let count = if at + 1 == parts { long - from } else { size };
        let (a, b, init, offset) = match m >= n {
            true => (Matrix { rows: count, ..a.below(from) }, b, init, from * step),
            false => {
                let skip = (from * b.column_step).min(b.values.len());
                let init = match init {
                    Init::Row(row) => Init::Row(&row[from..from + count]),
                    other => other,
                };
                (a, Matrix { values: &b.values[skip..], columns: count, ..b }, init, from)
            }
        };
        // SAFETY: parts share no rows, or no columns, of the result.
        let target = unsafe { buffer.target(offset, step) };
        one(a, b, target, init);
    });
}

fn check(a: &Matrix, b: &Matrix, target: &Target, init: Init) {
    if let Init::Row(row) = init {
        assert_eq!(row.len(), b.columns, "a row of the student fits its product");
    }
    assert_eq!(a.columns, b.rows, "the student multiplies matrices that fit");
    a.check();
    b.check();
    let (m, n) = (a.rows, b.columns);
    let fits = m == 0 || n == 0 || (m - 1) * target.step + n <= target.len;
    assert!(
        fits && (m <= 1 || n <= target.step),
        "a product of the student ends within its target"
    );
}

/// Matrix product `a · b` into `target`, on the calling thread alone.
pub(super) fn multiply(a: Matrix, b: Matrix, target: Target, init: Init) {
    check(&a, &b, &target, init);
    let (m, k, n, step) = (a.rows, a.columns, b.columns, target.step);
    if kernel::is_available() {
        // SAFETY: the kernel is available; `check` verified that all rows and columns lie inside
        // the three buffers; and the target is an exclusive borrow.
        return unsafe { kernel::multiply(m, k, n, a.view(), b.view(), target.start, step, init) };
    }
    by_gemm(a, b, target, init);
}

/// [`multiply`] on any processor.
fn by_gemm(a: Matrix, b: Matrix, target: Target, init: Init) {
    check(&a, &b, &target, init);
    let (m, n, step) = (a.rows, b.columns, target.step);
    let (keep, alpha) = match init {
        Init::Zero => (false, 0.0),
        Init::Current => (true, 1.0),
        Init::Row(row) => {
            for at in 0..m {
                // SAFETY: `check` verified that the target's rows have `n` numbers each.
                unsafe {
                    row.as_ptr().copy_to_nonoverlapping(target.start.add(at * step), n);
                }
            }
            (true, 1.0)
        }
    };
    // SAFETY: `check` verified that all rows and columns lie inside the three buffers; the target
    // is an exclusive borrow.
    unsafe {
        gemm(
            a.rows,
            b.columns,
            a.columns,
            target.start,
            1,
            target.step as isize,
            keep,
            a.values.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            alpha,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: every sum is exact.
    fn numbers(len: usize, salt: usize) -> Vec<f32> {
        (0..len).map(|at| ((at * 7 + salt * 13) % 11) as f32 - 5.0).collect()
    }

    fn naive(a: &[f32], b: &[f32], m: usize, k: usize, n: usize) -> Vec<f32> {
        (0..m * n).map(|at| (0..k).map(|i| a[at / n * k + i] * b[i * n + at % n]).sum()).collect()
    }

    fn transposed(x: &[f32], columns: usize) -> Vec<f32> {
        let rows = x.len() / columns;
        (0..x.len()).map(|at| x[at % rows * columns + at / rows]).collect()
    }

    #[test]
    fn products_of_all_layouts_and_sizes_on_several_threads() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (1, 64, 200), (130, 70, 257), (257, 300, 130)] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let want = naive(&a, &b, m, k, n);
            let (at, bt) = (transposed(&a, k), transposed(&b, n));
            for (a, b) in [
                (Matrix::new(&a, k), Matrix::new(&b, n)),
                (Matrix::new(&at, m).transposed(), Matrix::new(&b, n)),
                (Matrix::new(&a, k), Matrix::new(&bt, k).transposed()),
            ] {
                let mut out = vec![f32::NAN; m * n];
                pool.install(|| product(a, b, Target::new(&mut out, n), Init::Zero));
                assert_eq!(out, want, "{m} {k} {n}");
                pool.install(|| product(a, b, Target::new(&mut out, n), Init::Current));
                assert!(out.iter().zip(&want).all(|(got, want)| *got == 2.0 * want));
                let row = numbers(n, 3);
                pool.install(|| product(a, b, Target::new(&mut out, n), Init::Row(&row)));
                let on_row = |at: usize| want[at] + row[at % n];
                assert!((0..m * n).all(|at| out[at] == on_row(at)), "{m} {k} {n}");
            }
        }
    }

    #[test]
    fn a_product_does_not_depend_on_the_number_of_threads() {
        let fraction = |at: usize| ((at * 7919) % 1009) as f32 / 1009.0 - 0.5;
        for (m, k, n) in [(40, 768, 768), (769, 768, 320), (97, 384, 1536)] {
            let (a, b): (Vec<f32>, Vec<f32>) =
                ((0..m * k).map(fraction).collect(), (0..k * n).map(fraction).collect());
            let on = |threads: usize, one: fn(Matrix, Matrix, Target, Init)| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut out = vec![0.0; m * n];
                let (a, b) = (Matrix::new(&a, k), Matrix::new(&b, k).transposed());
                pool.install(|| share(a, b, Target::new(&mut out, n), Init::Zero, one));
                out
            };
            for one in [multiply, by_gemm] {
                let alone = on(1, one);
                assert!([2, 3, 16].iter().all(|&threads| on(threads, one) == alone), "{m} {k} {n}");
            }
        }
    }

    #[test]
    fn a_strided_target_keeps_what_lies_between() {
        let (a, b) = (numbers(6, 1), numbers(6, 2));
        let mut out = vec![9.0; 12];
        let target = Target::strided(&mut out, 5);
        multiply(Matrix::new(&a, 3), Matrix::new(&b, 2), target, Init::Zero);
        let want = naive(&a, &b, 2, 3, 2);
        assert_eq!(out[..2], want[..2]);
        assert_eq!(out[5..7], want[2..]);
        assert!(out[2..5].iter().chain(&out[7..]).all(|&x| x == 9.0));
    }

    #[test]
    #[should_panic(expected = "ends within")]
    fn a_target_that_is_too_small_is_refused() {
        let mut out = vec![0.0; 5];
        let target = Target::new(&mut out, 3);
        multiply(Matrix::new(&[1.0; 4], 2), Matrix::new(&[1.0; 6], 3), target, Init::Zero);
    }
}
