//! The user's own texts, which a synthetic text may leak: all labelled seeds (not only those that a
//! run draws), the pool, the test set, and the class descriptions, which every prompt shows.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use crate::{
    pii::{Finding, Scanner, compact},
    task::Task,
};

/// Where a reference text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ReferenceSource {
    Seed,
    Pool,
    Test,
    Description,
}

/// Names one reference text by its source and its number there, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ReferenceId {
    pub source: ReferenceSource,
    pub number: usize,
}

impl fmt::Display for ReferenceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            ReferenceSource::Seed => "seed",
            ReferenceSource::Pool => "pool",
            ReferenceSource::Test => "test",
            ReferenceSource::Description => "class",
        };
        write!(out, "{source} {}", self.number)
    }
}

/// The reference texts, each with its name.
pub(crate) struct ReferenceTexts<'a> {
    pub texts: Vec<(ReferenceId, &'a str)>,
}

impl<'a> ReferenceTexts<'a> {
    pub(crate) fn of(task: &'a Task) -> Self {
        let descriptions = task.classes.iter().map(|class| class.description.as_str());
        let parts: [(ReferenceSource, Vec<&str>); 4] = [
            (ReferenceSource::Seed, task.seeds.iter().map(|item| item.text.as_str()).collect()),
            (ReferenceSource::Pool, task.pool.iter().map(|item| item.text.as_str()).collect()),
            (ReferenceSource::Test, task.test.iter().map(|item| item.text.as_str()).collect()),
            (ReferenceSource::Description, descriptions.collect()),
        ];
        let texts = parts.into_iter().flat_map(|(source, texts)| {
            (1..).zip(texts).map(move |(number, text)| (ReferenceId { source, number }, text))
        });
        Self { texts: texts.collect() }
    }

    /// The number of texts from `source`.
    pub(crate) fn count(&self, source: ReferenceSource) -> usize {
        self.texts.iter().filter(|(id, _)| id.source == source).count()
    }

    /// The labelled texts: all but the class descriptions.
    pub(crate) fn labelled(&self) -> impl Iterator<Item = (ReferenceId, &'a str)> + '_ {
        self.texts.iter().filter(|(id, _)| id.source != ReferenceSource::Description).copied()
    }
}

/// The personal data in the reference texts.
pub(super) struct ReferenceValues<'a> {
    references: &'a ReferenceTexts<'a>,
    scanner: &'a Scanner,
    /// For each value, in the form in which values are compared, the index of the first text with
    /// it.
    keys: HashMap<String, usize>,
}

/// Fewest letters and digits of a value that is also searched for as plain characters: a reference
/// text may write it in a form that no kind recognises. A shorter one would match by accident.
const MIN_CHARS: usize = 8;

impl<'a> ReferenceValues<'a> {
    /// Scans all reference texts.
    pub(super) fn of(references: &'a ReferenceTexts<'a>, scanner: &'a Scanner) -> Self {
        let mut keys = HashMap::new();
        for (at, (_, text)) in references.texts.iter().enumerate() {
            for key in scanner.find(text).into_iter().flat_map(|finding| finding.keys) {
                keys.entry(key).or_insert(at);
            }
        }
        Self { references, scanner, keys }
    }

    /// For each of `findings` (with the value as written) the first reference text that contains
    /// the value, whatever separates its groups there. Reads the reference texts once.
    pub(super) fn sources(&self, findings: &[(&Finding, &str)]) -> Vec<Option<ReferenceId>> {
        let mut wanted: HashMap<String, Option<usize>> = HashMap::new();
        for (finding, value) in findings {
            let value = compact(value);
            if !self.scanner.needs_punctuation(finding.kind) && value.chars().count() >= MIN_CHARS {
                wanted.insert(value, None);
            }
        }
        let lengths: HashSet<usize> = wanted.keys().map(String::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for (at, (_, text)) in self.references.texts.iter().enumerate() {
            each_word_run(text, longest, |words| {
                if let Some(found) =
                    lengths.contains(&words.len()).then(|| wanted.get_mut(words)).flatten()
                {
                    found.get_or_insert(at);
                }
            });
        }
        let source = |(finding, value): &(&Finding, &str)| {
            let known = finding.keys.iter().find_map(|key| self.keys.get(key).copied());
            let at = known.or_else(|| *wanted.get(&compact(value))?)?;
            Some(self.references.texts[at].0)
        };
        findings.iter().map(source).collect()
    }
}

/// Calls `visit` with each run of consecutive words of `text` that is at most `longest` bytes long,
/// in lower case and without the characters between the words.
fn each_word_run(text: &str, longest: usize, mut visit: impl FnMut(&str)) {
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut joined = String::with_capacity(longest);
    for first in 0..words.len() {
        joined.clear();
        for word in &words[first..] {
            if joined.len() + word.len() > longest {
                break;
            }
            joined.push_str(word);
            visit(&joined);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_value_is_found_however_it_is_written() {
        let scanner = Scanner::new(&BTreeMap::new()).unwrap();
        let seed = |number| ReferenceId { source: ReferenceSource::Seed, number };
        let references = ReferenceTexts {
            texts: vec![
                (seed(1), "write to Anna@Example.org"),
                (seed(2), "reach us at (030) 901820"),
                (seed(3), "account de89370400440532013000"),
                (seed(4), "our server is 10.20.30.40"),
                (seed(5), "number 5 1 2 3 4 5 6 7 8, call (212) 555-0143"),
                (
                    ReferenceId { source: ReferenceSource::Description, number: 1 },
                    "mail b@example.org",
                ),
            ],
        };
        let values = ReferenceValues::of(&references, &scanner);
        let source = |text: &str| {
            let findings = scanner.find(text);
            assert_eq!(findings.len(), 1, "{text}: {findings:?}");
            let value = &text[findings[0].span.clone()];
            values.sources(&[(&findings[0], value)])[0].map(|id| id.to_string())
        };
        let seed = |number: usize| Some(format!("seed {number}"));
        assert_eq!(source("ANNA@EXAMPLE.ORG"), seed(1));
        assert_eq!(source("+49 30 901820"), seed(2), "the same line from abroad");
        assert_eq!(source("DE89 3704 0044 0532 0130 00"), seed(3));
        assert_eq!(source("+49 40 30901820"), None, "another area");
        assert_eq!(source("10.20.30.40"), seed(4));
        assert_eq!(source("102.03.0.40".replace("03", "3").as_str()), None, "other dots");
        assert_eq!(source("ssn 512-34-5678"), seed(5), "where no kind recognises it");
        assert_eq!(source("b@example.org"), Some("class 1".to_owned()));
        assert_eq!(source("c@example.org"), None);
        assert_eq!(source("call (646) 555-0143"), None, "the same line elsewhere");
        assert_eq!(source("call +1 212 555 0143"), seed(5));
    }
}
