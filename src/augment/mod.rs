//! How new text is made. One way is one file; [`mixup`] is the method itself, the others are its
//! rivals in the paper's table.
//!
//! A way that asks a teacher is a [`Method`]: it plans the requests of a round and reads the texts out
//! of the replies. Who asks, counts, asks again and writes down is one piece of code for all of them
//! (`run::generate_texts`). Zero-shot and the method without descriptions are [`mixup`] on a task that has
//! no examples or no descriptions. [`eda`] asks nobody.

pub(crate) mod continuation;
pub(crate) mod eda;
pub(crate) mod gpt3mix;
pub(crate) mod mixup;
pub(crate) mod paper;
pub(crate) mod plain;
#[cfg(test)]
pub(crate) mod sample;

use serde::{Deserialize, Serialize};

use crate::{
    config::AugmentSettings,
    dataset::AugmentedText,
    prompt::{
        PromptError, Prompts, Question, one_line,
        reply::{ReplyFault, parse_list},
    },
    rng::Rng,
    task::{LabelledText, Task},
};

/// What a method asks about.
#[derive(Clone, Copy)]
pub(crate) struct PromptContext<'a> {
    pub task: &'a Task,
    /// The few-shot subset.
    pub seeds: &'a [LabelledText],
    pub prompts: &'a Prompts,
    pub settings: &'a AugmentSettings,
    /// For each class the others, the most confusable first; empty where partners are drawn evenly.
    pub nearest: &'a [Vec<usize>],
    /// The seed of the prompts' random stream.
    pub seed: u64,
}

/// A text out of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedText {
    pub text: String,
    /// The class that it was asked to belong to, or that the teacher gave it.
    pub class: usize,
}

/// A way of asking a teacher for new texts.
pub(crate) trait Method: Sync {
    /// The requests of one round. `missing[class]` texts are still wanted of each class.
    ///
    /// Everything random about a request derives from (seed, round, number), so that a round can be
    /// planned again after a restart and comes out the same.
    ///
    /// # Errors
    /// A template that does not render.
    fn plan_round(
        &self,
        context: &PromptContext<'_>,
        round: usize,
        missing: &[usize],
    ) -> Result<Vec<PromptRequest>, PromptError>;

    /// The texts of a reply; `complete` as [`parse_list`] has it.
    ///
    /// # Errors
    /// The first fault of a reply that is not of the form asked for.
    fn read(
        &self,
        context: &PromptContext<'_>,
        ask: &PromptRequest,
        reply: &str,
        complete: bool,
    ) -> Result<Vec<ParsedText>, ReplyFault> {
        listed(context, ask, ask.count, reply, complete)
    }

    /// Whether the teacher chooses the classes: then only the number of all texts is wanted, not one
    /// of each class.
    fn any_class(&self) -> bool {
        false
    }

    /// Whether `augment.unique_per_text` applies: the texts are asked for as [`published`] does.
    fn keeps_one(&self) -> bool {
        false
    }

    /// The questions whose answers are the labels of `rows`, for methods that label in a way of their
    /// own; `None` for the relabelling that all others share.
    ///
    /// # Errors
    /// A template that does not render.
    fn questions(
        &self,
        _setting: &PromptContext<'_>,
        _rows: &[AugmentedText],
    ) -> Option<Result<Vec<Question>, PromptError>> {
        None
    }
}

/// One request to the teacher for new texts, in terms of the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PromptRequest {
    /// `round.class.number`: names the request in the ledger.
    pub id: String,
    /// Classes in the order in which the prompt shows them.
    pub shown: Vec<usize>,
    /// The class that the text is to belong to for the most part; the first of [`Self::shown`] where
    /// the teacher chooses.
    pub major: usize,
    /// The class that is mixed in and α in percent, 50 to 100 in steps of 5; absent where nothing is
    /// mixed.
    pub mix: Option<(usize, u8)>,
    /// Texts asked for.
    pub count: usize,
    pub prompt: String,
    /// Key of the request's random stream.
    pub seed: u64,
}

/// The `count` texts of a numbered list, of the class that was asked for.
fn listed(
    context: &PromptContext<'_>,
    ask: &PromptRequest,
    count: usize,
    reply: &str,
    complete: bool,
) -> Result<Vec<ParsedText>, ReplyFault> {
    let texts = parse_list(reply, count, context.settings.longest, complete)?;
    Ok(texts.into_iter().map(|text| ParsedText { text, class: ask.major }).collect())
}

/// The place of a request in its random stream.
pub(crate) fn item(round: usize, class: usize, number: usize) -> u64 {
    ((round as u64) << 48) | ((class as u64) << 24) | number as u64
}

/// The requests for each class's `missing` texts, `texts` in each, made by `ask` from (class, number,
/// random stream). Classes take turns, so that the first rows of a run show all of them.
pub(crate) fn class_by_class(
    context: &PromptContext<'_>,
    stage: &str,
    round: usize,
    missing: &[usize],
    mut ask: impl FnMut(usize, String, &mut Rng) -> Result<PromptRequest, PromptError>,
) -> Result<Vec<PromptRequest>, PromptError> {
    let mut asks = Vec::new();
    for (class, &wanted) in missing.iter().enumerate() {
        for number in 0..wanted.div_ceil(context.settings.texts_per_request) {
            let mut rng = Rng::for_item(context.seed, stage, item(round, class, number));
            asks.push((number, class, ask(class, format!("{round}.{class}.{number}"), &mut rng)?));
        }
    }
    asks.sort_by_key(|(number, class, _)| (*number, *class));
    Ok(asks.into_iter().map(|(.., ask)| ask).collect())
}

/// The seeds of `class`, each as one line, in random order.
pub(crate) fn examples(context: &PromptContext<'_>, class: usize, rng: &mut Rng) -> Vec<String> {
    use rand::seq::SliceRandom;
    let seeds = context.seeds.iter().filter(|seed| seed.label == class);
    let mut examples: Vec<String> = seeds.map(|seed| one_line(&seed.text)).collect();
    examples.shuffle(rng);
    examples
}
