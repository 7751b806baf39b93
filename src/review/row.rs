//! A text as the page shows it.

use crate::{
    dataset::{AugmentedText, DropReason, Opinions, RowFields, SuggestedText, TextRow},
    run::names,
};

/// Where a text stood when the review began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In `train.jsonl`, or a person removed it from there.
    Train,
    /// In `dropped.jsonl`.
    Dropped(DropReason),
    /// In the file of unlabelled texts, and `suggest` asked about it.
    Suggested,
    /// In the test set, and the student is wrong about it. It is shown, not decided.
    Test,
}

impl Source {
    /// The file that a decision about such a text edits; `None` if nothing can be decided.
    pub(super) fn edited_file(self) -> Option<&'static str> {
        match self {
            Self::Train | Self::Dropped(_) | Self::Suggested => Some(names::TRAIN),
            Self::Test => None,
        }
    }
}

/// A text of the run.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// [`TextRow::key`], numbered where several texts are the same; the number of a test text.
    pub key: String,
    /// Its `id` in the files; for a test text its line in the file of the test set.
    pub id: usize,
    pub source: Source,
    /// As it was before any decision.
    pub first: RowFields,
    /// As it is now; `None` if it is not trained on.
    pub now: Option<RowFields>,
    pub opinions: Option<Opinions>,
    /// Whether it is a real text that the teacher labelled: nobody asked for its class.
    pub is_unlabelled: bool,
    /// Why `suggest` asked about it, if it did; empty if it did not say so.
    pub suggested: Option<String>,
    /// Whether a person had edited it before, in another file or another task.
    pub was_edited: bool,
    /// Who decided last, and when.
    pub last: Option<(String, String)>,
    /// What it was before each decision that can be taken back, oldest first.
    pub history: Vec<Option<RowFields>>,
    /// Changes that the ledger holds about it: what the page saw is still true if it names the
    /// same number.
    pub version: usize,
}

impl Row {
    /// The row `key` of `train.jsonl` or `dropped.jsonl`, before any decision.
    pub(super) fn new(key: String, row: TextRow, source: Source) -> Self {
        let fields = row.fields();
        Self {
            key,
            is_unlabelled: row.augmented.is_unlabelled(),
            id: row.augmented.id,
            source,
            now: (source == Source::Train).then(|| fields.clone()),
            first: fields,
            opinions: row.augmented.opinions,
            suggested: None,
            was_edited: row.augmented.by.is_some(),
            last: None,
            history: Vec::new(),
            version: 0,
        }
    }

    /// Whether a person has decided about it.
    pub(super) fn is_decided(&self) -> bool {
        self.was_edited || !self.history.is_empty()
    }

    /// An unlabelled text that `suggest` asked about, which gets the `id` if it is trained on.
    pub(super) fn of_suggested(text: SuggestedText, id: usize) -> Self {
        let SuggestedText { key, text, label, p, why, .. } = text;
        let label = label.unwrap_or_default();
        let mut row = TextRow { relabel: Some(label.clone()), p, ..TextRow::default() };
        row.augmented =
            AugmentedText { id, text, major: label, unlabelled_line: Some(0), ..row.augmented };
        Self { suggested: Some(why.unwrap_or_default()), ..Self::new(key, row, Source::Suggested) }
    }

    /// Whether it is not trained on because somebody decided so.
    pub(super) fn is_dropped(&self) -> bool {
        self.now.is_none() && (self.source != Source::Suggested || self.is_decided())
    }

    /// As it is now, or as it was when it was dropped.
    pub(super) fn shown(&self) -> &RowFields {
        self.now.as_ref().unwrap_or(&self.first)
    }

    /// The label that it has.
    pub(super) fn label(&self) -> &str {
        label(self.shown())
    }

    /// The probability of its label before any decision, 0 to 1; 1 if it is not known.
    pub(super) fn certainty(&self) -> f32 {
        self.first.p.unwrap_or(1.0)
    }

    /// The class that it was asked for.
    pub(super) fn asked(&self) -> Option<&str> {
        (!self.is_unlabelled).then_some(self.first.major.as_str())
    }

    /// How many of those who were asked for the first label gave it: the request, the teacher, the
    /// probe. `None` if only the request is known.
    pub(super) fn agreeing(&self) -> Option<usize> {
        let Opinions { judge, probe } = self.opinions.as_ref()?;
        let voices = [Some(judge.as_str()), Some(probe.as_str()), self.asked()];
        Some(voices.into_iter().filter(|voice| *voice == Some(label(&self.first))).count())
    }
}

/// The label of a row with these fields: the one that was given, otherwise the one asked for.
pub(super) fn label(fields: &RowFields) -> &str {
    fields.relabel.as_deref().unwrap_or(&fields.major)
}
