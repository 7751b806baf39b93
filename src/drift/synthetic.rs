//! Readings of invented texts, for tests: three classes, confidences, lengths and embeddings that
//! are drawn at random.

use rand::Rng as _;
use rand_distr::{Distribution as _, StandardNormal};

use super::{Readings, Reference, Source};
use crate::{rng::Rng, student::Reading};

const WIDTH: usize = 8;

/// The distribution of the texts.
pub(super) struct Texts {
    pub seed: u64,
    /// Of the three classes.
    pub shares: [f64; 3],
    /// What is added to the confidence.
    pub surer_by: f32,
    /// What is added to the number of tokens.
    pub longer_by: usize,
    /// The probability that a token is unknown.
    pub unknown: f64,
    /// What is added to each number of an embedding.
    pub moved_by: f32,
}

impl Default for Texts {
    fn default() -> Self {
        let shares = [0.2, 0.3, 0.5];
        Self { seed: 7, shares, surer_by: 0.0, longer_by: 0, unknown: 0.02, moved_by: 0.0 }
    }
}

impl Texts {
    pub(super) fn labels(&self) -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    pub(super) fn reference(&self, texts: usize) -> Reference {
        let readings = self.readings(texts, "test/reference");
        Reference { source: Source::Test, readings }
    }

    pub(super) fn new_texts(&self, texts: usize) -> Readings {
        self.readings(texts, "test/new")
    }

    fn readings(&self, texts: usize, key: &str) -> Readings {
        let mut rng = Rng::for_item(self.seed, key, 0);
        let mut readings = Readings { seen: texts as u64, ..Readings::default() };
        for _ in 0..texts {
            let tokens = rng.random_range(3..20) + self.longer_by;
            let unknown = (0..tokens).filter(|_| rng.random_bool(self.unknown)).count();
            let confidence = (0.7 + rng.random_range(0.0..0.3) + self.surer_by).min(1.0);
            let class = rng.weighted(&self.shares).expect("a share is positive");
            let embedding: Vec<f32> = (0..WIDTH)
                .map(|_| {
                    let noise: f32 = StandardNormal.sample(&mut rng);
                    noise + self.moved_by
                })
                .collect();
            let reading = Reading { class, confidence, tokens, unknown };
            readings.push(reading, Some(&embedding));
        }
        readings
    }
}
