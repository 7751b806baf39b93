//! Texts that are of no use whatever their label: copies of each other, of seeds and of the test
//! set.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::{
    dataset::{DropReason, canonical},
    task::LabelledText,
};

/// Lets each text pass once. Keeps 64 bits of each: of a million texts, two that differ are taken
/// for the same once in thirty million times.
pub(crate) struct Sieve {
    test: HashSet<u64>,
    seeds: HashSet<u64>,
    seen: HashSet<u64>,
    /// How many were dropped, by reason.
    pub dropped: BTreeMap<DropReason, usize>,
}

impl Sieve {
    pub(crate) fn new(seeds: &[LabelledText], test: &[LabelledText]) -> Self {
        let keys = |texts: &[LabelledText]| texts.iter().map(|text| key(&text.text)).collect();
        Self {
            test: keys(test),
            seeds: keys(seeds),
            seen: HashSet::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// Whether `text` is of use; if not, the reason is counted.
    pub(crate) fn passes(&mut self, text: &str) -> bool {
        let key = key(text);
        let reason = if self.test.contains(&key) {
            DropReason::LeakFromTest
        } else if self.seeds.contains(&key) {
            DropReason::CopyOfSeed
        } else if self.seen.insert(key) {
            return true;
        } else {
            DropReason::Duplicate
        };
        *self.dropped.entry(reason).or_default() += 1;
        false
    }
}

fn key(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    canonical(text).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_passes_once_unless_it_is_known() {
        let text = |text: &str| LabelledText { text: text.to_owned(), label: 0 };
        let mut sieve = Sieve::new(&[text("A seed.")], &[text("a test text")]);
        let texts = ["new", "a SEED", "A test text!", "NEW?", "other", "a seed"];
        let passed: Vec<&str> = texts.into_iter().filter(|text| sieve.passes(text)).collect();
        assert_eq!(passed, ["new", "other"]);
        let wanted = [
            (DropReason::Duplicate, 1),
            (DropReason::CopyOfSeed, 2),
            (DropReason::LeakFromTest, 1),
        ];
        assert_eq!(sieve.dropped, wanted.into());
    }
}
