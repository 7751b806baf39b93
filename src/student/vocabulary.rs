//! A tokenizer for the older BERTs, whose folders hold `vocab.txt` and no `tokenizer.json`.
//!
//! One word per line, its number the line's. How text is cleaned before it is cut into words stands
//! in `tokenizer_config.json`; where that says nothing, the defaults of `transformers`'
//! `BertTokenizer` hold: lower case, accents stripped with it, Chinese characters apart.

use serde_json::{Map, Value};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::{Result, StudentError};

/// The bytes of the `tokenizer.json` that says the same as `vocab.txt` and `tokenizer_config.json`.
///
/// # Errors
/// A vocabulary that is no UTF-8, or lacks one of the tokens that BERT puts in itself.
pub(super) fn tokenizer(words: &[u8], settings: Option<&[u8]>, origin: &str) -> Result<Vec<u8>> {
    let fault = |message: String| StudentError::Tokenizer { origin: origin.to_owned(), message };
    let strange = |error: &dyn std::fmt::Display| fault(format!("made from vocab.txt: {error}"));
    let ids = WordPiece::read_bytes(words).map_err(|error| strange(&error))?;
    let id = |token: &str| {
        ids.get(token).copied().ok_or_else(|| {
            fault(format!(
                "there is none, and vocab.txt has no {token}\nhint: take the tokenizer from the model's own folder"
            ))
        })
    };
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let (_, cls, sep) = (id("[UNK]")?, id("[CLS]")?, id("[SEP]")?);
    let present = special.iter().filter(|token| ids.contains_key(**token));
    let present = present.map(|&token| AddedToken::from(token, true)).collect::<Vec<_>>();
    let settings = match settings {
        Some(bytes) => serde_json::from_slice::<Map<String, Value>>(bytes)
            .map_err(|error| fault(format!("made from tokenizer_config.json: {error}")))?,
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

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlost\ncard\n##s\nCard\nbébé\nbebe\n";

    fn ids(settings: Option<&str>, text: &str) -> Vec<u32> {
        let json = tokenizer(WORDS.as_bytes(), settings.map(str::as_bytes), "x").unwrap();
        let tokenizer = tokens::read(&json, "x").unwrap();
        let limited = tokens::limited(&tokenizer, 16, "x").unwrap();
        tokens::tokenise(&limited, &[text], 11, "x").unwrap().remove(0)
    }

    #[test]
    fn words_are_cut_cleaned_and_framed_as_bert_does() {
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
        let error = tokenizer(b"[UNK]\n[CLS]\nword\n", None, "m").unwrap_err().to_string();
        assert!(error.contains("vocab.txt has no [SEP]\nhint: "), "{error}");
        assert!(tokenizer(b"\xff\n", None, "m").is_err());
    }
}
