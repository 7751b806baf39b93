//! Which columns of a file are the text and the label.
//!
//! A name that was given must be there, but case, white space around it and its Unicode form may
//! differ. Without a name, `text` and `label` are looked for, then the names that exports often
//! have. Whatever is not an exact match is told. Of several columns that look alike, one must be
//! named as it is spelled.

use std::fmt::Write as _;

use super::super::{fault::Problem, names};

/// Names of a text column, from the most certain to the least.
const TEXTS: [&str; 24] = [
    "text",
    "texts",
    "body",
    "message",
    "content",
    "sentence",
    "utterance",
    "email",
    "mail",
    "ticket",
    "question",
    "query",
    "comment",
    "review",
    "description",
    "document",
    "request",
    "complaint",
    "tweet",
    "post",
    "input",
    "nachricht",
    "inhalt",
    "beschreibung",
];
/// Names of a text column that is short and belongs in front of another.
const SUBJECTS: [&str; 5] = ["subject", "title", "betreff", "headline", "titel"];
/// Names of a label column, from the most certain to the least.
const LABELS: [&str; 14] = [
    "label",
    "labels",
    "class",
    "category",
    "intent",
    "target",
    "topic",
    "tag",
    "gold",
    "classification",
    "kategorie",
    "klasse",
    "thema",
    "department",
];

/// Names of columns that a fault keeps.
const KEPT: usize = 100;

/// The columns to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    /// The text; several are joined by a blank line. Empty: found by its name.
    pub text: Vec<String>,
    /// The label; `None`: there is none to read.
    pub label: Option<LabelColumn>,
    /// How the user names the two: a flag or a key of `task.toml`.
    pub settings: ColumnSettings,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelColumn {
    Named(String),
    /// Found by its name.
    Guessed,
}

/// How the user names the columns, for hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnSettings {
    /// `--text-column` and `--label-column`.
    Flags,
    /// `text_column` and `label_column` under `[data]`.
    Manifest,
}

impl ColumnSettings {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Flags => "--text-column",
            Self::Manifest => "text_column under [data]",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Flags => "--label-column",
            Self::Manifest => "label_column under [data]",
        }
    }
}

/// The columns found in a file, as indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picked {
    pub text: Vec<usize>,
    pub label: Option<usize>,
    /// What was guessed.
    pub notes: Vec<String>,
    /// How much of it was certain, to compare two ways of reading a header.
    pub certainty: usize,
    /// Whether the text was named, by the user, as `text`, or as a subject and a body.
    pub is_named: bool,
}

/// A name as it is compared: Unicode form, case and white space make no difference.
pub(super) fn fold(name: &str) -> String {
    names::folded(name)
}

impl Columns {
    /// Columns named by flags or found by their names; with a label.
    pub(crate) fn labelled(text: &[String], label: Option<&str>, settings: ColumnSettings) -> Self {
        let named = |name: &str| LabelColumn::Named(name.to_owned());
        let label = Some(label.map_or(LabelColumn::Guessed, named));
        Self { text: text.to_vec(), label, settings }
    }

    /// A text column named by flags or found by its name; without a label.
    pub(crate) fn texts(text: &[String]) -> Self {
        Self { text: text.to_vec(), label: None, settings: ColumnSettings::Flags }
    }

    /// A text column named in `task.toml` or found by its name; without a label.
    pub(crate) fn unlabelled(text: &[String]) -> Self {
        Self { settings: ColumnSettings::Manifest, ..Self::texts(text) }
    }

    /// Finds the columns among those of a file.
    ///
    /// # Errors
    /// A problem for each column that is missing or ambiguous.
    pub(super) fn pick(&self, found: &[String]) -> Result<Picked, Vec<Problem>> {
        let folds: Vec<String> = found.iter().map(|name| fold(name)).collect();
        let search = Search { found, folds };
        let mut problems = Vec::new();
        let mut notes = String::new();
        let mut certainty = 0;
        let label = match &self.label {
            None => None,
            Some(wanted) => {
                let named = match wanted {
                    LabelColumn::Named(name) => search.named(name, self.settings.label()),
                    LabelColumn::Guessed => search.first_of(&LABELS, self.settings.label()),
                };
                named.map_err(|problem| problems.push(problem)).ok()
            }
        };
        let (text, is_named) = match self.text.as_slice() {
            [] => match search.guess_text(label, self.settings.text()) {
                Ok(text) => {
                    let is_named = text.len() > 1 || search.folds[text[0]] == TEXTS[0];
                    (text, is_named)
                }
                Err(problem) => {
                    problems.push(problem);
                    (Vec::new(), false)
                }
            },
            names => {
                let picked = names.iter().map(|name| search.named(name, self.settings.text()));
                let picked = picked.filter_map(|named| named.map_err(|it| problems.push(it)).ok());
                (picked.collect(), true)
            }
        };
        if !problems.is_empty() {
            // The text comes first in messages.
            problems.reverse();
            return Err(problems);
        }
        let expected: Vec<&str> = match self.text.as_slice() {
            [] => vec![TEXTS[0]],
            names => names.iter().map(String::as_str).collect(),
        };
        if text.iter().map(|&at| found[at].as_str()).eq(expected) {
            certainty += 2;
        } else {
            let names: Vec<String> = text.iter().map(|&at| format!("{:?}", found[at])).collect();
            let _ = write!(notes, "text from {}", names.join(" and "));
        }
        if let Some(at) = label {
            let expected = match &self.label {
                Some(LabelColumn::Named(name)) => name,
                _ => LABELS[0],
            };
            if found[at] == expected {
                certainty += 2;
            } else {
                let comma = if notes.is_empty() { "" } else { ", " };
                let _ = write!(notes, "{comma}label from {:?}", found[at]);
            }
        }
        let notes = if notes.is_empty() { Vec::new() } else { vec![notes] };
        Ok(Picked { text, label, notes, certainty, is_named })
    }
}

struct Search<'a> {
    found: &'a [String],
    folds: Vec<String>,
}

impl Search<'_> {
    /// The column that the user calls `name`: the one that is spelled so, or the only one that
    /// looks alike.
    fn named(&self, name: &str, setting: &'static str) -> Result<usize, Problem> {
        match positions(self.found, |other| other == name).as_slice() {
            [only] => Ok(*only),
            [] => self.alike(name).unwrap_or_else(|| Err(self.missing(name, setting))),
            several => Err(self.several(name, several)),
        }
    }

    /// The column with the first of `names` that is there.
    fn first_of(&self, names: &[&str], setting: &'static str) -> Result<usize, Problem> {
        let found = names.iter().find_map(|name| self.alike(name));
        found.unwrap_or_else(|| Err(self.missing(names[0], setting)))
    }

    /// The only column that looks like `name`; `None` without one.
    fn alike(&self, name: &str) -> Option<Result<usize, Problem>> {
        let wanted = fold(name);
        match positions(&self.folds, |other| *other == wanted).as_slice() {
            [] => None,
            [only] => Some(Ok(*only)),
            several => Some(Err(self.several(name, several))),
        }
    }

    fn several(&self, name: &str, at: &[usize]) -> Problem {
        let spellings = at.iter().map(|&at| self.found[at].clone()).collect();
        Problem::DuplicateColumn { column: name.to_owned(), spellings }
    }

    /// The text without a name given: a column called `text`, a subject and a body, a name that
    /// exports often have, or the only column beside the label.
    fn guess_text(
        &self,
        label: Option<usize>,
        setting: &'static str,
    ) -> Result<Vec<usize>, Problem> {
        let body = self.first_of(&TEXTS, setting);
        let subject = self.first_of(&SUBJECTS, setting);
        match (body, subject, label) {
            (Ok(body), _, _) if self.folds[body] == TEXTS[0] => Ok(vec![body]),
            (Err(problem @ Problem::DuplicateColumn { .. }), _, _)
            | (_, Err(problem @ Problem::DuplicateColumn { .. }), _) => Err(problem),
            (Ok(body), Ok(subject), _) => Ok(vec![subject, body]),
            (Ok(body), Err(_), _) => Ok(vec![body]),
            (Err(_), _, Some(label)) if self.found.len() == 2 => Ok(vec![1 - label]),
            (Err(problem), _, _) => Err(problem),
        }
    }

    fn missing(&self, name: &str, setting: &'static str) -> Problem {
        missing(name, self.found.iter(), setting)
    }
}

/// The fault of a column that is not among those `found`, of which it keeps the first few.
pub(super) fn missing<'f>(
    column: &str,
    found: impl Iterator<Item = &'f String>,
    setting: &'static str,
) -> Problem {
    let found = found.take(KEPT).cloned().collect();
    Problem::MissingColumn { column: column.to_owned(), found, setting, in_header: false }
}

fn positions(names: &[String], matches: impl Fn(&String) -> bool) -> Vec<usize> {
    (0..names.len()).filter(|&at| matches(&names[at])).collect()
}
