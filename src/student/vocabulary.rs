//! A tokenizer for older BERTs, which come with `vocab.txt` instead of `tokenizer.json`.
//!
//! `vocab.txt` holds one word per line; the line number is its id. `tokenizer_config.json` says how
//! text is normalised; the defaults are those of `transformers`' `BertTokenizer`: lower case, which
//! strips accents, and Chinese characters as separate words.

use serde_json::{Map, Value};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::{Result, StudentError, error::Fault};

/// The bytes of the `tokenizer.json` that is equivalent to `vocab.txt` and `tokenizer_config.json`.
///
/// # Errors
/// The vocabulary is not UTF-8, or lacks one of BERT's special tokens.
pub(super) fn tokenizer(words: &[u8], settings: Option<&[u8]>, origin: &str) -> Result<Vec<u8>> {
    let fault = |fault: Fault| StudentError::Tokenizer { origin: origin.to_owned(), fault };
    let strange = |error: &dyn std::fmt::Display| {
        fault(Fault::new(format!("it cannot be made from vocab.txt: {error}")))
    };
    let ids = WordPiece::read_bytes(words).map_err(|error| strange(&error))?;
    let id = |token: &str| {
        ids.get(token).copied().ok_or_else(|| {
            fault(Fault::with_hint(
                format!("it is missing, and vocab.txt has no {token}"),
                "take the tokenizer from the model's own folder",
            ))
        })
    };
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let (_, cls, sep) = (id("[UNK]")?, id("[CLS]")?, id("[SEP]")?);
    let present = special.iter().filter(|token| ids.contains_key(**token));
    let present = present.map(|&token| AddedToken::from(token, true)).collect::<Vec<_>>();
    let settings = match settings {
        Some(bytes) => serde_json::from_slice::<Map<String, Value>>(bytes)
            .map_err(|error| fault(Fault::new(format!("tokenizer_config.json: {error}"))))?,
        None => Map::new(),
    };
    let flag = |key: &str| settings.get(key).and_then(Value::as_bool);
    let model = WordPiece::builder()
        .vocab(ids)
        .unk_token("[UNK]".to_owned())
        .build()
        .map_err(|error| strange(&error))?;
    let ends = TemplateProcessing::builder()
        .try_single("[CLS] $A [SEP]")
        .and_then(|ends| ends.try_pair("[CLS] $A [SEP] $B:1 [SEP]:1"))
        .map_err(|error| strange(&error))?
        .special_tokens(vec![("[CLS]", cls), ("[SEP]", sep)])
        .build()
        .map_err(|error| strange(&error))?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(
            true,
            flag("tokenize_chinese_chars").unwrap_or(true),
            flag("strip_accents"),
            flag("do_lower_case").unwrap_or(true),
        )))
        .map_err(|error| strange(&error))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(ends));
    tokenizer.add_special_tokens(present).map_err(|error| strange(&error))?;
    tokenizer.to_string(false).map(String::into_bytes).map_err(|error| strange(&error))
}

#[cfg(test)]
mod tests {
    use super::super::tokens;
    use super::*;
    use crate::hint::Hint;

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlost\ncard\n##s\nCard\nbébé\nbebe\n";

    fn ids(settings: Option<&str>, text: &str) -> Vec<u32> {
        let json = tokenizer(WORDS.as_bytes(), settings.map(str::as_bytes), "x").unwrap();
        let tokenizer = tokens::read(&json, "x").unwrap();
        let limited = tokens::limited(&tokenizer, 16, "x").unwrap();
        tokens::tokenise(&limited, &[text], 11, "x").unwrap().remove(0).ids
    }

    #[test]
    fn words_are_normalised_split_and_framed_as_bert_does() {
        assert_eq!(ids(None, "Lost  CARDS"), [2, 5, 6, 7, 3]);
        assert_eq!(ids(None, "Bébé"), [2, 10, 3]);
        assert_eq!(ids(None, "a [MASK]"), [2, 1, 4, 3]);
        // A cased model keeps both the case and the accents.
        let cased = Some(r#"{"do_lower_case": false}"#);
        assert_eq!(ids(cased, "Card bébé Bébé"), [2, 8, 9, 1, 3]);
        let bare = Some(r#"{"do_lower_case": false, "strip_accents": true}"#);
        assert_eq!(ids(bare, "bébé"), [2, 10, 3]);
    }

    #[test]
    fn a_vocabulary_without_the_special_tokens_is_refused() {
        let error = tokenizer(b"[UNK]\n[CLS]\nword\n", None, "m").unwrap_err();
        assert!(error.to_string().contains("vocab.txt has no [SEP]"), "{error}");
        assert!(error.hint().is_some());
        assert!(tokenizer(b"\xff\n", None, "m").is_err());
    }
}
