//! The teacher as a classifier: it scores the names of candidate classes or, as in the paper,
//! writes its answer. Relabelling, the seeds' labels and the test set are all classified here.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Context, Event, PipelineError, Watch,
    calls::{self, Answered, ScoreCalls, TextCalls},
    cut_questions, fit,
};
use crate::{
    counted::{agree, counted},
    embed::Embedder,
    prompt::Question,
    relabel::{Answer, QuestionBuilder, QuestionError, free_text, scoring},
    run::RunFolder,
    task::{Class, LabelledText},
    teacher::{GenerateRequest, Generated, Sampling, ScoreRequest, Scored, Teacher, Wanted},
};

/// Most tokens of a written answer: enough for the name of a class.
const ANSWER_TOKENS: usize = 32;

/// The teacher's answers to texts without content, by the list of candidates.
pub(crate) type Priors = BTreeMap<Vec<usize>, Vec<f32>>;

/// Answers to a list of questions.
pub(crate) struct Answers {
    /// In the order of the questions; `None` for a request that was given up.
    pub answers: Vec<Option<Answer>>,
    /// Keys of the calls in the ledger.
    pub keys: Vec<String>,
    /// The places of the texts whose end the teacher did not see.
    pub cut: Vec<usize>,
}

/// The teacher as a classifier.
pub(crate) struct Scoring<'a> {
    /// The stage under which the ledger lists the calls.
    pub stage: &'static str,
    pub context: Context<'a>,
}

impl Scoring<'_> {
    /// One answer for each of `texts`.
    ///
    /// # Errors
    /// Whatever stops the teacher, the embedder or the disk.
    pub(crate) fn classify(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        texts: &[String],
        watch: Watch<'_>,
    ) -> Result<Answers, PipelineError> {
        let Context { task, settings, prompts, .. } = self.context;
        let seeds = self.shown(teacher, &mut *watch)?;
        let builder = QuestionBuilder::new(task, prompts, &seeds, &settings.relabel);
        let mut questions = builder.build(texts, embedder)?;
        let cut = cut_questions(&builder, &mut questions, teacher, self.answer_tokens())?;
        if let Some(message) = self.cut_warning(&cut) {
            watch(Event::Warning { message, hint: Some(CUT_HINT.to_owned()) });
        }
        if settings.relabel.free_text && teacher.scores_any_text() {
            let answers = self.answer_freely(run, teacher, embedder, &questions, watch)?;
            return Ok(Answers { cut, ..answers });
        }
        let (priors, more) = self.priors(run, teacher, &builder, &questions, &mut *watch)?;
        let mut answers = self.answer(run, teacher, &questions, &priors, watch)?;
        answers.keys.extend(more);
        Ok(Answers { cut, ..answers })
    }

    /// The few-shot subset as questions show it; see [`fit::for_questions`].
    ///
    /// # Errors
    /// A question that does not fit even without examples.
    pub(crate) fn shown(
        &self,
        teacher: &mut dyn Teacher,
        watch: Watch<'_>,
    ) -> Result<Vec<LabelledText>, PipelineError> {
        fit::for_questions(&self.context, teacher, self.answer_tokens(), watch)
    }

    /// Tokens that an answer takes at most: a name has no more than bytes.
    pub(super) fn answer_tokens(&self) -> usize {
        let names = self.context.task.classes.iter().map(|class| class.shown().len());
        names.max().unwrap_or(0).max(ANSWER_TOKENS)
    }

    /// A warning about the texts at the places `cut`; those of the test set are named.
    pub(super) fn cut_warning(&self, cut: &[usize]) -> Option<String> {
        let first = (self.stage == "test").then(|| cut.first()).flatten();
        let first =
            first.map(|row| format!("; the first is {}", self.context.task.test_place(*row)));
        Some(cut_texts(cut.len())? + &first.unwrap_or_default())
    }

    /// One answer for each of `questions`, from label scores. `priors` are as
    /// [`scoring::label_probabilities`] takes them, by the list of candidates.
    ///
    /// # Errors
    /// Whatever stops the teacher or the disk.
    pub(crate) fn answer(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        questions: &[Question],
        priors: &Priors,
        watch: Watch<'_>,
    ) -> Result<Answers, PipelineError> {
        let (keys, scores) = self.score(run, teacher, questions, "", watch)?;
        let normalise = self.context.settings.relabel.length_normalisation;
        let answer = |(question, scored): (&Question, Option<Scored>)| {
            let prior = priors.get(&question.candidates).map(Vec::as_slice);
            let probabilities = scoring::label_probabilities(&scored?, normalise, prior);
            let class = question.winner(&probabilities);
            let candidates = question.candidates.iter().copied();
            Some(Answer { class, probabilities: candidates.zip(probabilities).collect() })
        };
        let answers = questions.iter().zip(scores).map(answer).collect();
        Ok(Answers { answers, keys, cut: Vec::new() })
    }

    /// The teacher's answers to texts without content, for each list of candidates in `questions`,
    /// and the keys of its calls. Empty unless `relabel.contextual_calibration` is set.
    fn priors(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        builder: &QuestionBuilder<'_>,
        questions: &[Question],
        watch: Watch<'_>,
    ) -> Result<(Priors, Vec<String>), PipelineError> {
        if !self.context.settings.relabel.contextual_calibration {
            return Ok(Default::default());
        }
        let empty = content_free(builder, questions)?;
        let (keys, scores) = self.score(run, teacher, &empty, ".no-content", watch)?;
        let normalise = self.context.settings.relabel.length_normalisation;
        Ok((self::priors(&empty, &scores, normalise), keys))
    }

    /// The scores of each question's candidates, with the keys of the calls. `kind` follows the
    /// stage in the requests' names.
    fn score(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        questions: &[Question],
        kind: &str,
        watch: Watch<'_>,
    ) -> Result<(Vec<String>, Vec<Option<Scored>>), PipelineError> {
        let stage = format!("{}{kind}", self.stage);
        let requests = score_requests(&stage, &self.class_names(), questions);
        let answered = calls::ask(&ScoreCalls, self.stage, run, requests, teacher, watch)?;
        Ok(answered.into_iter().map(|Answered { key, reading }| (key, reading)).unzip())
    }

    fn class_names(&self) -> Vec<String> {
        self.context.task.classes.iter().map(Class::shown).collect()
    }

    fn free_request(&self, item: usize, question: &Question) -> GenerateRequest {
        GenerateRequest {
            id: format!("{}.{item}", self.stage),
            prompt: question.prompt.clone(),
            cue: String::new(),
            lines: 1,
            longest: self.context.settings.augment.longest(),
            constrained: false,
            // Nothing is drawn at temperature 0.
            seed: 0,
            max_tokens: ANSWER_TOKENS,
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            wanted: Wanted::default(),
        }
    }

    /// The keys in the ledger of the questions about `texts`, for a teacher that scores any text;
    /// those that are too long for `teacher` are cut as [`Self::classify`] cuts them. The embedder
    /// is needed where a question names only the nearest classes.
    ///
    /// # Errors
    /// The embedder is missing or fails, or a question does not fit without its text.
    pub(super) fn keys(
        &self,
        texts: &[String],
        teacher: &mut dyn Teacher,
        embedder: Option<&dyn Embedder>,
    ) -> Result<Vec<String>, PipelineError> {
        let Context { task, seeds, settings, prompts, .. } = self.context;
        let builder = QuestionBuilder::new(task, prompts, seeds, &settings.relabel);
        let mut questions = match embedder {
            Some(embedder) => builder.build(texts, embedder)?,
            None if builder.needs_embedder() => return Err(PipelineError::NoEmbedder),
            None => builder.build_with_all_classes(texts)?,
        };
        cut_questions(&builder, &mut questions, teacher, self.answer_tokens())?;
        let teacher = teacher.identity();
        if settings.relabel.free_text {
            let key = |question| self.free_request(0, question).key(teacher);
            return Ok(questions.iter().map(key).collect());
        }
        let requests = score_requests(self.stage, &self.class_names(), &questions);
        Ok(requests.iter().map(|request| request.key(teacher)).collect())
    }

    /// One answer for each of `questions`, written at temperature 0 (`relabel.free_text`): a class
    /// of the task without a probability.
    fn answer_freely(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        questions: &[Question],
        watch: Watch<'_>,
    ) -> Result<Answers, PipelineError> {
        let request = |(item, question)| self.free_request(item, question);
        let requests = questions.iter().enumerate().map(request).collect();
        // Any text is an answer, unless the reply was cut off before its first word.
        let parse = |_, reply: &Generated| {
            Ok((reply.complete || !reply.text.is_empty()).then(|| reply.text.clone()))
        };
        let calls = TextCalls { parse: &parse };
        let answered = calls::ask(&calls, self.stage, run, requests, teacher, watch)?;
        let keys = answered.iter().map(|call| call.key.clone()).collect();
        let texts: Vec<Option<String>> =
            answered.into_iter().map(|call| call.reading.and_then(Result::ok).flatten()).collect();
        let written: Vec<String> =
            texts.iter().map(|text| text.clone().unwrap_or_default()).collect();
        let classes = free_text::match_classes(self.context.task, &written, embedder)?;
        let answer = |(class, text): (usize, &Option<String>)| {
            text.as_ref().map(|_| Answer { class, probabilities: Vec::new() })
        };
        let answers = classes.into_iter().zip(&texts).map(answer).collect();
        Ok(Answers { answers, keys, cut: Vec::new() })
    }
}

/// What helps if texts are too long for the teacher.
const CUT_HINT: &str = "use a teacher with a longer context to avoid this";

/// A sentence if the teacher did not see the end of `count` texts that it labelled.
pub(super) fn cut_texts(count: usize) -> Option<String> {
    let are = agree(count, "is", "are");
    let texts = counted(count, "text");
    (count > 0).then(|| {
        format!("{texts} to label {are} too long for the teacher and {are} cut at the end")
    })
}

/// The requests for the scores of each question's candidates, called `stage` and their number.
/// `names` are those of the task's classes.
pub(super) fn score_requests(
    stage: &str,
    names: &[String],
    questions: &[Question],
) -> Vec<ScoreRequest> {
    let request = |(item, question): (usize, &Question)| ScoreRequest {
        id: format!("{stage}.{item}"),
        prompt: question.prompt.clone(),
        candidates: question.candidates.iter().map(|class| names[*class].clone()).collect(),
        text: question.text.clone(),
    };
    questions.iter().enumerate().map(request).collect()
}

/// The questions about texts without content, for each list of candidates in `questions`.
///
/// # Errors
/// The template does not render.
pub(super) fn content_free(
    builder: &QuestionBuilder<'_>,
    questions: &[Question],
) -> Result<Vec<Question>, QuestionError> {
    let lists: BTreeSet<&Vec<usize>> =
        questions.iter().map(|question| &question.candidates).collect();
    let mut empty = Vec::new();
    for candidates in lists {
        empty.extend(builder.content_free(candidates)?);
    }
    Ok(empty)
}

/// The priors of each list of candidates, from the `scores` of the questions about texts without
/// content.
pub(super) fn priors(
    empty: &[Question],
    scores: &[Option<Scored>],
    length_normalise: bool,
) -> Priors {
    let mut answers: BTreeMap<Vec<usize>, Vec<Vec<f32>>> = BTreeMap::new();
    for (question, scored) in empty.iter().zip(scores) {
        let answer = scored
            .as_ref()
            .map(|scored| scoring::label_probabilities(scored, length_normalise, None));
        answers.entry(question.candidates.clone()).or_default().extend(answer);
    }
    let prior = |(candidates, answers): (_, Vec<_>)| {
        Some((candidates, scoring::content_free_prior(&answers)?))
    };
    answers.into_iter().filter_map(prior).collect()
}
