//! The ops of the fused CPU path: what candle's graph sees of `kernels`.
//!
//! Built from candle's own ops, a transformer layer is some forty nodes of the graph, and every
//! one of them is a pass through memory, its backward two more, and a fresh gradient added to
//! zeros. Here the layer is one node that keeps what its backward needs. The weights are no inputs
//! of the nodes: their gradients go into the [`Sink`], and the graph carries the activations alone.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::kernels::{
    Attention, Rows2d, Sink, dense, dense_backward, floats, norm, norm_backward, with_floats,
};
use super::layers::{Linear, Norm, Parts};
use super::{Pooling, arith};

/// Reads an op's input.
fn input(x: &CpuStorage, layout: &Layout) -> Result<Rows2d> {
    let (_, width) = layout.shape().dims2()?;
    Ok(Rows2d::new(floats(x, layout)?.to_vec(), width))
}

fn output(rows: Rows2d, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(rows.into_values()), shape.into()))
}

fn gradient(rows: Rows2d, x: &Tensor) -> Result<Option<Tensor>> {
    Tensor::from_vec(rows.into_values(), x.shape(), x.device()).map(Some)
}

/// A dense layer by itself: `[rows, in]` to `[rows, out]`.
pub(in crate::student) struct Dense(pub Linear);

impl CustomOp1 for Dense {
    fn name(&self) -> &'static str {
        "student-dense"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = dense(&input(x, layout)?, &self.0)?;
        let shape = (layout.dims()[0], out.width());
        output(out, shape)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        gradient(dense_backward(&Rows2d::copy(x)?, &Rows2d::copy(grad)?, &self.0)?, x)
    }
}

/// A layer norm by itself: `[rows, width]` to the same shape.
pub(in crate::student) struct LayerNorm(pub Norm);

impl CustomOp1 for LayerNorm {
    fn name(&self) -> &'static str {
        "student-layer-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        output(norm(&input(x, layout)?, &self.0)?, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        gradient(norm_backward(&Rows2d::copy(x)?, &Rows2d::copy(grad)?, &self.0)?, x)
    }
}

/// Multiplies by a fixed mask of factors: `[rows, width]` to the same shape.
pub(in crate::student) struct Masked(pub Vec<f32>);

impl CustomOp1 for Masked {
    fn name(&self) -> &'static str {
        "student-dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut x = input(x, layout)?;
        x.mask(&self.0);
        output(x, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let mut grad = Rows2d::copy(grad)?;
        grad.mask(&self.0);
        gradient(grad, x)
    }
}

/// The sum of one row from each table: the op's own input is the table of words, the others come
/// along. `[vocabulary, width]` to `[tokens, width]`.
pub(in crate::student) struct Embed {
    pub word_ids: Vec<u32>,
    /// Positions and, in BERT, token types, with the row that each token takes.
    pub others: Vec<(Tensor, Vec<u32>)>,
    pub sink: Sink,
}

impl Embed {
    /// Adds rows `ids` of `table` to `out`, row after row.
    fn gather(table: &[f32], ids: &[u32], width: usize, out: &mut [f32]) -> Result<()> {
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(width)) {
            match table.get(id as usize * width..(id as usize + 1) * width) {
                Some(row) => arith::sum_rows(row, out),
                None => bail!("row {id} of a table of {}", table.len() / width),
            }
        }
        Ok(())
    }

    /// The gradient of a table: every row of `grad` added to the row it came from.
    fn scatter(&self, table: &Tensor, ids: &[u32], grad: &Rows2d) -> Result<()> {
        let width = grad.width();
        let mut dtable = vec![0f32; table.elem_count()];
        for (&id, grad) in ids.iter().zip(grad.values().chunks_exact(width)) {
            arith::sum_rows(grad, &mut dtable[id as usize * width..][..width]);
        }
        self.sink.put(table, dtable)
    }
}

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "student-embed"
    }

    fn cpu_fwd(&self, words: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let tokens = self.word_ids.len();
        let mut out = vec![0f32; tokens * width];
        Self::gather(floats(words, layout)?, &self.word_ids, width, &mut out)?;
        for (table, ids) in &self.others {
            with_floats(table, |table| Self::gather(table, ids, width, &mut out))??;
        }
        Ok((CpuStorage::F32(out), (tokens, width).into()))
    }

    fn bwd(&self, words: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = Rows2d::copy(grad)?;
        self.scatter(words, &self.word_ids, &grad)?;
        for (table, ids) in &self.others {
            self.scatter(table, ids, &grad)?;
        }
        Ok(None)
    }
}

/// One vector per text: `[tokens, width]` to `[texts, width]`.
pub(in crate::student) struct Pool {
    /// (first row, rows) of each text.
    pub spans: Arc<Vec<(usize, usize)>>,
    pub pooling: Pooling,
}

impl Pool {
    /// Rows that count towards a text's vector, and how much each does.
    fn part(&self, (row, len): (usize, usize)) -> (std::ops::Range<usize>, f32) {
        match self.pooling {
            Pooling::First => (row..row + len.min(1), 1.0),
            Pooling::Mean => (row..row + len, 1.0 / len as f32),
        }
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "student-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let x = floats(x, layout)?;
        let mut out = vec![0f32; self.spans.len() * width];
        for (&span, out) in self.spans.iter().zip(out.chunks_exact_mut(width)) {
            let (rows, share) = self.part(span);
            arith::sum_rows(&x[rows.start * width..rows.end * width], out);
            out.iter_mut().for_each(|value| *value *= share);
        }
        Ok((CpuStorage::F32(out), (self.spans.len(), width).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = Rows2d::copy(grad)?;
        let width = grad.width();
        let mut dx = vec![0f32; x.elem_count()];
        for (&span, grad) in self.spans.iter().zip(grad.values().chunks_exact(width)) {
            let (rows, share) = self.part(span);
            for row in dx[rows.start * width..rows.end * width].chunks_exact_mut(width) {
                row.iter_mut().zip(grad).for_each(|(dx, grad)| *dx = grad * share);
            }
        }
        gradient(Rows2d::new(dx, width), x)
    }
}

/// A whole transformer layer: `[tokens, width]` to the same shape.
pub(in crate::student) struct Layer {
    pub parts: Arc<Parts>,
    pub attention: Attention,
    /// Dropout factors after the attention's dense layer; empty for none.
    pub output_dropout: Vec<f32>,
    /// Dropout factors after the feed-forward layer; empty for none.
    pub dropout: Vec<f32>,
    /// What the forward pass leaves for the backward pass.
    pub kept: OnceLock<Kept>,
}

/// Activations of one forward pass, `[tokens, width]` each.
pub(in crate::student) struct Kept {
    x: Rows2d,
    q: Rows2d,
    k: Rows2d,
    v: Rows2d,
    weights: Vec<f32>,
    mixed: Rows2d,
    /// Input of the first norm, and what comes out.
    before: Rows2d,
    middle: Rows2d,
    /// Feed-forward before and after its activation, `[tokens, intermediate]`.
    up: Rows2d,
    active: Rows2d,
    /// Input of the second norm.
    after: Rows2d,
}

impl CustomOp1 for Layer {
    fn name(&self) -> &'static str {
        "student-layer"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let parts = &*self.parts;
        let x = input(x, layout)?;
        let (q, k, v) =
            (dense(&x, &parts.query)?, dense(&x, &parts.key)?, dense(&x, &parts.value)?);
        let (mixed, weights) = self.attention.forward(&q, &k, &v);
        let mut before = dense(&mixed, &parts.output)?;
        before.mask(&self.output_dropout);
        before.add(&x);
        let middle = norm(&before, &parts.attention_norm)?;
        let up = dense(&middle, &parts.up)?;
        let active = up.map(|x, out| arith::activate(parts.shape.activation, x, out));
        let mut after = dense(&active, &parts.down)?;
        after.mask(&self.dropout);
        after.add(&middle);
        let out = norm(&after, &parts.norm)?;
        let kept = Kept { x, q, k, v, weights, mixed, before, middle, up, active, after };
        // Set once: an op serves one forward pass.
        let _ = self.kept.set(kept);
        output(out, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (parts, Some(kept)) = (&*self.parts, self.kept.get()) else {
            bail!("a layer of the student ran backward first");
        };
        let mut dmiddle = norm_backward(&kept.after, &Rows2d::copy(grad)?, &parts.norm)?;
        // The same gradient goes down the feed-forward branch and past it.
        let mut branch = dmiddle.map(|x, out| out.copy_from_slice(x));
        branch.mask(&self.dropout);
        let dactive = dense_backward(&kept.active, &branch, &parts.down)?;
        let dup = kept.up.zip(&dactive, |x, grad, out| {
            arith::activate_backward(parts.shape.activation, x, grad, out);
        });
        dmiddle.add(&dense_backward(&kept.middle, &dup, &parts.up)?);

        let mut dx = norm_backward(&kept.before, &dmiddle, &parts.attention_norm)?;
        let mut branch = dx.map(|x, out| out.copy_from_slice(x));
        branch.mask(&self.output_dropout);
        let dmixed = dense_backward(&kept.mixed, &branch, &parts.output)?;
        let Kept { q, k, v, weights, .. } = kept;
        let [dq, dk, dv] = self.attention.backward(q, k, v, weights, &dmixed);
        for (grad, linear) in [(dq, &parts.query), (dk, &parts.key), (dv, &parts.value)] {
            dx.add(&dense_backward(&kept.x, &grad, linear)?);
        }
        gradient(dx, x)
    }
}
