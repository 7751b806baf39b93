//! The section on personal data and copied wording.

use minijinja::{Value, context};

use super::super::number::{count, counted, listed};
use crate::{
    audit::{CopiedText, HowCopied, Nearest, PrivateValue},
    report::Report,
};

/// Values and texts listed; the JSON contains all of them.
const LISTED: usize = 100;

pub(super) fn privacy(report: &Report) -> Option<Value> {
    let found = report.privacy.as_ref()?;
    let kinds: Vec<Value> = found
        .kinds
        .iter()
        .map(|kind| {
            context! {
                name => kind.kind,
                leaks => count(kind.leaks),
                leaked => kind.leaks > 0,
                phantoms => count(kind.phantoms),
            }
        })
        .collect();
    let compared = found.compared;
    let against: Vec<String> =
        [("seed", compared.seeds), ("pool text", compared.pool), ("test text", compared.test)]
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(noun, n)| counted(n, noun))
            .collect();
    let copies = found.copies;
    let degrees = [
        ("Identical", copies.exact),
        ("Identical but for letter case and punctuation", copies.normalised),
        ("At least eight consecutive words", copies.shared),
    ];
    Some(context! {
        texts => counted(found.texts, "text"),
        against => listed(&against),
        kinds,
        redacted => found.redacted,
        copies => degrees.map(|(name, n)| context! { name, n => count(n), some => n > 0 }).to_vec(),
        longest => (copies.longest > 0).then(|| count(copies.longest)),
        nearest => found.nearest.as_ref().map(nearest),
        values => found.findings.iter().take(LISTED).map(value).collect::<Vec<_>>(),
        more_values => more(found.findings.len()),
        copied => found.copied.iter().take(LISTED).map(copied).collect::<Vec<_>>(),
        more_copied => more(found.copied.len()),
    })
}

fn more(all: usize) -> Option<String> {
    all.checked_sub(LISTED).filter(|more| *more > 0).map(|more| count(more as u64))
}

fn value(value: &PrivateValue) -> Value {
    context! { place => place(&value.file, value.line), kind => value.kind, value => value.value, source => value.source }
}

fn copied(text: &CopiedText) -> Value {
    let how = match (text.how, text.words) {
        (HowCopied::Exact, _) => "identical".to_owned(),
        (HowCopied::Normalised, _) => "identical but for letter case and punctuation".to_owned(),
        (HowCopied::Words, words) => format!("{} consecutive words", count(words.unwrap_or(0))),
    };
    context! { place => place(&text.file, text.line), how, source => text.source }
}

fn nearest(nearest: &Nearest) -> Value {
    let name = |share: f64| match share {
        share if share <= 0.0 => "minimum".to_owned(),
        share if share >= 1.0 => "maximum".to_owned(),
        share => format!("{:.0}\u{202f}%", share * 100.0),
    };
    let quantiles: Vec<Value> = nearest
        .quantiles
        .iter()
        .map(|(share, cosine)| context! { name => name(*share), cosine => format!("{cosine:.2}") })
        .collect();
    let few: Vec<Value> = nearest
        .few
        .iter()
        .map(|near| {
            context! {
                place => place(&near.file, near.line),
                cosine => format!("{:.3}", near.cosine),
                source => near.source,
            }
        })
        .collect();
    context! { of => count(nearest.compared_with), quantiles, few }
}

/// `train.jsonl:12`.
fn place(file: &str, line: usize) -> String {
    format!("{file}:{line}")
}
