//! Finds copied wording: whole texts, and runs of words.
//!
//! Texts are compared in a normal form: NFKC, lower case, only letters and digits, words separated
//! by one space; each ideograph or kana is a word. The longest run of words that a text shares with
//! a reference text comes from a suffix array over all reference texts, in which each suffix ends
//! with its text. It takes one binary search per word of the text, however many reference texts
//! there are.

use std::{cmp::Ordering, collections::HashMap};

use tokenizers::NormalizedString;

use super::reference_texts::{ReferenceId, ReferenceTexts};
use crate::dataset::canonical;

/// Fewest consecutive shared words that count as copied.
pub(super) const SHARED_WORDS: usize = 8;
/// Words by which suffixes are sorted. A longer run is followed to its end in only one of the texts
/// that contain its first 64 words, so a longer match in another of them may be missed.
const SORT_WORDS: usize = 64;

/// How much of a text is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// All of it, character for character, except white space at both ends.
    Exact,
    /// All of it, except letter case, white space, punctuation and the form of letters (NFKC).
    Normalised,
    /// This many consecutive words.
    Words(usize),
}

/// The reference texts, indexed for comparison.
pub(super) struct CopyIndex<'a> {
    exact: HashMap<&'a str, ReferenceId>,
    normal: HashMap<String, ReferenceId>,
    /// A number for each known word.
    numbers: HashMap<String, u32>,
    /// The words of all texts, one text after another.
    words: Vec<u32>,
    /// For each of `words`, the index of its text.
    owners: Vec<u32>,
    /// For each text, the index of its first word, and its name.
    starts: Vec<(usize, ReferenceId)>,
    /// Indices into `words`, sorted by the words from there to the end of the text.
    suffixes: Vec<u32>,
}

impl<'a> CopyIndex<'a> {
    pub(super) fn of(references: &ReferenceTexts<'a>) -> Self {
        let mut index = Self {
            exact: HashMap::new(),
            normal: HashMap::new(),
            numbers: HashMap::new(),
            words: Vec::new(),
            owners: Vec::new(),
            starts: Vec::new(),
            suffixes: Vec::new(),
        };
        for (id, text) in references.labelled() {
            let normal = normalise(text);
            let owner = index.starts.len() as u32;
            index.starts.push((index.words.len(), id));
            for word in normal.split(' ').filter(|word| !word.is_empty()) {
                let next = index.numbers.len() as u32;
                let number = *index.numbers.entry(word.to_owned()).or_insert(next);
                index.words.push(number);
                index.owners.push(owner);
            }
            index.exact.entry(text.trim()).or_insert(id);
            if !normal.is_empty() {
                index.normal.entry(normal).or_insert(id);
            }
        }
        let mut suffixes: Vec<u32> = (0..index.words.len() as u32).collect();
        suffixes.sort_unstable_by(|a, b| {
            let order = index.sort_key(*a).cmp(index.sort_key(*b));
            order.then(a.cmp(b))
        });
        index.suffixes = suffixes;
        index
    }

    /// How much of `text` is copied, and from which reference text; `None` if it shares fewer than
    /// [`SHARED_WORDS`] consecutive words with each of them.
    pub(super) fn find(&self, text: &str) -> Option<(Copied, ReferenceId)> {
        if let Some(id) = self.exact.get(text.trim()) {
            return Some((Copied::Exact, *id));
        }
        let normal = normalise(text);
        if let Some(id) = self.normal.get(&normal) {
            return Some((Copied::Normalised, *id));
        }
        // Equals no word of the reference texts.
        let unknown = u32::MAX;
        let words: Vec<u32> = normal
            .split(' ')
            .map(|word| self.numbers.get(word).copied().unwrap_or(unknown))
            .collect();
        let (length, at) = self.longest(&words)?;
        (length >= SHARED_WORDS).then(|| (Copied::Words(length), self.owner(at)))
    }

    /// The longest run of `words` that any text contains: its length, and its start in
    /// `self.words`.
    fn longest(&self, words: &[u32]) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        for start in 0..words.len() {
            let length = best.map_or(0, |(length, _)| length);
            let rest = &words[start..];
            if rest.len() <= length {
                break;
            }
            let key = &rest[..rest.len().min(SORT_WORDS)];
            let place =
                self.suffixes.partition_point(|at| self.sort_key(*at).cmp(key) == Ordering::Less);
            // The suffix with the longest common prefix is a neighbour in the sorted order.
            let near = [place.checked_sub(1), Some(place)].into_iter().flatten();
            for at in near.filter_map(|place| self.suffixes.get(place)).map(|at| *at as usize) {
                let text = &self.words[at..self.end(at)];
                let shared = text.iter().zip(rest).take_while(|(a, b)| a == b).count();
                if shared > best.map_or(0, |(length, _)| length) {
                    best = Some((shared, at));
                }
            }
        }
        best
    }

    /// The words by which the suffix at `at` is sorted.
    fn sort_key(&self, at: u32) -> &[u32] {
        let at = at as usize;
        &self.words[at..self.end(at).min(at + SORT_WORDS)]
    }

    /// The end of the text that contains the word at `at`.
    fn end(&self, at: usize) -> usize {
        self.starts.get(self.owners[at] as usize + 1).map_or(self.words.len(), |(start, _)| *start)
    }

    /// The text that contains the word at `at`.
    fn owner(&self, at: usize) -> ReferenceId {
        self.starts[self.owners[at] as usize].1
    }
}

/// The form in which texts are compared.
fn normalise(text: &str) -> String {
    if text.is_ascii() {
        return canonical(text);
    }
    let mut folded = NormalizedString::from(text);
    folded.nfkc();
    let mut spaced = String::with_capacity(text.len());
    for c in folded.get().chars().filter(|c| !is_invisible(*c)) {
        if is_ideograph_or_kana(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    canonical(&spaced)
}

/// Soft hyphens, joiners and direction marks.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// Characters of scripts that write no spaces between words; each counts as a word.
fn is_ideograph_or_kana(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reference_texts::ReferenceSource;

    fn references<'a>(texts: &[&'a str]) -> ReferenceTexts<'a> {
        let id = |number| ReferenceId { source: ReferenceSource::Seed, number };
        ReferenceTexts { texts: (1..).map(id).zip(texts.iter().copied()).collect() }
    }

    #[test]
    fn copies_and_shared_words() {
        let texts = [
            "My card was lost, please block it.",
            "one two three four five six seven eight nine ten",
            "a b three four five six seven eight nine ten eleven twelve",
            "die Straße ist gesperrt",
        ];
        let index = CopyIndex::of(&references(&texts));
        let copied = |text: &str| index.find(text).map(|(how, id)| (how, id.number));
        assert_eq!(copied(" My card was lost, please block it.\n"), Some((Copied::Exact, 1)));
        assert_eq!(copied("my CARD was lost; please block it"), Some((Copied::Normalised, 1)));
        assert_eq!(
            copied("ｍｙ card was\u{a0}lo\u{ad}st please block it"),
            Some((Copied::Normalised, 1))
        );
        assert_eq!(copied("die stra\u{df}e ist gesperrt!"), Some((Copied::Normalised, 4)));
        // Nine words of the second and ten of the third: the third is named.
        let text = "well, two three four five six seven eight nine ten eleven twelve";
        assert_eq!(copied(text), Some((Copied::Words(10), 3)));
        assert_eq!(
            copied("x two three four five six seven eight nine x"),
            Some((Copied::Words(8), 2))
        );
        assert_eq!(copied("x three four five six seven eight nine x"), None, "seven");
        assert_eq!(copied("eight nine ten a b three four"), None, "across the end of a text");
        assert_eq!(copied(""), None);
        assert_eq!(CopyIndex::of(&references(&[])).find("any text at all"), None);
    }

    #[test]
    fn a_long_run_is_followed_to_its_end() {
        let long: Vec<String> = (0..200).map(|n| format!("w{n}")).collect();
        let (text, part) = (long.join(" "), long[20..170].join(" "));
        let index = CopyIndex::of(&references(&[&text, "w20 w21"]));
        assert_eq!(index.find(&part).unwrap().0, Copied::Words(150));
    }

    #[test]
    fn the_longest_run_equals_that_of_a_naive_search() {
        // Two words, so that runs are long and many start alike.
        let mut state = 7u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let mut text =
            |words: u32| (0..words).map(|_| format!("w{}", next(2))).collect::<Vec<_>>().join(" ");
        let seeds: Vec<String> = (0..20).map(|_| text(40)).collect();
        let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
        let index = CopyIndex::of(&references(&seeds));
        for _ in 0..50 {
            let made = text(30);
            let words: Vec<&str> = made.split(' ').collect();
            let holds = |run: &[&str]| {
                let run = format!(" {} ", run.join(" "));
                seeds.iter().any(|seed| format!(" {seed} ").contains(&run))
            };
            let longest = (0..=words.len()).rev().find(|n| words.windows(*n.max(&1)).any(holds));
            let found = index.find(&made).map(|(how, _)| how);
            let wanted = longest.filter(|n| *n >= SHARED_WORDS).map(Copied::Words);
            assert_eq!(found, wanted, "{made}");
        }
    }
}
