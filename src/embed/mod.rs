//! Sentence embeddings and their cosine similarity.
//!
//! They give the nearest classes of a text (its candidates for relabelling) and of a class (its
//! partners for mixing); [`map`] draws them in two dimensions. An embedding is made of
//! the last hidden states of an encoder as it was trained, their mean or the first of them, and
//! scaled to unit length, as sentence-transformers does it.

mod clusters;
pub(crate) mod kept;
pub(crate) mod map;

#[cfg(test)]
pub(crate) mod fake_embedder;

use std::{borrow::Cow, error::Error, fmt};

use crate::hint::Hint;
pub(crate) use clusters::clusters;

/// Turns texts into vectors; similar texts get similar vectors.
pub(crate) trait Embedder: Send + Sync {
    /// One unit vector per text, in the order of the texts: `[texts][width]`.
    ///
    /// # Errors
    /// The encoder fails on the texts.
    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError>;

    /// [`Self::embed`], in less time if slightly other vectors will do: enough to choose among many
    /// texts.
    ///
    /// # Errors
    /// As [`Self::embed`].
    fn embed_roughly(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.embed(texts)
    }

    /// What is wrong, if the encoder's vocabulary lacks the words of `texts`.
    ///
    /// # Errors
    /// The tokenizer fails on the texts.
    fn unfamiliar(&self, _texts: &[&str]) -> Result<Option<String>, EmbedError> {
        Ok(None)
    }
}

/// Why texts could not be embedded: the error of the [`Embedder`].
#[derive(Debug)]
pub struct EmbedError(Box<dyn Hint + Send + Sync>);

impl EmbedError {
    pub(crate) fn new(error: impl Hint + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for EmbedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Error for EmbedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Hint for EmbedError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.0.hint()
    }
}

/// Cosine of the angle between two vectors of equal width; 0 if one of them is zero.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { (dot(a, b) / lengths) as f32 } else { 0.0 }
}

/// Mean of vectors of equal width, scaled to unit length; `None` without vectors.
pub(crate) fn centroid<'a>(vectors: impl IntoIterator<Item = &'a [f32]>) -> Option<Vec<f32>> {
    let mut vectors = vectors.into_iter();
    let mut sum = vectors.next()?.to_vec();
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    normalise(&mut sum);
    Some(sum)
}

/// Scales to unit length; a zero vector is unchanged.
pub(crate) fn normalise(vector: &mut [f32]) {
    let square = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
    if square > 0.0 {
        let scale = (1.0 / square.sqrt()) as f32;
        vector.iter_mut().for_each(|value| *value *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_by_hand() {
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert!((cosine(&[1.0, 1.0], &[3.0, 0.0]) - 0.5f32.sqrt()).abs() < 1e-7);
        assert_eq!(cosine(&[0.0, 0.0], &[3.0, 4.0]), 0.0);
    }

    #[test]
    fn a_centroid_is_the_unit_vector_in_between() {
        let (a, b) = ([3.0, 0.0], [0.0, 3.0]);
        let centroid = centroid([a.as_slice(), b.as_slice()]).expect("two vectors");
        for value in centroid {
            assert!((value - 0.5f32.sqrt()).abs() < 1e-7);
        }
        assert!(super::centroid([]).is_none());
    }
}
