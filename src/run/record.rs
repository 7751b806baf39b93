//! What a run folder says of itself, for those who only read it: nothing is locked, created or
//! changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    RunError, imported,
    ledger::{self, Entry},
    read_json, read_settings,
};
use crate::{config::Settings, report::Report, task::Task, teacher::TeacherIdentity, voice};

/// The facts of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub task: Task,
    pub settings: Settings,
    /// Absent where the run was not evaluated.
    pub report: Option<Report>,
    /// Who answered last; absent where no teacher was asked.
    pub teacher: Option<TeacherIdentity>,
    /// SHA-256 (hex) over the prompt templates, as it was begun or taken up last.
    pub prompts_sha256: String,
    /// The program's version then.
    pub version: String,
    /// Whether the texts were written elsewhere.
    pub imported: bool,
    /// The counts that each stage ended with last, by stage.
    pub counts: BTreeMap<String, BTreeMap<String, usize>>,
}

/// A line of a run's file of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntheticText {
    /// From 1.
    pub line: usize,
    /// Names the text in all files of the run.
    pub id: usize,
    pub text: String,
    /// Values that were masked in it.
    pub redacted: usize,
}

impl SyntheticText {
    /// All texts of the file `name` (`train.jsonl`, `relabelled.jsonl`) in the run folder `path`; nothing
    /// where there is no such file.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is no row.
    pub fn read(path: &Path, name: &str) -> Result<Option<Vec<Self>>, RunError> {
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
        for (line, content) in
            (1..).zip(content.lines()).filter(|(_, line)| !line.trim().is_empty())
        {
            let Row { id, text, redacted } = serde_json::from_str(content).map_err(|error| {
                RunError::Row { path: path.clone(), line, message: voice::json_fault(&error) }
            })?;
            texts.push(Self { line, id, text, redacted });
        }
        Ok(Some(texts))
    }
}

/// The task and the settings of the run folder `path`, whatever its ledger says.
///
/// # Errors
/// A file that is missing or was changed, with its line.
pub fn begun_with(path: &Path) -> Result<(Task, Settings), RunError> {
    Ok((read_json(&path.join("task.json"))?, read_settings(path)?))
}

impl Record {
    /// Whether the folder `path` looks like a run.
    pub fn is_at(path: &Path) -> bool {
        path.join("task.json").is_file() && path.join("ledger.jsonl").is_file()
    }

    /// Where a run keeps its student.
    pub fn student(path: &Path) -> PathBuf {
        path.join("student")
    }

    /// Reads the run folder `path`.
    ///
    /// # Errors
    /// A file that is missing or was changed, with its line.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let report = path.join("report.json");
        let report = report.is_file().then(|| Report::read(&report)).transpose()?;
        let ledger = path.join("ledger.jsonl");
        let bytes = fs::read(&ledger).map_err(|source| RunError::Read {
            path: ledger.clone(),
            source,
            hint: "the run folder is incomplete",
        })?;
        let (entries, ..) = ledger::parse(&ledger, &bytes)?;
        let imported = imported(&entries);
        let mut record = Self {
            task: read_json(&path.join("task.json"))?,
            settings: read_settings(path)?,
            report,
            teacher: None,
            prompts_sha256: String::new(),
            version: String::new(),
            imported,
            counts: BTreeMap::new(),
        };
        for entry in entries {
            match entry {
                Entry::Begun { version, prompts_sha256, .. } => {
                    (record.version, record.prompts_sha256) = (version, prompts_sha256);
                }
                Entry::Teacher { identity } => record.teacher = Some(identity),
                Entry::Stage { stage, counts, .. } => {
                    record.counts.insert(stage, counts);
                }
                Entry::Reply { .. }
                | Entry::Scores { .. }
                | Entry::Skipped { .. }
                | Entry::Restart { .. }
                | Entry::Decision { .. }
                | Entry::Student { .. } => {}
            }
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_none_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let write = |row: &str| fs::write(folder.path().join("train.jsonl"), row).unwrap();
        write("{\"id\": 3, \"text\": \"a\", \"redacted\": 2}\n\n{\"id\": 4, \"text\": \"b\"}\n");
        let texts = SyntheticText::read(folder.path(), "train.jsonl").unwrap().unwrap();
        let seen: Vec<_> = texts.iter().map(|text| (text.line, text.id, text.redacted)).collect();
        assert_eq!(seen, [(1, 3, 2), (3, 4, 0)]);
        write("{\"id\": \"call anna at home\", \"text\": \"a\"}\n");
        let error = SyntheticText::read(folder.path(), "train.jsonl").unwrap_err().to_string();
        assert!(error.contains("train.jsonl:1:") && !error.contains("anna"), "{error}");
    }
}
