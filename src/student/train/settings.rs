//! Hyper-parameters: one type for the `[student]` table of `task.toml` and for training.

use serde::{Deserialize, Serialize};

use super::super::{BaseModel, Head, HeadKind, Pooling};
use crate::auto::Auto;

/// The loss to minimise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loss {
    /// Cross-entropy with the target.
    #[default]
    CrossEntropy,
    /// Kullback-Leibler divergence from the target: cross-entropy minus the target's entropy, so
    /// that a perfect student has loss 0. The gradient is the same.
    Kl,
}

/// How classes are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClassWeights {
    /// By their frequency: examples are not reweighted.
    #[default]
    Off,
    /// By the inverse of their frequency: every class has the same total weight.
    Balanced,
}

/// The stages of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stages {
    /// All together.
    #[default]
    Mixed,
    /// First the synthetic ones, then the gold ones with `gold_epochs` and `gold_learning_rate`.
    /// One stage if all examples are of one kind.
    SyntheticThenGold,
    /// First a contrastive stage, which places texts of one class together and those of other
    /// classes apart; then cross-entropy on all together. The first has `epochs` and `min_steps`,
    /// too, with four batches in a step. After SetFit (Tunstall et al. 2022).
    Contrastive,
}

/// The head that a student gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HeadChoice {
    /// `linear` over an encoder that was trained to embed sentences: a folder with the
    /// `modules.json` or `1_Pooling` of sentence-transformers. Otherwise `mlp`.
    #[default]
    Auto,
    /// A dense layer with an activation, dropout, and a second dense layer: the head of Hugging
    /// Face's `...ForSequenceClassification`.
    Mlp,
    /// One dense layer over the text's embedding: the token vectors, pooled as the encoder does it,
    /// scaled to unit length. It starts as a logistic regression on the embeddings. `transformers`
    /// ignores this setting and builds its own head.
    Linear,
}

/// Whether the encoder is trained, or only the head over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FineTune {
    /// The whole network is trained. From a linear head that starts as a logistic regression, this
    /// was better than a frozen encoder wherever it was measured (docs/recipe.md).
    #[default]
    Always,
    /// Only if a linear head over the fine-tuned encoder predicts held-out examples clearly better
    /// than one over the frozen encoder. It takes one to three more trainings to find out. Another
    /// head needs fine-tuning.
    Auto,
    /// No cross-entropy: the encoder stays as it is, or as a contrastive stage leaves it; takes
    /// `head = "linear"`.
    Never,
}

/// Hyper-parameters. The defaults are the paper's (Sahu et al. 2023) where it gives any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TrainSettings {
    /// Passes over the examples (paper: 5).
    pub epochs: usize,
    /// Examples per optimiser step (paper: 8).
    pub batch_size: usize,
    /// Examples per pass through the network; a step adds up the gradients of its passes. Takes
    /// less memory for the same loss, with other dropout masks. 0: the whole batch in one pass.
    pub micro_batch: usize,
    /// Peak of the learning rate (paper: 4e-5; Banking77 6e-5).
    pub learning_rate: f64,
    /// Decoupled weight decay, except of biases and layer norms (paper: 0.01; Banking77 0.001).
    pub weight_decay: f64,
    /// Share of the steps over which the learning rate rises (paper: 0.1).
    pub warmup_share: f64,
    /// Tokens per text, the two special ones included (paper: 50); the rest is cut off. `"auto"`:
    /// as many as 98 % of all texts of the task need, rounded up to a multiple of 16, at least 64,
    /// at most what the encoder supports and memory allows.
    pub max_length: Auto,
    /// Bound on the global norm of the gradients; 0 for none.
    pub clip_norm: f64,
    /// Share of the hard target spread evenly over all classes.
    pub label_smoothing: f64,
    /// The loss to minimise.
    pub loss: Loss,
    /// How classes are weighted.
    pub class_weights: ClassWeights,
    /// Share of the teacher's probabilities in the target, for examples that have them; 0 uses the
    /// label alone, as the paper does.
    pub soft_labels: f64,
    /// Softens the teacher's probabilities and the student's in the soft part of the loss.
    pub temperature: f64,
    /// The stages of a training: the order of synthetic and gold examples, or a contrastive stage
    /// before cross-entropy.
    pub stages: Stages,
    /// Passes over the gold examples in the second stage. A dozen examples are few steps: 3 passes
    /// correct errors of the first stage without overfitting.
    pub gold_epochs: usize,
    /// Peak of the second stage's learning rate; 0 for a quarter of the first's, which preserves
    /// what the student learnt from the synthetic examples.
    pub gold_learning_rate: f64,
    /// Minimum steps of the (first) stage: epochs are added to reach it, so that a dozen seeds
    /// alone give enough steps; 0 for off.
    pub min_steps: usize,
    /// Share of each class's examples used for validation: the result has the weights of the epoch
    /// with the lowest validation loss. 0 for off: few examples are worth more as training data.
    pub validation_share: f64,
    /// Epochs without a better validation loss after which a stage ends.
    pub patience: usize,
    /// The layers between a text's vector and the scores of its classes.
    pub head: HeadChoice,
    /// Whether the encoder is trained.
    pub fine_tune: FineTune,
    /// Share of the fine-tuned weights in those of the student; the rest is the frozen encoder with
    /// its logistic regression, from which the training started (WiSE-FT, Wortsman et al. 2022).
    /// 1 keeps what training found. `"auto"`: 1 - t / 2, where t is the share of examples that the
    /// teacher labelled; some of its labels are wrong, and fine-tuning follows these too. Of no
    /// effect with a head that starts at random, or with validation examples, which choose an epoch
    /// instead.
    pub interpolation: Auto<f64>,
    /// How token vectors become a text vector under a head `mlp`: `first` or `mean`. A linear head
    /// pools as the encoder was trained: by the first token if its `1_Pooling` says so, otherwise
    /// by mean.
    pub pooling: Pooling,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 5,
            batch_size: 8,
            micro_batch: 0,
            learning_rate: 4e-5,
            weight_decay: 0.01,
            warmup_share: 0.1,
            max_length: Auto::Auto,
            clip_norm: 1.0,
            label_smoothing: 0.0,
            loss: Loss::default(),
            class_weights: ClassWeights::default(),
            soft_labels: 0.0,
            temperature: 1.0,
            stages: Stages::default(),
            gold_epochs: 3,
            gold_learning_rate: 0.0,
            min_steps: 60,
            validation_share: 0.0,
            patience: 2,
            head: HeadChoice::default(),
            fine_tune: FineTune::default(),
            interpolation: Auto::Auto,
            pooling: Pooling::First,
        }
    }
}

/// An invalid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutOfRange {
    /// Key in `task.toml`, such as `student.epochs`.
    pub key: &'static str,
    pub value: String,
    /// The constraint that it violates.
    pub wanted: &'static str,
}

impl TrainSettings {
    /// The first invalid value.
    pub(crate) fn fault(&self) -> Option<OutOfRange> {
        if self.fine_tune == FineTune::Never && self.head == HeadChoice::Mlp {
            return Some(OutOfRange {
                key: "student.fine_tune",
                value: "never".to_owned(),
                wanted: "over a frozen encoder the head must be student.head = \"linear\"",
            });
        }
        const SHARE: &str = "it must lie between 0 and 1";
        let least = [
            ("student.epochs", self.epochs, 1, "it must be at least 1"),
            ("student.batch_size", self.batch_size, 1, "it must be at least 1"),
            ("student.gold_epochs", self.gold_epochs, 1, "it must be at least 1"),
            ("student.patience", self.patience, 1, "it must be at least 1"),
            (
                "student.max_length",
                self.max_length.unwrap_or(3),
                3,
                "it must be at least 3: the first and the last token are special",
            ),
        ];
        let ranges = [
            ("student.learning_rate", self.learning_rate, 1e-9, 1.0, SHARE),
            ("student.gold_learning_rate", self.gold_learning_rate, 0.0, 1.0, SHARE),
            ("student.weight_decay", self.weight_decay, 0.0, 1.0, SHARE),
            ("student.warmup_share", self.warmup_share, 0.0, 1.0, SHARE),
            ("student.clip_norm", self.clip_norm, 0.0, 1e9, "it must be positive, or 0 for none"),
            ("student.label_smoothing", self.label_smoothing, 0.0, 0.99, SHARE),
            ("student.soft_labels", self.soft_labels, 0.0, 1.0, SHARE),
            ("student.interpolation", self.interpolation.unwrap_or(1.0), 0.0, 1.0, SHARE),
            (
                "student.temperature",
                self.temperature,
                0.1,
                100.0,
                "it must lie between 0.1 and 100 (1 is off)",
            ),
            (
                "student.validation_share",
                self.validation_share,
                0.0,
                0.9,
                "it must lie between 0 and 0.9 (0 is off)",
            ),
        ];
        let small = least.into_iter().find(|(_, value, least, _)| value < least);
        if let Some((key, value, _, wanted)) = small {
            return Some(OutOfRange { key, value: value.to_string(), wanted });
        }
        let outside =
            ranges.into_iter().find(|(_, value, low, high, _)| !(low..=high).contains(&value));
        outside.map(|(key, value, _, _, wanted)| OutOfRange {
            key,
            value: value.to_string(),
            wanted,
        })
    }

    /// These settings for a logistic regression over the encoder as it is.
    #[must_use]
    pub(crate) fn frozen(&self) -> Self {
        let (head, fine_tune, stages) = (HeadChoice::Linear, FineTune::Never, Stages::Mixed);
        Self { head, fine_tune, stages, ..self.clone() }
    }

    /// These settings for a logistic regression over the encoder after a contrastive stage.
    #[must_use]
    pub(crate) fn contrastive(&self) -> Self {
        Self { stages: Stages::Contrastive, ..self.frozen() }
    }

    /// The head to train over `base`, with its pooling.
    pub(super) fn head(&self, base: &BaseModel) -> Head {
        let kind = match self.head {
            HeadChoice::Linear => HeadKind::Linear,
            HeadChoice::Auto if base.is_sentence_encoder() => HeadKind::Linear,
            HeadChoice::Auto | HeadChoice::Mlp => HeadKind::Mlp,
        };
        match kind {
            HeadKind::Mlp => Head::Mlp(self.pooling),
            HeadKind::Linear => Head::Linear(base.pooling()),
        }
    }

    /// Examples per pass through the network.
    pub(super) fn rows_per_pass(&self) -> usize {
        match self.micro_batch {
            0 => self.batch_size,
            rows => rows.min(self.batch_size),
        }
    }
}
