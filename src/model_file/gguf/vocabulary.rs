//! The vocabulary: tokens, their types, and the tokens that begin and end a text.

use std::{collections::HashSet, io::Read};

use super::{Bytes, CheckError, Fault, check_elements, kind};

const MAX_TOKENS: u64 = 1 << 22;
const MAX_TOKEN_BYTES: u64 = 1 << 16;

/// llama.cpp's numbers for the kinds of tokens.
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// The tokens of a GGUF and what it records about them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vocabulary {
    /// The kind of tokenizer, such as `gpt2`.
    pub model: Option<String>,
    /// Each token as stored, not necessarily UTF-8.
    tokens: Vec<Box<[u8]>>,
    types: Option<Vec<i32>>,
    /// The number of scores.
    scores: Option<u64>,
    bos: Option<u32>,
    eos: Option<u32>,
}

impl Vocabulary {
    /// Reads the value of `key` if it belongs to the vocabulary, and returns whether it does.
    pub(super) fn take<R: Read>(
        &mut self,
        file: &mut Bytes<R>,
        key: &str,
        kind: u32,
    ) -> Result<bool, CheckError> {
        let wrong = || Fault::new(format!("{key} has the wrong type"));
        match key {
            "tokenizer.ggml.model" if kind == kind::STRING => {
                let bytes = file.string(MAX_TOKEN_BYTES, || key.to_owned())?;
                self.model = Some(String::from_utf8(bytes).map_err(|_| wrong())?);
            }
            "tokenizer.ggml.bos_token_id" if kind == kind::UINT32 => self.bos = Some(file.u32()?),
            "tokenizer.ggml.eos_token_id" if kind == kind::UINT32 => self.eos = Some(file.u32()?),
            "tokenizer.ggml.tokens" if kind == kind::ARRAY => {
                let count = count(file, key, &[kind::STRING])?;
                for _ in 0..count {
                    let token = file.string(MAX_TOKEN_BYTES, || "a token".to_owned())?;
                    self.tokens.push(token.into());
                }
            }
            "tokenizer.ggml.scores" if kind == kind::ARRAY => {
                let count = count(file, key, &[kind::FLOAT32, kind::INT32])?;
                file.skip(count * 4)?;
                self.scores = Some(count);
            }
            "tokenizer.ggml.token_type" if kind == kind::ARRAY => {
                let count = count(file, key, &[kind::INT32])?;
                let mut types = Vec::new();
                for _ in 0..count {
                    types.push(i32::from_le_bytes(file.array()?));
                }
                self.types = Some(types);
            }
            "tokenizer.ggml.model"
            | "tokenizer.ggml.bos_token_id"
            | "tokenizer.ggml.eos_token_id"
            | "tokenizer.ggml.tokens"
            | "tokenizer.ggml.scores"
            | "tokenizer.ggml.token_type" => return Err(wrong().into()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Compares the parts with each other, after all of them have been read.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let count = self.tokens.len() as u64;
        let types = self.types.as_ref().map(|types| types.len() as u64);
        for (what, found) in [("scores", self.scores), ("types", types)] {
            if let Some(found) = found.filter(|&found| found != count) {
                return Err(Fault::new(format!("{found} {what} for {count} tokens")));
            }
        }
        // The ids of special tokens that llama.cpp falls back to must exist.
        let least = match self.model.as_deref() {
            None | Some("none") => 0,
            Some("gpt2") => 12,
            Some("bert") => 104,
            Some(_) => 4,
        };
        if count < least {
            return Err(Fault::new(format!(
                "it has {count} tokens; its kind of tokenizer needs at least {least}"
            )));
        }
        let mut seen = HashSet::with_capacity(self.tokens.len());
        for (number, token) in self.tokens.iter().enumerate() {
            let shown = || String::from_utf8_lossy(token).into_owned();
            // llama.cpp would abort the process.
            if !token.is_empty() && !seen.insert(token) {
                return Err(Fault::new(format!("the token {:?} occurs twice", shown())));
            }
            let is_byte = self.types.as_ref().is_some_and(|types| types[number] == BYTE);
            if is_byte && token.starts_with(b"<0x") && !spells_byte(token) {
                return Err(Fault::new(format!("the token {:?} is not a byte", shown())));
            }
        }
        Ok(())
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn text(&self, number: Option<u32>) -> String {
        let token = number.and_then(|number| self.tokens.get(number as usize));
        token.map(|token| String::from_utf8_lossy(token).into_owned()).unwrap_or_default()
    }

    /// The token that begins a text; empty if none is named.
    pub fn bos(&self) -> String {
        self.text(self.bos)
    }

    /// The token that ends a text; empty if none is named.
    pub fn eos(&self) -> String {
        self.text(self.eos)
    }

    /// The control tokens, which are not text.
    pub fn control(&self) -> Vec<String> {
        let types = self.types.iter().flatten().zip(&self.tokens);
        let control = types.filter(|(kind, token)| **kind == CONTROL && !token.is_empty());
        control.map(|(_, token)| String::from_utf8_lossy(token).into_owned()).collect()
    }
}

/// Whether the token has the form `<0x41>`.
fn spells_byte(token: &[u8]) -> bool {
    matches!(token, [b'<', b'0', b'x', a, b, b'>'] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

/// Reads the head of an array of one of `kinds` and returns its count, which fits into the file.
fn count<R: Read>(file: &mut Bytes<R>, key: &str, kinds: &[u32]) -> Result<u64, CheckError> {
    let (kind, count) = (file.u32()?, file.u64()?);
    if !kinds.contains(&kind) {
        return Err(Fault::new(format!("{key} is an array of the wrong type")).into());
    }
    if count > MAX_TOKENS {
        return Err(Fault::new(format!(
            "{key} has {count} elements; at most {MAX_TOKENS} are allowed"
        ))
        .into());
    }
    check_elements(file, key, kind, count)?;
    Ok(count)
}
