//! A reply in the making: draws tokens and knows when it is whole.

use llama_cpp_2::token::LlamaToken;

use super::{
    super::{GenerateRequest, Generated},
    LlamaTeacher,
};
use crate::rng::Rng;

/// The reply to one request, as far as it has come.
pub(super) struct Reply<'a> {
    request: &'a GenerateRequest,
    prompt_tokens: usize,
    rng: Rng,
    bytes: Vec<u8>,
    tokens: Vec<LlamaToken>,
    complete: bool,
    running: bool,
    /// For measurements: the reply never ends by itself.
    endless: bool,
}

impl<'a> Reply<'a> {
    pub fn begin(request: &'a GenerateRequest, prompt_tokens: usize) -> Self {
        Self {
            request,
            prompt_tokens,
            rng: Rng::for_item(request.seed, "sampling", 0),
            bytes: request.cue.as_bytes().to_vec(),
            tokens: Vec::new(),
            complete: false,
            running: request.max_tokens > 0,
            endless: request.lines == usize::MAX,
        }
    }

    pub fn is_running(&self) -> bool {
        self.running
    }

    /// The token to evaluate next, and its position.
    pub fn next(&self) -> (LlamaToken, usize) {
        let last = *self.tokens.last().expect("a running reply was begun with the prompt's logits");
        (last, self.prompt_tokens + self.tokens.len() - 1)
    }

    /// Tokens written so far.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Draws the next token from `logits` `[vocabulary]` and decides whether the reply ends with it.
    pub fn extend(&mut self, teacher: &LlamaTeacher, logits: &[f32]) {
        let banned = if self.endless { &teacher.never } else { &teacher.banned };
        let drawn = self.request.sampling.draw(logits, banned, &mut self.rng);
        let token = LlamaToken(drawn as i32);
        self.tokens.push(token);
        let vocab = teacher.model.vocab();
        self.complete = vocab.is_eog(token);
        if !self.complete {
            self.bytes.extend(vocab.token_to_piece(token, false, None));
            self.complete = !self.endless && self.has_all_lines();
        }
        self.running = !self.complete && self.tokens.len() < self.request.max_tokens;
    }

    /// Whether as many lines as were asked for stand there, the last one closed by its newline.
    fn has_all_lines(&self) -> bool {
        let text = &self.bytes;
        let closed = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = text[..closed].split(|byte| *byte == b'\n');
        lines.filter(|line| !line.trim_ascii().is_empty()).count() >= self.request.lines
    }

    pub fn finish(self) -> Generated {
        Generated {
            text: String::from_utf8_lossy(&self.bytes).into_owned(),
            complete: self.complete,
            prompt_tokens: self.prompt_tokens,
            generated_tokens: self.tokens.len(),
        }
    }
}
