//! Drift: whether texts of today are like those on which a student was tested.
//!
//! A student folder keeps a [`Reference`]: numbers about real texts that the student was not
//! trained on, and no text. [`compare`] tests the hypothesis that the new texts are drawn from the
//! same distribution as those of the reference, by class, confidence, length, unknown tokens and
//! embedding. Each is a permutation test, which holds its level for any distribution and any number
//! of texts, as long as the texts are independent: under the hypothesis every split of the texts
//! into reference and new ones is as likely as the one that was seen. The p-values are adjusted as
//! in Holm 1979, so that the whole holds the level too.
//!
//! | file | what it is for |
//! |---|---|
//! | `sample` | a random sample of the texts of a stream, read by the student, in bounded memory |
//! | `reference` | the numbers about the reference texts, and their file in the student folder |
//! | `statistic` | what is compared: class shares, distributions, unknown tokens |
//! | `mmd` | the distance of two sets of embeddings |
//! | `permutation` | p-values |

mod mmd;
mod permutation;
mod reference;
mod sample;
mod statistic;

#[cfg(test)]
mod level;
#[cfg(test)]
mod synthetic;

use std::{borrow::Cow, io, path::PathBuf};

use serde::Serialize;

pub(crate) use reference::{FILE, Kept, Reference, Source};
pub(crate) use sample::{EMBEDDED, ROWS, Readings, Sampler};

use crate::{
    counted::counted,
    hint::{Hint, shell_path},
};
use mmd::Kernel;
use statistic::{Column, Statistic};

/// The level of the verdict where nobody asked for another one.
pub(crate) const LEVEL: f64 = 0.05;
/// With fewer texts on a side, only large differences can be found.
pub(crate) const FEW: usize = 50;
/// The unbiased estimate of MMD needs two texts on each side.
const LEAST: usize = 2;
/// Random splits of the texts. The smallest p-value of a single test is 1 in 10 000, so that of
/// five tests is 5 in 10 000.
const PERMUTATIONS: u64 = 9_999;
/// The smallest level that [`PERMUTATIONS`] can reach with all tests, and some room.
pub(crate) const LEAST_LEVEL: f64 = 0.001;

/// Why texts could not be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriftError {
    #[error("{} has no reference: {FILE} is missing", folder.display())]
    NoReference { folder: PathBuf },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {message}", path.display())]
    Damaged { path: PathBuf, message: String },
    #[error("{what} has {}, but a comparison needs at least {LEAST}", counted(*texts, "usable text"))]
    TooFew { what: &'static str, texts: usize },
}

impl Hint for DriftError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::NoReference { folder } => format!(
                "compare with texts of your own: --reference FILE, with real texts that the student was not trained on; `promptmix train RUN` adds the reference to the student of a run, unless student.drift_reference is \"none\" ({})",
                shell_path(folder)
            )
            .into(),
            Self::Read { .. } => "check the permissions of the file, or use --reference FILE".into(),
            Self::Damaged { .. } => {
                "`promptmix train RUN` writes it again once it is deleted; or use --reference FILE"
                    .into()
            }
            Self::TooFew { .. } => "give more texts; some hundred find a moderate change".into(),
        })
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// The shares of the predicted classes: Pearson's chi-square of the table of counts.
    Classes,
    /// The probability of the predicted class: the Kolmogorov-Smirnov distance.
    Confidence,
    /// Tokens that the student reads of a text: the Kolmogorov-Smirnov distance.
    Length,
    /// The share of tokens that the vocabulary cannot spell: the difference of the two shares.
    UnknownTokens,
    /// The student's embeddings: the squared maximum mean discrepancy.
    Embeddings,
}

/// One test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Test {
    pub measure: Measure,
    /// Its statistic, which [`Measure`] names.
    pub statistic: f64,
    /// The share of random splits whose statistic is at least as large, the one that was seen
    /// included.
    pub p: f64,
    /// The same adjusted for the number of tests (Holm).
    pub adjusted_p: f64,
    /// The mean of the measure in the reference and in the new texts, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<(f64, f64)>,
}

/// The share of a predicted class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ClassShare {
    pub class: String,
    pub reference: f64,
    pub new: f64,
}

/// The comparison of new texts with a reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Drift {
    /// Which texts the reference is made of.
    pub source: Source,
    /// Texts that they were drawn from, and those compared.
    pub reference_texts: (u64, usize),
    /// The same of the new texts.
    pub new_texts: (u64, usize),
    /// The smallest of the adjusted p-values: the probability, if nothing has changed, that any
    /// test is as extreme as this.
    pub p: f64,
    pub tests: Vec<Test>,
    /// By how much the share of a class changed, the largest change first.
    pub classes: Vec<ClassShare>,
}

/// Compares `new` texts with those of `reference`; `labels` are the classes of the student that
/// read both.
///
/// # Errors
/// Fewer than two texts on a side.
pub(crate) fn compare(
    reference: &Reference,
    new: &Readings,
    labels: &[String],
) -> Result<Drift, DriftError> {
    compare_with(reference, new, labels, PERMUTATIONS)
}

fn compare_with(
    reference: &Reference,
    new: &Readings,
    labels: &[String],
    permutations: u64,
) -> Result<Drift, DriftError> {
    let old = &reference.readings;
    for (what, texts) in [("the reference", old.len()), ("the new file", new.len())] {
        if texts < LEAST {
            return Err(DriftError::TooFew { what, texts });
        }
    }
    let columns = columns(reference, new);
    let statistics: Vec<&Statistic> = columns.iter().map(|column| &column.statistic).collect();
    let found = permutation::of_statistics(&statistics, new.len(), permutations);
    let mut tests: Vec<Test> = columns
        .iter()
        .zip(found)
        .map(|(column, (statistic, p))| Test {
            measure: column.measure,
            statistic,
            p,
            adjusted_p: p,
            means: column.means,
        })
        .collect();
    if let Some(kernel) = Kernel::new(old.embeddings(), new.embeddings()) {
        let (statistic, p) = permutation::of_kernel(&kernel, permutations);
        let measure = Measure::Embeddings;
        tests.push(Test { measure, statistic, p, adjusted_p: p, means: None });
    }
    holm(&mut tests);
    Ok(Drift {
        source: reference.source,
        reference_texts: (old.seen, old.len()),
        new_texts: (new.seen, new.len()),
        p: tests.iter().map(|test| test.adjusted_p).fold(1.0, f64::min),
        tests,
        classes: shares(old, new, labels),
    })
}

/// What is compared beside the embeddings. A further number of each text, such as a score of how
/// far out of scope it is, is one more column here and in [`Readings`].
fn columns(reference: &Reference, new: &Readings) -> Vec<Column> {
    let old = &reference.readings;
    let mut columns = vec![Column::classes(&old.class, &new.class)];
    // A student is surer of texts that it was trained on.
    if reference.source != Source::Training {
        columns.push(Column::values(Measure::Confidence, &old.confidence, &new.confidence));
    }
    let floats = |counts: &[u32]| counts.iter().map(|&count| count as f32).collect::<Vec<_>>();
    columns.push(Column::values(Measure::Length, &floats(&old.tokens), &floats(&new.tokens)));
    columns.push(Column::unknown_tokens((&old.unknown, &old.tokens), (&new.unknown, &new.tokens)));
    columns
}

/// Adjusts the p-values as in Holm 1979: the smallest of m is multiplied by m, the next one by
/// m - 1 and so on, none falls below the one before it. Holds the level whatever the dependence of
/// the tests.
fn holm(tests: &mut [Test]) {
    let mut order: Vec<usize> = (0..tests.len()).collect();
    order.sort_by(|&a, &b| tests[a].p.total_cmp(&tests[b].p));
    let mut least = 0.0_f64;
    for (rank, at) in order.into_iter().enumerate() {
        let left = (tests.len() - rank) as f64;
        least = least.max((tests[at].p * left).min(1.0));
        tests[at].adjusted_p = least;
    }
}

/// The shares of the predicted classes, those that changed most first.
fn shares(old: &Readings, new: &Readings, labels: &[String]) -> Vec<ClassShare> {
    let share = |readings: &Readings, class: usize| {
        let count = readings.class.iter().filter(|&&it| it as usize == class).count();
        count as f64 / readings.len().max(1) as f64
    };
    let of = |(class, label): (usize, &String)| ClassShare {
        class: label.clone(),
        reference: share(old, class),
        new: share(new, class),
    };
    let mut shares: Vec<ClassShare> = labels.iter().enumerate().map(of).collect();
    let change = |share: &ClassShare| (share.new - share.reference).abs();
    shares.sort_by(|a, b| change(b).total_cmp(&change(a)));
    shares
}

#[cfg(test)]
mod tests {
    use super::{synthetic::Texts, *};

    fn test(p: f64) -> Test {
        Test { measure: Measure::Length, statistic: 0.0, p, adjusted_p: p, means: None }
    }

    #[test]
    fn p_values_are_adjusted_by_hand() {
        let mut tests = [0.01, 0.04, 0.03, 0.5].map(test);
        holm(&mut tests);
        // 4 · 0.01; 3 · 0.03; max(2 · 0.04, 0.09); max(1 · 0.5, 0.09).
        let adjusted = tests.map(|test| test.adjusted_p);
        for (found, expected) in adjusted.into_iter().zip([0.04, 0.09, 0.09, 0.5]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        let mut tests = [0.6, 0.9].map(test);
        holm(&mut tests);
        assert_eq!(tests.map(|test| test.adjusted_p), [1.0, 1.0]);
    }

    /// With 400 comparisons, a 5 % level gives more than 33 alarms once in a thousand times.
    #[test]
    fn equal_distributions_raise_an_alarm_at_most_as_often_as_the_level_says() {
        let alarms = (0..400)
            .filter(|&seed| {
                let texts = Texts { seed, ..Texts::default() };
                let (old, new) = (texts.reference(60), texts.new_texts(40));
                compare_with(&old, &new, &texts.labels(), 199).unwrap().p < LEVEL
            })
            .count();
        assert!(alarms <= 33, "{alarms} of 400");
    }

    #[test]
    fn each_change_is_found_by_the_test_that_it_is_for() {
        let labels = Texts::default().labels();
        for (texts, measure) in [
            (Texts { shares: [0.5, 0.3, 0.2], ..Texts::default() }, Measure::Classes),
            (Texts { surer_by: -0.1, ..Texts::default() }, Measure::Confidence),
            (Texts { longer_by: 5, ..Texts::default() }, Measure::Length),
            (Texts { unknown: 0.1, ..Texts::default() }, Measure::UnknownTokens),
            (Texts { moved_by: 0.6, ..Texts::default() }, Measure::Embeddings),
        ] {
            let (old, new) = (Texts::default().reference(300), texts.new_texts(200));
            let drift = compare_with(&old, &new, &labels, 999).unwrap();
            let least = drift.tests.iter().min_by(|a, b| a.p.total_cmp(&b.p)).unwrap();
            assert_eq!(least.measure, measure, "{drift:?}");
            assert!(drift.p < LEVEL && drift.p == least.adjusted_p, "{drift:?}");
        }
    }

    #[test]
    fn the_same_texts_give_the_same_p_values() {
        let texts = Texts::default();
        let once = || compare(&texts.reference(50), &texts.new_texts(30), &texts.labels()).unwrap();
        assert_eq!(once(), once());
        let least = once().tests.len() as f64 / (PERMUTATIONS + 1) as f64;
        assert!(least < LEAST_LEVEL);
    }

    #[test]
    fn a_reference_of_training_texts_is_not_compared_by_confidence() {
        let texts = Texts::default();
        let mut reference = texts.reference(30);
        reference.source = Source::Training;
        let drift = compare_with(&reference, &texts.new_texts(30), &texts.labels(), 19).unwrap();
        assert!(drift.tests.iter().all(|test| test.measure != Measure::Confidence));
        assert_eq!(drift.tests.len(), 4);
        reference.readings.leave_out_embeddings();
        let drift = compare_with(&reference, &texts.new_texts(30), &texts.labels(), 19).unwrap();
        assert_eq!(drift.tests.len(), 3);
        let one = compare(&texts.reference(1), &texts.new_texts(30), &texts.labels());
        assert!(one.unwrap_err().to_string().contains("the reference has 1 usable text,"));
    }
}
