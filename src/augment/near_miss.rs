//! Texts of the class that is none of the others (`none_of_these` in `task.toml`): near-misses,
//! which a reader could take for one of the other classes at first.
//!
//! Texts of anything else would be too easy: a student that has seen only those still answers with
//! the nearest class where a new text is much like one. So each request names one class that its
//! texts come near, with its description and two of its examples; the classes take turns. The class
//! of the near-misses is never mixed into another one, since a share of none says nothing about how
//! a text is to be.

use rand::{Rng as _, seq::SliceRandom};

use super::{PromptContext, PromptRequest, examples, shown::draw_shown, wanted};
use crate::{
    prompt::{PromptError, shown_classes},
    rng::Rng,
};

/// Examples of the class that the texts come near. With more, small models continue the list.
const EXAMPLES: usize = 2;

/// The request `id` for texts that belong to no class but `none`, number `number` of the `round`.
pub(super) fn request(
    context: &PromptContext<'_>,
    none: usize,
    (round, number): (usize, usize),
    id: String,
    rng: &mut Rng,
) -> Result<PromptRequest, PromptError> {
    let PromptContext { task, prompts, .. } = *context;
    let near = nearby(context, round + number);
    let shown = draw_shown(context, near, rng);
    let classes = shown_classes(task, &shown, |class| match class == near {
        true => examples(context, class, rng).into_iter().take(EXAMPLES).collect(),
        false => Vec::new(),
    });
    let own = shown_classes(task, &[none], |class| examples(context, class, rng)).remove(0);
    let place = shown.iter().position(|shown| *shown == near).unwrap_or_default();
    let wanted = wanted(context, rng);
    Ok(PromptRequest {
        id,
        prompt: prompts.near_miss(task, &classes, place, &own, &wanted)?,
        shown,
        major: none,
        mix: None,
        near: Some(near),
        count: wanted.count,
        seed: rng.random(),
    })
}

/// The class that the texts of request number `request` come near: all in turn, in an order of the
/// seed, since a task may have more classes than there are requests.
fn nearby(context: &PromptContext<'_>, request: usize) -> usize {
    let mut named: Vec<usize> = context.task.named_classes().collect();
    named.shuffle(&mut Rng::for_item(context.seed, "near_miss", 0));
    named[request % named.len()]
}

#[cfg(test)]
mod tests {
    use crate::augment::{
        Method as _,
        mixup::Mixup,
        plain::Plain,
        sample::{Sample, seed},
    };

    fn sample() -> Sample {
        let examples = ["card one", "card two", "card three"].map(|text| seed(text, 0));
        let mut sample = Sample::new(&["lost_card", "other", "fee"], examples.to_vec());
        sample.task.classes[1].none_of_these = true;
        sample.task.classes[1].description.clear();
        sample
    }

    #[test]
    fn the_other_classes_take_turns_and_no_request_shows_the_class_itself() {
        let sample = sample();
        for round in [0, 1] {
            let requests = Mixup.plan_round(&sample.context(), round, &[0, 12, 0]).unwrap();
            let near: Vec<usize> = requests.iter().map(|request| request.near.unwrap()).collect();
            assert!(near == [0, 2, 0, 2] || near == [2, 0, 2, 0], "{near:?}");
            for request in &requests {
                assert_eq!((request.major, request.mix), (1, None));
                assert!(request.shown.len() == 2 && !request.shown.contains(&1), "{request:?}");
            }
            assert_eq!(requests, Mixup.plan_round(&sample.context(), round, &[0, 12, 0]).unwrap());
        }
        // Without mixing, the same class comes about in the same way.
        let plain = Plain.plan_round(&sample.context(), 0, &[0, 3, 0]).unwrap();
        assert!(plain[0].near.is_some() && plain[0].major == 1);
    }

    #[test]
    fn a_request_shows_two_examples_of_the_class_that_its_texts_come_near() {
        let mut sample = sample();
        let prompt_near = |sample: &Sample, class| {
            let requests = Mixup.plan_round(&sample.context(), 0, &[0, 6, 0]).unwrap();
            let near = requests.into_iter().find(|request| request.near == Some(class));
            near.unwrap().prompt
        };
        let prompt = prompt_near(&sample, 0);
        assert_eq!(prompt.matches("\n- card ").count(), 2, "{prompt}");
        assert!(prompt.contains(". lost card: described as lost_card\n"), "{prompt}");
        let wanted = "belong to none of these classes, numbered";
        assert!(prompt.contains(wanted) && !prompt.contains("other"), "{prompt}");
        assert!(!prompt_near(&sample, 2).contains("\n- "));

        // What is known of the class itself is shown, too.
        sample.task.classes[1].description = "for no team".to_owned();
        sample.seeds.push(seed("lunch at noon?", 1));
        let prompt = prompt_near(&sample, 2);
        assert!(prompt.contains("Examples of other:\n- lunch at noon?\n"), "{prompt}");
        assert!(prompt.contains("none of these classes (for no team), numbered"), "{prompt}");
    }

    #[test]
    fn requests_for_other_classes_are_as_they_are_without_the_class() {
        let plan = |sample: &Sample, missing: &[usize]| {
            let requests = Mixup.plan_round(&sample.context(), 0, missing).unwrap();
            requests.into_iter().map(|request| request.prompt).collect::<Vec<_>>()
        };
        let mut without = Sample::numbered(5);
        let mut with = Sample::numbered(6);
        with.task.classes[5].none_of_these = true;
        assert_eq!(plan(&without, &[12; 5]), plan(&with, &[12, 12, 12, 12, 12, 0]));
        let nearest = |classes: usize| {
            let others = |own| (0..classes).filter(|class| *class != own).collect();
            (0..classes).map(others).collect()
        };
        (without.nearest, with.nearest) = (nearest(5), nearest(6));
        assert_eq!(plan(&without, &[12; 5]), plan(&with, &[12, 12, 12, 12, 12, 0]));
    }

    #[test]
    fn a_single_named_class_is_asked_for_without_a_partner() {
        let mut two = Sample::numbered(2);
        two.task.classes[1].none_of_these = true;
        let requests = Mixup.plan_round(&two.context(), 0, &[6, 6]).unwrap();
        assert_eq!(requests.len(), 4);
        assert!(requests.iter().all(|request| request.mix.is_none()), "{requests:?}");
        assert!(requests.iter().filter(|it| it.major == 1).all(|it| it.near == Some(0)));
    }
}
