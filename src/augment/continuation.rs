//! Few-shot continuation of one class (Sahu et al., "Data Augmentation for Intent Classification
//! with Off-the-shelf Large Language Models", NLP4ConvAI 2022): the teacher sees the seeds of one
//! class and continues the list. No descriptions, no other class, no mixing.
//!
//! A class without seeds gets no request, since there is nothing to continue.

use rand::Rng as _;

use super::{Method, PromptContext, PromptRequest, examples, requests_by_class};
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
        requests_by_class(context, "continuation", round, &missing, |(class, _), id, rng| {
            let shown = shown_classes(task, &[class], |class| examples(context, class, rng));
            let count = settings.texts_per_request;
            Ok(PromptRequest {
                id,
                prompt: prompts.continuation(task, &shown[0], count)?,
                shown: vec![class],
                major: class,
                mix: None,
                near: None,
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
        let requests = Continuation.plan_round(&sample.context(), 0, &[4, 1, 7]).unwrap();
        // With 3 texts per request: two for the first class, one for the second, none without
        // seeds.
        let ids: Vec<&str> = requests.iter().map(|request| request.id.as_str()).collect();
        assert_eq!(ids, ["0.0.0", "0.1.0", "0.0.1"]);
        assert_eq!(
            requests[1].prompt,
            "These tickets belong to the class PIN:\n\n- new PIN\n\n\
             Write 3 more tickets of this class, numbered, one per line."
        );
        let request = &requests[0];
        assert!(
            request.prompt.contains("- my card is gone\n")
                && request.prompt.contains("- where is my")
        );
        assert!(
            !request.prompt.contains("PIN") && !request.prompt.contains("described"),
            "{request:?}"
        );
        assert_eq!(
            (request.shown.as_slice(), request.major, request.mix),
            ([0].as_slice(), 0, None)
        );
        assert_ne!(requests[0].seed, requests[2].seed);
        assert_eq!(requests, Continuation.plan_round(&sample.context(), 0, &[4, 1, 7]).unwrap());
    }

    #[test]
    fn without_seeds_there_are_no_requests() {
        let sample = Sample::new(&["a", "b"], Vec::new());
        assert!(Continuation.plan_round(&sample.context(), 0, &[5, 5]).unwrap().is_empty());
    }

    #[test]
    fn texts_get_the_requested_class() {
        let sample = Sample::new(&["lost", "PIN"], vec![seed("x", 1)]);
        let context = sample.context();
        let request = Continuation.plan_round(&context, 0, &[0, 1]).unwrap().remove(0);
        let parse = |reply| Continuation.parse(&context, &request, reply, true);
        let texts = parse("1. a\n2. b\n3. c").unwrap();
        assert!(texts.len() == 3 && texts.iter().all(|text| text.class == 1));
        assert_eq!(parse("1. a\n2. b").unwrap_err(), ReplyFault::TooFew);
    }
}
