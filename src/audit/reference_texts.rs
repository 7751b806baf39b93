//! The customer's own texts: what a synthetic text may give away. Seeds (all that were labelled, not only
//! those that a run draws), the pool, the test set, and the classes' descriptions, which every prompt
//! shows.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use crate::{
    pii::{Finding, Scanner, squeezed},
    task::Task,
};

/// Where a text of the customer's comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Seed,
    Pool,
    Test,
    Description,
}

/// Which text: the source and its number there, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub source: Source,
    pub number: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Seed => "seed",
            Source::Pool => "pool",
            Source::Test => "test",
            Source::Description => "class",
        };
        write!(out, "{source} {}", self.number)
    }
}

/// The customer's texts, each with where it comes from.
pub(crate) struct ReferenceTexts<'a> {
    pub texts: Vec<(Origin, &'a str)>,
}

impl<'a> ReferenceTexts<'a> {
    pub(crate) fn of(task: &'a Task) -> Self {
        let descriptions = task.classes.iter().map(|class| class.description.as_str());
        let parts: [(Source, Vec<&str>); 4] = [
            (Source::Seed, task.seeds.iter().map(|item| item.text.as_str()).collect()),
            (Source::Pool, task.pool.iter().map(|item| item.text.as_str()).collect()),
            (Source::Test, task.test.iter().map(|item| item.text.as_str()).collect()),
            (Source::Description, descriptions.collect()),
        ];
        let texts = parts.into_iter().flat_map(|(source, texts)| {
            (1..).zip(texts).map(move |(number, text)| (Origin { source, number }, text))
        });
        Self { texts: texts.collect() }
    }

    /// How many texts come from `source`.
    pub(crate) fn count(&self, source: Source) -> usize {
        self.texts.iter().filter(|(origin, _)| origin.source == source).count()
    }

    /// The texts that somebody wrote: all but the descriptions.
    pub(crate) fn written(&self) -> impl Iterator<Item = (Origin, &'a str)> + '_ {
        self.texts.iter().filter(|(origin, _)| origin.source != Source::Description).copied()
    }
}

/// The first text of the customer's that holds a value.
pub(super) struct Values<'a> {
    customer: &'a ReferenceTexts<'a>,
    scanner: &'a Scanner,
    /// Values that were found, in the form in which they are compared.
    keys: HashMap<String, usize>,
}

/// Fewest letters and digits by which a value is looked for where no kind finds it: the customer may
/// have written it in another way.
const SURE: usize = 8;

impl<'a> Values<'a> {
    /// Reads all texts of the customer's.
    pub(super) fn of(customer: &'a ReferenceTexts<'a>, scanner: &'a Scanner) -> Self {
        let mut keys = HashMap::new();
        for (at, (_, text)) in customer.texts.iter().enumerate() {
            for key in scanner.find(text).into_iter().flat_map(|finding| finding.keys) {
                keys.entry(key).or_insert(at);
            }
        }
        Self { customer, scanner, keys }
    }

    /// For each of `findings`, with the value as it was written: which text of the customer's holds it,
    /// however it separates its groups. In one pass over the customer's texts.
    pub(super) fn origins(&self, findings: &[(&Finding, &str)]) -> Vec<Option<Origin>> {
        let mut wanted: HashMap<String, Option<usize>> = HashMap::new();
        for (finding, value) in findings {
            let value = squeezed(value);
            if !self.scanner.needs_punctuation(finding.kind) && value.chars().count() >= SURE {
                wanted.insert(value, None);
            }
        }
        let lengths: HashSet<usize> = wanted.keys().map(String::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for (at, (_, text)) in self.customer.texts.iter().enumerate() {
            each_run_on(text, longest, |run_on| {
                if let Some(found) =
                    lengths.contains(&run_on.len()).then(|| wanted.get_mut(run_on)).flatten()
                {
                    found.get_or_insert(at);
                }
            });
        }
        let origin = |(finding, value): &(&Finding, &str)| {
            let known = finding.keys.iter().find_map(|key| self.keys.get(key).copied());
            let at = known.or_else(|| *wanted.get(&squeezed(value))?)?;
            Some(self.customer.texts[at].0)
        };
        findings.iter().map(origin).collect()
    }
}

/// Calls `look` with each row of whole neighbouring words of `text`, in lower case and without what
/// separates them, up to `longest` bytes.
fn each_run_on(text: &str, longest: usize, mut look: impl FnMut(&str)) {
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut run_on = String::with_capacity(longest);
    for first in 0..words.len() {
        run_on.clear();
        for word in &words[first..] {
            if run_on.len() + word.len() > longest {
                break;
            }
            run_on.push_str(word);
            look(&run_on);
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
        let seed = |number| Origin { source: Source::Seed, number };
        let customer = ReferenceTexts {
            texts: vec![
                (seed(1), "write to Anna@Example.org"),
                (seed(2), "reach us at (030) 901820"),
                (seed(3), "account de89370400440532013000"),
                (seed(4), "our server is 10.20.30.40"),
                (seed(5), "number 5 1 2 3 4 5 6 7 8, call (212) 555-0143"),
                (Origin { source: Source::Description, number: 1 }, "mail b@example.org"),
            ],
        };
        let values = Values::of(&customer, &scanner);
        let origin = |text: &str| {
            let findings = scanner.find(text);
            assert_eq!(findings.len(), 1, "{text}: {findings:?}");
            let value = &text[findings[0].span.clone()];
            values.origins(&[(&findings[0], value)])[0].map(|origin| origin.to_string())
        };
        let seed = |number: usize| Some(format!("seed {number}"));
        assert_eq!(origin("ANNA@EXAMPLE.ORG"), seed(1));
        assert_eq!(origin("+49 30 901820"), seed(2), "the same line from abroad");
        assert_eq!(origin("DE89 3704 0044 0532 0130 00"), seed(3));
        assert_eq!(origin("+49 40 30901820"), None, "another area");
        assert_eq!(origin("10.20.30.40"), seed(4));
        assert_eq!(origin("102.03.0.40".replace("03", "3").as_str()), None, "other dots");
        assert_eq!(origin("ssn 512-34-5678"), seed(5), "where no kind sees it");
        assert_eq!(origin("b@example.org"), Some("class 1".to_owned()));
        assert_eq!(origin("c@example.org"), None);
        assert_eq!(origin("call (646) 555-0143"), None, "the same line elsewhere");
        assert_eq!(origin("call +1 212 555 0143"), seed(5));
    }
}
