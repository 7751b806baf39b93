//! The contrastive stage, before cross-entropy: the encoder learns to place texts of one class
//! together and those of other classes apart. This is the idea of SetFit (Tunstall et al. 2022,
//! arXiv 2209.11055), here with the supervised contrastive loss over whole batches.
//!
//! The stage makes one [`BaseModel`] of another, so that all that follows (the logistic regression
//! that a linear head starts from, cross-entropy, snapshots) only sees another encoder. It is short
//! and repeatable: when an interrupted training is resumed, it runs anew.

mod loss;
mod pairs;

use std::ops::{ControlFlow, Range};

use super::{
    Example, FineTune, Stages, TrainSettings, TrainStep, Training,
    init::{InitialWeights, Weights},
    memory_estimate,
    plan::{Plan, Stage},
    train_loop::check_finite,
};
use crate::{
    memory,
    student::{
        BaseModel, Head, Result, StudentError,
        dropout::Dropout,
        engine::learner,
        model_spec::ModelSpec,
        network::{Learner, Update},
        packed_batch::PackedBatch,
    },
};
use loss::contrastive_loss;
use pairs::{Pairs, count_pairs};

/// The texts of a step, in batches of cross-entropy: more texts give more negatives.
const BATCHES: usize = 4;
/// Dropout of a pass is keyed by its number; those of cross-entropy are smaller than this.
const FIRST_PASS: u64 = 1 << 32;

/// The stage that `settings` ask for: its epochs, steps and learning rates.
pub(super) fn stage(settings: &TrainSettings, examples: &[Example]) -> Option<Stage> {
    let is_asked = settings.stages == Stages::Contrastive && !examples.is_empty();
    is_asked.then(|| {
        let pairs = count_pairs(examples.iter().map(|example| example.label));
        let per_epoch = pairs.div_ceil(pairs_per_step(settings));
        let epochs = (settings.epochs, settings.min_steps);
        Stage::new(settings, Vec::new(), per_epoch, epochs, settings.learning_rate)
    })
}

/// Texts per pass through the network; without `micro_batch` a step is one pass.
pub(super) fn rows_per_pass(settings: &TrainSettings) -> usize {
    let all = 2 * pairs_per_step(settings);
    if settings.micro_batch == 0 { all } else { settings.micro_batch.min(all) }
}

fn pairs_per_step(settings: &TrainSettings) -> usize {
    (BATCHES * settings.batch_size / 2).max(2)
}

impl Training<'_> {
    /// The encoder after the contrastive stage; `None` if the settings have none.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub(super) fn contrasted(
        &self,
        on_step: &mut dyn FnMut(TrainStep) -> ControlFlow<()>,
    ) -> Result<Option<BaseModel>> {
        let Self { base, settings, examples, seed, .. } = *self;
        let Some(stage) = stage(settings, examples) else { return Ok(None) };
        let mut ids = self.ids()?;
        let longest = super::longest(&ids, rows_per_pass(settings));
        let mut spec = ModelSpec::new(base.config(), Head::Linear(base.pooling()), 0);
        let initial =
            InitialWeights::new(&*base.inner.checkpoint, Weights::new(), &mut spec, &mut ids);
        if base.device().is_cpu() {
            let estimate = self.estimate_memory(&spec, &longest);
            let most = longest.first().copied().unwrap_or(0);
            memory_estimate::check(estimate, memory::available(), longest.len(), most)?;
        }
        let later = match settings.fine_tune {
            FineTune::Never => (0, 0),
            FineTune::Always | FineTune::Auto => {
                let plan = Plan::new(settings, examples, seed);
                (plan.steps(), plan.epochs())
            }
        };
        let labels: Vec<usize> = examples.iter().map(|example| example.label).collect();
        let pairs = Pairs::new(&labels, &self.embeddings()?, pairs_per_step(settings));
        let mut learner = learner(spec, &initial, base.device())?;
        let (mut step, mut unused_decay) = (0, 1.0);
        for epoch in 0..stage.epochs {
            for batch in pairs.batches(epoch, seed) {
                let rate = stage.rate_at(step);
                let (loss, gradient_norm) =
                    self.contrastive_step(&mut *learner, &ids, &batch, (step, rate))?;
                step += 1;
                unused_decay *= 1.0 - rate * settings.weight_decay;
                let done = TrainStep {
                    step,
                    steps: stage.steps() + later.0,
                    epoch,
                    epochs: stage.epochs + later.1,
                    loss: loss as f32,
                    learning_rate: rate,
                    gradient_norm,
                };
                check_finite(&done)?;
                if on_step(done).is_break() {
                    return Err(StudentError::Stopped);
                }
            }
        }
        let mut weights = learner.weights()?;
        drop(learner);
        initial.put_back(&mut weights, base.config().vocab_size, unused_decay)?;
        base.with_encoder(weights).map(Some)
    }

    /// Step number `step` (from 0) at a learning rate, over the examples of `batch`. Returns the
    /// loss and the norm of the gradient.
    ///
    /// The loss needs the embeddings of the whole batch. If they take several passes, each is run
    /// twice: for the embeddings, then again for its gradient (Gao et al. 2021, arXiv 2101.06983).
    fn contrastive_step(
        &self,
        learner: &mut dyn Learner,
        ids: &[Vec<u32>],
        batch: &[usize],
        (step, rate): (usize, f64),
    ) -> Result<(f64, f64)> {
        let settings = self.settings;
        let width = self.base.config().hidden_size;
        let parts: Vec<Range<usize>> = (0..batch.len())
            .step_by(rows_per_pass(settings))
            .map(|start| start..(start + rows_per_pass(settings)).min(batch.len()))
            .collect();
        // Never more passes than this in a step.
        let passes = 2 * pairs_per_step(settings);
        let forward = |learner: &mut dyn Learner, pass: usize| {
            let texts: Vec<&[u32]> =
                batch[parts[pass].clone()].iter().map(|&at| ids[at].as_slice()).collect();
            let number = FIRST_PASS + (step * passes + pass) as u64;
            learner.forward(&PackedBatch::new(&texts), Some(Dropout::new(self.seed, number)))
        };
        let mut embeddings = Vec::with_capacity(batch.len() * width);
        for pass in 0..parts.len() {
            embeddings.extend(forward(learner, pass)?);
        }
        let labels: Vec<usize> = batch.iter().map(|&at| self.examples[at].label).collect();
        let weights: Vec<f32> = batch.iter().map(|&at| self.examples[at].weight).collect();
        let mut gradient = vec![0f32; embeddings.len()];
        let loss = contrastive_loss(&embeddings, &labels, &weights, &mut gradient);
        for (pass, part) in parts.iter().enumerate() {
            if parts.len() > 1 {
                forward(learner, pass)?;
            }
            learner.backward(&gradient[part.start * width..part.end * width])?;
        }
        let norm = learner.step(Update {
            rate,
            weight_decay: settings.weight_decay,
            clip_norm: settings.clip_norm,
            step: step as u64 + 1,
        })?;
        Ok((loss, norm))
    }
}
