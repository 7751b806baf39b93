//! Text of files and models, made safe to print.
//!
//! A name in a model file, a value in a `config.json` or a reply of a teacher may contain escape
//! sequences, which set a terminal's title, move its cursor or hide what was printed before; marks
//! that reverse the direction of writing change what a reader sees. [`printable`] escapes both. The
//! command line prints everything through it, so that no message can be forgotten. [`excerpt`] is
//! for a single value inside a message: it also stays on its line and has a limited length.

use std::{borrow::Cow, fmt::Write as _};

/// Longer values, inside a message, lose their middle.
const MAX_EXCERPT_CHARS: usize = 300;
/// Characters kept at either end.
const KEPT_CHARS: usize = 120;

/// `text` with every character escaped that controls a terminal or the direction of writing; line
/// feeds and tabs stay.
///
/// The escapes are those of JSON (`\u001b`), so that JSON remains JSON, of the same content.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    push_escaped(&mut safe, text, is_unsafe);
    Cow::Owned(safe)
}

/// `text` on one line and of limited length, for a value inside a message.
pub(crate) fn excerpt(text: &str) -> String {
    let unsafe_or_break = |c: char| c.is_control() || is_unsafe(c);
    let mut safe = String::new();
    if text.chars().nth(MAX_EXCERPT_CHARS).is_none() {
        push_escaped(&mut safe, text, unsafe_or_break);
        return safe;
    }
    let byte = |(at, _): (usize, char)| at;
    let start = text.char_indices().nth(KEPT_CHARS).map_or(text.len(), byte);
    let end = text.char_indices().nth_back(KEPT_CHARS - 1).map_or(0, byte);
    push_escaped(&mut safe, &text[..start], unsafe_or_break);
    safe.push('…');
    push_escaped(&mut safe, &text[end..], unsafe_or_break);
    safe
}

fn push_escaped(safe: &mut String, text: &str, is_unsafe: impl Fn(char) -> bool) {
    for c in text.chars() {
        match c {
            '\n' if is_unsafe(c) => safe.push_str("\\n"),
            '\t' if is_unsafe(c) => safe.push_str("\\t"),
            // All of them lie in the basic multilingual plane: four digits are enough.
            c if is_unsafe(c) => {
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
}

/// C0 and C1 controls but line feed and tab; line and paragraph separators; the marks, embeddings,
/// overrides and isolates of bidirectional text.
fn is_unsafe(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{061c}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_marks_of_direction_are_escaped_and_other_text_stays() {
        assert_eq!(printable("\u{1b}]0;PWNED\u{7}\u{1b}[2J"), "\\u001b]0;PWNED\\u0007\\u001b[2J");
        assert_eq!(printable("a\rb\u{9b}2J\u{202e}c"), "a\\u000db\\u009b2J\\u202ec");
        let plain = "error: \"Ärger\", it's 今天 👩‍👩‍👧\n\tC:\\data";
        assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain));
    }

    #[test]
    fn escaped_json_has_the_same_content() {
        let value = serde_json::json!({"\u{9b}a\u{202e}": "\u{1b}[2J\u{7f}\n"});
        let text = format!("{value:#}\n");
        let safe = printable(&text);
        assert!(!safe.contains(is_unsafe));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("a\nerror: b\t\u{1b}"), "a\\nerror: b\\t\\u001b");
        assert_eq!(excerpt("it's \"C:\\x\""), "it's \"C:\\x\"");
        let long = format!("ä{}\nß", "x".repeat(5_000_000));
        let short = excerpt(&long);
        assert!(short.chars().count() < 250 && short.starts_with('ä') && short.ends_with("\\nß"));
        assert_eq!(excerpt(&"é".repeat(300)).chars().count(), 300);
    }
}
