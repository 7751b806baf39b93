//! The few-shot subset of a seed, and draws from the real training texts.

use std::collections::HashSet;

use crate::{
    dataset::canonical,
    task::{self, LabelledText, Task},
};

/// The texts from which `k` per class are drawn: the task's seeds, and where a named class has
/// fewer, the real training texts as well. No text of the test set is among them.
///
/// # Errors
/// Why there are not enough, in words.
pub(super) fn source(task: &Task, k: usize) -> Result<Vec<LabelledText>, String> {
    let enough = |texts: &[LabelledText]| {
        let short = |class| texts.iter().filter(|text| text.label == class).count() < k;
        task.named_classes().find(|class| short(*class))
    };
    if enough(&task.seeds).is_none() {
        return Ok(task.seeds.clone());
    }
    let mut texts = task.seeds.clone();
    let known: HashSet<String> = texts.iter().map(|text| canonical(&text.text)).collect();
    texts.extend(real(task).into_iter().filter(|text| !known.contains(&canonical(&text.text))));
    match enough(&texts) {
        None => Ok(texts),
        Some(class) => Err(format!(
            "class {} has fewer than {k} labelled texts, seeds and `pool` together",
            task.classes[class].name
        )),
    }
}

/// `k` of `source` for each class; which ones depends on `stream` and the class alone.
pub(super) fn draw(
    task: &Task,
    source: &[LabelledText],
    k: usize,
    stream: u64,
) -> Vec<LabelledText> {
    task::draw(source, &vec![k; task.classes.len()], "shots", stream)
}

/// The real training texts, each once, without those of the test set.
pub(super) fn real(task: &Task) -> Vec<LabelledText> {
    let mut seen: HashSet<String> = task.test.iter().map(|text| canonical(&text.text)).collect();
    task.pool.iter().filter(|text| seen.insert(canonical(&text.text))).cloned().collect()
}

/// `total` of `real`, as evenly over the classes as they have texts, without `seeds`.
pub(super) fn draw_real(
    task: &Task,
    real: &[LabelledText],
    seeds: &[LabelledText],
    total: usize,
    stream: u64,
) -> Vec<LabelledText> {
    let gold: HashSet<String> = seeds.iter().map(|seed| canonical(&seed.text)).collect();
    let real: Vec<LabelledText> =
        real.iter().filter(|text| !gold.contains(&canonical(&text.text))).cloned().collect();
    let mut room = vec![0; task.classes.len()];
    real.iter().for_each(|text| room[text.label] += 1);
    task::draw(&real, &evenly(&room, total), "real", stream)
}

/// `total` items over bins that have so much `room`, as evenly as they allow.
fn evenly(room: &[usize], total: usize) -> Vec<usize> {
    let mut taken = vec![0; room.len()];
    let mut left = total.min(room.iter().sum());
    while left > 0 {
        let open: Vec<usize> = (0..room.len()).filter(|bin| taken[*bin] < room[*bin]).collect();
        let share = (left / open.len()).max(1);
        for bin in open {
            let more = share.min(room[bin] - taken[bin]).min(left);
            taken[bin] += more;
            left -= more;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(label: usize, names: &[&str]) -> Vec<LabelledText> {
        names.iter().map(|text| LabelledText { text: (*text).to_owned(), label }).collect()
    }

    #[test]
    fn a_subset_is_the_one_that_a_run_draws() {
        let task = crate::task::demo_task().unwrap();
        let source = source(&task, task.shots).unwrap();
        assert_eq!(draw(&task, &source, task.shots, 7), task.draw_seeds(7));
    }

    #[test]
    fn the_pool_helps_out_but_for_what_is_tested() {
        let mut task = crate::task::demo_task().unwrap();
        task.pool.clear();
        let reason = source(&task, 3).unwrap_err();
        assert!(reason.contains(&task.classes[0].name) && reason.contains('3'), "{reason}");
        let (seed, test) = (task.seeds[0].clone(), task.test[0].clone());
        for label in 0..task.classes.len() {
            task.pool.extend(texts(label, &[&format!("new {label}"), &format!("NEW, {label}!")]));
        }
        task.pool.extend([seed, test.clone()]);
        let source = source(&task, 3).unwrap();
        assert_eq!(source.len(), task.seeds.len() + task.classes.len());
        assert!(!source.contains(&test));
        assert!(super::source(&task, 4).is_err());
    }

    #[test]
    fn real_texts_are_spread_evenly_and_are_no_seeds() {
        assert_eq!(evenly(&[10, 2, 10], 12), [5, 2, 5]);
        assert_eq!(evenly(&[1, 1], 5), [1, 1]);
        assert_eq!(evenly(&[9, 9, 9], 4).iter().sum::<usize>(), 4);
        let task = crate::task::demo_task().unwrap();
        let real = [texts(0, &["a", "b", "c"]), texts(1, &["d", "e"])].concat();
        let drawn = draw_real(&task, &real, &texts(0, &["B!"]), 4, 1);
        let names: Vec<&str> = drawn.iter().map(|text| text.text.as_str()).collect();
        assert_eq!(names, ["a", "c", "d", "e"]);
    }
}
