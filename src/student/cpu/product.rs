//! Matrix products, shared out over the threads of the pool.
//!
//! [`kernel`] computes where the processor has AVX-512, `gemm` elsewhere, one thread a piece. The
//! longer side of the result is cut once, and each thread has its part to itself. What a number of the result is made of, and in which order, does not depend on the
//! cut.

use std::marker::PhantomData;
use std::ops::Range;

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

pub(super) use super::kernel::Before;
use super::kernel::{self, View};

/// A matrix where it lies: `rows` by `columns`, with the steps from one to the next.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    pub rows: usize,
    pub columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// PackedBatch of `columns` numbers, one after another.
    pub(super) fn new(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len() / columns.max(1);
        Self { values, rows, columns, row_step: columns, column_step: 1 }
    }

    /// `rows` rows of `columns` numbers, `step` numbers from one row to the next.
    pub(super) fn strided(values: &'a [f32], rows: usize, columns: usize, step: usize) -> Self {
        Self { values, rows, columns, row_step: step, column_step: 1 }
    }

    /// The same numbers, rows and columns exchanged.
    pub(super) fn turned(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    fn view(&self) -> View {
        let Self { row_step, column_step, .. } = *self;
        View { start: self.values.as_ptr(), row_step, column_step }
    }

    fn check(&self) {
        let last = match self.rows == 0 || self.columns == 0 {
            true => return,
            false => (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step,
        };
        assert!(last < self.values.len(), "a matrix of the student ends within its numbers");
    }
}

/// Where a product goes: `rows` by `columns` numbers, `step` from one row to the next, all of
/// which this is the only owner of.
pub(super) struct Target<'a> {
    start: *mut f32,
    len: usize,
    step: usize,
    _owner: PhantomData<&'a mut [f32]>,
}

impl<'a> Target<'a> {
    /// PackedBatch of `columns` numbers, one after another.
    pub(super) fn new(values: &'a mut [f32], columns: usize) -> Self {
        Self::strided(values, columns)
    }

    /// PackedBatch that begin `step` numbers apart.
    pub(super) fn strided(values: &'a mut [f32], step: usize) -> Self {
        let (start, len) = (values.as_mut_ptr(), values.len());
        Self { start, len, step, _owner: PhantomData }
    }
}

/// A buffer that several threads write to, each its own part.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    start: *mut f32,
    len: usize,
}
// SAFETY: who takes a part promises that it is nobody else's.
unsafe impl Send for Parts {}
// SAFETY: as above.
unsafe impl Sync for Parts {}

impl Parts {
    pub(super) fn of(values: &mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }

    /// A part by itself.
    ///
    /// # Safety
    /// Nobody else has this part.
    pub(super) unsafe fn slice<'a>(self, part: Range<usize>) -> &'a mut [f32] {
        assert!(part.start <= part.end && part.end <= self.len, "a part lies within its buffer");
        // SAFETY: it lies inside; that it is nobody else's is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(part.start), part.len()) }
    }

    /// PackedBatch for a product to write, from `from` on and `step` apart.
    ///
    /// # Safety
    /// Nobody else has the numbers that the product writes.
    pub(super) unsafe fn target<'a>(self, from: usize, step: usize) -> Target<'a> {
        assert!(from <= self.len, "a part begins within its buffer");
        // SAFETY: it begins within the buffer.
        let start = unsafe { self.start.add(from) };
        Target { start, len: self.len - from, step, _owner: PhantomData }
    }
}

/// Below this many multiplications a product is left to one thread.
const SHARED: usize = 1 << 20;
/// A cut falls on a multiple of this, so that no thread works on half a vector.
const GRAIN: usize = 64;
/// PackedBatch or columns of a piece, at least: `gemm` adds up those of small ones in another order.
const LEAST: usize = 2 * GRAIN;

/// Matrix product `a · b` into `target`, by all threads of the current pool.
pub(super) fn product(a: Matrix, b: Matrix, target: Target, before: Before) {
    share(a, b, target, before, multiply);
}

/// Cuts a product into pieces that `one` computes.
fn share(
    a: Matrix,
    b: Matrix,
    target: Target,
    before: Before,
    one: fn(Matrix, Matrix, Target, Before),
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let threads = rayon::current_num_threads();
    if threads == 1 || m * k * n < SHARED {
        return one(a, b, target, before);
    }
    check(&a, &b, &target, before);
    let long = m.max(n);
    let piece = (long / threads / GRAIN * GRAIN).max(LEAST);
    // What is left over goes to the last piece.
    let pieces = (long / piece).clamp(1, threads);
    let Target { start, len, step, .. } = target;
    let parts = Parts { start, len };
    (0..pieces).into_par_iter().for_each(|at| {
        let from = at * piece;
        let count = if at + 1 == pieces { long - from } else { piece };
        let (a, b, before, offset) = match m >= n {
            true => {
                let skip = (from * a.row_step).min(a.values.len());
                (Matrix { values: &a.values[skip..], rows: count, ..a }, b, before, from * step)
            }
            false => {
                let skip = (from * b.column_step).min(b.values.len());
                let before = match before {
                    Before::Row(row) => Before::Row(&row[from..from + count]),
                    other => other,
                };
                (a, Matrix { values: &b.values[skip..], columns: count, ..b }, before, from)
            }
        };
        // SAFETY: the rows, or the columns, of this piece are no other's.
        let target = unsafe { parts.target(offset, step) };
        one(a, b, target, before);
    });
}

fn check(a: &Matrix, b: &Matrix, target: &Target, before: Before) {
    if let Before::Row(row) = before {
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

/// Matrix product `a · b` into `target`, by this thread alone.
pub(super) fn multiply(a: Matrix, b: Matrix, target: Target, before: Before) {
    check(&a, &b, &target, before);
    let (m, k, n, step) = (a.rows, a.columns, b.columns, target.step);
    if kernel::serves() {
        // SAFETY: the processor serves; `check` has seen that every step up to the last row and
        // column stays inside the three buffers, and the target's numbers are its own.
        return unsafe {
            kernel::multiply(m, k, n, a.view(), b.view(), target.start, step, before)
        };
    }
    by_gemm(a, b, target, before);
}

/// [`multiply`] on any processor.
fn by_gemm(a: Matrix, b: Matrix, target: Target, before: Before) {
    check(&a, &b, &target, before);
    let (m, n, step) = (a.rows, b.columns, target.step);
    let (keep, alpha) = match before {
        Before::Forgotten => (false, 0.0),
        Before::Kept => (true, 1.0),
        Before::Row(row) => {
            for at in 0..m {
                // SAFETY: `check` has seen that the target's rows have `n` numbers each.
                unsafe {
                    row.as_ptr().copy_to_nonoverlapping(target.start.add(at * step), n);
                }
            }
            (true, 1.0)
        }
    };
    // SAFETY: `check` has seen that every step up to the last row and column stays inside the three
    // buffers; the target's numbers are its own.
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

    /// Small whole numbers: every sum is exact.
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
                (Matrix::new(&at, m).turned(), Matrix::new(&b, n)),
                (Matrix::new(&a, k), Matrix::new(&bt, k).turned()),
            ] {
                let mut out = vec![f32::NAN; m * n];
                pool.install(|| product(a, b, Target::new(&mut out, n), Before::Forgotten));
                assert_eq!(out, want, "{m} {k} {n}");
                pool.install(|| product(a, b, Target::new(&mut out, n), Before::Kept));
                assert!(out.iter().zip(&want).all(|(got, want)| *got == 2.0 * want));
                let row = numbers(n, 3);
                pool.install(|| product(a, b, Target::new(&mut out, n), Before::Row(&row)));
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
            let on = |threads: usize, one: fn(Matrix, Matrix, Target, Before)| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut out = vec![0.0; m * n];
                let (a, b) = (Matrix::new(&a, k), Matrix::new(&b, k).turned());
                pool.install(|| share(a, b, Target::new(&mut out, n), Before::Forgotten, one));
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
        multiply(Matrix::new(&a, 3), Matrix::new(&b, 2), target, Before::Forgotten);
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
        multiply(Matrix::new(&[1.0; 4], 2), Matrix::new(&[1.0; 6], 3), target, Before::Forgotten);
    }
}
