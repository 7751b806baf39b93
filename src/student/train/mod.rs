//! Fine-tuning: examples in, a [`Classifier`] out.
//!
//! | file | what it is for |
//! |---|---|
//! | `settings` | every hyper-parameter with its reason |
//! | `plan` | what is held back, stages, epochs, steps |
//! | `objective` | loss and gradient of an example |
//! | `start` | fresh head, cut word table, and the way back |
//! | `course` | the loop |
//! | `snapshot` | a training's exact state on disk |
//! | `need` | the memory it takes |
//! | `corpus` | token ids, shared by several trainings |
//!
//! Every random choice is keyed by the seed and what it is for (the epoch's order, the pass's
//! dropout, the fresh head, what is held back), so a training repeats exactly on the same machine,
//! and one that was broken off and taken up again ends where it would have ended.

mod corpus;
mod init;
mod loss;
mod memory_estimate;
mod plan;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod train_loop;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::{
    BaseModel, Classifier, Result, StudentError, Temperature, calibrate, model_spec::ModelSpec,
    network::learner,
};
use crate::memory;
pub(crate) use corpus::Corpus;
use init::Start;
use plan::Plan;
pub(crate) use settings::{ClassWeights, Loss, OutOfRange, Stages, TrainSettings};
pub(crate) use snapshot::Snapshots;
use snapshot::{Keeper, Place, Snapshot};
use train_loop::Course;

/// A text with its class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Example {
    /// The text.
    pub text: String,
    /// Number of its class in the labels.
    pub label: usize,
    /// Weight of its loss, relative to its batch; 1 for an ordinary example.
    pub weight: f32,
    /// The teacher's probability of each class, `[classes]`; empty where it was not asked.
    pub teacher: Vec<f32>,
    /// Whether a person has labelled it: the second stage trains on these.
    pub gold: bool,
}

impl Example {
    /// An ordinary example.
    pub(crate) fn new(text: impl Into<String>, label: usize) -> Self {
        Self { text: text.into(), label, weight: 1.0, teacher: Vec::new(), gold: false }
    }
}

/// What happened in one optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TrainStep {
    /// Steps done, this one included.
    pub step: usize,
    /// Steps in all, if no stage ends early.
    pub steps: usize,
    /// Epoch of this step, from 0, counted through all stages.
    pub epoch: usize,
    /// Epochs in all, if no stage ends early.
    pub epochs: usize,
    /// Weighted mean loss of the batch.
    pub loss: f32,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping.
    pub gradient_norm: f64,
}

/// One epoch as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// Stage, from 0.
    pub stage: usize,
    /// Epoch of the stage, from 0.
    pub epoch: usize,
    /// Weighted mean loss of its batches, under dropout.
    pub loss: f64,
    /// Mean cross-entropy of the examples held back, where there are any.
    pub validation_loss: Option<f64>,
    /// Share of them that was judged rightly.
    pub validation_accuracy: Option<f64>,
}

/// Examples that were held back, as the trained classifier judges them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Validation {
    /// `[examples, classes]`.
    pub logits: Vec<f32>,
    /// `[examples]`.
    pub labels: Vec<usize>,
}

/// What a training gives.
#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "the tests look at more than the classifier"))]
pub(crate) struct TrainOutcome {
    /// The trained classifier; of the best epoch, where examples were held back.
    pub classifier: Classifier,
    /// The temperature that the classifier has from what was held back.
    pub temperature: Option<Temperature>,
    /// What was held back.
    pub validation: Option<Validation>,
    /// Every epoch.
    pub history: Vec<Epoch>,
}

/// A training to be run.
#[derive(Debug, Clone)]
pub(crate) struct Training<'a> {
    /// The pretrained encoder.
    pub base: &'a BaseModel,
    /// The classes, in the order of their numbers.
    pub labels: &'a [String],
    /// What is trained on.
    pub examples: &'a [Example],
    /// How.
    pub settings: &'a TrainSettings,
    /// Seed of the order, the dropout, the fresh head and what is held back.
    pub seed: u64,
    /// Texts that are tokenised already.
    pub corpus: Option<&'a Corpus>,
    /// Where its state is kept while it runs.
    pub snapshots: Option<Snapshots>,
}

/// Bytes of memory that a training of `base` over `classes` classes takes at most, known before its
/// texts are: every word of the vocabulary is trained, every text is as long as it may be.
pub(crate) fn most_memory(base: &BaseModel, classes: usize, settings: &TrainSettings) -> u64 {
    let config = base.config();
    let spec = ModelSpec::new(config, settings.pooling, classes);
    let lengths = vec![settings.max_length.min(config.max_positions); settings.rows_per_pass()];
    memory_estimate::memory_need(&spec, config.vocab_size, copies(settings, true), &lengths)
}

/// Copies of the weights beside those of every training: a state is copied to be written, the best
/// weights are set aside, and between stages weights and moments are laid anew.
fn copies(settings: &TrainSettings, snapshots: bool) -> usize {
    let best = usize::from(settings.validation_share > 0.0);
    let state = match (settings.stages, snapshots) {
        (Stages::SyntheticThenGold, _) => 5,
        (Stages::Mixed, true) => 3,
        (Stages::Mixed, false) => 0,
    };
    best + state
}

/// Optimiser steps of a training on so many examples with a person's labels and without.
pub(crate) fn steps(settings: &TrainSettings, gold: usize, synthetic: usize) -> usize {
    let examples: Vec<Example> = (0..gold + synthetic)
        .map(|at| Example { gold: at < gold, ..Example::new("", 0) })
        .collect();
    if examples.is_empty() { 0 } else { Plan::new(settings, &examples, 0).steps() }
}

impl<'a> Training<'a> {
    /// A training with seed 0 that keeps no state.
    pub(crate) fn new(
        base: &'a BaseModel,
        labels: &'a [String],
        examples: &'a [Example],
        settings: &'a TrainSettings,
    ) -> Self {
        Self { base, labels, examples, settings, seed: 0, corpus: None, snapshots: None }
    }

    /// Bytes of memory that it takes beside the base model, at most; an estimate from above.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub(crate) fn need(&self) -> Result<u64> {
        self.check()?;
        let ids = self.ids()?;
        let mut words = ids.iter().flatten().collect::<Vec<_>>();
        words.sort_unstable();
        words.dedup();
        let spec = ModelSpec { words_kept: words.len(), ..self.spec() };
        Ok(self.need_of(&spec, &self.longest(&ids)))
    }

    /// Fine-tunes under a fresh classification head over the labels; `progress` is called after
    /// every optimiser step and may break the training off. Where snapshots are kept it then goes on
    /// from there the next time, and with the same weights bit for bit as if it had never stopped.
    ///
    /// # Errors
    /// Examples or settings that cannot be trained on, too little memory, a loss that is no longer
    /// a number, and [`StudentError::Stopped`].
    pub(crate) fn run(
        &self,
        progress: &mut dyn FnMut(TrainStep) -> ControlFlow<()>,
    ) -> Result<TrainOutcome> {
        self.check()?;
        let inner = &*self.base.inner;
        let (config, device) = (&inner.config, &inner.device);
        let mut ids = self.ids()?;
        let longest = self.longest(&ids);
        let mut spec = self.spec();
        let checkpoint = &*inner.checkpoint;
        let brings_dense = checkpoint.holds(&format!("{}.weight", spec.dense));
        let range = config.initializer_range;
        let start = Start::new(checkpoint, brings_dense, range, self.seed, &mut spec, &mut ids)?;
        if device.is_cpu() {
            let need = self.need_of(&spec, &longest);
            let top = longest.first().copied().unwrap_or(0);
            memory_estimate::check(need, memory::available(), longest.len(), top)?;
        }
        let plan = Plan::new(self.settings, self.examples, self.seed);
        let mut keeper =
            self.snapshots.clone().map(|snapshots| Keeper::new(snapshots, self.fingerprint()));
        let mut course = Course {
            learner: learner(spec, &start, device)?,
            settings: self.settings,
            examples: self.examples,
            ids: &ids,
            plan: &plan,
            classes: self.labels.len(),
            seed: self.seed,
            place: Place { unused_kept: 1.0, ..Place::default() },
            best: None,
        };
        if let Some(Snapshot { place, state, best }) = keeper.as_ref().and_then(Keeper::read) {
            course.learner.restore(&state)?;
            (course.place, course.best) = (place, best);
        }
        course.run(&mut keeper, progress)?;

        let Course { learner, place, best, .. } = course;
        let unused_kept = place.best.map_or(place.unused_kept, |(_, kept)| kept);
        let labels = || plan.validation.iter().map(|&at| self.examples[at].label).collect();
        let (mut weights, validation) = match best {
            Some(best) => {
                (best.weights, Some(Validation { logits: best.logits, labels: labels() }))
            }
            None => (learner.weights()?, None),
        };
        drop(learner);
        start.put_back(&mut weights, config.vocab_size, unused_kept)?;
        let (pooling, max_length) = (self.settings.pooling, self.max_length());
        let mut classifier =
            Classifier::build(self.base, weights, self.labels.to_vec(), pooling, max_length)?;
        let mut temperature = None;
        if let Some(Validation { logits, labels }) = &validation {
            let classes = self.labels.len();
            let logits: Vec<Vec<f32>> = logits.chunks(classes).map(<[f32]>::to_vec).collect();
            let fitted = calibrate(&logits, labels, classes)?;
            classifier = classifier.with_temperature(fitted.temperature)?;
            temperature = Some(fitted);
        }
        // Only a whole training gets here: what was kept of it is of no use any more.
        keeper.as_ref().map_or(Ok(()), Keeper::remove)?;
        Ok(TrainOutcome { classifier, temperature, validation, history: place.history })
    }

    fn spec(&self) -> ModelSpec {
        ModelSpec::new(self.base.config(), self.settings.pooling, self.labels.len())
    }

    fn max_length(&self) -> usize {
        self.settings.max_length.min(self.base.config().max_positions)
    }

    fn ids(&self) -> Result<Vec<Vec<u32>>> {
        let texts = self.examples.iter().map(|example| example.text.as_str()).collect::<Vec<_>>();
        Corpus::ids(self.corpus, self.base, &texts, self.settings.max_length)
    }

    fn need_of(&self, spec: &ModelSpec, longest: &[usize]) -> u64 {
        let vocabulary = self.base.config().vocab_size;
        let copies = copies(self.settings, self.snapshots.is_some());
        memory_estimate::memory_need(spec, vocabulary, copies, longest)
    }

    /// The lengths of the longest texts, as many as go into one pass.
    fn longest(&self, ids: &[Vec<u32>]) -> Vec<usize> {
        let mut lengths = ids.iter().map(Vec::len).collect::<Vec<_>>();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.truncate(self.settings.rows_per_pass());
        lengths
    }

    /// Names everything that the outcome depends on.
    fn fingerprint(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let all =
            (version, self.base.identity(), self.labels, self.examples, self.settings, self.seed);
        let json = serde_json::to_vec(&all).expect("examples and settings are plain values");
        crate::hash::of_bytes(json)
    }

    fn check(&self) -> Result<()> {
        let Self { labels, examples, settings, .. } = self;
        let fault = |message: String| Err(StudentError::Training(message));
        if let Some(OutOfRange { key, value, wanted }) = settings.fault() {
            return fault(format!("{key} is {value}: {wanted}"));
        }
        if labels.len() < 2 {
            return fault(format!(
                "{} classes, at least 2 are wanted\nhint: name another class",
                labels.len()
            ));
        }
        let mut twice =
            labels.iter().enumerate().filter(|(at, label)| labels[..*at].contains(label));
        if let Some((_, twice)) = twice.next() {
            return fault(format!(
                "the class \"{twice}\" is named twice\nhint: each class has a name of its own"
            ));
        }
        if examples.is_empty() {
            return fault("there are no examples\nhint: give labelled examples, or texts that the teacher wrote".to_owned());
        }
        for (at, example) in examples.iter().enumerate() {
            let Example { label, weight, teacher, .. } = example;
            let (number, classes) = (at + 1, labels.len());
            if *label >= classes {
                return fault(format!(
                    "example {number} has class number {label}, there are {classes} classes"
                ));
            }
            if !(weight.is_finite() && *weight >= 0.0) {
                return fault(format!("example {number} has weight {weight}"));
            }
            let sum = teacher.iter().sum::<f32>();
            let shares = teacher.len() == classes
                && teacher.iter().all(|share| (0.0..=1.001).contains(share))
                && (sum - 1.0).abs() < 1e-3;
            if !(teacher.is_empty() || shares) {
                return fault(format!(
                    "example {number} has the teacher's probabilities {teacher:?}\nhint: one for each of the {classes} classes is wanted, and they add up to 1"
                ));
            }
        }
        Ok(())
    }
}
