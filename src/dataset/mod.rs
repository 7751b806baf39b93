//! The rows that pass between the stages, as stored in the files of a run.
//!
//! ```text
//! generate ─ AugmentedText ─► relabel ─ RelabelledText ─► filter ─ DroppedText
//!                      label ─ RelabelledText of real texts ─┘│
//!                                                           └─ RelabelledText ─► train
//!                                                               train ─ TrainedStudent
//! ```

mod edit;
mod refinement;
mod variant;

use serde::{Deserialize, Serialize};

pub(crate) use edit::{Author, GivenLabel, RowEdit, RowFields, TextRow, rename_classes};
pub(crate) use refinement::{Draft, Effect, MistakenPair, Paired, Refinement, Verdict};
pub(crate) use variant::Variant;

/// A row of `augmented.jsonl`: a new text and its provenance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AugmentedText {
    pub id: usize,
    pub text: String,
    /// Name of the class that was requested.
    pub major: String,
    /// Name of the class that was mixed in, or that a text of no class comes near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<String>,
    /// Mixing ratio α, 0 to 1: the share of `major`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Names of the classes shown in the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<String>,
    /// The request that generated it, `round.class.number`.
    #[serde(rename = "ask", default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Key of that request's random stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_sha256: Option<String>,
    /// The label that relabelling keeps, if it was given rather than left to the teacher: by a
    /// person, or by the file that the text was imported from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<GivenLabel>,
    /// Who edited the row by hand. Filters by confidence or likeness leave such a row alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Author>,
    /// Where a text that nobody wrote for this task stands in the file of unlabelled texts: its
    /// line, from 1; 0 if a person added it. `major` is then the label, as nothing was asked for.
    #[serde(rename = "line", default, skip_serializing_if = "Option::is_none")]
    pub unlabelled_line: Option<usize>,
    /// What the label was fused from, if it was; the label asked for is `major`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opinions: Option<Opinions>,
    /// [`TextRow::key`] of the text as it was first written, if it reads differently now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// The class of a text by the voices that did not write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinions {
    /// By the teacher's label scores.
    pub judge: String,
    /// By a logistic regression on the embeddings of the other texts.
    pub probe: String,
}

impl AugmentedText {
    /// Whether text or label are not the teacher's: a person edited them, or the text was imported
    /// with its label.
    pub(crate) fn is_given(&self) -> bool {
        self.by.is_some() || self.given.is_some()
    }

    /// Whether the text is a real one that the teacher labelled, rather than one that was written.
    pub(crate) fn is_unlabelled(&self) -> bool {
        self.unlabelled_line.is_some()
    }

    /// Gives its classes the names that `now` has for them.
    pub(crate) fn rename(&mut self, now: impl Fn(&str) -> String) {
        self.names_mut().for_each(|name| *name = now(name));
    }

    fn names_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let names = [&mut self.major].into_iter().chain(&mut self.minor).chain(&mut self.shown);
        let given = self.given.iter_mut().map(|given| &mut given.label);
        let opinions = self.opinions.iter_mut().flat_map(|of| [&mut of.judge, &mut of.probe]);
        names.chain(given).chain(opinions)
    }

    /// The classes that the text was made from.
    pub(crate) fn classes(&self) -> impl Iterator<Item = &str> {
        [self.major.as_str()].into_iter().chain(self.minor.as_deref())
    }
}

/// A row of `relabelled.jsonl`: a new text with the label that the teacher gave it afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RelabelledText {
    #[serde(flatten)]
    pub augmented: AugmentedText,
    /// Name of the most probable class.
    pub relabel: String,
    /// Its probability among the candidates.
    pub p: f32,
    /// Probability of each class that comes into question, by name; they sum to 1. Empty for
    /// imported rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<(String, f32)>,
}

impl RelabelledText {
    /// The row with the label that was asked for.
    pub(crate) fn as_asked(augmented: AugmentedText) -> Self {
        let relabel = augmented.major.clone();
        Self { augmented, relabel, p: 1.0, probabilities: Vec::new() }
    }

    /// The row with the label that it was given, if it was.
    pub(crate) fn of_given(mut augmented: AugmentedText) -> Option<Self> {
        let GivenLabel { label: relabel, p } = augmented.given.take()?;
        Some(Self { augmented, relabel, p, probabilities: Vec::new() })
    }
}

/// A text of the unlabelled ones that the teacher is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PickedText {
    pub text: String,
    /// Its line in the file, from 1.
    pub line: usize,
    /// Whether it was picked because its class is uncertain, rather than for coverage.
    #[serde(default, skip_serializing_if = "is_false")]
    pub uncertain: bool,
}

/// A row of `suggested.jsonl`: a text that a person was asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SuggestedText {
    /// As [`TextRow::key`], numbered where several texts are the same.
    pub key: String,
    pub text: String,
    /// Whether it is a text of the run, rather than an unlabelled one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub in_run: bool,
    /// The most probable class, and its probability; absent in older run folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f32>,
    /// Why a person should look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Why a text was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Equals an earlier text, ignoring letter case and punctuation.
    Duplicate,
    /// ROUGE-L with an earlier text of the same label is at least the threshold.
    NearDuplicate,
    /// Equals a seed.
    CopyOfSeed,
    /// Equals a text of the test set.
    LeakFromTest,
    /// The probability of its label is too low.
    #[serde(rename = "unsure")]
    LowConfidence,
    /// A person says that it belongs to no class.
    NoneOfThese,
}

impl DropReason {
    /// The reason as a short phrase. The ledger and `report.json` hold it: it must not change.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::NearDuplicate => "near-duplicate",
            Self::CopyOfSeed => "copy of a seed",
            Self::LeakFromTest => "is in the test set",
            Self::LowConfidence => "relabelled without confidence",
            Self::NoneOfThese => "in none of the classes",
        }
    }
}

/// A row of `dropped.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DroppedText {
    #[serde(flatten)]
    pub row: RelabelledText,
    pub dropped: DropReason,
}

/// A row of `predictions.json`: a trained student and its predictions on the test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainedStudent {
    pub row: Variant,
    pub seed: u64,
    pub train_rows: usize,
    #[serde(flatten)]
    pub predictions: TestPredictions,
}

/// The predictions of a student on the test set, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TestPredictions {
    /// Class indices.
    pub predicted: Vec<usize>,
    /// The probability of each predicted class.
    #[serde(default)]
    pub confidence: Vec<f32>,
    /// The classes predicted in 8 bits (`predict --fast`); only for the student that is kept, and
    /// only if this processor has the instructions for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast: Option<Vec<usize>>,
}

/// A line of one of a run's files of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntheticText {
    /// From 1.
    pub line: usize,
    /// Identifies the text in all files of the run.
    pub id: usize,
    pub text: String,
    /// Number of values masked in it.
    pub redacted: usize,
}

/// A text in lower case with everything but letters and digits replaced by single spaces, or its
/// other signs if it has neither: what duplicates are compared by.
pub(crate) fn canonical(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join(" ");
    if !words.is_empty() {
        return words;
    }
    // Emoji have nothing but themselves.
    text.chars().filter(|c| !c.is_whitespace() && !c.is_ascii_punctuation()).collect()
}

#[cfg(test)]
mod tests {
    use super::{DropReason, canonical};

    #[test]
    fn texts_are_compared_by_their_words_or_without_any_by_their_signs() {
        let pairs = [("Where's my CARD?!", "where s my card"), ("😀  👍", "😀👍"), ("?!", "")];
        for (text, wanted) in pairs {
            assert_eq!(canonical(text), wanted);
        }
        assert_ne!(canonical("😀"), canonical("👍"));
    }

    #[test]
    fn reasons_are_written_as_they_always_were() {
        let reasons = [
            (DropReason::Duplicate, "duplicate", "duplicate"),
            (DropReason::NearDuplicate, "near-duplicate", "near_duplicate"),
            (DropReason::CopyOfSeed, "copy of a seed", "copy_of_seed"),
            (DropReason::LeakFromTest, "is in the test set", "leak_from_test"),
            (DropReason::LowConfidence, "relabelled without confidence", "unsure"),
            (DropReason::NoneOfThese, "in none of the classes", "none_of_these"),
        ];
        for (reason, phrase, key) in reasons {
            assert_eq!(reason.describe(), phrase);
            assert_eq!(serde_json::to_value(reason).unwrap(), key);
        }
    }
}
