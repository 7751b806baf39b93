//! Groups of letters and digits that may form one number: `DE89 3704 0044 …`, `030/123 45-67`.
//!
//! A text is split into runs of ASCII letters and digits; a window is up to ten consecutive runs
//! with nothing but number punctuation between them. Each kind of number tests each window, so that
//! the time of a scan depends on the length of a text and not on its content.

use std::ops::Range;

use super::checksum;

/// Most groups in a window, and most characters without separators: the longest IBAN has 34.
const GROUPS: usize = 10;
const LONGEST: usize = 34;
/// Characters that may separate two groups of one number, at most three in a row.
const GAP: [char; 13] = [
    ' ', '\u{a0}', '\u{2007}', '\u{2009}', '\u{202f}', '-', '\u{2010}', '\u{2011}', '\u{2013}',
    '.', '/', '(', ')',
];
/// Bytes before and after a number that are searched for a keyword.
const BEFORE: usize = 48;
const AFTER: usize = 24;

/// A maximal run of letters and digits.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
    /// Whether all characters are ASCII; other runs are in no window.
    ascii: bool,
}

/// Consecutive runs of one text.
pub(super) struct Window<'a> {
    text: &'a str,
    runs: &'a [Run],
    /// All runs joined, in upper case.
    compact: &'a str,
}

/// Calls `visit` with each window of `text` that contains at least five digits.
pub(super) fn each_window(text: &str, mut visit: impl FnMut(&Window<'_>)) {
    let runs = runs(text);
    let mut compact = String::with_capacity(LONGEST);
    for first in 0..runs.len() {
        compact.clear();
        let mut digits = 0;
        for (place, run) in runs[first..].iter().enumerate().take(GROUPS) {
            let length = run.end - run.start;
            let joined = place == 0 || is_gap(&text[runs[first + place - 1].end..run.start]);
            if !run.ascii || !joined || compact.len() + length > LONGEST {
                break;
            }
            for byte in text[run.start..run.end].bytes() {
                digits += usize::from(byte.is_ascii_digit());
                compact.push(char::from(byte.to_ascii_uppercase()));
            }
            // Not words: a number starts with at most two groups of letters.
            if digits == 0 && (place > 1 || compact.len() > 6) {
                break;
            }
            if digits >= 5 {
                let runs = &runs[first..=first + place];
                visit(&Window { text, runs, compact: &compact });
            }
        }
    }
}

fn runs(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    // For the current run, whether its script is unspaced; `None` between runs.
    let mut open = None;
    for (at, c) in text.char_indices() {
        let within = c.is_alphanumeric().then(|| is_unspaced(c));
        if within.is_some() && within != open {
            runs.push(Run { start: at, end: at, ascii: true });
        }
        if let Some(run) = runs.last_mut().filter(|_| within.is_some()) {
            run.end = at + c.len_utf8();
            run.ascii &= c.is_ascii();
        }
        open = within;
    }
    runs
}

/// Whether `c` belongs to a script that writes no spaces between words, or attaches particles to
/// foreign words: a number or an address ends where such a script begins (`13812345678谢谢`,
/// `010-1234-5678로`).
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(
        u32::from(c),
        0x0e00..=0x0eff // Thai, Lao
            | 0x1000..=0x109f // Burmese
            | 0x1780..=0x17ff // Khmer
            | 0x1100..=0x11ff | 0x3130..=0x318f | 0xac00..=0xd7ff // Hangul
            | 0x3005..=0x3007 | 0x3040..=0x30ff | 0x31f0..=0x31ff | 0xff66..=0xff9f // kana
            | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff // ideographs
    )
}

/// Whether `c` continues a name or a number.
pub(super) fn continues_token(c: char) -> bool {
    c.is_alphanumeric() && !is_unspaced(c)
}

fn is_gap(between: &str) -> bool {
    between.len() <= 9 && between.chars().count() <= 3 && between.chars().all(|c| GAP.contains(&c))
}

impl<'a> Window<'a> {
    /// Only the letters and digits, in upper case.
    pub(super) fn compact(&self) -> &'a str {
        self.compact
    }

    /// Byte range in the text.
    pub(super) fn span(&self) -> Range<usize> {
        self.runs[0].start..self.runs[self.runs.len() - 1].end
    }

    pub(super) fn is_digits(&self) -> bool {
        self.compact.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// The digits, if the window consists of exactly `count` digits.
    pub(super) fn digits(&self, count: usize) -> Option<Vec<u32>> {
        (self.compact.len() == count).then(|| checksum::digits(self.compact)).flatten()
    }

    /// The lengths of its groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().map(|run| run.end - run.start)
    }

    /// The text between its groups.
    pub(super) fn gaps(&self) -> impl Iterator<Item = &'a str> {
        self.runs.windows(2).map(|pair| &self.text[pair[0].end..pair[1].start])
    }

    /// Whether its groups have these lengths and are all separated by the same single character of
    /// `separators`.
    pub(super) fn has_form(&self, lengths: &[usize], separators: &str) -> bool {
        let mut gaps = self.gaps();
        let first = gaps.next().unwrap_or_default();
        let narrow = [' ', '\u{a0}', '\u{2009}', '\u{202f}'];
        let single =
            |c: char| separators.contains(c) || (narrow.contains(&c) && separators.contains(' '));
        self.groups().eq(lengths.iter().copied())
            && (lengths.len() == 1 || (first.chars().count() == 1 && first.chars().all(single)))
            && gaps.all(|gap| gap == first)
    }

    /// The text before it.
    pub(super) fn before(&self) -> &'a str {
        &self.text[..self.runs[0].start]
    }

    /// The text after it.
    pub(super) fn after(&self) -> &'a str {
        &self.text[self.runs[self.runs.len() - 1].end..]
    }

    /// As [`Self::stands_alone`], and not part of a decimal number or a path either. Numbers in
    /// several groups may have a comma or a slash beside them, since those also separate numbers in
    /// a list.
    pub(super) fn stands_apart(&self) -> bool {
        let signs: &[char] = if self.runs.len() == 1 { &['.', ',', '/', '\''] } else { &['.'] };
        self.stands_alone() && !self.is_joined(signs, |c| c.is_ascii_digit(), &[])
    }

    /// Whether it is not part of an identifier (`INC-123456`). Enough for numbers with check
    /// digits.
    pub(super) fn stands_alone(&self) -> bool {
        let (before, after) = (self.before().chars().next_back(), self.after().chars().next());
        !self.is_joined(&['-', '_', '\u{2011}'], continues_token, &['@'])
            && before != Some('#')
            && !matches!(after, Some('@' | '%'))
    }

    /// Whether one of `signs` (or, in front, of `more`) joins it to a character for which `is`
    /// holds.
    fn is_joined(&self, signs: &[char], is: fn(char) -> bool, more: &[char]) -> bool {
        let mut before = self.before().chars().rev();
        let near = before.next().is_some_and(|c| signs.contains(&c) || more.contains(&c));
        if near && before.next().is_some_and(is) {
            return true;
        }
        let mut after = self.after().chars();
        let near = after.next().is_some_and(|c| signs.contains(&c));
        near && after.next().is_some_and(is)
    }

    /// Whether no further group of digits follows or precedes it after a single space.
    pub(super) fn is_whole(&self) -> bool {
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let mut before = self.before().chars().rev();
        let mut after = self.after().chars();
        let space = [Some(' '), Some('\u{a0}')];
        let precedes = space.contains(&before.next()) && digit(before.next());
        let follows = space.contains(&after.next()) && digit(after.next());
        !precedes && !follows
    }

    /// Whether one of `words` is within [`BEFORE`] bytes before it or [`AFTER`] bytes after it.
    /// Words are given in lower case; those of at least five letters also match as the start of a
    /// longer word.
    pub(super) fn has_keyword(&self, words: &[&str]) -> bool {
        let after = self.after();
        let end = floor(after, AFTER.min(after.len()));
        // A word that the limit cuts in two does not count.
        let cut = after[end..].starts_with(char::is_alphanumeric);
        let near = match cut {
            true => after[..end].trim_end_matches(char::is_alphanumeric),
            false => &after[..end],
        };
        contains_keyword(near, words) || self.has_keyword_before(words, BEFORE)
    }

    /// As [`Self::has_keyword`], but only in the `within` bytes before it.
    pub(super) fn has_keyword_before(&self, words: &[&str], within: usize) -> bool {
        contains_keyword(end_of(self.before(), within), words)
    }
}

/// At most the last `within` bytes of `text`, starting with a whole word.
fn end_of(text: &str, within: usize) -> &str {
    let (rest, end) = text.split_at(floor(text, text.len().saturating_sub(within)));
    match rest.ends_with(char::is_alphanumeric) {
        true => end.trim_start_matches(char::is_alphanumeric),
        false => end,
    }
}

/// The last word of `text`, in lower case; empty if more than three other characters follow it.
pub(super) fn last_word(text: &str) -> String {
    let bare = text.trim_end_matches(|c: char| !c.is_alphanumeric());
    if text[bare.len()..].chars().count() > 3 {
        return String::new();
    }
    let word = bare.chars().rev().take(24).take_while(|c| c.is_alphanumeric());
    let word: Vec<char> = word.collect();
    word.into_iter().rev().flat_map(char::to_lowercase).collect()
}

/// Whether `text` contains one of `words`, matched as in [`Window::has_keyword`].
pub(super) fn contains_keyword(text: &str, words: &[&str]) -> bool {
    let text = text.to_lowercase();
    let mut joined = String::with_capacity(text.len() + 2);
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        joined.push(' ');
        joined.push_str(word);
    }
    joined.push(' ');
    words.iter().any(|word| {
        joined.match_indices(word).any(|(at, found)| {
            let ends = joined.as_bytes().get(at + found.len()) == Some(&b' ');
            at > 0 && joined.as_bytes()[at - 1] == b' ' && (ends || word.chars().count() >= 5)
        })
    })
}

/// The last character boundary at or before byte `at`.
pub(super) fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        each_window(text, |window| found.push(text[window.span()].to_owned()));
        found
    }

    #[test]
    fn windows_are_consecutive_groups() {
        assert_eq!(windows("call 12 345, thanks"), ["call 12 345", "12 345"]);
        assert_eq!(windows("no number at all in this"), [""; 0]);
        assert_eq!(windows("12345\n67"), ["12345"], "a line ends a number");
        assert_eq!(windows("ä12345 é"), [""; 0], "part of a word");
        assert_eq!(windows("010-1234-5678로"), ["010-1234", "010-1234-5678", "1234-5678"]);
        assert_eq!(windows("请打13812345678谢谢"), ["13812345678"]);
    }

    #[test]
    fn keywords_identify_a_number() {
        assert!(
            contains_keyword("My SSN is ", &["ssn"]) && contains_keyword("Steuer-ID:", &["steuer"])
        );
        assert!(
            contains_keyword("Telefonnummer", &["telefon"])
                && !contains_keyword("the hotel", &["tel"])
        );
        assert!(contains_keyword("social security no", &["social security"]));
        assert_eq!((end_of("Monsieur: ", 5), end_of("an eur: ", 5)), (": ", "eur: "));
        assert_eq!(
            (last_word("Friseur: "), last_word("x     ")),
            ("friseur".to_owned(), String::new())
        );
    }

    #[test]
    fn a_part_of_something_longer_does_not_stand_apart() {
        let apart = |text: &str, wanted: &str| {
            let mut apart = None;
            each_window(text, |window| {
                if &text[window.span()] == wanted {
                    apart = Some(window.stands_apart());
                }
            });
            apart.unwrap()
        };
        assert!(apart("id 123456.", "123456") && apart("Tel.123456", "123456"));
        assert!(!apart("INC-123456", "123456") && !apart("3,123456", "123456"));
        assert!(!apart("#123456", "123456") && !apart("123456-a", "123456"));
        assert!(!apart("12345,6", "12345") && apart("123 456,789", "123 456"));
    }
}
