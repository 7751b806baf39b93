//! Sentence embeddings: the mean of a pretrained encoder's last hidden states.

use super::{
    super::{BaseModel, Precision, Result, engine::network, network::Network},
    run,
};
use crate::student::model_spec::ModelSpec;

/// A pretrained encoder that computes one vector per text.
pub(crate) struct SentenceEncoder {
    base: BaseModel,
    network: Box<dyn Network>,
}

impl SentenceEncoder {
    /// The encoder of `base`, on its device.
    pub(crate) fn new(base: &BaseModel) -> Result<Self> {
        let inner = &*base.inner;
        let spec = ModelSpec::encoder(&inner.config);
        let source = inner.checkpoint.clone();
        let network = network(spec, source, &inner.device, Precision::F32)?;
        Ok(Self { base: base.clone(), network })
    }

    /// Mean of the last hidden states of each text's tokens, special ones included; texts are
    /// truncated to `max_length` tokens: `[texts][hidden]`.
    pub(crate) fn means(&self, texts: &[String], max_length: usize) -> Result<Vec<Vec<f32>>> {
        let ids = self.base.tokenise(texts, max_length)?;
        let width = self.base.config().hidden_size;
        run(&ids, self.base.device().is_cpu(), |rows| {
            let hidden = self.network.hidden(rows)?;
            let mut means = Vec::with_capacity(rows.texts() * width);
            for span in rows.spans() {
                let start = means.len();
                means.resize(start + width, 0.0);
                let tokens = span.len().max(1) as f32;
                for state in hidden[span.start * width..span.end * width].chunks_exact(width) {
                    means[start..].iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
                }
                means[start..].iter_mut().for_each(|sum| *sum /= tokens);
            }
            Ok(means)
        })
    }
}
