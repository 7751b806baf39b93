//! Rules that remove what surrounds a text.

use std::sync::LazyLock;

use regex::Regex;

use super::{Context, classes_with_shares, is_made_of_names, percentages, regex, words};
use crate::filter::junk::Junk;

/// The text without what the rule is about; `None` if it has nothing of it.
pub(in crate::filter::junk) type Cleaning = fn(&str, Context<'_>) -> Option<String>;

pub(in crate::filter::junk) const CLEANING: [(Junk, Cleaning); 9] = [
    (Junk::Quotes, without_quotes),
    (Junk::ListMark, without_bullet),
    (Junk::ListMark, without_number),
    (Junk::Markdown, without_heading),
    (Junk::Markdown, without_bold),
    (Junk::Markdown, |text, _| without_enclosing(text, '`')),
    (Junk::Markdown, |text, _| without_enclosing(text, '*')),
    (Junk::ClassNote, without_class_note),
    (Junk::Label, without_label),
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
/// `****1234`.
fn without_bold(text: &str, _: Context<'_>) -> Option<String> {
    static BOLD: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r#"(^|[^\p{L}\p{N}*])\*\*((?:[^\s*(\[{][^*]*)?\p{L}(?:[^*]*[^\s*(\[{])?)\*\*($|[^*])"#,
        )
    });
    BOLD.is_match(text).then(|| BOLD.replace_all(text, "$1$2$3").into_owned())
}

/// Removes `mark` from both ends of several words.
fn without_enclosing(text: &str, mark: char) -> Option<String> {
    let inner = text.strip_prefix(mark)?.strip_suffix(mark)?;
    let is_phrase = inner.contains(char::is_whitespace)
        && !inner.contains(mark)
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
    let classes = &known.names[..known.classes];
    if let Some(separator) = SEPARATOR.find(text)
        && classes.contains(&words(&text[..separator.start()]))
    {
        return Some(text[separator.end()..].to_owned());
    }
    let (label, rest) = text.split_once([':', '：'])?;
    let mut label = words(label);
    if label.len() > 1 && label.last().is_some_and(|word| word.parse::<u32>().is_ok()) {
        label.pop();
    }
    let is_label = known.labels.contains(&label);
    // A label without a text is no label, but a name.
    (is_label && rest.contains(char::is_alphanumeric)).then(|| rest.to_owned())
}
