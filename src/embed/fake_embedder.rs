//! An embedder for tests.

use super::{EmbedError, Embedder};

/// Maps known texts to unit vectors in a plane, given in degrees; all other texts to 0 degrees.
pub(crate) struct FakeEmbedder(pub Vec<(&'static str, f32)>);

impl Embedder for FakeEmbedder {
    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let degrees = |text: &String| {
            self.0.iter().find(|(known, _)| known == text).map_or(0.0, |(_, degrees)| *degrees)
        };
        let unit = |text| {
            let (sin, cos) = f32::to_radians(degrees(text)).sin_cos();
            vec![cos, sin]
        };
        Ok(texts.iter().map(unit).collect())
    }
}
