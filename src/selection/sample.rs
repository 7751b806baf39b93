//! A random sample of a stream whose length is not known.

use std::collections::BTreeMap;

use rand::RngCore as _;

use crate::rng::Rng;

/// At most so many things of a stream, each as likely as any other: those with the smallest random
/// numbers, which depend on the seed, the stage and the place alone.
pub(crate) struct Sample<T> {
    size: usize,
    seed: u64,
    stage: &'static str,
    kept: BTreeMap<(u64, usize), T>,
    offered: usize,
}

impl<T> Sample<T> {
    /// A sample of `size` for `stage`.
    pub(crate) fn new(size: usize, seed: u64, stage: &'static str) -> Self {
        Self { size, seed, stage, kept: BTreeMap::new(), offered: 0 }
    }

    /// Offers what is at `place`; `make` is called if it is kept, for now.
    pub(crate) fn offer(&mut self, place: usize, make: impl FnOnce() -> T) {
        let number = Rng::for_item(self.seed, self.stage, place as u64).next_u64();
        self.offered += 1;
        let last = self.kept.last_key_value().map(|(key, _)| *key);
        if self.kept.len() == self.size && last.is_none_or(|last| last < (number, place)) {
            return;
        }
        self.kept.insert((number, place), make());
        if self.kept.len() > self.size {
            self.kept.pop_last();
        }
    }

    /// Number of things that were offered.
    pub(crate) fn offered(&self) -> usize {
        self.offered
    }

    /// What was kept, in the order of the places, which come with it.
    pub(crate) fn finish(self) -> Vec<(usize, T)> {
        let mut kept: Vec<(usize, T)> =
            self.kept.into_iter().map(|((_, place), value)| (place, value)).collect();
        kept.sort_by_key(|(place, _)| *place);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(size: usize, texts: usize) -> Vec<(usize, String)> {
        let mut sample = Sample::new(size, 3, "test");
        (0..texts).for_each(|place| sample.offer(place, || place.to_string()));
        assert_eq!(sample.offered(), texts);
        sample.finish()
    }

    #[test]
    fn all_texts_are_as_likely() {
        let all = [0, 1, 2].map(|place| (place, place.to_string()));
        assert_eq!((sample(5, 3), sample(0, 3)), (all.to_vec(), Vec::new()));
        let kept = sample(500, 10_000);
        assert_eq!(kept.len(), 500);
        assert!(kept.is_sorted_by_key(|(place, _)| *place));
        assert!(kept.iter().all(|(place, text)| *text == place.to_string()));
        let first_half = kept.iter().filter(|(place, _)| *place < 5_000).count();
        assert!((200..300).contains(&first_half), "{first_half}");
    }
}
