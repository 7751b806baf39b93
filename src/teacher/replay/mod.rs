//! A teacher without a model: it answers from what was recorded. For tests, for showing a run to
//! somebody who has no GPU, and for audits: the same answers must give the same rows again.
//!
//! There are two kinds of recordings. The *calls* of a run (its ledger) are found by everything that
//! was asked, so the teacher that was recorded is presented as it was, and a request that differs in
//! anything has no answer. *Texts* with classes and labels, written by whoever, answer requests by
//! class and questions by text, whatever the prompts say. Reading the files is the business of
//! [`crate::run`]; here they are in memory.

#[cfg(test)]
mod tests;
mod texts;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    Answer, GenerateRequest, Generated, Measured, Poison, ScoreRequest, Scored, Sink, Teacher,
    TeacherError, TeacherEvent, TeacherIdentity,
};
pub(crate) use texts::RecordedText;
use texts::Texts;

/// What `teacher.model` begins with where a recording is meant.
pub(crate) const SCHEME: &str = "replay:";

/// Tokens of a word, roughly, in English prose: no tokenizer is at hand.
const TOKENS_PER_WORD: f64 = 1.3;

/// The recorded answer to one call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Reply(Generated),
    Scores(Scored),
    /// The teacher did not survive the request.
    Skipped(Poison),
}

/// Answers from a recording.
pub(crate) struct Replay {
    file: PathBuf,
    identity: TeacherIdentity,
    memory: Memory,
}

enum Memory {
    Calls(HashMap<String, Call>),
    Texts(Texts),
}

impl Replay {
    /// Presents itself as `identity`, the teacher that was recorded, and answers from `calls`, which
    /// stand under their keys ([`GenerateRequest::key`], [`ScoreRequest::key`]). `file` is named in
    /// errors.
    pub(crate) fn of_calls(
        file: PathBuf,
        identity: TeacherIdentity,
        calls: HashMap<String, Call>,
    ) -> Self {
        Self { file, identity, memory: Memory::Calls(calls) }
    }

    /// Answers a request for texts with the next ones of its major class that were not given out
    /// yet, first those of the same minor class; an empty reply that is cut off says that there are
    /// too few left. Answers a question with the text's recorded label: `relabel` has probability
    /// `p`, `second` the rest.
    ///
    /// What was given out is known to this value alone: a stage that was stopped between two rounds
    /// is given the same texts again, and drops them as repetitions.
    pub(crate) fn of_texts(file: PathBuf, sha256: String, rows: Vec<RecordedText>) -> Self {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        let identity = TeacherIdentity {
            name: format!("recorded texts of {name}"),
            file: file.clone(),
            sha256,
            parameters: 0,
            template_sha256: String::new(),
            context: u32::MAX as usize,
        };
        Self { file, identity, memory: Memory::Texts(Texts::new(rows)) }
    }
}

const OTHER_CALLS: &str = "the task, the prompts or the settings differ from those of the recorded run, or it was not finished";
const OTHER_TEXTS: &str = "it labels its own texts only, those with a `relabel`; another teacher can label the rest, and the texts without content of `relabel.contextual_calibration`";

impl Teacher for Replay {
    fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    fn scores_any_text(&self) -> bool {
        matches!(self.memory, Memory::Calls(_))
    }

    /// The prompts as they are, without a chat template, and an estimate of their lengths: 1.3 tokens
    /// a word.
    fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        let measured = |prompt: &String| {
            let words = prompt.split_whitespace().count();
            let tokens = (words as f64 * TOKENS_PER_WORD).ceil() as usize;
            Measured { rendered: prompt.clone(), tokens }
        };
        Ok(prompts.iter().map(measured).collect())
    }

    fn generate(
        &mut self,
        requests: &[GenerateRequest],
        sink: Sink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        let answers = match &mut self.memory {
            Memory::Texts(texts) => requests.iter().map(|ask| Ok(texts.write(ask))).collect(),
            Memory::Calls(calls) => {
                let found = requests.iter().map(|ask| {
                    let answer = match calls.get(&ask.key(&self.identity)) {
                        Some(Call::Reply(reply)) => Some(Ok(reply.clone())),
                        Some(Call::Skipped(poison)) => Some(Err(poison.clone())),
                        Some(Call::Scores(_)) | None => None,
                    };
                    (ask.id.as_str(), answer)
                });
                all_of(found, &self.file, OTHER_CALLS)?
            }
        };
        deliver(answers, sink)
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        let answers = match &self.memory {
            Memory::Texts(texts) => {
                let found = requests.iter().map(|ask| (ask.id.as_str(), texts.score(ask).map(Ok)));
                all_of(found, &self.file, OTHER_TEXTS)?
            }
            Memory::Calls(calls) => {
                let found = requests.iter().map(|ask| {
                    let answer = match calls.get(&ask.key(&self.identity)) {
                        Some(Call::Scores(scored)) => Some(Ok(scored.clone())),
                        Some(Call::Skipped(poison)) => Some(Err(poison.clone())),
                        Some(Call::Reply(_)) | None => None,
                    };
                    (ask.id.as_str(), answer)
                });
                all_of(found, &self.file, OTHER_CALLS)?
            }
        };
        deliver(answers, sink)
    }
}

/// The answers, if each request (by its id) has one; otherwise the error that names the first one
/// without.
fn all_of<'a, T>(
    found: impl Iterator<Item = (&'a str, Option<Answer<T>>)>,
    file: &Path,
    hint: &str,
) -> Result<Vec<Answer<T>>, TeacherError> {
    let (mut answers, mut missing, mut first) = (Vec::new(), 0, None);
    for (id, answer) in found {
        if answer.is_none() {
            missing += 1;
            first.get_or_insert(id);
        }
        answers.extend(answer);
    }
    match first {
        None => Ok(answers),
        Some(id) => Err(TeacherError::Unrecorded {
            id: id.to_owned(),
            missing,
            asked: answers.len() + missing,
            file: file.to_owned(),
            hint: hint.to_owned(),
        }),
    }
}

/// All answers in one piece: a round of a stage is written down whole or not at all.
fn deliver<T>(answers: Vec<Answer<T>>, sink: Sink<'_, T>) -> Result<(), TeacherError> {
    if answers.is_empty() {
        return Ok(());
    }
    sink(TeacherEvent::Answers(answers.into_iter().enumerate().collect()))
        .map_err(TeacherError::Stopped)
}
