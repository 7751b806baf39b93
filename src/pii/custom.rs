//! Kinds that a task adds: `[audit] patterns` in task.toml, names with regular expressions. The regex
//! crate searches in linear time; its size is bounded, so that no pattern takes the memory.

use std::borrow::Cow;

use regex::RegexBuilder;

use super::{Find, Kind, OWN};

/// Bytes that a compiled pattern may take.
const SIZE: usize = 1 << 20;
/// Characters of a name; marks are looked for up to this length.
pub(super) const LONGEST_NAME: usize = 32;

/// Why a pattern is refused.
#[derive(Debug, thiserror::Error)]
#[error("{name:?}: {message}")]
pub(crate) struct PatternError {
    pub name: String,
    pub message: String,
}

/// The kind `name`, beside the `others`.
pub(super) fn kind(name: &str, pattern: &str, others: &[Kind]) -> Result<Kind, PatternError> {
    let wrong = |message: String| PatternError { name: name.to_owned(), message };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(letters) {
        return Err(wrong(format!(
            "a name has at most {LONGEST_NAME} lower-case letters, digits, `-` and `_`"
        )));
    }
    let mark = name.to_uppercase().replace('-', "_");
    if others.iter().any(|other| other.name == name || other.mark == mark) {
        return Err(wrong("that kind exists already".to_owned()));
    }
    let regex = RegexBuilder::new(pattern)
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    if regex.is_match("") {
        return Err(wrong("it matches the empty text, so it would match everywhere".to_owned()));
    }
    Ok(Kind {
        name: Cow::Owned(name.to_owned()),
        mark: Cow::Owned(mark),
        rank: OWN,
        find: Find::Own(regex),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::pii::Scanner;

    #[test]
    fn a_pattern_finds_and_a_bad_one_is_named() {
        let with = |name: &str, pattern: &str| {
            Scanner::new(&BTreeMap::from([(name.to_owned(), pattern.to_owned())]))
        };
        let scanner = with("staff-badge", r"\bEMP-\d{5}\b").unwrap();
        assert_eq!(scanner.redact("I am EMP-12345."), ("I am [STAFF_BADGE].".to_owned(), 1));
        for (name, pattern, wanted) in [
            ("badge", "(", "badge"),
            ("badge", "a*", "empty"),
            ("Badge", "x", "lower-case"),
            ("email", "x", "exists"),
            ("badge", r"\w{5000}\w{5000}", "size"),
        ] {
            let message = with(name, pattern).err().expect(pattern).to_string();
            assert!(message.contains(wanted), "{message}");
        }
    }
}
