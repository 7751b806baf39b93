//! Reading the files of a run folder, and sweeping up what a killed program left in one.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    RunError,
    ledger::{self, Entry},
    names,
};
use crate::{config::Settings, dataset::SyntheticText, task::Task, verbosity};

/// The largest file of texts or settings that is read whole, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// The hint for a file that every run folder has.
pub(crate) const INCOMPLETE: &str = "the run folder is incomplete; start a new one with --out";

/// Reads the JSON file `path` of a run folder; `hint` helps if it cannot be read.
pub(crate) fn read_json<T: DeserializeOwned>(
    path: &Path,
    hint: &'static str,
) -> Result<T, RunError> {
    let bytes = crate::fs::read(path).map_err(|source| RunError::Read {
        path: path.to_owned(),
        source,
        hint,
    })?;
    serde_json::from_slice(&bytes).map_err(|error| RunError::Document {
        path: path.to_owned(),
        line: error.line(),
        message: verbosity::json_fault(&error),
    })
}

/// All rows of the file `name` in `folder`; none if it is not there.
///
/// # Errors
/// A file that cannot be read, a line that is no such row.
pub(crate) fn read_rows_if_any<T: DeserializeOwned>(
    folder: &Path,
    name: &str,
) -> Result<Vec<T>, RunError> {
    match folder.join(name).exists() {
        true => read_rows(folder, name, "check the file's permissions"),
        false => Ok(Vec::new()),
    }
}

/// One JSON line for each of `rows`.
pub(super) fn json_lines<T: Serialize>(rows: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut bytes, row).expect("a row holds nothing that JSON cannot write");
        bytes.push(b'\n');
    }
    bytes
}

/// Creates the folder `path` and those above it, readable by the user alone.
pub(super) fn create_private_folder(path: &Path) -> Result<(), RunError> {
    crate::fs::create_private_dir(path)
        .map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// The names of the files in the subfolder `name` of the run folder `path` and below, sorted; none
/// if there is no such folder.
pub(super) fn files_below(path: &Path, name: &str) -> Result<Vec<String>, RunError> {
    let folder = path.join(name);
    let hint = "the folder must be readable";
    let read = |source| RunError::Read { path: folder.clone(), source, hint };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(read)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(read)?;
        let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().map_err(read)?.is_dir() {
            true => files.extend(files_below(path, &inner)?),
            false => files.push(inner),
        }
    }
    files.sort();
    Ok(files)
}

/// Removes what a program that was killed in the middle of a write left in the run folder `path`:
/// files are written under another name and then renamed. Best effort: leftovers do no harm.
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
        // As version 0.1.0 wrote reports.
        let is_old_report = name.strip_suffix(".tmp").is_some_and(|name| numbered(name, "report."));
        if kind.is_file() && (name.ends_with(".part") || is_old_report) {
            let _ = fs::remove_file(path);
        } else if kind.is_dir() && name != names::STUDENT && !name.starts_with('.') {
            sweep(&path);
        }
    }
}

/// All texts of the file `name` in the run folder `path`; `None` if there is no such file.
///
/// # Errors
/// A file that cannot be read, a line that is not a row.
pub(crate) fn read_texts(path: &Path, name: &str) -> Result<Option<Vec<SyntheticText>>, RunError> {
    #[derive(serde::Deserialize)]
    struct Row {
        id: usize,
        text: String,
        #[serde(default)]
        redacted: usize,
    }
    let path = path.join(name);
    let content = match crate::fs::read_regular(&path, MAX_BYTES) {
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

/// All rows of the file `name` in the run folder `path`.
///
/// # Errors
/// A file that cannot be read, with `hint`; a line that is no such row.
pub(crate) fn read_rows<T: DeserializeOwned>(
    path: &Path,
    name: &str,
    hint: &'static str,
) -> Result<Vec<T>, RunError> {
    let path = path.join(name);
    let read = |source| RunError::Read { path: path.clone(), source, hint };
    let file = crate::fs::open_regular(&path).map_err(read)?;
    let mut rows = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(read)?;
        if line.trim().is_empty() {
            continue;
        }
        rows.push(serde_json::from_str(&line).map_err(|error| RunError::Row {
            path: path.clone(),
            line: index + 1,
            message: verbosity::json_fault(&error),
        })?);
    }
    Ok(rows)
}

/// The entries of the ledger of the run in the folder `path`; `hint` helps if it cannot be read.
///
/// # Errors
/// A file that is missing, a broken chain, with its line.
pub(crate) fn read_ledger(path: &Path, hint: &'static str) -> Result<Vec<Entry>, RunError> {
    let path = path.join(names::LEDGER);
    let bytes = crate::fs::read(&path).map_err(|source| RunError::Read {
        path: path.clone(),
        source,
        hint,
    })?;
    Ok(ledger::parse(&path, &bytes)?.0)
}

/// The task and the settings that the run in the folder `path` was started with.
///
/// # Errors
/// A file that is missing or was damaged, with its line.
pub(crate) fn read_task_and_settings(path: &Path) -> Result<(Task, Settings), RunError> {
    Ok((read_json(&path.join(names::TASK), INCOMPLETE)?, read_settings(path)?))
}

/// The settings that the run in the folder `path` was started with, but for `teacher.in_process`
/// and those about addresses: the folder may come from elsewhere, and the command alone switches
/// isolation off, or says where texts are sent and whom to trust there.
///
/// # Errors
/// A folder that is no run, a file that was damaged, with its line.
pub(crate) fn read_settings(path: &Path) -> Result<Settings, RunError> {
    let hint = "this is not a run folder; `promptmix run TASK --out DIR` or `promptmix generate TASK --out DIR` starts one";
    let path = path.join(names::SETTINGS);
    let text = crate::fs::read_regular(&path, MAX_BYTES).map_err(|source| RunError::Read {
        path: path.clone(),
        source,
        hint,
    })?;
    let mut settings: Settings = toml::from_str(&text).map_err(|error| RunError::Document {
        path,
        line: error.span().map_or(1, |span| text[..span.start].lines().count().max(1)),
        message: error.message().to_owned(),
    })?;
    settings.teacher.in_process = false;
    let teacher = &mut settings.teacher;
    teacher.address.clear();
    (teacher.tls_ca, teacher.tls_pin, teacher.api_key_file) = (None, None, None);
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_folder_does_not_switch_the_isolation_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.teacher.in_process = true;
        settings.teacher.address = vec!["https://elsewhere:443".to_owned()];
        settings.teacher.tls_pin = Some("00".repeat(32));
        settings.teacher.api_key_file = Some("/home/me/.ssh/id".to_owned());
        let text = settings.to_toml();
        assert!(text.contains("in_process = true"), "{text}");
        fs::write(folder.path().join(names::SETTINGS), text).unwrap();
        assert_eq!(read_settings(folder.path()).unwrap(), Settings::default());
    }

    #[test]
    fn a_malformed_row_is_not_quoted() {
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
