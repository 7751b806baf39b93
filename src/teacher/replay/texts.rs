//! Recorded texts: which ones are given out, and what their labels are worth as scores.

use std::collections::HashMap;

use serde::Deserialize;

use crate::{
    prompt::reply::parse_list,
    teacher::{GenerateRequest, Generated, ScoreRequest, Scored},
};

/// Least probability of a candidate.
pub(super) const FLOOR: f64 = 1e-6;
/// A recorded label stays the most probable one by at least this factor.
const SECOND: f64 = 0.99;

/// A recorded text.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct RecordedText {
    pub text: String,
    /// The class asked for.
    pub major: String,
    pub minor: Option<String>,
    /// The class that the teacher gave it afterwards.
    pub relabel: Option<String>,
    /// Probability of that class, above 0 and at most 1; unset = 1.
    pub p: Option<f64>,
    /// The next probable class.
    pub second: Option<String>,
}

/// All texts, and which of them were given out.
pub(super) struct Texts {
    rows: Vec<RecordedText>,
    /// Not to be given out (any more): was already, repeats another one, or could not be read back.
    used: Vec<bool>,
    /// Place of each text, by its [`form`].
    places: HashMap<String, usize>,
}

impl Texts {
    pub(super) fn new(rows: Vec<RecordedText>) -> Self {
        let mut places = HashMap::new();
        let mut used = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            let repeats = *places.entry(form(&row.text)).or_insert(place) != place;
            used.push(repeats || read_back(&row.text).is_none());
        }
        Self { rows, used, places }
    }

    /// The next texts of the wanted classes, as a list.
    pub(super) fn write(&mut self, ask: &GenerateRequest) -> Generated {
        let fits = |place: &usize| {
            let row = &self.rows[*place];
            !self.used[*place]
                && row.major == ask.wanted.major
                && row.text.chars().count() <= ask.longest
        };
        let (near, far): (Vec<usize>, Vec<usize>) = (0..self.rows.len())
            .filter(fits)
            .partition(|place| self.rows[*place].minor.as_ref() == Some(&ask.wanted.minor));
        let chosen: Vec<usize> = near.into_iter().chain(far).take(ask.lines).collect();
        let complete = chosen.len() == ask.lines;
        let mut lines = Vec::new();
        if complete {
            for (number, place) in chosen.into_iter().enumerate() {
                self.used[place] = true;
                lines.push(format!("{}. {}", number + 1, one_line(&self.rows[place].text)));
            }
        }
        Generated { text: lines.join("\n"), complete, prompt_tokens: 0, generated_tokens: 0 }
    }

    /// The label of the text that is asked about, if it has one.
    pub(super) fn score(&self, question: &ScoreRequest) -> Option<Scored> {
        let row = &self.rows[*self.places.get(&form(&question.text))?];
        let label = row.relabel.as_deref()?;
        let masses =
            masses(&question.candidates, label, row.p.unwrap_or(1.0), row.second.as_deref());
        Some(Scored {
            log_probs: masses.into_iter().map(|mass| mass.ln() as f32).collect(),
            tokens: vec![0; question.candidates.len()],
            prompt_tokens: 0,
        })
    }
}

/// `p` for `label`, the rest for `second`. What has no place among the candidates goes evenly to those
/// that have nothing yet, or to all where `label` is none of them. Nothing comes up to the label, and
/// nothing is quite impossible.
pub(super) fn masses(candidates: &[String], label: &str, p: f64, second: Option<&str>) -> Vec<f64> {
    let place = |name: &str| candidates.iter().position(|candidate| candidate == name);
    let first = place(label);
    let second = second.and_then(place).filter(|second| Some(*second) != first);
    let most = if first.is_some() { SECOND * p } else { 1.0 };
    let mut masses = vec![0.0; candidates.len()];
    for (place, mass) in [(first, p), (second, (1.0 - p).min(most))] {
        if let Some(place) = place {
            masses[place] = mass;
        }
    }
    let rest = 1.0 - masses.iter().sum::<f64>();
    let open: Vec<usize> = (0..masses.len())
        .filter(|at| first.is_none() || ![first, second].contains(&Some(*at)))
        .collect();
    for at in &open {
        masses[*at] = (masses[*at] + rest / open.len() as f64).min(most);
    }
    masses.into_iter().map(|mass| mass.max(FLOOR)).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the parser of replies makes of a text: without enclosing quotes, for one.
fn read_back(text: &str) -> Option<String> {
    parse_list(&format!("1. {}", one_line(text)), 1, usize::MAX, true).ok()?.pop()
}

/// Texts of the same form are the same one.
fn form(text: &str) -> String {
    read_back(text).unwrap_or_else(|| one_line(text)).to_ascii_lowercase()
}
