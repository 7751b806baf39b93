//! Drawing some of a task's texts.

use std::collections::HashMap;

use rand_core::RngCore;

use super::LabelledText;
use crate::rng::Rng;

/// Draws `wanted[class]` of `texts` for each class (all if there are fewer), class by class, in the
/// order of `texts`. The choice depends only on `stage`, `seed` and the texts of the class: those
/// with the lowest keyed hashes are drawn, so a text that is added or removed changes at most one.
pub(crate) fn draw(
    texts: &[LabelledText],
    wanted: &[usize],
    stage: &str,
    seed: u64,
) -> Vec<LabelledText> {
    let mut seen: HashMap<(usize, &str), u64> = HashMap::new();
    let mut of_class: Vec<Vec<(u64, usize)>> = vec![Vec::new(); wanted.len()];
    for (place, text) in texts.iter().enumerate().filter(|(_, text)| text.label < wanted.len()) {
        let copies = seen.entry((text.label, &text.text)).or_default();
        let rank = Rng::for_item(seed, &format!("{stage} {}", text.text), *copies).next_u64();
        *copies += 1;
        of_class[text.label].push((rank, place));
    }
    let mut drawn = Vec::new();
    for (mut ranked, &wanted) in of_class.into_iter().zip(wanted) {
        ranked.sort_unstable();
        ranked.truncate(wanted);
        let mut places: Vec<usize> = ranked.into_iter().map(|(_, place)| place).collect();
        places.sort_unstable();
        drawn.extend(places.into_iter().map(|place| texts[place].clone()));
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::{task_with_forty_seeds, valid_task};

    #[test]
    fn drawing_depends_only_on_the_seed_and_keeps_the_classes_apart() {
        let task = task_with_forty_seeds();
        assert_eq!(task.draw_seeds(7), task.draw_seeds(7));
        let draws: Vec<Vec<LabelledText>> = (0..20).map(|seed| task.draw_seeds(seed)).collect();
        for drawn in &draws {
            let labels: Vec<usize> = drawn.iter().map(|seed| seed.label).collect();
            assert_eq!(labels, [0, 0, 1, 1]);
            assert!(drawn[0] != drawn[1] && drawn[2] != drawn[3]);
        }
        assert!(draws.iter().any(|drawn| *drawn != draws[0]));
        // What is drawn of a class does not depend on the other classes.
        let mut fewer = task.clone();
        fewer.seeds.retain(|seed| seed.label == 1);
        assert_eq!(fewer.draw_seeds(3), task.draw_seeds(3)[2..]);
    }

    #[test]
    fn one_seed_more_or_less_changes_at_most_one_of_those_drawn() {
        let task = task_with_forty_seeds().with_shots(5).unwrap();
        let mut changed = 0;
        for seed in 0..40 {
            let before = task.draw_seeds(seed);
            let mut more = task.clone();
            more.seeds.insert(3, LabelledText { text: format!("new {seed}"), label: 0 });
            let mut fewer = task.clone();
            fewer.seeds.remove(seed as usize);
            for after in [more.draw_seeds(seed), fewer.draw_seeds(seed)] {
                assert_eq!(after.len(), 10);
                let new = after.iter().filter(|text| !before.contains(text)).count();
                assert!(new <= 1, "{new} new with seed {seed}");
                changed += new;
            }
        }
        assert!(changed > 10, "{changed} of 80 draws changed, about a quarter is expected");
        // Copies of a text are drawn one by one, like other texts.
        let texts = vec![LabelledText { text: "same".to_owned(), label: 0 }; 5];
        assert_eq!(draw(&texts, &[3], "real", 1).len(), 3);
    }

    #[test]
    fn as_many_seeds_as_shots_are_all_drawn_in_file_order() {
        let task = valid_task();
        let texts: Vec<String> = task.draw_seeds(9).into_iter().map(|seed| seed.text).collect();
        assert_eq!(
            texts,
            [
                "I forgot my password",
                "my password expired",
                "vpn is down",
                "cannot reach the office network"
            ]
        );
    }
}
