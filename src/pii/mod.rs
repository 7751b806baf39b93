//! Finds personal data in a text: addresses and numbers that identify a person, a device or an
//! account.
//!
//! Each kind is an entry in a list ([`KINDS`], `national::KINDS`) and a file in this folder; a task
//! adds its own kinds as regular expressions (`custom`). Where two kinds match the same characters,
//! the more specific one wins: a pattern of the task, then an e-mail address, then numbers with a
//! strong checksum, and so on down to phone numbers (see [`Rank`]). A scan takes time linear in the
//! length of the text.
//!
//! Names, street addresses and facts about a person are not found, since no rule describes them.
//! Where a text copies them from a seed, the shared wording reveals it (`crate::audit::copies`).

mod card;
mod checksum;
mod custom;
mod email;
mod iban;
mod ip;
mod mask;
mod national;
mod phone;
mod window;

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap, ops::Range};

use regex::Regex;

pub(crate) use custom::PatternError;

use window::Window;

/// How specific a kind is; of overlapping findings the one with the highest rank is kept.
type Rank = u8;
const CUSTOM: Rank = 9;
const ADDRESS: Rank = 8;
/// Letters and digits in a fixed format with a checksum.
const STRONG: Rank = 7;
const CARD: Rank = 6;
/// Digits only, with one or two check digits.
const WEAK: Rank = 5;
const IP: Rank = 4;
const PHONE: Rank = 1;

/// A kind of personal data.
struct Kind {
    name: Cow<'static, str>,
    /// The mask that replaces a value, without its brackets.
    mask: Cow<'static, str>,
    rank: Rank,
    find: Find,
}

enum Find {
    Text(fn(&str, &mut Vec<Range<usize>>)),
    Number(fn(&Window<'_>) -> bool),
    /// As `Number`, but returns the span, which may include signs around the window.
    Phone(fn(&Window<'_>) -> Option<Range<usize>>),
    Custom(Regex),
}

const fn numbers(
    name: &'static str,
    mask: &'static str,
    rank: Rank,
    accepts: fn(&Window<'_>) -> bool,
) -> Kind {
    Kind { name: Cow::Borrowed(name), mask: Cow::Borrowed(mask), rank, find: Find::Number(accepts) }
}

/// The built-in kinds, besides those of `national`.
const KINDS: [Kind; 5] = [
    Kind {
        name: Cow::Borrowed("e-mail"),
        mask: Cow::Borrowed("EMAIL"),
        rank: ADDRESS,
        find: Find::Text(email::find),
    },
    numbers("IBAN", "IBAN", STRONG, iban::accepts),
    numbers("payment card", "CARD", CARD, card::accepts),
    Kind {
        name: Cow::Borrowed("IP address"),
        mask: Cow::Borrowed("IP"),
        rank: IP,
        find: Find::Text(ip::find),
    },
    Kind {
        name: Cow::Borrowed("phone"),
        mask: Cow::Borrowed("PHONE"),
        rank: PHONE,
        find: Find::Phone(phone::find),
    },
];

/// Personal data found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Index of the kind; see [`Scanner::name`].
    pub kind: usize,
    /// Byte range in the text.
    pub span: Range<usize>,
    /// The value in the form in which values of two texts are compared, and those of the less
    /// specific matches that it displaced.
    pub keys: Vec<String>,
}

/// Finds and masks personal data.
pub(crate) struct Scanner {
    kinds: Vec<Kind>,
}

/// A match of one kind, before overlaps are resolved.
struct Candidate {
    kind: usize,
    span: Range<usize>,
}

impl Scanner {
    /// A scanner with the built-in kinds and those of `patterns`, regular expressions by name.
    ///
    /// # Errors
    /// A pattern that is invalid, too large, or matches the empty text; a name that is invalid or
    /// taken.
    pub(crate) fn new(patterns: &BTreeMap<String, String>) -> Result<Self, PatternError> {
        let mut kinds: Vec<Kind> = KINDS.into_iter().chain(national::KINDS).collect();
        for (name, pattern) in patterns {
            let kind = custom::kind(name, pattern, &kinds)?;
            kinds.push(kind);
        }
        Ok(Self { kinds })
    }

    /// The name of a kind.
    pub(crate) fn name(&self, kind: usize) -> &str {
        &self.kinds[kind].name
    }

    /// `value` shortened so that people who know it recognise it and nobody else learns it.
    pub(crate) fn masked(&self, kind: usize, value: &str) -> String {
        match self.kinds[kind].rank {
            ADDRESS => mask::address(value),
            _ => mask::number(value),
        }
    }

    /// All findings in `text`, in order. They overlap neither each other nor a mask set by
    /// [`Self::redact`].
    pub(crate) fn find(&self, text: &str) -> Vec<Finding> {
        let mut candidates = self.candidates(text);
        let masks = self.masks(text);
        candidates.retain(|candidate| {
            let at = masks.partition_point(|mask| mask.end <= candidate.span.start);
            masks.get(at).is_none_or(|mask| candidate.span.end <= mask.start)
        });
        candidates.sort_by_key(|Candidate { kind, span }| {
            (Reverse(self.kinds[*kind].rank), Reverse(span.len()), span.start, *kind)
        });
        let mut kept: BTreeMap<usize, Finding> = BTreeMap::new();
        for Candidate { kind, span } in candidates {
            let key = self.key(kind, &text[span.clone()]);
            // Kept findings do not overlap, so only the last one that starts before `span.end`
            // matters.
            match kept.range_mut(..span.end).next_back() {
                Some((_, finding)) if finding.span.end > span.start => {
                    // A shorter match of the same kind is a different number: a phone number
                    // without its area code.
                    if finding.kind != kind && !finding.keys.contains(&key) {
                        finding.keys.push(key);
                    }
                }
                _ => {
                    kept.insert(span.start, Finding { kind, span, keys: vec![key] });
                }
            }
        }
        kept.into_values().collect()
    }

    /// `text` with a mask such as `[EMAIL]` in place of each finding, and the number of masks set.
    /// A text that is already masked comes back unchanged.
    pub(crate) fn redact(&self, text: &str) -> (String, usize) {
        let mut masked = text.to_owned();
        let mut count = 0;
        // Masking one value may expose another beside it, so this repeats until nothing is found.
        // It ends: each round leaves fewer characters outside of masks.
        loop {
            let findings = self.find(&masked);
            if findings.is_empty() {
                return (masked, count);
            }
            count += findings.len();
            let mut next = String::with_capacity(masked.len());
            let mut done = 0;
            for Finding { kind, span, .. } in findings {
                next.push_str(&masked[done..span.start]);
                next.extend(["[", &self.kinds[kind].mask, "]"]);
                done = span.end;
            }
            next.push_str(&masked[done..]);
            masked = next;
        }
    }

    fn candidates(&self, text: &str) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let mut spans = Vec::new();
        for (kind, Kind { find, .. }) in self.kinds.iter().enumerate() {
            match find {
                Find::Text(find) => find(text, &mut spans),
                Find::Custom(regex) => {
                    spans.extend(regex.find_iter(text).map(|found| found.range()));
                    spans.retain(|span| !span.is_empty());
                }
                Find::Number(_) | Find::Phone(_) => {}
            }
            candidates.extend(spans.drain(..).map(|span| Candidate { kind, span }));
        }
        window::each_window(text, |window| {
            for (kind, Kind { find, .. }) in self.kinds.iter().enumerate() {
                let span = match find {
                    Find::Number(accepts) => accepts(window).then(|| window.span()),
                    Find::Phone(find) => find(window),
                    Find::Text(_) | Find::Custom(_) => None,
                };
                candidates.extend(span.map(|span| Candidate { kind, span }));
            }
        });
        candidates
    }

    /// The byte ranges of masks, as [`Self::redact`] sets them.
    fn masks(&self, text: &str) -> Vec<Range<usize>> {
        let mask = |at: usize| {
            let rest = &text[at + 1..];
            let longest = window::floor(rest, rest.len().min(custom::LONGEST_NAME + 1));
            let name = &rest[..rest[..longest].find(']')?];
            let known = self.kinds.iter().any(|kind| kind.mask == name);
            known.then_some(at..at + name.len() + 2)
        };
        text.match_indices('[').filter_map(|(at, _)| mask(at)).collect()
    }

    /// The form in which values of a kind are compared.
    fn key(&self, kind: usize, value: &str) -> String {
        match self.kinds[kind].find {
            Find::Phone(_) => format!("tel {}", phone::national(value)),
            // Punctuation counts: 10.0.0.1 and 100.0.1 are different addresses.
            Find::Text(_) => value.to_lowercase(),
            Find::Number(_) | Find::Custom(_) => compact(value),
        }
    }

    /// Whether values of this kind that differ only in punctuation are different values.
    pub(super) fn needs_punctuation(&self, kind: usize) -> bool {
        self.kinds[kind].rank == IP
    }
}

/// Only the letters and digits of `value`, in lower case.
pub(super) fn compact(value: &str) -> String {
    value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::LazyLock, time::Instant};

    use super::*;

    static SCANNER: LazyLock<Scanner> = LazyLock::new(|| {
        Scanner::new(&BTreeMap::new()).expect("without patterns there is no error")
    });

    /// The kinds and values found in a text.
    pub(super) fn found(text: &str) -> Vec<(&'static str, &str)> {
        let found = SCANNER.find(text);
        found.into_iter().map(|found| (SCANNER.name(found.kind), &text[found.span])).collect()
    }

    #[test]
    fn the_most_specific_match_is_kept() {
        assert_eq!(found("12345678Z@example.org"), [("e-mail", "12345678Z@example.org")]);
        // A German IBAN contains digits that could be a phone number.
        let text = "DE89 3704 0044 0532 0130 00 or 030 1234567";
        assert_eq!(found(text), [("IBAN", &text[..27]), ("phone", "030 1234567")]);
        let finding = &SCANNER.find("tel 030 1234567 88")[0];
        assert_eq!(finding.keys, ["tel 30123456788"], "no shorter number");
        let finding = &SCANNER.find("DE89 3704 0044 0532 0130 00")[0];
        assert!(finding.keys.len() > 1, "the key of the phone number within it: {finding:?}");
    }

    #[test]
    fn a_masked_text_has_no_finding() {
        for (text, wanted, count) in [
            ("mail a.b@example.org or 030 1234567!", "mail [EMAIL] or [PHONE]!", 2),
            ("DE89 3704 0044 0532 0130 00", "[IBAN]", 1),
            ("nothing here", "nothing here", 0),
            ("[EMAIL] and [PHONE]", "[EMAIL] and [PHONE]", 0),
        ] {
            assert_eq!(SCANNER.redact(text), (wanted.to_owned(), count));
            assert_eq!(SCANNER.redact(wanted), (wanted.to_owned(), 0));
        }
        // A pattern that matches the masks themselves.
        let capitals = BTreeMap::from([("capitals".to_owned(), "[A-Z]{2,}".to_owned())]);
        let scanner = Scanner::new(&capitals).unwrap();
        let once = scanner.redact("ABC a@example.org");
        assert_eq!(once, ("[CAPITALS] [EMAIL]".to_owned(), 2));
        assert_eq!(scanner.redact(&once.0), (once.0.clone(), 0));
    }

    #[test]
    fn time_grows_linearly_with_the_length() {
        let time = |text: &str| {
            let start = Instant::now();
            SCANNER.redact(text);
            start.elapsed().as_secs_f64()
        };
        // Texts of nothing but starts of matches, and a megabyte of ordinary prose.
        let prose = "I wrote to you on 2024-01-31 about order 4711, call +49 30 1234567 please. ";
        let hostile = ["1 ", "1", "a@", "12:", "1.2.3.4", "DE89", "(", "ä1 2-", "[EMAIL"];
        let cases = hostile.map(|piece| (piece, 1 << 17));
        for (piece, bytes) in cases.into_iter().chain([(prose, 1 << 20)]) {
            let text = |bytes: usize| piece.repeat(bytes / piece.len());
            let small = time(&text(bytes / 16)).max(0.01);
            let large = time(&text(bytes));
            // Linear is 16 times, quadratic 256 times; 100 leaves room for a busy machine.
            assert!(
                large < 100.0 * small,
                "{piece:?}: {small} s, sixteen times as long: {large} s"
            );
        }
    }
}
