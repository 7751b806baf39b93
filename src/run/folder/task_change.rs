//! A run folder whose task changes: one entry of the ledger decides, the files follow from it. A
//! crash in between is resolved at the next start: the ledger tells which state is current.
//!
//! ```text
//! task.json.next ─► entry in the ledger ─► set-aside.jsonl augmented.jsonl settings.toml
//!     ─► task.json
//! ```

use std::fs;

use super::{RunFolder, begun, is_imported, last_settings};
use crate::{
    config::Settings,
    hash,
    prompt::Prompts,
    run::{
        RunError,
        change::{ever_set_aside, last_change, task_json},
        edits,
        files::{INCOMPLETE, json_lines, read_json},
        ledger::{Entry, KeptTexts, TaskChanged, last_record},
        names,
    },
    task::{Task, TaskChange},
};

impl RunFolder {
    /// Takes up a change of the task: `changed` goes into the ledger and decides, the files follow.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn change_task(
        &mut self,
        task: &Task,
        settings: &Settings,
        prompts: &Prompts,
        mut changed: TaskChanged,
    ) -> Result<(), RunError> {
        let json = task_json(task);
        self.write(names::NEXT_TASK, &json)?;
        let task_file = hash::of_bytes(&json);
        changed.files.insert(names::TASK.to_owned(), task_file.clone());
        if let Some(texts) = &changed.texts {
            let hash = hash::of_bytes(json_lines(&texts.kept));
            changed.files.insert(names::AUGMENTED.to_owned(), hash);
            let rows = ever_set_aside(self.changes_of_texts().chain([texts]));
            if !rows.is_empty() {
                let hash = hash::of_bytes(json_lines(&rows));
                changed.files.insert(names::SET_ASIDE.to_owned(), hash);
            }
        }
        let entries = vec![
            Entry::TaskChanged(Box::new(changed)),
            begun(task.sha256.clone(), prompts.sha256().to_owned(), settings, task_file),
        ];
        self.ledger.append_and_seal(entries)?;
        self.settle()
    }

    fn changes_of_texts(&self) -> impl Iterator<Item = &KeptTexts> {
        self.ledger.entries().iter().filter_map(|entry| match entry {
            Entry::TaskChanged(changed) => changed.texts.as_ref(),
            _ => None,
        })
    }

    /// Brings the files to the state that the ledger decided, if a change of the task was not
    /// finished; does nothing otherwise.
    pub(super) fn settle(&self) -> Result<(), RunError> {
        let next = self.path().join(names::NEXT_TASK);
        if !next.exists() {
            return Ok(());
        }
        let entries = self.ledger.entries();
        let last = last_change(entries);
        let task: Task = read_json(&next, INCOMPLETE)?;
        let failed = |source| RunError::Write { path: next.clone(), source };
        let Some(changed) = last.filter(|changed| changed.after == task.sha256) else {
            // The ledger knows nothing of it: the change was never decided.
            return fs::remove_file(&next).map_err(failed);
        };
        if let Some(texts) = &changed.texts {
            edits::write_decided(self.path(), entries, names::AUGMENTED, &texts.kept)?;
            let rows = ever_set_aside(self.changes_of_texts());
            if !rows.is_empty() {
                self.write_rows(names::SET_ASIDE, &rows)?;
            }
        }
        if let Some(settings) = last_settings(entries) {
            self.write(names::SETTINGS, settings.as_bytes())?;
        }
        fs::rename(&next, self.path().join(names::TASK)).map_err(failed)?;
        crate::fs::sync_dir(self.path()).map_err(failed)
    }

    /// Checks that `file` is of the present task: that one of `stages`, which write it, has run
    /// since the task changed. A change of the test set, or of examples that no prompt shows,
    /// leaves texts and labels valid.
    ///
    /// # Errors
    /// [`RunError::Stale`].
    pub(crate) fn check_current(&self, stages: &[&str], file: &str) -> Result<(), RunError> {
        let labels = stages.contains(&"generate") || stages.contains(&"relabel");
        let current = self.ledger.entries().iter().rev().find_map(|entry| match entry {
            // An import without labels writes no `relabelled.jsonl`.
            Entry::Stage { stage, files, .. } if stages.contains(&stage.as_str()) => {
                Some(stage != "import" || files.contains_key(file))
            }
            Entry::TaskChanged(changed) if changed.texts.is_some() => Some(false),
            Entry::TaskChanged(changed) if !labels => {
                let TaskChange { test, seeds, .. } = &changed.change;
                (!test.is_empty() || !seeds.is_empty()).then_some(false)
            }
            _ => None,
        });
        match current {
            Some(false) => {
                let imports = is_imported(self.ledger.entries()) && file == names::AUGMENTED;
                let stage = stages.iter().find(|stage| (**stage == "import") == imports);
                let stage = stage.copied().unwrap_or_default().to_owned();
                Err(RunError::Stale { path: self.path().join(file), stage })
            }
            _ => Ok(()),
        }
    }

    /// Whether the file `name` is as the ledger recorded it last.
    pub(crate) fn is_as_recorded(&self, name: &str) -> bool {
        let recorded = last_record(self.ledger.entries(), name);
        recorded.is_some_and(|(_, sha256)| self.hash(name).is_ok_and(|now| now == sha256))
    }
}

#[cfg(test)]
mod tests;
