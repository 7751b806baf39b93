//! Rules that remove what surrounds a text.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    Context, SNAKE, announces_class, before_number, classes_with_shares, is_made_of_names,
    percentages, regex, words,
};
use crate::filter::junk::Junk;

/// The text without what the rule is about; `None` if it has nothing of it.
pub(in crate::filter::junk) type Cleaning = fn(&str, Context<'_>) -> Option<String>;

pub(in crate::filter::junk) const CLEANING: [(Junk, Cleaning); 11] = [
    (Junk::Quotes, without_quotes),
    (Junk::ListMark, without_bullet),
    (Junk::ListMark, without_number),
    (Junk::Markdown, without_heading),
    (Junk::Markdown, without_bold),
    (Junk::Markdown, without_underscores),
    (Junk::Markdown, |text, _| without_enclosing(text, &["`"])),
    (Junk::Markdown, |text, _| without_enclosing(text, &["***", "*", "_", "~~"])),
    (Junk::ClassNote, without_class_note),
    (Junk::Label, without_label),
    (Junk::Label, without_class_at_end),
];

const QUOTES: [(char, char); 6] =
    [('"', '"'), ('“', '”'), ('„', '“'), ('«', '»'), ('\'', '\''), ('‘', '’')];

fn without_quotes(text: &str, _: Context<'_>) -> Option<String> {
    let enclosed = QUOTES.iter().find_map(|&(open, close)| {
        let inner = text.strip_prefix(open)?.strip_suffix(close)?;
        // `"a" and "b"` has quotes at both ends and none around it.
        let quotes = |(at, c): (usize, char)| {
            (c == open || c == close) && !(is_apostrophe(c) && joins_letters(inner, at, c))
        };
        (!inner.char_indices().any(quotes)).then(|| inner.to_owned())
    });
    // A quote at one end that has no partner. After a number it means inches.
    let single = || {
        let last = |text: &&str| !text.ends_with(|c: char| c.is_ascii_digit());
        (text.matches('"').count() == 1)
            .then(|| text.strip_prefix('"').or_else(|| text.strip_suffix('"').filter(last)))
            .flatten()
            .map(str::to_owned)
    };
    enclosed.or_else(single)
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’')
}

fn joins_letters(text: &str, at: usize, c: char) -> bool {
    let before = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
    before && text[at + c.len_utf8()..].chars().next().is_some_and(char::is_alphanumeric)
}

/// Removes a bullet. Before a number it can be a minus sign.
fn without_bullet(text: &str, _: Context<'_>) -> Option<String> {
    let rest = text.strip_prefix(['-', '*', '•', '·', '▪', '‣', '►', '–'])?;
    let trimmed = rest.trim_start();
    let is_bullet = trimmed.len() < rest.len() && !trimmed.starts_with(|c: char| c.is_numeric());
    is_bullet.then(|| trimmed.to_owned())
}

/// Removes a number of a list, in a reply that numbers its lines twice.
fn without_number(text: &str, Context { place, .. }: Context<'_>) -> Option<String> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"^\(?(?:\d{1,3}|[A-Za-z])[.):]+\s+"));
    let number = NUMBER.find(text).filter(|_| place.is_numbered())?;
    Some(text[number.end()..].to_owned())
}

/// A single `#` is also a word for number and the mark of a comment.
fn without_heading(text: &str, _: Context<'_>) -> Option<String> {
    static HEADING: LazyLock<Regex> = LazyLock::new(|| regex(r"^#{2,6}\s+"));
    HEADING.find(text).map(|heading| text[heading.end()..].to_owned())
}

/// Removes pairs of `**` around words: neither powers, as in `2 ** 3`, nor hidden digits, as in
/// `****1234`. Spaces within the pair are those of a short heading at the start of the text.
fn without_bold(text: &str, _: Context<'_>) -> Option<String> {
    static BOLD: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r#"(^|[^\p{L}\p{N}*])\*\*((?:[^\s*(\[{][^*]*)?\p{L}(?:[^*]*[^\s*(\[{])?)\*\*($|[^*])"#,
        )
    });
    static SPACED: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^\*\*\s+([^\s*,]+(?:\s+[^\s*,]+){0,2})\s+\*\*(\s|$)"));
    let is_words = |found: &regex::Captures<'_>| found[1].contains(char::is_alphabetic);
    if SPACED.captures(text).as_ref().is_some_and(is_words) {
        return Some(SPACED.replace(text, "$1$2").into_owned());
    }
    BOLD.is_match(text).then(|| BOLD.replace_all(text, "$1$2$3").into_owned())
}

/// Removes a pair of `__` around several words. Around a single one, as in `__init__`, they
/// belong to a name.
fn without_underscores(text: &str, _: Context<'_>) -> Option<String> {
    static PAIR: LazyLock<Regex> =
        LazyLock::new(|| regex(r"(^|[\s(])__([^\s_](?:[^_]*[^\s_])?)__($|[\s).,;:!?])"));
    let pair = PAIR.captures(text).filter(|found| found[2].contains(char::is_whitespace))?;
    let whole = pair.get(0)?.range();
    Some(format!(
        "{}{}{}{}{}",
        &text[..whole.start],
        &pair[1],
        &pair[2],
        &pair[3],
        &text[whole.end..]
    ))
}

/// Removes one of `marks` from both ends of several words.
fn without_enclosing(text: &str, marks: &[&str]) -> Option<String> {
    let inner = |mark: &&str| text.strip_prefix(mark)?.strip_suffix(mark);
    let inner = marks.iter().find_map(inner)?;
    let is_phrase = inner.contains(char::is_whitespace)
        && !inner.contains(|c: char| text.starts_with(c))
        && !inner.starts_with(char::is_whitespace)
        && !inner.ends_with(char::is_whitespace);
    is_phrase.then(|| inner.to_owned())
}

/// Removes a share of the mix before the name of a class, and a bracket at either end that gives
/// one or names a class.
fn without_class_note(text: &str, context: Context<'_>) -> Option<String> {
    static SHARE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^(\d{1,3})(?:\.\d+)?\s?%\s*(?:[-–—:|]\s*)+"));
    if let Some(share) = SHARE.captures(text) {
        let rest = &text[share[0].len()..];
        let (words, classes) = (words(rest), &context.known.names[..context.known.classes]);
        let names = classes.iter().any(|name| !name.is_empty() && words.starts_with(name));
        if names && share[1].parse().is_ok_and(|number| context.place.is_share(number)) {
            return Some(rest.to_owned());
        }
    }
    const BRACKETS: [(char, char); 3] = [('(', ')'), ('[', ']'), ('{', '}')];
    BRACKETS.iter().find_map(|&(open, close)| {
        let end = text.trim_end_matches(['.', '?', '!']);
        let last = end.strip_suffix(close).and_then(|inner| inner.rsplit_once(open));
        let last = last.map(|(before, note)| (before.trim_end(), note));
        if let Some((before, _)) = last.filter(|(before, note)| {
            let is_apart = before.is_empty() || before.ends_with(['.', '?', '!', '…']);
            is_class_note(note, is_apart, context)
        }) {
            return Some(format!("{before}{}", &text[end.len()..]));
        }
        let (note, after) = text.strip_prefix(open)?.split_once(close)?;
        is_class_note(note, true, context).then(|| after.trim_start_matches([':', '-', ' ']).into())
    })
}

/// Whether a note gives a share of the mix, or holds nothing but names of classes. Within a
/// sentence, as in `they took 5 euros (fee)`, a name is a word like others, unless it is written as
/// nobody writes: `card_arrival`.
fn is_class_note(note: &str, is_apart: bool, context: Context<'_>) -> bool {
    const BESIDE: [&str; 4] = ["class", "and", "of", "the"];
    let is_name = |word: &String| {
        !BESIDE.contains(&word.as_str()) && !word.chars().all(|c| c.is_ascii_digit())
    };
    let named: Vec<String> = words(note).into_iter().filter(is_name).collect();
    let shares = percentages(note);
    if named.is_empty() {
        return is_apart
            && !shares.is_empty()
            && shares.iter().all(|(number, _)| context.place.is_share(*number));
    }
    let is_sure = is_apart
        || context.known.has_identifier_of_class(note)
        || classes_with_shares(note, context).len() > 1;
    is_sure && is_made_of_names(&named, context.known)
}

/// Removes a speaker or the name of a class before a colon, and the name of a class before a dash
/// or a bar.
fn without_label(text: &str, Context { known, .. }: Context<'_>) -> Option<String> {
    static SEPARATOR: LazyLock<Regex> = LazyLock::new(|| regex(r"\s+(?:\||-+|–|—)\s+"));
    static IDENTIFIER: LazyLock<Regex> =
        LazyLock::new(|| regex(&format!(r"^({SNAKE})(?::|\s+[-–—|])\s+")));
    if let Some(separator) = SEPARATOR.find(text)
        && known.is_class(&text[..separator.start()])
    {
        return Some(text[separator.end()..].to_owned());
    }
    // Beside classes with such names, another one is a class that the teacher made up.
    if known.has_identifiers
        && let Some(label) = IDENTIFIER.captures(text)
    {
        let rest = &text[label[0].len()..];
        let (name, rest_words) = (words(&label[1]), words(rest));
        if rest_words.len() > 1 && rest_words != name {
            return Some(rest.to_owned());
        }
    }
    let (label, rest) = text.split_once([':', '：'])?;
    let is_label = known.labels.iter().any(|known| known == before_number(&words(label)));
    // A label without a text is no label, but a name.
    (is_label && rest.contains(char::is_alphanumeric)).then(|| rest.to_owned())
}

/// Removes the name of a class at the end, behind a dash, a bar or a bullet, or announced as in
/// `Class: fee`. Behind a dash, a word in small letters can belong to the sentence, as in `they
/// took 5 euros - fee`.
fn without_class_at_end(text: &str, Context { known, .. }: Context<'_>) -> Option<String> {
    static SEPARATED: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"^(?<text>.*\S)\s+(?:(?:->|=>|→|\||•|·)\s+|(?<dash>-+|–|—)\s*)(?<name>\S.*)$")
    });
    static ANNOUNCED: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^(?<text>.*\S)\s*\b(?<kind>\p{L}+)\s*[:=]\s*(?<name>[^:=]+)$"));
    const SENTENCE_ENDS: [char; 6] = ['.', '?', '!', '…', '"', '”'];
    if let Some(found) = SEPARATED.captures(text)
        && known.is_class(&found["name"])
    {
        let is_sure = found.name("dash").is_none()
            || found["text"].ends_with(SENTENCE_ENDS)
            || found["name"].starts_with(char::is_uppercase)
            || known.has_identifier_of_class(&found["name"]);
        return is_sure.then(|| found["text"].to_owned());
    }
    const BEFORE: [char; 8] = [',', ';', '(', '[', '-', '–', '—', '|'];
    let found = ANNOUNCED.captures(text)?;
    let before = &found["text"];
    (announces_class(&found["kind"])
        && known.is_class(&found["name"])
        && (before.ends_with(SENTENCE_ENDS) || before.ends_with(BEFORE)))
    .then(|| before.trim_end_matches(BEFORE).to_owned())
}
