//! Sentence embeddings: a pretrained encoder's last hidden states, pooled.

use super::{
    super::{
        BaseModel, Pooling, Precision, Result, cpu::pooled_rows, engine::network, network::Network,
    },
    run,
};
use crate::student::{model_spec::ModelSpec, packed_batch::PackedBatch};

/// A pretrained encoder that computes one vector per text.
pub(crate) struct SentenceEncoder {
    base: BaseModel,
    network: Box<dyn Network>,
}

impl SentenceEncoder {
    /// The encoder of `base`, on its device; a GPU computes in F32 whatever the precision.
    pub(crate) fn new(base: &BaseModel, precision: Precision) -> Result<Self> {
        let inner = &*base.inner;
        let spec = ModelSpec::encoder(&inner.config);
        let source = inner.checkpoint.clone();
        let network = network(spec, source, &inner.device, precision)?;
        Ok(Self { base: base.clone(), network })
    }

    /// The last hidden states of each text, pooled as the encoder was trained: the first token's,
    /// or the mean over all tokens, special ones included. Texts are truncated to `max_length`
    /// tokens: `[texts][hidden]`.
    pub(crate) fn pooled(&self, texts: &[String], max_length: usize) -> Result<Vec<Vec<f32>>> {
        let ids = self.base.tokenise(texts, max_length)?;
        let (width, pooling) = (self.base.config().hidden_size, self.base.pooling());
        run(&ids, self.base.device().is_cpu(), |rows| pooled(&*self.network, pooling, width, rows))
    }
}

/// The last hidden states of each text of a pass, of this `width`, pooled: `[texts, width]`.
///
/// # Errors
/// Those of the network.
fn pooled(
    network: &dyn Network,
    pooling: Pooling,
    width: usize,
    rows: &PackedBatch,
) -> Result<Vec<f32>> {
    let hidden = network.hidden(rows)?;
    let mut pooled = Vec::with_capacity(rows.texts() * width);
    for span in rows.spans() {
        let (tokens, _) = pooled_rows(pooling, span);
        let start = pooled.len();
        pooled.resize(start + width, 0.0);
        for state in hidden[tokens.start * width..tokens.end * width].chunks_exact(width) {
            pooled[start..].iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
        }
        let count = tokens.len().max(1) as f32;
        pooled[start..].iter_mut().for_each(|sum| *sum /= count);
    }
    Ok(pooled)
}
