//! The folder of a run: created or resumed, locked against other programs. Its files are replaced
//! atomically, and its ledger records what each stage wrote.

mod task_change;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    RunError,
    change::{self, PendingChange},
    clock::now,
    edits::{self, Edits},
    files::{self, INCOMPLETE, create_private_folder, json_lines, read_json, read_settings, sweep},
    ledger::{self, Entry, Ledger, LedgerError},
    names,
};
use crate::{
    config::Settings, dataset::RowEdit, hash, hint::shell_path, prompt::Prompts, shard::Shard,
    task::Task, teacher::TeacherIdentity,
};

/// Something odd about a run folder, and what helps.
pub(crate) struct Remark {
    pub message: String,
    pub hint: Option<String>,
}

/// An open run folder, locked against other programs.
pub(crate) struct RunFolder {
    path: PathBuf,
    pub(crate) ledger: Ledger,
    /// A change of the task that is not taken up yet.
    pending: Option<PendingChange>,
    /// What people edited since the folder was last open, one line for each file.
    edited: Vec<String>,
    /// SHA-256 (hex) of what was written to files, by name, since no stage has recorded them.
    written: RefCell<BTreeMap<String, String>>,
    /// The stage of which this folder has one shard, and which.
    pub(super) shard: Option<(&'static str, Shard)>,
}

impl RunFolder {
    /// Creates the run folder `path`, or resumes it, for `task` with `settings`.
    ///
    /// # Errors
    /// A folder with other files, of another task, in use, or not writable.
    pub(crate) fn open(
        path: &Path,
        task: &Task,
        settings: &Settings,
        prompts: &Prompts,
    ) -> Result<Self, RunError> {
        Self::check(path)?;
        Self::open_either(path, task, settings, prompts, false)
    }

    /// Whether [`Self::open`] refuses the folder `path` for what it is. Creates and changes
    /// nothing: to be asked before anything that takes time or memory.
    ///
    /// # Errors
    /// A folder with other files, of a comparison, in use, or not safe to write to.
    pub(crate) fn check(path: &Path) -> Result<(), RunError> {
        if path.join(names::COMPARISON).exists() {
            return Err(RunError::Comparison { path: path.to_owned() });
        }
        if !path.join(names::TASK).exists() && holds_other_files(path) {
            return Err(RunError::NotARun { path: path.to_owned() });
        }
        check_safe(path)?;
        match Ledger::is_in_use(&path.join(names::LEDGER)) {
            true => Err(in_use(path)),
            false => Ok(()),
        }
    }

    fn open_either(
        path: &Path,
        task: &Task,
        settings: &Settings,
        prompts: &Prompts,
        comparison: bool,
    ) -> Result<Self, RunError> {
        let known = path.join(names::TASK);
        if !known.exists() && holds_other_files(path) {
            return Err(RunError::NotARun { path: path.to_owned() });
        }
        create_private_folder(path)?;
        let mut run = Self::lock(path)?;
        // Before the task is written: once it is there, the marker decides what the folder is.
        if comparison && !path.join(names::COMPARISON).exists() {
            run.write(names::COMPARISON, b"")?;
        }
        if known.exists() {
            let before: Task = read_json(&known, INCOMPLETE)?;
            run.take_up_edits(&[&before, task])?;
            run.pending = PendingChange::between(path, before, task)?;
            if run.pending.is_some() {
                // Nothing is written before the user knows what becomes of the run.
                return Ok(run);
            }
        } else {
            run.write(names::TASK, &change::task_json(task))?;
        }
        run.begin(task, settings, prompts)?;
        Ok(run)
    }

    /// Records the start, unless the last one was of the same task with the same settings.
    fn begin(
        &mut self,
        task: &Task,
        settings: &Settings,
        prompts: &Prompts,
    ) -> Result<(), RunError> {
        let (task_sha256, prompts_sha256) = (task.sha256.clone(), prompts.sha256().to_owned());
        let entry = begun(task_sha256, prompts_sha256, settings, self.hash(names::TASK)?);
        let parts = |entry: &Entry| match entry {
            Entry::Begun { task_sha256, prompts_sha256, settings, .. } => {
                Some((task_sha256.clone(), prompts_sha256.clone(), settings.clone()))
            }
            _ => None,
        };
        let last = self.ledger.entries().iter().rev().find_map(parts);
        if last.is_none() || last != parts(&entry) {
            self.write(names::SETTINGS, settings.to_toml().as_bytes())?;
            self.ledger.append_and_seal(vec![entry])?;
        }
        Ok(())
    }

    /// What differs in the task that was given from the one that the run had until now, if they
    /// differ. Whoever takes it out decides what becomes of the run ([`Self::change_task`]).
    pub(crate) fn take_pending(&mut self) -> Option<PendingChange> {
        self.pending.take()
    }

    /// As [`Self::open`], for a comparison.
    ///
    /// # Errors
    /// The same, and a folder that holds a single run.
    pub(crate) fn open_comparison(
        path: &Path,
        task: &Task,
        settings: &Settings,
        prompts: &Prompts,
    ) -> Result<Self, RunError> {
        let mark = path.join(names::COMPARISON);
        if path.join(names::TASK).exists() && !mark.exists() {
            return Err(RunError::SingleRun { path: path.to_owned() });
        }
        Self::open_either(path, task, settings, prompts, true)
    }

    /// Resumes an existing run folder with the task and the settings that it was started with.
    pub(crate) fn reopen(path: &Path) -> Result<(Self, Task, Settings), RunError> {
        // Before anything is created in a folder that is no run.
        read_settings(path)?;
        let mut run = Self::lock(path)?;
        let task: Task = read_json(&path.join(names::TASK), INCOMPLETE)?;
        run.take_up_edits(&[&task])?;
        Ok((run, task, read_settings(path)?))
    }

    /// Records what people edited in the folder, before anything else is done with it. A label may
    /// be a class of any of `tasks`.
    fn take_up_edits(&mut self, tasks: &[&Task]) -> Result<(), RunError> {
        let classes = tasks.iter().flat_map(|task| &task.classes);
        let classes: Vec<String> = classes.map(|class| class.name.clone()).collect();
        self.edited = edits::take_up(&self.path, &mut self.ledger, &classes)?;
        Ok(())
    }

    /// Records a decision about rows of `file`: the ledger has it when this returns, the file
    /// follows with [`Self::write_decisions`] or when the folder is opened next. Returns who
    /// decided and when.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn decide(
        &mut self,
        file: &str,
        changes: Vec<RowEdit>,
    ) -> Result<(String, String), RunError> {
        Ok(edits::record(&mut self.ledger, file, changes)?)
    }

    /// Writes the files with all decisions, and records what was edited by hand meanwhile. Returns
    /// one line about each file.
    ///
    /// # Errors
    /// A file that was edited and cannot be read, a failed write. The decisions are in the ledger.
    pub(crate) fn write_decisions(&mut self, task: &Task) -> Result<&[String], RunError> {
        self.take_up_edits(&[task])?;
        Ok(&self.edited)
    }

    /// What people edited since the folder was last open, one line for each file.
    pub(crate) fn edited(&self) -> &[String] {
        &self.edited
    }

    /// What names this run: 8 digits of the hash of its first entry in the ledger.
    pub(crate) fn tag(&self) -> String {
        let mut tag = super::key(&self.ledger.entries().first());
        tag.truncate(8);
        tag
    }

    /// All edits by people that stand.
    pub(crate) fn edits(&self) -> Edits {
        Edits::of(self.ledger.entries())
    }

    /// Replaces the settings: stages that run from here on use `settings`.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn change_settings(&mut self, settings: &Settings) -> Result<(), RunError> {
        let text = settings.to_toml();
        let last = self.ledger.entries().iter().rev().find_map(|entry| match entry {
            Entry::Begun { task_sha256, prompts_sha256, settings, .. } => {
                Some((task_sha256.clone(), prompts_sha256.clone(), *settings == text))
            }
            _ => None,
        });
        let (task_sha256, prompts_sha256, same) = last.unwrap_or_default();
        if !same {
            self.write(names::SETTINGS, text.as_bytes())?;
            let begun = begun(task_sha256, prompts_sha256, settings, self.hash(names::TASK)?);
            self.ledger.append_and_seal(vec![begun])?;
        }
        Ok(())
    }

    /// Opens the ledger in the folder `path`, which locks the run.
    fn lock(path: &Path) -> Result<Self, RunError> {
        check_safe(path)?;
        let holder = path.join(names::LOCK);
        let ledger = Ledger::open(&path.join(names::LEDGER)).map_err(|error| match error {
            LedgerError::Locked { .. } => in_use(path),
            error => error.into(),
        })?;
        crate::fs::write_atomic(&holder, format!("{}\n", std::process::id()).as_bytes())
            .map_err(|source| RunError::Write { path: holder, source })?;
        crate::fs::repair_dirs(path);
        sweep(path);
        let run = Self {
            path: path.to_owned(),
            ledger,
            pending: None,
            edited: Vec::new(),
            written: RefCell::default(),
            shard: None,
        };
        run.settle()?;
        Ok(run)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the user should know about the folder as it was found.
    pub(crate) fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        if self.ledger.was_torn() {
            let message = format!(
                "{}: the last line was incomplete, as after a power cut or on a full disk; it was removed, and its work is redone",
                self.path.join(names::LEDGER).display()
            );
            remarks.push(Remark { message, hint: None });
        }
        #[cfg(unix)]
        if let Ok(metadata) = fs::metadata(&self.path) {
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
            if mode & 0o077 != 0 {
                let path = self.path.display();
                remarks.push(Remark {
                    message: format!("other users may read {path} (mode {mode:o})"),
                    hint: Some(format!("chmod -R go= {}", shell_path(&self.path))),
                });
            }
        }
        remarks
    }

    /// Whether the texts of this run were imported.
    pub(crate) fn is_imported(&self) -> bool {
        is_imported(self.ledger.entries())
    }

    /// Replaces the file `name` atomically.
    ///
    /// # Errors
    /// A failed write, a file that a person edited since the folder was opened.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        edits::before_write(&self.path, self.ledger.entries(), name, bytes)?;
        let path = self.path.join(name);
        crate::fs::write_atomic(&path, bytes).map_err(|source| RunError::Write { path, source })?;
        self.written.borrow_mut().insert(name.to_owned(), hash::of_bytes(bytes));
        Ok(())
    }

    /// Replaces the file `name`, which may lie in a subfolder, with one JSON line for each of
    /// `rows`.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(crate) fn write_rows<T: Serialize>(&self, name: &str, rows: &[T]) -> Result<(), RunError> {
        if let Some(below) = Path::new(name).parent().filter(|path| !path.as_os_str().is_empty()) {
            create_private_folder(&self.path.join(below))?;
        }
        self.write(name, &json_lines(rows))
    }

    /// All rows of the file `name`.
    ///
    /// # Errors
    /// A file that cannot be read, with `hint`; a line that is no such row.
    pub(crate) fn read_rows<T: DeserializeOwned>(
        &self,
        name: &str,
        hint: &'static str,
    ) -> Result<Vec<T>, RunError> {
        files::read_rows(&self.path, name, hint)
    }

    /// Records which teacher answers from here on, unless the ledger says so already.
    ///
    /// # Errors
    /// Another file under the name of a teacher that answered before.
    pub(crate) fn note_teacher(&mut self, identity: &TeacherIdentity) -> Result<(), RunError> {
        let last = self.ledger.entries().iter().rev().find_map(|entry| match entry {
            Entry::Teacher { identity } => Some(identity),
            _ => None,
        });
        let same_file = self.ledger.entries().iter().rev().find_map(|entry| match entry {
            Entry::Teacher { identity: before } if before.file == identity.file => Some(before),
            _ => None,
        });
        if let Some(before) = same_file.filter(|before| !before.is_same_model(identity)) {
            return Err(RunError::other_teacher(&self.path, before, identity));
        }
        if !last.is_some_and(|last| last.says_the_same(identity)) {
            self.ledger.append_and_seal(vec![Entry::Teacher { identity: identity.clone() }])?;
        }
        Ok(())
    }

    /// Records that `stage` has finished: its `counts`, the hashes of the files `names` that it
    /// wrote or read, and those of its `decisions` (row, outcome) that are new. Does nothing if the
    /// ledger says all that already and no other stage has replaced the files since.
    pub(crate) fn finish_stage(
        &mut self,
        stage: &str,
        counts: &[(&str, usize)],
        names: &[&str],
        decisions: Vec<(usize, String)>,
    ) -> Result<(), RunError> {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let hashed = names.iter().map(|name| Ok(((*name).to_owned(), self.recorded_hash(name)?)));
        let files: BTreeMap<String, String> = hashed.collect::<Result<_, RunError>>()?;
        let (mut last, mut outcomes) = (None, HashMap::new());
        for entry in self.ledger.entries() {
            match entry {
                Entry::Stage { stage: other, .. } if other == stage => last = Some(entry),
                // What the stage did until then was of another task.
                Entry::TaskChanged(_) => last = None,
                // A later stage replaced the files: the earlier entry no longer describes them.
                Entry::Stage { files: others, .. } => {
                    let over = |(name, hash)| others.get(name).is_some_and(|other| other != hash);
                    last = last.filter(|_| !files.iter().any(over));
                }
                // What the stage made of the edits is told, also if it is nothing new.
                Entry::Edit { .. } => last = None,
                Entry::Decision { stage: other, row, outcome } if other == stage => {
                    outcomes.insert(*row, outcome.as_str());
                }
                _ => {}
            }
        }
        let end = Entry::Stage { stage: stage.to_owned(), counts, files };
        if last == Some(&end) {
            edits::after_stage(&self.path, self.ledger.entries(), names);
            return Ok(());
        }
        let mut entries: Vec<Entry> = decisions
            .into_iter()
            .filter(|(row, outcome)| outcomes.get(row) != Some(&outcome.as_str()))
            .map(|(row, outcome)| Entry::Decision { stage: stage.to_owned(), row, outcome })
            .collect();
        entries.push(end);
        self.ledger.append_and_seal(entries)?;
        edits::after_stage(&self.path, self.ledger.entries(), names);
        Ok(())
    }

    /// The hash of the file `name` as this program wrote it or read it last: a person may have
    /// edited it since, and the next command records that.
    fn recorded_hash(&self, name: &str) -> Result<String, RunError> {
        if let Some(written) = self.written.borrow_mut().remove(name) {
            return Ok(written);
        }
        let now = self.hash(name)?;
        Ok(edits::written_before(&self.path, self.ledger.entries(), name, &now).unwrap_or(now))
    }

    /// The files in the subfolder `name` and below, sorted; none if there is no such folder.
    pub(crate) fn files_in(&self, name: &str) -> Result<Vec<String>, RunError> {
        files::files_below(&self.path, name)
    }

    /// SHA-256 (hex) of the file `name`.
    pub(crate) fn hash(&self, name: &str) -> Result<String, RunError> {
        let path = self.path.join(name);
        let hint = "another program removed the file; rerun the command";
        hash::of_file(&path).map_err(|source| RunError::Read { path, source, hint })
    }
}

fn check_safe(path: &Path) -> Result<(), RunError> {
    match crate::fs::unsafe_to_write(path) {
        Some(reason) => Err(RunError::Unsafe { path: path.to_owned(), reason }),
        None => Ok(()),
    }
}

/// The folder `path` is in use by the process whose number stands in it.
fn in_use(path: &Path) -> RunError {
    let pid = crate::fs::read_regular(&path.join(names::LOCK), 20).ok();
    let pid = pid.and_then(|pid| pid.trim().parse().ok());
    RunError::InUse { path: path.to_owned(), pid }
}

/// The entry of a start: the settings, and the hash of `task.json`, on which all else rests.
fn begun(
    task_sha256: String,
    prompts_sha256: String,
    settings: &Settings,
    task_file: String,
) -> Entry {
    Entry::Begun {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: now(),
        task_sha256,
        prompts_sha256,
        settings: settings.to_toml(),
        format: ledger::FORMAT,
        files: [(names::TASK.to_owned(), task_file)].into(),
    }
}

/// The settings of the last start.
fn last_settings(entries: &[Entry]) -> Option<&str> {
    entries.iter().rev().find_map(|entry| match entry {
        Entry::Begun { settings, .. } => Some(settings.as_str()),
        _ => None,
    })
}

/// Whether the folder `path`, which has no task yet, holds files that no run writes before its
/// task.
fn holds_other_files(path: &Path) -> bool {
    let own = |name: &str| {
        [names::LOCK, names::LEDGER, names::HEAD, names::COMPARISON, names::SHARDS].contains(&name)
            || name.ends_with(".part")
    };
    fs::read_dir(path).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| !own(&entry.file_name().to_string_lossy())))
    })
}

/// Whether the texts of the run with these entries were imported rather than generated.
pub(crate) fn is_imported(entries: &[Entry]) -> bool {
    let stage = |wanted: &str| {
        entries
            .iter()
            .rposition(|entry| matches!(entry, Entry::Stage { stage, .. } if stage == wanted))
    };
    stage("import") > stage("generate")
}

#[cfg(test)]
mod tests;
