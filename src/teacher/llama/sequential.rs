//! One sequence at a time, for `--deterministic`: what a request answers depends on nothing else.
//!
//! llama.cpp's numbers move in the last bits with the shape of the batch. Here every prompt goes in
//! as blocks of the same size that begin at the same places, so a block's cells are the same bits
//! whichever request brought them in, and prefixes are still reused, by whole blocks.

use std::sync::Arc;

use llama_cpp_2::token::LlamaToken;

use super::{
    memory::Need,
    session::{Cell, Session, Spent},
};
use crate::teacher::TeacherError;

/// Tokens per block: large enough that a prompt is read at nearly full speed.
const BLOCK: usize = 64;

/// A session that serves one request after another.
pub(crate) struct Alone<'m> {
    session: Session<'m>,
    sequence: i32,
    sequences: Arc<[i32]>,
    /// The prompt whose cells are there.
    held: Vec<LlamaToken>,
    /// Reuse blocks of the last prompt (off: every prompt is evaluated from its first token, in one go).
    reuse: bool,
}

impl<'m> Alone<'m> {
    pub(super) fn new(mut session: Session<'m>, reuse: bool) -> Self {
        let sequence = session.take().expect("a new session has at least one free sequence");
        let sequences = Arc::new([sequence]);
        Self { session, sequence, sequences, held: Vec::new(), reuse }
    }

    pub(super) fn session(&mut self) -> &mut Session<'m> {
        &mut self.session
    }

    /// Evaluates `prompt`; `logits` gets those of its last token.
    pub(super) fn prompt(
        &mut self,
        prompt: &[LlamaToken],
        mut logits: impl FnMut(&[f32]),
        mut alive: impl FnMut() -> Result<(), TeacherError>,
    ) -> Result<(), TeacherError> {
        let common = self.held.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let common = common.min(prompt.len().saturating_sub(1));
        let mut keep = if self.reuse { common / BLOCK * BLOCK } else { 0 };
        // Recurrent models cannot forget the end of a sequence alone.
        if keep > 0 && self.session.cut(self.sequence, keep).is_err() {
            keep = 0;
        }
        if keep == 0 {
            self.session.cut(self.sequence, 0)?;
        }
        self.held = prompt.to_vec();
        let block = if self.reuse { BLOCK } else { prompt.len().max(1) };
        let cells: Vec<Cell> = (keep..prompt.len())
            .map(|position| self.cell(prompt[position], position, position + 1 == prompt.len()))
            .collect();
        for cells in cells.chunks(block) {
            self.session.evaluate(cells, |rows| {
                rows.iter().for_each(|(_, row)| logits(row));
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
        mut logits: impl FnMut(&[f32]),
    ) -> Result<(), TeacherError> {
        let cell = [self.cell(token, position, true)];
        self.session.evaluate(&cell, |rows| {
            rows.iter().for_each(|(_, row)| logits(row));
            Ok(())
        })
    }

    /// `count` sequences that share what was evaluated.
    pub(super) fn branch(&mut self, count: usize) -> Result<Arc<[i32]>, TeacherError> {
        let branches: Arc<[i32]> = (0..count).filter_map(|_| self.session.take()).collect();
        for branch in branches.iter() {
            self.session.share(self.sequence, *branch)?;
        }
        Ok(branches)
    }

    /// Forgets `branches`, the last one taken first, so that they come in the same order again.
    pub(super) fn prune(&mut self, branches: &[i32]) -> Result<(), TeacherError> {
        branches.iter().rev().try_for_each(|branch| self.session.give_back(*branch))
    }

    /// What all of it took, for requests with these `needs`.
    pub(super) fn spent(&self, needs: &[Need]) -> Spent {
        let peak = needs.iter().map(|need| need.prompt + need.beyond).max().unwrap_or(0);
        Spent { work: self.session.work(), cells: self.session.cells(), peak, slots: 1 }
    }

    fn cell(&self, token: LlamaToken, position: usize, logits: bool) -> Cell {
        Cell { token, position, sequences: Arc::clone(&self.sequences), logits }
    }
}
