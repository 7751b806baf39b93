//! The stage `relabel`: the teacher scores every new text anew. Reads `augmented.jsonl`, writes
//! `relabelled.jsonl`. The same scoring makes the teacher a classifier of the test set.

use std::{collections::HashMap, time::Instant};

use super::{Event, RunError, RunFolder, Watch, key, ledger::Entry, run_seeds};
use crate::{
    augment::AugmentedText,
    config::Settings,
    embed::Embedder,
    prompt::Prompts,
    relabel::{Question, Questioner, RelabelledText},
    task::Task,
    teacher::{ScoreRequest, Teacher},
};

/// Runs the stage. The `embedder` is needed only where a task has more classes than candidates.
///
/// # Errors
/// A missing or damaged `augmented.jsonl`, and whatever stops the teacher or the disk.
pub fn relabel(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    prompts: &Prompts,
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<Vec<RelabelledText>, RunError> {
    let rows: Vec<AugmentedText> =
        run.read_rows("augmented.jsonl", "run the stage `generate` first, or `import` texts")?;
    let texts: Vec<String> = rows.iter().map(|row| row.text.clone()).collect();
    let scoring = Scoring { stage: "relabel", task, settings, prompts };
    let answers = scoring.classify(run, teacher, embedder, &texts, &mut *watch)?;
    let name = |class: usize| task.classes[class].name.clone();
    let rows: Vec<RelabelledText> = rows
        .into_iter()
        .zip(answers)
        .map(|(augmented, answer)| RelabelledText {
            augmented,
            relabel: name(answer.class),
            p: answer.probabilities.iter().map(|(_, p)| *p).fold(0.0, f32::max),
            probabilities: answer
                .probabilities
                .iter()
                .map(|(class, p)| (name(*class), *p))
                .collect(),
        })
        .collect();
    run.write_rows("relabelled.jsonl", &rows)?;
    let changed = rows.iter().filter(|row| row.relabel != row.augmented.major).count();
    run.finish_stage("relabel", &[("texts", rows.len()), ("changed", changed)])?;
    let share = 100.0 * changed as f64 / rows.len().max(1) as f64;
    watch(Event::End {
        summary: format!("{changed} of {} labels changed ({share:.1} %)", rows.len()),
    });
    Ok(rows)
}

/// What the teacher says of one text.
pub(super) struct Answer {
    pub class: usize,
    /// Probability of each candidate class.
    pub probabilities: Vec<(usize, f32)>,
}

/// The teacher as a classifier.
pub(super) struct Scoring<'a> {
    /// The name under which calls stand in the ledger.
    pub stage: &'static str,
    pub task: &'a Task,
    pub settings: &'a Settings,
    pub prompts: &'a Prompts,
}

impl Scoring<'_> {
    /// One answer for each of `texts`, from the ledger where it is known.
    pub(super) fn classify(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        embedder: &dyn Embedder,
        texts: &[String],
        watch: Watch<'_>,
    ) -> Result<Vec<Answer>, RunError> {
        let seeds = run_seeds(self.task, self.settings);
        let questioner = Questioner::new(self.task, self.prompts, &seeds, &self.settings.relabel);
        let questions = questioner.ask(texts, embedder)?;
        let log_probs = self.score(run, teacher, &questions, watch)?;
        Ok(questions
            .iter()
            .zip(log_probs)
            .map(|(question, log_probs)| {
                let (class, probabilities) = question.answer(&log_probs);
                let candidates = question.candidates.iter().copied();
                Answer { class, probabilities: candidates.zip(probabilities).collect() }
            })
            .collect())
    }

    fn score(
        &self,
        run: &mut RunFolder,
        teacher: &mut dyn Teacher,
        questions: &[Question],
        watch: Watch<'_>,
    ) -> Result<Vec<Vec<f32>>, RunError> {
        let identity = teacher.identity().sha256.clone();
        let requests: Vec<ScoreRequest> = questions
            .iter()
            .enumerate()
            .map(|(number, question)| ScoreRequest {
                id: format!("{}.{number}", self.stage),
                prompt: question.prompt.clone(),
                candidates: question
                    .candidates
                    .iter()
                    .map(|class| self.task.classes[*class].name.clone())
                    .collect(),
            })
            .collect();
        let keys: Vec<String> = requests
            .iter()
            .map(|request| key(&(&identity, &request.prompt, &request.candidates)))
            .collect();
        let mut known: HashMap<String, Vec<f32>> = HashMap::new();
        for entry in run.ledger.entries() {
            if let Entry::Scores { key, log_probs, .. } = entry {
                known.insert(key.clone(), log_probs.clone());
            }
        }
        let done: Vec<bool> = keys.iter().map(|key| known.contains_key(key)).collect();
        let resumed = done.iter().filter(|done| **done).count();
        watch(Event::Begin { stage: self.stage, total: requests.len(), resumed });
        let ledger = &mut run.ledger;
        let mut clock = Instant::now();
        teacher.score(&requests, &done, &mut |first, wave| {
            let fresh: Vec<usize> =
                (0..wave.len()).filter(|offset| !done[first + offset]).collect();
            let seconds = clock.elapsed().as_secs_f64() / fresh.len().max(1) as f64;
            clock = Instant::now();
            let (mut entries, mut tokens) = (Vec::new(), 0);
            for offset in fresh {
                let (key, scored) = (&keys[first + offset], &wave[offset]);
                // The same text may stand in a wave twice; it is one call.
                if known.insert(key.clone(), scored.log_probs.clone()).is_some() {
                    continue;
                }
                tokens += scored.prompt_tokens;
                entries.push(Entry::Scores {
                    key: key.clone(),
                    stage: self.stage.to_owned(),
                    log_probs: scored.log_probs.clone(),
                    prompt_tokens: scored.prompt_tokens,
                    seconds,
                });
            }
            ledger.append(entries)?;
            watch(Event::Advance { items: wave.len(), rejected: 0, tokens });
            Ok(())
        })?;
        Ok(keys.iter().map(|key| known.get(key).cloned().unwrap_or_default()).collect())
    }
}
