//! A random sample of a stream whose length is not known.

use std::collections::BinaryHeap;

use rand::RngCore as _;

use crate::rng::Rng;

/// The places of at most so many texts, each as likely as any other: those with the smallest random
/// numbers, which depend on the seed and the place alone.
pub(crate) struct Sample {
    size: usize,
    seed: u64,
    kept: BinaryHeap<(u64, usize)>,
    offered: usize,
}

impl Sample {
    pub(crate) fn new(size: usize, seed: u64) -> Self {
        Self { size, seed, kept: BinaryHeap::new(), offered: 0 }
    }

    /// Offers the text at `place`.
    pub(crate) fn offer(&mut self, place: usize) {
        let number = Rng::for_item(self.seed, "unlabelled", place as u64).next_u64();
        self.offered += 1;
        self.kept.push((number, place));
        if self.kept.len() > self.size {
            self.kept.pop();
        }
    }

    /// Number of texts that were offered.
    pub(crate) fn offered(&self) -> usize {
        self.offered
    }

    /// The places of the texts that were kept, in order.
    pub(crate) fn places(self) -> Vec<usize> {
        let mut places: Vec<usize> = self.kept.into_iter().map(|(_, place)| place).collect();
        places.sort_unstable();
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(size: usize, texts: usize) -> Vec<usize> {
        let mut sample = Sample::new(size, 3);
        (0..texts).for_each(|place| sample.offer(place));
        assert_eq!(sample.offered(), texts);
        sample.places()
    }

    #[test]
    fn all_texts_are_as_likely() {
        assert_eq!(sample(5, 3), [0, 1, 2]);
        let places = sample(500, 10_000);
        assert_eq!(places.len(), 500);
        let first_half = places.iter().filter(|place| **place < 5_000).count();
        assert!((200..300).contains(&first_half), "{first_half}");
    }
}
