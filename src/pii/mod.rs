//! Personal data in a text: addresses and numbers that name a person, a device or an account.
//!
//! Every kind is a line in a list ([`Scanner::new`]) and a file beside this one; a task adds kinds of its
//! own as regular expressions (`own`). What two kinds claim goes to the more specific one: a user's own
//! pattern, then a number with a strong check, then one that a word announces, a telephone number last.
//! Nothing here looks at a text longer than in proportion to its length.
//!
//! Names, street addresses and what a text tells otherwise are not found: no rule finds them. The shared
//! wording with a seed (`crate::audit::copies`) is what shows them.

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

/// How specific a kind is; of overlapping findings the higher one stands.
type Rank = u8;
const OWN: Rank = 9;
const ADDRESS: Rank = 8;
/// Letters and digits in a fixed form with a check.
const STRONG: Rank = 7;
const CARD: Rank = 6;
/// Digits alone, with a check digit or two.
const WEAK: Rank = 5;
const IP: Rank = 4;
const PHONE: Rank = 1;

/// A kind of personal data.
struct Kind {
    name: Cow<'static, str>,
    /// What stands in its place, without the brackets.
    mark: Cow<'static, str>,
    rank: Rank,
    find: Find,
}

enum Find {
    Text(fn(&str, &mut Vec<Range<usize>>)),
    Number(fn(&Window<'_>) -> bool),
    /// As `Number`, saying where it is.
    Dialled(fn(&Window<'_>) -> Option<Range<usize>>),
    Own(Regex),
}

const fn numbers(
    name: &'static str,
    mark: &'static str,
    rank: Rank,
    accepts: fn(&Window<'_>) -> bool,
) -> Kind {
    Kind { name: Cow::Borrowed(name), mark: Cow::Borrowed(mark), rank, find: Find::Number(accepts) }
}

/// The kinds that are built in, beside those of `national`.
const KINDS: [Kind; 5] = [
    Kind {
        name: Cow::Borrowed("e-mail"),
        mark: Cow::Borrowed("EMAIL"),
        rank: ADDRESS,
        find: Find::Text(email::find),
    },
    numbers("IBAN", "IBAN", STRONG, iban::accepts),
    numbers("payment card", "CARD", CARD, card::accepts),
    Kind {
        name: Cow::Borrowed("IP address"),
        mark: Cow::Borrowed("IP"),
        rank: IP,
        find: Find::Text(ip::find),
    },
    Kind {
        name: Cow::Borrowed("phone"),
        mark: Cow::Borrowed("PHONE"),
        rank: PHONE,
        find: Find::Dialled(phone::find),
    },
];

/// Something personal in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The kind; [`Scanner::name`] names it.
    pub kind: usize,
    /// Where it stands, in bytes.
    pub span: Range<usize>,
    /// It and what it hides (a less specific reading of the same place), each in the one
    /// form in which two texts' values are compared.
    pub keys: Vec<String>,
}

/// Finds and masks personal data.
pub(crate) struct Scanner {
    kinds: Vec<Kind>,
}

/// A reading of a place in a text, before it is settled which one stands.
struct Candidate {
    kind: usize,
    span: Range<usize>,
}

impl Scanner {
    /// With the built-in kinds and the user's `patterns`, names with regular expressions.
    ///
    /// # Errors
    /// A pattern that is none, is too large, or matches nothing at all; a name that is taken.
    pub(crate) fn new(patterns: &BTreeMap<String, String>) -> Result<Self, PatternError> {
        let mut kinds: Vec<Kind> = KINDS.into_iter().chain(national::KINDS).collect();
        for (name, pattern) in patterns {
            let kind = custom::kind(name, pattern, &kinds)?;
            kinds.push(kind);
        }
        Ok(Self { kinds })
    }

    /// The name of one kind.
    pub(crate) fn name(&self, kind: usize) -> &str {
        &self.kinds[kind].name
    }

    /// `value` of a kind as it is shown to people who should recognise it and not learn it.
    pub(crate) fn masked(&self, kind: usize, value: &str) -> String {
        match self.kinds[kind].rank {
            ADDRESS => mask::address(value),
            _ => mask::number(value),
        }
    }

    /// All findings in `text` in their order; none overlaps another, and none touches a mark that
    /// [`Self::redact`] has set.
    pub(crate) fn find(&self, text: &str) -> Vec<Finding> {
        let mut candidates = self.candidates(text);
        let marks = self.marks(text);
        candidates.retain(|candidate| {
            let at = marks.partition_point(|mark| mark.end <= candidate.span.start);
            marks.get(at).is_none_or(|mark| candidate.span.end <= mark.start)
        });
        candidates.sort_by_key(|Candidate { kind, span }| {
            (Reverse(self.kinds[*kind].rank), Reverse(span.len()), span.start, *kind)
        });
        let mut standing: BTreeMap<usize, Finding> = BTreeMap::new();
        for Candidate { kind, span } in candidates {
            let key = self.key(kind, &text[span.clone()]);
            // Those that stand do not overlap, so the last that begins before its end decides.
            match standing.range_mut(..span.end).next_back() {
                Some((_, finding)) if finding.span.end > span.start => {
                    // A shorter reading of the same kind is another number: the line without its area.
                    if finding.kind != kind && !finding.keys.contains(&key) {
                        finding.keys.push(key);
                    }
                }
                _ => {
                    standing.insert(span.start, Finding { kind, span, keys: vec![key] });
                }
            }
        }
        standing.into_values().collect()
    }

    /// `text` with a mark such as `[EMAIL]` in the place of each finding, and their number. A text that
    /// was masked comes back as it is.
    pub(crate) fn redact(&self, text: &str) -> (String, usize) {
        let mut masked = text.to_owned();
        let mut count = 0;
        // What stands beside a mark may be found only now; each round leaves less that is no mark.
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
                next.extend(["[", &self.kinds[kind].mark, "]"]);
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
                Find::Own(regex) => {
                    spans.extend(regex.find_iter(text).map(|found| found.range()));
                    spans.retain(|span| !span.is_empty());
                }
                Find::Number(_) | Find::Dialled(_) => {}
            }
            candidates.extend(spans.drain(..).map(|span| Candidate { kind, span }));
        }
        window::each_window(text, |window| {
            for (kind, Kind { find, .. }) in self.kinds.iter().enumerate() {
                let span = match find {
                    Find::Number(accepts) => accepts(window).then(|| window.span()),
                    Find::Dialled(find) => find(window),
                    Find::Text(_) | Find::Own(_) => None,
                };
                candidates.extend(span.map(|span| Candidate { kind, span }));
            }
        });
        candidates
    }

    /// Where marks stand.
    fn marks(&self, text: &str) -> Vec<Range<usize>> {
        let mark = |at: usize| {
            let rest = &text[at + 1..];
            let longest = window::floor(rest, rest.len().min(custom::LONGEST_NAME + 1));
            let name = &rest[..rest[..longest].find(']')?];
            let known = self.kinds.iter().any(|kind| kind.mark == name);
            known.then_some(at..at + name.len() + 2)
        };
        text.match_indices('[').filter_map(|(at, _)| mark(at)).collect()
    }

    /// The form in which values of a kind are compared.
    fn key(&self, kind: usize, value: &str) -> String {
        match self.kinds[kind].find {
            Find::Dialled(_) => format!("tel {}", phone::national(value)),
            // 10.0.0.1 and 100.0.1 are different ones.
            Find::Text(_) => value.to_lowercase(),
            Find::Number(_) | Find::Own(_) => squeezed(value),
        }
    }

    /// Whether two addresses that differ in punctuation are different ones.
    pub(super) fn needs_punctuation(&self, kind: usize) -> bool {
        self.kinds[kind].rank == IP
    }
}

/// Letters and digits alone, in lower case.
pub(super) fn squeezed(value: &str) -> String {
    value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::LazyLock, time::Instant};

    use super::*;

    static SCANNER: LazyLock<Scanner> =
        LazyLock::new(|| Scanner::new(&BTreeMap::new()).expect("no patterns, no fault"));

    /// Kinds and values in a text.
    pub(super) fn found(text: &str) -> Vec<(&'static str, &str)> {
        let found = SCANNER.find(text);
        found.into_iter().map(|found| (SCANNER.name(found.kind), &text[found.span])).collect()
    }

    #[test]
    fn the_most_specific_reading_stands() {
        assert_eq!(found("12345678Z@example.org"), [("e-mail", "12345678Z@example.org")]);
        // A German IBAN holds digits that could be dialled.
        let text = "DE89 3704 0044 0532 0130 00 or 030 1234567";
        assert_eq!(found(text), [("IBAN", &text[..27]), ("phone", "030 1234567")]);
        let finding = &SCANNER.find("tel 030 1234567 88")[0];
        assert_eq!(finding.keys, ["tel 30123456788"], "no shorter number");
        let finding = &SCANNER.find("DE89 3704 0044 0532 0130 00")[0];
        assert!(finding.keys.len() > 1, "what it hides of another kind: {finding:?}");
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
        // A pattern that would take the marks themselves.
        let capitals = BTreeMap::from([("capitals".to_owned(), "[A-Z]{2,}".to_owned())]);
        let scanner = Scanner::new(&capitals).unwrap();
        let once = scanner.redact("ABC a@example.org");
        assert_eq!(once, ("[CAPITALS] [EMAIL]".to_owned(), 2));
        assert_eq!(scanner.redact(&once.0), (once.0.clone(), 0));
    }

    #[test]
    fn time_grows_with_the_length_and_no_faster() {
        let time = |text: &str| {
            let start = Instant::now();
            SCANNER.redact(text);
            start.elapsed().as_secs_f64()
        };
        // Texts that hold nothing but beginnings, and a megabyte as people write.
        let prose = "I wrote to you on 2024-01-31 about order 4711, call +49 30 1234567 please. ";
        let nasty = ["1 ", "1", "a@", "12:", "1.2.3.4", "DE89", "(", "ä1 2-", "[EMAIL"];
        let cases = nasty.map(|piece| (piece, 1 << 17));
        for (piece, bytes) in cases.into_iter().chain([(prose, 1 << 20)]) {
            let text = |bytes: usize| piece.repeat(bytes / piece.len());
            let small = time(&text(bytes / 16)).max(0.01);
            let large = time(&text(bytes));
            // Sixteen times, and room for a busy machine; quadratic would be 256 times.
            assert!(large < 100.0 * small, "{piece:?}: {small} s, sixteen times that: {large} s");
        }
    }
}
