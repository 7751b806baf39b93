//! `[student]`: the classifier and its training.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check::within};
use crate::student::{OutOfRange, TrainSettings};

/// The classifier and its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StudentSettings {
    /// A Hugging Face folder of a DistilBERT or BERT, a name from `promptmix models list`, or
    /// `pocket` (the demo's toy model). `--student` is short for it. The default is the paper's
    /// student; it reads English.
    pub model: String,
    #[serde(flatten)]
    pub training: TrainSettings,
    /// Which of the seeds, which people labelled, are trained on: all of them, or those that
    /// prompts show (the paper).
    pub gold: Gold,
    /// Whether the student is trained on the generated texts.
    pub texts: UseTexts,
    /// The weight of a generated text. Labelled examples, and texts that people edited or imported
    /// with a label, have 1. Generated texts are many and differ from real ones: with a weak
    /// teacher, a tenth gained 7 to 10 points over equal weights; with a strong one it changed
    /// little (docs/recipe.md).
    pub text_weight: f64,
    /// Weighs each relabelled text by the confidence in its label as well.
    pub confidence_weights: bool,
    /// Saves the training state of the student that is kept after this many steps, at most every 20
    /// seconds, in addition to after each epoch. 0: after epochs only.
    pub snapshot_steps: usize,
    /// Trains even if a class has no row at all, neither labelled nor generated. The student never
    /// predicts such a class, so this is an error otherwise.
    pub allow_empty_classes: bool,
    /// What the student's folder keeps about real texts for `promptmix drift`, in
    /// `drift.safetensors`. It never holds a text. The default is the test that finds most; an
    /// embedding can reveal something about its text (docs/trust.md).
    pub drift_reference: DriftReference,
}

/// What a student's folder keeps for `promptmix drift`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DriftReference {
    /// Of at most 4096 texts the predicted class, its probability and the numbers of tokens, and
    /// the embeddings of at most 512 of them.
    #[default]
    Full,
    /// The same without embeddings.
    Numbers,
    /// Nothing: `drift` needs `--reference`.
    None,
}

/// The seeds that a student is trained on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gold {
    /// All of them.
    #[default]
    All,
    /// Those that prompts show: `shots` of each class.
    Shots,
}

/// Whether a student is trained on the generated texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UseTexts {
    /// Only if they help: labelled examples that are left out must be predicted at least as well
    /// with the texts as from the other examples alone, and better if there are fewer than 50
    /// (docs/recipe.md). Needs `relabel.labels = "fused"`, and two
    /// examples of a class; without them, as `always`. Texts that people edited or imported with a
    /// label are always used.
    #[default]
    Auto,
    /// Always.
    Always,
}

impl Default for StudentSettings {
    fn default() -> Self {
        Self {
            model: "distilbert-base-uncased".into(),
            training: TrainSettings::default(),
            gold: Gold::default(),
            texts: UseTexts::default(),
            text_weight: 0.1,
            confidence_weights: false,
            snapshot_steps: 0,
            allow_empty_classes: false,
            drift_reference: DriftReference::default(),
        }
    }
}

impl StudentSettings {
    /// The weight of a text in training. What `is_given`, because text or label are a person's,
    /// counts like a labelled example.
    pub(crate) fn weight_of(&self, is_given: bool) -> f32 {
        if is_given { 1.0 } else { self.text_weight as f32 }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(
            "student.text_weight",
            self.text_weight,
            1e-3..=1.0,
            "it must lie between 0.001 and 1",
        )?;
        match self.training.fault() {
            Some(OutOfRange { key, value, wanted }) => {
                Err(ConfigError::OutOfRange { key, value, wanted: wanted.into() })
            }
            None => Ok(()),
        }
    }
}
