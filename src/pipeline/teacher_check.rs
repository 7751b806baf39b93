//! Before anything is written: the teacher labels examples that its prompt does not show, so that
//! an unfit one is named before an hour is spent on it.
//!
//! The examples are the task's own: seeds first, then texts of its pool, the classes in turn. A
//! seed that prompts show is hidden for its own question, together with one seed of every other
//! class: no class then stands out by having fewer examples, and the questions of such a *fold*
//! share their beginning, which is read once. What the teacher reaches is compared with guessing
//! and with the nearest centroid of embeddings from the same words.

use std::collections::{BTreeMap, HashSet};

use rand::seq::SliceRandom;

use super::{
    Context, Event, Pipeline, PipelineError, Watch,
    calls::{self, Answered, ScoreCalls},
    cut_questions,
    scoring::{ClassShares, Scoring, answers, calibrate, content_free, priors, score_requests},
};
use crate::{
    config::{Calibration, RelabelSettings},
    dataset::canonical,
    embed::Embedder,
    prompt::Question,
    relabel::{Answer, QuestionBuilder, nearest_class, scoring::ClassProbabilities},
    report::{TeacherCheck, teacher_check},
    rng::Rng,
    run::RunFolder,
    task::{Class, LabelledText, Task},
    teacher::{LabelScoring, ScoreRequest, Scored, Teacher, TeacherError},
};

/// The stage under which the ledger lists the calls.
pub(crate) const STAGE: &str = "check";

impl Pipeline<'_> {
    /// Measures the teacher, unless `teacher.check` is 0, it can label only its own texts, or the
    /// candidate classes need an embedder that is not there.
    ///
    /// # Errors
    /// Whatever stops the teacher, the embedder or the disk.
    pub(crate) fn check_teacher(
        &mut self,
        teacher: &mut dyn Teacher,
    ) -> Result<Option<TeacherCheck>, PipelineError> {
        let seeds = self.seeds();
        let (run, context, embedder, watch) = self.split(&seeds);
        if !teacher.scores_any_text() {
            return Ok(None);
        }
        let Some(test) = TeacherTest::new(&context, teacher, embedder)? else { return Ok(None) };
        let Some(scored) = test.ask(run, teacher, &mut *watch)? else {
            watch(Event::End { summary: "the recording holds no such answers".to_owned() });
            return Ok(None);
        };
        let counts = test.mark(&scored);
        run.finish_stage(STAGE, &counts, &[], Vec::new())?;
        Ok(told(&counts, watch))
    }
}

/// The result in `counts`, told to `watch`.
fn told(counts: &[(&'static str, usize)], watch: Watch<'_>) -> Option<TeacherCheck> {
    let check = TeacherCheck::of_pairs(counts)?;
    watch(Event::End { summary: format!("the teacher labels {}", check.summary()) });
    if let Some(message) = check.warning() {
        watch(Event::Warning { message, hint: Some(teacher_check::HINT.to_owned()) });
    }
    Some(check)
}

/// The number of questions about examples for `task`.
pub(crate) fn size(task: &Task, limit: usize) -> usize {
    limit.min(task.seeds.len() + task.pool.len())
}

/// Classes of examples, each with the teacher's probabilities from a prompt that did not show the
/// example.
pub(crate) type JudgedExamples = Vec<(usize, ClassProbabilities)>;

/// Questions about labelled examples, each of which is absent from its own prompt.
pub(crate) struct TeacherTest {
    /// The names of the classes.
    names: Vec<String>,
    /// [`Task::none_of_these`].
    none_of_these: Option<usize>,
    questions: Vec<Question>,
    /// Questions about texts without content, if `relabel.calibration` wants them.
    empty: Vec<Question>,
    /// The class that a person gave to each text in question.
    gold: Vec<usize>,
    /// The class with the nearest centroid, if there is an embedder.
    nearest: Option<Vec<usize>>,
    calibration: Calibration,
    scoring: LabelScoring,
    normalises_length: bool,
}

impl TeacherTest {
    /// At most `teacher.check` questions, which fit the context of `teacher` as those of the later
    /// stages do; `None` if there is nothing to ask, or no embedder where the candidate classes
    /// need one.
    ///
    /// # Errors
    /// The embedder fails, a template does not render, or a question fits only without its text.
    pub(crate) fn new(
        context: &Context<'_>,
        teacher: &mut dyn Teacher,
        embedder: Option<&dyn Embedder>,
    ) -> Result<Option<Self>, PipelineError> {
        let Context { task, seeds, settings, prompts, seed } = *context;
        let stage = Scoring { stage: STAGE, context: *context };
        // What is reduced is told by the stages that ask for more than a measurement.
        let fitting = stage.shown(teacher, &mut |_| {})?;
        let all = QuestionBuilder::new(task, prompts, &fitting, &settings.relabel);
        if embedder.is_none() && all.needs_embedder() {
            return Ok(None);
        }
        let (mut questions, mut gold, mut nearest) = (Vec::new(), Vec::new(), Vec::new());
        for (hidden, examples) in folds(drawn(task, seeds, settings.teacher.check, seed)) {
            let shown = without(task, &fitting, hidden);
            let texts: Vec<String> = examples.iter().map(|text| text.text.clone()).collect();
            gold.extend(examples.iter().map(|text| text.label));
            let builder = QuestionBuilder::new(task, prompts, &shown, &settings.relabel);
            let mut about = match embedder {
                Some(embedder) => builder.build(&texts, embedder)?,
                None => builder.build_with_all_classes(&texts)?,
            };
            cut_questions(&builder, &mut about, teacher, stage.answer_tokens())?;
            questions.extend(about);
            if let Some(embedder) = embedder {
                nearest.extend(nearest_class(task, &shown, &texts, embedder)?);
            }
        }
        let RelabelSettings { calibration, scoring, .. } = settings.relabel;
        let empty = match calibration {
            Calibration::ContentFree => content_free(&all, &questions)?,
            Calibration::Batch | Calibration::None => Vec::new(),
        };
        Ok((!questions.is_empty()).then(|| Self {
            names: task.classes.iter().map(Class::shown).collect(),
            none_of_these: task.none_of_these(),
            questions,
            empty,
            gold,
            nearest: embedder.map(|_| nearest),
            calibration,
            scoring,
            normalises_length: settings.relabel.normalises_length(),
        }))
    }

    /// What is asked; [`Self::mark`] takes the answers in the same order.
    pub(crate) fn requests(&self) -> Vec<ScoreRequest> {
        let of = |stage: &str, questions: &[Question]| {
            score_requests(stage, &self.names, &mut questions.to_vec(), self.scoring)
        };
        let mut requests = of(STAGE, &self.questions);
        requests.extend(of(&format!("{STAGE}.no-content"), &self.empty));
        requests
    }

    /// The answer to each request, `None` for one that was given up; those in the ledger are not
    /// asked for again. `None` if the teacher is a recording without them.
    ///
    /// # Errors
    /// Whatever stops the teacher or the disk.
    pub(super) fn ask(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        watch: Watch<'_>,
    ) -> Result<Option<Vec<Option<Scored>>>, PipelineError> {
        match calls::ask(&ScoreCalls, STAGE, run, self.requests(), teacher, watch) {
            Err(PipelineError::Teacher(TeacherError::Unrecorded { .. })) => Ok(None),
            answered => {
                let reading = |Answered { reading, .. }| reading;
                Ok(Some(answered?.into_iter().map(reading).collect()))
            }
        }
    }

    /// The counts of right answers; `scored` has the answer to each request, `None` for one that
    /// was given up. The answers are calibrated as those about the test set are: the few examples
    /// of this test change them little.
    pub(crate) fn mark(&self, scored: &[Option<Scored>]) -> Vec<(&'static str, usize)> {
        TeacherCheck::counts(&self.gold, &self.classes(scored), self.nearest.as_deref())
    }

    /// The class that the teacher gives to each example; as in [`Self::mark`].
    pub(super) fn classes(&self, scored: &[Option<Scored>]) -> Vec<Option<usize>> {
        let mut answers = self.raw_answers(scored);
        if self.calibration == Calibration::Batch {
            calibrate(&mut answers, ClassShares::Unknown, (self.names.len(), self.none_of_these));
        }
        answers.iter().map(|answer| Some(answer.as_ref()?.class)).collect()
    }

    /// The examples that are asked about, each with the class that a person gave it. Descriptions
    /// do not change which ones these are.
    pub(super) fn examples(&self) -> impl Iterator<Item = (&str, usize)> {
        self.questions.iter().map(|question| question.text.as_str()).zip(self.gold.iter().copied())
    }

    /// The class that a person gave to each example, with the probabilities of the candidates,
    /// which are not scaled to anything yet; `scored` is as [`Self::mark`] takes it.
    pub(crate) fn answers(&self, scored: &[Option<Scored>]) -> JudgedExamples {
        let answers = self.gold.iter().zip(self.raw_answers(scored));
        answers.filter_map(|(gold, answer)| Some((*gold, answer?.probabilities))).collect()
    }

    /// The answers without batch calibration.
    fn raw_answers(&self, scored: &[Option<Scored>]) -> Vec<Option<Answer>> {
        let (scored, empty) = scored.split_at(self.questions.len());
        let priors = priors(&self.empty, empty, self.normalises_length);
        answers(&self.questions, scored, &priors, self.normalises_length)
    }
}

/// The examples to ask about, at most `limit`, each with its place among the seeds of its class
/// that prompts show, if it is one of these: the classes in turn, in each of them the seeds that no
/// prompt shows, then those `shown`, then texts of the pool.
fn drawn<'a>(
    task: &'a Task,
    shown: &'a [LabelledText],
    limit: usize,
    seed: u64,
) -> Vec<(Option<usize>, &'a LabelledText)> {
    let known: HashSet<String> = shown.iter().map(|seed| canonical(&seed.text)).collect();
    let mut rng = Rng::for_item(seed, STAGE, 0);
    let mut unseen = |texts: &'a [LabelledText], class: usize| {
        let unseen =
            |text: &&LabelledText| text.label == class && !known.contains(&canonical(&text.text));
        let mut texts: Vec<&LabelledText> = texts.iter().filter(unseen).collect();
        texts.shuffle(&mut rng);
        texts.into_iter().map(|text| (None, text))
    };
    let piles: Vec<Vec<(Option<usize>, &LabelledText)>> = (0..task.classes.len())
        .map(|class| {
            let own = shown.iter().filter(|seed| seed.label == class).enumerate();
            let mut pile: Vec<_> = unseen(&task.seeds, class).collect();
            pile.extend(own.map(|(place, seed)| (Some(place), seed)));
            pile.extend(unseen(&task.pool, class));
            pile
        })
        .collect();
    let turns = piles.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..turns).flat_map(|turn| piles.iter().filter_map(move |pile| pile.get(turn)));
    in_turn.take(limit).copied().collect()
}

/// The examples by the fold that is hidden from their prompts; `None` hides nothing.
fn folds(
    drawn: Vec<(Option<usize>, &LabelledText)>,
) -> BTreeMap<Option<usize>, Vec<&LabelledText>> {
    let mut folds: BTreeMap<Option<usize>, Vec<&LabelledText>> = BTreeMap::new();
    for (fold, text) in drawn {
        folds.entry(fold).or_default().push(text);
    }
    folds
}

/// `seeds` without the one at the place `hidden` among those of each class.
fn without(task: &Task, seeds: &[LabelledText], hidden: Option<usize>) -> Vec<LabelledText> {
    let mut places = vec![0; task.classes.len()];
    let stays = |seed: &&LabelledText| {
        let place = places[seed.label];
        places[seed.label] += 1;
        Some(place) != hidden
    };
    seeds.iter().filter(stays).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        config::Settings,
        embed::fake_embedder::FakeEmbedder,
        pipeline::scripted_teacher::{ScriptedTeacher, pipeline},
        run::ledger::Entry,
    };

    /// Four seeds of each of two classes, of which two are shown, and a pool.
    fn sample() -> Sample {
        let texts = ["one", "two", "three", "four"];
        let seeds = (0..8).map(|n| seed(&format!("{} of {}", texts[n % 4], n / 4), n / 4));
        let mut sample = Sample::new(&["a", "b"], seeds.collect());
        sample.task.pool = vec![seed("pooled a", 0), seed("One of 1!", 1)];
        sample
    }

    fn teacher_test(sample: &Sample, limit: usize, shown: &[LabelledText]) -> TeacherTest {
        let mut settings = Settings::default();
        settings.teacher.check = limit;
        let Sample { task, prompts, .. } = sample;
        let context = Context { task, seeds: shown, settings: &settings, prompts, seed: 3 };
        let mut teacher = ScriptedTeacher::new(|_| String::new());
        TeacherTest::new(&context, &mut teacher, Some(&FakeEmbedder(Vec::new()))).unwrap().unwrap()
    }

    #[test]
    fn no_prompt_shows_the_text_that_it_asks_about() {
        let sample = sample();
        for shots in 0..=4 {
            let task = Task { shots, ..sample.task.clone() };
            let shown = task.draw_seeds(3);
            assert_eq!(shown.len(), 2 * shots);
            let test = teacher_test(&sample, 48, &shown);
            let texts: HashSet<&str> =
                test.questions.iter().map(|question| question.text.as_str()).collect();
            assert!(sample.task.seeds.iter().all(|seed| texts.contains(seed.text.as_str())));
            assert!(texts.contains("pooled a"));
            for question in &test.questions {
                let asked = question.prompt.matches(&question.text).count();
                assert_eq!(asked, 1, "once, at the end: {}", question.prompt);
                // Every class shows as many examples as the others.
                let examples = question.prompt.matches("\nClass: ").count();
                assert!(examples % 2 == 0 && examples + 2 >= 2 * shots, "{}", question.prompt);
            }
        }
    }

    #[test]
    fn the_number_of_questions_is_bounded_and_the_classes_take_turns() {
        let sample = sample();
        let shown = sample.task.draw_seeds(3);
        let of = |limit: usize| teacher_test(&sample, limit, &shown);
        assert_eq!(of(3).gold, [0, 1, 0]);
        assert_eq!(of(3).requests().len(), 3);
        // Eight seeds and one text of the pool: the other one is a seed in other letters.
        let asked = of(48).gold.len();
        let twin = shown.iter().any(|seed| seed.text == "one of 1");
        assert_eq!(asked, if twin { 9 } else { 10 });
        assert_eq!(size(&sample.task, 3), 3);
    }

    #[test]
    fn the_result_is_in_the_ledger_and_a_resumed_run_asks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let sample = sample();
        let mut settings = Settings::default();
        settings.teacher.check = 6;
        let mut teacher = ScriptedTeacher::new(|_| panic!("nothing is to be written"));
        let mut warnings = Vec::new();
        let mut checked = Vec::new();
        for _ in 0..2 {
            let mut run = pipeline(folder.path(), &sample, &settings, |event| {
                if let Event::Warning { message, .. } = event {
                    warnings.push(message);
                }
            });
            run.embedder = Some(Box::new(FakeEmbedder(Vec::new())));
            checked.push(run.check_teacher(&mut teacher).unwrap().unwrap());
        }
        assert_eq!(teacher.scores, 6);
        // A teacher that finds all classes alike always names one of them.
        assert_eq!(checked[0], checked[1]);
        assert_eq!((checked[0].examples, checked[0].accuracy.mean), (6, 0.5));
        assert!(warnings.iter().all(|text| text.contains("does not know these classes")));
        assert_eq!(warnings.len(), 2);
        let run = pipeline(folder.path(), &sample, &settings, |_| {}).run;
        let stages = run
            .ledger()
            .entries()
            .iter()
            .filter(|entry| matches!(entry, Entry::Stage { stage, .. } if stage == STAGE));
        assert_eq!(stages.count(), 1);

        settings.teacher.check = 0;
        let mut run = pipeline(&folder.path().join("off"), &sample, &settings, |_| {});
        assert_eq!(run.check_teacher(&mut teacher).unwrap(), None);
    }
}
