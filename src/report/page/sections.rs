//! The sections of a run: scores, funnel, relabelling, confusion, examples, cost.

use minijinja::{Value, context};

use super::{
    super::number::{
        count, counted, duration, listed, percent, points, points_span, share, span, whole_percent,
    },
    model, name, reach, svg, words,
};
use crate::{
    dataset::Variant,
    eval::{Interval, wilson},
    report::{Difference, MistakenPair, PairShare, Report, Scores, chart, confusion::Matrix},
};

/// Pairs of classes listed.
const PAIRS: usize = 8;

/// Confused pairs that are visible without unfolding.
const UNFOLDED: usize = 4;
/// Texts shown for a pair.
const PAIR_SHOWN: usize = 3;
/// Minimum number of texts for a pair to be listed, unless no pair has as many.
const MIN_PAIR_TEXTS: u64 = 5;

pub(super) fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let (mut shots, mut teachers, mut students) = (
        vec![count(report.task.shots as u64)],
        vec![report.teacher.name.clone()],
        vec![report.student.name.clone()],
    );
    let lines = report.comparison.iter().flat_map(|comparison| &comparison.lines);
    let mut ks: Vec<usize> = lines.clone().map(|line| line.k).collect();
    if !ks.is_empty() {
        ks.sort_unstable();
        ks.dedup();
        shots = ks.into_iter().map(|k| count(k as u64)).collect();
        teachers = distinct(lines.clone().filter_map(|line| line.teacher.as_deref()));
        students = distinct(lines.filter_map(|line| line.student.as_deref()));
    }
    let many =
        |one: &'static str, several: &'static str, n: usize| if n > 1 { several } else { one };
    let mut facts = vec![
        ("Classes", count(report.task.classes.len() as u64)),
        ("Examples per class", listed(&shots)),
        ("Test texts", count(report.task.test_rows as u64)),
        (many("Teacher", "Teachers", teachers.len()), listed(&teachers)),
        ("Prompts were sent to", listed(&report.teacher.addresses)),
        ("Teacher on examples it did not see", teacher_check(report)),
        (many("Student", "Students", students.len()), listed(&students)),
    ];
    if let Some(fast) = report.student.eight_bits {
        let (fast, exact) = (percent(fast.accuracy), percent(fast.accuracy_f32));
        facts.push(("Student in 8 bits", format!("{fast}, instead of {exact}")));
    }
    if let Some(hand) = report.by_hand {
        let confirmed = match hand.confirmed {
            0 => String::new(),
            confirmed => format!(", {} confirmed", count(confirmed)),
        };
        facts.push(("Edited by hand", counted(hand.rows, "row") + &confirmed));
    }
    if let Some(length) = &report.text_length {
        let cut = count(length.train.cut + length.test.cut);
        let texts = count(length.train.texts + length.test.texts);
        let read = format!("{} tokens; {cut} of {texts} are longer", length.max_length);
        facts.push(("Read of a text", read));
    }
    let seconds: f64 = report.stages.iter().map(|stage| stage.seconds).sum();
    if !report.stages.is_empty() {
        facts.push(("Time", duration(seconds)));
    }
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

/// What the teacher reached before it wrote, beside what needs no teacher; empty if it was not
/// measured.
fn teacher_check(report: &Report) -> String {
    let Some(check) = &report.teacher_check else { return String::new() };
    let accuracy = |interval: Interval| format!("{} ({})", percent(interval.mean), span(interval));
    let nearest = check.nearest.map(|nearest| format!("nearest class {}, ", accuracy(nearest)));
    format!(
        "{} of {}; {}guessing {}",
        accuracy(check.accuracy),
        count(check.examples),
        nearest.unwrap_or_default(),
        percent(check.guessing)
    )
}

/// Distinct names in order of appearance.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for name in names {
        if !distinct.iter().any(|known| known == name) {
            distinct.push(name.into());
        }
    }
    distinct
}

pub(super) fn results(report: &Report) -> Option<Value> {
    // The method first, then what it is compared with.
    let order = [
        Variant::A2U,
        Variant::U,
        Variant::A2,
        Variant::A1,
        Variant::Seeds,
        Variant::EmbedSeeds,
        Variant::Teacher,
    ];
    let others = Variant::ALL.into_iter().filter(|row| !order.contains(row));
    let rows: Vec<&Scores> =
        order.into_iter().chain(others).filter_map(|row| report.scores(row)).collect();
    if rows.is_empty() {
        return None;
    }
    let classes = report.task.classes.len();
    let chance = (classes > 0).then(|| 1.0 / classes as f64);
    let rows: Vec<Value> = rows.into_iter().map(|scores| result(scores, chance)).collect();
    Some(context! { rows, scale => svg(chart::scale()), chance => chance.map(percent) })
}

fn result(scores: &Scores, chance: Option<f64>) -> Value {
    let (name, note) = name(scores.row);
    let class = match scores.row {
        Variant::A2 | Variant::A2U => "student",
        Variant::A1 | Variant::U => "student faint",
        Variant::Teacher => "teacher",
        _ => "plain",
    };
    let title = format!(
        "{name}: accuracy {}, 95 % interval {}",
        percent(scores.accuracy.mean),
        span(scores.accuracy)
    );
    let is_teacher = scores.row == Variant::Teacher;
    context! {
        name, note,
        bar => svg(chart::bar(scores.accuracy, class, chance, &title)),
        accuracy => percent(scores.accuracy.mean),
        accuracy_span => span(scores.accuracy),
        macro_f1 => percent(scores.macro_f1.mean),
        macro_f1_span => span(scores.macro_f1),
        seeds => if is_teacher { "–".into() } else { count(scores.seeds as u64) },
        train_rows => if is_teacher { "–".into() } else { count(scores.train_rows as u64) },
        test_rows => count(scores.test_rows as u64),
    }
}

pub(super) fn differences(report: &Report) -> Option<Value> {
    let reach = reach(report.differences.iter().map(|difference| &difference.interval));
    let rows: Vec<Value> = report
        .differences
        .iter()
        .map(|Difference { a, b, interval }| {
            difference(&format!("{} − {}", words(*a), words(*b)), *interval, reach)
        })
        .collect();
    let reach = format!("{:.0}", reach * 100.0);
    (!rows.is_empty()).then(|| context! { rows, reach })
}

/// One paired difference on a chart from -`reach` to `reach`.
pub(super) fn difference(name: &str, interval: Interval, reach: f64) -> Value {
    let shown = match interval {
        interval if !interval.shows_difference() => interval.not_shown(),
        interval if interval.mean > 0.0 => "better",
        _ => "worse",
    };
    let (size, range) = (points(interval.mean), points_span(interval));
    let title = format!("{name}: {size} points, 95 % interval {range}; {shown}");
    context! { name, size, range, shown, chart => svg(chart::difference(interval, reach, &title)) }
}

pub(super) fn funnel(report: &Report) -> Option<Value> {
    let funnel = &report.funnel;
    let steps = [
        ("Requested", funnel.asked),
        ("Found in the replies", funnel.parsed),
        ("After exact duplicates", funnel.unique),
        ("Relabelled", funnel.relabelled),
        ("Trained on", funnel.kept),
    ];
    let widest = steps.iter().map(|(_, n)| *n).max().filter(|&n| n > 0)?;
    let steps: Vec<Value> = steps
        .iter()
        .map(|&(name, n)| {
            let title = format!("{name}: {}", counted(n, "text"));
            let class = if name == "Trained on" { "student" } else { "plain" };
            let of_requested = (funnel.asked > 0).then(|| whole_percent(share(n, funnel.asked)));
            context! { name, n => count(n), of_requested, bar => svg(chart::plain(share(n, widest), class, &title)) }
        })
        .collect();
    let junk = funnel.junk.iter().map(|(reason, n)| (format!("junk: {reason}"), *n));
    let dropped = funnel.dropped.iter().map(|(reason, n)| (reason.clone(), *n));
    let mut dropped: Vec<(String, u64)> = junk.chain(dropped).filter(|(_, n)| *n > 0).collect();
    dropped.sort_by_key(|(reason, n)| (std::cmp::Reverse(*n), reason.clone()));
    let dropped: Vec<Value> =
        dropped.into_iter().map(|(reason, n)| context! { reason, n => count(n) }).collect();
    Some(context! { steps, dropped })
}

pub(super) fn relabel(report: &Report) -> Option<Value> {
    let relabel = report.relabel.as_ref().filter(|relabel| relabel.total > 0)?;
    let matrix = Matrix::new(
        &report.task.classes,
        &relabel.flow,
        "Generated texts by the requested label (down) and the label after relabelling (across)",
    );
    let by_alpha = relabel.by_alpha.iter().any(|at| at.total > 0);
    Some(context! {
        changed => count(relabel.changed),
        total => counted(relabel.total, "text"),
        share => percent(share(relabel.changed, relabel.total)),
        pairs => pairs(&relabel.by_pair),
        columns => by_alpha.then(|| svg(chart::columns(&relabel.by_alpha))),
        matrix,
    })
}

/// The pairs of classes that were relabelled most, ordered by the lower ends of their confidence
/// intervals: 2 of 2 texts are weaker evidence than 10 of 12.
fn pairs(by_pair: &[PairShare]) -> Vec<Value> {
    let enough = by_pair.iter().any(|pair| pair.total >= MIN_PAIR_TEXTS);
    let mut pairs: Vec<(Interval, &PairShare)> = by_pair
        .iter()
        .filter(|pair| pair.changed > 0 && (pair.total >= MIN_PAIR_TEXTS || !enough))
        .map(|pair| (wilson(pair.changed.min(pair.total) as usize, pair.total as usize), pair))
        .collect();
    pairs.sort_by(|(one, _), (other, _)| other.low.total_cmp(&one.low));
    pairs
        .into_iter()
        .take(PAIRS)
        .map(|(interval, pair)| {
            let of = format!("{} of {}", count(pair.changed), count(pair.total));
            let title = format!("{} with {}: {of} changed", pair.major, pair.minor);
            let bar = svg(chart::spread(interval, 1.0, "changed", &title));
            context! { major => pair.major, minor => pair.minor, share => percent(interval.mean), of, bar }
        })
        .collect()
}

pub(super) fn confusion(report: &Report) -> Option<Value> {
    let confusion = report.confusion.as_ref()?;
    let matrix = Matrix::new(
        &report.task.classes,
        &confusion.matrix,
        "Test texts by their true class (down) and the predicted class (across)",
    )?;
    let seeds = report.scores(confusion.row).map_or(1, |scores| scores.seeds);
    Some(context! {
        of => model(confusion.row),
        pairs => confusion.pairs.iter().take(PAIRS).map(confused).collect::<Vec<_>>(),
        unfolded => UNFOLDED,
        summed => (seeds > 1).then(|| counted(seeds as u64, "training seed")),
        matrix,
    })
}

fn confused(pair: &MistakenPair) -> Value {
    context! {
        gold => pair.gold,
        predicted => pair.predicted,
        count => if pair.count == 1 { "once".into() } else { format!("{} times", count(pair.count)) },
        texts => pair.texts.iter().take(PAIR_SHOWN).collect::<Vec<_>>(),
    }
}

pub(super) fn examples(report: &Report) -> Vec<Value> {
    report
        .examples
        .iter()
        .map(|example| {
            context! {
                text => example.text,
                major => example.major,
                minor => example.minor,
                alpha => whole_percent(example.alpha),
                rest => whole_percent(1.0 - example.alpha),
                label => example.relabelled,
                changed => example.relabelled.as_ref().is_some_and(|label| *label != example.major),
                probability => example.probability.map(whole_percent),
            }
        })
        .collect()
}

pub(super) fn stages(report: &Report) -> Option<Value> {
    if report.stages.is_empty() {
        return None;
    }
    let seconds: f64 = report.stages.iter().map(|stage| stage.seconds).sum();
    let (mut prompt, mut generated, mut calls) = (0, 0, 0);
    let rows: Vec<Value> = report
        .stages
        .iter()
        .map(|stage| {
            prompt += stage.prompt_tokens;
            generated += stage.generated_tokens;
            calls += stage.calls;
            let part = if seconds > 0.0 { stage.seconds / seconds } else { 0.0 };
            let title = format!("{}: {} of the time", stage.stage, whole_percent(part));
            context! {
                name => stage.stage,
                seconds => duration(stage.seconds),
                calls => count(stage.calls),
                prompt => count(stage.prompt_tokens),
                generated => count(stage.generated_tokens),
                bar => svg(chart::plain(part, "plain", &title)),
            }
        })
        .collect();
    Some(context! {
        rows,
        seconds => duration(seconds),
        calls => count(calls),
        prompt => count(prompt),
        generated => count(generated),
    })
}
