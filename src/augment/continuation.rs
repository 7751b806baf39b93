//! Few-shot continuation of one class (Sahu et al., "Data Augmentation for Intent Classification with
//! Off-the-shelf Large Language Models", NLP4ConvAI 2022): the teacher sees the seeds of one class and
//! goes on. No descriptions, no other class, no mixing.
//!
//! A class without seeds has nothing to continue: it is asked for nothing.

use rand::Rng as _;

use super::{Method, PromptContext, PromptRequest, class_by_class, examples};
use crate::prompt::{PromptError, shown_classes};

/// Asks for more texts like the seeds of one class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Continuation;

impl Method for Continuation {
    fn plan_round(
        &self,
        context: &PromptContext<'_>,
        round: usize,
        missing: &[usize],
    ) -> Result<Vec<PromptRequest>, PromptError> {
        let PromptContext { task, seeds, prompts, settings, .. } = *context;
        let has_seeds = |class: usize| seeds.iter().any(|seed| seed.label == class);
        let missing: Vec<usize> = missing
            .iter()
            .enumerate()
            .map(|(class, wanted)| if has_seeds(class) { *wanted } else { 0 })
            .collect();
        class_by_class(context, "continuation", round, &missing, |class, id, rng| {
            let shown = shown_classes(task, &[class], |class| examples(context, class, rng));
            let count = settings.texts_per_request;
            Ok(PromptRequest {
                id,
                prompt: prompts.continuation(task, &shown[0], count)?,
                shown: vec![class],
                major: class,
                mix: None,
                count,
                seed: rng.random(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        prompt::reply::ReplyFault,
    };

    #[test]
    fn the_prompt_holds_the_seeds_of_one_class_and_nothing_of_others() {
        let sample = Sample::new(
            &["lost", "PIN", "fee"],
            vec![seed("my card\nis gone", 0), seed("new PIN", 1), seed("where is my card", 0)],
        );
        let asks = Continuation.plan_round(&sample.context(), 0, &[4, 1, 7]).unwrap();
        // 3 texts a request: two for the first class, one for the second, none without seeds.
        let ids: Vec<&str> = asks.iter().map(|ask| ask.id.as_str()).collect();
        assert_eq!(ids, ["0.0.0", "0.1.0", "0.0.1"]);
        assert_eq!(
            asks[1].prompt,
            "These tickets belong to the class PIN:\n\n- new PIN\n\n\
             Write 3 more tickets of this class, numbered, one per line."
        );
        let ask = &asks[0];
        assert!(ask.prompt.contains("- my card is gone\n") && ask.prompt.contains("- where is my"));
        assert!(!ask.prompt.contains("PIN") && !ask.prompt.contains("described"), "{ask:?}");
        assert_eq!((ask.shown.as_slice(), ask.major, ask.mix), ([0].as_slice(), 0, None));
        assert_ne!(asks[0].seed, asks[2].seed);
        assert_eq!(asks, Continuation.plan_round(&sample.context(), 0, &[4, 1, 7]).unwrap());
    }

    #[test]
    fn without_seeds_nothing_is_asked() {
        let sample = Sample::new(&["a", "b"], Vec::new());
        assert!(Continuation.plan_round(&sample.context(), 0, &[5, 5]).unwrap().is_empty());
    }

    #[test]
    fn replies_belong_to_the_class_that_was_asked_for() {
        let sample = Sample::new(&["lost", "PIN"], vec![seed("x", 1)]);
        let context = sample.context();
        let ask = Continuation.plan_round(&context, 0, &[0, 1]).unwrap().remove(0);
        let read = |reply| Continuation.read(&context, &ask, reply, true);
        let texts = read("1. a\n2. b\n3. c").unwrap();
        assert!(texts.len() == 3 && texts.iter().all(|text| text.class == 1));
        assert_eq!(read("1. a\n2. b").unwrap_err(), ReplyFault::TooFew);
    }
}
