//! The files beside `tokenizer.json`: `tokenizer_config.json`, `special_tokens_map.json`,
//! `added_tokens.json`, `vocab.txt`.
//!
//! `transformers` lets them override or complete `tokenizer.json`, in ways that differ between its
//! versions. Here they complete it where it says nothing, and a contradiction is an error: one of
//! the two files is of another model, and nobody can tell which.
//!
//! Which of them names a special token is decided as in `transformers` 5.24:
//! `special_tokens_map.json` before `tokenizer_config.json`, unless the latter lists the tokens
//! (`added_tokens_decoder`): then the former is not read.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use tokenizers::{
    AddedToken, Model, ModelWrapper, NormalizerWrapper, Tokenizer, TruncationDirection,
    models::wordpiece::WordPiece, normalizers::BertNormalizer,
    processors::template::TemplateProcessing,
};

use super::{error::Fault, tokenizer_bounds::failed};
use crate::printable::excerpt;

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";
const WORDS: &str = "vocab.txt";
/// The key in `tokenizer_config.json` of all tokens beyond the vocabulary and all special ones.
const LISTED: &str = "added_tokens_decoder";

/// Hint of files that contradict each other.
const SAME_MODEL: &str =
    "take all files of the tokenizer from the same model, or correct the one that is wrong";

type Read<T> = Result<T, Fault>;

/// What the companions say; `None` where they say nothing.
#[derive(Debug, Default)]
pub(super) struct Companions {
    pub lower_case: Option<bool>,
    pub chinese_chars: Option<bool>,
    pub strip_accents: Option<bool>,
    /// The end of a text that is cut.
    pub side: Option<TruncationDirection>,
    pub cls: Option<SpecialToken>,
    pub sep: Option<SpecialToken>,
    pub unk: Option<SpecialToken>,
    /// Tokens beyond the vocabulary, by id.
    pub added: BTreeMap<u32, AddedToken>,
}

/// A special token, and the file that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpecialToken {
    text: String,
    file: &'static str,
}

impl Companions {
    /// Reads the companions among `files`.
    ///
    /// # Errors
    /// A file is not JSON, or a key has a value that no tokenizer understands.
    pub(super) fn read(files: &BTreeMap<String, Vec<u8>>) -> Read<Self> {
        let config = object(files, CONFIG)?;
        let special = object(files, SPECIAL)?;
        let flag = |key: &str| config.get(key).and_then(Value::as_bool);
        let side = match config.get("truncation_side") {
            None | Some(Value::Null) => None,
            Some(side) => match side.as_str() {
                Some("right") => Some(TruncationDirection::Right),
                Some("left") => Some(TruncationDirection::Left),
                _ => {
                    let side = excerpt(&side.to_string());
                    let message = format!("{CONFIG}: truncation_side is {side}");
                    return Err(Fault::with_hint(message, "it is \"right\" or \"left\""));
                }
            },
        };
        let named = [(SPECIAL, &special), (CONFIG, &config)];
        let named = &named[usize::from(config.contains_key(LISTED))..];
        let token = |key: &str| {
            let token = |&(file, map): &(_, &Map<String, Value>)| {
                Some(SpecialToken { text: text_of(map.get(key))?, file })
            };
            named.iter().find_map(token)
        };
        Ok(Self {
            lower_case: flag("do_lower_case"),
            chinese_chars: flag("tokenize_chinese_chars"),
            strip_accents: flag("strip_accents"),
            side,
            cls: token("cls_token"),
            sep: token("sep_token"),
            unk: token("unk_token"),
            added: added(&config, &object(files, ADDED)?)?,
        })
    }

    /// Completes `tokenizer`, which was read from `tokenizer.json`, by what only the companions
    /// say, and checks that they do not contradict it; `words` are the bytes of `vocab.txt`.
    /// Returns whether `tokenizer` was changed.
    ///
    /// # Errors
    /// Names the two files and what they say.
    pub(super) fn agree(&self, tokenizer: &mut Tokenizer, words: Option<&[u8]>) -> Read<bool> {
        if let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() {
            self.check_normalizer(normalizer)?;
        }
        for (id, token) in &self.added {
            let found = tokenizer.id_to_token(*id);
            // In a tokenizer of small letters, its text is stored in small letters.
            let read = tokenizer.encode_fast(token.content.as_str(), false);
            let is_read = read.is_ok_and(|read| read.get_ids() == [*id]);
            if !is_read && found.as_deref() != Some(token.content.as_str()) {
                let found =
                    found.map_or("no token".to_owned(), |it| format!("\"{}\"", excerpt(&it)));
                return contradiction(format!(
                    "it has {found} with the id {id}, {CONFIG} or {ADDED} \"{}\"",
                    excerpt(&token.content)
                ));
            }
        }
        if let (Some(words), ModelWrapper::WordPiece(model)) = (words, tokenizer.get_model()) {
            check_words(words, &model.get_vocab())?;
        }
        self.check_unknown(tokenizer)?;
        let framed = self.add_frame(tokenizer)?;
        self.check_frame(tokenizer)?;
        Ok(framed)
    }

    fn check_normalizer(&self, normalizer: &BertNormalizer) -> Read<()> {
        for (key, stated, own_key, own) in [
            ("do_lower_case", self.lower_case, "lowercase", Some(normalizer.lowercase)),
            (
                "tokenize_chinese_chars",
                self.chinese_chars,
                "handle_chinese_chars",
                Some(normalizer.handle_chinese_chars),
            ),
            // Without a value of its own, accents go where capitals do.
            (
                "strip_accents",
                self.strip_accents,
                "strip_accents",
                Some(normalizer.strip_accents.unwrap_or(normalizer.lowercase)),
            ),
        ] {
            if let (Some(stated), Some(own)) = (stated, own)
                && stated != own
            {
                return contradiction(format!(
                    "its normalizer has {own_key} = {own}, but {CONFIG} says {key} = {stated}"
                ));
            }
        }
        Ok(())
    }

    /// The names of the tokens before and after a text.
    fn frame(&self) -> (&str, &str) {
        (text_or(&self.cls, "[CLS]"), text_or(&self.sep, "[SEP]"))
    }

    /// The classes of `transformers` spell what the vocabulary lacks with their own `unk_token`.
    fn check_unknown(&self, tokenizer: &Tokenizer) -> Read<()> {
        let own = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => &model.unk_token,
            ModelWrapper::WordLevel(model) => &model.unk_token,
            _ => return Ok(()),
        };
        match &self.unk {
            Some(SpecialToken { text, file }) if text != own => contradiction(format!(
                "its model has the unk_token \"{}\", but {file} has \"{}\"",
                excerpt(own),
                excerpt(text)
            )),
            _ => Ok(()),
        }
    }

    /// Adds the tokens around a text if the file has no rule for them, as the classes of
    /// `transformers` do.
    fn add_frame(&self, tokenizer: &mut Tokenizer) -> Read<bool> {
        if tokenizer.get_post_processor().is_some() {
            return Ok(false);
        }
        let (cls, sep) = self.frame();
        let (Some(cls_id), Some(sep_id)) = (tokenizer.token_to_id(cls), tokenizer.token_to_id(sep))
        else {
            let message = format!("it has no {} or no {}", excerpt(cls), excerpt(sep));
            return Err(Fault::with_hint(message, SAME_MODEL));
        };
        tokenizer.with_post_processor(Some(template((cls, cls_id), (sep, sep_id))?));
        Ok(true)
    }

    /// A classifier reads the first token, and no text is longer than its limit: there is exactly
    /// one token before a text and one after it.
    fn check_frame(&self, tokenizer: &Tokenizer) -> Read<()> {
        let frame = tokenizer.encode_fast("", true).map_err(|error| failed(&error))?;
        let &[first, last] = frame.get_ids() else {
            let count = frame.len();
            let message = format!("it adds {count} tokens to a text, not one before and one after");
            return Err(Fault::with_hint(message, SAME_MODEL));
        };
        for (id, token, key) in [(first, &self.cls, "cls_token"), (last, &self.sep, "sep_token")] {
            let Some(SpecialToken { text, file }) = token else { continue };
            if tokenizer.token_to_id(text) != Some(id) {
                let own = excerpt(&tokenizer.id_to_token(id).unwrap_or_default());
                let token = excerpt(text);
                return contradiction(format!(
                    "it adds \"{own}\" to a text where {file} has the {key} \"{token}\""
                ));
            }
        }
        Ok(())
    }
}

/// The text of `token`, or else `default`.
pub(super) fn text_or<'a>(token: &'a Option<SpecialToken>, default: &'a str) -> &'a str {
    token.as_ref().map_or(default, |token| token.text.as_str())
}

/// `[CLS] text [SEP]`, with the names and ids of the two tokens.
pub(super) fn template(cls: (&str, u32), sep: (&str, u32)) -> Read<TemplateProcessing> {
    let (first, last) = (cls.0, sep.0);
    let pair = format!("{first} $A {last} $B:1 {last}:1");
    TemplateProcessing::builder()
        .try_single(format!("{first} $A {last}"))
        .and_then(|frame| frame.try_pair(pair))
        .map_err(|error| failed(&error))?
        .special_tokens(vec![cls, sep])
        .build()
        .map_err(|error| failed(&error))
}

fn contradiction<T>(message: String) -> Read<T> {
    Err(Fault::with_hint(message, SAME_MODEL))
}

fn object(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Read<Map<String, Value>> {
    let Some(bytes) = files.get(name) else { return Ok(Map::new()) };
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("{name}: {}", excerpt(&error.to_string()));
        Fault::with_hint(message, SAME_MODEL)
    })
}

/// The text of a token, which stands alone or among its properties.
fn text_of(token: Option<&Value>) -> Option<String> {
    let token = token?;
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

/// The tokens of `added_tokens_decoder` in `tokenizer_config.json`, or else of `added_tokens.json`.
fn added(config: &Map<String, Value>, old: &Map<String, Value>) -> Read<BTreeMap<u32, AddedToken>> {
    let wrong = |key: &str| {
        let message =
            format!("{CONFIG} or {ADDED}: the added token {} has no text or no id", excerpt(key));
        Fault::with_hint(message, SAME_MODEL)
    };
    let mut tokens = BTreeMap::new();
    if let Some(Value::Object(added)) = config.get(LISTED) {
        for (id, token) in added {
            let flag =
                |key: &str, default| token.get(key).and_then(Value::as_bool).unwrap_or(default);
            let content = text_of(Some(token)).ok_or_else(|| wrong(id))?;
            let special = flag("special", false);
            let token = AddedToken::from(content, special)
                .single_word(flag("single_word", false))
                .lstrip(flag("lstrip", false))
                .rstrip(flag("rstrip", false))
                .normalized(flag("normalized", !special));
            tokens.insert(id.parse().map_err(|_| wrong(id))?, token);
        }
        return Ok(tokens);
    }
    for (content, id) in old {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(content))?;
        tokens.insert(id, AddedToken::from(content.clone(), false));
    }
    Ok(tokens)
}

/// Checks that `vocab.txt` is the vocabulary of `tokenizer.json`.
fn check_words(words: &[u8], own: &HashMap<String, u32>) -> Read<()> {
    let listed =
        WordPiece::read_bytes(words).map_err(|error| failed(&format!("{WORDS}: {error}")))?;
    let mut differing = listed.iter().filter(|(word, id)| own.get(*word) != Some(*id));
    if let Some((word, id)) = differing.by_ref().min_by_key(|(_, id)| **id) {
        let own =
            own.get(word).map_or("has no such token".to_owned(), |id| format!("gives it {id}"));
        let word = excerpt(word);
        return contradiction(format!(
            "{WORDS} has \"{word}\" with the id {id}, tokenizer.json {own}"
        ));
    }
    match own.iter().filter(|(word, _)| !listed.contains_key(*word)).min_by_key(|(_, id)| **id) {
        Some((word, id)) => contradiction(format!(
            "it has \"{}\" with the id {id}, which {WORDS} lacks",
            excerpt(word)
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
