//! A tokenizer for older BERTs, which come with `vocab.txt` instead of `tokenizer.json`.
//!
//! `vocab.txt` holds one word per line; the line number is its id. Its companions say how text is
//! normalised, what the special tokens are called and which tokens were added; the defaults are
//! those of `transformers`' `BertTokenizer`: lower case, which strips accents, and Chinese
//! characters as separate words.

use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, Tokenizer};

use super::{
    Result, StudentError,
    companions::{self, Companions, text_or},
    error::Fault,
};
use crate::{model_file, printable::excerpt};

/// The bytes of the `tokenizer.json` that is equivalent to `vocab.txt` and its companions.
///
/// # Errors
/// The vocabulary is not UTF-8, lacks one of BERT's special tokens, or the ids of the added tokens
/// do not follow it.
pub(super) fn tokenizer(words: &[u8], companions: &Companions, origin: &str) -> Result<Vec<u8>> {
    let fault = |fault: Fault| StudentError::Tokenizer { origin: origin.to_owned(), fault };
    let strange = |error: &dyn std::fmt::Display| {
        fault(Fault::new(format!("it cannot be made from vocab.txt: {error}")))
    };
    if let Some(it) = model_file::not_a_model(words) {
        return Err(fault(Fault::with_hint(format!("vocab.txt: {}", it.message), it.hint)));
    }
    let ids = WordPiece::read_bytes(words).map_err(|error| strange(&error))?;
    let id = |token: &str| {
        ids.get(token).copied().ok_or_else(|| {
            fault(Fault::with_hint(
                format!("it is missing, and vocab.txt has no {token}"),
                "take the tokenizer from the model's own folder",
            ))
        })
    };
    let unk = text_or(&companions.unk, "[UNK]");
    let (cls, sep) = (text_or(&companions.cls, "[CLS]"), text_or(&companions.sep, "[SEP]"));
    let (_, cls_id, sep_id) = (id(unk)?, id(cls)?, id(sep)?);
    let special = ["[PAD]", unk, cls, sep, "[MASK]"];
    let present = special.iter().filter(|token| ids.contains_key(**token));
    let present = present.map(|&token| AddedToken::from(token, true)).collect::<Vec<_>>();
    let model = WordPiece::builder()
        .vocab(ids.clone())
        .unk_token(unk.to_owned())
        .build()
        .map_err(|error| strange(&error))?;
    let ends = companions::template((cls, cls_id), (sep, sep_id)).map_err(fault)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(
            true,
            companions.chinese_chars.unwrap_or(true),
            companions.strip_accents,
            companions.lower_case.unwrap_or(true),
        )))
        .map_err(|error| strange(&error))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(ends));
    tokenizer.add_special_tokens(present).map_err(|error| strange(&error))?;
    for (id, token) in &companions.added {
        // New tokens get the next free id; those of the vocabulary keep theirs.
        tokenizer.add_tokens([token.clone()]).map_err(|error| strange(&error))?;
        if tokenizer.token_to_id(&token.content) != Some(*id) {
            let token = excerpt(&token.content);
            return Err(fault(Fault::with_hint(
                format!(
                    "the added token \"{token}\" has the id {id}, which does not follow vocab.txt"
                ),
                "take vocab.txt and added_tokens.json from the same model",
            )));
        }
    }
    tokenizer.to_string(false).map(String::into_bytes).map_err(|error| strange(&error))
}

#[cfg(test)]
mod tests {
    use super::super::tokens;
    use super::*;
    use crate::hint::Hint;

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlost\ncard\n##s\nCard\nbébé\nbebe\n";

    fn companions(settings: Option<&str>, added: &str) -> Companions {
        let files = [("tokenizer_config.json", settings), ("added_tokens.json", Some(added))];
        let files = files
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), text?.as_bytes().to_vec())));
        Companions::read(&files.collect()).unwrap()
    }

    fn build(settings: Option<&str>, added: &str) -> Result<Vec<u8>> {
        tokenizer(WORDS.as_bytes(), &companions(settings, added), "x")
    }

    fn ids_with(settings: Option<&str>, added: &str, text: &str) -> Vec<u32> {
        let json = build(settings, added).unwrap();
        let mut tokenizer = tokens::read(&json, "x").unwrap();
        let changed = companions(settings, added).agree(&mut tokenizer, Some(WORDS.as_bytes()));
        assert!(!changed.unwrap());
        let limited = tokens::limited(&tokenizer, 16, "x").unwrap();
        tokens::tokenise(&limited, &[text], 13, "x").unwrap().remove(0).ids
    }

    fn ids(settings: Option<&str>, text: &str) -> Vec<u32> {
        ids_with(settings, "{}", text)
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
    fn added_tokens_are_honoured() {
        // As transformers 5.24 reads the same files.
        let added = r#"{"[NAME]": 11, "covid19": 12}"#;
        assert_eq!(ids_with(None, added, "[NAME] lost covid19 cards"), [2, 11, 5, 12, 6, 7, 3]);
        let decoder = r#"{"added_tokens_decoder": {"0": {"content": "[PAD]", "special": true},
            "11": {"content": "[NAME]", "special": true}}}"#;
        assert_eq!(ids_with(Some(decoder), "{}", "[NAME] lost"), [2, 11, 5, 3]);
        let error = build(None, r#"{"[NAME]": 17}"#).unwrap_err().to_string();
        assert!(error.contains("\"[NAME]\" has the id 17"), "{error}");
    }

    #[test]
    fn special_tokens_may_have_other_names() {
        let names = r#"{"cls_token": "lost", "sep_token": {"content": "card"}}"#;
        assert_eq!(ids(Some(names), "bébé"), [5, 10, 6]);
    }

    #[test]
    fn a_vocabulary_without_the_special_tokens_is_refused() {
        let none = Companions::default();
        let error = tokenizer(b"[UNK]\n[CLS]\nword\n", &none, "m").unwrap_err();
        assert!(error.to_string().contains("vocab.txt has no [SEP]"), "{error}");
        assert!(error.hint().is_some());
        assert!(tokenizer(b"\xff\n", &none, "m").is_err());
    }
}
