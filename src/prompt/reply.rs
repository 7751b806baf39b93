//! Parses a teacher's reply strictly: it is a numbered list of exactly the requested number of
//! lines, or it has a named fault. A faulty reply is counted and dropped, never repaired by
//! guessing; the next round makes new requests for the missing texts.

use serde::{Deserialize, Serialize};

/// Every reply is made to begin with this, so that no preamble can precede the list.
pub(crate) const LIST_CUE: &str = "1.";

/// Why a reply was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ReplyFault {
    #[error("the reply was cut off before the list was complete")]
    CutOff,
    #[error("the list has fewer lines than were asked for")]
    TooFew,
    #[error("the list has more lines than were asked for")]
    TooMany,
    #[error("a line does not begin with its number")]
    NotNumbered,
    #[error("a line has a number but no text")]
    Empty,
    #[error("a line is longer than `augment.longest` characters")]
    TooLong,
    #[error("a line appears twice in the list")]
    Repeated,
    #[error("the reply is not valid UTF-8")]
    NotText,
    #[error("a line does not end with one of the classes that were shown, or names several")]
    NoClass,
}

/// Parses a numbered list of exactly `count` texts of at most `longest` characters. `complete` is
/// true if the teacher ended the reply by itself (or was stopped after the last line), false if it
/// ran out of tokens.
///
/// The number, enclosing quotes and a trailing note such as `(85% A, 15% B)` are removed from each
/// text.
///
/// # Errors
/// The first [`ReplyFault`] found.
pub fn parse_list(
    reply: &str,
    count: usize,
    longest: usize,
    complete: bool,
) -> Result<Vec<String>, ReplyFault> {
    let texts = parse_list_as_written(reply, count, longest, complete)?;
    Ok(texts.iter().map(|text| bare(text).to_owned()).collect())
}

/// Like [`parse_list`], but nothing except the number is removed: [`bare`] removes the rest.
///
/// # Errors
/// The first [`ReplyFault`] found.
pub(crate) fn parse_list_as_written(
    reply: &str,
    count: usize,
    longest: usize,
    complete: bool,
) -> Result<Vec<String>, ReplyFault> {
    let mut texts: Vec<String> = Vec::with_capacity(count);
    for line in numbered_lines(reply, count, complete)? {
        let text = line?;
        check(text, longest)?;
        if is_among(text, texts.iter()) {
            return Err(ReplyFault::Repeated);
        }
        texts.push(text.to_owned());
    }
    Ok(texts)
}

/// What precedes the class name at the end of each line of a labelled reply.
const CLASS_MARK: &str = "(class: ";

/// Like [`parse_list`], for lines of the form `text (class: name)`. Returns each text with the
/// index of its class in `names`.
///
/// The name must match exactly. The text itself may not name a class: the student would learn the
/// label from those words.
///
/// # Errors
/// The first [`ReplyFault`] found.
pub fn parse_labelled_list(
    reply: &str,
    names: &[&str],
    count: usize,
    longest: usize,
    complete: bool,
) -> Result<Vec<(String, usize)>, ReplyFault> {
    let texts = parse_labelled_list_as_written(reply, names, count, longest, complete)?;
    Ok(texts.into_iter().map(|(text, class)| (bare(&text).to_owned(), class)).collect())
}

/// Like [`parse_labelled_list`], but nothing except number and class is removed.
///
/// # Errors
/// The first [`ReplyFault`] found.
pub(crate) fn parse_labelled_list_as_written(
    reply: &str,
    names: &[&str],
    count: usize,
    longest: usize,
    complete: bool,
) -> Result<Vec<(String, usize)>, ReplyFault> {
    let mut texts: Vec<(String, usize)> = Vec::with_capacity(count);
    for line in numbered_lines(reply, count, complete)? {
        let (text, class) = strip_class(line?, names).ok_or(ReplyFault::NoClass)?;
        check(text, longest)?;
        if text.contains(CLASS_MARK.trim_end()) {
            return Err(ReplyFault::NoClass);
        }
        if is_among(text, texts.iter().map(|(text, _)| text)) {
            return Err(ReplyFault::Repeated);
        }
        texts.push((text.to_owned(), class));
    }
    Ok(texts)
}

/// The `count` lines of a reply, without their numbers.
fn numbered_lines(
    reply: &str,
    count: usize,
    complete: bool,
) -> Result<impl Iterator<Item = Result<&str, ReplyFault>>, ReplyFault> {
    if reply.contains(char::REPLACEMENT_CHARACTER) {
        return Err(ReplyFault::NotText);
    }
    let lines: Vec<&str> = reply.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.len() > count {
        return Err(ReplyFault::TooMany);
    }
    if !complete {
        return Err(ReplyFault::CutOff);
    }
    if lines.len() < count {
        return Err(ReplyFault::TooFew);
    }
    let numbered = lines.into_iter().enumerate();
    Ok(numbered.map(|(position, line)| {
        strip_number(line, position + 1).map(str::trim).ok_or(ReplyFault::NotNumbered)
    }))
}

/// A line's text without enclosing quotes and a trailing note such as `(85% A, 15% B)`.
pub(crate) fn bare(text: &str) -> &str {
    strip_quotes(strip_percent_note(text))
}

fn check(text: &str, longest: usize) -> Result<(), ReplyFault> {
    let text = bare(text);
    // Emoji may be a text, punctuation is none.
    if text.chars().all(|c| c.is_whitespace() || c.is_ascii_punctuation()) {
        return Err(ReplyFault::Empty);
    }
    if text.chars().count() > longest {
        return Err(ReplyFault::TooLong);
    }
    Ok(())
}

fn is_among<'a>(text: &str, mut texts: impl Iterator<Item = &'a String>) -> bool {
    texts.any(|other| bare(other).eq_ignore_ascii_case(bare(text)))
}

/// A line without its class, and the index of that class in `names`.
fn strip_class<'a>(line: &'a str, names: &[&str]) -> Option<(&'a str, usize)> {
    let inner = line.strip_suffix(')')?;
    names.iter().enumerate().find_map(|(class, name)| {
        let text = inner.strip_suffix(name)?.strip_suffix(CLASS_MARK)?;
        Some((text.trim_end(), class))
    })
}

fn strip_number(line: &str, number: usize) -> Option<&str> {
    let rest = line.strip_prefix(&number.to_string())?;
    rest.strip_prefix(['.', ')', ':'])
}

fn strip_quotes(text: &str) -> &str {
    const PAIRS: [(char, char); 4] = [('"', '"'), ('“', '”'), ('\'', '\''), ('«', '»')];
    PAIRS
        .iter()
        .find_map(|&(open, close)| text.strip_prefix(open)?.strip_suffix(close))
        .map_or(text, str::trim)
}

/// Removes a trailing parenthesis about percentages, which chat models like to add.
fn strip_percent_note(text: &str) -> &str {
    match text.strip_suffix(')').and_then(|inner| inner.rsplit_once('(')) {
        Some((before, note)) if note.contains('%') => before.trim_end(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_list_is_parsed_unchanged() {
        let reply = "1. my card is lost\n2. where is it?\n3. help";
        let texts = parse_list(reply, 3, 500, true).unwrap();
        assert_eq!(texts, ["my card is lost", "where is it?", "help"]);
    }

    #[test]
    fn quotes_and_notes_are_stripped() {
        let reply = "1) \"my card is lost\" (85% loss, 15% theft)\n\n2: “where (is) it?”\n";
        let texts = parse_list(reply, 2, 500, true).unwrap();
        assert_eq!(texts, ["my card is lost", "where (is) it?"]);
        let texts = parse_list_as_written(reply, 2, 500, true).unwrap();
        assert_eq!(texts, ["\"my card is lost\" (85% loss, 15% theft)", "“where (is) it?”"]);
    }

    #[test]
    fn each_fault_is_named() {
        let fault = |reply, complete| parse_list(reply, 2, 500, complete).unwrap_err();
        assert_eq!(fault("1. a\n2. b", false), ReplyFault::CutOff);
        assert_eq!(fault("1. a", true), ReplyFault::TooFew);
        assert_eq!(fault("1. a\n2. b\n3. c", true), ReplyFault::TooMany);
        assert_eq!(fault("1. a\n- b", true), ReplyFault::NotNumbered);
        assert_eq!(fault("1. a\n2. \"\"", true), ReplyFault::Empty);
        assert_eq!(fault("1. a\n2.", true), ReplyFault::Empty);
        assert_eq!(fault("1. a\n2. A", true), ReplyFault::Repeated);
        assert_eq!(fault("1. a\n2. \u{fffd}", true), ReplyFault::NotText);
        assert_eq!(fault(&format!("1. a\n2. {}", "x".repeat(501)), true), ReplyFault::TooLong);
    }

    #[test]
    fn a_line_without_letters_is_a_text() {
        // Whether it is junk depends on the task: `filter::junk` judges it, line by line.
        assert_eq!(parse_list("1. 😀👍\n2. 🙂", 2, 500, true).unwrap(), ["😀👍", "🙂"]);
    }

    const NAMES: [&str; 3] = ["lost card", "PIN (new)", "lost"];

    fn labelled(reply: &str) -> Result<Vec<(String, usize)>, ReplyFault> {
        parse_labelled_list(reply, &NAMES, 2, 40, true)
    }

    #[test]
    fn lines_lose_their_classes() {
        let reply = "1. where is it? (class: lost)\n2. \"my (new) PIN\" (class: PIN (new))\n";
        let wanted = [("where is it?".to_owned(), 2), ("my (new) PIN".to_owned(), 1)];
        assert_eq!(labelled(reply).unwrap(), wanted);
        // A name that is the suffix of another is not mistaken for it.
        let reply = "1. gone (class: lost card)\n2. gone again (class: lost)";
        let classes: Vec<usize> =
            labelled(reply).unwrap().into_iter().map(|(_, class)| class).collect();
        assert_eq!(classes, [0, 2]);
    }

    #[test]
    fn a_line_without_a_class_or_with_two_is_refused() {
        let second = |line: &str| labelled(&format!("1. a (class: lost)\n{line}")).unwrap_err();
        for line in [
            "2. b",
            "2. b (class: found)",
            "2. b (class: Lost)",
            "2. b (class: lost card",
            "2. b (class: lost).",
            "2. b (class:lost)",
            "2. b (class: )",
            "2. b (lost)",
            "2. b (class: lost) (class: lost)",
            "2. say (class: lost card) or not (class: lost)",
        ] {
            assert_eq!(second(line), ReplyFault::NoClass, "{line}");
        }
        assert_eq!(second("2. (class: lost)"), ReplyFault::Empty);
        assert_eq!(second("2. \"\" (class: lost)"), ReplyFault::Empty);
        assert_eq!(second("2. A (class: lost card)"), ReplyFault::Repeated);
        assert_eq!(second("- b (class: lost)"), ReplyFault::NotNumbered);
        // The class does not count as text: 40 characters fit, 41 do not.
        let long = |count| format!("2. {} (class: PIN (new))", "x".repeat(count));
        assert_eq!(second(&long(41)), ReplyFault::TooLong);
        assert!(labelled(&format!("1. a (class: lost)\n{}", long(40))).is_ok());
    }
}
