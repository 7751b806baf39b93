//! From texts to token ids, within the encoder's length.

use rayon::prelude::*;
use tokenizers::{Tokenizer, TruncationParams};

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

/// A copy that cuts texts at `max_length` tokens, the special ones included.
pub(super) fn limited(tokenizer: &Tokenizer, max_length: usize, origin: &str) -> Result<Tokenizer> {
    if max_length < SHORTEST {
        return Err(StudentError::Training(format!(
            "max_length is {max_length}\nhint: at least {SHORTEST}, the first and the last token are the encoder's own"
        )));
    }
    let mut limited = tokenizer.clone();
    let truncation = TruncationParams { max_length, ..TruncationParams::default() };
    limited.with_truncation(Some(truncation)).map_err(|error| fault(origin, &error))?;
    Ok(limited)
}

/// Token ids of each text, in order; every id is below `vocab_size`.
pub(super) fn tokenise<S: AsRef<str> + Sync>(
    tokenizer: &Tokenizer,
    texts: &[S],
    vocab_size: usize,
    origin: &str,
) -> Result<Vec<Vec<u32>>> {
    texts
        .par_iter()
        .map(|text| {
            let encoding =
                tokenizer.encode(text.as_ref(), true).map_err(|error| fault(origin, &error))?;
            let ids = encoding.get_ids().to_vec();
            match ids.iter().find(|&&id| id as usize >= vocab_size) {
                None => Ok(ids),
                Some(id) => Err(StudentError::Tokenizer {
                    origin: origin.to_owned(),
                    message: format!(
                        "token id {id} is outside config.json's vocab_size {vocab_size}\nhint: take tokenizer.json and config.json from the same model"
                    ),
                }),
            }
        })
        .collect()
}

fn fault(origin: &str, error: &dyn std::fmt::Display) -> StudentError {
    StudentError::Tokenizer { origin: origin.to_owned(), message: error.to_string() }
}
