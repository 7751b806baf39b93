//! A reply while it is generated: draws its tokens and decides when it is complete.

use std::cell::RefCell;

use llama_cpp_2::token::LlamaToken;

use super::{
    super::{
        GenerateRequest, Generated, LogitsRow, Sampler,
        chat::strip_thinking,
        grammar::{ListGrammar, ListState, draw_constrained},
    },
    LlamaTeacher,
};
use crate::rng::Rng;

thread_local! {
    /// The working memory of a draw: one per thread.
    static SAMPLER: RefCell<Sampler> = RefCell::default();
}

/// The reply to one request so far.
pub(super) struct Reply<'a> {
    request: &'a GenerateRequest,
    prompt_tokens: usize,
    rng: Rng,
    bytes: Vec<u8>,
    tokens: Vec<i32>,
    /// The state of its numbered list, if the reply is constrained to one.
    list: Option<ListState>,
    complete: bool,
    running: bool,
    /// For benchmarks: the reply never ends by itself.
    endless: bool,
}

impl<'a> Reply<'a> {
    pub(super) fn begin(request: &'a GenerateRequest, prompt_tokens: usize) -> Self {
        let grammar = || {
            let grammar = ListGrammar::new(request.lines, request.longest);
            grammar.with_budget(request.max_tokens).begin(&request.cue)
        };
        Self {
            request,
            prompt_tokens,
            rng: Rng::for_item(request.seed, "sampling", 0),
            bytes: request.cue.as_bytes().to_vec(),
            tokens: Vec::new(),
            list: request.constrained.then(grammar).flatten(),
            complete: false,
            running: request.max_tokens > 0,
            endless: request.lines == usize::MAX,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// The token to evaluate next, and its position.
    pub(super) fn next(&self) -> (LlamaToken, usize) {
        let last = *self.tokens.last().expect("a running reply was begun with the prompt's logits");
        (LlamaToken(last), self.prompt_tokens + self.tokens.len() - 1)
    }

    /// Tokens written so far.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Draws the next token from `logits` `[vocabulary]` and decides whether the reply ends with
    /// it.
    pub(super) fn extend(&mut self, teacher: &LlamaTeacher, logits: &[f32]) {
        let Some(token) = SAMPLER.with_borrow_mut(|sampler| self.draw(sampler, teacher, logits))
        else {
            // No token may come next, so the reply stays incomplete.
            self.running = false;
            return;
        };
        self.tokens.push(token);
        self.complete = teacher.vocabulary.token_bytes.is_end(token);
        if !self.complete {
            let bytes = teacher.vocabulary.token_bytes.bytes(token);
            self.bytes.extend_from_slice(bytes);
            self.complete = match &mut self.list {
                Some(list) => list.advance(bytes) && list.is_complete(),
                None => !self.endless && self.has_all_lines(),
            };
        }
        self.running = !self.complete && self.tokens.len() < self.request.max_tokens;
    }

    fn draw(
        &mut self,
        sampler: &mut Sampler,
        teacher: &LlamaTeacher,
        logits: &[f32],
    ) -> Option<i32> {
        let vocabulary = &teacher.vocabulary;
        let banned = if self.endless { &vocabulary.control_and_ends } else { &vocabulary.control };
        let row = LogitsRow { logits, banned, recent: &self.tokens };
        let sampling = &self.request.sampling;
        match &self.list {
            Some(list) => {
                let tokens = &vocabulary.token_bytes;
                draw_constrained(sampler, sampling, row, list, tokens, &mut self.rng)
            }
            None => sampler.draw(sampling, row, &mut self.rng),
        }
    }

    /// Whether the reply has all requested lines, the last one with its newline.
    fn has_all_lines(&self) -> bool {
        let text = &self.bytes;
        let closed = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = text[..closed].split(|byte| *byte == b'\n');
        lines.filter(|line| !line.trim_ascii().is_empty()).count() >= self.request.lines
    }

    pub(super) fn finish(self) -> Generated {
        let text = String::from_utf8_lossy(&self.bytes);
        Generated {
            text: strip_thinking(&text).to_owned(),
            complete: self.complete,
            prompt_tokens: self.prompt_tokens,
            generated_tokens: self.tokens.len(),
        }
    }
}
