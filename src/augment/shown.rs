//! Which classes a prompt shows.

use rand::seq::SliceRandom;

use super::PromptContext;
use crate::rng::Rng;

/// The class itself and `augment.classes_shown - 1` other named ones, in random order. The others
/// are drawn uniformly, or near classes more often ([`Partners`](crate::config::Partners)).
pub(super) fn draw_shown(context: &PromptContext<'_>, class: usize, rng: &mut Rng) -> Vec<usize> {
    let others = context.settings.classes_shown - 1;
    let mut shown: Vec<usize> = match context.nearest.get(class) {
        None => {
            let mut all: Vec<usize> =
                context.task.named_classes().filter(|other| *other != class).collect();
            all.shuffle(rng);
            all.truncate(others);
            all
        }
        Some(ranked) => {
            let none = context.task.none_of_these();
            let mut left: Vec<usize> =
                ranked.iter().copied().filter(|other| Some(*other) != none).collect();
            let mut drawn = Vec::with_capacity(others + 1);
            while drawn.len() < others && !left.is_empty() {
                let next = draw_near(ranked, &left, rng);
                left.retain(|other| *other != next);
                drawn.push(next);
            }
            drawn
        }
    };
    shown.push(class);
    shown.shuffle(rng);
    shown
}

/// One of `among`; the class of rank r in `ranked` has weight 1/(r + 1).
pub(super) fn draw_near(ranked: &[usize], among: &[usize], rng: &mut Rng) -> usize {
    let rank = |class: &usize| ranked.iter().position(|other| other == class);
    let weight = |class: &usize| 1.0 / (rank(class).unwrap_or(ranked.len()) + 1) as f64;
    let weights: Vec<f64> = among.iter().map(weight).collect();
    among[rng.weighted(&weights).expect("each has a weight")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::sample::Sample;

    #[test]
    fn the_class_itself_is_always_shown_exactly_once() {
        let mut many = Sample::numbered(9);
        for nearest in [Vec::new(), vec![(0..9).filter(|class| *class != 3).collect(); 9]] {
            many.nearest = nearest;
            for item in 0..200 {
                let shown = draw_shown(&many.context(), 3, &mut Rng::for_item(1, "test", item));
                assert_eq!(shown.len(), 4);
                assert_eq!(shown.iter().filter(|class| **class == 3).count(), 1);
                let mut unique = shown.clone();
                unique.sort_unstable();
                unique.dedup();
                assert_eq!(unique.len(), 4);
            }
        }
        let mut two = Sample::numbered(2);
        for nearest in [Vec::new(), vec![vec![1], vec![0]]] {
            two.nearest = nearest;
            let shown = draw_shown(&two.context(), 0, &mut Rng::for_item(1, "test", 0));
            assert_eq!(shown.len(), 2);
        }
    }
}
