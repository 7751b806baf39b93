//! The classification head, as in Hugging Face's `...ForSequenceClassification`.
//!
//! DistilBERT: `pre_classifier`, ReLU, dropout, `classifier`. BERT: the pooler's dense layer and
//! tanh, dropout, `classifier`. The first dense layer is taken from the checkpoint where it has
//! one and drawn afresh where not; the classifier itself is always drawn afresh.

use candle_core::{Device, Tensor};
use rand_distr::{Distribution, Normal};

use super::super::config::{Architecture, Config};
use super::super::weights::Tensors;
use super::layers::{Linear, Params, drop_out};
use super::{DropoutRng, Result, StudentError};
use crate::rng::Rng;

const CLASSIFIER: &str = "classifier";

fn dense_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::DistilBert => "pre_classifier",
        Architecture::Bert => "bert.pooler.dense",
    }
}

/// Draws a fresh classifier over `classes` classes, and the dense layer where it is missing:
/// weights from Normal(0, initializer_range), biases zero.
pub(in crate::student) fn initialise(
    tensors: &mut Tensors,
    config: &Config,
    classes: usize,
    seed: u64,
    device: &Device,
) -> Result<()> {
    let normal = Normal::new(0.0, config.initializer_range).map_err(|error| {
        StudentError::Training(format!("initializer_range {}: {error}", config.initializer_range))
    })?;
    let width = config.hidden_size;
    let dense = dense_name(config.architecture);
    for (item, (name, outputs)) in [(dense, width), (CLASSIFIER, classes)].into_iter().enumerate() {
        if name == dense && tensors.contains_key(&format!("{name}.weight")) {
            continue;
        }
        let mut rng = Rng::for_item(seed, "student-head", item as u64);
        let weights = (0..outputs * width).map(|_| normal.sample(&mut rng) as f32).collect();
        let weight = Tensor::from_vec::<_, f32>(weights, (outputs, width), device)?;
        tensors.insert(format!("{name}.weight"), weight);
        let bias = Tensor::from_vec(vec![0f32; outputs], outputs, device)?;
        tensors.insert(format!("{name}.bias"), bias);
    }
    Ok(())
}

/// From one pooled vector per text to one score per class.
pub(in crate::student) struct Head {
    architecture: Architecture,
    dense: Linear,
    classifier: Linear,
    dropout: f64,
}

impl Head {
    pub fn new(config: &Config, params: &Params) -> Result<Self> {
        Ok(Self {
            architecture: config.architecture,
            dense: Linear::new(params, dense_name(config.architecture))?,
            classifier: Linear::new(params, CLASSIFIER)?,
            dropout: config.head_dropout,
        })
    }

    /// `[batch, hidden]` to logits `[batch, classes]`.
    pub fn forward(&self, pooled: &Tensor, mut dropout: Option<&mut DropoutRng>) -> Result<Tensor> {
        let x = self.dense.forward(pooled)?;
        let x = match self.architecture {
            Architecture::DistilBert => x.relu()?,
            Architecture::Bert => x.tanh()?,
        };
        self.classifier.forward(&drop_out(x, self.dropout, &mut dropout)?)
    }
}
