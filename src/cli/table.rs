//! The result tables of a run and of a comparison, as plain text.

use std::fmt::Write as _;

use crate::{compare::points, dataset::Variant, eval::Interval, report::Report};

/// The rows of `report` with accuracy and macro-F1 in percent and their 95 % intervals.
pub(super) fn results(report: &Report) -> String {
    let mut out = String::new();
    if report.results.is_empty() {
        return format!(
            "the student is trained; there are no results, because the task has no test set\n{}",
            notes(report)
        );
    }
    let header = ["", "accuracy % (95 %)", "macro-F1 % (95 %)", "students", "rows"];
    let mut lines = vec![header.map(str::to_owned)];
    for scores in &report.results {
        lines.push([
            scores.row.name().to_owned(),
            percent(&scores.accuracy),
            percent(&scores.macro_f1),
            if !scores.row.needs_student() { "-".into() } else { scores.seeds.to_string() },
            if !scores.row.needs_student() { "-".into() } else { scores.train_rows.to_string() },
        ]);
    }
    out += &aligned(&lines);
    for difference in &report.differences {
        let Interval { mean, low, high, .. } = difference.interval;
        let verdict = match difference.interval.shows_difference() {
            true => "a difference",
            false => difference.interval.not_shown(),
        };
        let _ = writeln!(
            out,
            "{} - {}: {:+.1} points ({:+.1} to {:+.1}), {verdict}",
            difference.a.name(),
            difference.b.name(),
            100.0 * mean,
            100.0 * low,
            100.0 * high
        );
    }
    out += &after_table(report);
    out
}

/// What follows the table of a run: the cost of 8 bits, and the report's warnings.
fn after_table(report: &Report) -> String {
    let mut out = String::new();
    if let Some(fast) = report.student.eight_bits {
        let _ = writeln!(
            out,
            "predict --fast: accuracy {:.1} % instead of {:.1} %, the same class for {:.1} % of the texts",
            100.0 * fast.accuracy,
            100.0 * fast.accuracy_f32,
            100.0 * fast.same_class
        );
    }
    out + &notes(report)
}

/// A line for each warning of `report`.
fn notes(report: &Report) -> String {
    report.warnings.iter().map(|warning| format!("note: {warning}\n")).collect()
}

/// All rows of a comparison, one table for each number of seeds per class, student and teacher.
pub(super) fn comparison(report: &Report) -> String {
    let Some(comparison) = &report.comparison else { return String::new() };
    let mut out = String::new();
    for group in comparison.groups() {
        let header =
            ["", "accuracy % (95 %)", "against seeds only", "seeds", "rows", "calls", "time"];
        let mut lines = vec![header.map(str::to_owned)];
        for line in &group.lines {
            let against =
                group.difference(line.row, Variant::Seeds).map_or_else(String::new, |interval| {
                    let mark = if interval.shows_difference() { " *" } else { "" };
                    format!("{}{mark}", points(&interval))
                });
            let number = |value: f64| if value > 0.0 { format!("{value:.0}") } else { "-".into() };
            lines.push([
                line.row.name().to_owned(),
                percent(&line.accuracy),
                against,
                line.seeds.to_string(),
                number(line.train_rows),
                number(line.teacher_calls),
                format!("{:.1} s", line.seconds),
            ]);
        }
        let _ = write!(out, "{}\n{}\n", group.title(), aligned(&lines));
    }
    out += "* a difference: the paired interval excludes zero. Calls and time are those of one seed.\n";
    if comparison.differences.iter().any(|one| one.interval.one_seed) {
        out += "With one training seed, intervals reflect only the choice of test texts: no difference is claimed.\n";
    }
    for (name, interval) in
        comparison.differences.iter().filter_map(|d| Some((d.models()?, d.interval)))
    {
        let points = points(&interval);
        let _ = match interval.shows_difference() {
            true => writeln!(out, "{name}: {points} points *"),
            false => writeln!(out, "{name}: {points} points, {}", interval.not_shown()),
        };
    }
    for row in &comparison.left_out {
        let teacher = row.teacher.as_ref().map_or_else(String::new, |name| format!(", {name}"));
        let (name, k, reason) = (row.row.name(), row.k, &row.reason);
        let _ = writeln!(out, "left out: {name}, k = {k}{teacher}: {reason}");
    }
    out + &notes(report)
}

/// `lines` in columns: the first one left-aligned, the others right-aligned.
pub(super) fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let mut text = format!("{:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
    out
}

fn percent(interval: &Interval) -> String {
    let Interval { mean, low, high, .. } = interval;
    format!("{:.1} ({:.1} to {:.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
}
