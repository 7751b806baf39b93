//! Fine-tuning: examples in, a [`Classifier`] out.
//!
//! The hyper-parameters of the paper (`TrainSettings::default`). Every random choice is keyed by
//! the seed and what it is for (the epoch's order, the step's dropout, the fresh head), so a
//! training repeats exactly on the same machine.
//!
//! **Only the words that occur are trained.** A word that no example contains has no gradient, and
//! all that AdamW does to its row of the embedding table is to decay it. So the table is cut down
//! to the words of the examples (ids renumbered), and at the end the other rows get their decay
//! all at once. The outcome is the same; the time is not, since the table is half of a small
//! encoder's weights.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use candle_nn::ops;
use rand::seq::SliceRandom;

use super::config::Architecture;
use super::graph::head::{self, Head};
use super::graph::kernels::Sink;
use super::graph::layers::Params;
use super::graph::optimizer::{AdamW, Gradients, schedule};
use super::graph::{bert, distilbert};
use super::weights::Tensors;
use super::{BaseModel, Classifier, DropoutRng, Pooling, Result, Rows, StudentError, base, tokens};
use crate::rng::Rng;

/// A text with its class.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The text.
    pub text: String,
    /// Number of its class in the labels.
    pub label: usize,
    /// Weight of its loss, relative to its batch; 1 for an ordinary example.
    pub weight: f32,
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSettings {
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples per optimiser step.
    pub batch_size: usize,
    /// Peak of the learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay, of matrices and tables only.
    pub weight_decay: f64,
    /// Share of the steps over which the learning rate climbs.
    pub warmup_share: f64,
    /// Tokens per text, the two special ones included.
    pub max_length: usize,
    /// Bound on the global norm of the gradients; 0 for none.
    pub clip_norm: f64,
    /// Share of the target spread evenly over all classes.
    pub label_smoothing: f64,
    /// Where the epochs give fewer optimiser steps than this, more epochs are run; 0 for off.
    pub min_steps: usize,
    /// How token vectors become a text vector.
    pub pooling: Pooling,
    /// Seed of the order, the dropout and the fresh head.
    pub seed: u64,
}

impl Default for TrainSettings {
    /// The paper's: 5 epochs, batch 8, 4e-5 with 10 % warm-up, weight decay 0.01, 50 tokens.
    fn default() -> Self {
        Self {
            epochs: 5,
            batch_size: 8,
            learning_rate: 4e-5,
            weight_decay: 0.01,
            warmup_share: 0.1,
            max_length: 50,
            clip_norm: 1.0,
            label_smoothing: 0.0,
            min_steps: 0,
            pooling: Pooling::First,
            seed: 0,
        }
    }
}

/// What happened in one optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainStep {
    /// Steps done, this one included.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Epoch of this step, from 0.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Mean loss of the batch.
    pub loss: f32,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping.
    pub gradient_norm: f64,
}

/// Fine-tunes `base` under a fresh classification head over `labels`; `progress` is called after
/// every optimiser step.
///
/// # Errors
/// Examples or settings that cannot be trained on, and a loss that is no longer a number.
pub fn train(
    base: &BaseModel,
    labels: &[String],
    examples: &[Example],
    settings: &TrainSettings,
    progress: &mut dyn FnMut(TrainStep),
) -> Result<Classifier> {
    check(labels, examples, settings)?;
    let inner = &*base.inner;
    let (config, device) = (&inner.config, &inner.device);
    let max_length = settings.max_length.min(config.max_positions);
    let tokenizer = tokens::limited(&inner.tokenizer, max_length, &inner.origin)?;
    let texts = examples.iter().map(|example| example.text.as_str()).collect::<Vec<_>>();
    let mut ids = tokens::tokenise(&tokenizer, &texts, config.vocab_size, &inner.origin)?;

    let before = inner.tensors()?;
    let mut tensors = before.clone();
    head::initialise(&mut tensors, config, labels.len(), settings.seed, device)?;
    let words = Words::cut(config.architecture, &mut tensors, &mut ids, config.pad_token_id)?;
    let vars = tensors
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), Var::from_tensor(tensor)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let live = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let params = Params { tensors: &live, sink: Sink::default() };
    let encoder = base::build_encoder(config, &params)?;
    let head = Head::new(config, &params)?;
    let mut optimizer = AdamW::new(vars.clone(), settings.weight_decay, settings.clip_norm)?;

    let per_epoch = examples.len().div_ceil(settings.batch_size);
    let epochs = settings.epochs.max(settings.min_steps.div_ceil(per_epoch));
    let steps = epochs * per_epoch;
    let warmup = (settings.warmup_share * steps as f64) as usize;
    let mut order = (0..examples.len()).collect::<Vec<_>>();
    let (mut step, mut unused_kept) = (0, 1.0);
    for epoch in 0..epochs {
        order.sort_unstable();
        order.shuffle(&mut Rng::for_item(settings.seed, "student", epoch as u64));
        for batch in order.chunks(settings.batch_size) {
            let texts = batch.iter().map(|&at| ids[at].as_slice()).collect::<Vec<_>>();
            let rows = Rows::new(&texts, words.pad, device)?;
            let mut dropout = DropoutRng::new(settings.seed, step as u64);
            let hidden = encoder.encode(&rows, Some(&mut dropout))?;
            let pooled = rows.pool(&hidden, settings.pooling)?;
            let logits = head.forward(&pooled, Some(&mut dropout))?;
            let batch = batch.iter().map(|&at| &examples[at]).collect::<Vec<_>>();
            let loss = loss(&logits, &batch, settings.label_smoothing)?;
            let mut grads = Gradients::of(&loss, &params.sink)?;
            let rate = settings.learning_rate * schedule(step, steps, warmup);
            let gradient_norm = optimizer.step(&mut grads, rate)?;
            unused_kept *= 1.0 - rate * settings.weight_decay;
            step += 1;
            let loss = loss.to_scalar::<f32>()?;
            if !(loss.is_finite() && gradient_norm.is_finite()) {
                return Err(StudentError::Training(format!(
                    "the loss is {loss} and the gradient's norm {gradient_norm} at step {step} of {steps}\nhint: lower the learning rate"
                )));
            }
            progress(TrainStep {
                step,
                steps,
                epoch,
                epochs,
                loss,
                learning_rate: rate,
                gradient_norm,
            });
        }
    }
    let mut trained =
        vars.into_iter().map(|(name, var)| (name, var.as_detached_tensor())).collect::<Tensors>();
    words.put_back(&before, &mut trained, unused_kept)?;
    let trained = trained
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.flatten_all()?.to_vec1()?)))
        .collect::<Result<_>>()?;
    Classifier::build(base, trained, labels.to_vec(), settings.pooling, max_length)
}

/// Weighted mean cross-entropy of a batch, `logits` `[batch, classes]`, targets smoothed.
pub(super) fn loss(logits: &Tensor, batch: &[&Example], smoothing: f64) -> Result<Tensor> {
    let (_, classes) = logits.dims2()?;
    let whole = batch.iter().map(|example| example.weight).sum::<f32>().max(f32::MIN_POSITIVE);
    let spread = smoothing as f32 / classes as f32;
    let mut targets = vec![spread; batch.len() * classes];
    for (row, example) in targets.chunks_mut(classes).zip(batch) {
        row[example.label] += 1.0 - smoothing as f32;
        row.iter_mut().for_each(|target| *target *= example.weight / whole);
    }
    let targets = Tensor::from_vec(targets, logits.shape(), logits.device())?;
    let targets = targets.to_dtype(logits.dtype())?;
    // The plain op: the fused softmax has no backward.
    Ok((ops::log_softmax(logits, 1)? * targets)?.sum_all()?.neg()?)
}

/// The word table cut down to the words of the examples.
struct Words {
    name: &'static str,
    /// Old ids of the rows that were kept, ascending.
    kept: Vec<u32>,
    /// New id of the padding token.
    pad: u32,
}

impl Words {
    /// Cuts the table in `tensors` and renumbers `ids` to fit.
    fn cut(
        architecture: Architecture,
        tensors: &mut Tensors,
        ids: &mut [Vec<u32>],
        pad: u32,
    ) -> Result<Self> {
        let name = match architecture {
            Architecture::DistilBert => distilbert::WORDS,
            Architecture::Bert => bert::WORDS,
        };
        let table = super::graph::layers::take(tensors, name)?;
        let pad = pad.min(table.dim(0)? as u32 - 1);
        let mut kept = ids.iter().flatten().copied().chain([pad]).collect::<Vec<_>>();
        kept.sort_unstable();
        kept.dedup();
        let new_id = |id: &u32| kept.partition_point(|kept| kept < id) as u32;
        ids.iter_mut().flatten().for_each(|id| *id = new_id(id));
        let pad = new_id(&pad);
        let rows = Tensor::from_slice(&kept, kept.len(), table.device())?;
        tensors.insert(name.to_owned(), table.index_select(&rows, 0)?);
        Ok(Self { name, kept, pad })
    }

    /// Puts the trained rows back into the whole table; the others keep `unused_kept` of
    /// themselves, the product of all their decays.
    fn put_back(&self, before: &Tensors, trained: &mut Tensors, unused_kept: f64) -> Result<()> {
        let table = super::graph::layers::take(before, self.name)?;
        let rows = super::graph::layers::take(trained, self.name)?;
        let width = table.dim(1)?;
        let mut whole = (&table * unused_kept)?.flatten_all()?.to_vec1::<f32>()?;
        let rows = rows.flatten_all()?.to_vec1::<f32>()?;
        for (&id, row) in self.kept.iter().zip(rows.chunks_exact(width)) {
            whole[id as usize * width..][..width].copy_from_slice(row);
        }
        let whole = Tensor::from_vec(whole, table.shape(), table.device())?;
        trained.insert(self.name.to_owned(), whole);
        Ok(())
    }
}

fn check(labels: &[String], examples: &[Example], settings: &TrainSettings) -> Result<()> {
    let fault = |message: String| Err(StudentError::Training(message));
    if labels.len() < 2 {
        return fault(format!("{} classes, at least 2 are wanted", labels.len()));
    }
    if let Some(twice) = labels.iter().enumerate().find(|(at, label)| labels[..*at].contains(label))
    {
        return fault(format!("the class \"{}\" is named twice", twice.1));
    }
    if examples.is_empty() {
        return fault("there are no examples".to_owned());
    }
    for (at, example) in examples.iter().enumerate() {
        if example.label >= labels.len() {
            return fault(format!(
                "example {} has class number {}, there are {} classes",
                at + 1,
                example.label,
                labels.len()
            ));
        }
        if !(example.weight.is_finite() && example.weight >= 0.0) {
            return fault(format!("example {} has weight {}", at + 1, example.weight));
        }
    }
    if settings.epochs == 0 || settings.batch_size == 0 {
        return fault("epochs and batch_size must be at least 1".to_owned());
    }
    for (name, value, top) in [
        ("learning_rate", settings.learning_rate, f64::MAX),
        ("weight_decay", settings.weight_decay, f64::MAX),
        ("clip_norm", settings.clip_norm, f64::MAX),
        ("warmup_share", settings.warmup_share, 1.0),
        ("label_smoothing", settings.label_smoothing, 1.0),
    ] {
        if !(0.0..=top).contains(&value) {
            return fault(format!("{name} is {value}, a number from 0 to {top} is wanted"));
        }
    }
    Ok(())
}
