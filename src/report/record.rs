//! Reads what a run folder says about itself. Nothing is locked, created or changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{Report, ReportError};
use crate::{
    config::Settings,
    run::{INCOMPLETE, is_imported, ledger::Entry, names, read_json, read_ledger, read_settings},
    task::Task,
    teacher::TeacherIdentity,
};

/// What a run folder says about itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunRecord {
    pub task: Task,
    pub settings: Settings,
    /// Absent if the run was not evaluated.
    pub report: Option<Report>,
    /// The teacher that answered last; absent if none was asked.
    pub teacher: Option<TeacherIdentity>,
    /// The addresses to which prompts were sent, of all teachers.
    pub sent_to: BTreeSet<String>,
    /// SHA-256 (hex) over the prompt templates, as of the last start or resume.
    pub prompts_sha256: String,
    /// The program's version at that time.
    pub version: String,
    /// Whether the texts were imported.
    pub imported: bool,
    /// The counts that each stage ended with, by stage.
    pub counts: BTreeMap<String, BTreeMap<String, usize>>,
}

impl RunRecord {
    /// Whether the folder `path` looks like a run, perhaps one that lacks a file.
    pub(crate) fn is_at(path: &Path) -> bool {
        path.join(names::TASK).exists() || path.join(names::LEDGER).exists()
    }

    /// The folder of a run's student.
    pub(crate) fn student(path: &Path) -> PathBuf {
        path.join(names::STUDENT)
    }

    /// Reads the run folder `path`.
    ///
    /// # Errors
    /// A file is missing or was changed; the error names the line.
    pub(crate) fn read(path: &Path) -> Result<Self, ReportError> {
        let report = path.join("report.json");
        let report = report.is_file().then(|| Report::read(&report)).transpose()?;
        let entries = read_ledger(path, INCOMPLETE)?;
        let imported = is_imported(&entries);
        let mut record = Self {
            task: read_json(&path.join(names::TASK), INCOMPLETE)?,
            settings: read_settings(path)?,
            report,
            teacher: None,
            sent_to: BTreeSet::new(),
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
                Entry::Teacher { identity } => {
                    record.sent_to.extend(identity.addresses().iter().cloned());
                    record.teacher = Some(identity);
                }
                Entry::Stage { stage, counts, .. } => {
                    record.counts.insert(stage, counts);
                }
                Entry::Reply { .. }
                | Entry::TaskChanged(_)
                | Entry::Scores { .. }
                | Entry::Skipped { .. }
                | Entry::Restart { .. }
                | Entry::Shard { .. }
                | Entry::Picked { .. }
                | Entry::Decision { .. }
                | Entry::Edit { .. }
                | Entry::Student { .. } => {}
            }
        }
        Ok(record)
    }
}
