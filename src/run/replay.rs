//! The teacher that answers from a file: the ledger of a run, or a JSONL file of texts.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    RunError,
    ledger::{self, Entry},
    names,
};
use crate::{
    hash,
    teacher::{
        Generated, Scored, SkippedRequest,
        replay::{Call, RecordedText, Replay},
    },
};

/// Reads `file`: a run folder or its `ledger.jsonl` (every call of its last teacher), or JSONL with
/// `text`, `major` and optionally `minor`, `relabel`, `p`, `second` (see [`Replay::of_texts`]).
///
/// # Errors
/// An unreadable file, a ledger that was changed or names no teacher, a row that does not fit (with
/// its line).
pub(crate) fn replay(file: &Path) -> Result<Replay, RunError> {
    let path = if file.is_dir() { file.join(names::LEDGER) } else { file.to_owned() };
    let bytes = crate::fs::read(&path).map_err(|source| RunError::Read {
        path: path.clone(),
        source,
        hint: "`replay:` takes the ledger.jsonl of a run, or a JSONL file with `text` and `major` in each line",
    })?;
    if is_ledger(&bytes) { of_ledger(path, &bytes) } else { of_texts(path, &bytes) }
}

fn is_ledger(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<Map<String, Value>>(first)
        .is_ok_and(|line| line.contains_key("prev") && line.contains_key("kind"))
}

fn of_ledger(path: PathBuf, bytes: &[u8]) -> Result<Replay, RunError> {
    let (entries, ..) = ledger::parse(&path, bytes)?;
    let mut teacher = None;
    let mut calls = HashMap::new();
    for entry in entries {
        let (key, call) = match entry {
            Entry::Teacher { identity } => {
                teacher = Some(identity);
                continue;
            }
            Entry::Reply { key, reply, complete, prompt_tokens, generated_tokens, .. } => {
                let reply = Generated { text: reply, complete, prompt_tokens, generated_tokens };
                (key, Call::Reply(reply))
            }
            Entry::Scores { key, log_probs, tokens, prompt_tokens, .. } => {
                (key, Call::Scores(Scored { log_probs, tokens, prompt_tokens }))
            }
            Entry::Skipped { key, reason, .. } => (key, Call::Skipped(SkippedRequest { reason })),
            Entry::Begun { .. }
            | Entry::TaskChanged(_)
            | Entry::Restart { .. }
            | Entry::Shard { .. }
            | Entry::Picked { .. }
            | Entry::Decision { .. }
            | Entry::Student { .. }
            | Entry::Edit { .. }
            | Entry::Stage { .. } => continue,
        };
        calls.insert(key, call);
    }
    let identity = teacher.ok_or_else(|| RunError::NoTeacher { path: path.clone() })?;
    Ok(Replay::of_calls(path, identity, calls))
}

fn of_texts(path: PathBuf, bytes: &[u8]) -> Result<Replay, RunError> {
    let mut rows = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong =
            |message: String| RunError::Row { path: path.clone(), line: index + 1, message };
        let row: RecordedText = serde_json::from_slice(line)
            .map_err(|error| wrong(crate::verbosity::json_fault(&error)))?;
        if row.text.trim().is_empty() {
            return Err(wrong("`text` is empty".to_owned()));
        }
        if let Some(p) = row.p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(wrong(format!("`p` is {p}; expected a number above 0 and at most 1")));
        }
        rows.push(row);
    }
    let sha256 = hash::of_bytes(bytes);
    Ok(Replay::of_texts(path, sha256, rows))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        run::ledger::Ledger,
        teacher::{LabelScoring, ScoreRequest, Teacher, TeacherEvent, TeacherIdentity},
    };

    fn identity(sha256: &str) -> TeacherIdentity {
        TeacherIdentity {
            name: "somebody".to_owned(),
            file: "somebody.gguf".into(),
            sha256: sha256.to_owned(),
            parameters: 3,
            template_sha256: String::new(),
            context: 100,
            remote: None,
        }
    }

    #[test]
    fn a_ledger_answers_as_its_last_teacher_and_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let ask = |prompt: &str| ScoreRequest {
            id: prompt.to_owned(),
            prompt: prompt.to_owned(),
            candidates: vec!["a".to_owned(), "b".to_owned()],
            scoring: LabelScoring::default(),
            text: String::new(),
        };
        let scores = |teacher: &str, log_probs: Vec<f32>| Entry::Scores {
            key: ask("known").key(&identity(teacher)),
            stage: "relabel".to_owned(),
            log_probs,
            tokens: vec![1, 2],
            prompt_tokens: 5,
            seconds: 0.1,
        };
        let skipped = Entry::Skipped {
            key: ask("poison").key(&identity("new")),
            stage: "relabel".to_owned(),
            request: "relabel.1".to_owned(),
            reason: "it ended".to_owned(),
        };
        let entries = vec![
            Entry::Teacher { identity: identity("old") },
            scores("old", vec![-9.0, -8.0]),
            Entry::Teacher { identity: identity("new") },
            scores("new", vec![-0.1, f32::MIN]),
            skipped,
        ];
        Ledger::open(&path).unwrap().append(entries).unwrap();
        // The run that writes it may be in the middle of a line.
        let torn = [fs::read(&path).unwrap(), b"{\"n\":5,\"pre".to_vec()].concat();
        fs::write(&path, &torn).unwrap();

        let mut teacher = replay(folder.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), torn);
        assert_eq!(teacher.identity(), &identity("new"));
        let mut answers = Vec::new();
        teacher
            .score(&[ask("known"), ask("poison")], &mut |event| {
                if let TeacherEvent::Answers(more) = event {
                    answers.extend(more);
                }
                Ok(())
            })
            .unwrap();
        let known =
            Scored { log_probs: vec![-0.1, f32::MIN], tokens: vec![1, 2], prompt_tokens: 5 };
        assert_eq!(
            answers,
            [(0, Ok(known)), (1, Err(SkippedRequest { reason: "it ended".to_owned() }))]
        );
        assert!(teacher.score(&[ask("else")], &mut |_| Ok(())).is_err());
    }
}
