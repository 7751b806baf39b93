//! The stage `relabel`: the teacher scores every new text anew. Reads `augmented.jsonl`, writes
//! `relabelled.jsonl`. The same scoring makes the teacher a classifier of the test set.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Instant,
};

use super::{
    Context, Event, PipelineError, Watch,
    calls::{Missing, restarted, skipped},
    gold, run_seeds,
};
use crate::{
    config::Settings,
    dataset::{AugmentedText, RelabelledText},
    embed::Embedder,
    prompt::{Prompts, Question},
    relabel::{Answer, QuestionBuilder, scoring},
    run::{RunFolder, ledger::Entry},
    task::Task,
    teacher::{ScoreRequest, Scored, Teacher, TeacherEvent},
    verbosity,
};

/// Runs the stage. The `embedder` is needed only where a task has more classes than candidates.
///
/// # Errors
/// A missing or damaged `augmented.jsonl`, and whatever stops the teacher or the disk.
pub(crate) fn relabel(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    prompts: &Prompts,
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<Vec<RelabelledText>, PipelineError> {
    let rows: Vec<AugmentedText> =
        run.read_rows("augmented.jsonl", "run the stage `generate` first, or `import` texts")?;
    let texts: Vec<String> = rows.iter().map(|row| row.text.clone()).collect();
    let seeds = run_seeds(task, settings);
    let context = Context { task, seeds: &seeds, settings, prompts, seed: settings.run.seed };
    let scoring = Scoring { stage: "relabel", context };
    let answers = scoring.classify(run, teacher, embedder, &texts, &mut *watch)?.answers;
    if settings.relabel.gold {
        let (labelled, _) = gold::relabelled(run, &scoring, teacher, embedder, &mut *watch)?;
        gold::write(run, task, &seeds, &labelled)?;
    }
    let rows = relabelled(task, rows, answers);
    run.write_rows("relabelled.jsonl", &rows)?;
    let changed = rows.iter().filter(|row| row.relabel != row.augmented.major).count();
    let skipped = texts.len() - rows.len();
    let mut counts = vec![("texts", rows.len()), ("changed", changed)];
    counts.extend((skipped > 0).then_some(("skipped", skipped)));
    let mut files = vec!["relabelled.jsonl"];
    files.extend(settings.relabel.gold.then_some(gold::FILE));
    let labels = rows.iter().map(|row| (row.augmented.id, row.relabel.clone()));
    run.finish_stage("relabel", &counts, &files, labels.collect())?;
    let share = 100.0 * changed as f64 / rows.len().max(1) as f64;
    watch(Event::End {
        summary: format!("{changed} of {} labels changed ({share:.1} %)", rows.len()),
    });
    Ok(rows)
}

/// `rows` with the labels that `answers` give them, one for each row in order. A text that ended the
/// teacher's process has no answer and is left out; the ledger names it.
pub(crate) fn relabelled(
    task: &Task,
    rows: Vec<AugmentedText>,
    answers: Vec<Option<Answer>>,
) -> Vec<RelabelledText> {
    let name = |class: usize| task.classes[class].name.clone();
    rows.into_iter()
        .zip(answers)
        .filter_map(|(augmented, answer)| Some((augmented, answer?)))
        .map(|(augmented, answer)| RelabelledText {
            augmented,
            relabel: name(answer.class),
            p: answer.confidence().unwrap_or(1.0),
            probabilities: answer
                .probabilities
                .iter()
                .map(|(class, p)| (name(*class), *p))
                .collect(),
        })
        .collect()
}

/// What the teacher answers about texts without content, by the list of candidates.
pub(crate) type Priors = BTreeMap<Vec<usize>, Vec<f32>>;

/// Answers to a list of questions.
pub(crate) struct Answers {
    /// In the order of the questions; `None` for a text that the teacher's process did not survive.
    pub answers: Vec<Option<Answer>>,
    /// Names of the calls in the ledger.
    pub keys: Vec<String>,
}

/// The teacher as a classifier.
pub(crate) struct Scoring<'a> {
    /// The name under which calls stand in the ledger.
    pub stage: &'static str,
    pub context: Context<'a>,
}

impl Scoring<'_> {
    /// One answer for each of `texts`, from the ledger where it is known.
    pub(crate) fn classify(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        texts: &[String],
        watch: Watch<'_>,
    ) -> Result<Answers, PipelineError> {
        let Context { task, seeds, settings, prompts, .. } = self.context;
        let builder = QuestionBuilder::new(task, prompts, seeds, &settings.relabel);
        let questions = builder.build(texts, embedder)?;
        if settings.relabel.free_text && teacher.scores_any_text() {
            return self.answer_freely(run, teacher, embedder, &questions, watch);
        }
        let (priors, more) = self.priors(run, teacher, &builder, &questions, &mut *watch)?;
        let mut answers = self.answer(run, teacher, &questions, &priors, watch)?;
        answers.keys.extend(more);
        Ok(answers)
    }

    /// One answer for each of `questions`; `priors` as [`scoring::label_probabilities`] has them, by the
    /// list of candidates.
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
        let answers = questions
            .iter()
            .zip(scores)
            .map(|(question, scored)| {
                let prior = priors.get(&question.candidates).map(Vec::as_slice);
                let probabilities = scoring::label_probabilities(&scored?, normalise, prior);
                let class = question.winner(&probabilities);
                let candidates = question.candidates.iter().copied();
                Some(Answer { class, probabilities: candidates.zip(probabilities).collect() })
            })
            .collect();
        Ok(Answers { answers, keys })
    }

    /// What the teacher answers about texts without content, for each list of candidates that
    /// occurs in `questions`. Empty unless the settings want it.
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
        let lists: BTreeSet<&Vec<usize>> =
            questions.iter().map(|question| &question.candidates).collect();
        let mut empty = Vec::new();
        for candidates in lists {
            empty.extend(builder.content_free(candidates)?);
        }
        let (keys, scores) = self.score(run, teacher, &empty, ".no-content", watch)?;
        let normalise = self.context.settings.relabel.length_normalisation;
        let mut answers: BTreeMap<Vec<usize>, Vec<Vec<f32>>> = BTreeMap::new();
        for (question, scored) in empty.into_iter().zip(scores) {
            let answer =
                scored.map(|scored| scoring::label_probabilities(&scored, normalise, None));
            answers.entry(question.candidates).or_default().extend(answer);
        }
        let prior = |(candidates, answers): (_, Vec<_>)| {
            Some((candidates, scoring::content_free_prior(&answers)?))
        };
        Ok((answers.into_iter().filter_map(prior).collect(), keys))
    }

    fn score(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        questions: &[Question],
        kind: &str,
        watch: Watch<'_>,
    ) -> Result<(Vec<String>, Vec<Option<Scored>>), PipelineError> {
        let stage = self.stage;
        run.note_teacher(teacher.identity())?;
        let identity = teacher.identity().clone();
        let request = |item: usize| {
            let name = |class: &usize| self.context.task.classes[*class].name.clone();
            ScoreRequest {
                id: format!("{stage}{kind}.{item}"),
                prompt: questions[item].prompt.clone(),
                candidates: questions[item].candidates.iter().map(name).collect(),
                text: questions[item].text.clone(),
            }
        };
        let keys: Vec<String> =
            (0..questions.len()).map(|item| request(item).key(&identity)).collect();
        let wanted: HashSet<&str> = keys.iter().map(String::as_str).collect();
        let mut known: HashMap<String, Option<Scored>> = HashMap::new();
        for entry in run.ledger.entries() {
            match entry {
                Entry::Scores { key, log_probs, tokens, prompt_tokens, .. }
                    if wanted.contains(key.as_str()) =>
                {
                    let (log_probs, tokens) = (log_probs.clone(), tokens.clone());
                    let scored = Scored { log_probs, tokens, prompt_tokens: *prompt_tokens };
                    known.insert(key.clone(), Some(scored));
                }
                Entry::Skipped { key, .. } => {
                    known.insert(key.clone(), None);
                }
                _ => {}
            }
        }
        let missing = Missing::of(&keys, |key| known.contains_key(key));
        watch(Event::Begin { stage, total: missing.total, resumed: missing.known() });
        let requests: Vec<ScoreRequest> = missing.items.iter().map(|item| request(*item)).collect();
        let ledger = &mut run.ledger;
        let mut clock = Instant::now();
        teacher.score(&requests, &mut |event| {
            let answers = match event {
                TeacherEvent::Answers(answers) => answers,
                TeacherEvent::Restarted(reason) => {
                    return restarted(ledger, stage, reason, &mut *watch);
                }
            };
            let seconds = clock.elapsed().as_secs_f64() / answers.len().max(1) as f64;
            clock = Instant::now();
            let (mut entries, mut rejected, mut tokens) = (Vec::new(), 0, 0);
            for (at, answer) in answers {
                let key = &keys[missing.items[at]];
                match answer {
                    Ok(scored) => {
                        if verbosity::texts() {
                            let what = format!("question {}", requests[at].id);
                            watch(Event::Text { what, text: requests[at].prompt.clone() });
                        }
                        known.insert(key.clone(), Some(scored.clone()));
                        tokens += scored.prompt_tokens;
                        entries.push(Entry::Scores {
                            key: key.clone(),
                            stage: stage.to_owned(),
                            log_probs: scored.log_probs,
                            tokens: scored.tokens,
                            prompt_tokens: scored.prompt_tokens,
                            seconds,
                        });
                    }
                    Err(poison) => {
                        known.insert(key.clone(), None);
                        rejected += 1;
                        entries.push(skipped(stage, key, &requests[at].id, poison, &mut *watch));
                    }
                }
            }
            let items = entries.len();
            ledger.append(entries)?;
            watch(Event::Advance { items, rejected, tokens });
            Ok(())
        })?;
        let scores = keys.iter().map(|key| known.get(key).cloned().flatten()).collect();
        Ok((keys, scores))
    }
}
