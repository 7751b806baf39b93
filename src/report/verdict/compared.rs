//! The first sentences of a comparison: does the method pay, and against which rows is that shown.
//!
//! "Better" and "worse" are said of paired intervals alone. Two rows whose own intervals overlap may
//! well differ, and rows that were not paired are not spoken of.

use std::cmp::Ordering;

use super::super::comparison::Group;
use super::super::number::{counted, listed, percent, points, points_span, span};
use super::super::{Comparison, Line, Row};
use super::Verdict;

/// Settings that the details name one by one.
const NAMED: usize = 4;

/// Judges a comparison; `None` where it has no line.
pub(super) fn verdict(comparison: &Comparison) -> Option<Verdict> {
    let groups = comparison.groups();
    let main = groups.get(main(&groups)?)?;
    let row = [Row::A2, Row::A1, Row::Paper]
        .into_iter()
        .find(|&row| main.line(row).is_some())
        .unwrap_or(main.lines.first()?.row);
    let setting = main.name(&groups);
    let against = if groups.len() > 1 { format!(" with {setting}") } else { String::new() };
    let details = [
        elsewhere(&groups, row),
        against_seeds(main, &against),
        against_others(main, row, &against),
    ];
    Some(Verdict {
        headline: headline(main, main.line(row)?, &setting),
        details: details.into_iter().flatten().collect(),
    })
}

/// The group that is spoken of first: one that answers whether the method pays, where there is one.
pub(in super::super) fn main(groups: &[Group<'_>]) -> Option<usize> {
    let answers = |group: &Group<'_>| group.difference(Row::A2, Row::Seeds).is_some();
    let speaks = |group: &Group<'_>| group.line(Row::A2).is_some();
    let place = groups.iter().position(answers).or_else(|| groups.iter().position(speaks));
    place.or(if groups.is_empty() { None } else { Some(0) })
}

fn headline(group: &Group<'_>, line: &Line, setting: &str) -> String {
    let row = line.row;
    let name = name(row);
    let reached = percent(line.accuracy.mean);
    let texts = counted(line.test_rows as u64, "test text");
    let seeds = group.line(Row::Seeds).filter(|_| row != Row::Seeds);
    let Some(seeds) = seeds else {
        let range = span(line.accuracy);
        return format!("With {setting}, {name} reaches {reached} ({range}) on {texts}.");
    };
    let base = percent(seeds.accuracy.mean);
    let Some(difference) = group.difference(row, Row::Seeds) else {
        return format!(
            "With {setting}, {name} reaches {reached} on {texts}, seeds only {base}; the difference was not tested."
        );
    };
    let range = format!("95 % interval {}", points_span(difference));
    if difference.includes_zero() {
        return format!(
            "With {setting}, no difference is shown between {name} ({reached}) and seeds only ({base}) on {texts}: {} points, {range}.",
            points(difference.mean)
        );
    }
    let size = points(difference.mean.abs()).replace('+', "");
    let word = if difference.mean > 0.0 { "more" } else { "less" };
    format!(
        "With {setting}, {name} reaches {reached} on {texts}, {size} points {word} than seeds only ({range})."
    )
}

/// The row within a sentence.
fn name(row: Row) -> &'static str {
    match row {
        Row::A2 => "PromptMix (A2)",
        Row::A1 => "PromptMix before relabelling (A1)",
        Row::Teacher => "the teacher itself",
        Row::Seeds => "seeds only",
        row => row.name(),
    }
}

/// The rows of `group` that compare with `than` as `wanted`.
fn rows(group: &Group<'_>, wanted: Ordering, than: Row) -> Vec<Row> {
    let rows = group.lines.iter().map(|line| line.row).filter(|&row| row != than);
    rows.filter(|&row| group.shown(row, than) == Some(wanted)).collect()
}

/// Which rows beat the seeds alone, and which were not shown to.
fn against_seeds(group: &Group<'_>, setting: &str) -> Option<String> {
    let parts: Vec<String> = [
        (Ordering::Greater, "better"),
        (Ordering::Equal, "no difference shown"),
        (Ordering::Less, "worse"),
    ]
    .into_iter()
    .filter_map(|(wanted, word)| {
        let rows: Vec<String> = rows(group, wanted, Row::Seeds)
            .into_iter()
            .filter_map(|row| {
                let difference = group.difference(row, Row::Seeds)?;
                Some(format!("{} ({})", name(row), points(difference.mean)))
            })
            .collect();
        (!rows.is_empty()).then(|| format!("{word}: {}", listed(&rows)))
    })
    .collect();
    (!parts.is_empty())
        .then(|| format!("Held against seeds only{setting}, in points: {}.", parts.join("; ")))
}

/// What the row was shown to be better than, and what not.
fn against_others(group: &Group<'_>, row: Row, setting: &str) -> Option<String> {
    let parts: Vec<String> = [
        (Ordering::Less, "is better than"),
        (Ordering::Equal, "is not shown to differ from"),
        (Ordering::Greater, "is worse than"),
    ]
    .into_iter()
    .filter_map(|(wanted, word)| {
        let rows = rows(group, wanted, row).into_iter().filter(|&other| other != Row::Seeds);
        let rows: Vec<&str> = rows.map(name).collect();
        (!rows.is_empty()).then(|| format!("{word} {}", listed(&rows)))
    })
    .collect();
    let name = capital(name(row));
    (row != Row::Seeds && !parts.is_empty())
        .then(|| format!("{name}{setting} {}.", parts.join("; it ")))
}

/// In how many settings the row beats the seeds alone.
fn elsewhere(groups: &[Group<'_>], row: Row) -> Option<String> {
    let tested: Vec<(&Group<'_>, Ordering)> =
        groups.iter().filter_map(|group| Some((group, group.shown(row, Row::Seeds)?))).collect();
    if tested.len() < 2 {
        return None;
    }
    let of = |wanted: Ordering| -> Vec<String> {
        let groups_shown = tested.iter().filter(|(_, shown)| *shown == wanted);
        groups_shown.map(|(group, _)| group.name(groups)).collect()
    };
    let mut text = format!(
        "{} beats seeds only in {} of {} settings",
        capital(name(row)),
        of(Ordering::Greater).len(),
        tested.len()
    );
    for (wanted, what) in
        [(Ordering::Equal, "no difference is shown"), (Ordering::Less, "it is worse")]
    {
        let settings = of(wanted);
        if !settings.is_empty() && settings.len() <= NAMED {
            text += &format!("; {what} with {}", listed(&settings));
        } else if !settings.is_empty() {
            text += &format!("; {what} in {}", settings.len());
        }
    }
    Some(text + ".")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;
    use crate::eval::Interval;

    #[test]
    fn better_is_said_of_paired_intervals_alone() {
        let mut comparison = sample::comparison(&[2], &["bert"], &["big"]);
        for (a, low, high) in
            [(Row::A2, 0.3, 0.5), (Row::Eda, -0.01, 0.04), (Row::Continuation, -0.1, -0.02)]
        {
            let place =
                comparison.differences.iter_mut().find(|one| (one.a, one.b) == (a, Row::Seeds));
            let mean = (low + high) / 2.0;
            place.expect("a pair of the sample").interval = Interval { mean, low, high };
        }
        let said = verdict(&comparison).unwrap();
        assert!(said.headline.starts_with("With 2 examples per class, PromptMix (A2) reaches"));
        assert!(said.headline.contains("40.0 points more than seeds only"), "{}", said.headline);
        let detail = &said.details[0];
        let (better, rest) = detail.split_once("no difference shown: ").expect(detail);
        let (equal, worse) = rest.split_once("worse: ").expect(detail);
        assert!(better.contains("PromptMix (A2) (+40.0)"), "{detail}");
        assert!(equal.contains("EDA (+1.5)"), "{detail}");
        assert!(worse.contains("continuation of one class (−6.0)"), "{detail}");
        comparison.differences.clear();
        let said = verdict(&comparison).unwrap();
        assert!(said.headline.ends_with("the difference was not tested."), "{}", said.headline);
        assert!(said.details.is_empty(), "what was not paired is not spoken of");
        assert!(verdict(&Comparison::default()).is_none());
    }

    #[test]
    fn a_method_that_does_not_pay_is_not_praised() {
        let mut comparison = sample::comparison(&[2, 5], &["bert"], &["big"]);
        for one in comparison.differences.iter_mut().filter(|one| one.k == 2) {
            one.interval = Interval { mean: 0.01, low: -0.02, high: 0.04 };
        }
        let said = verdict(&comparison).unwrap();
        assert!(said.headline.contains("no difference is shown"), "{}", said.headline);
        assert!(
            said.details[0].ends_with(
                "beats seeds only in 1 of 2 settings; no difference is shown with 2 examples per class."
            ),
            "{}",
            said.details[0]
        );
        assert!(!said.details[1].contains("better"), "{}", said.details[1]);
    }
}
