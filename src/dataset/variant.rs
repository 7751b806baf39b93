//! The rows of the result table: which models are compared, by what they learnt from. The table is
//! the paper's (Sahu et al., EMNLP 2023, table 2), one variant for each of its rows.

use serde::{Deserialize, Serialize};

/// A row of the result table. The order is the table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Variant {
    /// A student trained on the labelled seeds alone.
    #[serde(rename = "seeds")]
    Seeds,
    /// … on the seeds and copies of them with words replaced, inserted, swapped and deleted
    /// (Wei & Zou 2019).
    #[serde(rename = "EDA")]
    Eda,
    /// … on texts with which the teacher continued the seeds of one class (Sahu et al. 2022).
    #[serde(rename = "continuation")]
    Continuation,
    /// … on texts and labels with which the teacher continued the seeds of several classes; the
    /// labels are its probabilities (Yoo et al. 2021).
    #[serde(rename = "GPT3Mix")]
    Gpt3Mix,
    /// PromptMix without mixing: each text is to belong to one class alone.
    #[serde(rename = "no-mixup")]
    NoMixup,
    /// PromptMix whose prompts show no descriptions.
    #[serde(rename = "no-descriptions")]
    NoDescriptions,
    /// PromptMix whose prompts show no examples (zero-shot).
    #[serde(rename = "no-examples")]
    NoExamples,
    /// PromptMix as published, with what its code gets wrong.
    #[serde(rename = "paper")]
    Paper,
    /// PromptMix before relabelling: generated texts with the labels they were asked for.
    A1,
    /// PromptMix after relabelling: the method.
    A2,
    /// The teacher itself, classifying the test set.
    #[serde(rename = "teacher")]
    Teacher,
    /// A student trained on as many real texts as A2 has generated ones.
    #[serde(rename = "real")]
    Real,
    /// A student trained on all real texts there are.
    #[serde(rename = "real-all")]
    RealAll,
}

impl Variant {
    /// All rows, in the table's order.
    pub const ALL: [Self; 13] = [
        Self::Seeds,
        Self::Eda,
        Self::Continuation,
        Self::Gpt3Mix,
        Self::NoMixup,
        Self::NoDescriptions,
        Self::NoExamples,
        Self::Paper,
        Self::A1,
        Self::A2,
        Self::Teacher,
        Self::Real,
        Self::RealAll,
    ];

    /// As written in `report.json`, `compare.json` and on the command line.
    pub fn key(self) -> &'static str {
        match self {
            Self::Seeds => "seeds",
            Self::Eda => "EDA",
            Self::Continuation => "continuation",
            Self::Gpt3Mix => "GPT3Mix",
            Self::NoMixup => "no-mixup",
            Self::NoDescriptions => "no-descriptions",
            Self::NoExamples => "no-examples",
            Self::Paper => "paper",
            Self::A1 => "A1",
            Self::A2 => "A2",
            Self::Teacher => "teacher",
            Self::Real => "real",
            Self::RealAll => "real-all",
        }
    }

    /// The row that is written `key`, whatever its letter case.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.key().eq_ignore_ascii_case(key))
    }

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seeds => "seeds only",
            Self::Eda => "EDA",
            Self::Continuation => "continuation of one class",
            Self::Gpt3Mix => "GPT3Mix",
            Self::NoMixup => "PromptMix without mixup",
            Self::NoDescriptions => "PromptMix without descriptions",
            Self::NoExamples => "PromptMix without examples",
            Self::Paper => "PromptMix as published",
            Self::A1 => "A1 (before relabelling)",
            Self::A2 => "A2 (after relabelling)",
            Self::Teacher => "teacher itself",
            Self::Real => "real data, same size",
            Self::RealAll => "real data, all",
        }
    }

    /// Whether the teacher is asked for it.
    pub fn needs_teacher(self) -> bool {
        !matches!(self, Self::Seeds | Self::Eda | Self::Real | Self::RealAll)
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
    fn keys_are_what_json_holds_and_come_back() {
        for row in Variant::ALL {
            assert_eq!(serde_json::to_value(row).unwrap(), row.key());
            assert_eq!(Variant::from_key(&row.key().to_lowercase()), Some(row));
        }
        assert!(Variant::from_key("a3").is_none() && Variant::ALL.is_sorted());
    }
}
