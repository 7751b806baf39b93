//! PromptMix, step 2: relabelling. The same teacher scores the names of candidate classes for each
//! new text: all classes, or the nearest ones if there are many. The most probable one becomes the
//! label (Sahu et al., section 3.2, with exact log-probabilities instead of a parsed answer);
//! [`fusion`] weighs it against other opinions.

mod centroids;
pub(crate) mod free_text;
pub(crate) mod fusion;
pub(crate) mod pooling;
pub(crate) mod scoring;

use std::borrow::Cow;

pub(crate) use centroids::{class_words, nearest_class, nearest_classes};
use scoring::ClassProbabilities;

use crate::{
    config::RelabelSettings,
    embed::{EmbedError, Embedder},
    hint::Hint,
    prompt::{PromptError, PromptForm, Prompts, Question, ShownClass, one_line, shown_classes},
    task::{LabelledText, Task},
};

/// The teacher's label of one text.
#[derive(Clone)]
pub(crate) struct Answer {
    pub class: usize,
    /// Probability of each candidate class; empty if the answer was generated, not scored.
    pub probabilities: ClassProbabilities,
}

impl Answer {
    /// The most probable class; `None` without any.
    pub(crate) fn of(probabilities: ClassProbabilities) -> Option<Self> {
        let class = scoring::best_class(probabilities.iter().copied())?;
        Some(Self { class, probabilities })
    }

    /// The probability of the class, if the candidates were scored.
    pub(crate) fn confidence(&self) -> Option<f32> {
        self.probabilities.iter().map(|(_, p)| *p).reduce(f32::max)
    }
}

/// Builds the question about each text, with the nearest classes as candidates.
pub(crate) struct QuestionBuilder<'a> {
    task: &'a Task,
    prompts: &'a Prompts,
    form: PromptForm,
    seeds: &'a [LabelledText],
    candidates: usize,
}

impl<'a> QuestionBuilder<'a> {
    pub(crate) fn new(
        task: &'a Task,
        prompts: &'a Prompts,
        seeds: &'a [LabelledText],
        settings: &RelabelSettings,
    ) -> Self {
        let (all, named) = (task.classes.len(), task.named_classes().count());
        // The class that is none of the others is asked about besides those that come into
        // question.
        let candidates = match named <= settings.all_up_to {
            true => all,
            false => (settings.candidates + all - named).min(all),
        };
        Self { task, prompts, form: settings.prompts, seeds, candidates }
    }

    /// The number of candidates in a question.
    pub(crate) fn candidates(&self) -> usize {
        self.candidates
    }

    /// Whether there are fewer candidates than classes, which takes an embedder to choose them.
    pub(crate) fn needs_embedder(&self) -> bool {
        self.candidates < self.task.classes.len()
    }

    /// One question for each of `texts`. Candidates are in the order of the task, so that many
    /// prompts share a prefix.
    ///
    /// # Errors
    /// The embedder fails or the template does not render.
    pub(crate) fn build(
        &self,
        texts: &[String],
        embedder: &dyn Embedder,
    ) -> Result<Vec<Question>, QuestionError> {
        if !self.needs_embedder() {
            return self.build_with_all_classes(texts);
        }
        self.questions(texts, self.nearest(texts, embedder)?)
    }

    /// One question for each of `texts` with every class as a candidate, which takes no embedder.
    ///
    /// # Errors
    /// The template does not render.
    pub(crate) fn build_with_all_classes(
        &self,
        texts: &[String],
    ) -> Result<Vec<Question>, QuestionError> {
        let all: Vec<usize> = (0..self.task.classes.len()).collect();
        self.questions(texts, vec![all; texts.len()])
    }

    /// Questions about the texts without content, with these `candidates`.
    ///
    /// # Errors
    /// The template does not render.
    pub(crate) fn content_free(
        &self,
        candidates: &[usize],
    ) -> Result<Vec<Question>, QuestionError> {
        let texts = scoring::CONTENT_FREE.map(str::to_owned);
        self.questions(&texts, vec![candidates.to_vec(); texts.len()])
    }

    /// The same question about `shown`, a part of its text.
    ///
    /// # Errors
    /// The template does not render.
    pub(crate) fn about(
        &self,
        question: &Question,
        shown: &str,
    ) -> Result<Question, QuestionError> {
        let classes = self.shown(&question.candidates);
        let prompt = self.prompts.relabel(self.form, self.task, &classes, &one_line(shown))?;
        Ok(Question { prompt, ..question.clone() })
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
                let shown = self.shown(&candidates);
                let prompt = self.prompts.relabel(self.form, self.task, &shown, &one_line(text))?;
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

    /// For each text the classes with the most similar centroids, and the one that is none of the
    /// others, in the order of the task.
    fn nearest(
        &self,
        texts: &[String],
        embedder: &dyn Embedder,
    ) -> Result<Vec<Vec<usize>>, EmbedError> {
        let centroids = centroids::centroids(self.task, self.seeds, embedder)?;
        let nearest = |embedding: Vec<f32>| {
            let mut candidates = centroids::ranked(&embedding, &centroids);
            if let Some(none) = self.task.none_of_these() {
                // A word such as "other" is near to nothing.
                candidates.retain(|class| *class != none);
                candidates.insert(0, none);
            }
            candidates.truncate(self.candidates);
            candidates.sort_unstable();
            candidates
        };
        Ok(embedder.embed(texts)?.into_iter().map(nearest).collect())
    }
}

/// Why a question could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuestionError {
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

impl Hint for QuestionError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Prompt(error) => error.hint(),
            Self::Embed(error) => error.hint(),
        }
    }
}
