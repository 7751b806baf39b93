//! Kinds that a task adds: regular expressions by name, under `[audit.patterns]` in task.toml. The
//! regex crate searches in linear time; the size of a compiled pattern is limited so that none
//! exhausts memory.

use std::borrow::Cow;

use regex::RegexBuilder;

use super::{CUSTOM, Find, Kind};

/// Largest size of a compiled pattern, in bytes.
const SIZE: usize = 1 << 20;
/// Most characters of a name, and so of a mask.
pub(super) const LONGEST_NAME: usize = 32;

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name:?}: {message}")]
pub(crate) struct PatternError {
    pub name: String,
    pub message: String,
}

/// Makes the kind `name`, which must differ from all `others`.
pub(super) fn kind(name: &str, pattern: &str, others: &[Kind]) -> Result<Kind, PatternError> {
    let wrong = |message: String| PatternError { name: name.to_owned(), message };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(letters) {
        return Err(wrong(format!(
            "a name consists of 1 to {LONGEST_NAME} lower-case letters, digits, `-` and `_`"
        )));
    }
    let mask = name.to_uppercase().replace('-', "_");
    if others.iter().any(|other| other.name == name || other.mask == mask) {
        return Err(wrong("a kind of this name exists already".to_owned()));
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
        mask: Cow::Owned(mask),
        rank: CUSTOM,
        find: Find::Custom(regex),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::pii::Scanner;

    #[test]
    fn a_pattern_is_used_and_an_invalid_one_is_an_error() {
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
