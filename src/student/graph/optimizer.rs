//! AdamW with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101), clipping by
//! the global norm, and the usual schedule: linear warm-up, linear decay to zero.
//!
//! `candle_nn::AdamW` makes a dozen passes and as many new tensors per parameter, which costs more
//! than the rest of a training step; on a CPU this is one pass in place.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, Var};
use rayon::prelude::*;

use super::arith::{self, AdamStep};
use super::kernels::{Sink, with_floats};
use super::{Result, StudentError};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// As in `torch.nn.utils.clip_grad_norm_`.
const CLIP_EPSILON: f64 = 1e-6;
/// Numbers per task.
const CHUNK: usize = 1 << 14;

/// The gradients of one loss: those that candle's graph carried and those of the fused ops.
pub(in crate::student) struct Gradients {
    store: GradStore,
    sink: Sink,
}

impl Gradients {
    /// Runs `loss` backward; `sink` is the one that the network was built with.
    pub fn of(loss: &Tensor, sink: &Sink) -> Result<Self> {
        Ok(Self { store: loss.backward()?, sink: sink.clone() })
    }

    /// Takes the gradient of `var` out.
    pub fn take(&mut self, var: &Var) -> Option<Tensor> {
        self.sink.take(var).or_else(|| self.store.remove(var))
    }
}

/// A parameter with its running moments.
struct Param {
    name: String,
    var: Var,
    /// Biases and layer norms are not decayed.
    decays: bool,
    moments: Moments,
}

enum Moments {
    InPlace { first: Vec<f32>, second: Vec<f32> },
    Tensors { first: Tensor, second: Tensor },
}

/// The optimiser of one training.
pub(in crate::student) struct AdamW {
    params: Vec<Param>,
    weight_decay: f64,
    clip_norm: f64,
    step: i32,
}

impl AdamW {
    /// Over named variables; `clip_norm` bounds the global norm of the gradients, 0 for no bound.
    pub fn new(
        vars: impl IntoIterator<Item = (String, Var)>,
        weight_decay: f64,
        clip_norm: f64,
    ) -> Result<Self> {
        let params = vars
            .into_iter()
            .map(|(name, var)| {
                let moments = if var.device().is_cpu() {
                    let zeros = vec![0f32; var.elem_count()];
                    Moments::InPlace { first: zeros.clone(), second: zeros }
                } else {
                    Moments::Tensors { first: var.zeros_like()?, second: var.zeros_like()? }
                };
                Ok(Param { decays: decays(&name), name, var, moments })
            })
            .collect::<Result<_>>()?;
        Ok(Self { params, weight_decay, clip_norm, step: 0 })
    }

    /// One update at `rate`; returns the global norm of the gradients before clipping.
    ///
    /// # Errors
    /// A parameter without a gradient is an error: it would silently never learn.
    pub fn step(&mut self, grads: &mut Gradients, rate: f64) -> Result<f64> {
        let grads = self
            .params
            .iter()
            .map(|param| match grads.take(&param.var) {
                Some(grad) => Ok(grad.contiguous()?),
                None => Err(StudentError::Training(format!(
                    "{} received no gradient\nhint: this is a fault of the network code, please report it",
                    param.name
                ))),
            })
            .collect::<Result<Vec<_>>>()?;
        let norm = global_norm(&grads)?;
        let clip = match self.clip_norm > 0.0 {
            true => (self.clip_norm / (norm + CLIP_EPSILON)).min(1.0),
            false => 1.0,
        };
        self.step += 1;
        for (param, grad) in self.params.iter_mut().zip(&grads) {
            let decay = if param.decays { self.weight_decay } else { 0.0 };
            let numbers = AdamStep {
                beta1: BETA1 as f32,
                beta2: BETA2 as f32,
                epsilon: EPSILON as f32,
                rate: (rate / (1.0 - BETA1.powi(self.step))) as f32,
                second: (1.0 / (1.0 - BETA2.powi(self.step))) as f32,
                keep: (1.0 - rate * decay) as f32,
                clip: clip as f32,
            };
            update(param, grad, numbers)?;
        }
        Ok(norm)
    }
}

/// Whether a parameter of this name is decayed: matrices and tables are, biases and norms not.
pub(in crate::student) fn decays(name: &str) -> bool {
    !(name.ends_with(".bias") || name.contains("LayerNorm") || name.contains("layer_norm"))
}

fn global_norm(grads: &[Tensor]) -> Result<f64> {
    let mut total = 0.0;
    for grad in grads {
        total += if grad.device().is_cpu() {
            // Chunks in order: the sum does not depend on the number of threads.
            with_floats(grad, |grad| {
                grad.par_chunks(CHUNK)
                    .map(arith::sum_squares)
                    .collect::<Vec<_>>()
                    .iter()
                    .sum::<f64>()
            })?
        } else {
            f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?)
        };
    }
    Ok(total.sqrt())
}

fn update(param: &mut Param, grad: &Tensor, step: AdamStep) -> Result<()> {
    match &mut param.moments {
        Moments::InPlace { first, second } => with_floats(grad, |grad| {
            param.var.inplace_op1(&Update { step, moments: RefCell::new((first, second)), grad })
        })??,
        Moments::Tensors { first, second } => {
            let grad = (grad * f64::from(step.clip))?;
            *first = ((&*first * BETA1)? + (&grad * (1.0 - BETA1))?)?;
            *second = ((&*second * BETA2)? + (grad.sqr()? * (1.0 - BETA2))?)?;
            let root = ((&*second * f64::from(step.second))?.sqrt()? + EPSILON)?;
            let change = ((&*first / root)? * f64::from(step.rate))?;
            let kept = (param.var.as_detached_tensor() * f64::from(step.keep))?;
            param.var.set(&(kept - change)?)?;
        }
    }
    Ok(())
}

/// The fused update of one parameter where it lies.
struct Update<'a> {
    step: AdamStep,
    moments: RefCell<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
    grad: &'a [f32],
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "student-adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(params), Some((from, to))) = (storage, layout.contiguous_offsets())
        else {
            candle_core::bail!("the optimiser was given a parameter that is strided or not F32");
        };
        let mut moments = self.moments.borrow_mut();
        let (first, second) = &mut *moments;
        let step = self.step;
        params[from..to]
            .par_chunks_mut(CHUNK)
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .zip(self.grad.par_chunks(CHUNK))
            .for_each(|(((params, first), second), grad)| {
                arith::adamw(step, params, first, second, grad);
            });
        Ok(())
    }
}

/// Learning rate as a share of its peak: up over the first `warmup` of `steps`, down to zero after.
pub(in crate::student) fn schedule(step: usize, steps: usize, warmup: usize) -> f64 {
    if step < warmup {
        (step + 1) as f64 / warmup as f64
    } else {
        (steps - step) as f64 / (steps - warmup).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_climbs_to_one_and_ends_just_above_zero() {
        let rates = (0..10).map(|step| schedule(step, 10, 2)).collect::<Vec<_>>();
        assert_eq!(rates[..3], [0.5, 1.0, 1.0]);
        assert_eq!(rates[9], 0.125);
        assert_eq!(schedule(0, 3, 0), 1.0);
    }

    #[test]
    fn only_matrices_and_tables_decay() {
        assert!(decays("distilbert.embeddings.word_embeddings.weight"));
        assert!(decays("classifier.weight"));
        for name in ["classifier.bias", "a.LayerNorm.weight", "b.output_layer_norm.weight"] {
            assert!(!decays(name), "{name}");
        }
    }
}
