//! The files of a run folder: how they are read, and what is swept up of a program that was killed while it
//! wrote one.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

use super::{RunError, folder::read_settings};
use crate::{config::Settings, dataset::SyntheticText, task::Task, verbosity};

/// What the file `path` says.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let hint = "the run folder is incomplete; start anew in another one with --out";
    let bytes =
        fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source, hint })?;
    serde_json::from_slice(&bytes).map_err(|error| RunError::Row {
        path: path.to_owned(),
        line: error.line(),
        message: verbosity::json_fault(&error),
    })
}

/// Makes the folder `path` and those above it, for the user alone.
pub(super) fn create_private_folder(path: &Path) -> Result<(), RunError> {
    crate::fs::create_private_dir(path)
        .map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// Removes what a program that was killed in the middle of a write has left in the run folder `path`:
/// each file and each student is written beside its place and renamed. Best effort: a leftover does no
/// harm.
pub(super) fn sweep(path: &Path) {
    let numbered = |name: &str, before: &str| {
        let number = name.strip_prefix(before);
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(name) = name.to_str() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_file() && name.ends_with(".part") {
            let _ = fs::remove_file(path);
        } else if kind.is_dir()
            && (numbered(name, ".student.new-") || numbered(name, ".student.old-"))
        {
            let _ = fs::remove_dir_all(path);
        } else if kind.is_dir() && name != "student" && !name.starts_with('.') {
            sweep(&path);
        }
    }
}

/// All texts of the file `name` (`train.jsonl`, `relabelled.jsonl`) in the run folder `path`; nothing
/// where there is no such file.
///
/// # Errors
/// A file that cannot be read, a line that is no row.
pub(crate) fn read_texts(path: &Path, name: &str) -> Result<Option<Vec<SyntheticText>>, RunError> {
    #[derive(serde::Deserialize)]
    struct Row {
        id: usize,
        text: String,
        #[serde(default)]
        redacted: usize,
    }
    let path = path.join(name);
    let content = match fs::read_to_string(&path) {
        Ok(content) => content,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(RunError::Read { path, source, hint: "the folder must be readable" });
        }
    };
    let mut texts = Vec::new();
    for (line, content) in (1..).zip(content.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let Row { id, text, redacted } = serde_json::from_str(content).map_err(|error| {
            RunError::Row { path: path.clone(), line, message: verbosity::json_fault(&error) }
        })?;
        texts.push(SyntheticText { line, id, text, redacted });
    }
    Ok(Some(texts))
}

/// The task and the settings of the run folder `path`, whatever its ledger says.
///
/// # Errors
/// A file that is missing or was changed, with its line.
pub(crate) fn begun_with(path: &Path) -> Result<(Task, Settings), RunError> {
    Ok((read_json(&path.join("task.json"))?, read_settings(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_none_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let write = |row: &str| fs::write(folder.path().join("train.jsonl"), row).unwrap();
        write("{\"id\": 3, \"text\": \"a\", \"redacted\": 2}\n\n{\"id\": 4, \"text\": \"b\"}\n");
        let texts = read_texts(folder.path(), "train.jsonl").unwrap().unwrap();
        let seen: Vec<_> = texts.iter().map(|text| (text.line, text.id, text.redacted)).collect();
        assert_eq!(seen, [(1, 3, 2), (3, 4, 0)]);
        write("{\"id\": \"call anna at home\", \"text\": \"a\"}\n");
        let error = read_texts(folder.path(), "train.jsonl").unwrap_err().to_string();
        assert!(error.contains("train.jsonl:1:") && !error.contains("anna"), "{error}");
    }
}
