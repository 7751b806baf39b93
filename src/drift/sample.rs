//! A random sample of a stream of texts, as the student reads them.
//!
//! Each text gets a random number, keyed by its place in the stream, and the texts with the
//! smallest ones are kept (bottom-k sampling): memory does not grow with the stream, and of a
//! hundred million texts only those that enter the sample, some forty thousand, are read by the
//! student. The sample is in the order of these numbers, so that any part from its start on is a
//! random sample too.

use std::collections::BTreeMap;

use rand_core::RngCore;

use crate::{
    rng::Rng,
    student::{Classifier, Reading, StudentError},
};

/// Most texts of a sample: a share of 5 % is then known within 0.7 points.
pub(crate) const ROWS: usize = 4096;
/// Most texts of a sample with an embedding: the distance of two sets takes time and room that grow
/// with the square of it.
pub(crate) const EMBEDDED: usize = 512;
/// Texts, or bytes of text, that wait to be read together.
const WINDOW: usize = 256;
const WINDOW_BYTES: usize = 4 << 20;

/// Numbers about a sample of texts, in random order. Nothing of their wording.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Readings {
    /// Texts that the sample was drawn from.
    pub seen: u64,
    /// Index of the predicted class, `[texts]`.
    pub class: Vec<u32>,
    /// Its probability, `[texts]`.
    pub confidence: Vec<f32>,
    /// Tokens that are read of a text, without the special ones, `[texts]`.
    pub tokens: Vec<u32>,
    /// Those of them that the vocabulary cannot spell, `[texts]`.
    pub unknown: Vec<u32>,
    /// The embeddings of the first texts, one after another.
    pub embedding: Vec<f32>,
    /// Numbers of an embedding.
    pub width: usize,
}

impl Readings {
    /// Number of texts.
    pub(crate) fn len(&self) -> usize {
        self.class.len()
    }

    /// The embeddings of the first texts.
    pub(super) fn embeddings(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.embedding.chunks_exact(self.width.max(1))
    }

    /// The same without embeddings.
    pub(crate) fn leave_out_embeddings(&mut self) {
        (self.embedding, self.width) = (Vec::new(), 0);
    }

    pub(super) fn push(&mut self, reading: Reading, embedding: Option<&[f32]>) {
        self.class.push(reading.class as u32);
        self.confidence.push(reading.confidence);
        self.tokens.push(reading.tokens as u32);
        self.unknown.push(reading.unknown as u32);
        if let Some(embedding) = embedding {
            self.width = embedding.len();
            self.embedding.extend_from_slice(embedding);
        }
    }
}

/// The random number of a text and its place in the stream.
type Rank = (u64, u64);

/// Draws a sample of the texts that are added one by one.
pub(crate) struct Sampler<'a> {
    student: &'a Classifier,
    /// The key of the random numbers: two samples of one file differ.
    key: &'static str,
    seen: u64,
    rows: BTreeMap<Rank, (Reading, Option<Vec<f32>>)>,
    waiting: Vec<(Rank, String)>,
    bytes: usize,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(student: &'a Classifier, key: &'static str) -> Self {
        Self { student, key, seen: 0, rows: BTreeMap::new(), waiting: Vec::new(), bytes: 0 }
    }

    /// Adds the next text of the stream.
    ///
    /// # Errors
    /// The student fails on a text.
    pub(crate) fn add(&mut self, text: String) -> Result<(), StudentError> {
        let rank = (Rng::for_item(0, self.key, self.seen).next_u64(), self.seen);
        self.seen += 1;
        let is_full = self.rows.len() == ROWS;
        if is_full && self.rows.last_key_value().is_some_and(|(last, _)| rank > *last) {
            return Ok(());
        }
        self.bytes += text.len();
        self.waiting.push((rank, text));
        if self.waiting.len() >= WINDOW || self.bytes >= WINDOW_BYTES {
            self.read()?;
        }
        Ok(())
    }

    /// Reads the texts that wait.
    fn read(&mut self) -> Result<(), StudentError> {
        let (ranks, texts): (Vec<Rank>, Vec<String>) =
            std::mem::take(&mut self.waiting).into_iter().unzip();
        self.bytes = 0;
        let readings = self.student.readings(&texts)?;
        self.rows
            .extend(ranks.iter().zip(readings).map(|(&rank, reading)| (rank, (reading, None))));
        while self.rows.len() > ROWS {
            self.rows.pop_last();
        }
        // No text moves towards the start of the sample later.
        let last = self.rows.keys().nth(EMBEDDED - 1).copied();
        let chosen = |rank: &Rank| last.is_none_or(|last| *rank <= last);
        let (ranks, texts): (Vec<Rank>, Vec<String>) =
            ranks.into_iter().zip(texts).filter(|(rank, _)| chosen(rank)).unzip();
        for (rank, embedding) in ranks.iter().zip(self.student.embeddings(&texts)?) {
            if let Some(row) = self.rows.get_mut(rank) {
                row.1 = Some(embedding);
            }
        }
        if let Some(last) = last {
            let surplus = self.rows.range_mut(last..).skip(1);
            surplus.for_each(|(_, row)| row.1 = None);
        }
        Ok(())
    }

    /// The sample.
    ///
    /// # Errors
    /// The student fails on a text.
    pub(crate) fn finish(mut self) -> Result<Readings, StudentError> {
        self.read()?;
        let mut readings = Readings { seen: self.seen, ..Readings::default() };
        for (reading, embedding) in self.rows.into_values() {
            readings.push(reading, embedding.as_deref());
        }
        Ok(readings)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;

    fn student() -> Classifier {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/student/bert");
        Classifier::load(&folder, &Device::Cpu).unwrap()
    }

    fn sample(student: &Classifier, texts: usize) -> Readings {
        let mut sampler = Sampler::new(student, "drift/test");
        for at in 0..texts {
            // As many tokens as tell its place, up to the student's limit.
            sampler.add("card ".repeat(at % 11 + 1)).unwrap();
        }
        sampler.finish().unwrap()
    }

    #[test]
    fn a_small_stream_is_its_own_sample_in_another_order() {
        let student = student();
        let readings = sample(&student, 300);
        assert_eq!((readings.seen, readings.len(), readings.embeddings().len()), (300, 300, 300));
        let mut tokens = readings.tokens.clone();
        assert!(!tokens.is_sorted());
        tokens.sort_unstable();
        let mut expected: Vec<u32> = (0..300).map(|at| at % 11 + 1).collect();
        expected.sort_unstable();
        assert_eq!(tokens, expected);
        // Each embedding is that of its row: equal texts have equal ones.
        for (tokens, vector) in readings.tokens.iter().zip(readings.embeddings()) {
            let text = "card ".repeat(*tokens as usize);
            let alone = student.embeddings(&[text]).unwrap().remove(0);
            assert!(alone.iter().zip(vector).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    #[test]
    fn a_large_stream_gives_a_bounded_sample_that_represents_it() {
        let student = student();
        let readings = sample(&student, 3 * ROWS);
        assert_eq!((readings.seen, readings.len()), (3 * ROWS as u64, ROWS));
        assert_eq!(readings.embeddings().len(), EMBEDDED);
        let mean = readings.tokens.iter().sum::<u32>() as f64 / ROWS as f64;
        // The mean is 6, and its standard error 0.05.
        assert!((mean - 6.0).abs() < 0.2, "{mean}");
        assert_eq!(readings, sample(&student, 3 * ROWS));
        assert_eq!(sample(&student, 0).len(), 0);
    }
}
