//! The pretrained encoder as an [`Embedder`] for other modules.

use super::{BaseModel, Result, SentenceEncoder};
use crate::embed::{EmbedError, Embedder, normalise};

/// Tokens per text: enough for short texts, and the length that all-MiniLM-L6-v2 was trained with.
const MAX_LENGTH: usize = 128;

/// Embeds with a pretrained encoder's last hidden states, pooled.
pub(crate) struct EncoderEmbedder {
    base: BaseModel,
    encoder: SentenceEncoder,
}

impl EncoderEmbedder {
    /// An embedder that shares the weights of `base`.
    pub(crate) fn new(base: BaseModel) -> Result<Self> {
        Ok(Self { encoder: SentenceEncoder::new(&base)?, base })
    }
}

impl Embedder for EncoderEmbedder {
    fn embed(&self, texts: &[String]) -> std::result::Result<Vec<Vec<f32>>, EmbedError> {
        let mut embeddings = self.encoder.pooled(texts, MAX_LENGTH).map_err(EmbedError::new)?;
        embeddings.iter_mut().for_each(|vector| normalise(vector));
        Ok(embeddings)
    }

    fn unfamiliar(&self, texts: &[&str]) -> std::result::Result<Option<String>, EmbedError> {
        Ok(self.base.coverage(texts).map_err(EmbedError::new)?.warning())
    }
}
