//! An embedder for tests.

use super::{EmbedError, Embedder};

/// Knows the direction of each text in a plane, in degrees; what it does not know lies at 0.
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
