//! The dense layers of inference, whose weights are packed once.
//!
//! A product reads a weight in panels. Training changes weights at every step and packs them anew
//! for each product. Inference keeps the panels instead of the rows: a pass over a single text is
//! then as fast as memory delivers the weights, and copies none.

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use super::{
    layer::Dense,
    layout::Linear,
    panels::{self, Kernel},
    product::{Init, MIN_PARALLEL, Matrix, SharedBuffer},
};

/// Rows that a thread takes at least.
const LEAST_ROWS: usize = 64;

/// A dense layer.
pub(super) struct PackedDense {
    instructions: Instructions,
    /// Panels for the kernel; without one, the weight itself, `[outputs, inputs]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

/// What multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The product of training, with weights that are not packed.
    Any,
}

impl Instructions {
    /// Those that this processor has, the best first.
    fn available() -> impl Iterator<Item = Self> {
        let known = [
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, Avx512::is_available()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, Avx2::is_available()),
            (Self::Any, true),
        ];
        known.into_iter().filter_map(|(kind, has)| has.then_some(kind))
    }
}

impl PackedDense {
    /// `weight` is `[outputs, inputs]`, `bias` `[outputs]`.
    pub(super) fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        let best = Instructions::available().next().expect("one is always there");
        Self::with(best, weight, bias, inputs)
    }

    /// The layer at this place among `weights`.
    pub(super) fn of(at: &Linear, weights: &[f32]) -> Self {
        Self::new(&weights[at.weight.clone()], &weights[at.bias.clone()], at.inputs)
    }

    fn with(instructions: Instructions, weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        assert_eq!(weight.len(), bias.len() * inputs, "a weight has inputs times outputs");
        let weight = match instructions {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => panels::pack::<Avx512>(weight, inputs),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => panels::pack::<Avx2>(weight, inputs),
            Instructions::Any => weight.to_vec(),
        };
        Self { instructions, weight, bias: bias.to_vec(), inputs }
    }

    /// `out = x · weightᵀ + bias`, `[rows, outputs]`, by all threads of the current pool. The
    /// numbers do not depend on how many there are, nor on the other rows of `x`.
    pub(super) fn forward(&self, x: &[f32], out: &mut [f32]) {
        let Self { weight, bias, inputs, .. } = self;
        assert_eq!(
            out.len(),
            x.len() / inputs * bias.len(),
            "an output of the student has a row for each input"
        );
        match self.instructions {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => self.share::<Avx512>(x, out),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => self.share::<Avx2>(x, out),
            Instructions::Any => Dense { weight, bias, inputs: *inputs }.forward(x, out),
        }
    }

    /// As [`Self::forward`], by the kernel that the weight was packed for.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    fn share<K: Kernel>(&self, x: &[f32], out: &mut [f32]) {
        let Self { weight, bias, inputs, .. } = self;
        let outputs = bias.len();
        let x = Matrix::new(x, *inputs);
        x.check();
        let by_rows = x.rows >= outputs;
        let (long, grain) = if by_rows { (x.rows, LEAST_ROWS) } else { (outputs, K::COLUMNS) };
        let threads = match x.rows * inputs * outputs < MIN_PARALLEL {
            true => 1,
            false => rayon::current_num_threads(),
        };
        let part = long.div_ceil(threads).next_multiple_of(grain).max(grain);
        let out = SharedBuffer::of(out);
        let one = |at: usize| {
            let from = at * part;
            let count = part.min(long - from);
            let (row, m) = if by_rows { (from, count) } else { (0, x.rows) };
            let (first, n) = if by_rows { (0, outputs) } else { (from, count) };
            // SAFETY: parts share no rows, or no columns, of the result.
            let c = unsafe { out.target(row * outputs + first, outputs) }.start();
            let mut x = x.below(row);
            x.rows = m;
            let init = Init::Row(&bias[first..first + n]);
            // SAFETY: the kernel is available, since it packed the weight; the rows of `x` and of
            // the result exist.
            unsafe { panels::multiply::<K>(x, weight, outputs, first, n, c, outputs, init) };
        };
        let parts = long.div_ceil(part);
        if parts > 1 { (0..parts).into_par_iter().for_each(one) } else { (0..parts).for_each(one) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_gives_the_same_numbers_on_any_number_of_threads() {
        // Sixteenths: products and sums of a few thousand are exact.
        let number = |at: usize| ((at * 7919) % 31) as f32 / 16.0 - 1.0;
        let of = |len: usize| (0..len).map(number).collect::<Vec<f32>>();
        for (rows, inputs, outputs) in
            [(1, 1, 1), (14, 768, 2304), (9, 1030, 50), (700, 384, 300), (1, 3072, 768), (5, 7, 0)]
        {
            let (x, weight, bias) = (of(rows * inputs), of(outputs * inputs), of(outputs));
            let mut want = vec![f32::NAN; rows * outputs];
            Dense { weight: &weight, bias: &bias, inputs }.forward(&x, &mut want);
            for kind in Instructions::available() {
                let packed = PackedDense::with(kind, &weight, &bias, inputs);
                for threads in [1, 2, 5] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                    let mut out = vec![f32::NAN; rows * outputs];
                    pool.unwrap().install(|| packed.forward(&x, &mut out));
                    assert!(out == want, "{kind:?}: {rows} {inputs} {outputs} on {threads}");
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let number = |at: usize| ((at * 7919) % 1009) as f32 / 1009.0 - 0.5;
        let of = |len: usize| (0..len).map(number).collect::<Vec<f32>>();
        let (x, weight, bias) = (of(40 * 700), of(96 * 700), of(96));
        for kind in Instructions::available().filter(|it| *it != Instructions::Any) {
            let packed = PackedDense::with(kind, &weight, &bias, 700);
            let mut all = vec![0.0; 40 * 96];
            packed.forward(&x, &mut all);
            for row in 0..40 {
                let mut alone = vec![0.0; 96];
                packed.forward(&x[row * 700..][..700], &mut alone);
                assert!(alone == all[row * 96..][..96], "{kind:?}: row {row}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a row for each input")]
    fn an_output_of_another_size_is_refused() {
        let packed = PackedDense::new(&[1.0; 6], &[0.0; 2], 3);
        packed.forward(&[1.0; 6], &mut [0.0; 3]);
    }
}
