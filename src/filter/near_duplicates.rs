//! Finds earlier texts that are nearly the same, without comparing every pair.
//!
//! Two texts whose ROUGE-L reaches a threshold share most of their words, so at least one of the
//! rarest words of each is a rare word of the other. How many of the rarest have to be looked at
//! follows from the threshold: the prefix filter of Chaudhuri, Ganti & Kaushik (2006), *A primitive
//! operator for similarity joins in data cleaning*. Texts that share none of them are not compared;
//! the answers are those of comparing all.

use std::collections::{HashMap, HashSet};

/// A word by its rank, the rarest first.
type Word = u32;

/// The words of all texts, ranked by how many texts have them.
pub(super) struct Vocabulary(HashMap<String, Word>);

impl Vocabulary {
    /// Of `texts`, in canonical form.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in texts.flat_map(|text| text.split(' ')) {
            *counts.entry(word).or_default() += 1;
        }
        let mut words: Vec<(&str, usize)> = counts.into_iter().collect();
        words.sort_unstable_by_key(|(word, count)| (*count, *word));
        let ranked = words.into_iter().zip(0..).map(|((word, _), rank)| (word.to_owned(), rank));
        Self(ranked.collect())
    }

    /// The words of one of the texts.
    pub(super) fn words(&self, text: &str) -> Vec<Word> {
        text.split(' ').map(|word| self.0[word]).collect()
    }
}

/// Texts among which near-duplicates are sought.
pub(super) struct NearDuplicates {
    /// The least ROUGE-L of near-duplicates, above 0; none reaches more than 1.
    threshold: f64,
    texts: Vec<Vec<Word>>,
    /// The texts that have a word among their rarest, by the word and its occurrence in the text.
    by_word: HashMap<(Word, u32), Vec<u32>>,
}

impl NearDuplicates {
    pub(super) fn new(threshold: f64) -> Self {
        Self { threshold, texts: Vec::new(), by_word: HashMap::new() }
    }

    /// Whether a text with these `words` is a near-duplicate of one that was added.
    pub(super) fn has_like(&self, words: &[Word]) -> bool {
        let mut compared = HashSet::new();
        let mut candidates = self
            .rarest(words)
            .into_iter()
            .flat_map(|word| self.by_word.get(&word).map_or(&[][..], Vec::as_slice))
            .filter(|text| compared.insert(**text))
            .map(|text| self.texts[*text as usize].as_slice());
        candidates.any(|other| rouge_l_reaches(words, other, self.threshold))
    }

    pub(super) fn add(&mut self, words: Vec<Word>) {
        let text = self.texts.len() as u32;
        for word in self.rarest(&words) {
            self.by_word.entry(word).or_default().push(text);
        }
        self.texts.push(words);
    }

    /// Of the words, each with the number of its occurrence in the text, as many of the rarest that
    /// a near-duplicate shares one of them. It shares at least threshold/2 of the words of both
    /// texts, and has at least threshold/(2 - threshold) as many words as this one (otherwise it
    /// could not share so many): together, that share of these words.
    fn rarest(&self, words: &[Word]) -> Vec<(Word, u32)> {
        let share = self.threshold / (2.0 - self.threshold);
        // The small number outweighs errors of rounding.
        let shared = (share * words.len() as f64 - 1e-6).ceil().max(1.0) as usize;
        let mut sorted = words.to_vec();
        sorted.sort_unstable();
        let mut occurrence = 0;
        let mut numbered = Vec::with_capacity(sorted.len());
        for (place, &word) in sorted.iter().enumerate() {
            occurrence = if place > 0 && sorted[place - 1] == word { occurrence + 1 } else { 0 };
            numbered.push((word, occurrence));
        }
        numbered.truncate((words.len() + 1).saturating_sub(shared));
        numbered
    }
}

/// Whether [`rouge_l`](super::rouge_l) of two word lists is at least `threshold`.
fn rouge_l_reaches(a: &[Word], b: &[Word], threshold: f64) -> bool {
    let total = (a.len() + b.len()) as f64;
    // The longest common subsequence is at most as long as the shorter list.
    if 2.0 * a.len().min(b.len()) as f64 / total < threshold {
        return false;
    }
    super::rouge_l(a, b) >= threshold
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_answers_are_those_of_comparing_all() {
        let mut rng = Rng::for_item(1, "near-duplicates", 0);
        let texts: Vec<String> = (0..400)
            .map(|_| {
                let length = rng.random_range(1..14);
                let word = |rng: &mut Rng| {
                    // Few words, so that texts are alike and repeat words.
                    (0..6).filter(|_| rng.random_range(0..3) > 0).count().to_string()
                };
                (0..length).map(|_| word(&mut rng)).collect::<Vec<_>>().join(" ")
            })
            .collect();
        let vocabulary = Vocabulary::of(texts.iter().map(String::as_str));
        for threshold in [1e-6, 0.2, 0.5, 2.0 / 3.0, 0.8, 0.85, 0.95, 1.0, 2.0] {
            let mut found = NearDuplicates::new(threshold);
            let mut all: Vec<Vec<Word>> = Vec::new();
            let mut like = 0;
            for text in &texts {
                let words = vocabulary.words(text);
                let wanted =
                    all.iter().any(|other| super::super::rouge_l(&words, other) >= threshold);
                assert_eq!(found.has_like(&words), wanted, "{threshold}: {text}");
                like += usize::from(wanted);
                if !wanted {
                    found.add(words.clone());
                    all.push(words);
                }
            }
            assert_eq!(like > 20, threshold <= 1.0, "{threshold}: {like}");
        }
    }
}
