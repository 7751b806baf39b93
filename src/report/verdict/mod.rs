//! The first sentences of the page: what was reached, compared with what, and what was not shown.
//!
//! They must not mislead a reader who stops there. They claim a gain only if the paired interval
//! excludes zero and covers several training seeds; otherwise they say "no difference shown".

mod compared;

use super::{
    Report, Scores, Unlabelled,
    number::{counted, percent, points, points_span, span},
};
use crate::{dataset::Variant, eval::Interval};

pub(super) use compared::main;

/// The headline and the sentences below it.
pub(super) struct Verdict {
    pub(super) headline: String,
    pub(super) details: Vec<String>,
}

/// The verdict on a report.
pub(super) fn verdict(report: &Report) -> Verdict {
    if let Some(verdict) = report.comparison.as_ref().and_then(compared::verdict) {
        return verdict;
    }
    let best = [Variant::A2U, Variant::A2, Variant::A1, Variant::Seeds, Variant::Teacher]
        .into_iter()
        .find_map(|row| report.scores(row));
    let Some(main) = best else {
        return Verdict {
            headline: format!(
                "No accuracy was measured: {}.",
                if report.task.test_rows == 0 {
                    "this task has no labelled test set"
                } else {
                    "no model was scored on the test set"
                }
            ),
            details: (report.funnel.parsed > 0)
                .then(|| {
                    "The sections below describe the generated texts, not their value as training data."
                        .into()
                })
                .into_iter()
                .collect(),
        };
    };
    // The texts did not help, and none of them was used.
    let alone = main.row == Variant::A2
        && report.scores(Variant::Seeds).is_some_and(|seeds| seeds.train_rows == main.train_rows);
    let mut headline = format!(
        "{} reaches {} ({}) on {}",
        if alone {
            "The student trained on the labelled examples alone"
        } else {
            subject(main.row)
        },
        percent(main.accuracy.mean),
        span(main.accuracy),
        test_texts(main.test_rows),
    );
    match report.scores(Variant::Seeds).filter(|_| main.row != Variant::Seeds) {
        Some(seeds) => headline += &format!("; seeds only: {}.", percent(seeds.accuracy.mean)),
        None => headline.push('.'),
    }
    let mut details = Vec::new();
    if alone {
        details.push(
            "The teacher's texts did not help to predict examples that were left out: they are not used."
                .into(),
        );
    }
    if !alone && main.row == Variant::A2 && report.scores(Variant::A1).is_some() {
        details.push(sentence(
            report.difference(Variant::A2, Variant::A1),
            "Relabelling the generated texts",
            "training on the requested labels",
        ));
    }
    if !alone
        && matches!(main.row, Variant::A1 | Variant::A2 | Variant::A2U)
        && report.scores(Variant::Seeds).is_some()
    {
        details.push(sentence(
            report.difference(main.row, Variant::Seeds),
            if main.row == Variant::A2U {
                "Adding generated and real texts"
            } else {
                "Adding generated texts"
            },
            "training on the seeds only",
        ));
    }
    if let Some(real) = report.unlabelled.filter(|_| main.row == Variant::A2U) {
        details.extend(real_texts(report, real));
    }
    if let Some(teacher) = report.scores(Variant::Teacher).filter(|_| main.row != Variant::Teacher)
    {
        let difference = report.difference(main.row, Variant::Teacher);
        details.push(compared_with_teacher(main, teacher, difference));
    }
    Verdict { headline, details }
}

/// The model of a row as the subject of a sentence.
fn subject(row: Variant) -> &'static str {
    match row {
        Variant::A2U => "The student trained on generated and real texts, labelled by the teacher,",
        Variant::A2 => "The student trained on relabelled boundary texts",
        Variant::A1 => "The student trained on generated texts, not relabelled,",
        Variant::Seeds => "The student trained on the seeds only",
        Variant::Teacher => "The teacher itself",
        other => other.name(),
    }
}

/// How many real texts were labelled, and what they bring.
fn real_texts(report: &Report, real: Unlabelled) -> [String; 2] {
    let Unlabelled { read, labelled, kept } = real;
    let texts = counted(read, "unlabelled text");
    let labelled = format!(
        "The teacher labelled {labelled} of {texts}; the student is trained on {kept} of these."
    );
    let brought = sentence(
        report.difference(Variant::A2U, Variant::A2),
        "Adding real texts that the teacher labelled",
        "training on the generated texts alone",
    );
    [labelled, brought]
}

/// What `cause` gains or loses compared with `baseline`.
fn sentence(difference: Option<Interval>, cause: &str, baseline: &str) -> String {
    let Some(difference) = difference else {
        return format!("{cause}, compared with {baseline}: the difference was not tested.");
    };
    let range = format!("95 % interval {}", points_span(difference));
    let size = points(difference.mean.abs()).replace('+', "");
    if !difference.shows_difference() {
        format!(
            "{cause}, compared with {baseline}: no difference shown ({} points, {range}{}).",
            points(difference.mean),
            seeds(difference)
        )
    } else if difference.mean > 0.0 {
        format!("{cause} gains {size} points over {baseline} ({range}).")
    } else {
        format!("{cause} loses {size} points compared with {baseline} ({range}).")
    }
}

/// What follows an interval that covers the choice of test texts only.
fn seeds(difference: Interval) -> &'static str {
    if difference.one_seed { " over test texts only, with one training seed" } else { "" }
}

fn compared_with_teacher(main: &Scores, teacher: &Scores, difference: Option<Interval>) -> String {
    let reached = format!("The teacher itself reaches {}", percent(teacher.accuracy.mean));
    match difference {
        Some(difference) if !difference.shows_difference() => format!(
            "{reached}; no difference shown between it and the student ({} points, 95 % interval {}{}).",
            points(difference.mean),
            points_span(difference),
            seeds(difference)
        ),
        Some(difference) => format!(
            "{reached}: the student is {} points {} (95 % interval {}).",
            points(difference.mean.abs()).replace('+', ""),
            if difference.mean > 0.0 { "above it" } else { "below it" },
            points_span(difference)
        ),
        None if teacher.test_rows != main.test_rows => {
            format!("{reached}, on {}.", test_texts(teacher.test_rows))
        }
        None => format!("{reached} ({}).", span(teacher.accuracy)),
    }
}

fn test_texts(count: usize) -> String {
    super::number::counted(count as u64, "test text").replace('\u{a0}', " ")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_gain_is_claimed_only_if_the_interval_excludes_zero() {
        let mut report = sample::tickets();
        let shown = verdict(&report);
        assert!(
            shown
                .headline
                .contains("81.2\u{202f}% (79.0–83.1) on 336 test texts; seeds only: 31.0")
        );
        assert!(shown.details[0].contains("gains 4.2 points"), "{}", shown.details[0]);
        report.differences[0].interval.low = -0.004;
        let hidden = verdict(&report);
        assert!(hidden.details[0].contains("no difference shown"), "{}", hidden.details[0]);
        assert!(!hidden.details[0].contains(" gains "));
        report.differences[0].interval = Interval::new(-0.05, -0.08, -0.02);
        assert!(verdict(&report).details[0].contains("loses 5.0 points"));
        report.differences[0].interval.one_seed = true;
        let one = &verdict(&report).details[0];
        assert!(one.contains("no difference shown") && one.contains("one training seed"), "{one}");
        report.differences.clear();
        assert!(verdict(&report).details[0].contains("not tested"));
    }

    #[test]
    fn texts_that_are_not_used_are_not_praised() {
        let mut report = sample::tickets();
        let rows = report.scores(Variant::Seeds).unwrap().train_rows;
        let a2 = report.results.iter_mut().find(|scores| scores.row == Variant::A2).unwrap();
        a2.train_rows = rows;
        let found = verdict(&report);
        assert!(found.headline.starts_with("The student trained on the labelled examples alone"));
        assert!(found.details[0].contains("they are not used"), "{:?}", found.details);
        assert!(!found.details.concat().contains("Adding generated texts"), "{:?}", found.details);
    }

    #[test]
    fn missing_rows_are_not_mentioned() {
        let mut report = sample::tickets();
        report.results.retain(|scores| scores.row == Variant::Seeds);
        let seeds = verdict(&report);
        assert!(seeds.headline.starts_with("The student trained on the seeds only reaches 31.0"));
        assert!(seeds.headline.ends_with("texts.") && seeds.details.is_empty());
        report.results.clear();
        report.task.test_rows = 0;
        assert!(verdict(&report).headline.contains("no labelled test set"));
    }
}
