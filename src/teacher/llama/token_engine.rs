//! A model by token numbers, as the servers of engines offer it. For tests of the teacher behind
//! addresses: their server answers with the probabilities of a real model.

use std::path::Path;

use llama_cpp_2::token::LlamaToken;

use super::{LlamaOptions, LlamaTeacher, memory::Demand, sequential::SequentialDecoder};
use crate::{simd, teacher::TeacherError};

/// A GGUF model.
pub struct TokenEngine(LlamaTeacher);

impl TokenEngine {
    /// Loads the model at `path`.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, String> {
        let teacher = LlamaTeacher::load(path, LlamaOptions::default());
        teacher.map(Self).map_err(|error| error.to_string())
    }

    /// Number of tokens in the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.0.vocabulary.token_bytes.len()
    }

    /// The tokens of a text alone.
    pub fn tokenize(&self, text: &str) -> Vec<i32> {
        let tokens = self.0.model.vocab().tokenize(text.as_bytes(), false, false);
        tokens.into_iter().map(|token| token.0).collect()
    }

    /// The bytes that `tokens` write, without those of control tokens.
    pub fn text(&self, tokens: &[i32]) -> Vec<u8> {
        tokens
            .iter()
            .flat_map(|token| self.0.vocabulary.token_bytes.bytes(*token))
            .copied()
            .collect()
    }

    /// Whether the token ends a turn.
    pub fn is_end(&self, token: i32) -> bool {
        self.0.vocabulary.token_bytes.is_end(token)
    }

    /// ln p of every token after `tokens`, `[vocabulary]`.
    ///
    /// # Errors
    /// No memory for them.
    pub fn log_probs(&self, tokens: &[i32]) -> Result<Vec<f32>, String> {
        self.next(tokens).map_err(|error| error.to_string())
    }

    fn next(&self, tokens: &[i32]) -> Result<Vec<f32>, TeacherError> {
        let demand = [Demand { prompt: tokens.len(), beyond: 1, sequences: 1 }];
        let size = self.0.context_size(None, &demand, 1, |_| "tokens")?;
        let mut decoder = SequentialDecoder::new(self.0.session(size)?, false);
        let tokens: Vec<LlamaToken> = tokens.iter().map(|token| LlamaToken(*token)).collect();
        let mut found = Vec::new();
        decoder.prompt(
            &tokens,
            |logits| {
                let total = simd::log_sum_exp(logits);
                found = logits.iter().map(|it| (f64::from(*it) - total) as f32).collect();
            },
            || Ok(()),
        )?;
        Ok(found)
    }
}
