//! The reference engine: candle's differentiable ops over padded rectangles. It is what a GPU runs,
//! and, in F64, what the CPU's hand-written engine is held against.

mod frame;
mod net;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor, Var};

use super::blueprint::Blueprint;
use super::dropout::Dropout;
use super::network::{Learner, Network, Slot, Source, State, Update};
use super::optimizer::{BETA1, BETA2, EPSILON, Factors, decays};
use super::rows::Rows;
use super::{Result, StudentError};
use frame::Frame;
use net::{Pass, Tensors};

/// A network that predicts, op by op.
pub(super) struct GraphNetwork {
    blueprint: Blueprint,
    tensors: Tensors,
    device: Device,
}

impl GraphNetwork {
    /// Reads every tensor of `blueprint` from `source` onto `device`.
    ///
    /// # Errors
    /// What the source cannot read, and what the device cannot hold.
    pub fn new(blueprint: Blueprint, source: Arc<dyn Source>, device: &Device) -> Result<Self> {
        let tensors = net::read(&blueprint, &*source, DType::F32, device)?;
        Ok(Self { blueprint, tensors, device: device.clone() })
    }

    fn run(&self, rows: &Rows, of: fn(&Pass) -> Result<Tensor>) -> Result<Vec<f32>> {
        if rows.texts() == 0 {
            return Ok(Vec::new());
        }
        let frame = Frame::new(rows, DType::F32, &self.device)?;
        let Self { blueprint, tensors, .. } = self;
        floats(&of(&Pass { blueprint, tensors, frame: &frame, dropout: None })?)
    }
}

impl Network for GraphNetwork {
    fn hidden(&self, rows: &Rows) -> Result<Vec<f32>> {
        self.run(rows, |pass| pass.frame.pack(&pass.hidden()?))
    }

    fn logits(&self, rows: &Rows) -> Result<Vec<f32>> {
        self.run(rows, |pass| pass.logits())
    }
}

/// A weight under training.
struct Param {
    var: Var,
    /// Gathered since the last step.
    gradient: Option<Tensor>,
}

/// Weights that are updated alike, with AdamW's moments of all of them in one vector each: a GPU starts
/// a few kernels for a whole group instead of a dozen for each weight.
struct Group {
    names: Vec<String>,
    first: Tensor,
    second: Tensor,
}

/// A network that is trained, op by op.
pub(super) struct GraphLearner {
    blueprint: Blueprint,
    params: BTreeMap<String, Param>,
    /// The weights that decay and those that do not.
    groups: Vec<Group>,
    /// The same weights as the network sees them.
    tensors: Tensors,
    /// Of the last forward pass, with their graph.
    logits: Option<Tensor>,
    dtype: DType,
    device: Device,
}

impl GraphLearner {
    /// Reads every tensor of `blueprint` from `source` onto `device`.
    ///
    /// # Errors
    /// What the source cannot read, and what the device cannot hold.
    pub fn new(blueprint: Blueprint, source: &dyn Source, device: &Device) -> Result<Self> {
        Self::with_dtype(blueprint, source, DType::F32, device)
    }

    /// The same in another number type: F64 is the tests' ruler.
    pub fn with_dtype(
        blueprint: Blueprint,
        source: &dyn Source,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let mut params = BTreeMap::new();
        for (name, tensor) in net::read(&blueprint, source, dtype, device)? {
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
        Ok(Self { blueprint, params, groups, tensors, logits: None, dtype, device: device.clone() })
    }

    /// The gradients of a group one after another; a weight without one is a fault.
    fn gradients_of(&self, group: &Group) -> Result<Tensor> {
        let gradient = |name: &String| {
            let gradient = self.params[name].gradient.as_ref();
            Ok(gradient.ok_or_else(|| no_gradient(name))?.flatten_all()?)
        };
        let gradients = group.names.iter().map(gradient).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&gradients, 0)?)
    }

    /// Norm of all gradients together.
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
    fn forward(&mut self, rows: &Rows, dropout: Option<Dropout>) -> Result<Vec<f32>> {
        let frame = Frame::new(rows, self.dtype, &self.device)?;
        let Self { blueprint, tensors, .. } = self;
        let logits = Pass { blueprint, tensors, frame: &frame, dropout }.logits()?;
        let values = floats(&logits)?;
        self.logits = Some(logits);
        Ok(values)
    }

    fn backward(&mut self, dlogits: &[f32]) -> Result<()> {
        let logits = self.logits.take().ok_or_else(|| {
            StudentError::Training(
                "a backward pass without a forward pass\nhint: this is a fault of ours, please report it".to_owned(),
            )
        })?;
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
        let gradients = (self.groups.iter())
            .map(|group| self.gradients_of(group))
            .collect::<Result<Vec<_>>>()?;
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
                let place = at..at + weight.len();
                at = place.end;
                let (first, second) = (first[place.clone()].to_vec(), second[place].to_vec());
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
                    StudentError::Training(format!("the state to go on from has no {name}\nhint: this is a fault of ours, please report it"))
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
    StudentError::Training(format!(
        "{name} received no gradient\nhint: this is a fault of the network code, please report it"
    ))
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
    Ok(flat.to_vec1()?)
}
