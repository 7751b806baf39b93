//! `[relabel]`: how the teacher assigns the final labels.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check::at_least};
use crate::{prompt::PromptForm, teacher::LabelScoring};

/// How the teacher labels the new texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RelabelSettings {
    /// Whose labels the students are trained on.
    pub labels: Labels,
    /// Which of the built-in prompts asks for a label. A task may bring its own.
    pub prompts: PromptForm,
    /// Number of candidate classes for each text, the nearest ones by embedding, if the task has
    /// more than `all_up_to` classes (paper: 5).
    pub candidates: usize,
    /// With at most this many classes, all of them are candidates: scoring a few more names costs
    /// almost nothing, and the true class cannot be missed.
    pub all_up_to: usize,
    /// What the score of a class name is made of. The ledger keeps both kinds apart.
    pub scoring: LabelScoring,
    /// Divides the log-probability of a class name by its number of tokens. Off because it made no
    /// difference on the demo task: the teacher classifies 95.8 % of the test set correctly with
    /// and without it. Ignored with `scoring = "branch"`, where only choices count.
    pub length_normalisation: bool,
    /// How a bias of the teacher towards some classes, whatever the text, is removed from its
    /// scores. Changing it asks the teacher nothing again, except for `content_free`. Recorded
    /// texts keep their labels.
    pub calibration: Calibration,
    /// The teacher generates its answer at temperature 0; an answer that is not a class name counts
    /// as the class, of all classes, that has the nearest name by embedding (the paper). With
    /// `false`, the candidates are scored instead, which yields probabilities and always a class.
    /// Recorded texts keep their labels either way.
    pub free_text: bool,
    /// Relabels the seeds too and trains row A2 on the teacher's labels of them (published code).
    /// Off, because people have labelled the seeds.
    pub gold: bool,
}

/// Who decides the label of a new text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Labels {
    /// The teacher alone (the paper).
    Teacher,
    /// Three opinions, each weighed by how often it is right, which their agreement and the
    /// labelled examples tell (Dawid & Skene 1979): the class asked for, the teacher's scores, and
    /// a logistic regression on the embeddings of the other texts. A teacher that classifies poorly
    /// then does no harm, and one that classifies well decides (docs/recipe.md).
    #[default]
    Fused,
}

/// What the probability of a class is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Calibration {
    /// Its mean over all texts that are labelled together (batch calibration, Zhou et al. 2024),
    /// so that the classes become about equally frequent. For new texts it is what gives each
    /// class the share that was asked for. Small with few texts, nothing with a single one.
    /// docs/recipe.md has measurements.
    #[default]
    Batch,
    /// Its probability for texts without content (contextual calibration, Zhao et al. 2021), which
    /// takes three more questions for each list of candidates. Costs the pocket teacher 2 points
    /// on the demo task (93.5 %).
    ContentFree,
    /// Nothing (the paper).
    None,
}

impl Default for RelabelSettings {
    fn default() -> Self {
        Self {
            labels: Labels::default(),
            prompts: PromptForm::default(),
            candidates: 5,
            all_up_to: 8,
            scoring: LabelScoring::default(),
            length_normalisation: false,
            calibration: Calibration::default(),
            free_text: false,
            gold: false,
        }
    }
}

impl RelabelSettings {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        at_least("relabel.candidates", self.candidates, 2)
    }

    /// Whether scores are divided by the number of tokens.
    pub(crate) fn normalises_length(&self) -> bool {
        self.length_normalisation && self.scoring == LabelScoring::Sequence
    }
}
