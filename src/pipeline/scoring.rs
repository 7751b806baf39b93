//! The teacher as a classifier: it scores the names of candidate classes or, as in the paper,
//! writes its answer. Relabelling, the seeds' labels and the test set are all classified here.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use super::{
    Context, Event, PipelineError, Watch,
    calls::{self, Answered, ScoreCalls, TextCalls},
    cut_questions, fit,
};
use crate::{
    config::{Calibration, Labels, RelabelSettings},
    counted::{agree, counted},
    dataset::AugmentedText,
    embed::Embedder,
    prompt::Question,
    relabel::{
        Answer, QuestionBuilder, QuestionError, free_text,
        scoring::{self, ClassProbabilities},
    },
    run::RunFolder,
    task::{Class, LabelledText, Task},
    teacher::{
        GenerateRequest, Generated, LabelScoring, Sampling, ScoreRequest, Scored, Teacher, Wanted,
    },
};

/// Most tokens of a written answer: enough for the name of a class.
const ANSWER_TOKENS: usize = 32;

/// The teacher's answers to texts without content, by the list of candidates.
pub(crate) type Priors = BTreeMap<Vec<usize>, Vec<f32>>;

/// What is known of the shares of the classes among texts that are classified together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClassShares<'a> {
    Unknown,
    /// The class that each text was asked for.
    Asked(&'a [usize]),
    /// [`fuse`](super::fuse) scales the scores, those of examples together with those of texts.
    LeftToFusion,
}

impl<'a> ClassShares<'a> {
    /// Those of new texts, each `asked` for as a text of a class. Nobody knows how texts that are
    /// `imported` were chosen.
    pub(crate) fn of_new_texts(
        settings: &RelabelSettings,
        asked: &'a [usize],
        imported: bool,
    ) -> Self {
        match settings.labels {
            Labels::Fused => Self::LeftToFusion,
            Labels::Teacher if imported => Self::Unknown,
            Labels::Teacher => Self::Asked(asked),
        }
    }
}

/// The class that each of `rows` was asked for.
pub(crate) fn asked_classes<'a>(
    task: &Task,
    rows: impl IntoIterator<Item = &'a AugmentedText>,
) -> Vec<usize> {
    let class = |row: &AugmentedText| task.class_index(&row.major).unwrap_or_default();
    rows.into_iter().map(class).collect()
}

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
    /// One answer for each of `texts`. The probabilities are calibrated, unless the teacher is a
    /// recording of texts with their labels.
    ///
    /// # Errors
    /// Whatever stops the teacher, the embedder or the disk.
    pub(crate) fn classify(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        (texts, shares): (&[String], ClassShares<'_>),
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
        if !teacher.scores_any_text() {
            let answers = self.answer(run, teacher, questions, &Priors::new(), watch)?;
            return Ok(Answers { cut, ..answers });
        }
        if settings.relabel.free_text {
            let answers = self.answer_freely(run, teacher, embedder, &questions, watch)?;
            return Ok(Answers { cut, ..answers });
        }
        let (priors, more) = self.priors(run, teacher, &builder, &questions, &mut *watch)?;
        let mut answers = self.answer(run, teacher, questions, &priors, watch)?;
        if settings.relabel.calibration == Calibration::Batch {
            let classes = (task.classes.len(), task.none_of_these());
            calibrate(&mut answers.answers, shares, classes);
        }
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
        mut questions: Vec<Question>,
        priors: &Priors,
        watch: Watch<'_>,
    ) -> Result<Answers, PipelineError> {
        let (keys, scores) = self.score(run, teacher, &mut questions, "", watch)?;
        let normalise = self.context.settings.relabel.normalises_length();
        let answers = answers(&questions, &scores, priors, normalise);
        Ok(Answers { answers, keys, cut: Vec::new() })
    }

    /// The teacher's answers to texts without content, for each list of candidates in `questions`,
    /// and the keys of its calls. Empty unless `relabel.calibration` is `content_free`.
    fn priors(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        builder: &QuestionBuilder<'_>,
        questions: &[Question],
        watch: Watch<'_>,
    ) -> Result<(Priors, Vec<String>), PipelineError> {
        if self.context.settings.relabel.calibration != Calibration::ContentFree {
            return Ok(Default::default());
        }
        let mut empty = content_free(builder, questions)?;
        let (keys, scores) = self.score(run, teacher, &mut empty, ".no-content", watch)?;
        let normalise = self.context.settings.relabel.normalises_length();
        Ok((self::priors(&empty, &scores, normalise), keys))
    }

    /// The scores of each question's candidates, with the keys of the calls. `kind` follows the
    /// stage in the requests' names; prompts and texts are taken out of the questions.
    fn score(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        questions: &mut [Question],
        kind: &str,
        watch: Watch<'_>,
    ) -> Result<(Vec<String>, Vec<Option<Scored>>), PipelineError> {
        let stage = format!("{}{kind}", self.stage);
        let requests = self.score_requests(&stage, questions);
        let answered = calls::ask(&ScoreCalls, self.stage, run, requests, teacher, watch)?;
        Ok(answered.into_iter().map(|Answered { key, reading }| (key, reading)).unzip())
    }

    fn score_requests(&self, stage: &str, questions: &mut [Question]) -> Vec<ScoreRequest> {
        let Context { task, settings, .. } = self.context;
        let names: Vec<String> = task.classes.iter().map(Class::shown).collect();
        score_requests(stage, &names, questions, settings.relabel.scoring)
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
        let requests = self.score_requests(self.stage, &mut questions);
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
/// `names` are those of the task's classes. Prompts and texts are taken out of the questions: those
/// of many texts are too long to be in memory twice.
pub(super) fn score_requests(
    stage: &str,
    names: &[String],
    questions: &mut [Question],
    scoring: LabelScoring,
) -> Vec<ScoreRequest> {
    let request = |(item, question): (usize, &mut Question)| ScoreRequest {
        id: format!("{stage}.{item}"),
        prompt: mem::take(&mut question.prompt),
        candidates: question.candidates.iter().map(|class| names[*class].clone()).collect(),
        scoring,
        text: mem::take(&mut question.text),
    };
    questions.iter_mut().enumerate().map(request).collect()
}

/// The answers to `questions` that follow from their `scores`; `priors` as in [`Scoring::answer`].
pub(super) fn answers(
    questions: &[Question],
    scores: &[Option<Scored>],
    priors: &Priors,
    length_normalise: bool,
) -> Vec<Option<Answer>> {
    let answer = |(question, scored): (&Question, &Option<Scored>)| {
        let prior = priors.get(&question.candidates).map(Vec::as_slice);
        let probabilities = scoring::label_probabilities(scored.as_ref()?, length_normalise, prior);
        Answer::of(question.candidates.iter().copied().zip(probabilities).collect())
    };
    questions.iter().zip(scores).map(answer).collect()
}

/// Removes from `answers` what they have in common whatever the text (batch calibration). Where
/// nobody chose the texts, classes are taken to be about equally frequent, but not the one that is
/// `none` of the others: of it there may be no text at all, so its share is left to the teacher.
pub(super) fn calibrate(
    answers: &mut [Option<Answer>],
    shares: ClassShares<'_>,
    (classes, none): (usize, Option<usize>),
) {
    let probabilities = |answer: &Option<Answer>| {
        answer.as_ref().map_or_else(ClassProbabilities::new, |it| it.probabilities.clone())
    };
    let texts: Vec<ClassProbabilities> = answers.iter().map(probabilities).collect();
    let correction = match shares {
        ClassShares::Unknown => match none {
            Some(none) => scoring::batch_correction(&without(&texts, none), classes),
            None => scoring::batch_correction(&texts, classes),
        },
        ClassShares::Asked(asked) => scoring::correction_to_asked(&texts, asked, classes),
        ClassShares::LeftToFusion => return,
    };
    for (answer, mut text) in answers.iter_mut().zip(texts) {
        scoring::correct(&mut text, &correction);
        *answer = Answer::of(text);
    }
}

/// The probabilities of `texts` if they were not of the class `none`.
fn without(texts: &[ClassProbabilities], none: usize) -> Vec<ClassProbabilities> {
    let others = |text: &ClassProbabilities| -> ClassProbabilities {
        let others = text.iter().copied().filter(|(class, _)| *class != none);
        let whole: f32 = others.clone().map(|(_, p)| p).sum();
        others.map(|(class, p)| (class, p / whole.max(f32::MIN_POSITIVE))).collect()
    };
    texts.iter().map(others).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        config::Settings,
        embed::fake_embedder::FakeEmbedder,
        pipeline::scripted_teacher::{ScriptedTeacher, pipeline},
    };

    /// The labels of eight texts by a teacher that prefers the class a, and how often it was asked.
    fn labels(
        folder: &std::path::Path,
        calibration: Calibration,
        shares: ClassShares<'_>,
    ) -> (Vec<usize>, Vec<f32>, usize) {
        let sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        let mut settings = Settings::default();
        settings.relabel.calibration = calibration;
        let mut run = pipeline(folder, &sample, &settings, |_| {}).run;
        let Sample { task, seeds, prompts, .. } = &sample;
        let context = Context { task, seeds, settings: &settings, prompts, seed: 0 };
        let mut teacher = ScriptedTeacher::new(|_| panic!("nothing is to be written"));
        teacher.scorer = Box::new(|request| match request.text.as_str() {
            text if text.starts_with('a') => vec![0.9, 0.1],
            text if text.starts_with('b') => vec![0.6, 0.4],
            _ => vec![0.8, 0.2],
        });
        let texts = ["a 1", "b 1", "a 2", "b 2", "b 3", "a 3", "b 4", "a 4"].map(str::to_owned);
        let scoring = Scoring { stage: "relabel", context };
        let embedder = FakeEmbedder(Vec::new());
        let answers = scoring
            .classify(&mut run, &mut teacher, &embedder, (&texts, shares), &mut |_| {})
            .unwrap();
        let answers: Vec<Answer> = answers.answers.into_iter().flatten().collect();
        let confidence = answers.iter().filter_map(Answer::confidence).collect();
        (answers.iter().map(|answer| answer.class).collect(), confidence, teacher.scores)
    }

    #[test]
    fn the_share_of_none_of_these_is_left_to_the_teacher() {
        let answer = |text: usize| {
            let p = if text.is_multiple_of(2) { [0.8, 0.1, 0.1] } else { [0.5, 0.4, 0.1] };
            Answer::of(p.into_iter().enumerate().collect())
        };
        let shares = |none: Option<usize>| {
            let mut answers: Vec<Option<Answer>> = (0..200).map(answer).collect();
            calibrate(&mut answers, ClassShares::Unknown, (3, none));
            let mut sums = [0.0; 3];
            for (class, p) in answers.iter().flatten().flat_map(|answer| &answer.probabilities) {
                sums[*class] += p / 200.0;
            }
            sums
        };
        let even = shares(None);
        assert!(even.iter().all(|share| (share - 1.0 / 3.0).abs() < 0.05), "{even:?}");
        let left = shares(Some(2));
        assert!(left[2] < 0.12 && (left[0] - left[1]).abs() < 0.1, "{left:?}");
    }

    #[test]
    fn another_calibration_changes_the_labels_and_asks_the_teacher_nothing_again() {
        use ClassShares::{Asked, LeftToFusion, Unknown};
        let folder = tempfile::tempdir().unwrap();
        let labels = |calibration, shares| labels(folder.path(), calibration, shares);
        let right = [0, 1, 0, 1, 1, 0, 1, 0];
        let (found, confidence, asked) = labels(Calibration::Batch, Unknown);
        assert_eq!((found.as_slice(), asked), (&right[..], 8));
        assert!(confidence[0] < 0.9 && confidence[1] > 0.5, "{confidence:?}");
        assert_eq!(labels(Calibration::Batch, Asked(&right)).0, right);
        // Six of eight were asked for as class a.
        assert_eq!(labels(Calibration::Batch, Asked(&[0, 0, 0, 0, 0, 0, 1, 1])).0, [0; 8]);
        for (calibration, shares, class, p, more) in [
            (Calibration::None, Unknown, 0, [0.9, 0.6], 0),
            (Calibration::None, Asked(&right), 0, [0.9, 0.6], 0),
            (Calibration::Batch, LeftToFusion, 0, [0.9, 0.6], 0),
            // Divided by 0.8 and 0.2: 1.125 to 0.5, and 0.75 to 2.
            (Calibration::ContentFree, Unknown, 1, [1.125 / 1.625, 2.0 / 2.75], 3),
        ] {
            let (found, confidence, asked) = labels(calibration, shares);
            assert_eq!((found[0], found[1], asked), (0, class, more), "{calibration:?}");
            let near = confidence.iter().zip(p).all(|(found, p)| (found - p).abs() < 1e-6);
            assert!(near, "{calibration:?}: {confidence:?}");
        }
    }
}
