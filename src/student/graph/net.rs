//! The network from ops that all have a backward pass. candle's fused layer norm and softmax have
//! none, and drop the gradient without an error.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Module, ops};

use super::{
    super::{
        Result, StudentError,
        dropout::{Dropout, Mask, Site},
        error::{BUG, Fault},
        network::Source,
    },
    padded_batch::PaddedBatch,
};
use crate::student::model_spec::{HeadActivation, HeadParts, LayerParts, MIN_NORM, ModelSpec};

/// Tensors by their full Hugging Face names.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// Reads every tensor of `spec`.
pub(super) fn read(
    spec: &ModelSpec,
    source: &dyn Source,
    dtype: DType,
    device: &Device,
) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    for wanted in spec.tensors() {
        let mut values = vec![0f32; wanted.shape.iter().product()];
        source.read(&wanted.name, &mut values)?;
        let tensor = Tensor::from_vec(values, wanted.shape.as_slice(), device)?.to_dtype(dtype)?;
        tensors.insert(wanted.name, tensor);
    }
    Ok(tensors)
}

/// A forward pass over `tensors`.
pub(super) struct Pass<'a> {
    pub spec: &'a ModelSpec,
    pub tensors: &'a Tensors,
    pub padded: &'a PaddedBatch,
    pub dropout: Option<Dropout>,
}

impl Pass<'_> {
    fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| StudentError::Weights {
            origin: "the network being built".to_owned(),
            fault: Fault::with_hint(format!("{name} is missing"), BUG),
        })
    }

    fn mask(&self, site: Site, share: f64) -> Mask {
        self.dropout.map_or(Mask::NONE, |dropout| dropout.at(site, share))
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    fn dense(&self, part: &str, x: &Tensor) -> Result<Tensor> {
        let weight = self.tensor(&format!("{part}.weight"))?;
        let bias = self.tensor(&format!("{part}.bias"))?;
        Ok(x.matmul(&weight.t()?)?.broadcast_add(bias)?)
    }

    fn norm(&self, part: &str, x: &Tensor) -> Result<Tensor> {
        let weight = self.tensor(&format!("{part}.weight"))?;
        let bias = self.tensor(&format!("{part}.bias"))?;
        Ok(ops::layer_norm_slow(x, weight, bias, self.spec.layer_norm_eps)?)
    }

    /// Last hidden states, `[texts * seq, hidden]`.
    pub(super) fn hidden(&self) -> Result<Tensor> {
        let Self { spec, padded, .. } = self;
        let words = self.tensor(&spec.words)?.index_select(&padded.ids, 0)?;
        let positions = self.tensor(&spec.positions)?.index_select(&padded.positions, 0)?;
        let mut x = (words + positions)?;
        if let Some(types) = &spec.types {
            // A single text has type 0 throughout.
            x = (x + self.tensor(types)?.index_select(&padded.ids.zeros_like()?, 0)?)?;
        }
        let x = self.norm(&spec.embedding_norm, &x)?;
        let mut x = padded.drop_rows(x, self.mask(Site::Embeddings, spec.dropout))?;
        for (at, layer) in spec.layers.iter().enumerate() {
            x = self.layer(at, layer, &x)?;
        }
        Ok(x)
    }

    /// A post-norm transformer layer: attention and feed-forward, each with a residual and a layer
    /// norm.
    fn layer(&self, at: usize, parts: &LayerParts, x: &Tensor) -> Result<Tensor> {
        let Self { spec, padded, .. } = self;
        let (cells, width) = x.dims2()?;
        let depth = width / spec.heads;
        let split = |part: &str| -> Result<Tensor> {
            let x =
                self.dense(part, x)?.reshape((padded.texts(), padded.seq, spec.heads, depth))?;
            Ok(x.transpose(1, 2)?.contiguous()?)
        };
        let q = (split(&parts.query)? * (1.0 / (depth as f64).sqrt()))?;
        let (k, v) = (split(&parts.key)?, split(&parts.value)?);
        let weights = ops::softmax(&q.matmul(&k.t()?)?.broadcast_add(&padded.bias)?, D::Minus1)?;
        let mask = self.mask(Site::Attention(at), spec.attention_dropout);
        let mixed = padded.drop_attention(weights, mask)?.matmul(&v)?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?.reshape((cells, width))?;
        let mask = self.mask(Site::Output(at), spec.output_dropout);
        let mixed = padded.drop_rows(self.dense(&parts.output, &mixed)?, mask)?;
        let x = self.norm(&parts.attention_norm, &(mixed + x)?)?;
        let inner = spec.activation.forward(&self.dense(&parts.up, &x)?)?;
        let mask = self.mask(Site::FeedForward(at), spec.dropout);
        let outer = padded.drop_rows(self.dense(&parts.down, &inner)?, mask)?;
        self.norm(&parts.norm, &(outer + x)?)
    }

    /// One score per class, `[texts, classes]`; the embeddings where there are no classes.
    pub(super) fn logits(&self) -> Result<Tensor> {
        let pooled = self.padded.pool(&self.hidden()?, self.spec.pooling())?;
        if self.spec.classes == 0 {
            return normalise(&pooled);
        }
        self.head(&pooled)
    }

    /// The logits of each text, then its pooled states, `[texts, classes + hidden]`.
    pub(super) fn logits_and_pooled(&self) -> Result<Tensor> {
        let pooled = self.padded.pool(&self.hidden()?, self.spec.pooling())?;
        Ok(Tensor::cat(&[&self.head(&pooled)?, &pooled], 1)?)
    }

    /// The logits, `[texts, classes]`, of `pooled` states.
    fn head(&self, pooled: &Tensor) -> Result<Tensor> {
        let Self { spec, padded, .. } = self;
        let x = match &spec.head {
            HeadParts::Mlp { dense, activation, .. } => {
                let x = self.dense(dense, pooled)?;
                match activation {
                    // Not `relu`, a maximum, which swallows NaN.
                    HeadActivation::Relu => (&x * x.ge(0f32)?.to_dtype(x.dtype())?)?,
                    HeadActivation::Tanh => x.tanh()?,
                }
            }
            HeadParts::Linear(_) => normalise(pooled)?,
        };
        let x = padded.drop_texts(x, self.mask(Site::Head, spec.head_dropout()))?;
        self.dense(&spec.classifier, &x)
    }
}

/// Divides each row by its Euclidean norm, at least [`MIN_NORM`].
fn normalise(x: &Tensor) -> Result<Tensor> {
    // The bound is on the square: the slope of a root is infinite at 0.
    let least = f64::from(MIN_NORM) * f64::from(MIN_NORM);
    let norm = x.sqr()?.sum_keepdim(D::Minus1)?.maximum(least)?.sqrt()?;
    Ok(x.broadcast_div(&norm)?)
}
