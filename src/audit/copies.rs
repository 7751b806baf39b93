//! Wording that was taken over: whole texts, and runs of words.
//!
//! Texts are compared in a normal form: NFKC, lower case, letters and digits alone, words separated by
//! one space; an ideograph or kana is a word. The longest run of words that a text shares with any text of
//! the customer's is read off a suffix array of all of those, each of whose suffixes ends with its text:
//! a binary search for each word, whatever the number of texts.

use std::{cmp::Ordering, collections::HashMap};

use tokenizers::NormalizedString;

use super::reference_texts::{Origin, ReferenceTexts};
use crate::dataset::canonical;

/// Shared words from which a run counts as copied.
pub(super) const SHARED_WORDS: usize = 8;
/// Words by which suffixes are sorted. A run that is longer is followed to its end in one of the texts
/// that hold it: that there is a longer one in another of them may be missed.
const SORTED: usize = 64;

/// How much of a text is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// Letter for letter, but for white space at the ends.
    Exact,
    /// But for letter case, white space, punctuation and the form of letters.
    Normalised,
    /// So many words in a row.
    Words(usize),
}

/// The customer's texts, prepared for comparisons.
pub(super) struct Wording<'a> {
    exact: HashMap<&'a str, Origin>,
    normal: HashMap<String, Origin>,
    /// Each known word's number.
    numbers: HashMap<String, u32>,
    /// All words of all texts.
    words: Vec<u32>,
    /// The text that each of `words` belongs to.
    owners: Vec<u32>,
    /// For each text: where its words begin, and where it comes from.
    starts: Vec<(usize, Origin)>,
    /// Places in `words`, sorted by what follows there within the text.
    suffixes: Vec<u32>,
}

impl<'a> Wording<'a> {
    pub(super) fn of(customer: &ReferenceTexts<'a>) -> Self {
        let mut wording = Self {
            exact: HashMap::new(),
            normal: HashMap::new(),
            numbers: HashMap::new(),
            words: Vec::new(),
            owners: Vec::new(),
            starts: Vec::new(),
            suffixes: Vec::new(),
        };
        for (origin, text) in customer.written() {
            let normal = normal(text);
            let owner = wording.starts.len() as u32;
            wording.starts.push((wording.words.len(), origin));
            for word in normal.split(' ').filter(|word| !word.is_empty()) {
                let next = wording.numbers.len() as u32;
                let number = *wording.numbers.entry(word.to_owned()).or_insert(next);
                wording.words.push(number);
                wording.owners.push(owner);
            }
            wording.exact.entry(text.trim()).or_insert(origin);
            if !normal.is_empty() {
                wording.normal.entry(normal).or_insert(origin);
            }
        }
        let mut suffixes: Vec<u32> = (0..wording.words.len() as u32).collect();
        suffixes.sort_unstable_by(|a, b| {
            let order = wording.sorted(*a).cmp(wording.sorted(*b));
            order.then(a.cmp(b))
        });
        wording.suffixes = suffixes;
        wording
    }

    /// How much of `text` is the customer's, and whose; nothing where it is fewer than
    /// [`SHARED_WORDS`] words.
    pub(super) fn copied(&self, text: &str) -> Option<(Copied, Origin)> {
        if let Some(origin) = self.exact.get(text.trim()) {
            return Some((Copied::Exact, *origin));
        }
        let normal = normal(text);
        if let Some(origin) = self.normal.get(&normal) {
            return Some((Copied::Normalised, *origin));
        }
        // A word that nobody wrote equals none.
        let unknown = u32::MAX;
        let words: Vec<u32> = normal
            .split(' ')
            .map(|word| self.numbers.get(word).copied().unwrap_or(unknown))
            .collect();
        let (length, at) = self.longest(&words)?;
        (length >= SHARED_WORDS).then(|| (Copied::Words(length), self.origin(at)))
    }

    /// The longest run of `words` in any text: its length and the place where it begins.
    fn longest(&self, words: &[u32]) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        for start in 0..words.len() {
            let length = best.map_or(0, |(length, _)| length);
            let rest = &words[start..];
            if rest.len() <= length {
                break;
            }
            let key = &rest[..rest.len().min(SORTED)];
            let place =
                self.suffixes.partition_point(|at| self.sorted(*at).cmp(key) == Ordering::Less);
            // The longest common beginning is that with a neighbour in the order.
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

    /// What a suffix is sorted by.
    fn sorted(&self, at: u32) -> &[u32] {
        let at = at as usize;
        &self.words[at..self.end(at).min(at + SORTED)]
    }

    /// Where the text of a place ends.
    fn end(&self, at: usize) -> usize {
        self.starts.get(self.owners[at] as usize + 1).map_or(self.words.len(), |(start, _)| *start)
    }

    fn origin(&self, at: usize) -> Origin {
        self.starts[self.owners[at] as usize].1
    }
}

/// The form in which texts are compared.
fn normal(text: &str) -> String {
    if text.is_ascii() {
        return canonical(text);
    }
    let mut folded = NormalizedString::from(text);
    folded.nfkc();
    let mut apart = String::with_capacity(text.len());
    for c in folded.get().chars().filter(|c| !is_invisible(*c)) {
        if is_word_of_its_own(c) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    canonical(&apart)
}

/// Soft hyphens, joiners and marks of direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// Ideographs and kana, which no space separates.
fn is_word_of_its_own(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reference_texts::Source;

    fn customer<'a>(texts: &[&'a str]) -> ReferenceTexts<'a> {
        let origin = |number| Origin { source: Source::Seed, number };
        ReferenceTexts { texts: (1..).map(origin).zip(texts.iter().copied()).collect() }
    }

    #[test]
    fn copies_and_shared_words() {
        let texts = [
            "My card was lost, please block it.",
            "one two three four five six seven eight nine ten",
            "a b three four five six seven eight nine ten eleven twelve",
            "die Straße ist gesperrt",
        ];
        let wording = Wording::of(&customer(&texts));
        let copied = |text: &str| wording.copied(text).map(|(how, origin)| (how, origin.number));
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
        assert_eq!(copied("eight nine ten a b three four"), None, "over the end of a text");
        assert_eq!(copied(""), None);
        assert_eq!(Wording::of(&customer(&[])).copied("any text at all"), None);
    }

    #[test]
    fn a_long_run_is_followed_to_its_end() {
        let long: Vec<String> = (0..200).map(|n| format!("w{n}")).collect();
        let (text, part) = (long.join(" "), long[20..170].join(" "));
        let wording = Wording::of(&customer(&[&text, "w20 w21"]));
        assert_eq!(wording.copied(&part).unwrap().0, Copied::Words(150));
    }

    #[test]
    fn the_longest_run_equals_that_of_a_plain_search() {
        // Few words, so that runs are long and many begin alike.
        let mut state = 7u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let mut text =
            |words: u32| (0..words).map(|_| format!("w{}", next(2))).collect::<Vec<_>>().join(" ");
        let seeds: Vec<String> = (0..20).map(|_| text(40)).collect();
        let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
        let wording = Wording::of(&customer(&seeds));
        for _ in 0..50 {
            let made = text(30);
            let words: Vec<&str> = made.split(' ').collect();
            let holds = |run: &[&str]| {
                let run = format!(" {} ", run.join(" "));
                seeds.iter().any(|seed| format!(" {seed} ").contains(&run))
            };
            let longest = (0..=words.len()).rev().find(|n| words.windows(*n.max(&1)).any(holds));
            let found = wording.copied(&made).map(|(how, _)| how);
            let wanted = longest.filter(|n| *n >= SHARED_WORDS).map(Copied::Words);
            assert_eq!(found, wanted, "{made}");
        }
    }
}
