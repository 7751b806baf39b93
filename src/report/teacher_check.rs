//! How well the teacher labels examples that its prompt does not show, and what that means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    counted::counted,
    eval::{Interval, wilson},
};

/// The teacher on labelled examples that its prompt does not show, measured before it writes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TeacherCheck {
    /// Labelled examples asked about.
    pub examples: u64,
    /// The teacher's accuracy on them, with its 95 % interval.
    pub accuracy: Interval,
    /// The accuracy of always naming the most frequent class among them, 0 to 1.
    pub guessing: f64,
    /// The accuracy of the class with the nearest centroid of embeddings, from the same name,
    /// description and examples as the teacher was shown; absent without a student.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Interval>,
}

/// Names of the counts in the ledger.
const EXAMPLES: &str = "examples";
const RIGHT: &str = "right";
const GUESSED: &str = "right by guessing";
const NEAREST: &str = "right by the nearest centroid";

/// What helps against an unfit teacher.
pub(crate) const HINT: &str = "try a larger or instruction-tuned teacher (`promptmix models list`), or describe the classes more precisely";

impl TeacherCheck {
    /// The check that the ledger holds as these counts of right answers; `None` without examples.
    pub(crate) fn of_counts(counts: &BTreeMap<String, usize>) -> Option<Self> {
        let count = |name: &str| counts.get(name).copied();
        let examples = count(EXAMPLES).filter(|count| *count > 0)?;
        Some(Self {
            examples: examples as u64,
            accuracy: wilson(count(RIGHT)?, examples),
            guessing: count(GUESSED)? as f64 / examples as f64,
            nearest: count(NEAREST).map(|right| wilson(right, examples)),
        })
    }

    /// As [`Self::of_counts`], for counts that are not in a ledger.
    pub(crate) fn of_pairs(counts: &[(&'static str, usize)]) -> Option<Self> {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count));
        Self::of_counts(&counts.collect())
    }

    /// The result as the counts that the ledger keeps. `gold`, `answers` and `nearest` are class
    /// indices, one for each example; a question without an answer counts as wrong.
    pub(crate) fn counts(
        gold: &[usize],
        answers: &[Option<usize>],
        nearest: Option<&[usize]>,
    ) -> Vec<(&'static str, usize)> {
        let right = answers.iter().zip(gold).filter(|(answer, gold)| **answer == Some(**gold));
        let mut frequency: BTreeMap<usize, usize> = BTreeMap::new();
        gold.iter().for_each(|class| *frequency.entry(*class).or_default() += 1);
        let mut counts = vec![
            (EXAMPLES, gold.len()),
            (RIGHT, right.count()),
            (GUESSED, frequency.into_values().max().unwrap_or(0)),
        ];
        let by_nearest = |nearest: &[usize]| {
            (NEAREST, nearest.iter().zip(gold).filter(|(class, gold)| class == gold).count())
        };
        counts.extend(nearest.map(by_nearest));
        counts
    }

    /// The result in words: `71 % (57-82) of 48 labelled examples that its prompt did not show`.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} of {} that its prompt did not show",
            percent(&self.accuracy),
            counted(self.examples as usize, "labelled example")
        )
    }

    /// A sentence if the teacher is not shown to be better than guessing, or not better than the
    /// nearest class by embedding. A teacher without a mistake is never unfit.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self { accuracy, guessing, nearest, .. } = *self;
        if accuracy.mean >= 1.0 {
            return None;
        }
        let found = format!("the teacher correctly labels {}", self.summary());
        let guess = format!("guessing: {:.0} %", 100.0 * guessing);
        if accuracy.mean <= guessing {
            return Some(format!(
                "{found} ({guess}): it does not know these classes, so its texts and labels are of little use for training"
            ));
        }
        if let Some(nearest) = nearest.filter(|nearest| accuracy.mean <= nearest.mean) {
            let shown = match accuracy.high < nearest.mean {
                true => "its labels are worse than those of the nearest class",
                false => "its labels are not shown to be better than those of the nearest class",
            };
            return Some(format!(
                "{found} (nearest class by the student's embeddings: {}; {guess}): {shown}",
                percent(&nearest)
            ));
        }
        (accuracy.low <= guessing).then(|| {
            format!("{found} ({guess}): too few examples to tell its labels from guessing")
        })
    }
}

/// An accuracy in percent: `71 % (57-82)`.
fn percent(Interval { mean, low, high, .. }: &Interval) -> String {
    format!("{:.0} % ({:.0}-{:.0})", 100.0 * mean, 100.0 * low, 100.0 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        examples: usize,
        right: usize,
        guessed: usize,
        nearest: Option<usize>,
    ) -> TeacherCheck {
        let mut counts: BTreeMap<String, usize> =
            [(EXAMPLES, examples), (RIGHT, right), (GUESSED, guessed)]
                .map(|(name, count)| (name.to_owned(), count))
                .into();
        counts.extend(nearest.map(|count| (NEAREST.to_owned(), count)));
        TeacherCheck::of_counts(&counts).unwrap()
    }

    #[test]
    fn counts_of_right_answers_by_hand() {
        let answers = [Some(0), Some(0), None, Some(2), Some(1)];
        let counts = TeacherCheck::counts(&[0, 1, 1, 2, 1], &answers, Some(&[0, 1, 1, 1, 0]));
        assert_eq!(counts, [(EXAMPLES, 5), (RIGHT, 3), (GUESSED, 3), (NEAREST, 3)]);
        assert_eq!(TeacherCheck::counts(&[], &[], None)[0], (EXAMPLES, 0));
        assert_eq!(TeacherCheck::of_counts(&BTreeMap::new()), None);
    }

    #[test]
    fn an_unfit_teacher_is_named_and_a_fit_one_is_not() {
        let fit = check(48, 46, 8, Some(34));
        assert_eq!(
            fit.summary(),
            "96 % (86-99) of 48 labelled examples that its prompt did not show"
        );
        assert_eq!(fit.warning(), None);
        let guesses = check(48, 8, 8, Some(3)).warning().unwrap();
        assert!(guesses.contains("17 % (9-30) of 48"), "{guesses}");
        assert!(guesses.contains("(guessing: 17 %): it does not know these classes"), "{guesses}");
        let below = check(48, 20, 8, Some(40)).warning().unwrap();
        assert!(below.contains("embeddings: 83 % (70-91); guessing: 17 %"), "{below}");
        assert!(below.contains("are worse than those of the nearest class"), "{below}");
        let level = check(48, 38, 8, Some(39)).warning().unwrap();
        assert!(level.contains("not shown to be better than those of the"), "{level}");
        let few = check(4, 3, 2, None).warning().unwrap();
        assert!(few.contains("too few examples to tell its labels"), "{few}");
        // Nothing is better than no mistake.
        assert_eq!(check(4, 4, 2, Some(4)).warning(), None);
    }
}
