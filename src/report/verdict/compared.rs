//! The first sentences of a comparison: whether the method pays, and compared with which rows.
//!
//! "Better" and "worse" are claimed by paired intervals only. Two rows with overlapping intervals
//! of their own can still differ, and rows that were not paired are not mentioned.

use std::cmp::Ordering;

use super::{
    super::{
        comparison::Group,
        number::{counted, listed, percent, points, points_span, span},
    },
    Verdict,
};
use crate::{
    dataset::Variant,
    eval::Interval,
    report::{Comparison, Line},
};

/// Maximum number of settings or rows that are listed by name.
const NAMED: usize = 4;

/// The verdict on a comparison; `None` if it has no line.
pub(super) fn verdict(comparison: &Comparison) -> Option<Verdict> {
    let groups = comparison.groups();
    let main = groups.get(main(&groups)?)?;
    let row = [Variant::A2, Variant::A1, Variant::Paper]
        .into_iter()
        .find(|&row| main.line(row).is_some())
        .unwrap_or(main.lines.first()?.row);
    let setting = main.name(&groups);
    let several = groups.len() > 1;
    let with_setting = if several { format!(" with {setting}") } else { String::new() };
    let details = [
        in_all_settings(&groups, row),
        compared_with_seeds(main, &with_setting),
        compared_with_others(main, row, if several { "In the same setting, " } else { "" }),
    ];
    Some(Verdict {
        headline: headline(main, main.line(row)?, &setting),
        details: details.into_iter().flatten().collect(),
    })
}

/// The index of the group in the headline: preferably one that tests whether the method pays.
pub(in super::super) fn main(groups: &[Group<'_>]) -> Option<usize> {
    let tests_it = |group: &Group<'_>| group.difference(Variant::A2, Variant::Seeds).is_some();
    let has_it = |group: &Group<'_>| group.line(Variant::A2).is_some();
    let index = groups.iter().position(tests_it).or_else(|| groups.iter().position(has_it));
    index.or(if groups.is_empty() { None } else { Some(0) })
}

fn headline(group: &Group<'_>, line: &Line, setting: &str) -> String {
    let row = line.row;
    let name = name(row);
    let reached = percent(line.accuracy.mean);
    let texts = counted(line.test_rows as u64, "test text");
    let seeds = group.line(Variant::Seeds).filter(|_| row != Variant::Seeds);
    let Some(seeds) = seeds else {
        let range = span(line.accuracy);
        return format!("With {setting}, {name} reaches {reached} ({range}) on {texts}.");
    };
    let base = percent(seeds.accuracy.mean);
    let Some(difference) = group.difference(row, Variant::Seeds) else {
        return format!(
            "With {setting}, {name} reaches {reached} on {texts}, seeds only {base}; the difference was not tested."
        );
    };
    let range = format!("95 % interval {}", points_span(difference));
    if !difference.shows_difference() {
        return format!(
            "With {setting}, no difference is shown between {name} ({reached}) and seeds only ({base}) on {texts}: {} points, {range}{}.",
            points(difference.mean),
            super::seeds(difference)
        );
    }
    let size = points(difference.mean.abs()).replace('+', "");
    let word = if difference.mean > 0.0 { "more" } else { "less" };
    format!(
        "With {setting}, {name} reaches {reached} on {texts}, {size} points {word} than seeds only ({range})."
    )
}

/// The name of a row within a sentence.
fn name(row: Variant) -> &'static str {
    match row {
        Variant::A2 => "PromptMix (A2)",
        Variant::A1 => "PromptMix before relabelling (A1)",
        Variant::Teacher => "the teacher itself",
        Variant::Seeds => "seeds only",
        row => row.name(),
    }
}

/// The rows of `group` that are better than, equal to or worse than `than`, as `wanted`.
fn rows(group: &Group<'_>, wanted: Ordering, than: Variant) -> Vec<Variant> {
    let rows = group.lines.iter().map(|line| line.row).filter(|&row| row != than);
    rows.filter(|&row| group.shown(row, than) == Some(wanted)).collect()
}

/// Which rows are better than seeds only, and which are not. If many are better, they are counted
/// instead of listed.
fn compared_with_seeds(group: &Group<'_>, setting: &str) -> Option<String> {
    let shown: Vec<(Ordering, Vec<(Variant, Interval)>)> =
        [Ordering::Greater, Ordering::Equal, Ordering::Less]
            .into_iter()
            .map(|wanted| {
                let rows = rows(group, wanted, Variant::Seeds).into_iter();
                let rows = rows.filter(|row| !is_reference(*row));
                let rows =
                    rows.filter_map(|row| Some((row, group.difference(row, Variant::Seeds)?)));
                (wanted, rows.collect())
            })
            .collect();
    let all: usize = shown.iter().map(|(_, rows)| rows.len()).sum();
    let parts: Vec<String> = shown
        .iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(shown, rows)| {
            let named: Vec<String> = rows
                .iter()
                .map(|(row, difference)| format!("{} ({})", name(*row), points(difference.mean)))
                .collect();
            match shown {
                Ordering::Greater if rows.len() > NAMED => {
                    let mut means: Vec<f64> = rows.iter().map(|(_, one)| one.mean).collect();
                    means.sort_by(f64::total_cmp);
                    let ends =
                        [means.first(), means.last()].map(|end| points(*end.unwrap_or(&0.0)));
                    let of =
                        if rows.len() == all { "all".into() } else { format!("{} of", rows.len()) };
                    format!(
                        "{of} {all} rows with synthetic texts are better, by {} to {} points",
                        ends[0], ends[1]
                    )
                }
                Ordering::Greater => format!("better: {}", listed(&named)),
                Ordering::Equal => format!("no difference shown for {}", listed(&named)),
                Ordering::Less => format!("worse: {}", listed(&named)),
            }
        })
        .collect();
    (!parts.is_empty()).then(|| format!("Compared with seeds only{setting}: {}.", parts.join("; ")))
}

/// Which other rows the row is better than, and which not.
fn compared_with_others(group: &Group<'_>, row: Variant, setting: &str) -> Option<String> {
    let parts: Vec<String> = [
        (Ordering::Less, "is better than"),
        (Ordering::Equal, "is not shown to differ from"),
        (Ordering::Greater, "is worse than"),
    ]
    .into_iter()
    .filter_map(|(wanted, word)| {
        let rows = rows(group, wanted, row).into_iter().filter(|&other| other != Variant::Seeds);
        let rows: Vec<&str> = rows.map(name).collect();
        (!rows.is_empty()).then(|| format!("{word} {}", listed(&rows)))
    })
    .collect();
    (row != Variant::Seeds && !parts.is_empty())
        .then(|| capital(&format!("{setting}{} {}.", name(row), parts.join("; it "))))
}

/// Rows for reference, which have no synthetic texts.
fn is_reference(row: Variant) -> bool {
    use Variant::{ContrastiveSeeds, EmbedSeeds, Real, RealAll, Teacher, U};
    matches!(row, EmbedSeeds | ContrastiveSeeds | U | Teacher | Real | RealAll)
}

/// In how many settings the row is better than seeds only.
fn in_all_settings(groups: &[Group<'_>], row: Variant) -> Option<String> {
    let tested: Vec<(&Group<'_>, Ordering)> = groups
        .iter()
        .filter_map(|group| Some((group, group.shown(row, Variant::Seeds)?)))
        .collect();
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

    #[test]
    fn better_is_claimed_by_paired_intervals_only() {
        let mut comparison = sample::comparison(&[2], &["bert"], &["big"]);
        for (a, low, high) in [
            (Variant::A2, 0.3, 0.5),
            (Variant::Eda, -0.01, 0.04),
            (Variant::Continuation, -0.1, -0.02),
        ] {
            let place =
                comparison.differences.iter_mut().find(|one| (one.a, one.b) == (a, Variant::Seeds));
            let mean = (low + high) / 2.0;
            place.expect("a pair of the sample").interval = Interval::new(mean, low, high);
        }
        let found = verdict(&comparison).unwrap();
        assert!(found.headline.starts_with("With 2 examples per class, PromptMix (A2) reaches"));
        assert!(found.headline.contains("40.0 points more than seeds only"), "{}", found.headline);
        let mut one_seed = comparison.clone();
        one_seed.differences.iter_mut().for_each(|one| one.interval.one_seed = true);
        let unsure = verdict(&one_seed).unwrap();
        assert!(unsure.headline.contains("no difference is shown"), "{}", unsure.headline);
        assert!(unsure.headline.contains("with one training seed"), "{}", unsure.headline);
        let details = unsure.details.concat();
        assert!(!details.contains("better") && !details.contains("worse"), "{details}");
        let detail = &found.details[0];
        let (better, rest) = detail.split_once("no difference shown for ").expect(detail);
        let (equal, worse) = rest.split_once("worse: ").expect(detail);
        assert!(better.contains("10 of 12 rows with synthetic texts are better"), "{detail}");
        assert!(equal.contains("EDA (+1.5)"), "{detail}");
        assert!(worse.contains("continuation of one class (−6.0)"), "{detail}");
        comparison.differences.clear();
        let found = verdict(&comparison).unwrap();
        assert!(found.headline.ends_with("the difference was not tested."), "{}", found.headline);
        assert!(found.details.is_empty(), "rows that were not paired are not mentioned");
        assert!(verdict(&Comparison::default()).is_none());
    }

    #[test]
    fn a_method_that_does_not_pay_is_not_called_better() {
        let mut comparison = sample::comparison(&[2, 5], &["bert"], &["big"]);
        for one in comparison.differences.iter_mut().filter(|one| one.k == 2) {
            one.interval = Interval::new(0.01, -0.02, 0.04);
        }
        let found = verdict(&comparison).unwrap();
        assert!(found.headline.contains("no difference is shown"), "{}", found.headline);
        assert!(
            found.details[0].ends_with(
                "beats seeds only in 1 of 2 settings; no difference is shown with 2 examples per class."
            ),
            "{}",
            found.details[0]
        );
        assert!(!found.details[1].contains("better"), "{}", found.details[1]);
        let few = [Variant::A1, Variant::Eda, Variant::Teacher, Variant::Real];
        comparison.differences.retain(|one| few.contains(&one.a) && one.b == Variant::Seeds);
        for one in &mut comparison.differences {
            one.interval = Interval::new(0.1, 0.05, 0.15);
        }
        let detail = verdict(&comparison).unwrap().details.remove(0);
        assert!(
            detail.contains("better: EDA (+10.0) and PromptMix before relabelling (A1) (+10.0)."),
            "{detail}"
        );
    }
}
