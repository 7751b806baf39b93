//! The axes of a comparison besides its models: rows, seeds per class, repetitions.

use std::borrow::Cow;

use crate::{dataset::Variant, hint::Hint, task::Task};

/// The axes of a comparison besides students and teachers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    /// In the table's order.
    pub rows: Vec<Variant>,
    /// Labelled seeds per class.
    pub shots: Vec<usize>,
    /// Number of repetitions, each with its own few-shot subset, prompts and initial weights.
    pub seeds: u64,
}

/// Why nothing can be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GridError {
    #[error("--rows {given}: there is no row of that name")]
    UnknownRow { given: String, known: String },
    #[error("the task has no test set, so nothing can be compared")]
    NoTest,
    #[error("--k is empty")]
    NoShots,
}

impl Hint for GridError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::UnknownRow { known, .. } => format!("the rows are {known}").into(),
            Self::NoTest => {
                "name a file of labelled texts as `test` in the [data] table of task.toml".into()
            }
            Self::NoShots => "for example --k 2,5,10".into(),
        })
    }
}

impl Grid {
    /// The rows called `rows` (all but `real-all` where none is given), with `shots` seeds per
    /// class (the task's own where none is given).
    ///
    /// # Errors
    /// A name that no row has; a task without a test set.
    pub(crate) fn new(
        task: &Task,
        rows: &[String],
        shots: Option<&[usize]>,
        seeds: u64,
    ) -> Result<Self, GridError> {
        if task.test.is_empty() {
            return Err(GridError::NoTest);
        }
        let mut named = rows
            .iter()
            .map(|given| {
                Variant::from_key(given).ok_or_else(|| GridError::UnknownRow {
                    given: given.clone(),
                    known: Variant::ALL.map(Variant::key).join(", "),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if named.is_empty() {
            let on_request = |row: &Variant| *row == Variant::RealAll || row.needs_unlabelled();
            named = Variant::ALL.into_iter().filter(|row| !on_request(row)).collect();
        }
        named.sort_unstable();
        named.dedup();
        let mut several: Vec<usize> = Vec::new();
        for &k in shots.unwrap_or(&[task.even_shots()]) {
            if !several.contains(&k) {
                several.push(k);
            }
        }
        if several.is_empty() {
            return Err(GridError::NoShots);
        }
        Ok(Self { rows: named, shots: several, seeds })
    }
}

/// Why `row` cannot be run on `task` with `k` seeds per class; `first` says whether no smaller
/// comparison was listed before.
pub(super) fn obstacle(task: &Task, row: Variant, k: usize, first: bool) -> Option<String> {
    let lacks_examples = |class: usize| task.seeds_of(class).next().is_none();
    let why = match row {
        Variant::Paper if task.none_of_these().is_some() => {
            "the published method has no prompt for a class with `none_of_these`"
        }
        Variant::Eda | Variant::Continuation | Variant::Gpt3Mix
            if task.none_of_these().is_some_and(lacks_examples) =>
        {
            "it starts from labelled seeds, and the class with `none_of_these` has none"
        }
        Variant::Seeds
        | Variant::EmbedSeeds
        | Variant::ContrastiveSeeds
        | Variant::Eda
        | Variant::Continuation
        | Variant::Gpt3Mix
            if k == 0 =>
        {
            "it starts from labelled seeds, and there are none"
        }
        Variant::NoExamples if k == 0 => "without seeds no row shows examples: it is A2",
        Variant::NoDescriptions
            if task.classes.iter().all(|class| class.description.is_empty()) =>
        {
            "no class has a description: it is A2"
        }
        Variant::NoDescriptions if k == 0 => "without seeds and descriptions there are only names",
        Variant::Real | Variant::RealAll if task.pool.is_empty() => {
            "the task names no real training texts (`pool` in the [data] table of task.toml)"
        }
        Variant::U | Variant::A2U if task.unlabelled.is_none() => {
            "the task names no unlabelled texts (`unlabelled` in the [data] table of task.toml)"
        }
        Variant::RealAll if !first => "it hardly depends on k: see the first",
        _ => return None,
    };
    Some(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_in_any_order_and_case() {
        let task = crate::task::demo_task().unwrap();
        let names = ["a2", "SEEDS", "eda", "A2"].map(str::to_owned);
        let grid = Grid::new(&task, &names, Some(&[2, 0, 2]), 3).unwrap();
        assert_eq!(grid.rows, [Variant::Seeds, Variant::Eda, Variant::A2]);
        assert_eq!(grid.shots, [2, 0]);
        let all = Grid::new(&task, &[], None, 3).unwrap();
        assert_eq!((all.rows.len(), all.shots.as_slice()), (16, [task.shots].as_slice()));
        let error = Grid::new(&task, &["A3".to_owned()], None, 3).unwrap_err();
        assert!(error.to_string().contains("A3"), "{error}");
        assert!(error.hint().unwrap().contains("no-mixup"));
    }

    #[test]
    fn what_makes_no_sense_is_left_out_with_the_reason() {
        let mut task = crate::task::demo_task().unwrap();
        task.pool.clear();
        let out = |k| -> Vec<Variant> {
            Variant::ALL
                .into_iter()
                .filter(|row| obstacle(&task, *row, k, true).is_some())
                .collect()
        };
        assert_eq!(out(2), [Variant::U, Variant::A2U, Variant::Real, Variant::RealAll]);
        assert_eq!(out(0).len(), 12, "{:?}", out(0));
        assert!(!out(0).contains(&Variant::A2) && !out(0).contains(&Variant::NoMixup));
    }

    #[test]
    fn rows_that_need_examples_of_every_class_or_know_no_such_class_are_left_out() {
        let mut task = crate::task::demo_task().unwrap();
        task.classes[2].none_of_these = true;
        let out = |task: &Task| -> Vec<Variant> {
            let rows = Variant::ALL.into_iter().filter(|row| !row.needs_unlabelled());
            rows.filter(|row| obstacle(task, *row, 2, true).is_some()).collect()
        };
        assert_eq!(out(&task), [Variant::Paper], "it has examples");
        task.seeds.retain(|seed| seed.label != 2);
        let mut left_out = out(&task);
        left_out.sort_unstable();
        let mut wanted =
            [Variant::Eda, Variant::Continuation, Variant::Gpt3Mix, Variant::Paper].to_vec();
        wanted.sort_unstable();
        assert_eq!(left_out, wanted);
        assert_eq!(task.even_shots(), 2);
    }
}
