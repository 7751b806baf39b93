//! What a run folder says of itself, for those who only read it: nothing is locked, created or
//! changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{Report, ReportError};
use crate::{
    config::Settings,
    run::{
        RunError, is_imported,
        ledger::{self, Entry},
        read_json, read_settings,
    },
    task::Task,
    teacher::TeacherIdentity,
};

/// The facts of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
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

impl Record {
    /// Whether the folder `path` looks like a run.
    pub(crate) fn is_at(path: &Path) -> bool {
        path.join("task.json").is_file() && path.join("ledger.jsonl").is_file()
    }

    /// Where a run keeps its student.
    pub(crate) fn student(path: &Path) -> PathBuf {
        path.join("student")
    }

    /// Reads the run folder `path`.
    ///
    /// # Errors
    /// A file that is missing or was changed, with its line.
    pub(crate) fn read(path: &Path) -> Result<Self, ReportError> {
        let report = path.join("report.json");
        let report = report.is_file().then(|| Report::read(&report)).transpose()?;
        let ledger = path.join("ledger.jsonl");
        let bytes = fs::read(&ledger).map_err(|source| RunError::Read {
            path: ledger.clone(),
            source,
            hint: "the run folder is incomplete",
        })?;
        let (entries, ..) = ledger::parse(&ledger, &bytes)?;
        let imported = is_imported(&entries);
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
