//! The pieces that DistilBERT and BERT share: dense layer, layer norm, dropout, embedding table,
//! and the transformer layer made of them.
//!
//! Every piece has two bodies: fused ops on a CPU with packed rows (`kernels`), and candle's
//! differentiable ops for padded rows, which is what a GPU runs and what the tests hold the fused
//! ones against.

use std::sync::OnceLock;

use candle_core::{D, Tensor};
use candle_nn::{Activation, Module, ops};

use super::weights::Tensors;
use super::{DropoutRng, Result, Rows, StudentError, kernels};

/// Takes a tensor out of a checkpoint's tensors.
pub(super) fn take(tensors: &Tensors, name: &str) -> Result<Tensor> {
    tensors
        .get(name)
        .cloned()
        .ok_or_else(|| StudentError::Weights {
            origin: "the network being built".to_owned(),
            message: format!("{name} is missing"),
        })
}

/// A dense layer, weight `[out, in]`, bias `[out]`.
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub fn new(tensors: &Tensors, name: &str) -> Result<Self> {
        Ok(Self {
            weight: take(tensors, &format!("{name}.weight"))?,
            bias: take(tensors, &format!("{name}.bias"))?,
        })
    }

    /// `[rows, in]` to `[rows, out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if kernels::serves(x) {
            return Ok(x.apply_op3(&self.weight, &self.bias, kernels::Dense)?);
        }
        Ok(x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?)
    }
}

/// Layer norm over the last dimension.
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Norm {
    pub fn new(tensors: &Tensors, name: &str, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: take(tensors, &format!("{name}.weight"))?,
            bias: take(tensors, &format!("{name}.bias"))?,
            eps,
        })
    }

    /// `[rows, width]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let eps = self.eps as f32;
        if kernels::serves(x) {
            return Ok(x.apply_op3(&self.weight, &self.bias, kernels::LayerNorm { eps })?);
        }
        // The "slow" one has a backward; the fused stock op loses the gradient silently.
        Ok(ops::layer_norm_slow(x, &self.weight, &self.bias, eps)?)
    }
}

/// Rows `ids` of a table `[vocabulary, width]`: `[ids, width]`.
pub(super) fn look_up(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    if kernels::serves(table) {
        return Ok(table.apply_op1(kernels::Lookup {
            ids: ids.to_vec1()?,
        })?);
    }
    Ok(table.index_select(ids, 0)?)
}

/// Drops a share of the numbers, where there is a generator to draw from.
pub(super) fn drop_out(
    x: Tensor,
    share: f64,
    dropout: &mut Option<&mut DropoutRng>,
) -> Result<Tensor> {
    let Some(rng) = dropout.as_deref_mut().filter(|_| share > 0.0) else {
        return Ok(x);
    };
    let factors = rng.mask(x.elem_count(), share);
    if kernels::serves(&x) {
        return Ok(x.apply_op1(kernels::Masked { factors })?);
    }
    let factors = Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?;
    Ok((x * factors)?)
}

fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    if activation == Activation::Gelu && kernels::serves(x) {
        return Ok(x.apply_op1(kernels::Gelu)?);
    }
    Ok(activation.forward(x)?)
}

/// The numbers of a transformer layer that are not weights.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub heads: usize,
    pub activation: Activation,
    pub eps: f64,
    /// Dropout of the attention weights.
    pub attention_dropout: f64,
    /// Dropout after the attention's dense layer: BERT has it, DistilBERT has not.
    pub output_dropout: f64,
    /// Dropout after the feed-forward layer.
    pub dropout: f64,
}

/// What a family calls the parts of a layer, relative to the layer's own name.
pub(super) struct Names {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub output: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub norm: &'static str,
}

/// A post-norm transformer layer: attention and feed-forward, each added to its input and normed.
pub(super) struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
    shape: Shape,
}

impl Block {
    pub fn new(tensors: &Tensors, prefix: &str, names: &Names, shape: Shape) -> Result<Self> {
        let linear = |name: &str| Linear::new(tensors, &format!("{prefix}.{name}"));
        let norm = |name: &str| Norm::new(tensors, &format!("{prefix}.{name}"), shape.eps);
        Ok(Self {
            query: linear(names.query)?,
            key: linear(names.key)?,
            value: linear(names.value)?,
            output: linear(names.output)?,
            attention_norm: norm(names.attention_norm)?,
            up: linear(names.up)?,
            down: linear(names.down)?,
            norm: norm(names.norm)?,
            shape,
        })
    }

    /// `[tokens, width]` to the same shape.
    pub fn forward(
        &self,
        x: &Tensor,
        rows: &Rows,
        dropout: &mut Option<&mut DropoutRng>,
    ) -> Result<Tensor> {
        let (q, k, v) = (
            self.query.forward(x)?,
            self.key.forward(x)?,
            self.value.forward(x)?,
        );
        let attended = self.attend(&q, &k, &v, rows, dropout)?;
        let attended = drop_out(
            self.output.forward(&attended)?,
            self.shape.output_dropout,
            dropout,
        )?;
        let x = self.attention_norm.forward(&(attended + x)?)?;
        let hidden = activate(&self.up.forward(&x)?, self.shape.activation)?;
        let hidden = drop_out(self.down.forward(&hidden)?, self.shape.dropout, dropout)?;
        self.norm.forward(&(hidden + x)?)
    }

    fn attend(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        rows: &Rows,
        dropout: &mut Option<&mut DropoutRng>,
    ) -> Result<Tensor> {
        let heads = self.shape.heads;
        let Some(bias) = &rows.bias else {
            let squares = rows.spans.iter().map(|&(_, len)| heads * len * len).sum();
            let share = self.shape.attention_dropout;
            let factors = match dropout.as_deref_mut().filter(|_| share > 0.0) {
                Some(rng) => rng.mask(squares, share),
                None => Vec::new(),
            };
            let op = kernels::Attention {
                spans: rows.spans.clone(),
                heads,
                dropout: factors,
                weights: OnceLock::new(),
            };
            return Ok(q.apply_op3(k, v, op)?);
        };
        let (tokens, width) = q.dims2()?;
        let depth = width / heads;
        let split = |x: &Tensor| {
            x.reshape((rows.batch(), rows.longest, heads, depth))?
                .transpose(1, 2)?
                .contiguous()
        };
        let q = (split(q)? * (1.0 / (depth as f64).sqrt()))?;
        let scores = q
            .matmul(&split(k)?.t()?)?
            .broadcast_add(&bias.to_dtype(q.dtype())?)?;
        let weights = ops::softmax(&scores, D::Minus1)?;
        let weights = drop_out(weights, self.shape.attention_dropout, dropout)?;
        let mixed = weights.matmul(&split(v)?)?;
        Ok(mixed
            .transpose(1, 2)?
            .contiguous()?
            .reshape((tokens, width))?)
    }
}
