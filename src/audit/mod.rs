//! Whether a run is what it says, and whether what it trains on gives somebody away.
//!
//! A language model that is shown a customer's texts may write parts of them again. What is trained on is
//! kept, handed on, and learnt by a student, so before that somebody should look. An audit only reads:
//!
//! | room | what it asks |
//! |---|---|
//! | `chain` | is the ledger as it was written, and are the files those that it names? |
//! | `customer` | what are the customer's own texts, and which of them holds a value? |
//! | `copies` | which texts are a customer's, or share eight words in a row with one? |
//! | `nearest` | how near do they lie to one, by their embeddings? |
//! | [`pii`] | which addresses and numbers do they hold? |
//! | `redact` | the same texts without those |
//!
//! A value that stands in a synthetic text and in one of the customer's is a *leak*. One that stands in a
//! synthetic text alone is a *phantom*: the model made it up, or had it from what it was trained on;
//! it may still be somebody's.

mod chain;
mod copies;
mod findings;
mod nearest;
pub(crate) mod redact;
mod reference_texts;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use chain::{Chain, ChainError, Changed, changed_files, follow};
pub(crate) use findings::{
    Compared, CopiedText, Copies, HowCopied, KindCount, Near, Nearest, Privacy, PrivateValue,
};
pub(crate) use nearest::nearest;
pub(crate) use reference_texts::ReferenceTexts;

use crate::{
    dataset::SyntheticText,
    pii::{Finding, Scanner},
};
use copies::{Copied, Wording};
use reference_texts::{Source, Values};

/// A synthetic text and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// The name of the file in the run folder.
    pub file: &'a str,
    /// From 1.
    pub line: usize,
    pub text: &'a str,
}

impl<'a> Text<'a> {
    /// A line of the file `file`.
    pub(crate) fn of(file: &'a str, found: &'a SyntheticText) -> Self {
        Self { file, line: found.line, text: &found.text }
    }
}

/// Looks at `texts` for personal data and wording of the customer's; values are masked unless they are to
/// be shown. Embeddings are another matter: [`nearest`].
pub(crate) fn look(
    texts: &[Text<'_>],
    customer: &ReferenceTexts<'_>,
    scanner: &Scanner,
    show: bool,
) -> Privacy {
    let found: Vec<(&Text<'_>, Finding)> = texts
        .iter()
        .flat_map(|text| scanner.find(text.text).into_iter().map(move |finding| (text, finding)))
        .collect();
    let values: Vec<(&Finding, &str)> =
        found.iter().map(|(text, finding)| (finding, &text.text[finding.span.clone()])).collect();
    let origins = Values::of(customer, scanner).origins(&values);
    let mut counts: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    let mut leaking = BTreeSet::new();
    let mut findings = Vec::with_capacity(found.len());
    for (((text, finding), (_, value)), origin) in found.iter().zip(&values).zip(origins) {
        let (leaks, phantoms) = counts.entry(finding.kind).or_default();
        match origin {
            Some(_) => {
                *leaks += 1;
                leaking.insert((text.file, text.line));
            }
            None => *phantoms += 1,
        }
        findings.push(PrivateValue {
            file: text.file.to_owned(),
            line: text.line,
            kind: scanner.name(finding.kind).to_owned(),
            value: if show { (*value).to_owned() } else { scanner.masked(finding.kind, value) },
            source: origin.map(|origin| origin.to_string()),
        });
    }
    let kinds = counts.into_iter().map(|(kind, (leaks, phantoms))| KindCount {
        kind: scanner.name(kind).to_owned(),
        leaks,
        phantoms,
    });
    let (copies, copied) = wording(texts, customer);
    Privacy {
        texts: texts.len() as u64,
        compared: Compared {
            seeds: customer.count(Source::Seed) as u64,
            pool: customer.count(Source::Pool) as u64,
            test: customer.count(Source::Test) as u64,
        },
        kinds: kinds.collect(),
        leaking_texts: leaking.len() as u64,
        copies,
        nearest: None,
        findings,
        copied,
        redacted: false,
    }
}

fn wording(texts: &[Text<'_>], customer: &ReferenceTexts<'_>) -> (Copies, Vec<CopiedText>) {
    let wording = Wording::of(customer);
    let (mut copies, mut copied) = (Copies::default(), Vec::new());
    for text in texts {
        let Some((how, origin)) = wording.copied(text.text) else { continue };
        let (how, words) = match how {
            Copied::Exact => {
                copies.exact += 1;
                (HowCopied::Exact, None)
            }
            Copied::Normalised => {
                copies.normalised += 1;
                (HowCopied::Normalised, None)
            }
            Copied::Words(words) => {
                copies.shared += 1;
                copies.longest = copies.longest.max(words as u64);
                (HowCopied::Words, Some(words as u64))
            }
        };
        let (file, source) = (text.file.to_owned(), origin.to_string());
        copied.push(CopiedText { file, line: text.line, how, words, source });
    }
    (copies, copied)
}
