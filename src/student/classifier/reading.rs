//! What a student makes of texts besides an answer: its confidence, and how it spells them.

use super::{
    super::{
        Result,
        classify::{largest, softmax},
        tokens,
    },
    Classifier,
};

/// How a student reads a text. It holds nothing of the text's wording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// Index of the most probable class in the labels.
    pub class: usize,
    /// Its probability.
    pub confidence: f32,
    /// Tokens that are read of the text, without the special ones.
    pub tokens: usize,
    /// Those of them that stand for what the vocabulary cannot spell.
    pub unknown: usize,
}

impl Classifier {
    /// Reads texts, in their order.
    ///
    /// # Errors
    /// The tokenizer or the network fails on a text.
    pub(crate) fn readings<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Reading>> {
        let unknown = tokens::unknown_id(&self.base.inner.tokenizer);
        let (ids, _) = self.read(texts)?;
        let logits = self.forward(&ids, |rows| self.network.logits(rows))?;
        let reading = |(logits, ids): (&Vec<f32>, &Vec<u32>)| {
            let shares = softmax(logits, self.temperature);
            let class = largest(&shares);
            Reading {
                class,
                confidence: shares[class],
                tokens: ids.len().saturating_sub(2),
                unknown: ids.iter().filter(|&&id| Some(id) == unknown).count(),
            }
        };
        Ok(logits.iter().zip(&ids).map(reading).collect())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::super::parity::fixture;
    use super::*;

    #[test]
    fn a_reading_agrees_with_the_prediction_and_counts_unknown_tokens() {
        let student = Classifier::load(&fixture("bert"), &Device::Cpu).unwrap();
        let texts = ["my card is lost", "это my card", ""];
        let readings = student.readings(&texts).unwrap();
        let all = student.predict(&texts.map(str::to_owned)).unwrap();
        for (reading, shares) in readings.iter().zip(&all) {
            assert_eq!(reading.class, largest(shares));
            assert!((reading.confidence - shares[reading.class]).abs() < 1e-6);
        }
        let counts: Vec<_> = readings.iter().map(|it| (it.tokens, it.unknown)).collect();
        assert_eq!(counts[0].1, 0);
        assert!(counts[1].1 >= 1 && counts[1].1 < counts[1].0, "{counts:?}");
        assert_eq!(counts[2], (0, 0));
    }

    #[test]
    fn an_embedding_is_what_the_head_reads() {
        let student = Classifier::load(&fixture("distilbert"), &Device::Cpu).unwrap();
        let texts = ["my card", "the train is late", "my card"];
        let vectors = student.embeddings(&texts).unwrap();
        assert_eq!(vectors[0].len(), student.base.config().hidden_size);
        assert!(vectors[0] != vectors[1]);
        for (one, other) in vectors[0].iter().zip(&vectors[2]) {
            assert!((one - other).abs() < 1e-5);
        }
    }
}
