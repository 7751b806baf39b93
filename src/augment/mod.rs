//! Generation of new text, one method per file: [`mixup`] is PromptMix itself, the others are the
//! baselines that it is compared with.
//!
//! A method that asks a teacher implements [`Method`]: it plans the requests of a round and
//! extracts the texts from the replies. The rest is shared: `pipeline::generate` makes the rounds,
//! `pipeline::texts` counts, `pipeline::calls` sends and records. Zero-shot generation and the
//! method without descriptions are [`mixup`] on a task that has no examples or no descriptions.
//! [`eda`] needs no teacher.

pub(crate) mod continuation;
pub(crate) mod eda;
pub(crate) mod gpt3mix;
pub(crate) mod mixup;
mod near_miss;
pub(crate) mod paper;
pub(crate) mod plain;
#[cfg(test)]
pub(crate) mod sample;
mod shown;

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde::{Deserialize, Serialize};

use crate::{
    config::AugmentSettings,
    dataset::AugmentedText,
    prompt::{
        PromptError, Prompts, Question, WantedTexts, one_line,
        reply::{ReplyFault, parse_list_as_written},
    },
    rng::Rng,
    task::{LabelledText, Task},
};

/// What requests are made from besides the task; found once, before the first of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Material {
    /// For each class, the other classes from nearest to farthest; empty if all are equally likely
    /// partners.
    pub nearest: Vec<Vec<usize>>,
    /// Unlabelled texts, each on one line, that show how texts are written; empty unless
    /// `augment.style_examples`.
    pub style: Vec<String>,
}

/// Everything that prompts are made from.
#[derive(Clone, Copy)]
pub(crate) struct PromptContext<'a> {
    pub task: &'a Task,
    /// The few-shot subset.
    pub seeds: &'a [LabelledText],
    pub prompts: &'a Prompts,
    pub settings: &'a AugmentSettings,
    /// As in [`Material`].
    pub nearest: &'a [Vec<usize>],
    /// As in [`Material`].
    pub style: &'a [String],
    /// The random seed of the prompts.
    pub seed: u64,
}

/// A text from a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedText {
    pub text: String,
    /// The class that was requested, or that the teacher chose.
    pub class: usize,
}

/// A method of asking a teacher for new texts.
pub(crate) trait Method: Sync {
    /// The requests of one round. `missing[class]` is the number of texts that a class still needs.
    ///
    /// All random choices of a request are keyed by (seed, round, class, number), so planning a
    /// round again after a restart gives the same requests.
    ///
    /// # Errors
    /// A template does not render.
    fn plan_round(
        &self,
        context: &PromptContext<'_>,
        round: usize,
        missing: &[usize],
    ) -> Result<Vec<PromptRequest>, PromptError>;

    /// The texts in a reply; as they are written; `complete` as in
    /// [`parse_list_as_written`].
    ///
    /// # Errors
    /// The first fault of a reply that does not have the requested form.
    fn parse(
        &self,
        context: &PromptContext<'_>,
        request: &PromptRequest,
        reply: &str,
        complete: bool,
    ) -> Result<Vec<ParsedText>, ReplyFault> {
        parse_numbered(context, request, request.count, reply, complete)
    }

    /// Whether the teacher chooses the classes. If so, `missing` in
    /// [`plan_round`](Self::plan_round) has one element, the number of texts of all classes.
    fn teacher_chooses_class(&self) -> bool {
        false
    }

    /// Whether `augment.unique_per_text` applies: generation then follows [`paper`].
    fn supports_unique_per_text(&self) -> bool {
        false
    }

    /// The questions that label `rows`, for a method with a labelling of its own; `None` for the
    /// relabelling that all others share.
    ///
    /// # Errors
    /// A template does not render.
    fn label_questions(
        &self,
        _context: &PromptContext<'_>,
        _rows: &[AugmentedText],
    ) -> Option<Result<Vec<Question>, PromptError>> {
        None
    }
}

/// A request to the teacher for new texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PromptRequest {
    /// `round.class.number`: identifies the request in the ledger.
    pub id: String,
    /// Classes in the order in which the prompt shows them.
    pub shown: Vec<usize>,
    /// The class that the texts should mostly belong to; the first of [`Self::shown`] if the
    /// teacher chooses.
    pub major: usize,
    /// The class that is mixed in and α in percent, 50 to 100 in steps of 5; `None` without mixing.
    pub mix: Option<(usize, u8)>,
    /// The class that texts of [`Task::none_of_these`] come near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<usize>,
    /// Number of texts requested.
    pub count: usize,
    pub prompt: String,
    /// Key of the request's random stream.
    pub seed: u64,
}

impl PromptRequest {
    /// The class that a text may be of instead: the one that is mixed in, or that it comes near.
    pub(crate) fn partner(&self) -> Option<usize> {
        self.mix.map(|(minor, _)| minor).or(self.near)
    }
}

/// The `count` texts of a numbered list, all of the requested class.
fn parse_numbered(
    context: &PromptContext<'_>,
    request: &PromptRequest,
    count: usize,
    reply: &str,
    complete: bool,
) -> Result<Vec<ParsedText>, ReplyFault> {
    let texts = parse_list_as_written(reply, count, context.settings.longest(), complete)?;
    Ok(texts.into_iter().map(|text| ParsedText { text, class: request.major }).collect())
}

/// The key of a request within its stage's random stream.
fn item(round: usize, class: usize, number: usize) -> u64 {
    ((round as u64) << 48) | ((class as u64) << 24) | number as u64
}

/// The requests for each class's `missing` texts, `augment.texts_per_request` in each, made by
/// `request` from ((class, number within the class), id, random stream). Classes take turns, so
/// that the first rows of a run contain all of them.
fn requests_by_class(
    context: &PromptContext<'_>,
    stage: &str,
    round: usize,
    missing: &[usize],
    mut request: impl FnMut((usize, usize), String, &mut Rng) -> Result<PromptRequest, PromptError>,
) -> Result<Vec<PromptRequest>, PromptError> {
    let mut requests = Vec::new();
    for (class, &wanted) in missing.iter().enumerate() {
        for number in 0..wanted.div_ceil(context.settings.texts_per_request) {
            let mut rng = Rng::for_item(context.seed, stage, item(round, class, number));
            let request = request((class, number), format!("{round}.{class}.{number}"), &mut rng)?;
            requests.push((number, class, request));
        }
    }
    requests.sort_by_key(|(number, class, _)| (*number, *class));
    Ok(requests.into_iter().map(|(.., request)| request).collect())
}

/// What a request asks for, of any class: `augment.texts_per_request` texts, with some of the
/// unlabelled texts to show.
fn wanted(context: &PromptContext<'_>, rng: &mut Rng) -> WantedTexts {
    let AugmentSettings { texts_per_request, style_examples, .. } = *context.settings;
    // Without such texts no number is drawn, as in runs that were made before there were any.
    let style = context.style.choose_multiple(rng, style_examples.min(context.style.len()));
    WantedTexts { count: texts_per_request, style: style.cloned().collect() }
}

/// The seeds of `class`, each as one line, in random order.
fn examples(context: &PromptContext<'_>, class: usize, rng: &mut Rng) -> Vec<String> {
    let seeds = context.seeds.iter().filter(|seed| seed.label == class);
    let mut examples: Vec<String> = seeds.map(|seed| one_line(&seed.text)).collect();
    examples.shuffle(rng);
    examples
}
