//! Recorded texts: which text answers which request, and the scores that their labels stand for.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

use crate::{
    prompt::{one_line, reply::parse_list},
    task::words,
    teacher::{GenerateRequest, Generated, ScoreRequest, Scored},
};

/// Minimum probability of a candidate.
pub(super) const MIN_PROBABILITY: f64 = 1e-6;
/// Maximum probability of any other class, as a share of the recorded label's.
const MAX_SHARE: f64 = 0.99;

/// A recorded text.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct RecordedText {
    pub text: String,
    /// The class that was requested.
    pub major: String,
    pub minor: Option<String>,
    /// The class that the teacher assigned afterwards.
    pub relabel: Option<String>,
    /// Probability of that class, above 0 and at most 1; unset = 1.
    pub p: Option<f64>,
    /// The second most probable class.
    pub second: Option<String>,
}

/// All recorded texts, and which of them answer further requests: not those that were used, that
/// repeat another, or that no reply could be parsed from.
pub(super) struct TextRecording {
    rows: Vec<RecordedText>,
    /// The rows left of each major class.
    of_major: HashMap<String, BTreeSet<usize>>,
    /// Those of each pair of a major and a minor class.
    of_pair: HashMap<(String, String), BTreeSet<usize>>,
    /// The row of each text, by its [`normalised`] form.
    row_of: HashMap<String, usize>,
}

impl TextRecording {
    pub(super) fn new(rows: Vec<RecordedText>) -> Self {
        let mut row_of = HashMap::new();
        let mut of_major: HashMap<String, BTreeSet<usize>> = HashMap::new();
        let mut of_pair: HashMap<(String, String), BTreeSet<usize>> = HashMap::new();
        for (index, row) in rows.iter().enumerate() {
            let repeats = *row_of.entry(normalised(&row.text)).or_insert(index) != index;
            if repeats || parsed(&row.text).is_none() {
                continue;
            }
            of_major.entry(row.major.clone()).or_default().insert(index);
            if let Some(minor) = &row.minor {
                let pair = (row.major.clone(), minor.clone());
                of_pair.entry(pair).or_default().insert(index);
            }
        }
        Self { rows, of_major, of_pair, row_of }
    }

    /// The next texts of the wanted classes, as a list.
    pub(super) fn reply(&mut self, request: &GenerateRequest) -> Generated {
        let (major, minor) = (&request.wanted.major, &request.wanted.minor);
        let fits = |index: &&usize| self.rows[**index].text.chars().count() <= request.longest;
        let same_minor = self.of_pair.get(&(major.clone(), minor.clone())).into_iter().flatten();
        let mut chosen: Vec<usize> = same_minor.filter(fits).take(request.lines).copied().collect();
        let others = self.of_major.get(major).into_iter().flatten().filter(fits);
        let missing = request.lines - chosen.len();
        // If any are missing, all of the same minor class are chosen.
        let others = others.filter(|index| chosen.binary_search(index).is_err()).take(missing);
        let others: Vec<usize> = others.copied().collect();
        chosen.extend(others);
        let complete = chosen.len() == request.lines;
        let mut lines = Vec::new();
        if complete {
            for (number, index) in chosen.into_iter().enumerate() {
                self.use_up(index);
                lines.push(format!("{}. {}", number + 1, one_line(&self.rows[index].text)));
            }
        }
        Generated { text: lines.join("\n"), complete, prompt_tokens: 0, generated_tokens: 0 }
    }

    /// Lets row number `index` answer no further request.
    fn use_up(&mut self, index: usize) {
        let RecordedText { major, minor, .. } = &self.rows[index];
        if let Some(left) = self.of_major.get_mut(major) {
            left.remove(&index);
        }
        let pair = minor.as_ref().map(|minor| (major.clone(), minor.clone()));
        if let Some(left) = pair.and_then(|pair| self.of_pair.get_mut(&pair)) {
            left.remove(&index);
        }
    }

    /// The row of `text`, or else the shortest one that has all its words in a row: a list mark or
    /// a bracket may have been removed from the text since it was read.
    fn find(&self, text: &str) -> Option<usize> {
        let inside = || {
            let wanted = format!(" {} ", words(text));
            let holds =
                |row: &usize| format!(" {} ", words(&self.rows[*row].text)).contains(&wanted);
            (0..self.rows.len()).filter(holds).min_by_key(|row| self.rows[*row].text.len())
        };
        self.row_of.get(&normalised(text)).copied().or_else(inside)
    }

    /// The scores for the recorded label of the text in question, if it has one.
    pub(super) fn score(&self, question: &ScoreRequest) -> Option<Scored> {
        let row = &self.rows[self.find(&question.text)?];
        let label = row.relabel.as_deref()?;
        let probabilities =
            probabilities(&question.candidates, label, row.p.unwrap_or(1.0), row.second.as_deref());
        Some(Scored {
            log_probs: probabilities.into_iter().map(|p| p.ln() as f32).collect(),
            tokens: vec![0; question.candidates.len()],
            prompt_tokens: 0,
        })
    }
}

/// The probability of each candidate: `p` for `label`, the rest for `second`. Probability of a
/// class that is not a candidate is spread evenly over the candidates without any, or over all if
/// `label` is not a candidate. No class reaches the probability of `label`, and none is impossible.
pub(super) fn probabilities(
    candidates: &[String],
    label: &str,
    p: f64,
    second: Option<&str>,
) -> Vec<f64> {
    let index_of = |name: &str| candidates.iter().position(|candidate| candidate == name);
    let first = index_of(label);
    let second = second.and_then(index_of).filter(|second| Some(*second) != first);
    let max_other = if first.is_some() { MAX_SHARE * p } else { 1.0 };
    let mut all = vec![0.0; candidates.len()];
    for (index, p) in [(first, p), (second, (1.0 - p).min(max_other))] {
        if let Some(index) = index {
            all[index] = p;
        }
    }
    let rest = 1.0 - all.iter().sum::<f64>();
    let others: Vec<usize> = (0..all.len())
        .filter(|index| first.is_none() || ![first, second].contains(&Some(*index)))
        .collect();
    for &index in &others {
        all[index] = (all[index] + rest / others.len() as f64).min(max_other);
    }
    all.into_iter().map(|p| p.max(MIN_PROBABILITY)).collect()
}

/// The text that the parser of replies returns, without enclosing quotes and so on.
fn parsed(text: &str) -> Option<String> {
    parse_list(&format!("1. {}", one_line(text)), 1, usize::MAX, true).ok()?.pop()
}

/// The form in which equal texts are equal.
fn normalised(text: &str) -> String {
    parsed(text).unwrap_or_else(|| one_line(text)).to_ascii_lowercase()
}
