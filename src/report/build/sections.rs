//! The sections of the report, each computed from rows and predictions only: no run folder, no
//! teacher. The stage `eval` and `promptmix compare` both use them.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    dataset::{AugmentedText, RelabelledText, Variant},
    embed::{Embedder, map},
    eval::{self, Calibration, choose_threshold},
    relabel::Answer,
    report::{self, PointKind, ReportError},
    task::{LabelledText, Task},
};

/// Points of the map: as many as can be distinguished, and seconds to compute. At most these
/// numbers of seeds and errors, the rest are generated texts.
const POINTS: usize = 800;
const SEED_POINTS: usize = 200;
const ERROR_POINTS: usize = 200;
/// Pairs of classes listed: the most relabelled and the most confused ones.
const RELABELLED_PAIRS: usize = 12;
const MISTAKEN_PAIRS: usize = 8;
/// Minimum number of texts for the share of a pair that changed to mean anything.
const MIN_PAIR_TEXTS: u64 = 5;
/// Texts shown for each confused pair.
const MISTAKEN_TEXTS: usize = 5;

/// The teacher's predictions on the test set, as class and confidence. A text that crashed the
/// teacher's process counts as wrong, with confidence 0. If the answers were generated instead of
/// scored, there are no confidences.
pub(crate) fn teacher_predictions(
    task: &Task,
    answers: &[Option<Answer>],
) -> (Vec<usize>, Vec<f32>) {
    let predict = |(answer, item): (&Option<Answer>, &LabelledText)| match answer {
        Some(answer) => (answer.class, answer.confidence()),
        None => ((item.label + 1) % task.classes.len(), Some(0.0)),
    };
    let (classes, confidence): (Vec<_>, Vec<_>) =
        answers.iter().zip(&task.test).map(predict).unzip();
    (classes, confidence.into_iter().collect::<Option<_>>().unwrap_or_default())
}

/// What relabelling changed: by α, by pair of classes (the twelve most changed of those with five
/// texts or more), and from class to class.
pub(crate) fn relabel(task: &Task, rows: &[RelabelledText]) -> report::Relabel {
    let classes = task.classes.len();
    let mut flow = vec![vec![0; classes]; classes];
    let mut by_alpha: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut by_pair: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let mut changed = 0;
    for row in rows {
        let AugmentedText { major, minor, alpha, .. } = &row.augmented;
        let is_changed = u64::from(row.relabel != *major);
        changed += is_changed;
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
            *changed += is_changed;
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
        .filter(|pair| pair.total >= MIN_PAIR_TEXTS && pair.changed > 0)
        .collect();
    // By share, compared exactly; ties by number of texts.
    by_pair.sort_by(|a, b| {
        let order = (b.changed * a.total).cmp(&(a.changed * b.total));
        order.then(b.total.cmp(&a.total))
    });
    by_pair.truncate(RELABELLED_PAIRS);
    let total = rows.len() as u64;
    report::Relabel { changed, total, by_alpha: by_alpha.collect(), by_pair, flow }
}

/// The confusion matrix of a model, summed over seeds, with texts of the worst pairs. `gold`,
/// `[rows]`, are the labels of the task's test set; `predicted` is `[seeds][rows]`.
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
    let cells = (0..classes).flat_map(|gold| (0..classes).map(move |wrong| (gold, wrong)));
    let mut worst: Vec<(usize, usize)> =
        cells.filter(|&(gold, wrong)| gold != wrong && matrix[gold][wrong] > 0).collect();
    worst.sort_by_key(|&(gold, wrong)| Reverse(matrix[gold][wrong]));
    worst.truncate(MISTAKEN_PAIRS);
    let pair = |(of, wrong): (usize, usize)| {
        // Each text with the number of seeds that predict the wrong class.
        let mut texts: Vec<(usize, &str)> = (gold.iter().zip(&task.test).enumerate())
            .filter(|(_, (gold, _))| **gold == of)
            .map(|(at, (_, item))| {
                let seeds = predicted.iter().filter(|seed| seed[at] == wrong).count();
                (seeds, item.text.as_str())
            })
            .filter(|(seeds, _)| *seeds > 0)
            .collect();
        texts.sort_by_key(|(seeds, _)| Reverse(*seeds));
        report::MistakenPair {
            gold: task.classes[of].name.clone(),
            predicted: task.classes[wrong].name.clone(),
            count: matrix[of][wrong],
            texts: texts.iter().take(MISTAKEN_TEXTS).map(|(_, text)| (*text).to_owned()).collect(),
        }
    };
    let pairs = worst.into_iter().map(pair).collect();
    report::Confusion { row, matrix, pairs }
}

/// Calibration over all seeds together; `predicted` and `confidence` are `[seeds][rows]`. `None`
/// without a test set, if a seed has no confidences (older ledgers), or if one is not a
/// probability.
pub(crate) fn reliability(
    row: Variant,
    gold: &[usize],
    predicted: &[Vec<usize>],
    confidence: &[Vec<f32>],
) -> Option<report::Reliability> {
    let answers = answers(gold, predicted, confidence)?;
    let calibration = Calibration::from_answers(answers.concat()).ok()?;
    Some(report::Reliability { row, calibration })
}

/// Accuracies for which the report states the threshold.
const TARGETS: [f64; 3] = [0.9, 0.95, 0.99];
/// The default of `predict --confidence-level`.
const CONFIDENCE_LEVEL: f64 = 0.95;

/// Coverage and accuracy of the first seed's student, which is the one that is kept; `None` as for
/// [`reliability`].
pub(crate) fn selective(
    row: Variant,
    gold: &[usize],
    predicted: &[Vec<usize>],
    confidence: &[Vec<f32>],
) -> Option<report::Selective> {
    let answers = answers(gold, predicted, confidence)?;
    let answers = answers.first().filter(|answers| !answers.is_empty())?;
    let target = |accuracy| report::Target {
        accuracy,
        chosen: choose_threshold(answers, accuracy, CONFIDENCE_LEVEL).ok(),
    };
    Some(report::Selective {
        row,
        curve: eval::curve(answers),
        confidence_level: CONFIDENCE_LEVEL,
        targets: TARGETS.map(target).into(),
    })
}

/// The answers of each seed, `[seeds][rows]`; `None` if a list has another length than `gold`.
fn answers(
    gold: &[usize],
    predicted: &[Vec<usize>],
    confidence: &[Vec<f32>],
) -> Option<Vec<Vec<eval::Answer>>> {
    let mut lengths = predicted.iter().map(Vec::len).chain(confidence.iter().map(Vec::len));
    if confidence.len() != predicted.len() || lengths.any(|rows| rows != gold.len()) {
        return None;
    }
    let of_seed = |(predicted, confidence): (&Vec<usize>, &Vec<f32>)| {
        let correct = predicted.iter().zip(gold).map(|(predicted, gold)| predicted == gold);
        confidence.iter().copied().zip(correct).collect()
    };
    Some(predicted.iter().zip(confidence).map(of_seed).collect())
}

/// The embeddings of seeds, generated texts and test errors in two dimensions, at most 800 points,
/// evenly over the classes. `predicted`, `[rows]`, are the predictions of one student (the first of
/// row A2) on the task's test set; empty without one. `None` for fewer than three texts.
///
/// # Errors
/// The embedder fails.
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
        .map(|(item, wrong)| point(PointKind::TestError, item.label, Some(*wrong), &item.text))
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
    let remaining = POINTS - seeds.len() - errors.len();
    // In drawing order: the few errors and seeds on top of the many generated texts.
    let mut points = evenly(generated, remaining);
    points.extend(errors);
    points.extend(seeds);
    if points.len() < 3 {
        return Ok(None);
    }
    let texts: Vec<String> = points.iter().map(|point| point.text.clone()).collect();
    for (point, position) in points.iter_mut().zip(map::project(&embedder.embed(&texts)?)) {
        [point.x, point.y] = position;
    }
    Ok(Some(report::Map { points }))
}

/// At most `wanted` of `points`, equally many of each class as far as there are enough, spread
/// evenly over the list and in its order.
fn evenly(points: Vec<report::Point>, wanted: usize) -> Vec<report::Point> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for point in &points {
        *counts.entry(point.class).or_default() += 1;
    }
    // Divide evenly, starting with the smallest classes: what they leave over goes to the others.
    let mut smallest: Vec<(usize, usize)> = counts.into_iter().collect();
    smallest.sort_by_key(|(_, count)| *count);
    let (mut left, mut classes) = (wanted, smallest.len());
    // For each class: its number of points, how many are taken, how many were seen so far.
    let mut quota: BTreeMap<usize, (usize, usize, usize)> = BTreeMap::new();
    for (class, count) in smallest {
        let taken = count.min(left / classes);
        (left, classes) = (left - taken, classes - 1);
        quota.insert(class, (count, taken, 0));
    }
    let chosen = |point: &report::Point| {
        let Some((count, taken, seen)) = quota.get_mut(&point.class) else { return false };
        // Take the points at the multiples of count / taken, rounded up.
        let chosen = (*seen * *taken) % *count < *taken;
        *seen += 1;
        chosen
    };
    points.into_iter().filter(chosen).collect()
}

/// Lexical diversity of the seeds (if there are any) and the generated texts, measured comparably.
pub(crate) fn diversity(
    seeds: &[LabelledText],
    generated: &[RelabelledText],
) -> Vec<report::LexicalDiversity> {
    let sets = [
        seeds.iter().map(|seed| seed.text.as_str()).collect(),
        generated.iter().map(|row| row.augmented.text.as_str()).collect(),
    ];
    let named = ["seeds", "generated"].into_iter().zip(eval::diversity(&sets));
    named
        .filter(|(_, found)| found.texts > 0)
        .map(|(of, found)| report::LexicalDiversity {
            of: of.to_owned(),
            texts: found.texts as u64,
            distinct_2: found.distinct_2,
            self_bleu: found.self_bleu,
            words: found.words,
        })
        .collect()
}

/// Twelve texts, spread evenly over the run; texts with a changed label first.
pub(crate) fn examples(rows: &[RelabelledText]) -> Vec<report::Example> {
    const WANTED: usize = 12;
    let spread = |rows: Vec<&RelabelledText>, wanted: usize| -> Vec<RelabelledText> {
        let step = rows.len().div_ceil(wanted.max(1)).max(1);
        rows.into_iter().step_by(step).take(wanted).cloned().collect()
    };
    let (changed, unchanged): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.relabel != row.augmented.major);
    let mut chosen = spread(changed, WANTED / 2);
    chosen.extend(spread(unchanged, WANTED - chosen.len()));
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
                // A generated answer has no probability.
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
