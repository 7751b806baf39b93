//! Checks that a run folder is intact and that its training texts reveal nobody's data.
//!
//! A language model that sees the user's texts in its prompts may repeat parts of them. Training
//! texts are stored, shared, and memorised by a student, so they should be checked first. An audit
//! only reads:
//!
//! | file | question |
//! |---|---|
//! | `chain` | is the ledger unchanged, and are the files those that it recorded? |
//! | `reference_texts` | what are the user's own texts, and which of them contains a value? |
//! | `copies` | which training texts copy one of them, or share eight consecutive words with one? |
//! | `nearest` | how close are the training texts to them in embedding space? |
//! | [`pii`](crate::pii) | which addresses and numbers do they contain? |
//! | `redact` | the same texts with those masked |
//!
//! A value that occurs in a synthetic text and in a reference text is a *leak*. A value that occurs
//! only in synthetic texts is a *phantom*: the model invented it or memorised it from its own
//! training data, so it may still belong to somebody.

mod chain;
mod copies;
mod findings;
mod nearest;
pub(crate) mod redact;
mod reference_texts;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use chain::{Chain, ChainError, Changed, changed_files, faults, follow};
pub(crate) use findings::{
    Compared, CopiedText, Copies, HowCopied, KindCount, Near, Nearest, Privacy, PrivateValue,
};
pub(crate) use nearest::nearest;
pub(crate) use reference_texts::ReferenceTexts;

use crate::{
    dataset::SyntheticText,
    pii::{Finding, Scanner},
};
use copies::{Copied, CopyIndex};
use reference_texts::{ReferenceSource, ReferenceValues};

/// A synthetic text and its place in the run folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// The file's name in the run folder.
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

/// Scans `texts` for personal data and for wording copied from `references`. Values in the result
/// are masked unless `show` is set. Leaves out the embeddings, which [`nearest()`] compares.
pub(crate) fn scan(
    texts: &[Text<'_>],
    references: &ReferenceTexts<'_>,
    scanner: &Scanner,
    show: bool,
) -> Privacy {
    let found: Vec<(&Text<'_>, Finding)> = texts
        .iter()
        .flat_map(|text| scanner.find(text.text).into_iter().map(move |finding| (text, finding)))
        .collect();
    let values: Vec<(&Finding, &str)> =
        found.iter().map(|(text, finding)| (finding, &text.text[finding.span.clone()])).collect();
    let sources = ReferenceValues::of(references, scanner).sources(&values);
    let mut counts: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    let mut leaking = BTreeSet::new();
    let mut findings = Vec::with_capacity(found.len());
    for (((text, finding), (_, value)), source) in found.iter().zip(&values).zip(sources) {
        let (leaks, phantoms) = counts.entry(finding.kind).or_default();
        match source {
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
            source: source.map(|id| id.to_string()),
        });
    }
    let kinds = counts.into_iter().map(|(kind, (leaks, phantoms))| KindCount {
        kind: scanner.name(kind).to_owned(),
        leaks,
        phantoms,
    });
    let (copies, copied) = copied_texts(texts, references);
    Privacy {
        texts: texts.len() as u64,
        compared: Compared {
            seeds: references.count(ReferenceSource::Seed) as u64,
            pool: references.count(ReferenceSource::Pool) as u64,
            test: references.count(ReferenceSource::Test) as u64,
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

fn copied_texts(texts: &[Text<'_>], references: &ReferenceTexts<'_>) -> (Copies, Vec<CopiedText>) {
    let index = CopyIndex::of(references);
    let (mut copies, mut copied) = (Copies::default(), Vec::new());
    for text in texts {
        let Some((how, id)) = index.find(text.text) else { continue };
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
        let (file, source) = (text.file.to_owned(), id.to_string());
        copied.push(CopiedText { file, line: text.line, how, words, source });
    }
    (copies, copied)
}
