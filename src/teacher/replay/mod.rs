//! A teacher without a model: it answers from a recording. It serves tests, demonstrations on
//! machines without a GPU, and audits: the same answers must give the same rows again.
//!
//! There are two kinds of recordings. The *calls* of a run (its ledger) are found by the whole
//! request. The replay then has the identity of the recorded teacher, and a request that differs in
//! anything has no answer. *Texts* with classes and labels, from any source, answer requests by
//! class and questions by text, whatever the prompts are. [`crate::run`] reads the files; this
//! module works in memory.

#[cfg(test)]
mod tests;
mod texts;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    Answer, GenerateRequest, Generated, Measured, ScoreRequest, Scored, Sink, SkippedRequest,
    Teacher, TeacherError, TeacherIdentity, deliver,
};
pub(crate) use texts::RecordedText;
use texts::TextRecording;

/// The prefix of `teacher.model` that names a recording.
pub(crate) const SCHEME: &str = "replay:";

/// Rough number of tokens per word of English prose, since there is no tokenizer.
const TOKENS_PER_WORD: f64 = 1.3;

/// The recorded answer to one call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Reply(Generated),
    Scores(Scored),
    Skipped(SkippedRequest),
}

/// Answers from a recording.
pub(crate) struct Replay {
    file: PathBuf,
    identity: TeacherIdentity,
    recording: Recording,
}

enum Recording {
    Calls(HashMap<String, Call>),
    Texts(TextRecording),
}

impl Replay {
    /// Has the `identity` of the recorded teacher and answers from `calls`, which are found by
    /// their keys ([`GenerateRequest::key`], [`ScoreRequest::key`]). `file` is named in errors.
    pub(crate) fn of_calls(
        file: PathBuf,
        identity: TeacherIdentity,
        calls: HashMap<String, Call>,
    ) -> Self {
        Self { file, identity, recording: Recording::Calls(calls) }
    }

    /// Answers a request for texts with the next unused texts of its major class, those of the same
    /// minor class first. If too few are left, the reply is empty and incomplete. Answers a
    /// question with the text's recorded label: `relabel` has probability `p`, `second` the rest.
    ///
    /// Only this value knows which texts are used: a stage that was stopped between two rounds
    /// receives the same texts again and drops them as repetitions.
    pub(crate) fn of_texts(file: PathBuf, sha256: String, rows: Vec<RecordedText>) -> Self {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        let identity = TeacherIdentity {
            name: format!("recorded texts of {name}"),
            file: file.clone(),
            sha256,
            parameters: 0,
            template_sha256: String::new(),
            context: u32::MAX as usize,
            remote: None,
        };
        Self { file, identity, recording: Recording::Texts(TextRecording::new(rows)) }
    }
}

/// Hints for requests without a recorded answer.
const OTHER_CALLS: &str = "the task, the prompts or the settings differ from those of the recorded run, or it was not finished";
const OTHER_TEXTS: &str = "it can label only its own texts, and of those only the ones with a `relabel`; use another teacher to label the rest";

impl Teacher for Replay {
    fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    fn scores_any_text(&self) -> bool {
        matches!(self.recording, Recording::Calls(_))
    }

    /// The prompts without a chat template, and an estimate of their lengths: 1.3 tokens per word.
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
        let answers = match &mut self.recording {
            Recording::Texts(texts) => {
                requests.iter().map(|request| Ok(texts.reply(request))).collect()
            }
            Recording::Calls(calls) => {
                let answers = requests.iter().map(|request| {
                    let answer = match calls.get(&request.key(&self.identity)) {
                        Some(Call::Reply(reply)) => Some(Ok(reply.clone())),
                        Some(Call::Skipped(skipped)) => Some(Err(skipped.clone())),
                        Some(Call::Scores(_)) | None => None,
                    };
                    (request.id.as_str(), answer)
                });
                collect_all(answers, &self.file, OTHER_CALLS)?
            }
        };
        deliver_all(answers, sink)
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        let answers = match &self.recording {
            Recording::Texts(texts) => {
                let answers = requests
                    .iter()
                    .map(|request| (request.id.as_str(), texts.score(request).map(Ok)));
                collect_all(answers, &self.file, OTHER_TEXTS)?
            }
            Recording::Calls(calls) => {
                let answers = requests.iter().map(|request| {
                    let answer = match calls.get(&request.key(&self.identity)) {
                        Some(Call::Scores(scored)) => Some(Ok(scored.clone())),
                        Some(Call::Skipped(skipped)) => Some(Err(skipped.clone())),
                        Some(Call::Reply(_)) | None => None,
                    };
                    (request.id.as_str(), answer)
                });
                collect_all(answers, &self.file, OTHER_CALLS)?
            }
        };
        deliver_all(answers, sink)
    }
}

/// The answers, if every request (named by its id) has one.
///
/// # Errors
/// Requests without an answer: their number and the id of the first.
fn collect_all<'a, T>(
    requests: impl Iterator<Item = (&'a str, Option<Answer<T>>)>,
    file: &Path,
    hint: &str,
) -> Result<Vec<Answer<T>>, TeacherError> {
    let (mut answers, mut missing, mut first) = (Vec::new(), 0, None);
    for (id, answer) in requests {
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

/// Delivers all answers at once: a round of a stage is recorded as a whole or not at all.
fn deliver_all<T>(answers: Vec<Answer<T>>, sink: Sink<'_, T>) -> Result<(), TeacherError> {
    deliver(answers.into_iter().enumerate().collect(), sink)
}
