//! Chooses the engine for a device: `cpu` (hand-written forward and backward over packed rows) on
//! CPUs, `graph` (candle's differentiable ops) on GPUs. `graph` is also the reference in tests.

use std::sync::Arc;

use candle_core::Device;

use super::{
    Result,
    cpu::{CpuLearner, CpuNetwork, Precision},
    graph::{GraphLearner, GraphNetwork},
    model_spec::ModelSpec,
    network::{Learner, Network, Source},
};

/// A network for inference on `device`; `precision` applies to CPUs only.
///
/// # Errors
/// The source cannot be read, or the device has too little memory.
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

/// A network to train on `device`.
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
