//! The rows of the result table: the models that are compared, by what they are trained on. The
//! table is the paper's (Sahu et al., EMNLP 2023, table 2), with one variant for each row.

use serde::{Deserialize, Serialize};

/// A row of the result table, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Variant {
    /// A student trained on the labelled seeds only.
    #[serde(rename = "seeds")]
    Seeds,
    /// A logistic regression on the embeddings of the seeds: what a user gets in a second.
    #[serde(rename = "embed-seeds")]
    EmbedSeeds,
    /// The same after a contrastive stage on the seeds, as SetFit does it (Tunstall et al. 2022).
    #[serde(rename = "contrastive-seeds")]
    ContrastiveSeeds,
    /// A student trained on the seeds and copies of them with words replaced, inserted, swapped and
    /// deleted (Wei & Zou 2019).
    #[serde(rename = "EDA")]
    Eda,
    /// … on texts that continue a list of the seeds of one class (Sahu et al. 2022).
    #[serde(rename = "continuation")]
    Continuation,
    /// … on texts that continue a list of labelled seeds of several classes, with the teacher's
    /// probabilities as labels (Yoo et al. 2021).
    #[serde(rename = "GPT3Mix")]
    Gpt3Mix,
    /// PromptMix without mixing: each text is of one class only.
    #[serde(rename = "no-mixup")]
    NoMixup,
    /// PromptMix without class descriptions in the prompts.
    #[serde(rename = "no-descriptions")]
    NoDescriptions,
    /// PromptMix without examples in the prompts (zero-shot).
    #[serde(rename = "no-examples")]
    NoExamples,
    /// PromptMix as published, with the faults of its code.
    #[serde(rename = "paper")]
    Paper,
    /// PromptMix before relabelling: the generated texts with the labels that were requested.
    A1,
    /// PromptMix with the teacher's labels alone (the paper's A2).
    #[serde(rename = "A2-raw")]
    A2Raw,
    /// PromptMix after relabelling: the method.
    A2,
    /// A logistic regression on the embeddings of what A2 is trained on.
    #[serde(rename = "embed-A2")]
    EmbedA2,
    /// A student trained on the seeds and real texts that the teacher labelled.
    #[serde(rename = "U")]
    U,
    /// A student trained on the texts of both A2 and U.
    #[serde(rename = "A2+U")]
    A2U,
    /// The teacher itself, classifying the test set.
    #[serde(rename = "teacher")]
    Teacher,
    /// A student trained on as many real texts as A2 has generated.
    #[serde(rename = "real")]
    Real,
    /// A student trained on all real texts.
    #[serde(rename = "real-all")]
    RealAll,
}

impl Variant {
    /// All rows, in the order of the table.
    pub const ALL: [Self; 19] = [
        Self::Seeds,
        Self::EmbedSeeds,
        Self::ContrastiveSeeds,
        Self::Eda,
        Self::Continuation,
        Self::Gpt3Mix,
        Self::NoMixup,
        Self::NoDescriptions,
        Self::NoExamples,
        Self::Paper,
        Self::A1,
        Self::A2Raw,
        Self::A2,
        Self::EmbedA2,
        Self::U,
        Self::A2U,
        Self::Teacher,
        Self::Real,
        Self::RealAll,
    ];

    /// The name in `report.json`, `compare.json` and on the command line.
    pub fn key(self) -> &'static str {
        match self {
            Self::Seeds => "seeds",
            Self::EmbedSeeds => "embed-seeds",
            Self::ContrastiveSeeds => "contrastive-seeds",
            Self::Eda => "EDA",
            Self::Continuation => "continuation",
            Self::Gpt3Mix => "GPT3Mix",
            Self::NoMixup => "no-mixup",
            Self::NoDescriptions => "no-descriptions",
            Self::NoExamples => "no-examples",
            Self::Paper => "paper",
            Self::A1 => "A1",
            Self::A2Raw => "A2-raw",
            Self::A2 => "A2",
            Self::EmbedA2 => "embed-A2",
            Self::U => "U",
            Self::A2U => "A2+U",
            Self::Teacher => "teacher",
            Self::Real => "real",
            Self::RealAll => "real-all",
        }
    }

    /// The row with this `key`, ignoring letter case.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.key().eq_ignore_ascii_case(key))
    }

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seeds => "seeds only",
            Self::EmbedSeeds => "logistic regression, seeds",
            Self::ContrastiveSeeds => "contrastive, seeds",
            Self::Eda => "EDA",
            Self::Continuation => "continuation of one class",
            Self::Gpt3Mix => "GPT3Mix",
            Self::NoMixup => "PromptMix without mixup",
            Self::NoDescriptions => "PromptMix without descriptions",
            Self::NoExamples => "PromptMix without examples",
            Self::Paper => "PromptMix as published",
            Self::A1 => "A1 (before relabelling)",
            Self::A2Raw => "A2-raw (labels by the teacher alone)",
            Self::A2 => "A2 (after relabelling)",
            Self::EmbedA2 => "logistic regression, A2",
            Self::U => "U (real texts, labelled by the teacher)",
            Self::A2U => "A2+U (new and real texts)",
            Self::Teacher => "teacher itself",
            Self::Real => "real data, same size",
            Self::RealAll => "real data, all",
        }
    }

    /// Whether it takes unlabelled texts.
    pub fn needs_unlabelled(self) -> bool {
        matches!(self, Self::U | Self::A2U)
    }

    /// Whether the teacher is needed for it.
    pub fn needs_teacher(self) -> bool {
        !matches!(
            self,
            Self::Seeds
                | Self::EmbedSeeds
                | Self::ContrastiveSeeds
                | Self::Eda
                | Self::Real
                | Self::RealAll
        )
    }

    /// Whether the encoder is left as it is and only a linear head is fitted.
    pub fn is_frozen(self) -> bool {
        matches!(self, Self::EmbedSeeds | Self::EmbedA2)
    }

    /// Whether training it again gives another model.
    pub fn is_random(self) -> bool {
        self.needs_student() && !self.is_frozen()
    }

    /// Whether a student is trained for it.
    pub fn needs_student(self) -> bool {
        self != Self::Teacher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_equal_the_serialised_names_and_parse() {
        for row in Variant::ALL {
            assert_eq!(serde_json::to_value(row).unwrap(), row.key());
            assert_eq!(Variant::from_key(&row.key().to_lowercase()), Some(row));
        }
        assert!(Variant::from_key("a3").is_none() && Variant::ALL.is_sorted());
    }
}
