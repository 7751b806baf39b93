//! GPT3Mix (Yoo et al., "GPT3Mix: Leveraging Large-scale Language Models for Text Augmentation",
//! Findings of EMNLP 2021, arXiv 2104.08826): the teacher sees labelled examples of several classes
//! and goes on with texts and labels of its own. What a text is labelled with in the end is soft: the
//! teacher's probabilities of the class names after that text, over the classes that were shown
//! (section 3.2 there).
//!
//! The probabilities are asked for in a second step, with the examples of the request that made the
//! text ([`Method::questions`]): the label in the reply says which class the teacher drew, not how
//! sure it was.

use rand::{Rng as _, seq::SliceRandom};

use super::{Method, ParsedText, PromptContext, PromptRequest, class_by_class};
use crate::{
    dataset::AugmentedText,
    prompt::{
        LabelledExample, PromptError, Question, one_line,
        reply::{ReplyFault, parse_labelled_list},
    },
    rng::Rng,
};

/// Asks for texts with their classes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gpt3Mix;

impl Method for Gpt3Mix {
    /// `missing` holds one number: the teacher chooses the classes. Each request shows
    /// `augment.classes_shown` of those that have seeds, all with the same probability; without any
    /// seeds nothing is asked.
    fn plan_round(
        &self,
        context: &PromptContext<'_>,
        round: usize,
        missing: &[usize],
    ) -> Result<Vec<PromptRequest>, PromptError> {
        let PromptContext { task, seeds, prompts, settings, .. } = *context;
        let classes: Vec<usize> = (0..task.classes.len())
            .filter(|class| seeds.iter().any(|seed| seed.label == *class))
            .collect();
        if classes.is_empty() {
            return Ok(Vec::new());
        }
        class_by_class(context, "gpt3mix", round, missing, |_, id, rng| {
            let mut shown = classes.clone();
            shown.shuffle(rng);
            shown.truncate(settings.classes_shown);
            let seed = rng.random();
            let examples = labelled(context, &shown, seed);
            let count = settings.texts_per_request;
            Ok(PromptRequest {
                id,
                prompt: prompts.gpt3mix(task, &names(context, &shown), &examples, count)?,
                major: shown[0],
                shown,
                mix: None,
                count,
                seed,
            })
        })
    }

    fn read(
        &self,
        context: &PromptContext<'_>,
        ask: &PromptRequest,
        reply: &str,
        complete: bool,
    ) -> Result<Vec<ParsedText>, ReplyFault> {
        let names = names(context, &ask.shown);
        let longest = context.settings.longest;
        let texts = parse_labelled_list(reply, &names, ask.count, longest, complete)?;
        Ok(texts
            .into_iter()
            .map(|(text, place)| ParsedText { text, class: ask.shown[place] })
            .collect())
    }

    fn any_class(&self) -> bool {
        true
    }

    /// One question for each row; its candidates are the classes that the row's request showed, in
    /// that order. The probabilities of the answer are the row's soft label.
    fn questions(
        &self,
        context: &PromptContext<'_>,
        rows: &[AugmentedText],
    ) -> Option<Result<Vec<Question>, PromptError>> {
        Some(rows.iter().map(|row| question(context, row)).collect())
    }
}

fn question(context: &PromptContext<'_>, row: &AugmentedText) -> Result<Question, PromptError> {
    let PromptContext { task, prompts, .. } = *context;
    let place = |name: &String| task.classes.iter().position(|class| class.name == *name);
    let mut candidates: Vec<usize> = row.shown.iter().filter_map(place).collect();
    if candidates.is_empty() {
        // A row that no request of ours made.
        candidates = (0..task.classes.len()).collect();
    }
    let examples = labelled(context, &candidates, row.seed.unwrap_or_default());
    let names = names(context, &candidates);
    let prompt = prompts.gpt3mix_label(task, &names, &examples, &one_line(&row.text))?;
    Ok(Question { candidates, text: row.text.clone(), prompt })
}

/// The seeds of the classes `shown` with their names, in the random order that belongs to the
/// request with this `seed`.
fn labelled(context: &PromptContext<'_>, shown: &[usize], seed: u64) -> Vec<LabelledExample> {
    let of_class = |class: &usize| {
        let class = *class;
        let seeds = context.seeds.iter().filter(move |seed| seed.label == class);
        seeds.map(move |seed| LabelledExample {
            text: one_line(&seed.text),
            name: context.task.classes[class].name.clone(),
        })
    };
    let mut examples: Vec<LabelledExample> = shown.iter().flat_map(of_class).collect();
    examples.shuffle(&mut Rng::for_item(seed, "gpt3mix.examples", 0));
    examples
}

fn names<'a>(context: &PromptContext<'a>, shown: &[usize]) -> Vec<&'a str> {
    shown.iter().map(|class| context.task.classes[*class].name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        relabel::judge,
        teacher::Scored,
    };

    fn sample() -> Sample {
        let seeds = vec![
            seed("my card\nis gone", 0),
            seed("card stolen", 0),
            seed("new PIN", 1),
            seed("which fee", 2),
        ];
        Sample::new(&["lost", "PIN", "fee", "seedless"], seeds)
    }

    fn row(ask: &PromptRequest, text: &str, sample: &Sample) -> AugmentedText {
        AugmentedText {
            text: text.to_owned(),
            shown: ask.shown.iter().map(|class| sample.task.classes[*class].name.clone()).collect(),
            seed: Some(ask.seed),
            ..AugmentedText::default()
        }
    }

    #[test]
    fn requests_show_labelled_seeds_of_some_classes() {
        let mut sample = sample();
        sample.settings.classes_shown = 2;
        let asks = Gpt3Mix.plan_round(&sample.context(), 1, &[300]).unwrap();
        assert_eq!((asks.len(), asks[7].id.as_str()), (100, "1.0.7"));
        let mut times = [0; 4];
        for ask in &asks {
            assert_eq!((ask.shown.len(), ask.major), (2, ask.shown[0]));
            for (class, times) in times.iter_mut().enumerate() {
                let shown = ask.shown.contains(&class);
                *times += usize::from(shown);
                let name = &sample.task.classes[class].name;
                assert_eq!(ask.prompt.contains(&format!("(class: {name})")), shown);
            }
        }
        assert!(times[3] == 0 && times[..3].iter().all(|count| *count > 45), "{times:?}");
        let with_first = asks.iter().find(|ask| ask.shown == [0, 1]).unwrap();
        let head =
            "Each of these tickets is followed by its class, which is one of lost, PIN:\n\n- ";
        let tail = ")\n\nWrite 3 more tickets, each followed by its class in the same way, numbered, \
                    one per line.";
        assert!(with_first.prompt.starts_with(head), "{}", with_first.prompt);
        assert!(with_first.prompt.ends_with(tail), "{}", with_first.prompt);
        let lines: Vec<&str> =
            with_first.prompt.lines().filter(|line| line.starts_with("- ")).collect();
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        let wanted = [
            "- card stolen (class: lost)",
            "- my card is gone (class: lost)",
            "- new PIN (class: PIN)",
        ];
        assert_eq!(sorted, wanted);
        // The examples of the classes do not stand apart in each request.
        let mixed = asks.iter().filter(|ask| ask.shown.contains(&0)).any(|ask| {
            let mut lines = ask.prompt.lines().filter(|line| line.starts_with("- "));
            lines.nth(1).is_some_and(|line| !line.contains("lost"))
        });
        assert!(mixed);
    }

    #[test]
    fn without_seeds_nothing_is_asked() {
        let sample = Sample::new(&["a", "b"], Vec::new());
        assert!(Gpt3Mix.plan_round(&sample.context(), 0, &[5]).unwrap().is_empty());
    }

    #[test]
    fn the_teacher_says_the_class_out_of_those_shown() {
        let sample = sample();
        let context = sample.context();
        let mut ask = Gpt3Mix.plan_round(&context, 0, &[1]).unwrap().remove(0);
        ask.shown = vec![2, 0];
        let read = |reply| Gpt3Mix.read(&context, &ask, reply, true);
        let texts = read("1. a (class: lost)\n2. b (class: fee)\n3. c (class: lost)").unwrap();
        let classes: Vec<usize> = texts.iter().map(|text| text.class).collect();
        assert_eq!((texts[1].text.as_str(), classes), ("b", vec![0, 2, 0]));
        let foreign = read("1. a (class: lost)\n2. b (class: PIN)\n3. c (class: lost)");
        assert_eq!(foreign.unwrap_err(), ReplyFault::NoClass);
    }

    #[test]
    fn the_question_shows_the_examples_of_the_request() {
        let sample = sample();
        let context = sample.context();
        let bullets = |prompt: &str| {
            let lines = prompt.lines().filter(|line| line.starts_with("- "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let asks = Gpt3Mix.plan_round(&context, 0, &[30]).unwrap();
        let rows: Vec<AugmentedText> =
            asks.iter().map(|ask| row(ask, "is it\ngone?", &sample)).collect();
        let questions = Gpt3Mix.questions(&context, &rows).unwrap().unwrap();
        for (ask, question) in asks.iter().zip(&questions) {
            assert_eq!(bullets(&ask.prompt), bullets(&question.prompt));
            assert_eq!(ask.shown, question.candidates);
            let tail = "\n\nWhich class follows this ticket? Answer with the name of the class \
                        only.\nis it gone?";
            assert!(question.prompt.ends_with(tail), "{}", question.prompt);
        }
        assert!(asks.iter().any(|ask| bullets(&ask.prompt) != bullets(&asks[0].prompt)));
    }

    #[test]
    fn log_probabilities_become_a_soft_label() {
        let sample = sample();
        let context = sample.context();
        let mut ask = Gpt3Mix.plan_round(&context, 0, &[1]).unwrap().remove(0);
        ask.shown = vec![2, 0];
        let questions = Gpt3Mix.questions(&context, &[row(&ask, "gone", &sample)]);
        let question = questions.unwrap().unwrap().remove(0);
        // The teacher gives `fee` 3 % and `lost` 9 %, the rest to other words: 1 to 3.
        let log_probs = [0.03f32, 0.09].map(f32::ln).to_vec();
        let scored = Scored { log_probs, tokens: vec![1, 1], prompt_tokens: 9 };
        let soft = judge::probabilities(&scored, false, None);
        assert_eq!(question.candidates, [2, 0]);
        assert!((soft[0] - 0.25).abs() < 1e-6 && (soft[1] - 0.75).abs() < 1e-6, "{soft:?}");
        assert_eq!(question.winner(&soft), 0);
    }
}
