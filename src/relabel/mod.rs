//! PromptMix, step 2: what is each new text really? The same teacher scores the names of the nearest
//! classes, and the most probable one becomes the label (Sahu et al., section 3.2, with exact
//! log-probabilities in place of a parsed answer).

mod centroids;
pub(crate) mod free_text;
pub(crate) mod judge;

pub(crate) use centroids::confusable;

use crate::{
    config::RelabelSettings,
    embed::{EmbedError, Embedder},
    hint::Hint,
    prompt::{PromptError, Prompts, Question, ShownClass, one_line, shown_classes},
    task::{LabelledText, Task},
};

/// What the teacher says of one text.
pub(crate) struct Answer {
    pub class: usize,
    /// Probability of each candidate class; empty where the answer was written, not scored.
    pub probabilities: Vec<(usize, f32)>,
}

impl Answer {
    /// The probability of the class, where the teacher gave one.
    pub(crate) fn confidence(&self) -> Option<f32> {
        self.probabilities.iter().map(|(_, p)| *p).reduce(f32::max)
    }
}

/// Turns texts into questions with their nearest classes as candidates.
pub(crate) struct Questioner<'a> {
    task: &'a Task,
    prompts: &'a Prompts,
    seeds: &'a [LabelledText],
    candidates: usize,
}

impl<'a> Questioner<'a> {
    pub(crate) fn new(
        task: &'a Task,
        prompts: &'a Prompts,
        seeds: &'a [LabelledText],
        settings: &RelabelSettings,
    ) -> Self {
        let all = task.classes.len();
        let candidates = if all <= settings.all_up_to { all } else { settings.candidates.min(all) };
        Self { task, prompts, seeds, candidates }
    }

    /// Whether the nearest classes have to be found (an embedder is needed then).
    pub(crate) fn needs_embedder(&self) -> bool {
        self.candidates < self.task.classes.len()
    }

    /// One question for each of `texts`. Candidates stand in the order of the task, so that many
    /// questions begin alike.
    ///
    /// # Errors
    /// Embedding and rendering pass on theirs.
    pub(crate) fn ask(
        &self,
        texts: &[String],
        embedder: &dyn Embedder,
    ) -> Result<Vec<Question>, QuestionError> {
        if !self.needs_embedder() {
            return self.ask_all(texts);
        }
        self.questions(texts, self.nearest(texts, embedder)?)
    }

    /// The same with every class as a candidate, which takes no embedder.
    pub(crate) fn ask_all(&self, texts: &[String]) -> Result<Vec<Question>, QuestionError> {
        let all: Vec<usize> = (0..self.task.classes.len()).collect();
        self.questions(texts, vec![all; texts.len()])
    }

    /// Questions about texts without content, with these `candidates`.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn content_free(
        &self,
        candidates: &[usize],
    ) -> Result<Vec<Question>, QuestionError> {
        let texts = judge::CONTENT_FREE.map(str::to_owned);
        self.questions(&texts, vec![candidates.to_vec(); texts.len()])
    }

    fn questions(
        &self,
        texts: &[String],
        candidates: Vec<Vec<usize>>,
    ) -> Result<Vec<Question>, QuestionError> {
        texts
            .iter()
            .zip(candidates)
            .map(|(text, candidates)| {
                let prompt =
                    self.prompts.relabel(self.task, &self.shown(&candidates), &one_line(text))?;
                Ok(Question { candidates, text: text.clone(), prompt })
            })
            .collect()
    }

    fn shown(&self, candidates: &[usize]) -> Vec<ShownClass> {
        shown_classes(self.task, candidates, |class| {
            self.seeds
                .iter()
                .filter(|seed| seed.label == class)
                .map(|seed| one_line(&seed.text))
                .collect()
        })
    }

    /// The `candidates` classes whose centroids are most similar to each text, in the order of the
    /// task.
    fn nearest(
        &self,
        texts: &[String],
        embedder: &dyn Embedder,
    ) -> Result<Vec<Vec<usize>>, EmbedError> {
        let centroids = centroids::centroids(self.task, self.seeds, embedder)?;
        let nearest = |embedding: Vec<f32>| {
            let mut candidates = centroids::ranked(&embedding, &centroids);
            candidates.truncate(self.candidates);
            candidates.sort_unstable();
            candidates
        };
        Ok(embedder.embed(texts)?.into_iter().map(nearest).collect())
    }
}

/// Why no question could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuestionError {
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

impl Hint for QuestionError {}
