//! From texts to token ids, within the encoder's length.

use rayon::prelude::*;
use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};

use super::{Result, StudentError};

/// Shortest length that leaves room for a word between the two special tokens.
const SHORTEST: usize = 3;

/// Reads a `tokenizer.json`. Its own padding and truncation are switched off: they belong to
/// whoever made the file, and we pad by the batch.
pub(super) fn read(bytes: &[u8], origin: &str) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| fault(origin, &error))?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| fault(origin, &error))?;
    Ok(tokenizer)
}

/// A tokenizer that cuts texts short. It is shared, not copied: a copy of its words takes longer
/// than a prediction.
#[derive(Clone, Copy)]
pub(super) struct Limited<'a> {
    tokenizer: &'a Tokenizer,
    /// Tokens of a text without the special ones.
    own: usize,
}

/// Cuts texts at `max_length` tokens, the special ones included.
pub(super) fn limited<'a>(
    tokenizer: &'a Tokenizer,
    max_length: usize,
    origin: &str,
) -> Result<Limited<'a>> {
    if max_length < SHORTEST {
        return Err(StudentError::Training(format!(
            "max_length is {max_length}\nhint: at least {SHORTEST}, the first and the last token are the encoder's own"
        )));
    }
    let special = tokenizer.get_post_processor().map_or(0, |last| last.added_tokens(false));
    let own = max_length.checked_sub(special).ok_or_else(|| StudentError::Tokenizer {
        origin: origin.to_owned(),
        message: format!(
            "it adds {special} tokens to a text of at most {max_length}\nhint: raise max_length"
        ),
    })?;
    Ok(Limited { tokenizer, own })
}

impl Limited<'_> {
    fn encode(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        let mut encoding = self.tokenizer.encode_fast(text, false)?;
        encoding.truncate(self.own, 0, TruncationDirection::Right);
        Ok(self.tokenizer.post_process(encoding, None, true)?.get_ids().to_vec())
    }
}

/// Texts fewer than this are tokenised where we are: waking other threads takes longer.
const FEW: usize = 8;

/// Token ids of each text, in order; every id is below `vocab_size`.
pub(super) fn tokenise<S: AsRef<str> + Sync>(
    tokenizer: &Limited<'_>,
    texts: &[S],
    vocab_size: usize,
    origin: &str,
) -> Result<Vec<Vec<u32>>> {
    let one = |text: &S| {
        let ids = tokenizer.encode(text.as_ref()).map_err(|error| fault(origin, &error))?;
        match ids.iter().find(|&&id| id as usize >= vocab_size) {
            None => Ok(ids),
            Some(id) => Err(StudentError::Tokenizer {
                origin: origin.to_owned(),
                message: format!(
                    "token id {id} is outside config.json's vocab_size {vocab_size}\nhint: take tokenizer.json and config.json from the same model"
                ),
            }),
        }
    };
    if texts.len() < FEW {
        return texts.iter().map(one).collect();
    }
    texts.par_iter().map(one).collect()
}

fn fault(origin: &str, error: &dyn std::fmt::Display) -> StudentError {
    StudentError::Tokenizer { origin: origin.to_owned(), message: error.to_string() }
}
