//! One llama.cpp context with its sequences and cells.
//!
//! The binding aborts the process, or worse, on quite a few misuses. They all end here: no batch is
//! longer than `n_batch`, no token has more sequences than the batch has room for, logits are read
//! only from rows that asked for them, no sequence number reaches `n_seq_max`, and sequences are
//! only ever copied and removed whole where the model cannot do better.

use std::{sync::Arc, time::Instant};

use llama_cpp_2::{context::LlamaContext, llama_batch::LlamaBatch, token::LlamaToken};

use super::{super::TeacherError, memory::Shape};

/// Most bytes of logits that one call may ask for.
const LOGITS_BYTES: usize = 128 << 20;

/// One token to evaluate: where it stands, which sequences see it, whether its logits are wanted.
pub(super) struct Cell {
    pub token: LlamaToken,
    pub position: usize,
    pub sequences: Arc<[i32]>,
    pub logits: bool,
}

/// What a session has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Work {
    /// Calls of `llama_decode`.
    pub decodes: usize,
    /// Tokens that were evaluated.
    pub tokens: usize,
    /// Seconds in `llama_decode`, logits included.
    pub seconds: f64,
    /// The same for steps in which every token wanted its logits: pure decoding.
    pub pure_tokens: usize,
    pub pure_seconds: f64,
}

/// What a whole call took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub work: Work,
    /// Cells of the context.
    pub cells: usize,
    /// The most cells that held tokens at once.
    pub peak: usize,
    pub slots: usize,
}

/// A context and the sequences that are free in it.
pub(super) struct Session<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'m>,
    batch_tokens: usize,
    /// Most rows of logits in one call.
    rows: usize,
    free: Vec<i32>,
    cells: usize,
    work: Work,
}

impl<'m> Session<'m> {
    /// Takes over `context`, which was made with `shape`, for a vocabulary of `vocabulary` tokens.
    pub(super) fn new(context: LlamaContext<'m>, shape: Shape, vocabulary: usize) -> Self {
        Self {
            context,
            batch: LlamaBatch::new(shape.batch_tokens, shape.sequences as i32),
            batch_tokens: shape.batch_tokens,
            rows: (LOGITS_BYTES / (4 * vocabulary.max(1))).max(shape.slots).max(16),
            free: (0..shape.sequences as i32).rev().collect(),
            cells: shape.cells,
            work: Work::default(),
        }
    }

    /// Cells of the KV cache.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    pub(super) fn work(&self) -> Work {
        self.work
    }

    pub(super) fn free_sequences(&self) -> usize {
        self.free.len()
    }

    /// Takes a sequence that nobody uses.
    pub(super) fn take(&mut self) -> Option<i32> {
        self.free.pop()
    }

    /// Forgets `sequence`; its cells are free unless others share them.
    pub(super) fn give_back(&mut self, sequence: i32) -> Result<(), TeacherError> {
        self.cut(sequence, 0)?;
        self.free.push(sequence);
        Ok(())
    }

    /// Forgets what `sequence` holds from position `from` on.
    pub(super) fn cut(&mut self, sequence: i32, from: usize) -> Result<(), TeacherError> {
        // All of a sequence is asked for as such: recurrent models can remove nothing less.
        let from = (from > 0).then_some(from as u32);
        self.context.kv_cache_seq_rm(sequence, from, None).map_err(|error| failed(&error))
    }

    /// Lets `to` share everything that `from` holds.
    pub(super) fn share(&mut self, from: i32, to: i32) -> Result<(), TeacherError> {
        self.context.kv_cache_seq_cp(from, to, None, None).map_err(|error| failed(&error))
    }

    /// Evaluates `cells` in order, in as few calls as the batch allows. After each call `rows` gets
    /// what it asked for, be it nothing: the index of each cell that wants logits, and its logits
    /// `[vocabulary]`. What it errs with ends the evaluation.
    pub(super) fn evaluate(
        &mut self,
        cells: &[Cell],
        mut rows: impl FnMut(&[(usize, &[f32])]) -> Result<(), TeacherError>,
    ) -> Result<(), TeacherError> {
        let mut first = 0;
        while first < cells.len() {
            let last = first + self.piece(&cells[first..]);
            let started = Instant::now();
            self.batch.clear();
            for cell in &cells[first..last] {
                self.batch
                    .add(cell.token, cell.position as i32, &cell.sequences, cell.logits)
                    .map_err(|error| failed(&error))?;
            }
            self.context.decode(&mut self.batch).map_err(|error| failed(&error))?;
            let wanted: Vec<(usize, &[f32])> = (first..last)
                .filter(|index| cells[*index].logits)
                .map(|index| (index, self.context.get_logits_ith((index - first) as i32)))
                .collect();
            let seconds = started.elapsed().as_secs_f64();
            self.work.decodes += 1;
            self.work.tokens += last - first;
            self.work.seconds += seconds;
            if wanted.len() == last - first {
                self.work.pure_tokens += wanted.len();
                self.work.pure_seconds += seconds;
            }
            rows(&wanted)?;
            first = last;
        }
        Ok(())
    }

    /// Number of leading cells that go into one call.
    fn piece(&self, cells: &[Cell]) -> usize {
        let mut rows = 0;
        cells
            .iter()
            .take(self.batch_tokens)
            .take_while(|cell| {
                rows += usize::from(cell.logits);
                rows <= self.rows
            })
            .count()
    }
}

fn failed(error: &dyn std::error::Error) -> TeacherError {
    let hint = "a lower `teacher.slots` or a larger `teacher.context` may help";
    TeacherError::Decode { message: format!("{error}\nhint: {hint}") }
}
