//! The result of `promptmix evaluate` on the terminal.

use std::fmt::Write as _;

use super::super::table::aligned;
use crate::{eval::Interval, report::evaluation::Evaluation};

/// Classes that are listed; the others are in the JSON and on the page.
const LISTED: usize = 40;
/// Confused pairs that are listed.
const PAIRS: usize = 5;

/// Scores with their 95 % intervals in percent: the whole, each class, calibration, the pairs that
/// are confused most, and the difference from another model.
pub(super) fn table(evaluation: &Evaluation) -> String {
    let mut lines = vec![
        ["", "%", "95 %"].map(str::to_owned),
        score("accuracy", evaluation.accuracy),
        score("macro-F1", evaluation.macro_f1),
        score("calibration error (ECE)", evaluation.calibration.ece),
    ];
    let brier = evaluation.calibration.brier;
    lines.push([
        "Brier score (0 to 2)".to_owned(),
        format!("{:.3}", brier.mean),
        format!("{:.3} to {:.3}", brier.low, brier.high),
    ]);
    if let Some(against) = &evaluation.against {
        lines.push(score(&format!("accuracy of {}", against.model.path), against.accuracy));
    }
    let mut out = aligned(&lines);
    if let Some(against) = &evaluation.against {
        let Interval { mean, low, high, .. } = against.difference;
        let _ = writeln!(
            out,
            "difference: {:+.1} points ({:+.1} to {:+.1}), {}; right alone: {} texts, the other: {}",
            100.0 * mean,
            100.0 * low,
            100.0 * high,
            against.verdict(),
            against.wins,
            against.losses
        );
    }
    let _ = write!(out, "\n{}", classes(evaluation));
    out += &confused(evaluation);
    for warning in evaluation.warnings() {
        let _ = writeln!(out, "note: {warning}");
    }
    out
}

fn score(name: &str, interval: Interval) -> [String; 3] {
    [name.to_owned(), format!("{:.1}", 100.0 * interval.mean), range(interval)]
}

fn range(Interval { low, high, .. }: Interval) -> String {
    format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high)
}

fn classes(evaluation: &Evaluation) -> String {
    let cell = |interval: Option<Interval>| {
        interval.map_or("-".to_owned(), |it| format!("{:.1} ({})", 100.0 * it.mean, range(it)))
    };
    let header = ["class", "texts", "precision % (95 %)", "recall % (95 %)", "F1 % (95 %)"];
    let mut lines = vec![header.map(str::to_owned)];
    for class in evaluation.classes.iter().take(LISTED) {
        let scores = &class.scores;
        lines.push([
            class.name.clone(),
            scores.support.to_string(),
            cell(scores.precision),
            cell(scores.recall),
            cell(scores.f1),
        ]);
    }
    let mut out = aligned(&lines);
    if evaluation.classes.len() > LISTED {
        let more = evaluation.classes.len() - LISTED;
        let _ = writeln!(out, "and {more} more classes: see --json or --html");
    }
    out
}

/// The pairs of classes that are confused most often.
fn confused(evaluation: &Evaluation) -> String {
    let names = &evaluation.classes;
    let cells = evaluation.confusion.iter().enumerate().flat_map(|(gold, row)| {
        row.iter().enumerate().map(move |(predicted, &count)| (count, gold, predicted))
    });
    let mut pairs: Vec<_> = cells.filter(|it| it.0 > 0 && it.1 != it.2).collect();
    pairs.sort_by_key(|&(count, gold, predicted)| (std::cmp::Reverse(count), gold, predicted));
    let mut out = String::new();
    for (at, (count, gold, predicted)) in pairs.into_iter().take(PAIRS).enumerate() {
        if at == 0 {
            out += "\nconfused most often\n";
        }
        let (gold, predicted) = (&names[gold].name, &names[predicted].name);
        let _ = writeln!(out, "  {count} x {gold} predicted as {predicted}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::evaluation::sample;

    #[test]
    fn the_table_has_every_score_and_the_difference() {
        let table = table(&sample());
        for part in [
            "accuracy                  90.0    83.3 to 94.2",
            "difference: +15.0 points",
            "better; right alone: 24 texts, the other: 6",
            "12 x vpn predicted as other",
            "note: the file has no text of 1 of the 3 classes",
        ] {
            assert!(table.contains(part), "{part}\n{table}");
        }
    }
}
