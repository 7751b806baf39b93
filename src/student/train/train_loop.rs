//! The loop: batches, passes, steps, epochs, stages.

use std::ops::ControlFlow;

use super::{
    Epoch, Example, TrainSettings, TrainStep,
    loss::{Objective, log_softmax},
    plan::{Plan, Stage},
    snapshot::{Best, Keeper, Place},
};
use crate::student::{
    Result, StudentError,
    dropout::Dropout,
    network::{Learner, Slot, Update},
    packed_batch::PackedBatch,
};

/// A training under way.
pub(crate) struct Course<'a> {
    pub learner: Box<dyn Learner>,
    pub settings: &'a TrainSettings,
    pub examples: &'a [Example],
    /// Token ids of the examples, as the learner's word table numbers them.
    pub ids: &'a [Vec<u32>],
    pub plan: &'a Plan,
    pub classes: usize,
    pub seed: u64,
    pub place: Place,
    pub best: Option<Best>,
}

impl Course<'_> {
    /// Trains from where it is to the end.
    ///
    /// # Errors
    /// A loss that is no longer a number, [`StudentError::Stopped`] where `progress` breaks off, and
    /// what the learner and the keeper say.
    pub(super) fn run(
        &mut self,
        keeper: &mut Option<Keeper>,
        progress: &mut dyn FnMut(TrainStep) -> ControlFlow<()>,
    ) -> Result<()> {
        let (plan, examples) = (self.plan, self.examples);
        while let Some(stage) = plan.stages.get(self.place.stage) {
            let examples = stage.examples.iter().map(|&at| &examples[at]).collect::<Vec<_>>();
            let objective = Objective::new(self.settings, self.classes, &examples);
            let mut over = false;
            while !over {
                let order = stage.order(self.place.epoch, self.seed);
                let batches = order.chunks(self.settings.batch_size);
                for batch in batches.skip(self.place.in_epoch) {
                    let step = self.step(stage, &objective, batch)?;
                    let flow = progress(step);
                    let ends = self.place.in_epoch == stage.per_epoch;
                    if ends {
                        over = self.finish_epoch(stage)?;
                    }
                    if over {
                        self.finish_stage()?;
                    }
                    if let Some(keeper) = keeper
                        && (keeper.is_due(ends) || flow.is_break())
                    {
                        keeper.write(&self.place, &self.learner.state()?, self.best.as_ref())?;
                    }
                    if flow.is_break() {
                        return Err(StudentError::Stopped);
                    }
                }
            }
        }
        Ok(())
    }

    /// One optimiser step over `batch`, in as many passes as the settings ask for.
    fn step(&mut self, stage: &Stage, objective: &Objective, batch: &[usize]) -> Result<TrainStep> {
        let weights = batch.iter().map(|&at| objective.weight(&self.examples[at]));
        let whole = weights.sum::<f64>();
        let rows_per_pass = self.settings.rows_per_pass();
        // Every pass of a training drops numbers of its own.
        let passes = self.settings.batch_size.div_ceil(rows_per_pass);
        let mut loss = 0.0;
        for (pass, part) in batch.chunks(rows_per_pass).enumerate() {
            let texts = part.iter().map(|&at| self.ids[at].as_slice()).collect::<Vec<_>>();
            let dropout = Dropout::new(self.seed, (self.place.step * passes + pass) as u64);
            let logits = self.learner.forward(&PackedBatch::new(&texts), Some(dropout))?;
            let mut gradient = vec![0f32; logits.len()];
            let rows =
                logits.chunks_exact(self.classes).zip(gradient.chunks_exact_mut(self.classes));
            for (&at, (logits, gradient)) in part.iter().zip(rows) {
                let example = &self.examples[at];
                let scale = objective.weight(example) / whole.max(f64::MIN_POSITIVE);
                loss += objective.one(logits, example, scale, gradient);
            }
            self.learner.backward(&gradient)?;
        }
        let Place { epoch, in_epoch, .. } = self.place;
        let rate = stage.rate_at(epoch * stage.per_epoch + in_epoch);
        let gradient_norm = self.learner.step(Update {
            rate,
            weight_decay: self.settings.weight_decay,
            clip_norm: self.settings.clip_norm,
            step: self.place.optimiser_step + 1,
        })?;
        let place = &mut self.place;
        place.optimiser_step += 1;
        place.step += 1;
        place.in_epoch += 1;
        place.unused_kept *= 1.0 - rate * self.settings.weight_decay;
        place.loss += loss * whole;
        place.weight += whole;
        let (step, steps) = (place.step, self.plan.steps());
        if !(loss.is_finite() && gradient_norm.is_finite()) {
            return Err(StudentError::Training(format!(
                "the loss is {loss} and the gradient's norm {gradient_norm} at step {step} of {steps}\nhint: lower student.learning_rate"
            )));
        }
        Ok(TrainStep {
            step,
            steps,
            epoch: stage.epochs_before + epoch,
            epochs: self.plan.epochs(),
            loss: loss as f32,
            learning_rate: rate,
            gradient_norm,
        })
    }

    /// Judges the epoch that has just ended; whether the stage is over.
    fn finish_epoch(&mut self, stage: &Stage) -> Result<bool> {
        let judged = self.judge()?;
        let place = &mut self.place;
        place.history.push(Epoch {
            stage: place.stage,
            epoch: place.epoch,
            loss: place.loss / place.weight.max(f64::MIN_POSITIVE),
            validation_loss: judged.as_ref().map(|judged| judged.loss),
            validation_accuracy: judged.as_ref().map(|judged| judged.accuracy),
        });
        (place.loss, place.weight) = (0.0, 0.0);
        place.epoch += 1;
        place.in_epoch = 0;
        if let Some(judged) = judged {
            if place.best.is_none_or(|(best, _)| judged.loss < best) {
                place.best = Some((judged.loss, place.unused_kept));
                place.without_better = 0;
                let weights = self.learner.weights()?;
                self.best = Some(Best { weights, logits: judged.logits });
            } else {
                place.without_better += 1;
            }
        }
        let enough = place.without_better >= self.settings.patience;
        Ok(enough || place.epoch == stage.epochs)
    }

    /// The next stage, if there is one, starts from the best weights of this one, with moments of
    /// zero and a best of its own.
    fn finish_stage(&mut self) -> Result<()> {
        let place = &mut self.place;
        place.stage += 1;
        (place.epoch, place.without_better, place.optimiser_step) = (0, 0, 0);
        if place.stage == self.plan.stages.len() {
            return Ok(());
        }
        let mut weights = match (self.best.take(), place.best.take()) {
            (Some(best), Some((_, unused_kept))) => {
                place.unused_kept = unused_kept;
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

    /// The examples held back as the learner judges them now; `None` where there are none.
    fn judge(&mut self) -> Result<Option<Judged>> {
        let held = &self.plan.validation;
        if held.is_empty() {
            return Ok(None);
        }
        let mut judged = Judged { loss: 0.0, accuracy: 0.0, logits: Vec::new() };
        for part in held.chunks(self.settings.rows_per_pass()) {
            let texts = part.iter().map(|&at| self.ids[at].as_slice()).collect::<Vec<_>>();
            judged.logits.extend(self.learner.forward(&PackedBatch::new(&texts), None)?);
        }
        for (&at, logits) in held.iter().zip(judged.logits.chunks_exact(self.classes)) {
            let logs = log_softmax(logits, 1.0);
            let label = self.examples[at].label;
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            judged.loss -= logs[label] / held.len() as f64;
            judged.accuracy += f64::from(u8::from(logs[label] == top)) / held.len() as f64;
        }
        Ok(Some(judged))
    }
}

/// Examples that were held back, judged.
struct Judged {
    /// Mean cross-entropy with the labels.
    loss: f64,
    /// Share judged rightly.
    accuracy: f64,
    /// `[examples, classes]`.
    logits: Vec<f32>,
}
