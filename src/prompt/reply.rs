//! Takes a teacher's reply apart, strictly: a numbered list of exactly as many lines as were asked
//! for, or a named fault. What does not parse is counted and asked again, never repaired by guesswork.

use serde::{Deserialize, Serialize};

/// The reply is made to begin with this, so that no preamble can precede the list.
pub const LIST_CUE: &str = "1.";

/// Why a reply was refused.
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
    #[error("a line is empty but for its number")]
    Empty,
    #[error("a line is longer than any text of the task would be")]
    TooLong,
    #[error("a line stands in the list twice")]
    Repeated,
    #[error("the reply holds bytes that are no text")]
    NotText,
}

/// Parses a numbered list of exactly `count` texts of at most `longest` characters. `complete` says
/// whether the teacher ended the reply by itself (or was stopped after the last line) rather than
/// running out of tokens.
///
/// Each text loses its number, enclosing quotes and a trailing note such as `(85% A, 15% B)`.
///
/// # Errors
/// The first [`ReplyFault`] that is found.
pub fn parse_list(
    reply: &str,
    count: usize,
    longest: usize,
    complete: bool,
) -> Result<Vec<String>, ReplyFault> {
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
    let mut texts: Vec<String> = Vec::with_capacity(count);
    for (position, line) in lines.iter().enumerate() {
        let text = strip_number(line, position + 1).ok_or(ReplyFault::NotNumbered)?;
        let text = strip_quotes(strip_percent_note(text.trim()));
        if !text.chars().any(char::is_alphanumeric) {
            return Err(ReplyFault::Empty);
        }
        if text.chars().count() > longest {
            return Err(ReplyFault::TooLong);
        }
        if texts.iter().any(|other| other.eq_ignore_ascii_case(text)) {
            return Err(ReplyFault::Repeated);
        }
        texts.push(text.to_owned());
    }
    Ok(texts)
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

/// Drops a closing parenthesis that talks about percentages, as chat models like to add.
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
    fn a_clean_list_is_taken_as_it_is() {
        let reply = "1. my card is lost\n2. where is it?\n3. help";
        let texts = parse_list(reply, 3, 500, true).unwrap();
        assert_eq!(texts, ["my card is lost", "where is it?", "help"]);
    }

    #[test]
    fn ornaments_are_stripped() {
        let reply = "1) \"my card is lost\" (85% loss, 15% theft)\n\n2: “where (is) it?”\n";
        assert_eq!(parse_list(reply, 2, 500, true).unwrap(), ["my card is lost", "where (is) it?"]);
    }

    #[test]
    fn each_fault_is_named() {
        let fault = |reply, complete| parse_list(reply, 2, 500, complete).unwrap_err();
        assert_eq!(fault("1. a\n2. b", false), ReplyFault::CutOff);
        assert_eq!(fault("1. a", true), ReplyFault::TooFew);
        assert_eq!(fault("1. a\n2. b\n3. c", true), ReplyFault::TooMany);
        assert_eq!(fault("1. a\n- b", true), ReplyFault::NotNumbered);
        assert_eq!(fault("1. a\n2. \"\"", true), ReplyFault::Empty);
        assert_eq!(fault("1. a\n2. A", true), ReplyFault::Repeated);
        assert_eq!(fault("1. a\n2. \u{fffd}", true), ReplyFault::NotText);
        assert_eq!(fault(&format!("1. a\n2. {}", "x".repeat(501)), true), ReplyFault::TooLong);
    }
}
