//! Constant expressions of a template.

use minijinja::{
    Error,
    machinery::{Token, WhitespaceConfig, tokenize},
};

use super::budget::error;

/// Checks the constant expressions of a template, which minijinja computes when it compiles, before
/// any budget applies. Texts, numbers and `*` in one tag are assumed to multiply.
///
/// # Errors
/// Texts multiplied by large numbers, a tag with more tokens than the parser has stack for, and a
/// source that is not Jinja.
pub(super) fn check(source: &str, whitespace: WhitespaceConfig) -> Result<(), Error> {
    let mut bytes = 0u64;
    let mut tag = Tag::default();
    for token in tokenize(source, false, Default::default(), whitespace) {
        let (token, _) = token?;
        match token {
            Token::VariableStart | Token::BlockStart => tag = Tag::default(),
            Token::VariableEnd | Token::BlockEnd => {
                bytes = bytes.saturating_add(tag.max_product_bytes());
            }
            Token::Str(text) => tag.text_bytes += text.len() as u64 + 1,
            Token::String(text) => tag.text_bytes += text.len() as u64 + 1,
            Token::Int(number) => tag.multiply(number),
            Token::Int128(_) | Token::Pow => tag.multiply(u64::MAX - 1),
            Token::Float(number) => tag.multiply(number.abs() as u64),
            Token::Mul => tag.multiplies = true,
            _ => {}
        }
        tag.tokens += 1;
        if tag.tokens > MAX_TAG_TOKENS {
            return Err(error("the template has a tag with too many tokens"));
        }
    }
    match bytes {
        0..=MAX_CONSTANT_BYTES => Ok(()),
        _ => Err(error("the template multiplies a text by too large a number")),
    }
}

/// Maximum number of tokens in one tag; the longest tags in use have about a hundred.
const MAX_TAG_TOKENS: usize = 2_000;
/// Maximum size of all constant products.
const MAX_CONSTANT_BYTES: u64 = 1 << 20;

/// The content between `{{` or `{%` and its end.
struct Tag {
    tokens: usize,
    text_bytes: u64,
    multiplies: bool,
    factor: u64,
}

impl Default for Tag {
    fn default() -> Self {
        Self { tokens: 0, text_bytes: 0, multiplies: false, factor: 1 }
    }
}

impl Tag {
    /// Multiplies by one more than the number, so that a sum is never larger than the product.
    fn multiply(&mut self, number: u64) {
        self.factor = self.factor.saturating_mul(number.saturating_add(1));
    }

    fn max_product_bytes(&self) -> u64 {
        if self.multiplies { self.text_bytes.saturating_mul(self.factor) } else { 0 }
    }
}
