//! The traits between the engines and the code that trains, classifies and embeds with them.
//!
//! An engine is built from a `ModelSpec` and a [`Source`] of weights (`engine` chooses one by
//! device). All engines take the same [`PackedBatch`], draw the same [`Dropout`] and agree within
//! 1e-5.

use std::collections::BTreeMap;

use super::{Result, dropout::Dropout, packed_batch::PackedBatch};

/// Where weights are read from: a checkpoint, or one under a fresh head and with a reduced word
/// table.
pub(super) trait Source: Send + Sync {
    /// Reads the tensor `name` (full Hugging Face name) in row-major order, as F32, into `out`,
    /// which is as long as the tensor.
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()>;

    /// Reads the rows `ids` of the table `name` into `out`, `[ids, width]`. No other row is read.
    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()>;
}

/// A network for inference. Threads share it: each call has its own buffers.
pub(super) trait Network: Send + Sync {
    /// Last hidden states of all tokens, `[tokens, hidden]`.
    fn hidden(&self, rows: &PackedBatch) -> Result<Vec<f32>>;

    /// One score per class, `[texts, classes]`; without dropout.
    fn logits(&self, rows: &PackedBatch) -> Result<Vec<f32>>;

    /// The logits of each text, then its pooled hidden states, as the head gets them:
    /// `[texts, classes + hidden]`.
    fn logits_and_pooled(&self, rows: &PackedBatch) -> Result<Vec<f32>>;
}

/// A network in training: weights, gradients and AdamW's moments on one device.
pub(super) trait Learner: Send {
    /// Logits `[texts, classes]` under dropout (`None`: without). A network without classes gives
    /// the embeddings instead: pooled and scaled to unit length, `[texts, hidden]`. Keeps the
    /// activations that [`Learner::backward`] needs.
    fn forward(&mut self, rows: &PackedBatch, dropout: Option<Dropout>) -> Result<Vec<f32>>;

    /// Accumulates the gradient of every weight, given the loss's gradient with respect to what
    /// the last [`Learner::forward`] returned. Called once for each forward pass.
    fn backward(&mut self, dlogits: &[f32]) -> Result<()>;

    /// One AdamW step with the accumulated gradients, which are then cleared. Returns their global
    /// norm before clipping.
    ///
    /// # Errors
    /// A weight without a gradient, which would silently never learn.
    fn step(&mut self, update: Update) -> Result<f64>;

    /// Everything that another learner needs to continue exactly from here.
    fn state(&self) -> Result<State>;

    /// Continues from `state`, which is of a learner of the same shape.
    fn restore(&mut self, state: &State) -> Result<()>;

    /// The weights alone, by name.
    fn weights(&self) -> Result<BTreeMap<String, Vec<f32>>>;

    /// The gradients accumulated since the last step, by the names of their weights.
    #[cfg(test)]
    fn gradients(&self) -> Result<BTreeMap<String, Vec<f32>>>;
}

/// The hyper-parameters of one AdamW step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Update {
    /// Learning rate.
    pub rate: f64,
    /// Decoupled weight decay; applies to matrices and tables only.
    pub weight_decay: f64,
    /// Bound on the global norm of the gradients; 0 for none.
    pub clip_norm: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// A weight with the two running moments of its gradient, as AdamW keeps them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot {
    pub weight: Vec<f32>,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

/// The state of a [`Learner`], by the weights' full Hugging Face names.
pub(super) type State = BTreeMap<String, Slot>;
