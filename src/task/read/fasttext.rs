//! fastText's format: `__label__x text`, one text per line.

use serde_json::Value;

use super::{super::fault::Problem, Field, Places, Record, input::Part};

/// What marks a word as a label.
pub(super) const MARK: &str = "__label__";

/// The names of the columns that a file is read into.
pub(super) const NAMES: [&str; 2] = ["label", "text"];

/// The label and the text of a line. Of several labels, it keeps the first and a problem.
pub(super) fn record(part: Part) -> Record {
    let Part { text: line, place, fault } = part;
    if let Some(fault) = fault {
        return Record::broken(place, fault);
    }
    let mut labels: Vec<(usize, &str)> = Vec::new();
    // What is left of the line: it ends where the line ends.
    let mut rest = line.trim_start();
    while let Some(marked) = rest.strip_prefix(MARK) {
        let (label, after) = marked.split_once(char::is_whitespace).unwrap_or((marked, ""));
        labels.push((line.len() - marked.len(), label));
        rest = after.trim_start();
    }
    let several = labels.len() > 1;
    let problem = several.then_some(Problem::SeveralLabels { labels: labels.len() });
    let field = |name: &str, at: usize, value: &str, problem| Field {
        name: name.to_owned(),
        value: Value::String(value.to_owned()),
        at,
        problem,
    };
    let label = labels.first().map(|&(at, label)| field(NAMES[0], at, label, problem));
    let start = if rest.is_empty() { 0 } else { line.len() - rest.len() };
    let text = field(NAMES[1], start, rest.trim_end(), None);
    let fields = label.into_iter().chain([text]).collect();
    let places = Places::Text { text: line, start: place };
    Record { fields, places, faults: Vec::new() }
}
