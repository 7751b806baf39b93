//! The reference engine: candle's differentiable ops over padded batches. It runs on GPUs, and in
//! F64 it is the reference for tests of the CPU engine.

mod net;
mod padded_batch;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor, Var};

use super::{
    Result, StudentError,
    dropout::Dropout,
    model_spec::ModelSpec,
    network::{Learner, Network, Slot, Source, State, Update},
    optimizer::{BETA1, BETA2, EPSILON, Factors, decays},
    packed_batch::PackedBatch,
};
use net::{Pass, Tensors};
use padded_batch::PaddedBatch;

/// The network for inference.
pub(super) struct GraphNetwork {
    spec: ModelSpec,
    tensors: Tensors,
    device: Device,
}

impl GraphNetwork {
    /// Reads every tensor of `spec` from `source` onto `device`.
    ///
    /// # Errors
    /// The source cannot be read, or the device has too little memory.
    pub(super) fn new(spec: ModelSpec, source: Arc<dyn Source>, device: &Device) -> Result<Self> {
        let tensors = net::read(&spec, &*source, DType::F32, device)?;
        Ok(Self { spec, tensors, device: device.clone() })
    }

    fn run(&self, rows: &PackedBatch, of: fn(&Pass) -> Result<Tensor>) -> Result<Vec<f32>> {
        if rows.texts() == 0 {
            return Ok(Vec::new());
        }
        let padded = PaddedBatch::new(rows, DType::F32, &self.device)?;
        let Self { spec, tensors, .. } = self;
        floats(&of(&Pass { spec, tensors, padded: &padded, dropout: None })?)
    }
}

impl Network for GraphNetwork {
    fn hidden(&self, rows: &PackedBatch) -> Result<Vec<f32>> {
        self.run(rows, |pass| pass.padded.pack(&pass.hidden()?))
    }

    fn logits(&self, rows: &PackedBatch) -> Result<Vec<f32>> {
        self.run(rows, |pass| pass.logits())
    }

    fn logits_and_pooled(&self, rows: &PackedBatch) -> Result<Vec<f32>> {
        self.run(rows, |pass| pass.logits_and_pooled())
    }
}

/// A weight under training.
struct Param {
    var: Var,
    /// Accumulated since the last step.
    gradient: Option<Tensor>,
}

/// Weights that are updated alike, with AdamW's moments of all of them in one vector each: a GPU
/// launches a few kernels per group instead of a dozen per weight.
struct Group {
    names: Vec<String>,
    first: Tensor,
    second: Tensor,
}

/// The network in training.
pub(super) struct GraphLearner {
    spec: ModelSpec,
    params: BTreeMap<String, Param>,
    /// The weights that decay, and those that do not.
    groups: Vec<Group>,
    /// The same weights, as the forward pass uses them.
    tensors: Tensors,
    /// Logits of the last forward pass, with their graph.
    logits: Option<Tensor>,
    dtype: DType,
    device: Device,
}

impl GraphLearner {
    /// Reads every tensor of `spec` from `source` onto `device`.
    ///
    /// # Errors
    /// The source cannot be read, or the device has too little memory.
    pub(super) fn new(spec: ModelSpec, source: &dyn Source, device: &Device) -> Result<Self> {
        Self::with_dtype(spec, source, DType::F32, device)
    }

    /// The same in another number type: tests use F64 as the reference.
    pub(super) fn with_dtype(
        spec: ModelSpec,
        source: &dyn Source,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let mut params = BTreeMap::new();
        for (name, tensor) in net::read(&spec, source, dtype, device)? {
            params.insert(name, Param { var: Var::from_tensor(&tensor)?, gradient: None });
        }
        let (decaying, others) = params.keys().cloned().partition(|name| decays(name));
        let group = |names: Vec<String>| -> Result<Group> {
            let count = names.iter().map(|name| params[name].var.elem_count()).sum::<usize>();
            let zeros = || Tensor::zeros(count, dtype, device);
            Ok(Group { names, first: zeros()?, second: zeros()? })
        };
        let groups = vec![group(decaying)?, group(others)?];
        let tensors =
            params.iter().map(|(name, param)| (name.clone(), param.var.as_tensor().clone()));
        let tensors = tensors.collect();
        Ok(Self { spec, params, groups, tensors, logits: None, dtype, device: device.clone() })
    }

    /// The gradients of a group, one after another; a weight without a gradient is an error.
    fn gradients_of(&self, group: &Group) -> Result<Tensor> {
        let gradient = |name: &String| {
            let gradient = self.params[name].gradient.as_ref();
            Ok(gradient.ok_or_else(|| no_gradient(name))?.flatten_all()?)
        };
        let gradients = group.names.iter().map(gradient).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&gradients, 0)?)
    }

    /// Global norm of the `gradients` of all groups.
    fn norm(&self, gradients: &[Tensor]) -> Result<f64> {
        // Metal has no F64.
        let wide = if self.device.is_metal() { self.dtype } else { DType::F64 };
        let mut square = 0.0;
        for gradient in gradients {
            let sum = gradient.to_dtype(wide)?.sqr()?.sum_all()?;
            square += sum.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        }
        Ok(square.sqrt())
    }
}

impl Learner for GraphLearner {
    fn forward(&mut self, rows: &PackedBatch, dropout: Option<Dropout>) -> Result<Vec<f32>> {
        let padded = PaddedBatch::new(rows, self.dtype, &self.device)?;
        let Self { spec, tensors, .. } = self;
        let logits = Pass { spec, tensors, padded: &padded, dropout }.logits()?;
        let values = floats(&logits)?;
        self.logits = Some(logits);
        Ok(values)
    }

    fn backward(&mut self, dlogits: &[f32]) -> Result<()> {
        let logits = self
            .logits
            .take()
            .ok_or_else(|| StudentError::bug("a backward pass without a forward pass"))?;
        let dlogits = Tensor::from_slice(dlogits, logits.shape(), &self.device)?;
        let mut store = (logits * dlogits.to_dtype(self.dtype)?)?.sum_all()?.backward()?;
        for param in self.params.values_mut() {
            let Some(more) = store.remove(&param.var) else { continue };
            param.gradient = Some(match param.gradient.take() {
                Some(gradient) => (gradient + more)?,
                None => more,
            });
        }
        Ok(())
    }

    fn step(&mut self, update: Update) -> Result<f64> {
        let gradients =
            self.groups.iter().map(|group| self.gradients_of(group)).collect::<Result<Vec<_>>>()?;
        let norm = self.norm(&gradients)?;
        let factors = Factors::new(update, norm);
        for (group, gradient) in self.groups.iter_mut().zip(gradients) {
            let gradient = (gradient * factors.clip)?;
            group.first = ((&group.first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            group.second = ((&group.second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let root = ((&group.second * factors.second_scale)?.sqrt()? + EPSILON)?;
            let change = ((&group.first / root)? * factors.rate)?;
            let mut at = 0;
            for name in &group.names {
                let param = self.params.get_mut(name).expect("a group names weights");
                let change = change.narrow(0, at, param.var.elem_count())?;
                let kept = (param.var.as_detached_tensor() * factors.keep_of(name))?;
                param.var.set(&(kept - change.reshape(param.var.shape())?)?)?;
                param.gradient = None;
                at += param.var.elem_count();
            }
        }
        Ok(norm)
    }

    fn state(&self) -> Result<State> {
        let mut state = State::new();
        for group in &self.groups {
            let (first, second) = (floats(&group.first)?, floats(&group.second)?);
            let mut at = 0;
            for name in &group.names {
                let weight = floats(self.params[name].var.as_tensor())?;
                let range = at..at + weight.len();
                at = range.end;
                let (first, second) = (first[range.clone()].to_vec(), second[range].to_vec());
                state.insert(name.clone(), Slot { weight, first, second });
            }
        }
        Ok(state)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let tensor = |values: &[f32], shape: &Shape| -> Result<Tensor> {
            Ok(Tensor::from_slice(values, shape, &self.device)?.to_dtype(self.dtype)?)
        };
        for group in &mut self.groups {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for name in &group.names {
                let slot = state.get(name).ok_or_else(|| {
                    StudentError::bug(format!("the state to restore has no {name}"))
                })?;
                let param = self.params.get_mut(name).expect("a group names weights");
                param.var.set(&tensor(&slot.weight, param.var.shape())?)?;
                param.gradient = None;
                first.extend_from_slice(&slot.first);
                second.extend_from_slice(&slot.second);
            }
            group.first = tensor(&first, group.first.shape())?;
            group.second = tensor(&second, group.second.shape())?;
        }
        self.logits = None;
        Ok(())
    }

    fn weights(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        self.tensors.iter().map(|(name, tensor)| Ok((name.clone(), floats(tensor)?))).collect()
    }

    #[cfg(test)]
    fn gradients(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        let gradient = |(name, param): (&String, &Param)| {
            let gradient = param.gradient.as_ref().ok_or_else(|| no_gradient(name))?;
            Ok((name.clone(), floats(gradient)?))
        };
        self.params.iter().map(gradient).collect()
    }
}

fn no_gradient(name: &str) -> StudentError {
    StudentError::bug(format!("{name} received no gradient"))
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
    Ok(flat.to_vec1()?)
}
