//! One llama.cpp context with its sequences and cells.
//!
//! The binding aborts the process, or worse, on many kinds of misuse. This file prevents all of
//! them: no batch is longer than `n_batch`, no token has more sequences than the batch allows,
//! logits are read only from rows that requested them, no sequence number reaches `n_seq_max`, and
//! sequences are copied and removed only as a whole where the model cannot do better.

use std::{sync::Arc, time::Instant};

use llama_cpp_2::{context::LlamaContext, llama_batch::LlamaBatch, token::LlamaToken};

use super::{super::TeacherError, memory::ContextSize};

/// Maximum size in bytes of the logits that one call may return.
const LOGITS_BYTES: usize = 128 << 20;

/// One token to evaluate. It will take one cell of the KV cache.
pub(super) struct BatchToken {
    pub token: LlamaToken,
    pub position: usize,
    /// The sequences that see it.
    pub sequences: Arc<[i32]>,
    /// Whether its logits are needed.
    pub logits: bool,
}

/// What a session has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct DecodeStats {
    /// Calls of `llama_decode`.
    pub calls: usize,
    /// Tokens evaluated.
    pub tokens: usize,
    /// Seconds in `llama_decode`, including reading the logits.
    pub seconds: f64,
    /// Tokens and seconds of the calls in which every token needed its logits: pure decoding.
    pub decode_only_tokens: usize,
    pub decode_only_seconds: f64,
}

/// The cost of answering a list of requests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RunStats {
    pub decode: DecodeStats,
    /// Cells of the context.
    pub cells: usize,
    /// Maximum number of cells that held tokens at the same time.
    pub peak: usize,
    pub slots: usize,
}

/// A context and its free sequences.
pub(super) struct Session<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'m>,
    batch_tokens: usize,
    /// Maximum number of logits rows in one call.
    max_rows: usize,
    free: Vec<i32>,
    cells: usize,
    stats: DecodeStats,
}

impl<'m> Session<'m> {
    /// Wraps `context`, created with this `size`, for a vocabulary of `vocabulary` tokens.
    pub(super) fn new(context: LlamaContext<'m>, size: ContextSize, vocabulary: usize) -> Self {
        Self {
            context,
            batch: LlamaBatch::new(size.batch_tokens, size.sequences as i32),
            batch_tokens: size.batch_tokens,
            max_rows: (LOGITS_BYTES / (4 * vocabulary.max(1))).max(size.slots).max(16),
            free: (0..size.sequences as i32).rev().collect(),
            cells: size.cells,
            stats: DecodeStats::default(),
        }
    }

    /// Cells of the KV cache.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    pub(super) fn stats(&self) -> DecodeStats {
        self.stats
    }

    pub(super) fn free_sequences(&self) -> usize {
        self.free.len()
    }

    /// Takes a free sequence.
    pub(super) fn take_sequence(&mut self) -> Option<i32> {
        self.free.pop()
    }

    /// Clears `sequence` and marks it as free. Its cells are freed unless other sequences share
    /// them.
    pub(super) fn release_sequence(&mut self, sequence: i32) -> Result<(), TeacherError> {
        self.truncate(sequence, 0)?;
        self.free.push(sequence);
        Ok(())
    }

    /// Removes the cells of `sequence` from position `from` on.
    pub(super) fn truncate(&mut self, sequence: i32, from: usize) -> Result<(), TeacherError> {
        // `None` removes the whole sequence; recurrent models cannot remove less.
        let from = (from > 0).then_some(from as u32);
        self.context.kv_cache_seq_rm(sequence, from, None).map_err(|error| decode_error(&error))
    }

    /// Makes `to` share all cells of `from`.
    pub(super) fn share(&mut self, from: i32, to: i32) -> Result<(), TeacherError> {
        self.context.kv_cache_seq_cp(from, to, None, None).map_err(|error| decode_error(&error))
    }

    /// Evaluates `tokens` in order, in as few calls as the batch size allows. After each call,
    /// `on_rows` receives the index and the logits `[vocabulary]` of each token that requested
    /// them, possibly none. An error of `on_rows` ends the evaluation.
    pub(super) fn evaluate(
        &mut self,
        tokens: &[BatchToken],
        mut on_rows: impl FnMut(&[(usize, &[f32])]) -> Result<(), TeacherError>,
    ) -> Result<(), TeacherError> {
        let mut first = 0;
        while first < tokens.len() {
            let last = first + self.batch_len(&tokens[first..]);
            let started = Instant::now();
            self.batch.clear();
            for token in &tokens[first..last] {
                self.batch
                    .add(token.token, token.position as i32, &token.sequences, token.logits)
                    .map_err(|error| decode_error(&error))?;
            }
            self.context.decode(&mut self.batch).map_err(|error| decode_error(&error))?;
            let rows: Vec<(usize, &[f32])> = (first..last)
                .filter(|index| tokens[*index].logits)
                .map(|index| (index, self.context.get_logits_ith((index - first) as i32)))
                .collect();
            let seconds = started.elapsed().as_secs_f64();
            self.stats.calls += 1;
            self.stats.tokens += last - first;
            self.stats.seconds += seconds;
            if rows.len() == last - first {
                self.stats.decode_only_tokens += rows.len();
                self.stats.decode_only_seconds += seconds;
            }
            on_rows(&rows)?;
            first = last;
        }
        Ok(())
    }

    /// How many of the first `tokens` fit into one call.
    fn batch_len(&self, tokens: &[BatchToken]) -> usize {
        let mut rows = 0;
        tokens
            .iter()
            .take(self.batch_tokens)
            .take_while(|token| {
                rows += usize::from(token.logits);
                rows <= self.max_rows
            })
            .count()
    }
}

fn decode_error(error: &dyn std::error::Error) -> TeacherError {
    TeacherError::Decode { message: error.to_string() }
}
