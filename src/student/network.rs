//! The seam between the engines that compute and all that trains, classifies and embeds with them.
//!
//! There are two engines: `cpu`, forward and backward written by hand over packed rows, and `graph`,
//! candle's differentiable ops, for GPUs and as the reference. Both are built from a [`ModelSpec`]
//! and a [`Source`] of weights, take the same [`PackedBatch`], draw the same [`Dropout`] and give the same
//! numbers within 1e-5; which of them serves is a question of the device alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Device;

use super::{
    Result,
    cpu::{CpuLearner, CpuNetwork, Precision},
    dropout::Dropout,
    graph::{GraphLearner, GraphNetwork},
    model_spec::ModelSpec,
    packed_batch::PackedBatch,
};

/// The network that serves on `device`; `precision` is the CPU's.
///
/// # Errors
/// What the source cannot read, and what the device cannot hold.
pub(super) fn network(
    spec: ModelSpec,
    source: Arc<dyn Source>,
    device: &Device,
    precision: Precision,
) -> Result<Box<dyn Network>> {
    if device.is_cpu() {
        return Ok(Box::new(CpuNetwork::new(spec, source, precision)?));
    }
    Ok(Box::new(GraphNetwork::new(spec, source, device)?))
}

/// The learner that serves on `device`.
///
/// # Errors
/// As [`network`].
pub(super) fn learner(
    spec: ModelSpec,
    source: &dyn Source,
    device: &Device,
) -> Result<Box<dyn Learner>> {
    if device.is_cpu() {
        return Ok(Box::new(CpuLearner::new(spec, source)?));
    }
    Ok(Box::new(GraphLearner::new(spec, source, device)?))
}

/// Where weights are read from: a checkpoint, or one with a fresh head and a table cut down.
pub(super) trait Source: Send + Sync {
    /// Reads the tensor `name` (full Hugging Face name), row after row, as F32 into `out`, which is
    /// as long as the tensor.
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()>;

    /// Reads the rows `ids` of the table `name`, one after another, into `out`
    /// (`[ids, width]`). What is not asked for is not touched.
    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()>;
}

/// A network that predicts. Shared by threads: each call works in buffers of its own.
pub(super) trait Network: Send + Sync {
    /// Last hidden states of all tokens, `[tokens, hidden]`.
    fn hidden(&self, rows: &PackedBatch) -> Result<Vec<f32>>;

    /// One score per class, `[texts, classes]`; without dropout.
    fn logits(&self, rows: &PackedBatch) -> Result<Vec<f32>>;
}

/// A network that is trained: weights, gradients and AdamW's moments on one device.
pub(super) trait Learner: Send {
    /// Logits `[texts, classes]` under dropout (`None`: without), and what [`Learner::backward`]
    /// needs is kept.
    fn forward(&mut self, rows: &PackedBatch, dropout: Option<Dropout>) -> Result<Vec<f32>>;

    /// Adds the gradients of every weight, given the loss's gradient with respect to the logits of
    /// the last [`Learner::forward`], `[texts, classes]`. Once for each forward pass.
    fn backward(&mut self, dlogits: &[f32]) -> Result<()>;

    /// One AdamW step with the gradients gathered since the last one, which are then forgotten.
    /// Returns their global norm before clipping.
    ///
    /// # Errors
    /// A weight without a gradient: it would silently never learn.
    fn step(&mut self, update: Update) -> Result<f64>;

    /// Everything that another learner needs to go on exactly here.
    fn state(&self) -> Result<State>;

    /// Goes on from `state`, which is of a learner of the same shape.
    fn restore(&mut self, state: &State) -> Result<()>;

    /// The weights alone, by their names.
    fn weights(&self) -> Result<BTreeMap<String, Vec<f32>>>;

    /// The gradients gathered since the last step, by the names of their weights.
    #[cfg(test)]
    fn gradients(&self) -> Result<BTreeMap<String, Vec<f32>>>;
}

/// The numbers of one AdamW step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Update {
    /// Learning rate.
    pub rate: f64,
    /// Decoupled weight decay, of matrices and tables only.
    pub weight_decay: f64,
    /// Bound on the global norm of the gradients; 0 for none.
    pub clip_norm: f64,
    /// Steps taken, this one included; from 1.
    pub step: u64,
}

/// A weight with the two running moments of its gradient.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot {
    pub weight: Vec<f32>,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

/// The state of a [`Learner`] by the weights' full Hugging Face names.
pub(super) type State = BTreeMap<String, Slot>;
