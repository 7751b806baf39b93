//! What a `tokenizer.json` may do, checked before any text meets it.
//!
//! The file is a small program: its normaliser may replace each letter by a megabyte, six times in
//! a row, and its word model may take a cubic time for a long word. What it may make of a text is
//! bounded here; the panics of the parser are caught in `tokens`.

use serde_json::Value;

use super::error::Fault;
use crate::printable::excerpt;

/// Bytes that a normaliser may make of one byte. NFKC makes 11 of 1 at most, by itself.
const MAX_GROWTH: usize = 64;
/// WordPiece tries all beginnings of all ends of a word: BERT's limit is 100 letters.
const MAX_WORD_CHARS: u64 = 1000;
/// Sequences inside sequences.
const MAX_DEPTH: usize = 8;

const FETCH: &str = "take tokenizer.json from the model's own folder";

/// Checks the normaliser and the word model of a tokenizer.
///
/// # Errors
/// Names the part that has no bound.
pub(super) fn check(tokenizer: &Value) -> Result<(), Fault> {
    let growth = tokenizer.get("normalizer").map_or(Some(1), |part| growth(part, 0));
    if growth.is_none_or(|growth| growth > MAX_GROWTH) {
        return Err(Fault::with_hint(
            format!("its normalizer can expand one byte to more than {MAX_GROWTH}"),
            FETCH,
        ));
    }
    let most = tokenizer.pointer("/model/max_input_chars_per_word").and_then(Value::as_u64);
    match most.filter(|most| *most > MAX_WORD_CHARS) {
        Some(most) => Err(Fault::with_hint(
            format!("its max_input_chars_per_word is {most}; at most {MAX_WORD_CHARS} are allowed"),
            FETCH,
        )),
        None => Ok(()),
    }
}

/// How many bytes a normaliser may make of one; `None` where there is no bound.
fn growth(part: &Value, depth: usize) -> Option<usize> {
    if depth > MAX_DEPTH {
        return None;
    }
    let length = |key: &str| part.get(key).and_then(Value::as_str).map_or(0, str::len);
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "Sequence" => {
            let parts = part.get("normalizers").and_then(Value::as_array)?;
            parts.iter().try_fold(1, |all: usize, part| all.checked_mul(growth(part, depth + 1)?))
        }
        "Replace" => {
            let content = length("content");
            match part.pointer("/pattern/String").and_then(Value::as_str) {
                Some("") => None,
                Some(pattern) => Some(content.div_ceil(pattern.len()).max(1)),
                // It may match nothing, between any two letters.
                None => content.checked_add(1),
            }
        }
        "Prepend" => length("prepend").checked_add(1),
        "ByteLevel" => Some(2),
        "Precompiled" => longest_replacement(part.get("precompiled_charsmap")?.as_str()?),
        _ => Some(1),
    }
}

/// The longest text by which a compiled map replaces a character. The map is, in Base64: the length
/// of a trie, the trie, and the texts, each ended by a zero byte.
fn longest_replacement(map: &str) -> Option<usize> {
    let bytes = base64(map)?;
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let texts = rest.get(u32::from_le_bytes(*length) as usize..)?;
    texts.split(|byte| *byte == 0).map(<[u8]>::len).max().map(|longest| longest.max(1))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(digit(byte)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// The fault of a tokenizer whose parser or whose use panics.
pub(super) fn panicked(what: &str) -> Fault {
    Fault::with_hint(format!("it cannot be used: {what}"), FETCH)
}

/// The fault of a tokenizer that cannot be parsed, or that fails on a text.
pub(super) fn failed(error: &dyn std::fmt::Display) -> Fault {
    Fault::with_hint(excerpt(&error.to_string()), FETCH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn normalisers_that_expand_without_bound_are_refused() {
        let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
        let bomb = replace(json!({"String": "a"}), &"a".repeat(100));
        let ten = replace(json!({"String": "a"}), "aaaaaaaaaa");
        let sequence = |parts: Vec<Value>| json!({"type": "Sequence", "normalizers": parts});
        let nested = (0..20).fold(json!({"type": "NFC"}), |inner, _| sequence(vec![inner]));
        // An empty trie and one text of 200 bytes.
        let map = format!("AAAAA{}", "B".repeat(267));
        for normalizer in [
            bomb.clone(),
            sequence(vec![ten.clone(), ten.clone()]),
            replace(json!({"Regex": ""}), &"a".repeat(100)),
            replace(json!({"String": ""}), "a"),
            nested,
            json!({"type": "Precompiled", "precompiled_charsmap": "//8AAAAA"}),
            json!({"type": "Precompiled", "precompiled_charsmap": map}),
        ] {
            let error = check(&json!({"normalizer": normalizer})).unwrap_err().to_string();
            assert!(error.contains("normalizer can expand"), "{normalizer}: {error}");
        }
        for normalizer in [
            Value::Null,
            json!({"type": "BertNormalizer", "lowercase": true}),
            sequence(vec![ten, json!({"type": "NFKC"}), replace(json!({"Regex": " {2,}"}), " ")]),
            replace(json!({"String": " "}), "\u{2581}"),
        ] {
            check(&json!({"normalizer": normalizer})).unwrap();
        }
    }

    #[test]
    fn long_words_are_bounded() {
        let model =
            |most: u64| json!({"model": {"type": "WordPiece", "max_input_chars_per_word": most}});
        check(&model(100)).unwrap();
        let error = check(&model(1_000_000_000)).unwrap_err().to_string();
        assert!(error.contains("max_input_chars_per_word is 1000000000"), "{error}");
    }

    #[test]
    fn base64_is_decoded() {
        assert_eq!(base64("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(base64("//8AAAAA").unwrap(), [255, 255, 0, 0, 0, 0]);
        assert_eq!(base64("a b"), None);
    }
}
