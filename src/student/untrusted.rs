//! The readers of a stranger's files, each by itself, for the fuzz targets.

use super::{Result, StudentError, config::Config, labels::labels, tokens};

const ORIGIN: &str = "an untrusted file";

/// The token ids that a `tokenizer.json` makes of `text`, at most `max_length`.
///
/// # Errors
/// The file is refused, or its tokenizer fails.
pub(crate) fn tokenise(json: &[u8], text: &str, max_length: usize) -> Result<Vec<u32>> {
    let tokenizer = tokens::read(json, ORIGIN)?;
    let limited = tokens::limited(&tokenizer, max_length, ORIGIN)?;
    Ok(tokens::tokenise(&limited, &[text], usize::MAX, ORIGIN)?.swap_remove(0).ids)
}

/// The classes that a `config.json` gives to a classifier of `rows` rows.
///
/// # Errors
/// The file is refused, or its names are not those of the rows.
pub(crate) fn classes(json: &[u8], rows: usize) -> Result<Vec<String>> {
    let config = Config::parse(json, ORIGIN)?;
    labels(&config.raw, Some(rows))
        .map_err(|fault| StudentError::Config { origin: ORIGIN.to_owned(), fault })
}
