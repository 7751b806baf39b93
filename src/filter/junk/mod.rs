//! Junk: what small teachers write beside texts. Bare numbers, names of classes, sentences of the
//! prompt, Markdown, several texts in one line, words in another script.
//!
//! Every form is a [`Junk`] with a rule. A rule either cleans a text, which is kept without its
//! bracket or list mark, or drops it. A rule that is not sure keeps the text. What counts as junk
//! depends on the task: a form that one of its labelled examples has is legitimate, and its rule is
//! off ([`Reference`]). So numbers are no junk where the examples are numbers, and Markdown is none
//! where they are written in it.

mod echo;
mod known;
mod place;
mod reference;
mod rules;

use regex::Regex;
use serde::{Deserialize, Serialize};

pub(crate) use place::{Place, Reply};
pub(crate) use reference::Reference;

/// A form of junk, and the reason for which a text was cleaned or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Junk {
    /// Quotes around the whole text, or one that is never closed.
    Quotes,
    /// `- `, `2. `, `a) ` before the text.
    ListMark,
    /// `**bold**`, `## heading`.
    Markdown,
    /// A bracket that names classes or gives their shares, as in `… (85% a, 15% b)`.
    ClassNote,
    /// The name of a class, a speaker or the kind of text before a colon; a class at the end.
    Label,
    /// Neither letter nor number nor emoji, perhaps only after cleaning.
    Empty,
    /// Nothing but numbers: `12`, `28 %`, `question 1`.
    BareNumber,
    /// Only names of classes, or a class's description.
    ClassName,
    /// A class, or another name of the prompt, as programs write it: `card_arrival`. A text of
    /// nothing but such names.
    Identifier,
    /// A single word, where every example has several.
    SingleWord,
    /// Sentences of the prompt.
    Echo,
    /// The teacher speaks for itself: `As an AI language model, …`.
    Remark,
    /// Nothing but a request (`GET /api/…`), tags, a code fence or JSON.
    Code,
    /// The next number of the list or a second speaker within the line.
    SeveralTexts,
    /// Words in a script that the task does not use.
    OtherScript,
    /// `[Your Name]`, `<name>`, `{date}`, or nothing but `N/A`.
    Placeholder,
    /// The text breaks off: an open bracket, a comma at the end, the longest length.
    CutOff,
}

impl Junk {
    /// The reason as a short phrase. The ledger and `report.json` hold it: it must not change.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Quotes => "quotes around the text",
            Self::ListMark => "list mark",
            Self::Markdown => "Markdown",
            Self::ClassNote => "class or percentage in brackets",
            Self::Label => "label before the text",
            Self::Empty => "empty after cleaning",
            Self::BareNumber => "bare number",
            Self::ClassName => "name of a class",
            Self::Identifier => "identifier",
            Self::SingleWord => "single word",
            Self::Echo => "echo of the prompt",
            Self::Remark => "remark of the teacher",
            Self::Code => "code or markup",
            Self::SeveralTexts => "several texts in one",
            Self::OtherScript => "another script",
            Self::Placeholder => "placeholder",
            Self::CutOff => "cut off",
        }
    }
}

/// What becomes of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    /// The text without what did not belong to it, and what that was.
    Cleaned(String, Vec<Junk>),
    Drop(Junk),
}

/// Judges `text`, which stands at `place` in a reply.
pub(crate) fn judge(text: &str, place: &Place<'_>, reference: &Reference) -> Verdict {
    let (cleaned, removed) = clean(text, place, reference);
    if reference.echoes(&cleaned, place.prompt()) {
        return Verdict::Drop(Junk::Echo);
    }
    if let Some(junk) = reference.fault(&cleaned, place) {
        return Verdict::Drop(junk);
    }
    match removed.is_empty() {
        true => Verdict::Keep,
        false => Verdict::Cleaned(cleaned, removed),
    }
}

/// Compiles a pattern of this module.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant that tests compile")
}

/// `text` without what surrounds it, and what was removed. One layer can hide another, as in
/// `- "1. text (90%)"`, so the rules take turns until none applies; each one shortens the text.
fn clean(text: &str, place: &Place<'_>, reference: &Reference) -> (String, Vec<Junk>) {
    let mut text = text.trim().to_owned();
    let mut removed = Vec::new();
    loop {
        let Some((junk, shorter)) = reference.cleaned(&text, place) else {
            return (text, removed);
        };
        text = shorter.trim().to_owned();
        if !removed.contains(&junk) {
            removed.push(junk);
        }
    }
}

#[cfg(test)]
mod tests;
