//! `compare.md`: the table as Markdown, to paste into a document.

use std::fmt::Write as _;

use crate::{
    dataset::Variant,
    eval::Interval,
    report::{Group, Line, Report},
};

/// The comparison of `report` as Markdown: a table for each k and student, then what was shown.
pub(crate) fn markdown(report: &Report) -> String {
    let Some(comparison) = &report.comparison else { return String::new() };
    let test = report.task.test_rows;
    let mut out = format!(
        "# {}: every row of the table\n\nAccuracy on {test} test texts in percent, with 95 % intervals over seeds and test texts. A difference is claimed only if its paired interval excludes zero and the students have several training seeds. Costs are those of one seed.\n",
        cell(&report.task.name),
    );
    for group in comparison.groups() {
        let _ = write!(
            out,
            "\n## {}\n\n| row | accuracy | against seeds only | seeds | rows | relabelled | teacher calls | tokens | seconds | of them student |\n|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n",
            cell(&group.title()),
        );
        for line in &group.lines {
            let _ = writeln!(out, "{}", row(line, &group));
        }
    }
    let own = comparison.differences.iter().filter(|d| d.against.is_none());
    let shown: Vec<_> = own.filter(|d| d.b != Variant::Seeds).collect();
    if !shown.is_empty() {
        out.push_str("\n## The method against its baselines\n\n");
        for d in shown {
            let verdict = verdict(&d.interval);
            let with: Vec<String> = [d.student.as_deref(), d.teacher.as_deref()]
                .into_iter()
                .flatten()
                .map(cell)
                .collect();
            let _ = writeln!(
                out,
                "- {} − {} (k = {}, {}): {} points{verdict}",
                d.a.name(),
                d.b.name(),
                d.k,
                with.join(", "),
                points(&d.interval),
            );
        }
    }
    let models: Vec<_> =
        comparison.differences.iter().filter_map(|d| Some((d.models()?, d.interval))).collect();
    if !models.is_empty() {
        out.push_str("\n## Models against each other\n\n");
        for (name, interval) in models {
            let verdict = verdict(&interval);
            let _ = writeln!(out, "- {}: {} points{verdict}", cell(&name), points(&interval));
        }
    }
    if !report.warnings.is_empty() {
        out.push_str("\n## Before you rely on this\n\n");
        for warning in &report.warnings {
            let _ = writeln!(out, "- {}", cell(warning));
        }
    }
    if !comparison.left_out.is_empty() {
        out.push_str("\n## Left out\n\n");
        for out_of in &comparison.left_out {
            let reason = cell(&out_of.reason);
            let whose =
                out_of.teacher.as_ref().map_or_else(String::new, |t| format!(", {}", cell(t)));
            let _ = writeln!(out, "- {}, k = {}{whose}: {reason}", out_of.row.name(), out_of.k);
        }
    }
    out
}

/// What follows a difference that is not shown.
fn verdict(interval: &Interval) -> String {
    match interval.shows_difference() {
        true => String::new(),
        false => format!(": {}", interval.not_shown()),
    }
}

fn row(line: &Line, group: &Group<'_>) -> String {
    let against = group.difference(line.row, Variant::Seeds);
    let against = against.map_or_else(String::new, |interval| match interval.shows_difference() {
        true => points(&interval),
        false => format!("{}, not shown", points(&interval)),
    });
    let Interval { mean, low, high, .. } = line.accuracy;
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let number = |value: f64| if value > 0.0 { format!("{value:.0}") } else { "–".to_owned() };
    let seconds = |value: f64| if value > 0.0 { format!("{value:.1}") } else { "–".to_owned() };
    format!(
        "| {} | **{}** ({} to {}) | {against} | {} | {} | {} | {} | {} | {} | {} |",
        line.row.name(),
        percent(mean),
        percent(low),
        percent(high),
        line.seeds,
        number(line.train_rows),
        line.relabelled.map_or_else(|| "–".to_owned(), |share| format!("{} %", percent(share))),
        number(line.teacher_calls),
        number(line.tokens),
        seconds(line.seconds),
        seconds(line.student_seconds),
    )
}

/// A difference in points of accuracy, with its interval.
pub(crate) fn points(interval: &Interval) -> String {
    let Interval { mean, low, high, .. } = interval;
    format!("{:+.1} ({:+.1} to {:+.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
}

/// Text of others, escaped for a table cell.
fn cell(text: &str) -> String {
    crate::report::card::plain(text)
}
