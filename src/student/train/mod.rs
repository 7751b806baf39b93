//! Fine-tuning: examples in, a [`Classifier`] out.
//!
//! | file | what it is for |
//! |---|---|
//! | `settings` | every hyper-parameter with its reason |
//! | `plan` | validation split, stages, epochs, steps |
//! | `loss` | loss and gradient of an example |
//! | `init` | initial weights: fresh head, reduced word table |
//! | `contrast` | a stage before cross-entropy that places texts of one class together |
//! | `choice` | whether fine-tuning pays, by examples that are held out |
//! | `start` | where a linear head starts: a logistic regression on frozen embeddings |
//! | `train_loop` | batches, steps, epochs, stages |
//! | `snapshot` | a training's exact state on disk |
//! | `memory_estimate` | the memory that a training takes |
//! | `corpus` | token ids, shared by several trainings |
//! | `length` | how many tokens of a text are read, and how many texts that cuts |
//!
//! Every random choice is keyed by the seed and its purpose (the order of an epoch, the dropout of
//! a pass, the fresh head, the validation split), so a training is reproducible on the same
//! machine, and one that is interrupted and resumed ends with the same weights.

mod choice;
mod contrast;
mod corpus;
mod init;
mod length;
mod loss;
mod memory_estimate;
mod plan;
mod settings;
mod snapshot;
mod start;
#[cfg(test)]
mod tests;
mod train_loop;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::{
    BaseModel, Classifier, Head, Pooling, Result, StudentError, Temperature, base::Inner,
    calibrate, engine::learner, error::Fault, model_spec::ModelSpec,
};
use crate::memory;
pub(crate) use choice::Choice;
pub(crate) use corpus::Corpus;
pub(crate) use init::LinearHead;
use init::{InitialWeights, Weights};
pub(crate) use length::TokenLengths;
use plan::Plan;
#[cfg(test)]
pub(crate) use settings::HeadChoice;
pub(crate) use settings::{ClassWeights, FineTune, Loss, OutOfRange, Stages, TrainSettings};
pub(crate) use snapshot::Snapshots;
use snapshot::{Progress, Snapshot, SnapshotStore};
use train_loop::TrainLoop;

/// A text with its class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Example {
    /// The text.
    pub text: String,
    /// Index of its class in the labels.
    pub label: usize,
    /// Weight of its loss relative to the batch; 1 for an ordinary example.
    pub weight: f32,
    /// The teacher's probability of each class, `[classes]`; empty if unknown.
    pub teacher: Vec<f32>,
    /// Whether a person labelled it: the second stage trains on these.
    pub gold: bool,
    /// Whether no person stands behind the label: it is the class that the teacher was asked to
    /// write for, or the label that the text got afterwards.
    pub by_teacher: bool,
}

impl Example {
    /// An ordinary example.
    pub(crate) fn new(text: impl Into<String>, label: usize) -> Self {
        Self {
            text: text.into(),
            label,
            weight: 1.0,
            teacher: Vec::new(),
            gold: false,
            by_teacher: false,
        }
    }
}

/// What happened in one optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TrainStep {
    /// Number of this step, from 1.
    pub step: usize,
    /// Total steps if no stage ends early.
    pub steps: usize,
    /// Epoch of this step, from 0, counted over all stages.
    pub epoch: usize,
    /// Total epochs if no stage ends early.
    pub epochs: usize,
    /// Weighted mean loss of the batch.
    pub loss: f32,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Global norm of the gradients before clipping.
    pub gradient_norm: f64,
}

/// The results of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// Stage, from 0.
    pub stage: usize,
    /// Epoch within the stage, from 0.
    pub epoch: usize,
    /// Weighted mean loss of its batches, under dropout.
    pub loss: f64,
    /// Mean cross-entropy of the validation examples, if there are any.
    pub validation_loss: Option<f64>,
    /// Share of them that is classified correctly.
    pub validation_accuracy: Option<f64>,
}

/// The trained classifier's logits on the validation examples.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Validation {
    /// `[examples, classes]`.
    pub logits: Vec<f32>,
    /// `[examples]`.
    pub labels: Vec<usize>,
}

/// The result of a training.
#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "tests read more than the classifier"))]
pub(crate) struct TrainOutcome {
    /// The trained classifier; that of the best epoch if there are validation examples.
    pub classifier: Classifier,
    /// The classifier's temperature, fitted on the validation examples.
    pub temperature: Option<Temperature>,
    /// The validation examples.
    pub validation: Option<Validation>,
    /// Every epoch.
    pub history: Vec<Epoch>,
    /// What decided whether the encoder was fine-tuned, if that was open.
    pub choice: Option<Choice>,
}

/// A training to run.
#[derive(Debug, Clone)]
pub(crate) struct Training<'a> {
    /// The pretrained encoder.
    pub base: &'a BaseModel,
    /// The classes, by index.
    pub labels: &'a [String],
    /// The training data, validation examples included.
    pub examples: &'a [Example],
    pub settings: &'a TrainSettings,
    /// The head to begin with, for settings with a linear one; `None` draws it at random.
    pub head: Option<LinearHead>,
    /// Seed of the order, the dropout, the fresh head and the validation split.
    pub seed: u64,
    /// Texts that are already tokenised.
    pub corpus: Option<&'a Corpus>,
    /// Where its state is saved while it runs.
    pub snapshots: Option<Snapshots>,
}

/// Upper bound of the memory, in bytes, for training `base` on `classes` classes, whatever the
/// texts: it assumes that every word of the vocabulary occurs and that every text has the maximum
/// length.
pub(crate) fn max_memory_estimate(
    base: &BaseModel,
    classes: usize,
    settings: &TrainSettings,
) -> u64 {
    let config = base.config();
    let spec = ModelSpec::new(config, settings.head(base), classes);
    let lengths = vec![settings.limit(base); most_rows_per_pass(settings)];
    memory_estimate::estimate(&spec, config.vocab_size, copies(settings, true), &lengths)
}

/// Upper bound of the bytes that training `base` on `classes` classes writes: the student, beside
/// an older one that it replaces, and a snapshot with the weights and AdamW's two moments.
pub(crate) fn disk_estimate(base: &BaseModel, classes: usize) -> u64 {
    let config = base.config();
    let spec = ModelSpec::new(config, Head::Mlp(Pooling::First), classes);
    5 * 4 * spec.parameters() as u64
}

/// Copies of the weights on top of those of every training: a snapshot copies the state, validation
/// keeps the best weights, and a new stage rebuilds weights and moments.
fn copies(settings: &TrainSettings, snapshots: bool) -> usize {
    let best = usize::from(settings.validation_share > 0.0);
    let state = match (settings.stages, snapshots) {
        (Stages::SyntheticThenGold, _) => 5,
        (Stages::Mixed | Stages::Contrastive, true) => 3,
        (Stages::Mixed | Stages::Contrastive, false) => 0,
    };
    // The encoder after a contrastive stage is kept in memory.
    best + state + usize::from(settings.stages == Stages::Contrastive)
}

/// Optimiser steps of a training on `gold` examples and `synthetic` ones.
pub(crate) fn steps(settings: &TrainSettings, gold: usize, synthetic: usize) -> usize {
    let examples: Vec<Example> = (0..gold + synthetic)
        .map(|at| Example { gold: at < gold, ..Example::new("", 0) })
        .collect();
    let contrastive = contrast::stage(settings, &examples).map_or(0, |stage| stage.steps());
    if examples.is_empty() { 0 } else { contrastive + Plan::new(settings, &examples, 0).steps() }
}

/// Examples in a pass through the network, in any stage.
fn most_rows_per_pass(settings: &TrainSettings) -> usize {
    match settings.stages {
        Stages::Contrastive => settings.rows_per_pass().max(contrast::rows_per_pass(settings)),
        Stages::Mixed | Stages::SyntheticThenGold => settings.rows_per_pass(),
    }
}

/// The lengths of the longest texts, as many as fit one pass of `rows`.
fn longest(ids: &[Vec<u32>], rows: usize) -> Vec<usize> {
    let mut lengths = ids.iter().map(Vec::len).collect::<Vec<_>>();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.truncate(rows);
    lengths
}

impl<'a> Training<'a> {
    /// A training with seed 0 and no snapshots.
    pub(crate) fn new(
        base: &'a BaseModel,
        labels: &'a [String],
        examples: &'a [Example],
        settings: &'a TrainSettings,
    ) -> Self {
        let (head, seed, corpus, snapshots) = (None, 0, None, None);
        Self { base, labels, examples, settings, head, seed, corpus, snapshots }
    }

    /// Upper estimate of the memory that it takes beside the base model, in bytes.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub(crate) fn memory_estimate(&self) -> Result<u64> {
        self.check()?;
        let ids = self.ids()?;
        let mut words = ids.iter().flatten().collect::<Vec<_>>();
        words.sort_unstable();
        words.dedup();
        let spec = ModelSpec { words_kept: words.len(), ..self.spec() };
        Ok(self.estimate_memory(&spec, &longest(&ids, most_rows_per_pass(self.settings))))
    }

    /// Trains a classifier over the labels: after the contrastive stage, if there is one, the whole
    /// network or its head alone, as `student.fine_tune` says. `on_step` is called after every
    /// optimiser step and can stop the training. With snapshots the next call resumes from there,
    /// and the final weights are bit for bit those of an uninterrupted training.
    ///
    /// # Errors
    /// Invalid examples or settings, too little memory, a loss that is not finite, and
    /// [`StudentError::Stopped`].
    pub(crate) fn run(
        &self,
        on_step: &mut dyn FnMut(TrainStep) -> ControlFlow<()>,
    ) -> Result<TrainOutcome> {
        self.check()?;
        let contrasted = self.contrasted(on_step)?;
        let stage = contrast::stage(self.settings, self.examples);
        let (steps, epochs) = stage.map_or((0, 0), |stage| (stage.steps(), stage.epochs));
        let on_step = &mut |step: TrainStep| {
            on_step(TrainStep {
                step: steps + step.step,
                steps: steps + step.steps,
                epoch: epochs + step.epoch,
                epochs: epochs + step.epochs,
                ..step
            })
        };
        let base = contrasted.as_ref().unwrap_or(self.base);
        let with_head = Training { base, ..self.clone() };
        let with_head = Training { head: with_head.start()?, ..with_head };
        match self.settings.fine_tune {
            FineTune::Never if with_head.head.is_none() => {
                Err(StudentError::Training(Fault::with_hint(
                    "student.fine_tune is never, and the head would stay as it was drawn",
                    "set student.head = \"linear\", which starts as a logistic regression",
                )))
            }
            FineTune::Never => with_head.untrained(),
            FineTune::Always => with_head.fine_tune(on_step),
            FineTune::Auto if with_head.head.is_none() => with_head.fine_tune(on_step),
            FineTune::Auto => {
                let choice = self.choose(on_step)?;
                let outcome = match choice.fine_tunes() {
                    true => with_head.fine_tune(on_step)?,
                    false => with_head.untrained()?,
                };
                Ok(TrainOutcome { choice: Some(choice), ..outcome })
            }
        }
    }

    /// The head to start from, if it is not to be drawn.
    fn start(&self) -> Result<Option<LinearHead>> {
        match &self.head {
            Some(head) => Ok(Some(head.clone())),
            None if matches!(self.settings.head(self.base), Head::Linear(_)) => {
                self.probe().map(Some)
            }
            None => Ok(None),
        }
    }

    /// Trains the whole network, from [`Self::head`] on if there is one.
    fn fine_tune(
        &self,
        on_step: &mut dyn FnMut(TrainStep) -> ControlFlow<()>,
    ) -> Result<TrainOutcome> {
        let inner = &*self.base.inner;
        let (config, device) = (&inner.config, &inner.device);
        let mut ids = self.ids()?;
        let longest = longest(&ids, self.settings.rows_per_pass());
        let mut spec = self.spec();
        let fresh = self.fresh_head(&spec)?;
        let initial = InitialWeights::new(&*inner.checkpoint, fresh, &mut spec, &mut ids);
        if device.is_cpu() {
            let estimate = self.estimate_memory(&spec, &longest);
            let max_length = longest.first().copied().unwrap_or(0);
            memory_estimate::check(estimate, memory::available(), longest.len(), max_length)?;
        }
        let plan = Plan::new(self.settings, self.examples, self.seed);
        let mut store = self
            .snapshots
            .clone()
            .map(|snapshots| SnapshotStore::new(snapshots, self.fingerprint()));
        let mut train_loop = TrainLoop {
            learner: learner(spec, &initial, device)?,
            settings: self.settings,
            examples: self.examples,
            ids: &ids,
            plan: &plan,
            classes: self.labels.len(),
            seed: self.seed,
            progress: Progress { unused_decay: 1.0, ..Progress::default() },
            best: None,
        };
        if let Some(Snapshot { progress, state, best }) =
            store.as_ref().and_then(SnapshotStore::read)
        {
            train_loop.learner.restore(&state)?;
            (train_loop.progress, train_loop.best) = (progress, best);
        }
        train_loop.run(&mut store, on_step)?;

        let TrainLoop { learner, progress, best, .. } = train_loop;
        let unused_decay = progress.best.map_or(progress.unused_decay, |(_, kept)| kept);
        let labels = || plan.validation.iter().map(|&at| self.examples[at].label).collect();
        let (mut weights, validation) = match best {
            Some(best) => {
                (best.weights, Some(Validation { logits: best.logits, labels: labels() }))
            }
            None => (learner.weights()?, None),
        };
        drop(learner);
        initial.put_back(&mut weights, config.vocab_size, unused_decay)?;
        if validation.is_none() {
            self.interpolate(&mut weights)?;
        }
        let mut classifier = self.classifier(weights)?;
        let mut temperature = None;
        if let Some(Validation { logits, labels }) = &validation {
            let classes = self.labels.len();
            let logits: Vec<Vec<f32>> = logits.chunks(classes).map(<[f32]>::to_vec).collect();
            let fitted = calibrate(&logits, labels, classes)?;
            classifier = classifier.with_temperature(fitted.temperature)?;
            temperature = Some(fitted);
        }
        // The training is complete: its snapshot is no longer needed.
        store.as_ref().map_or(Ok(()), SnapshotStore::remove)?;
        let history = progress.history;
        Ok(TrainOutcome { classifier, temperature, validation, history, choice: None })
    }

    /// The classifier before its first step: the base's encoder under the head that a training
    /// would begin with. The examples do not matter.
    ///
    /// # Errors
    /// Invalid settings or labels, an initial head of another shape.
    pub(crate) fn untrained(&self) -> Result<TrainOutcome> {
        self.check_settings()?;
        let classifier = self.classifier(self.first_weights()?)?;
        let history = Vec::new();
        Ok(TrainOutcome { classifier, temperature: None, validation: None, history, choice: None })
    }

    fn fresh_head(&self, spec: &ModelSpec) -> Result<Weights> {
        let Inner { checkpoint, config, .. } = &*self.base.inner;
        let range = config.initializer_range;
        init::fresh_head(checkpoint, spec, self.head.as_ref(), range, self.seed)
    }

    fn classifier(&self, weights: Weights) -> Result<Classifier> {
        let (labels, head) = (self.labels.to_vec(), self.settings.head(self.base));
        Classifier::build(self.base, weights, labels, head, self.max_length())
    }

    fn spec(&self) -> ModelSpec {
        ModelSpec::new(self.base.config(), self.settings.head(self.base), self.labels.len())
    }

    fn max_length(&self) -> usize {
        self.settings.limit(self.base)
    }

    fn ids(&self) -> Result<Vec<Vec<u32>>> {
        let texts = self.examples.iter().map(|example| example.text.as_str()).collect::<Vec<_>>();
        Corpus::ids(self.corpus, self.base, &texts, self.max_length())
    }

    fn estimate_memory(&self, spec: &ModelSpec, longest: &[usize]) -> u64 {
        let vocabulary = self.base.config().vocab_size;
        let copies = copies(self.settings, self.snapshots.is_some());
        memory_estimate::estimate(spec, vocabulary, copies, longest)
    }

    /// A hash of everything that the outcome depends on.
    fn fingerprint(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let data = (self.labels, self.examples, &self.head);
        let all = (version, self.base.identity(), data, self.settings, self.seed);
        let json = serde_json::to_vec(&all).expect("examples and settings are plain values");
        crate::hash::of_bytes(json)
    }

    fn check_settings(&self) -> Result<()> {
        let Self { labels, settings, .. } = self;
        let fault = |fault: Fault| Err(StudentError::Training(fault));
        if let Some(OutOfRange { key, value, wanted }) = settings.fault() {
            return fault(Fault::new(format!("{key} is {value}: {wanted}")));
        }
        if labels.len() < 2 {
            return fault(Fault::with_hint(
                format!("there are {} classes, a classifier needs at least 2", labels.len()),
                "add another class",
            ));
        }
        let mut duplicates =
            labels.iter().enumerate().filter(|(at, label)| labels[..*at].contains(label));
        if let Some((_, duplicate)) = duplicates.next() {
            return fault(Fault::with_hint(
                format!("there are two classes named \"{duplicate}\""),
                "give each class a unique name",
            ));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.check_settings()?;
        let Self { labels, examples, .. } = self;
        let fault = |fault: Fault| Err(StudentError::Training(fault));
        if examples.is_empty() {
            return fault(Fault::with_hint(
                "there are no examples",
                "give labelled examples, or texts that the teacher wrote",
            ));
        }
        for (at, example) in examples.iter().enumerate() {
            let Example { label, weight, teacher, .. } = example;
            let (number, classes) = (at + 1, labels.len());
            if *label >= classes {
                return fault(Fault::new(format!(
                    "example {number} has class number {label}, there are {classes} classes"
                )));
            }
            if !(weight.is_finite() && *weight >= 0.0) {
                return fault(Fault::with_hint(
                    format!("example {number} has weight {weight}"),
                    "a weight is 0 or a positive number",
                ));
            }
            let sum = teacher.iter().sum::<f32>();
            let shares = teacher.len() == classes
                && teacher.iter().all(|share| (0.0..=1.001).contains(share))
                && (sum - 1.0).abs() < 1e-3;
            if !(teacher.is_empty() || shares) {
                return fault(Fault::with_hint(
                    format!("example {number} has the teacher's probabilities {teacher:?}"),
                    format!("give one for each of the {classes} classes; they add up to 1"),
                ));
            }
        }
        Ok(())
    }
}
