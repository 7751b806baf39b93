//! The pieces that DistilBERT and BERT share: dense layer, layer norm, dropout, embedding tables,
//! and the transformer layer made of them.
//!
//! Every piece has two bodies: one fused op on a CPU with packed rows (`fused`), and candle's
//! differentiable ops for padded rows, which is what a GPU runs and what the tests hold the fused
//! ones against.

use std::sync::{Arc, OnceLock};

use candle_core::{D, Tensor};
use candle_nn::{Activation, Module, ops};

use super::super::weights::Tensors;
use super::kernels::{self, Sink};
use super::{DropoutRng, Result, Rows, StudentError, fused};

/// What a network is built over: its tensors, shared, and where the gradients of those go that
/// candle's graph does not see.
pub(in crate::student) struct Params<'a> {
    pub tensors: &'a Tensors,
    pub sink: Sink,
}

impl<'a> Params<'a> {
    /// Weights that nobody trains.
    pub fn fixed(tensors: &'a Tensors) -> Self {
        Self { tensors, sink: Sink::default() }
    }

    pub fn take(&self, name: &str) -> Result<Tensor> {
        take(self.tensors, name)
    }
}

/// Takes a tensor out of a checkpoint's tensors.
pub(in crate::student) fn take(tensors: &Tensors, name: &str) -> Result<Tensor> {
    tensors.get(name).cloned().ok_or_else(|| StudentError::Weights {
        origin: "the network being built".to_owned(),
        message: format!("{name} is missing"),
    })
}

/// A dense layer, weight `[out, in]`, bias `[out]`.
#[derive(Clone)]
pub(in crate::student) struct Linear {
    pub weight: Tensor,
    pub bias: Tensor,
    pub sink: Sink,
}

impl Linear {
    pub fn new(params: &Params, name: &str) -> Result<Self> {
        let weight = params.take(&format!("{name}.weight"))?;
        let bias = params.take(&format!("{name}.bias"))?;
        Ok(Self { weight, bias, sink: params.sink.clone() })
    }

    /// `[rows, in]` to `[rows, out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if kernels::serves(x) {
            return Ok(x.apply_op1(fused::Dense(self.clone()))?);
        }
        Ok(x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?)
    }
}

/// Layer norm over the last dimension, weight and bias `[width]`.
#[derive(Clone)]
pub(in crate::student) struct Norm {
    pub weight: Tensor,
    pub bias: Tensor,
    pub eps: f64,
    pub sink: Sink,
}

impl Norm {
    pub fn new(params: &Params, name: &str, eps: f64) -> Result<Self> {
        let weight = params.take(&format!("{name}.weight"))?;
        let bias = params.take(&format!("{name}.bias"))?;
        Ok(Self { weight, bias, eps, sink: params.sink.clone() })
    }

    /// `[rows, width]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if kernels::serves(x) {
            return Ok(x.apply_op1(fused::LayerNorm(self.clone()))?);
        }
        // The "slow" one has a backward; the fused stock op loses the gradient silently.
        Ok(ops::layer_norm_slow(x, &self.weight, &self.bias, self.eps as f32)?)
    }
}

/// The next dropout factors, none where nothing is dropped.
fn factors(len: usize, share: f64, dropout: &mut Option<&mut DropoutRng>) -> Vec<f32> {
    match dropout.as_deref_mut().filter(|_| share > 0.0) {
        Some(rng) => rng.mask(len, share),
        None => Vec::new(),
    }
}

/// Drops a share of the numbers, where there is a generator to draw from.
pub(in crate::student) fn drop_out(
    x: Tensor,
    share: f64,
    dropout: &mut Option<&mut DropoutRng>,
) -> Result<Tensor> {
    let factors = factors(x.elem_count(), share, dropout);
    if factors.is_empty() {
        return Ok(x);
    }
    if kernels::serves(&x) {
        return Ok(x.apply_op1(fused::Masked(factors))?);
    }
    let factors = Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?;
    Ok((x * factors)?)
}

/// The embedding tables, their layer norm and dropout.
pub(in crate::student) struct Embeddings {
    pub words: Tensor,
    pub positions: Tensor,
    /// Token types: BERT has them, and one text alone is type 0 throughout.
    pub types: Option<Tensor>,
    pub norm: Norm,
    pub dropout: f64,
    pub sink: Sink,
}

impl Embeddings {
    /// `[tokens, width]`.
    pub fn forward(&self, rows: &Rows, dropout: &mut Option<&mut DropoutRng>) -> Result<Tensor> {
        let x = if kernels::serves(&self.words) {
            let mut others = vec![(self.positions.clone(), rows.positions.to_vec1()?)];
            others.extend(self.types.clone().map(|types| (types, vec![0; rows.tokens()])));
            let word_ids = rows.ids.to_vec1()?;
            self.words.apply_op1(fused::Embed { word_ids, others, sink: self.sink.clone() })?
        } else {
            let words = self.words.index_select(&rows.ids, 0)?;
            let x = (words + self.positions.index_select(&rows.positions, 0)?)?;
            match &self.types {
                Some(types) => (x + types.index_select(&rows.ids.zeros_like()?, 0)?)?,
                None => x,
            }
        };
        drop_out(self.norm.forward(&x)?, self.dropout, dropout)
    }
}

/// The numbers of a transformer layer that are not weights.
#[derive(Clone, Copy)]
pub(in crate::student) struct Shape {
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
pub(in crate::student) struct Names {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub output: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub norm: &'static str,
}

/// The weights of a transformer layer.
pub(in crate::student) struct Parts {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub norm: Norm,
    pub shape: Shape,
}

/// A post-norm transformer layer: attention and feed-forward, each added to its input and normed.
pub(in crate::student) struct Block(Arc<Parts>);

impl Block {
    pub fn new(params: &Params, prefix: &str, names: &Names, shape: Shape) -> Result<Self> {
        let linear = |name: &str| Linear::new(params, &format!("{prefix}.{name}"));
        let norm = |name: &str| Norm::new(params, &format!("{prefix}.{name}"), shape.eps);
        Ok(Self(Arc::new(Parts {
            query: linear(names.query)?,
            key: linear(names.key)?,
            value: linear(names.value)?,
            output: linear(names.output)?,
            attention_norm: norm(names.attention_norm)?,
            up: linear(names.up)?,
            down: linear(names.down)?,
            norm: norm(names.norm)?,
            shape,
        })))
    }

    /// `[tokens, width]` to the same shape.
    pub fn forward(
        &self,
        x: &Tensor,
        rows: &Rows,
        dropout: &mut Option<&mut DropoutRng>,
    ) -> Result<Tensor> {
        let shape = &self.0.shape;
        match &rows.bias {
            Some(bias) => self.plain(x, rows, bias, dropout),
            None => {
                let heads = shape.heads;
                let spans = rows.spans.clone();
                let mut attention = kernels::Attention { spans, heads, dropout: Vec::new() };
                attention.dropout = factors(attention.squares(), shape.attention_dropout, dropout);
                Ok(x.apply_op1(fused::Layer {
                    parts: self.0.clone(),
                    attention,
                    output_dropout: factors(x.elem_count(), shape.output_dropout, dropout),
                    dropout: factors(x.elem_count(), shape.dropout, dropout),
                    kept: OnceLock::new(),
                })?)
            }
        }
    }

    /// Op by op, over padded rows; `bias` `[batch, 1, 1, seq]` hides the padding.
    fn plain(
        &self,
        x: &Tensor,
        rows: &Rows,
        bias: &Tensor,
        dropout: &mut Option<&mut DropoutRng>,
    ) -> Result<Tensor> {
        let parts = &*self.0;
        let shape = &parts.shape;
        let (tokens, width) = x.dims2()?;
        let depth = width / shape.heads;
        let split = |x: Tensor| {
            x.reshape((rows.batch(), rows.longest, shape.heads, depth))?
                .transpose(1, 2)?
                .contiguous()
        };
        let q = (split(parts.query.forward(x)?)? * (1.0 / (depth as f64).sqrt()))?;
        let (k, v) = (split(parts.key.forward(x)?)?, split(parts.value.forward(x)?)?);
        let scores = q.matmul(&k.t()?)?.broadcast_add(&bias.to_dtype(q.dtype())?)?;
        let weights = ops::softmax(&scores, D::Minus1)?;
        let weights = drop_out(weights, shape.attention_dropout, dropout)?;
        let mixed = weights.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((tokens, width))?;
        let mixed = drop_out(parts.output.forward(&mixed)?, shape.output_dropout, dropout)?;
        let x = parts.attention_norm.forward(&(mixed + x)?)?;
        let hidden = shape.activation.forward(&parts.up.forward(&x)?)?;
        let hidden = drop_out(parts.down.forward(&hidden)?, shape.dropout, dropout)?;
        parts.norm.forward(&(hidden + x)?)
    }
}
