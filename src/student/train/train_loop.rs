//! The training loop: passes, steps, epochs, stages.

use std::ops::ControlFlow;

use super::{
    Epoch, Example, TrainSettings, TrainStep,
    loss::{LossFunction, log_softmax},
    plan::{Plan, Stage},
    snapshot::{Best, Progress, SnapshotStore},
};
use crate::student::{
    Result, StudentError,
    dropout::Dropout,
    error::Fault,
    network::{Learner, Slot, Update},
    packed_batch::PackedBatch,
};

/// A running training.
pub(crate) struct TrainLoop<'a> {
    pub learner: Box<dyn Learner>,
    pub settings: &'a TrainSettings,
    pub examples: &'a [Example],
    /// Token ids of the examples, renumbered for the learner's word table.
    pub ids: &'a [Vec<u32>],
    pub plan: &'a Plan,
    pub classes: usize,
    pub seed: u64,
    pub progress: Progress,
    pub best: Option<Best>,
}

impl TrainLoop<'_> {
    /// Trains from the current progress to the end.
    ///
    /// # Errors
    /// A loss that is not finite, [`StudentError::Stopped`] if `on_step` stops the training, and
    /// errors of the learner and the snapshots.
    pub(super) fn run(
        &mut self,
        store: &mut Option<SnapshotStore>,
        on_step: &mut dyn FnMut(TrainStep) -> ControlFlow<()>,
    ) -> Result<()> {
        let (plan, examples) = (self.plan, self.examples);
        while let Some(stage) = plan.stages.get(self.progress.stage) {
            let examples = stage.examples.iter().map(|&at| &examples[at]).collect::<Vec<_>>();
            let loss_function = LossFunction::new(self.settings, self.classes, &examples);
            let mut stage_ended = false;
            while !stage_ended {
                let order = stage.order(self.progress.epoch, self.seed);
                let batches = order.chunks(self.settings.batch_size);
                for batch in batches.skip(self.progress.in_epoch) {
                    let step = self.step(stage, &loss_function, batch)?;
                    let flow = on_step(step);
                    let epoch_ended = self.progress.in_epoch == stage.per_epoch;
                    if epoch_ended {
                        stage_ended = self.finish_epoch(stage)?;
                    }
                    if stage_ended {
                        self.finish_stage()?;
                    }
                    if let Some(store) = store
                        && (store.is_due(epoch_ended) || flow.is_break())
                    {
                        store.write(&self.progress, &self.learner.state()?, self.best.as_ref())?;
                    }
                    if flow.is_break() {
                        return Err(StudentError::Stopped);
                    }
                }
            }
        }
        Ok(())
    }

    /// One optimiser step over `batch`, in passes of the configured size.
    fn step(
        &mut self,
        stage: &Stage,
        loss_function: &LossFunction,
        batch: &[usize],
    ) -> Result<TrainStep> {
        let weights = batch.iter().map(|&at| loss_function.weight(&self.examples[at]));
        let total_weight = weights.sum::<f64>();
        let batch_size = batch.len() as f64;
        let rows_per_pass = self.settings.rows_per_pass();
        // Every pass has its own dropout masks.
        let passes = self.settings.batch_size.div_ceil(rows_per_pass);
        let mut loss = 0.0;
        for (pass, part) in batch.chunks(rows_per_pass).enumerate() {
            let texts = part.iter().map(|&at| self.ids[at].as_slice()).collect::<Vec<_>>();
            let dropout = Dropout::new(self.seed, (self.progress.step * passes + pass) as u64);
            let logits = self.learner.forward(&PackedBatch::new(&texts), Some(dropout))?;
            let mut gradient = vec![0f32; logits.len()];
            let rows =
                logits.chunks_exact(self.classes).zip(gradient.chunks_exact_mut(self.classes));
            for (&at, (logits, gradient)) in part.iter().zip(rows) {
                let example = &self.examples[at];
                let scale = loss_function.weight(example) / batch_size;
                loss += loss_function.example_loss(logits, example, scale, gradient);
            }
            self.learner.backward(&gradient)?;
        }
        let Progress { epoch, in_epoch, .. } = self.progress;
        let rate = stage.rate_at(epoch * stage.per_epoch + in_epoch);
        let gradient_norm = self.learner.step(Update {
            rate,
            weight_decay: self.settings.weight_decay,
            clip_norm: self.settings.clip_norm,
            step: self.progress.optimiser_step + 1,
        })?;
        let progress = &mut self.progress;
        progress.optimiser_step += 1;
        progress.step += 1;
        progress.in_epoch += 1;
        progress.unused_decay *= 1.0 - rate * self.settings.weight_decay;
        progress.loss += loss * batch_size;
        progress.weight += total_weight;
        let step = TrainStep {
            step: progress.step,
            steps: self.plan.steps(),
            epoch: stage.epochs_before + epoch,
            epochs: self.plan.epochs(),
            loss: loss as f32,
            learning_rate: rate,
            gradient_norm,
        };
        check_finite(&step)?;
        Ok(step)
    }

    /// Evaluates the epoch that just ended. Returns whether the stage ends too.
    fn finish_epoch(&mut self, stage: &Stage) -> Result<bool> {
        let evaluation = self.evaluate()?;
        let progress = &mut self.progress;
        progress.history.push(Epoch {
            stage: progress.stage,
            epoch: progress.epoch,
            loss: progress.loss / progress.weight.max(f64::MIN_POSITIVE),
            validation_loss: evaluation.as_ref().map(|evaluation| evaluation.loss),
            validation_accuracy: evaluation.as_ref().map(|evaluation| evaluation.accuracy),
        });
        (progress.loss, progress.weight) = (0.0, 0.0);
        progress.epoch += 1;
        progress.in_epoch = 0;
        if let Some(evaluation) = evaluation {
            if progress.best.is_none_or(|(best, _)| evaluation.loss < best) {
                progress.best = Some((evaluation.loss, progress.unused_decay));
                progress.epochs_without_improvement = 0;
                let weights = self.learner.weights()?;
                self.best = Some(Best { weights, logits: evaluation.logits });
            } else {
                progress.epochs_without_improvement += 1;
            }
        }
        let exhausted = progress.epochs_without_improvement >= self.settings.patience;
        Ok(exhausted || progress.epoch == stage.epochs)
    }

    /// The next stage, if there is one, starts from the best weights of this one, with zero moments
    /// and no best epoch.
    fn finish_stage(&mut self) -> Result<()> {
        let progress = &mut self.progress;
        progress.stage += 1;
        (progress.epoch, progress.epochs_without_improvement, progress.optimiser_step) = (0, 0, 0);
        if progress.stage == self.plan.stages.len() {
            return Ok(());
        }
        let mut weights = match (self.best.take(), progress.best.take()) {
            (Some(best), Some((_, unused_decay))) => {
                progress.unused_decay = unused_decay;
                best.weights
            }
            _ => self.learner.weights()?,
        };
        let mut state = self.learner.state()?;
        for (name, slot) in &mut state {
            if let Some(weight) = weights.remove(name) {
                let zeros = vec![0f32; weight.len()];
                *slot = Slot { weight, first: zeros.clone(), second: zeros };
            }
        }
        self.learner.restore(&state)
    }

    /// Evaluates the learner on the validation examples; `None` if there are none.
    fn evaluate(&mut self) -> Result<Option<Evaluation>> {
        let validation = &self.plan.validation;
        if validation.is_empty() {
            return Ok(None);
        }
        let mut evaluation = Evaluation { loss: 0.0, accuracy: 0.0, logits: Vec::new() };
        for part in validation.chunks(self.settings.rows_per_pass()) {
            let texts = part.iter().map(|&at| self.ids[at].as_slice()).collect::<Vec<_>>();
            evaluation.logits.extend(self.learner.forward(&PackedBatch::new(&texts), None)?);
        }
        for (&at, logits) in validation.iter().zip(evaluation.logits.chunks_exact(self.classes)) {
            let logs = log_softmax(logits, 1.0);
            let label = self.examples[at].label;
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            evaluation.loss -= logs[label] / validation.len() as f64;
            evaluation.accuracy +=
                f64::from(u8::from(logs[label] == top)) / validation.len() as f64;
        }
        Ok(Some(evaluation))
    }
}

/// Checks that the weights did not diverge in `step`.
///
/// # Errors
/// The loss or the gradient is not finite.
pub(super) fn check_finite(step: &TrainStep) -> Result<()> {
    let TrainStep { step, steps, loss, gradient_norm, .. } = *step;
    if loss.is_finite() && gradient_norm.is_finite() {
        return Ok(());
    }
    Err(StudentError::Training(Fault::with_hint(
        format!(
            "the loss is {loss} and the gradient's norm {gradient_norm} at step {step} of {steps}"
        ),
        "lower student.learning_rate",
    )))
}

/// Results on the validation examples.
struct Evaluation {
    /// Mean cross-entropy with the labels.
    loss: f64,
    /// Share of correct predictions.
    accuracy: f64,
    /// `[examples, classes]`.
    logits: Vec<f32>,
}
