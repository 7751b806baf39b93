//! Lexical diversity of texts: distinct-2, self-BLEU-4, length.
//!
//! The first two depend on the number of texts: among more texts, a word pair is more often a
//! repetition and a text more often has a similar reference. Comparing twelve seeds with three
//! hundred generated texts would compare the sizes of the sets. So all sets are measured at the
//! size of the smallest: distinct-2 over as many word pairs, self-BLEU with as many references as
//! that one has, averaged over many random draws from a larger set. Results of two calls of
//! [`diversity`] can be compared only if the smallest set was the same.
//!
//! A word is a sequence of characters between white space, in lower case, with everything but
//! letters and digits stripped from both ends: `"What's` is `what's`, and a lone question mark is
//! not a word.

use std::collections::{HashMap, HashSet};

use rand::seq::{SliceRandom, index};

use crate::rng::Rng;

/// Random orders over which distinct-2 of a larger set is averaged; the standard error is then a
/// seventh of the standard deviation of one order.
const ORDERS: u64 = 50;
/// Maximum number of texts that self-BLEU is averaged over, and of references for each.
const BLEU_TEXTS: usize = 200;
/// Replaces a count of 0 matches: method 1 of Chen & Cherry 2014.
const EPSILON: f64 = 0.1;

/// The diversity of one set of texts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Diversity {
    /// Number of texts.
    pub texts: usize,
    /// Distinct word pairs as a share of all word pairs (Li et al. 2016, arXiv 1510.03055), over as
    /// many pairs as the smallest set has: whole texts in random order up to that number, mean of
    /// fifty orders. 0 if no text has two words.
    pub distinct_2: f64,
    /// Mean BLEU-4 of a text with others of its set as references (Zhu et al. 2018, arXiv
    /// 1802.01886), 0 to 1; 0 for a single text. There are as many references as the smallest set
    /// (of two texts or more) has, at most 200, drawn separately for each text; at most 200 texts
    /// are measured.
    pub self_bleu: f64,
    /// Words per text: mean and standard deviation (n - 1; 0 for a single text).
    pub words: (f64, f64),
}

/// Measures `sets` of texts comparably; one entry for each, zeros for an empty one. Deterministic.
pub(crate) fn diversity(sets: &[Vec<&str>]) -> Vec<Diversity> {
    let mut numbers = HashMap::new();
    let sets: Vec<Vec<Vec<u32>>> = sets
        .iter()
        .map(|texts| texts.iter().map(|text| words(text, &mut numbers)).collect())
        .collect();
    let smallest = |sizes: &mut dyn Iterator<Item = usize>| {
        sizes.filter(|&size| size > 0).min().unwrap_or_default()
    };
    let pairs = smallest(&mut sets.iter().map(|set| set.iter().map(|text| pairs(text)).sum()));
    let references = smallest(&mut sets.iter().map(|set| set.len().saturating_sub(1)));
    sets.iter()
        .map(|set| Diversity {
            texts: set.len(),
            distinct_2: distinct_2(set, pairs),
            self_bleu: self_bleu(set, references.min(BLEU_TEXTS)),
            words: mean_and_deviation(set.iter().map(|text| text.len() as f64)),
        })
        .collect()
}

/// The words of `text`, as indices into the vocabulary `numbers`.
fn words(text: &str, numbers: &mut HashMap<String, u32>) -> Vec<u32> {
    text.split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let next = numbers.len() as u32;
            *numbers.entry(word).or_insert(next)
        })
        .collect()
}

/// Number of pairs of adjacent words in a text.
fn pairs(text: &[u32]) -> usize {
    text.len().saturating_sub(1)
}

/// Share of distinct pairs among `budget` pairs of whole texts in random order; the text that
/// exceeds the budget is cut there.
fn distinct_2(set: &[Vec<u32>], budget: usize) -> f64 {
    let all = set.iter().map(|text| pairs(text)).sum::<usize>();
    let budget = budget.min(all);
    if budget == 0 {
        return 0.0;
    }
    let orders = if budget < all { ORDERS } else { 1 };
    let mut order: Vec<&[u32]> = set.iter().map(Vec::as_slice).collect();
    let mut seen = HashSet::with_capacity(budget);
    let mut different = 0;
    for number in 0..orders {
        order.shuffle(&mut Rng::for_item(0, "eval/distinct", number));
        seen.clear();
        seen.extend(order.iter().flat_map(|text| text.windows(2)).take(budget));
        different += seen.len();
    }
    different as f64 / (orders as f64 * budget as f64)
}

/// Mean BLEU-4 of the texts of `set`, each with `references` of the others.
fn self_bleu(set: &[Vec<u32>], references: usize) -> f64 {
    let others = set.len().saturating_sub(1);
    let references = references.min(others);
    if references == 0 {
        return 0.0;
    }
    let counted: Vec<Counts<'_>> = set.iter().map(|text| count(text)).collect();
    let mut rng = Rng::for_item(0, "eval/self-bleu", 0);
    let measured = index::sample(&mut rng, set.len(), set.len().min(BLEU_TEXTS));
    let sum: f64 = measured
        .iter()
        .map(|text| {
            let mut rng = Rng::for_item(0, "eval/references", text as u64);
            let drawn = index::sample(&mut rng, others, references);
            // Skip the text itself.
            let drawn = drawn.iter().map(|other| other + usize::from(other >= text));
            let drawn: Vec<(usize, &Counts<'_>)> =
                drawn.map(|other| (set[other].len(), &counted[other])).collect();
            bleu_4(&set[text], &drawn)
        })
        .sum();
    sum / measured.len() as f64
}

/// How often each n-gram of one to four words occurs in a text.
type Counts<'a> = HashMap<&'a [u32], usize>;

fn count(text: &[u32]) -> Counts<'_> {
    let mut counts = HashMap::new();
    for length in 1..=4 {
        for ngram in text.windows(length) {
            *counts.entry(ngram).or_default() += 1;
        }
    }
    counts
}

/// BLEU-4 (Papineni et al. 2002) of one text with `references` (words, counts), as computed by
/// NLTK's `sentence_bleu` with method 1, which the papers on self-BLEU use: the geometric mean of
/// the four clipped precisions, with [`EPSILON`] for no match, times e^(1 - r/c) for a text of c
/// words that is shorter than the reference nearest in length, with r words. 0 if no word matches.
fn bleu_4(text: &[u32], references: &[(usize, &Counts<'_>)]) -> f64 {
    let words = text.len();
    let mut product = 1.0;
    for length in 1..=4 {
        let mut ngrams: HashMap<&[u32], usize> = HashMap::new();
        text.windows(length).for_each(|ngram| *ngrams.entry(ngram).or_default() += 1);
        let in_reference = |ngram: &[u32]| {
            let counts = references.iter().filter_map(|(_, counts)| counts.get(ngram));
            counts.copied().max().unwrap_or_default()
        };
        let matched: usize =
            ngrams.iter().map(|(ngram, &times)| times.min(in_reference(ngram))).sum();
        if matched == 0 && length == 1 {
            return 0.0;
        }
        let all = (words + 1).saturating_sub(length).max(1) as f64;
        product *= if matched == 0 { EPSILON / all } else { matched as f64 / all };
    }
    let nearest = references.iter().map(|(length, _)| *length);
    let nearest = nearest.min_by_key(|&length| (length.abs_diff(words), length));
    let nearest = nearest.unwrap_or_default();
    let brevity = if words < nearest { (1.0 - nearest as f64 / words as f64).exp() } else { 1.0 };
    brevity * f64::powf(product, 0.25)
}

/// Mean and standard deviation (n - 1).
fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count();
    if n == 0 {
        return (0.0, 0.0);
    }
    let mean = values.clone().sum::<f64>() / n as f64;
    let squares = values.map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n - 1).max(1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    fn numbered(texts: &[&str]) -> Vec<Vec<u32>> {
        let mut numbers = HashMap::new();
        texts.iter().map(|text| words(text, &mut numbers)).collect()
    }

    fn bleu(text: &str, references: &[&str]) -> f64 {
        let all: Vec<&str> = [text].into_iter().chain(references.iter().copied()).collect();
        let all = numbered(&all);
        let counted: Vec<_> = all[1..].iter().map(|text| (text.len(), count(text))).collect();
        let references: Vec<_> = counted.iter().map(|(length, counts)| (*length, counts)).collect();
        bleu_4(&all[0], &references)
    }

    #[test]
    fn words_are_stripped_and_in_lower_case() {
        let found = numbered(&["\"What's up?\" ... (UP)", "what's"]);
        assert_eq!(found, [vec![0, 1, 1], vec![0]]);
    }

    #[test]
    fn distinct_pairs_by_hand() {
        // a b, b c | a b, b d: three different of four.
        let set = numbered(&["a b c", "a b d"]);
        close(distinct_2(&set, 4), 0.75);
        close(distinct_2(&set, 99), 0.75);
        // Two pairs are one whole text, whichever comes first.
        close(distinct_2(&set, 2), 1.0);
        // Pairs do not cross the end of a text.
        close(distinct_2(&numbered(&["a", "b"]), 5), 0.0);
        // Two texts of one pair, each of them twice.
        let set = numbered(&["a b", "a b", "c d", "c d"]);
        close(distinct_2(&set, 4), 0.5);
        // The second text differs from the first in 2 of 3 orders: 2/3 · 1 + 1/3 · 1/2.
        let found = distinct_2(&set, 2);
        assert!((found - 5.0 / 6.0).abs() < 0.1, "{found}");
    }

    #[test]
    fn sets_of_different_sizes_can_be_compared() {
        // Ten texts, two hundred of the same pattern, and the ten repeated twenty times: without a
        // common budget the last would score a twentieth.
        let texts: Vec<String> =
            (0..10).map(|n| format!("where is w{n} and what is w{n}")).collect();
        let once: Vec<&str> = texts.iter().map(String::as_str).collect();
        let varied: Vec<String> =
            (0..200).map(|n| format!("where is w{n} and what is w{n}")).collect();
        let varied: Vec<&str> = varied.iter().map(String::as_str).collect();
        let copied: Vec<&str> = once.iter().copied().cycle().take(200).collect();
        let found = diversity(&[once, varied, copied]);
        close(found[0].distinct_2, found[1].distinct_2);
        assert!(found[2].distinct_2 < found[0].distinct_2 - 0.05, "{found:?}");
        assert!((found[0].self_bleu - found[1].self_bleu).abs() < 1e-9, "{found:?}");
        assert!(found[2].self_bleu > found[0].self_bleu + 0.1, "{found:?}");
        assert_eq!((found[1].texts, found[1].words), (200, (7.0, 0.0)));
    }

    #[test]
    fn bleu_by_hand() {
        // 3/4, 2/3, 1/2, nothing of 1.
        close(bleu("a b c d", &["a b c e"]), f64::powf(0.75 * 2.0 / 3.0 * 0.5 * 0.1, 0.25));
        // All found, but four words for five.
        close(bleu("a b c d", &["a b c d e"]), (1.0_f64 - 1.25).exp());
        // "the" counts as often as a reference has it; there are two pairs, one triple, no 4-gram.
        let clipped = f64::powf(1.0 / 3.0 * (0.1 / 2.0) * 0.1 * 0.1, 0.25);
        close(bleu("the the the", &["the cat"]), clipped);
        // 2/3 by the better of two references; of lengths 2 and 4, the shorter is the nearer one.
        let clipped = f64::powf(2.0 / 3.0 * (1.0 / 2.0) * 0.1 * 0.1, 0.25);
        close(bleu("the the the", &["the cat sat there", "the the"]), clipped);
        close(bleu("a b", &["c d"]), 0.0);
        close(bleu("?!", &["c d"]), 0.0);
    }

    #[test]
    fn self_bleu_by_hand() {
        close(self_bleu(&numbered(&["a b c d", "a b c d", "a b c d"]), 2), 1.0);
        close(self_bleu(&numbered(&["a b c d", "e f g h"]), 1), 0.0);
        // Each text is the other's only reference: 3/4 · 2/3 · 1/2 · 0.1 both ways.
        let both = f64::powf(0.025, 0.25);
        close(self_bleu(&numbered(&["a b c d", "a b c e"]), 1), both);
        // One reference of two is drawn: 0, or what the two have in common.
        let found = self_bleu(&numbered(&["a b c d", "a b c e", "x y z"]), 1);
        assert!((0.0..=2.0 / 3.0 * both + 1e-9).contains(&found), "{found}");
    }

    #[test]
    fn small_and_empty_sets() {
        assert_eq!(diversity(&[]), []);
        let found = diversity(&[vec![], vec!["one two three"], vec!["a b", "a b", "..."]]);
        assert_eq!(found[0], Diversity::default());
        assert_eq!((found[1].texts, found[1].self_bleu, found[1].words), (1, 0.0, (3.0, 0.0)));
        // Both have two pairs.
        assert_eq!((found[1].distinct_2, found[2].distinct_2), (1.0, 0.5));
        close(found[2].words.0, 4.0 / 3.0);
        close(found[2].words.1, f64::sqrt((2.0 * 4.0 / 9.0 + 16.0 / 9.0) / 2.0));
    }

    #[test]
    fn the_same_texts_give_the_same_figures() {
        let texts: Vec<String> =
            (0..300).map(|n| format!("a{} b{} c{}", n % 7, n % 5, n % 3)).collect();
        let set: Vec<&str> = texts.iter().map(String::as_str).collect();
        let sets = [set[..9].to_vec(), set];
        assert_eq!(diversity(&sets), diversity(&sets));
    }
}
