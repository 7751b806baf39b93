//! One sequence at a time, for `--deterministic`: an answer depends on its request alone.
//!
//! The shape of a batch changes the last bits of llama.cpp's results. Here every prompt is
//! evaluated in blocks of one fixed size that begin at fixed positions, so the cells of a block are
//! bit-identical whichever request they were evaluated for, and prefixes can still be reused in
//! whole blocks.

use std::sync::Arc;

use llama_cpp_2::token::LlamaToken;

use super::{
    memory::Demand,
    session::{BatchToken, RunStats, Session},
};
use crate::teacher::TeacherError;

/// Tokens per block: large enough to read a prompt at nearly full speed.
const BLOCK: usize = 64;

/// A session that serves one request after another.
pub(super) struct SequentialDecoder<'m> {
    session: Session<'m>,
    sequence: i32,
    sequences: Arc<[i32]>,
    /// The prompt whose cells are in the cache.
    cached: Vec<LlamaToken>,
    /// Whether to reuse blocks of the last prompt. If not, every prompt is evaluated from its first
    /// token, in one call.
    reuse: bool,
}

impl<'m> SequentialDecoder<'m> {
    pub(super) fn new(mut session: Session<'m>, reuse: bool) -> Self {
        let sequence = session.take_sequence().expect("a new session has a free sequence");
        let sequences = Arc::new([sequence]);
        Self { session, sequence, sequences, cached: Vec::new(), reuse }
    }

    pub(super) fn session(&mut self) -> &mut Session<'m> {
        &mut self.session
    }

    /// Evaluates `prompt`; `on_logits` receives the logits of its last token. `alive` is called
    /// after each block.
    pub(super) fn prompt(
        &mut self,
        prompt: &[LlamaToken],
        mut on_logits: impl FnMut(&[f32]),
        mut alive: impl FnMut() -> Result<(), TeacherError>,
    ) -> Result<(), TeacherError> {
        let common = self.cached.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let common = common.min(prompt.len().saturating_sub(1));
        let mut keep = if self.reuse { common / BLOCK * BLOCK } else { 0 };
        // A recurrent model cannot drop just the end of a sequence.
        if keep > 0 && self.session.truncate(self.sequence, keep).is_err() {
            keep = 0;
        }
        if keep == 0 {
            self.session.truncate(self.sequence, 0)?;
        }
        self.cached = prompt.to_vec();
        let block = if self.reuse { BLOCK } else { prompt.len().max(1) };
        let tokens: Vec<BatchToken> = (keep..prompt.len())
            .map(|position| {
                self.batch_token(prompt[position], position, position + 1 == prompt.len())
            })
            .collect();
        for tokens in tokens.chunks(block) {
            self.session.evaluate(tokens, |rows| {
                rows.iter().for_each(|(_, row)| on_logits(row));
                alive()
            })?;
        }
        Ok(())
    }

    /// Evaluates one more token, at `position`.
    pub(super) fn token(
        &mut self,
        token: LlamaToken,
        position: usize,
        mut on_logits: impl FnMut(&[f32]),
    ) -> Result<(), TeacherError> {
        let token = [self.batch_token(token, position, true)];
        self.session.evaluate(&token, |rows| {
            rows.iter().for_each(|(_, row)| on_logits(row));
            Ok(())
        })
    }

    /// Takes `count` sequences that share what has been evaluated.
    pub(super) fn branch(&mut self, count: usize) -> Result<Arc<[i32]>, TeacherError> {
        let branches: Arc<[i32]> =
            (0..count).filter_map(|_| self.session.take_sequence()).collect();
        for branch in branches.iter() {
            self.session.share(self.sequence, *branch)?;
        }
        Ok(branches)
    }

    /// Releases `branches` in reverse, so that they are taken in the same order again.
    pub(super) fn release(&mut self, branches: &[i32]) -> Result<(), TeacherError> {
        branches.iter().rev().try_for_each(|branch| self.session.release_sequence(*branch))
    }

    /// The cost so far, for requests with these `demands`.
    pub(super) fn stats(&self, demands: &[Demand]) -> RunStats {
        let peak = demands.iter().map(Demand::cells).max().unwrap_or(0);
        RunStats { decode: self.session.stats(), cells: self.session.cells(), peak, slots: 1 }
    }

    fn batch_token(&self, token: LlamaToken, position: usize, logits: bool) -> BatchToken {
        BatchToken { token, position, sequences: Arc::clone(&self.sequences), logits }
    }
}
