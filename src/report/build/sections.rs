//! The sections of the report, each computed from rows and predictions alone: no run folder, no
//! teacher. The stage `eval` and `promptmix compare` fill their reports with the same numbers.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    dataset::{AugmentedText, RelabelledText, Variant},
    embed::{Embedder, map},
    eval::{self, Calibration},
    relabel::Answer,
    report::ReportError,
    report::{self, PointKind},
    task::{LabelledText, Task},
};

/// Points of the map: seconds to compute, and as many as can be told apart. Seeds and errors have
/// their share at most, generated texts have the rest.
const POINTS: usize = 800;
const SEED_POINTS: usize = 200;
const ERROR_POINTS: usize = 200;
/// Pairs of classes that are shown, the most relabelled and the most mistaken ones.
const RELABELLED_PAIRS: usize = 12;
const MISTAKEN_PAIRS: usize = 8;
/// The share that changed of fewer texts says nothing.
const TEXTS_OF_A_PAIR: u64 = 5;
/// Texts shown of each mistaken pair.
const MISTAKEN_TEXTS: usize = 5;

/// What the teacher said of each test text, as class and confidence. A text that its process did not
/// survive counts as wrong, with confidence 0. A teacher that wrote its answers has no confidences.
pub(crate) fn teacher_predictions(
    task: &Task,
    answers: &[Option<Answer>],
) -> (Vec<usize>, Vec<f32>) {
    let said = |(answer, item): (&Option<Answer>, &LabelledText)| match answer {
        Some(answer) => (answer.class, answer.confidence()),
        None => ((item.label + 1) % task.classes.len(), Some(0.0)),
    };
    let (classes, confidence): (Vec<_>, Vec<_>) = answers.iter().zip(&task.test).map(said).unzip();
    (classes, confidence.into_iter().collect::<Option<_>>().unwrap_or_default())
}

/// What relabelling changed: by α, by pair of classes (the most changed dozen of those with five
/// texts or more), from class to class.
pub(crate) fn relabel(task: &Task, rows: &[RelabelledText]) -> report::Relabel {
    let classes = task.classes.len();
    let mut flow = vec![vec![0; classes]; classes];
    let mut by_alpha: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut by_pair: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let mut changed = 0;
    for row in rows {
        let AugmentedText { major, minor, alpha, .. } = &row.augmented;
        let moved = u64::from(row.relabel != *major);
        changed += moved;
        if let (Some(from), Some(to)) = (class_of(task, major), class_of(task, &row.relabel)) {
            flow[from][to] += 1;
        }
        let alpha = alpha.map(|alpha| (alpha * 100.0).round() as u64);
        let pair = minor.as_ref().map(|minor| (major.as_str(), minor.as_str()));
        let counts = [
            alpha.map(|alpha| by_alpha.entry(alpha).or_default()),
            pair.map(|pair| by_pair.entry(pair).or_default()),
        ];
        for (total, changed) in counts.into_iter().flatten() {
            *total += 1;
            *changed += moved;
        }
    }
    let by_alpha = by_alpha.into_iter().map(|(percent, (total, changed))| report::AlphaShare {
        alpha: percent as f64 / 100.0,
        total,
        changed,
    });
    let mut by_pair: Vec<report::PairShare> = by_pair
        .into_iter()
        .map(|((major, minor), (total, changed))| report::PairShare {
            major: major.to_owned(),
            minor: minor.to_owned(),
            total,
            changed,
        })
        .filter(|pair| pair.total >= TEXTS_OF_A_PAIR && pair.changed > 0)
        .collect();
    // By share, without rounding; of equal shares that of more texts first.
    by_pair.sort_by(|a, b| {
        let order = (b.changed * a.total).cmp(&(a.changed * b.total));
        order.then(b.total.cmp(&a.total))
    });
    by_pair.truncate(RELABELLED_PAIRS);
    let total = rows.len() as u64;
    report::Relabel { changed, total, by_alpha: by_alpha.collect(), by_pair, flow }
}

/// Which classes a model mistakes for which, summed over seeds, with the worst pairs' texts.
/// `gold`, `[rows]`, are the labels of the task's test set; `predicted` is `[seeds][rows]`.
pub(crate) fn confusion(
    task: &Task,
    gold: &[usize],
    predicted: &[Vec<usize>],
    row: Variant,
) -> report::Confusion {
    let classes = task.classes.len();
    let mut matrix = vec![vec![0; classes]; classes];
    for seed in predicted {
        for (gold, predicted) in gold.iter().zip(seed) {
            matrix[*gold][*predicted] += 1;
        }
    }
    let cells = (0..classes).flat_map(|gold| (0..classes).map(move |taken| (gold, taken)));
    let mut worst: Vec<(usize, usize)> =
        cells.filter(|&(gold, taken)| gold != taken && matrix[gold][taken] > 0).collect();
    worst.sort_by_key(|&(gold, taken)| Reverse(matrix[gold][taken]));
    worst.truncate(MISTAKEN_PAIRS);
    let pair = |(of, taken): (usize, usize)| {
        // Each text with the number of seeds that take it for the other class.
        let mut texts: Vec<(usize, &str)> = (gold.iter().zip(&task.test).enumerate())
            .filter(|(_, (gold, _))| **gold == of)
            .map(|(at, (_, item))| {
                let seeds = predicted.iter().filter(|seed| seed[at] == taken).count();
                (seeds, item.text.as_str())
            })
            .filter(|(seeds, _)| *seeds > 0)
            .collect();
        texts.sort_by_key(|(seeds, _)| Reverse(*seeds));
        report::MistakenPair {
            gold: task.classes[of].name.clone(),
            predicted: task.classes[taken].name.clone(),
            count: matrix[of][taken],
            texts: texts.iter().take(MISTAKEN_TEXTS).map(|(_, text)| (*text).to_owned()).collect(),
        }
    };
    let pairs = worst.into_iter().map(pair).collect();
    report::Confusion { row, matrix, pairs }
}

/// Confidence held against accuracy, all seeds in one; `predicted` and `confidence` are
/// `[seeds][rows]`. `None` without a test set, where a seed has no confidences (ledgers written
/// before they were noted), and where one is no probability.
pub(crate) fn reliability(
    row: Variant,
    gold: &[usize],
    predicted: &[Vec<usize>],
    confidence: &[Vec<f32>],
) -> Option<report::Reliability> {
    let mut lengths = predicted.iter().map(Vec::len).chain(confidence.iter().map(Vec::len));
    if confidence.len() != predicted.len() || lengths.any(|rows| rows != gold.len()) {
        return None;
    }
    let answers = predicted.iter().zip(confidence).flat_map(|(predicted, confidence)| {
        let right = predicted.iter().zip(gold).map(|(predicted, gold)| predicted == gold);
        confidence.iter().copied().zip(right)
    });
    let calibration = Calibration::from_answers(answers).ok()?;
    Some(report::Reliability { row, calibration })
}

/// The embeddings of seeds, generated texts and test errors in a plane, 800 points at most, evenly
/// over the classes. `predicted`, `[rows]`, is what one student (the first of row A2) says about the
/// task's test set; empty without one. `None` where there are fewer than three texts.
///
/// # Errors
/// The embedder's own.
pub(crate) fn map(
    task: &Task,
    seeds: &[LabelledText],
    kept: &[RelabelledText],
    predicted: &[usize],
    embedder: &dyn Embedder,
) -> Result<Option<report::Map>, ReportError> {
    let point = |kind, class, predicted, text: &str| report::Point {
        x: 0.0,
        y: 0.0,
        kind,
        class,
        predicted,
        text: text.to_owned(),
    };
    let seeds: Vec<report::Point> =
        seeds.iter().map(|seed| point(PointKind::Seed, seed.label, None, &seed.text)).collect();
    let errors: Vec<report::Point> = (task.test.iter().zip(predicted))
        .filter(|(item, predicted)| item.label != **predicted)
        .map(|(item, taken)| point(PointKind::TestError, item.label, Some(*taken), &item.text))
        .collect();
    let generated: Vec<report::Point> = kept
        .iter()
        .filter_map(|row| {
            let class = class_of(task, &row.relabel)?;
            Some(point(PointKind::Synthetic, class, None, &row.augmented.text))
        })
        .collect();
    let seeds = evenly(seeds, SEED_POINTS);
    let errors = evenly(errors, ERROR_POINTS);
    let room = POINTS - seeds.len() - errors.len();
    // In the order in which they are drawn: the few lie on top of the many.
    let mut points = evenly(generated, room);
    points.extend(errors);
    points.extend(seeds);
    if points.len() < 3 {
        return Ok(None);
    }
    let texts: Vec<String> = points.iter().map(|point| point.text.clone()).collect();
    for (point, place) in points.iter_mut().zip(map::project(&embedder.embed(&texts)?)) {
        [point.x, point.y] = place;
    }
    Ok(Some(report::Map { points }))
}

/// At most `wanted` of `points`, as many of each class as of the next where there are enough, spread
/// over the list; in its order.
fn evenly(points: Vec<report::Point>, wanted: usize) -> Vec<report::Point> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for point in &points {
        *counts.entry(point.class).or_default() += 1;
    }
    // Each class in turn takes one more, those with the fewest being served in full.
    let mut smallest: Vec<(usize, usize)> = counts.into_iter().collect();
    smallest.sort_by_key(|(_, count)| *count);
    let (mut left, mut classes) = (wanted, smallest.len());
    // Of each class: how many there are, how many are taken, how many were seen.
    let mut quota: BTreeMap<usize, (usize, usize, usize)> = BTreeMap::new();
    for (class, count) in smallest {
        let taken = count.min(left / classes);
        (left, classes) = (left - taken, classes - 1);
        quota.insert(class, (count, taken, 0));
    }
    let chosen = |point: &report::Point| {
        let Some((count, taken, seen)) = quota.get_mut(&point.class) else { return false };
        // The multiples of count / taken, rounded up.
        let chosen = (*seen * *taken) % *count < *taken;
        *seen += 1;
        chosen
    };
    points.into_iter().filter(chosen).collect()
}

/// How varied the texts are: the seeds (where there are any), then the generated texts, measured so
/// that the two compare.
pub(crate) fn diversity(
    seeds: &[LabelledText],
    generated: &[RelabelledText],
) -> Vec<report::Lexical> {
    let sets = [
        seeds.iter().map(|seed| seed.text.as_str()).collect(),
        generated.iter().map(|row| row.augmented.text.as_str()).collect(),
    ];
    let named = ["seeds", "generated"].into_iter().zip(eval::diversity(&sets));
    named
        .filter(|(_, found)| found.texts > 0)
        .map(|(of, found)| report::Lexical {
            of: of.to_owned(),
            texts: found.texts as u64,
            distinct_2: found.distinct_2,
            self_bleu: found.self_bleu,
            words: found.words,
        })
        .collect()
}

/// A dozen texts, spread evenly over the run, the ones whose label changed first.
pub(crate) fn examples(rows: &[RelabelledText]) -> Vec<report::Example> {
    const WANTED: usize = 12;
    let spread = |rows: Vec<&RelabelledText>, wanted: usize| -> Vec<RelabelledText> {
        let step = rows.len().div_ceil(wanted.max(1)).max(1);
        rows.into_iter().step_by(step).take(wanted).cloned().collect()
    };
    let (moved, stayed): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.relabel != row.augmented.major);
    let mut chosen = spread(moved, WANTED / 2);
    chosen.extend(spread(stayed, WANTED - chosen.len()));
    chosen
        .into_iter()
        .map(|row| {
            let AugmentedText { text, major, minor, alpha, .. } = row.augmented;
            report::Example {
                text,
                major,
                minor,
                alpha: alpha.unwrap_or(1.0),
                relabelled: Some(row.relabel),
                // An answer that was written has none.
                probability: (!row.probabilities.is_empty() || row.p < 1.0)
                    .then_some(f64::from(row.p)),
            }
        })
        .collect()
}

fn class_of(task: &Task, name: &str) -> Option<usize> {
    task.classes.iter().position(|class| class.name == name)
}

#[cfg(test)]
mod tests;
