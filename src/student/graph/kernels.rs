//! Whole-row arithmetic of the fused CPU path: dense layers, layer norms, attention and table
//! look-ups over plain buffers, each with its backward.
//!
//! Sums over rows are cut into chunks of a fixed size and added in order, so that a result does
//! not depend on the number of threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, TensorId, Var, bail};
use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use super::arith::{self, Span};
use super::layers::{Linear, Norm};

/// Numbers per task: below this a second thread costs more than it brings.
const CHUNK: usize = 1 << 14;

/// Numbers per task, in whole rows of `width`.
fn whole_rows(width: usize) -> usize {
    (CHUNK / width.max(1)).max(1) * width
}

/// Whether the fused path serves this tensor.
pub(in crate::student) fn serves(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// Where the fused ops leave the gradients of the weights.
///
/// candle's own store adds every gradient to a fresh zero tensor, three passes over all weights in
/// each step; here it is moved in.
#[derive(Clone, Default)]
pub(in crate::student) struct Sink(Arc<Mutex<HashMap<TensorId, Tensor>>>);

impl Sink {
    /// Adds a gradient of `weight`, as long as it.
    pub fn put(&self, weight: &Tensor, grad: Vec<f32>) -> Result<()> {
        let mut grad = Tensor::from_vec(grad, weight.shape(), weight.device())?;
        let mut grads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = grads.remove(&weight.id()) {
            grad = (grad + before)?;
        }
        grads.insert(weight.id(), grad);
        Ok(())
    }

    /// Takes the gradient of `var` out.
    pub fn take(&self, var: &Var) -> Option<Tensor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&var.id())
    }
}

/// The numbers of a contiguous F32 buffer.
pub(in crate::student) fn floats<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("a fused op of the student was given a strided tensor"),
    }
}

/// Lends the numbers of a contiguous F32 tensor on the CPU.
pub(in crate::student) fn with_floats<R>(
    tensor: &Tensor,
    f: impl FnOnce(&[f32]) -> R,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(floats(storage, layout)?)),
        _ => bail!("a fused op of the student was given a tensor that is not on the CPU"),
    }
}

/// Numbers on their way through the layers, row after row.
pub(in crate::student) struct Rows2d {
    values: Vec<f32>,
    width: usize,
}

impl Rows2d {
    pub fn new(values: Vec<f32>, width: usize) -> Self {
        Self { values, width }
    }

    /// A copy of a tensor `[rows, width]`.
    pub fn copy(tensor: &Tensor) -> Result<Self> {
        let (_, width) = tensor.dims2()?;
        Ok(Self::new(with_floats(&tensor.contiguous()?, <[f32]>::to_vec)?, width))
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix::new(&self.values, self.width)
    }

    /// `self += other`.
    pub fn add(&mut self, other: &Self) {
        self.values
            .par_chunks_mut(CHUNK)
            .zip(other.values().par_chunks(CHUNK))
            .for_each(|(sum, x)| arith::sum_rows(x, sum));
    }

    /// Multiplies by dropout factors, where there are any.
    pub fn mask(&mut self, factors: &[f32]) {
        if !factors.is_empty() {
            self.values
                .par_chunks_mut(CHUNK)
                .zip(factors.par_chunks(CHUNK))
                .for_each(|(x, factors)| arith::scale_by(x, factors));
        }
    }

    /// Another of the same shape, made chunk by chunk from this one.
    pub fn map(&self, f: impl Fn(&[f32], &mut [f32]) + Sync) -> Self {
        let mut out = vec![0f32; self.values().len()];
        out.par_chunks_mut(CHUNK)
            .zip(self.values().par_chunks(CHUNK))
            .for_each(|(out, x)| f(x, out));
        Self::new(out, self.width)
    }

    /// Another of the same shape, made chunk by chunk from this one and `other`.
    pub fn zip(&self, other: &Self, f: impl Fn(&[f32], &[f32], &mut [f32]) + Sync) -> Self {
        let mut out = vec![0f32; self.values().len()];
        out.par_chunks_mut(CHUNK)
            .zip(self.values().par_chunks(CHUNK))
            .zip(other.values().par_chunks(CHUNK))
            .for_each(|((out, a), b)| f(a, b, out));
        Self::new(out, self.width)
    }
}

/// A matrix as `gemm` reads it: `rows` by `columns`, with the steps from one to the next.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` numbers, one after another.
    fn new(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len() / columns.max(1);
        Self { values, rows, columns, row_step: columns, column_step: 1 }
    }

    /// The same numbers, rows and columns exchanged.
    fn turned(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

/// Below this many multiplications a product is left to one thread.
const SHARED: usize = 1 << 20;

/// Matrix product `[m, k] · [k, n]`, row after row.
fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "the student multiplies matrices that fit");
    for x in [a, b] {
        assert_eq!(x.rows * x.columns, x.values.len(), "a matrix of the student is whole");
    }
    let mut out = vec![0f32; m * n];
    let threads = rayon::current_num_threads();
    let parallelism = match threads > 1 && m * k * n >= SHARED {
        true => Parallelism::Rayon(threads),
        false => Parallelism::None,
    };
    // SAFETY: `out` has m·n numbers and is nobody else's. `a` and `b` are whole (asserted above;
    // `new` and `turned` are the only ways to make one), so steps up to the last row and column
    // stay inside their slices.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.values.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
    out
}

/// `x · weightᵀ + bias`: `[rows, in]` to `[rows, out]`.
pub(in crate::student) fn dense(x: &Rows2d, linear: &Linear) -> Result<Rows2d> {
    let (outputs, inputs) = linear.weight.dims2()?;
    let mut out = with_floats(&linear.weight, |weight| {
        product(x.matrix(), Matrix::new(weight, inputs).turned())
    })?;
    with_floats(&linear.bias, |bias| {
        out.par_chunks_mut(whole_rows(outputs)).for_each(|out| arith::add_bias(out, bias));
    })?;
    Ok(Rows2d::new(out, outputs))
}

/// Backward of [`dense`]: the gradient of `x`; those of the weights go into the sink.
pub(in crate::student) fn dense_backward(
    x: &Rows2d,
    grad: &Rows2d,
    linear: &Linear,
) -> Result<Rows2d> {
    let dweight = product(grad.matrix().turned(), x.matrix());
    let mut dbias = vec![0f32; grad.width];
    arith::sum_rows(&grad.values, &mut dbias);
    let dx =
        with_floats(&linear.weight, |weight| product(grad.matrix(), Matrix::new(weight, x.width)))?;
    linear.sink.put(&linear.weight, dweight)?;
    linear.sink.put(&linear.bias, dbias)?;
    Ok(Rows2d::new(dx, x.width))
}

/// Layer norm of every row.
pub(in crate::student) fn norm(x: &Rows2d, norm: &Norm) -> Result<Rows2d> {
    let chunk = whole_rows(x.width);
    let mut out = vec![0f32; x.values().len()];
    with_floats(&norm.weight, |weight| {
        with_floats(&norm.bias, |bias| {
            out.par_chunks_mut(chunk)
                .zip(x.values().par_chunks(chunk))
                .for_each(|(out, x)| arith::layer_norm(x, weight, bias, norm.eps as f32, out));
        })
    })??;
    Ok(Rows2d::new(out, x.width))
}

/// Backward of [`norm`]: the gradient of `x`; those of the weights go into the sink.
pub(in crate::student) fn norm_backward(x: &Rows2d, grad: &Rows2d, norm: &Norm) -> Result<Rows2d> {
    let (width, chunk) = (x.width, whole_rows(x.width));
    let mut dx = vec![0f32; x.values().len()];
    let parts = with_floats(&norm.weight, |weight| {
        dx.par_chunks_mut(chunk)
            .zip(x.values().par_chunks(chunk))
            .zip(grad.values().par_chunks(chunk))
            .map(|((dx, x), grad)| {
                let (mut dweight, mut dbias) = (vec![0f32; width], vec![0f32; width]);
                let eps = norm.eps as f32;
                arith::layer_norm_backward(x, weight, grad, eps, dx, &mut dweight, &mut dbias);
                (dweight, dbias)
            })
            .collect::<Vec<_>>()
    })?;
    let (mut dweight, mut dbias) = (vec![0f32; width], vec![0f32; width]);
    for (weight, bias) in &parts {
        arith::sum_rows(weight, &mut dweight);
        arith::sum_rows(bias, &mut dbias);
    }
    norm.sink.put(&norm.weight, dweight)?;
    norm.sink.put(&norm.bias, dbias)?;
    Ok(Rows2d::new(dx, width))
}

/// Attention over packed rows: which rows are whose, and what is dropped.
pub(in crate::student) struct Attention {
    /// (first row, rows) of each text.
    pub spans: Arc<Vec<(usize, usize)>>,
    pub heads: usize,
    /// One factor per attention weight, text after text `[heads, len, len]`; empty for none.
    pub dropout: Vec<f32>,
}

impl Attention {
    /// Attention weights of all texts.
    pub fn squares(&self) -> usize {
        self.spans.iter().map(|&(_, len)| self.heads * len * len).sum()
    }

    /// Cuts a buffer into one piece per text, `size(len)` long each.
    fn cut<'a>(
        &self,
        mut rest: &'a mut [f32],
        size: impl Fn(usize) -> usize,
    ) -> Vec<&'a mut [f32]> {
        let pieces = self.spans.iter().map(|&(_, len)| {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(size(len));
            rest = after;
            piece
        });
        pieces.collect()
    }

    /// For each text: its shape, its numbers in the rows, and its attention weights.
    fn parts(&self, width: usize) -> Vec<(Span, std::ops::Range<usize>, std::ops::Range<usize>)> {
        let mut at = 0;
        let parts = self.spans.iter().map(|&(row, len)| {
            let start = at;
            at += self.heads * len * len;
            let span = Span { len, heads: self.heads, depth: width / self.heads };
            (span, row * width..(row + len) * width, start..at)
        });
        parts.collect()
    }

    /// The dropout factors of some attention weights.
    fn factors(&self, squares: &std::ops::Range<usize>) -> &[f32] {
        if self.dropout.is_empty() { &[] } else { &self.dropout[squares.clone()] }
    }

    /// The mixed values `[tokens, width]` and the attention weights before dropout.
    pub fn forward(&self, q: &Rows2d, k: &Rows2d, v: &Rows2d) -> (Rows2d, Vec<f32>) {
        let width = q.width;
        let (mut out, mut weights) = (vec![0f32; q.values().len()], vec![0f32; self.squares()]);
        self.cut(&mut out, |len| len * width)
            .into_par_iter()
            .zip(self.cut(&mut weights, |len| self.heads * len * len))
            .zip(self.parts(width))
            .for_each(|((out, weights), (span, own, squares))| {
                let [q, k, v] = [q, k, v].map(|x| &x.values()[own.clone()]);
                arith::attention(span, q, k, v, self.factors(&squares), weights, out);
            });
        (Rows2d::new(out, width), weights)
    }

    /// Gradients of q, k and v.
    pub fn backward(
        &self,
        q: &Rows2d,
        k: &Rows2d,
        v: &Rows2d,
        weights: &[f32],
        grad: &Rows2d,
    ) -> [Rows2d; 3] {
        let width = q.width;
        let zeros = || vec![0f32; q.values().len()];
        let (mut dq, mut dk, mut dv) = (zeros(), zeros(), zeros());
        self.cut(&mut dq, |len| len * width)
            .into_par_iter()
            .zip(self.cut(&mut dk, |len| len * width))
            .zip(self.cut(&mut dv, |len| len * width))
            .zip(self.parts(width))
            .for_each(|(((dq, dk), dv), (span, own, squares))| {
                let [q, k, v, grad] = [q, k, v, grad].map(|x| &x.values()[own.clone()]);
                let factors = self.factors(&squares);
                arith::attention_backward(
                    span,
                    q,
                    k,
                    v,
                    factors,
                    &weights[squares],
                    grad,
                    dq,
                    dk,
                    dv,
                );
            });
        [dq, dk, dv].map(|x| Rows2d::new(x, width))
    }
}
