//! From texts to token ids, truncated to a maximum length.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use rayon::prelude::*;
use serde_json::Value;
use tokenizers::{
    Encoding, ModelWrapper, PostProcessor, PreTokenizerWrapper, Tokenizer, TruncationDirection,
    TruncationParams,
};

use super::{
    Result, StudentError,
    error::{Fault, TAKE_TOKENIZER_AND_CONFIG},
    tokenizer_bounds::{self, failed, panicked},
};
use crate::{caught::catch, model_file};

/// Minimum length: one token between the two special ones.
const SHORTEST: usize = 3;

/// Reads a `tokenizer.json`. Disables its padding and truncation: batches are packed, and the
/// length limit comes from the settings. The side on which it cuts stays, in
/// `Tokenizer::get_truncation`.
pub(super) fn read(bytes: &[u8], origin: &str) -> Result<Tokenizer> {
    let fault = |fault: Fault| StudentError::Tokenizer { origin: origin.to_owned(), fault };
    if let Some(it) = model_file::not_a_model(bytes) {
        return Err(fault(Fault::with_hint(it.message, it.hint)));
    }
    let json = serde_json::from_slice(bytes).map_err(|error| fault(failed(&error)))?;
    tokenizer_bounds::check(&json).map_err(fault)?;
    let tokenizer = catch(|| Tokenizer::from_bytes(bytes));
    let tokenizer = tokenizer.ok_or_else(|| fault(panicked("its parser fails")))?;
    let mut tokenizer = tokenizer.map_err(|error| fault(failed(&error)))?;
    tokenizer.with_padding(None);
    let side = side(&tokenizer);
    cut_on(&mut tokenizer, side, origin)?;
    // Words of no vocabulary, control characters, nothing: a tokenizer that fails on one of them
    // fails here and not after hours.
    let limited = limited(&tokenizer, PROBE_LENGTH, origin)?;
    for text in PROBES {
        limited.checked(text).map_err(fault)?;
    }
    Ok(tokenizer)
}

/// Longer than any probe, whatever is added to it.
const PROBE_LENGTH: usize = 1 << 20;
/// Texts on which every tokenizer must work.
const PROBES: [&str; 4] = ["", "Hello, world!", "\u{e000}\u{10ffff} \u{301}", "\u{0} \u{7f}\t"];

/// `model_max_length` of the `tokenizer_config.json` among `files`, if it states a limit that a
/// text can have: files without one hold 1e30.
pub(super) fn stated_limit(files: &BTreeMap<String, Vec<u8>>) -> Option<usize> {
    let config: Value = serde_json::from_slice(files.get("tokenizer_config.json")?).ok()?;
    let limit = config.get("model_max_length")?.as_u64()?;
    usize::try_from(limit).ok().filter(|limit| *limit >= SHORTEST)
}

/// The side on which the tokenizer cuts texts.
pub(super) fn side(tokenizer: &Tokenizer) -> TruncationDirection {
    tokenizer.get_truncation().map_or(TruncationDirection::Right, |it| it.direction)
}

/// The `tokenizer.json` of `bytes` for other programs, which do as it says: it cuts texts to
/// `max_length` tokens on `side`. If it pads, it pads a batch to its longest text, after the text:
/// tokens in front would move its positions.
pub(super) fn with_length(
    bytes: &[u8],
    max_length: usize,
    side: TruncationDirection,
) -> serde_json::Result<Vec<u8>> {
    let mut json: Value = serde_json::from_slice(bytes)?;
    let truncation = TruncationParams { max_length, direction: side, ..Default::default() };
    json["truncation"] = serde_json::to_value(truncation)?;
    if let Some(Value::Object(padding)) = json.get_mut("padding") {
        padding.insert("strategy".into(), "BatchLongest".into());
        padding.insert("direction".into(), "Right".into());
        padding.insert("pad_to_multiple_of".into(), Value::Null);
    }
    serde_json::to_vec(&json)
}

/// Cuts texts on this side from here on.
pub(super) fn cut_on(
    tokenizer: &mut Tokenizer,
    side: TruncationDirection,
    origin: &str,
) -> Result<()> {
    // The limit, which is none, is that of [`LimitedTokenizer`].
    let truncation =
        TruncationParams { direction: side, max_length: usize::MAX, ..Default::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(|error| fault(origin, &error))?;
    Ok(())
}

/// A tokenizer with a length limit. It borrows the tokenizer: copying the vocabulary takes longer
/// than a prediction.
#[derive(Clone, Copy)]
pub(super) struct LimitedTokenizer<'a> {
    tokenizer: &'a Tokenizer,
    /// Maximum tokens of a text, without the special ones.
    max_tokens: usize,
    /// The side on which longer texts are cut.
    side: TruncationDirection,
    /// What stands before each text.
    prompt: &'a str,
}

/// Limits texts to `max_length` tokens, special ones included.
pub(super) fn limited<'a>(
    tokenizer: &'a Tokenizer,
    max_length: usize,
    origin: &str,
) -> Result<LimitedTokenizer<'a>> {
    if max_length < SHORTEST {
        return Err(StudentError::Training(Fault::with_hint(
            format!("max_length is {max_length}"),
            format!("set it to at least {SHORTEST}: the first and the last token are special"),
        )));
    }
    let special = tokenizer.get_post_processor().map_or(0, |last| last.added_tokens(false));
    let max_tokens = max_length.checked_sub(special).ok_or_else(|| StudentError::Tokenizer {
        origin: origin.to_owned(),
        fault: Fault::with_hint(
            format!("it adds {special} tokens to a text of at most {max_length}"),
            "raise max_length",
        ),
    })?;
    Ok(LimitedTokenizer { tokenizer, max_tokens, side: side(tokenizer), prompt: "" })
}

/// A text as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    pub ids: Vec<u32>,
    /// Whether the text was cut at the length limit.
    pub truncated: bool,
}

/// Bytes per allowed token beyond which a prefix of the text is tried first.
const LONG: usize = 32;

impl<'a> LimitedTokenizer<'a> {
    /// The same for texts after `prompt`.
    pub(super) fn after(self, prompt: &'a str) -> Self {
        Self { prompt, ..self }
    }

    /// The tokens of a text. A panic of the tokenizer is an error.
    fn checked(&self, text: &str) -> std::result::Result<Tokens, Fault> {
        let whole = match self.prompt {
            "" => Cow::Borrowed(text),
            prompt => Cow::Owned(format!("{prompt}{text}")),
        };
        let tokens = catch(|| self.encode(&whole)).ok_or_else(|| panicked("it fails on a text"))?;
        tokens.map_err(|error| failed(&error))
    }

    /// The words and signs of a text that are read, by their bytes in it. A word is what the
    /// tokenizer splits into pieces of its own. A panic of the tokenizer is an error.
    pub(super) fn pieces(&self, text: &str) -> std::result::Result<Vec<Range<usize>>, Fault> {
        let whole = format!("{}{text}", self.prompt);
        let encoding = catch(|| self.tokenizer.encode(whole.as_str(), false));
        let encoding = encoding.ok_or_else(|| panicked("it fails on a text"))?;
        let mut encoding = encoding.map_err(|error| failed(&error))?;
        encoding.truncate(self.max_tokens, 0, self.side);
        let mut pieces: Vec<(Option<u32>, Range<usize>)> = Vec::new();
        for (word, &(start, end)) in encoding.get_word_ids().iter().zip(encoding.get_offsets()) {
            match pieces.last_mut() {
                Some((last, span)) if word.is_some() && *last == *word => span.end = end,
                _ => pieces.push((*word, start..end)),
            }
        }
        let skip = self.prompt.len();
        let own = |(_, span): (_, Range<usize>)| {
            let span = span.start.checked_sub(skip)?..span.end.checked_sub(skip)?;
            let shown = text.get(span.clone())?;
            let start = span.start + shown.len() - shown.trim_start().len();
            let end = start + shown.trim().len();
            (start < end).then_some(start..end)
        };
        Ok(pieces.into_iter().filter_map(own).collect())
    }

    fn encode(&self, text: &str) -> tokenizers::Result<Tokens> {
        // BERT splits at white space, so text after a space does not change the tokens before it: a
        // prefix with enough tokens gives the same result as the whole text.
        let local = self.side == TruncationDirection::Right
            && matches!(
                self.tokenizer.get_pre_tokenizer(),
                Some(PreTokenizerWrapper::BertPreTokenizer(_))
            );
        let mut part = self.max_tokens.max(1) * LONG;
        while local && part < text.len() {
            let end = (0..=part).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            if let Some(end) = text[..end].rfind(char::is_whitespace) {
                let encoding = self.tokenizer.encode_fast(&text[..end], false)?;
                if encoding.len() > self.max_tokens {
                    return self.finish(encoding);
                }
            }
            part *= 4;
        }
        self.finish(self.tokenizer.encode_fast(text, false)?)
    }

    fn finish(&self, mut encoding: Encoding) -> tokenizers::Result<Tokens> {
        let truncated = encoding.len() > self.max_tokens;
        encoding.truncate(self.max_tokens, 0, self.side);
        let ids = self.tokenizer.post_process(encoding, None, true)?.get_ids().to_vec();
        Ok(Tokens { ids, truncated })
    }
}

/// Fewer texts are tokenised on the calling thread: waking other threads takes longer.
const FEW: usize = 8;

/// The tokens of each text, in order; every id is below `vocab_size`.
pub(super) fn tokenise<S: AsRef<str> + Sync>(
    tokenizer: &LimitedTokenizer<'_>,
    texts: &[S],
    vocab_size: usize,
    origin: &str,
) -> Result<Vec<Tokens>> {
    let one = |text: &S| {
        let fault = |fault| StudentError::Tokenizer { origin: origin.to_owned(), fault };
        let tokens = tokenizer.checked(text.as_ref()).map_err(fault)?;
        match tokens.ids.iter().find(|&&id| id as usize >= vocab_size) {
            None => Ok(tokens),
            Some(id) => Err(StudentError::Tokenizer {
                origin: origin.to_owned(),
                fault: Fault::with_hint(
                    format!("token id {id} is outside config.json's vocab_size {vocab_size}"),
                    TAKE_TOKENIZER_AND_CONFIG,
                ),
            }),
        }
    };
    if texts.len() < FEW {
        return texts.iter().map(one).collect();
    }
    texts.par_iter().map(one).collect()
}

/// The id of the token that stands for what the vocabulary cannot spell.
pub(super) fn unknown_id(tokenizer: &Tokenizer) -> Option<u32> {
    let token = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => &model.unk_token,
        // It keeps the id to itself; SentencePiece's name of the token is always this.
        ModelWrapper::Unigram(_) => "<unk>",
        ModelWrapper::BPE(model) => model.unk_token.as_ref()?,
        ModelWrapper::WordLevel(model) => &model.unk_token,
    };
    tokenizer.token_to_id(token)
}

pub(super) fn fault(origin: &str, error: &dyn std::fmt::Display) -> StudentError {
    StudentError::Tokenizer { origin: origin.to_owned(), fault: failed(error) }
}

#[cfg(test)]
mod tests {
    use super::super::parity::fixture;
    use super::*;

    #[test]
    fn a_text_is_cut_as_the_tokenizer_itself_would_cut_it() {
        let bytes = std::fs::read(fixture("bert").join("tokenizer.json")).unwrap();
        let tokenizer = read(&bytes, "x").unwrap();
        let blank = " ".repeat(5000);
        let texts = [
            String::new(),
            "my card is lost".to_owned(),
            "the cat, the dog! ".repeat(900),
            format!("{blank}card{blank}card{blank}water"),
            "x".repeat(9000) + " card",
            "\u{e9}\u{2003}card \u{1f642} ".repeat(400),
            "[SEP] card [MASK] ".repeat(300),
        ];
        let sides = [TruncationDirection::Right, TruncationDirection::Left];
        for (max_length, side) in
            [3, 7, 16, 64].into_iter().flat_map(|n| sides.map(|side| (n, side)))
        {
            let mut tokenizer = tokenizer.clone();
            cut_on(&mut tokenizer, side, "x").unwrap();
            let mut own = tokenizer.clone();
            let truncation = TruncationParams { max_length, direction: side, ..Default::default() };
            own.with_truncation(Some(truncation)).unwrap();
            let limited = limited(&tokenizer, max_length, "x").unwrap();
            let ids = tokenise(&limited, &texts, 73, "x").unwrap();
            // As other programs read the file that is written.
            let file = with_length(&bytes, max_length, side).unwrap();
            let foreign = Tokenizer::from_bytes(file).unwrap();
            for (text, cut) in texts.iter().zip(ids) {
                assert_eq!(cut.ids, own.encode(text.as_str(), true).unwrap().get_ids());
                assert_eq!(cut.ids, foreign.encode(text.as_str(), true).unwrap().get_ids());
                let whole = tokenizer.encode(text.as_str(), true).unwrap();
                assert_eq!(cut.truncated, whole.len() > max_length);
            }
        }
    }

    #[test]
    fn a_written_tokenizer_pads_a_batch_to_its_longest_text_and_no_text_alone() {
        let bytes = std::fs::read(fixture("bert").join("tokenizer.json")).unwrap();
        let mut json: Value = serde_json::from_slice(&bytes).unwrap();
        json["truncation"] = serde_json::json!({
            "direction": "Left", "max_length": 128, "strategy": "LongestFirst", "stride": 8,
        });
        json["padding"] = serde_json::json!({
            "strategy": {"Fixed": 128}, "direction": "Left", "pad_to_multiple_of": 8,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        });
        let written = with_length(json.to_string().as_bytes(), 5, TruncationDirection::Right);
        let tokenizer = Tokenizer::from_bytes(written.unwrap()).unwrap();
        let ids = |text: &str| tokenizer.encode(text, true).unwrap().get_ids().to_vec();
        assert_eq!(ids("card").len(), 3);
        let long = ids("card the card card card");
        assert_eq!((long.len(), &long[..2]), (5, &ids("card")[..2]));
        let batch = tokenizer.encode_batch(vec!["card", "card the card card"], true).unwrap();
        let padded = [ids("card"), vec![0; 2]].concat();
        assert_eq!((batch[0].get_ids(), batch[1].len()), (&padded[..], 5));
        // Nothing else is changed.
        let mut again: Value =
            serde_json::from_slice(&with_length(&bytes, 5, TruncationDirection::Right).unwrap())
                .unwrap();
        again["truncation"] = serde_json::from_slice::<Value>(&bytes).unwrap()["truncation"].take();
        assert_eq!(again, serde_json::from_slice::<Value>(&bytes).unwrap());
    }
}
