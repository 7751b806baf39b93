//! The pretrained encoder as an [`Embedder`] for other modules.

use std::sync::OnceLock;

use super::{BaseModel, Precision, Result, SentenceEncoder};
use crate::embed::{EmbedError, Embedder, normalise};

/// Tokens per text: enough for short texts, and the length that all-MiniLM-L6-v2 was trained with.
const MAX_LENGTH: usize = 128;

/// Embeds with a pretrained encoder's last hidden states, pooled.
pub(crate) struct EncoderEmbedder {
    base: BaseModel,
    encoder: SentenceEncoder,
    /// The same in 8 bits, once it is needed.
    rough: OnceLock<SentenceEncoder>,
}

impl EncoderEmbedder {
    /// An embedder that shares the weights of `base`.
    pub(crate) fn new(base: BaseModel) -> Result<Self> {
        let rough = OnceLock::new();
        Ok(Self { encoder: SentenceEncoder::new(&base, Precision::F32)?, base, rough })
    }

    /// The encoder in 8 bits where that is faster.
    fn rough(&self) -> Result<&SentenceEncoder> {
        if !self.base.device().is_cpu() || !Precision::Int8.pays() {
            return Ok(&self.encoder);
        }
        if let Some(rough) = self.rough.get() {
            return Ok(rough);
        }
        let rough = SentenceEncoder::new(&self.base, Precision::Int8)?;
        Ok(self.rough.get_or_init(|| rough))
    }
}

/// The texts' vectors by `encoder`, of unit length.
fn embed(encoder: &SentenceEncoder, texts: &[String]) -> Result<Vec<Vec<f32>>> {
    let mut embeddings = encoder.pooled(texts, MAX_LENGTH)?;
    embeddings.iter_mut().for_each(|vector| normalise(vector));
    Ok(embeddings)
}

impl Embedder for EncoderEmbedder {
    fn embed(&self, texts: &[String]) -> std::result::Result<Vec<Vec<f32>>, EmbedError> {
        embed(&self.encoder, texts).map_err(EmbedError::new)
    }

    fn embed_roughly(&self, texts: &[String]) -> std::result::Result<Vec<Vec<f32>>, EmbedError> {
        self.rough().and_then(|encoder| embed(encoder, texts)).map_err(EmbedError::new)
    }

    fn unfamiliar(&self, texts: &[&str]) -> std::result::Result<Option<String>, EmbedError> {
        Ok(self.base.coverage(texts).map_err(EmbedError::new)?.warning())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{embed::cosine, student::parity::fixture};

    #[test]
    fn rough_vectors_are_nearly_the_same() {
        let base = BaseModel::load(&fixture("distilbert"), &Device::Cpu).unwrap();
        let embedder = EncoderEmbedder::new(base).unwrap();
        let texts = ["my card is gone", "where is the water", "a"].map(str::to_owned);
        let (exact, rough) =
            (embedder.embed(&texts).unwrap(), embedder.embed_roughly(&texts).unwrap());
        for (exact, rough) in exact.iter().zip(&rough) {
            assert!(cosine(exact, rough) > 0.99, "{exact:?} {rough:?}");
        }
    }
}
