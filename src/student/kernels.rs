//! Fused ops for the CPU, each with a backward of its own.
//!
//! candle builds layer norm, attention and dense layers from many small ops; on a CPU every one
//! of them is a pass through memory, and its backward two more. These do the same arithmetic in
//! one pass each (three times as fast for a small student). They are checked against the op by op
//! version of `layers` and against PyTorch's gradients.
//!
//! Sums over rows are cut into chunks of a fixed size and added in order, so that a result does
//! not depend on the number of threads.

use std::sync::{Arc, OnceLock};

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor, bail,
};
use rayon::prelude::*;

use super::arith::{self, Span};

/// Numbers per task: below this a second thread costs more than it brings.
const CHUNK: usize = 1 << 14;

/// Rows of `width` numbers per task.
fn rows_per_task(width: usize) -> usize {
    (CHUNK / width.max(1)).max(1)
}

/// The numbers of a contiguous F32 tensor inside an op.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("a fused op of the student was given a strided tensor"),
    }
}

/// Lends the numbers of a contiguous F32 tensor on the CPU.
pub(super) fn with_floats<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(floats(storage, layout)?)),
        _ => bail!("a fused op of the student was given a tensor that is not on the CPU"),
    }
}

fn on_cpu(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), like.device())
}

/// `x · weightᵀ + bias`: x `[rows, in]`, weight `[out, in]`, bias `[out]`.
pub(super) struct Dense;

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "student-dense"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (outputs, _) = weight_layout.shape().dims2()?;
        let turned = weight_layout.transpose(0, 1)?;
        let product = x.matmul(weight, (1, rows, outputs, inputs), x_layout, &turned)?;
        let CpuStorage::F32(mut out) = product else {
            bail!("the student computes in F32")
        };
        let bias = floats(bias, bias_layout)?;
        out.par_chunks_mut(rows_per_task(outputs) * outputs)
            .for_each(|out| arith::add_bias(out, bias));
        Ok((CpuStorage::F32(out), (rows, outputs).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        // Detached, or the gradients would record a graph of their own.
        let (x, weight) = (x.detach(), weight.detach());
        let grad = grad.contiguous()?;
        let dx = grad.matmul(&weight)?;
        let dweight = grad.t()?.matmul(&x)?;
        let mut dbias = vec![0f32; bias.elem_count()];
        with_floats(&grad, |grad| arith::sum_rows(grad, &mut dbias))?;
        Ok((Some(dx), Some(dweight), Some(on_cpu(dbias, bias)?)))
    }
}

/// Layer norm over the last dimension: x `[rows, width]`, weight and bias `[width]`.
pub(super) struct LayerNorm {
    pub eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "student-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (floats(x, x_layout)?, floats(weight, weight_layout)?);
        let bias = floats(bias, bias_layout)?;
        let chunk = rows_per_task(weight.len()) * weight.len();
        let mut out = vec![0f32; x.len()];
        out.par_chunks_mut(chunk)
            .zip(x.par_chunks(chunk))
            .for_each(|(out, x)| arith::layer_norm(x, weight, bias, self.eps, out));
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let width = weight.elem_count();
        let chunk = rows_per_task(width) * width;
        let mut dx = vec![0f32; x.elem_count()];
        let partial = with_floats(x, |x| {
            with_floats(weight, |weight| {
                with_floats(&grad, |grad| {
                    dx.par_chunks_mut(chunk)
                        .zip(x.par_chunks(chunk))
                        .zip(grad.par_chunks(chunk))
                        .map(|((dx, x), grad)| {
                            let (mut dweight, mut dbias) = (vec![0f32; width], vec![0f32; width]);
                            arith::layer_norm_backward(
                                x,
                                weight,
                                grad,
                                self.eps,
                                dx,
                                &mut dweight,
                                &mut dbias,
                            );
                            (dweight, dbias)
                        })
                        .collect::<Vec<_>>()
                })
            })
        })???;
        let (mut dweight, mut dbias) = (vec![0f32; width], vec![0f32; width]);
        for (weight, bias) in &partial {
            arith::sum_rows(weight, &mut dweight);
            arith::sum_rows(bias, &mut dbias);
        }
        Ok((
            Some(on_cpu(dx, x)?),
            Some(on_cpu(dweight, weight)?),
            Some(on_cpu(dbias, bias)?),
        ))
    }
}

/// GELU with the exact curve.
pub(super) struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "student-gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let mut out = vec![0f32; x.len()];
        out.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(out, x)| arith::gelu(x, out));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let mut dx = vec![0f32; x.elem_count()];
        with_floats(x, |x| {
            with_floats(&grad, |grad| {
                dx.par_chunks_mut(CHUNK)
                    .zip(x.par_chunks(CHUNK))
                    .zip(grad.par_chunks(CHUNK))
                    .for_each(|((dx, x), grad)| arith::gelu_backward(x, grad, dx));
            })
        })??;
        on_cpu(dx, x).map(Some)
    }
}

/// Multiplies by a fixed mask of factors, as long as the tensor.
pub(super) struct Masked {
    pub factors: Vec<f32>,
}

impl CustomOp1 for Masked {
    fn name(&self) -> &'static str {
        "student-dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let mut out = vec![0f32; x.len()];
        arith::scale_by(x, &self.factors, &mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let mut dx = vec![0f32; x.elem_count()];
        with_floats(&grad, |grad| arith::scale_by(grad, &self.factors, &mut dx))?;
        on_cpu(dx, x).map(Some)
    }
}

/// Rows of a table, `[ids, width]` from `[vocabulary, width]`.
pub(super) struct Lookup {
    pub ids: Vec<u32>,
}

impl CustomOp1 for Lookup {
    fn name(&self) -> &'static str {
        "student-lookup"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (vocabulary, width) = layout.shape().dims2()?;
        let table = floats(table, layout)?;
        let mut out = Vec::with_capacity(self.ids.len() * width);
        for &id in &self.ids {
            let id = id as usize;
            if id >= vocabulary {
                bail!("token {id} is outside the vocabulary of {vocabulary}");
            }
            out.extend_from_slice(&table[id * width..(id + 1) * width]);
        }
        Ok((CpuStorage::F32(out), (self.ids.len(), width).into()))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, width) = table.dims2()?;
        let grad = grad.contiguous()?;
        let mut dtable = vec![0f32; table.elem_count()];
        with_floats(&grad, |grad| {
            for (&id, grad) in self.ids.iter().zip(grad.chunks_exact(width)) {
                arith::sum_rows(grad, &mut dtable[id as usize * width..][..width]);
            }
        })?;
        on_cpu(dtable, table).map(Some)
    }
}

/// Scaled dot-product attention over packed rows: q, k, v and the result `[tokens, width]`.
pub(super) struct Attention {
    pub spans: Arc<Vec<(usize, usize)>>,
    pub heads: usize,
    /// One factor per attention weight, text after text `[heads, len, len]`; empty for none.
    pub dropout: Vec<f32>,
    /// The weights of the forward pass, in the same order.
    pub weights: OnceLock<Vec<f32>>,
}

impl Attention {
    /// Cuts a buffer into one piece per text, `size(len)` long each.
    fn cut<'a>(
        &self,
        mut rest: &'a mut [f32],
        size: impl Fn(usize) -> usize,
    ) -> Vec<&'a mut [f32]> {
        let mut pieces = Vec::with_capacity(self.spans.len());
        for &(_, len) in self.spans.iter() {
            let (piece, after) = rest.split_at_mut(size(len));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    /// Where each text's attention weights begin.
    fn starts(&self) -> Vec<usize> {
        let mut at = 0;
        let starts = self.spans.iter().map(|&(_, len)| {
            let start = at;
            at += self.heads * len * len;
            start
        });
        starts.collect()
    }

    fn span(&self, len: usize, width: usize) -> Span {
        Span {
            len,
            heads: self.heads,
            depth: width / self.heads,
        }
    }

    /// The dropout factors of the text whose weights begin at `start`.
    fn factors(&self, start: usize, len: usize) -> &[f32] {
        match self.dropout.is_empty() {
            true => &[],
            false => &self.dropout[start..start + self.heads * len * len],
        }
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "student-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = q_layout.shape().dims2()?;
        let (q, k, v) = (
            floats(q, q_layout)?,
            floats(k, k_layout)?,
            floats(v, v_layout)?,
        );
        let squares = self
            .spans
            .iter()
            .map(|&(_, len)| self.heads * len * len)
            .sum();
        let (mut out, mut weights) = (vec![0f32; q.len()], vec![0f32; squares]);
        self.cut(&mut out, |len| len * width)
            .into_par_iter()
            .zip(self.cut(&mut weights, |len| self.heads * len * len))
            .zip(self.spans.par_iter().zip(self.starts()))
            .for_each(|((out, weights), (&(row, len), start))| {
                let own = row * width..(row + len) * width;
                arith::attention(
                    self.span(len, width),
                    &q[own.clone()],
                    &k[own.clone()],
                    &v[own],
                    self.factors(start, len),
                    weights,
                    out,
                );
            });
        // Set once: an op object serves one forward pass.
        let _ = self.weights.set(weights);
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(weights) = self.weights.get() else {
            bail!("attention ran backward first")
        };
        let (_, width) = q.dims2()?;
        let grad = grad.contiguous()?;
        let zeros = || vec![0f32; q.elem_count()];
        let (mut dq, mut dk, mut dv) = (zeros(), zeros(), zeros());
        let mut run = |q: &[f32], k: &[f32], v: &[f32], grad: &[f32]| {
            self.cut(&mut dq, |len| len * width)
                .into_par_iter()
                .zip(self.cut(&mut dk, |len| len * width))
                .zip(self.cut(&mut dv, |len| len * width))
                .zip(self.spans.par_iter().zip(self.starts()))
                .for_each(|(((dq, dk), dv), (&(row, len), start))| {
                    let own = row * width..(row + len) * width;
                    arith::attention_backward(
                        self.span(len, width),
                        &q[own.clone()],
                        &k[own.clone()],
                        &v[own.clone()],
                        self.factors(start, len),
                        &weights[start..start + self.heads * len * len],
                        &grad[own],
                        dq,
                        dk,
                        dv,
                    );
                });
        };
        with_floats(q, |q| {
            with_floats(k, |k| {
                with_floats(v, |v| with_floats(&grad, |grad| run(q, k, v, grad)))
            })
        })????;
        Ok((
            Some(on_cpu(dq, q)?),
            Some(on_cpu(dk, k)?),
            Some(on_cpu(dv, v)?),
        ))
    }
}

/// Whether the fused ops serve this tensor.
pub(super) fn serves(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}
