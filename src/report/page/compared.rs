//! The section of a comparison: an overview table, then each setting with bars, costs and paired
//! differences.

use minijinja::{Value, context};

use super::{
    super::{
        comparison::Group,
        number::{compact, count, counted, duration, percent, span, whole_percent},
        verdict::main,
    },
    reach, sections, svg,
};
use crate::{
    dataset::Variant,
    report::{Comparison, LeftOut, Line, Report, chart},
};

pub(super) fn compared(report: &Report) -> Option<Value> {
    let comparison = report.comparison.as_ref()?;
    let groups = comparison.groups();
    let main = main(&groups)?;
    let classes = report.task.classes.len();
    let chance = (classes > 0).then(|| 1.0 / classes as f64);
    let shown: Vec<Value> = groups
        .iter()
        .enumerate()
        .map(|(place, group)| {
            context! {
                name => group.name(&groups),
                open => place == main,
                rows => group.lines.iter().map(|line| row(line, chance)).collect::<Vec<_>>(),
                seeds => seeds(group),
                differences => differences(group),
            }
        })
        .collect();
    let several = groups.len() > 1;
    Some(context! {
        tables => several.then(|| tables(&groups)),
        groups => shown,
        scale => svg(chart::scale()),
        chance => chance.map(percent),
        models => models(comparison),
        left_out => left_out(comparison),
        follows => report.relabel.is_some().then(|| follows(report)),
    })
}

/// Which setting the sections below the comparison describe.
fn follows(report: &Report) -> String {
    let models: Vec<&str> = [report.student.name.as_str(), report.teacher.name.as_str()]
        .into_iter()
        .filter(|name| !name.is_empty())
        .collect();
    let shots = counted(report.task.shots as u64, "example").replace('\u{a0}', " ");
    format!(
        "The sections below describe one setting ({shots} per class, {}), with the texts of the first seed; the cost is that of the whole comparison.",
        models.join(", ")
    )
}

/// The training data of a row in a few words.
fn note(row: Variant) -> &'static str {
    match row {
        Variant::Seeds => "the labelled examples only",
        Variant::EmbedSeeds => "the labelled examples only; the encoder is left as it is",
        Variant::ContrastiveSeeds => "the labelled examples only; a contrastive stage (SetFit)",
        Variant::Eda => "examples with words replaced, inserted, swapped, deleted",
        Variant::Continuation => "examples of one class, continued by the teacher",
        Variant::Gpt3Mix => "examples of several classes, continued; soft labels",
        Variant::NoMixup => "each text of one class only",
        Variant::NoDescriptions => "prompts with examples only",
        Variant::NoExamples => "prompts with descriptions only (zero-shot)",
        Variant::Paper => "the published code, faults included",
        Variant::A1 => "PromptMix, labels as requested",
        Variant::A2Raw => "PromptMix, labels given by the teacher alone",
        Variant::A2 => "PromptMix, labels given afterwards",
        Variant::EmbedA2 => "as A2; the encoder is left as it is",
        Variant::U => "real texts, labelled by the teacher",
        Variant::A2U => "the texts of A2 and of U",
        Variant::Teacher => "the language model classifies the test set",
        Variant::Real => "at most as many real texts as A2 has generated",
        Variant::RealAll => "all real training texts",
    }
}

/// The CSS class of a row's bar.
fn colour(row: Variant) -> &'static str {
    match row {
        Variant::A2 => "student",
        Variant::NoMixup
        | Variant::NoDescriptions
        | Variant::NoExamples
        | Variant::Paper
        | Variant::A1
        | Variant::A2Raw
        | Variant::EmbedA2
        | Variant::U
        | Variant::A2U => "student faint",
        Variant::Teacher | Variant::Real | Variant::RealAll => "teacher",
        Variant::Seeds
        | Variant::EmbedSeeds
        | Variant::ContrastiveSeeds
        | Variant::Eda
        | Variant::Continuation
        | Variant::Gpt3Mix => "plain",
    }
}

fn row(line: &Line, chance: Option<f64>) -> Value {
    let row = line.row;
    let title = format!(
        "{}: accuracy {}, 95 % interval {}",
        row.name(),
        percent(line.accuracy.mean),
        span(line.accuracy)
    );
    let asked = line.teacher_calls > 0.0;
    let trained = row.needs_student();
    context! {
        name => row.name(),
        note => note(row),
        method => row == Variant::A2,
        bar => svg(chart::bar(line.accuracy, colour(row), chance, &title)),
        accuracy => percent(line.accuracy.mean),
        accuracy_span => span(line.accuracy),
        macro_f1 => percent(line.macro_f1.mean),
        macro_f1_span => span(line.macro_f1),
        seeds => count(line.seeds as u64),
        texts => trained.then(|| compact(line.train_rows)),
        relabelled => line.relabelled.map(whole_percent),
        calls => asked.then(|| compact(line.teacher_calls)),
        tokens => asked.then(|| compact(line.tokens)),
        written => asked.then(|| compact(line.generated_tokens)),
        seconds => duration(line.seconds),
        student_seconds => (asked && trained).then(|| duration(line.student_seconds)),
    }
}

/// The number of seeds and test texts of a group, if it is the same for all students.
fn seeds(group: &Group<'_>) -> Option<String> {
    let mut students = group.lines.iter().filter(|line| line.row.needs_student());
    let first = students.next()?;
    students.all(|line| (line.seeds, line.test_rows) == (first.seeds, first.test_rows)).then(|| {
        format!(
            "{} for each student, {}",
            counted(first.seeds as u64, "seed"),
            counted(first.test_rows as u64, "test text")
        )
    })
}

/// The paired differences, grouped by the row that is compared with.
fn differences(group: &Group<'_>) -> Option<Value> {
    let reach_of = |differences: &[(Variant, Variant)]| {
        reach(
            group
                .differences
                .iter()
                .filter(|one| differences.contains(&(one.a, one.b)))
                .map(|one| &one.interval),
        )
    };
    let mut parts = Vec::new();
    let mut rest: Vec<(Variant, Variant)> =
        group.differences.iter().map(|one| (one.a, one.b)).collect();
    let mut add = |heading: &str,
                   pairs: Vec<(Variant, Variant)>,
                   named: &dyn Fn(Variant, Variant) -> String| {
        if pairs.is_empty() {
            return;
        }
        let reach = reach_of(&pairs);
        let rows: Vec<Value> = group
            .differences
            .iter()
            .filter(|one| pairs.contains(&(one.a, one.b)))
            .map(|one| sections::difference(&named(one.a, one.b), one.interval, reach))
            .collect();
        parts.push(context! { heading, rows, reach => format!("{:.0}", reach * 100.0) });
    };
    // Every row against the seeds, the method against every row, and the rest.
    let (seeds, others): (Vec<_>, Vec<_>) = rest.drain(..).partition(|(_, b)| *b == Variant::Seeds);
    let (method, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(a, _)| *a == Variant::A2);
    add("Each row − seeds only", seeds, &|a, _| a.name().into());
    add("A2 − each row", method, &|_, b| b.name().into());
    add("Others", others, &|a, b| format!("{} − {}", a.name(), b.name()));
    let n = group.differences.len();
    let by_chance = (n >= 10).then(|| format!("{:.0}", (n as f64 / 20.0).max(1.0)));
    (!parts.is_empty()).then(|| context! { parts, n, by_chance })
}

/// Overview of the accuracies: one table for each student and teacher with a column for each k, or,
/// with a single k, one table with a column for each student and teacher.
fn tables(groups: &[Group<'_>]) -> Vec<Value> {
    let one_k = groups.iter().all(|group| group.k == groups[0].k);
    let mut tables: Vec<(String, Vec<&Group<'_>>)> = Vec::new();
    for group in groups {
        let models = if one_k { String::new() } else { group.models(groups) };
        match tables.iter_mut().find(|(name, _)| *name == models) {
            Some((_, columns)) => columns.push(group),
            None => tables.push((models, vec![group])),
        }
    }
    tables
        .into_iter()
        .map(|(name, columns)| {
            let heads: Vec<String> = columns
                .iter()
                .map(|group| if one_k { group.models(groups) } else { format!("k = {}", group.k) })
                .collect();
            let rows: Vec<Value> = Variant::ALL
                .into_iter()
                .filter(|&row| columns.iter().any(|group| group.line(row).is_some()))
                .map(|row| {
                    let cells: Vec<Value> = columns.iter().map(|group| cell(group, row)).collect();
                    context! { name => row.name(), method => row == Variant::A2, cells }
                })
                .collect();
            context! { name, heads, rows }
        })
        .collect()
}

fn cell(group: &Group<'_>, row: Variant) -> Value {
    let Some(line) = group.line(row) else { return context! { accuracy => () } };
    let (mark, meaning) = match group.shown(row, Variant::Seeds) {
        Some(std::cmp::Ordering::Greater) => ("▲", "better than seeds only"),
        Some(std::cmp::Ordering::Less) => ("▼", "worse than seeds only"),
        Some(std::cmp::Ordering::Equal) => ("○", "no difference from seeds only shown"),
        None => ("", ""),
    };
    let accuracy = format!("{:.1}", line.accuracy.mean * 100.0);
    context! { accuracy, range => span(line.accuracy), mark, meaning }
}

/// Comparisons of two teachers or two students on the same row.
fn models(comparison: &Comparison) -> Option<Value> {
    let pairs: Vec<_> = comparison
        .differences
        .iter()
        .filter_map(|one| Some((one.models()?, one.interval)))
        .collect();
    let reach = reach(pairs.iter().map(|(_, interval)| interval));
    let rows: Vec<Value> =
        pairs.iter().map(|(name, interval)| sections::difference(name, *interval, reach)).collect();
    (!rows.is_empty()).then(|| context! { rows, reach => format!("{:.0}", reach * 100.0) })
}

/// Rows that were not run, by reason.
fn left_out(comparison: &Comparison) -> Vec<Value> {
    let mut rows: Vec<(Variant, String, Vec<usize>)> = Vec::new();
    for LeftOut { row, k, teacher, reason } in &comparison.left_out {
        let prefix = teacher.as_ref().map_or_else(String::new, |name| format!("{name}: "));
        let reason = format!("{prefix}{reason}");
        match rows.iter_mut().find(|(known, why, _)| known == row && *why == reason) {
            Some((_, _, ks)) if ks.contains(k) => {}
            Some((_, _, ks)) => ks.push(*k),
            None => rows.push((*row, reason, vec![*k])),
        }
    }
    rows.sort_by_key(|(row, _, _)| *row);
    rows.into_iter()
        .map(|(row, reason, mut ks)| {
            ks.sort_unstable();
            let ks: Vec<String> = ks.iter().map(ToString::to_string).collect();
            context! { name => row.name(), k => ks.join(", "), reason }
        })
        .collect()
}
