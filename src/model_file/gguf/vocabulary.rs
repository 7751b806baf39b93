//! The vocabulary: tokens, their types, and which of them begin and end a text.

use std::{collections::HashSet, io::Read};

use super::{Bytes, Fault, Stop, elements, kind};

const MOST_TOKENS: u64 = 1 << 22;
const LONGEST_TOKEN: u64 = 1 << 16;

/// llama.cpp's numbers for the kinds of tokens.
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// What a GGUF says about its tokens. Empty if it has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vocabulary {
    /// Kind of the tokenizer, such as `gpt2`.
    pub model: Option<String>,
    /// Each token as it is written down, which need not be UTF-8.
    tokens: Vec<Box<[u8]>>,
    types: Option<Vec<i32>>,
    /// How many scores there are.
    scores: Option<u64>,
    bos: Option<u32>,
    eos: Option<u32>,
}

impl Vocabulary {
    /// Reads the value of `key` if it is one of the vocabulary's; says whether it was.
    pub(super) fn take<R: Read>(
        &mut self,
        file: &mut Bytes<R>,
        key: &str,
        kind: u32,
    ) -> Result<bool, Stop> {
        let wrong = || Fault::new(format!("{key} is of another type than it should be"));
        match key {
            "tokenizer.ggml.model" if kind == kind::TEXT => {
                let bytes = file.text(LONGEST_TOKEN, || key.to_owned())?;
                self.model = Some(String::from_utf8(bytes).map_err(|_| wrong())?);
            }
            "tokenizer.ggml.bos_token_id" if kind == kind::UINT32 => self.bos = Some(file.u32()?),
            "tokenizer.ggml.eos_token_id" if kind == kind::UINT32 => self.eos = Some(file.u32()?),
            "tokenizer.ggml.tokens" if kind == kind::ARRAY => {
                let count = count(file, key, &[kind::TEXT])?;
                for _ in 0..count {
                    let token = file.text(LONGEST_TOKEN, || "a token".to_owned())?;
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

    /// Holds the parts against each other, once all of them were read.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let count = self.tokens.len() as u64;
        let types = self.types.as_ref().map(|types| types.len() as u64);
        for (what, found) in [("scores", self.scores), ("types", types)] {
            if let Some(found) = found.filter(|&found| found != count) {
                return Err(Fault::new(format!("{found} {what} for {count} tokens")));
            }
        }
        // The numbers that llama.cpp falls back to for special tokens must exist.
        let least = match self.model.as_deref() {
            None | Some("none") => 0,
            Some("gpt2") => 12,
            Some("bert") => 104,
            Some(_) => 4,
        };
        if count < least {
            return Err(Fault::new(format!(
                "it has {count} tokens, {least} at least are needed for its kind of tokenizer"
            )));
        }
        let mut seen = HashSet::with_capacity(self.tokens.len());
        for (number, token) in self.tokens.iter().enumerate() {
            let shown = || String::from_utf8_lossy(token).into_owned();
            // llama.cpp would end its process.
            if !token.is_empty() && !seen.insert(token) {
                return Err(Fault::new(format!("the token {:?} is there twice", shown())));
            }
            let is_byte = self.types.as_ref().is_some_and(|types| types[number] == BYTE);
            if is_byte && token.starts_with(b"<0x") && !spells_byte(token) {
                return Err(Fault::new(format!("the token {:?} is no byte", shown())));
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

    /// The tokens that steer the model and are no text.
    pub fn control(&self) -> Vec<String> {
        let types = self.types.iter().flatten().zip(&self.tokens);
        let control = types.filter(|(kind, token)| **kind == CONTROL && !token.is_empty());
        control.map(|(_, token)| String::from_utf8_lossy(token).into_owned()).collect()
    }
}

/// `<0x41>` and the like.
fn spells_byte(token: &[u8]) -> bool {
    matches!(token, [b'<', b'0', b'x', a, b, b'>'] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

/// The count of an array of one of `kinds`, which fits into the file.
fn count<R: Read>(file: &mut Bytes<R>, key: &str, kinds: &[u32]) -> Result<u64, Stop> {
    let (kind, count) = (file.u32()?, file.u64()?);
    if !kinds.contains(&kind) {
        return Err(
            Fault::new(format!("{key} is an array of another type than it should be")).into()
        );
    }
    if count > MOST_TOKENS {
        return Err(Fault::new(format!("{key} would hold {count}, {MOST_TOKENS} at most")).into());
    }
    elements(file, key, kind, count)?;
    Ok(count)
}
