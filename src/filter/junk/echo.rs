//! Sentences of the prompt in a reply, found by the runs of words that both have.

use std::collections::HashSet;

/// Words in a row that prompt and text share: so many are seldom a coincidence, and a shorter
/// repetition does no harm.
const RUN: usize = 4;

/// Whether runs of the instruction make up at least half of the words of `text`. Runs in `own`,
/// those of examples and classes, do not count: a text about a refund that does not show up may
/// say so in the words of its class.
pub(super) fn repeats(text: &str, prompt: &str, own: &HashSet<Vec<String>>) -> bool {
    let words = words(text);
    let lines = prompt.lines().map(self::words);
    let asked: HashSet<Vec<String>> =
        lines.flat_map(|line| runs(&line)).filter(|run| !own.contains(run)).collect();
    let mut repeated = vec![false; words.len()];
    for (at, run) in words.windows(RUN).enumerate() {
        if asked.contains(run) {
            repeated[at..at + RUN].fill(true);
        }
    }
    let count = repeated.iter().filter(|repeated| **repeated).count();
    count > 0 && 2 * count >= words.len()
}

/// All runs of [`RUN`] words.
pub(super) fn runs(words: &[String]) -> Vec<Vec<String>> {
    words.windows(RUN).map(<[String]>::to_vec).collect()
}

/// The words of `text`; a number is a word without value: `90%` and `70%` ask for the same.
pub(super) fn words(text: &str) -> Vec<String> {
    let number = |word: String| match word.chars().all(|c| c.is_ascii_digit()) {
        true => "0".to_owned(),
        false => word,
    };
    super::known::words(text).into_iter().map(number).collect()
}
