//! A run is a folder. Each stage reads the file that the last one wrote and writes the next, so any
//! stage can be run alone, looked at with `jq`, resumed or replaced:
//!
//! ```text
//! settings.toml task.json ─ generate ─► augmented.jsonl ─ relabel ─► relabelled.jsonl
//!     ─ filter ─► train.jsonl, dropped.jsonl ─ train ─► student/ ─ evaluate ─► report.json, report.html
//! ```
//!
//! What costs time goes into the [`ledger`] the moment it is finished. A stage that is started again
//! looks there first; killing the program at any point loses at most the requests in flight.

pub(crate) mod arms;
pub(crate) mod assembly;
mod calls;
pub mod card;
mod evaluate;
mod filtering;
mod free_text;
mod generate;
pub(crate) mod gold;
mod import;
pub mod ledger;
mod published;
mod record;
mod relabelling;
mod replay;
#[cfg(test)]
mod scripted;
pub(crate) mod sections;
mod train;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

pub use evaluate::evaluate;
pub use filtering::filter;
pub use generate::generate;
pub(crate) use generate::{Counts, Harvest, harvest, nearest};
pub use import::import;
pub use record::Record;
pub use relabelling::relabel;
pub(crate) use relabelling::{Scoring, relabelled};
pub use replay::replay;
pub(crate) use train::{Job, School};
pub use train::{Said, TrainedRow, train};

use crate::{
    augment::Setting,
    config::Settings,
    eval::EvalError,
    interrupt,
    prompt::{PromptError, Prompts},
    relabel::QuestionError,
    report::{Report, ReportError},
    student::StudentError,
    task::{LabelledText, Task},
    teacher::{TeacherError, TeacherIdentity},
    voice,
};
use ledger::{Entry, Ledger, LedgerError};

/// Why a stage could not be finished. What it had done by then is in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Teacher(#[from] TeacherError),
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(
        "cannot write {path}: {source}\nhint: what was finished is safe; mend it and run the same command again"
    )]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}\nhint: {hint}")]
    Read { path: PathBuf, source: io::Error, hint: &'static str },
    #[error(
        "{path}:{line}: {message}\nhint: each line holds one JSON object with the keys of this stage's rows"
    )]
    Row { path: PathBuf, line: usize, message: String },
    #[error(
        "{path} belongs to another task (its classes, seeds or test set differ)\nhint: choose another folder with --out, or go back to the task it was begun with"
    )]
    OtherTask { path: PathBuf },
    #[error(
        "{file} is not the teacher that {path} was begun with: its sha256 is {found}, it was {was}\nhint: put the old file back; with the new one start anew in another folder with --out, or give it another name to go on with both"
    )]
    OtherTeacher { file: PathBuf, path: PathBuf, was: String, found: String },
    #[error(
        "{path} is in use by another promptmix (process {pid})\nhint: wait until it has finished, or choose another folder with --out"
    )]
    InUse { path: PathBuf, pid: String },
    #[error(
        "{path} is not a run folder: it holds other files\nhint: choose an empty or a new folder with --out"
    )]
    NotARun { path: PathBuf },
    #[error("{path} holds a single run\nhint: give the comparison a folder of its own with --out")]
    SingleRun { path: PathBuf },
    #[error("{path} holds a comparison\nhint: give the run a folder of its own with --out")]
    Comparison { path: PathBuf },
    #[error(
        "{path} names no teacher\nhint: `replay:` takes the ledger of a run that has generated or relabelled texts"
    )]
    NoTeacher { path: PathBuf },
    #[error(
        "augment.partners is \"confusable\", but nothing says which classes are near each other\nhint: give a student, whose embeddings do, or set augment.partners=even"
    )]
    NoEmbedder,
    #[error(
        "no text is left to train on\nhint: `dropped.jsonl` says why each one was dropped; {detail}"
    )]
    NothingLeft { detail: String },
}

/// What a stage tells whoever is watching.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage begins with `total` items, `resumed` of which are known from before.
    Begin { stage: &'static str, total: usize, resumed: usize },
    /// `items` more are finished; of them `rejected` came to nothing; `tokens` were read or written.
    Advance { items: usize, rejected: usize, tokens: usize },
    /// The stage is over; a summary in words.
    End { summary: String },
    /// Something the user should know. Quotes no text.
    Warning(String),
    /// Something that `-v` shows. Quotes no text.
    Fact(String),
    /// A text of the task or of the teacher, private: `-vv` shows it.
    Text { what: String, text: String },
}

/// What texts and labels depend on beside the teacher: the task and the few-shot subset of one seed.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub task: &'a Task,
    /// The few-shot subset.
    pub seeds: &'a [LabelledText],
    pub settings: &'a Settings,
    pub prompts: &'a Prompts,
    /// The seed of the prompts.
    pub seed: u64,
}

impl<'a> Scene<'a> {
    /// What a method of asking sees of it; `nearest` as [`Setting::nearest`] has it.
    pub(crate) fn setting(&self, nearest: &'a [Vec<usize>]) -> Setting<'a> {
        let Self { task, seeds, settings, prompts, seed } = *self;
        Setting { task, seeds, prompts, settings: &settings.augment, nearest, seed }
    }
}

/// Receives the events of a stage.
pub type Watch<'a> = &'a mut (dyn FnMut(Event) + Send);

/// The empty file that marks the folder of a comparison.
const COMPARISON: &str = "comparison";

/// An open run folder, locked against other programs.
pub struct RunFolder {
    path: PathBuf,
    ledger: Ledger,
    _lock: File,
}

impl RunFolder {
    /// Creates `path` or takes it up again, for `task` with `settings`.
    ///
    /// # Errors
    /// A folder with other files, of another task, in use, or not writable.
    pub fn open(
        path: &Path,
        task: &Task,
        settings: &Settings,
        prompts: &Prompts,
    ) -> Result<Self, RunError> {
        if path.join(COMPARISON).exists() {
            return Err(RunError::Comparison { path: path.to_owned() });
        }
        Self::open_either(path, task, settings, prompts)
    }

    fn open_either(
        path: &Path,
        task: &Task,
        settings: &Settings,
        prompts: &Prompts,
    ) -> Result<Self, RunError> {
        let known = path.join("task.json");
        if !known.exists()
            && fs::read_dir(path).is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| {
                        !["run.lock", "ledger.jsonl"]
                            .contains(&&*entry.file_name().to_string_lossy())
                    })
                })
            })
        {
            return Err(RunError::NotARun { path: path.to_owned() });
        }
        create_private_folder(path)?;
        let mut run = Self::lock(path)?;
        if known.exists() {
            let before: Task = read_json(&known)?;
            if before.sha256 != task.sha256 {
                return Err(RunError::OtherTask { path: path.to_owned() });
            }
        } else {
            let json = serde_json::to_vec_pretty(task)
                .expect("a task holds nothing that JSON cannot write");
            run.write("task.json", &json)?;
        }
        let settings_text = settings.to_toml();
        let begun = run.ledger.entries().iter().rev().find_map(|entry| match entry {
            Entry::Begun { settings, prompts_sha256, .. } => Some((settings, prompts_sha256)),
            _ => None,
        });
        if begun.is_none_or(|begun| begun != (&settings_text, &prompts.sha256().to_owned())) {
            run.write("settings.toml", settings_text.as_bytes())?;
            run.ledger.append(vec![Entry::Begun {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: now(),
                task_sha256: task.sha256.clone(),
                prompts_sha256: prompts.sha256().to_owned(),
                settings: settings_text,
            }])?;
        }
        Ok(run)
    }

    /// As [`Self::open`], for a comparison.
    ///
    /// # Errors
    /// The same, and a folder that holds a single run.
    pub fn open_comparison(
        path: &Path,
        task: &Task,
        settings: &Settings,
        prompts: &Prompts,
    ) -> Result<Self, RunError> {
        let mark = path.join(COMPARISON);
        if path.join("task.json").exists() && !mark.exists() {
            return Err(RunError::SingleRun { path: path.to_owned() });
        }
        let run = Self::open_either(path, task, settings, prompts)?;
        run.write(COMPARISON, b"")?;
        Ok(run)
    }

    /// Writes `compare.json`, `compare.md` and the report; returns the first.
    ///
    /// # Errors
    /// A disk that does not take them.
    pub fn write_comparison(
        &self,
        report: &Report,
        models: serde_json::Value,
        markdown: &str,
    ) -> Result<String, RunError> {
        let comparison = report.comparison.as_ref();
        let json = serde_json::to_string_pretty(&serde_json::json!({
            "task": report.task.name,
            "task_sha256": report.task.sha256,
            "test_rows": report.task.test_rows,
            "rows": comparison.map(|comparison| &comparison.lines),
            "differences": comparison.map(|comparison| &comparison.differences),
            "left_out": comparison.map(|comparison| &comparison.left_out),
            "models": models,
            "warnings": report.warnings,
            "provenance": report.provenance,
        }));
        let json = json.expect("a comparison holds nothing that JSON cannot write");
        self.write("compare.json", format!("{json}\n").as_bytes())?;
        self.write("compare.md", markdown.as_bytes())?;
        report.write(&self.path)?;
        Ok(json)
    }

    /// Takes up an existing run folder with the task and the settings it was begun with.
    pub fn reopen(path: &Path) -> Result<(Self, Task, Settings), RunError> {
        let settings = read_settings(path)?;
        let task = read_json(&path.join("task.json"))?;
        Ok((Self::lock(path)?, task, settings))
    }

    fn lock(path: &Path) -> Result<Self, RunError> {
        let lock_path = path.join("run.lock");
        let write = |source| RunError::Write { path: lock_path.clone(), source };
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut lock = options.open(&lock_path).map_err(write)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&lock_path).unwrap_or_default().trim().to_owned();
                return Err(RunError::InUse { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(write(source)),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(write)?;
        sweep(path);
        let ledger = Ledger::open(&path.join("ledger.jsonl"))?;
        Ok(Self { path: path.to_owned(), ledger, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the user should know about the folder as it was found.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.ledger.was_torn() {
            remarks.push(format!(
                "{}: the last line was not whole, as after a power cut or on a full disk; it was cut off, and what it held is done again",
                self.path.join("ledger.jsonl").display()
            ));
        }
        #[cfg(unix)]
        if let Ok(metadata) = fs::metadata(&self.path) {
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
            if mode & 0o077 != 0 {
                let path = self.path.display();
                remarks.push(format!(
                    "others may look into {path} (mode {mode:o})\nhint: chmod -R go= {path}"
                ));
            }
        }
        remarks
    }

    /// Whether the texts of this run were written elsewhere.
    pub fn is_imported(&self) -> bool {
        imported(self.ledger.entries())
    }

    /// Replaces `name` in one step: a reader sees the old file or the new one, never half of it.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.path.join(name);
        replace_file(&path, bytes).map_err(|source| RunError::Write { path, source })
    }

    /// Writes JSONL to `name`, which may lie in a folder below.
    pub(crate) fn write_rows<T: Serialize>(&self, name: &str, rows: &[T]) -> Result<(), RunError> {
        if let Some(below) = Path::new(name).parent().filter(|path| !path.as_os_str().is_empty()) {
            create_private_folder(&self.path.join(below))?;
        }
        let mut bytes = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut bytes, row)
                .expect("a row holds nothing that JSON cannot write");
            bytes.push(b'\n');
        }
        self.write(name, &bytes)
    }

    fn read_rows<T: DeserializeOwned>(
        &self,
        name: &str,
        hint: &'static str,
    ) -> Result<Vec<T>, RunError> {
        let path = self.path.join(name);
        let read = |source| RunError::Read { path: path.clone(), source, hint };
        let file = File::open(&path).map_err(read)?;
        let mut rows = Vec::new();
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(read)?;
            if line.trim().is_empty() {
                continue;
            }
            rows.push(serde_json::from_str(&line).map_err(|error| RunError::Row {
                path: path.clone(),
                line: index + 1,
                message: voice::json_fault(&error),
            })?);
        }
        Ok(rows)
    }

    /// Notes who answers, unless that is known.
    fn note_teacher(&mut self, identity: &TeacherIdentity) -> Result<(), RunError> {
        let last = self.ledger.entries().iter().rev().find_map(|entry| match entry {
            Entry::Teacher { identity } => Some(identity),
            _ => None,
        });
        let same_file = self.ledger.entries().iter().rev().find_map(|entry| match entry {
            Entry::Teacher { identity: before } if before.file == identity.file => Some(before),
            _ => None,
        });
        if let Some(before) = same_file.filter(|before| before.sha256 != identity.sha256) {
            return Err(RunError::OtherTeacher {
                file: identity.file.clone(),
                path: self.path.clone(),
                was: before.sha256.clone(),
                found: identity.sha256.clone(),
            });
        }
        if last != Some(identity) {
            self.ledger.append(vec![Entry::Teacher { identity: identity.clone() }])?;
        }
        Ok(())
    }

    /// Notes that `stage` has come to its end, with what it decided about each row and the hashes of
    /// the `files` it wrote, unless that is the last thing known of it.
    fn finish_stage(
        &mut self,
        stage: &str,
        counts: &[(&str, usize)],
        files: &[&str],
        decisions: Vec<(usize, String)>,
    ) -> Result<(), RunError> {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let hashed = files.iter().map(|name| Ok(((*name).to_owned(), self.hash(name)?)));
        let files = hashed.collect::<Result<_, RunError>>()?;
        let end = Entry::Stage { stage: stage.to_owned(), counts, files };
        let known = self.ledger.entries();
        let last = known.iter().rposition(
            |entry| matches!(entry, Entry::Stage { stage: other, .. } if other == stage),
        );
        if last.is_some_and(|last| known[last] == end) {
            return Ok(());
        }
        let mut entries: Vec<Entry> = decisions
            .into_iter()
            .map(|(row, outcome)| Entry::Decision { stage: stage.to_owned(), row, outcome })
            .collect();
        // A power cut may have left the first of them.
        let since = &known[last.map_or(0, |last| last + 1)..];
        let written: Vec<&Entry> = since
            .iter()
            .filter(|entry| matches!(entry, Entry::Decision { stage: other, .. } if other == stage))
            .collect();
        if entries.len() >= written.len() && written.iter().zip(&entries).all(|(a, b)| **a == *b) {
            entries.drain(..written.len());
        }
        entries.push(end);
        self.ledger.append(entries)?;
        Ok(())
    }

    /// SHA-256 (hex) of the file `name`.
    fn hash(&self, name: &str) -> Result<String, RunError> {
        let path = self.path.join(name);
        let mut hash = Sha256::new();
        let hint = "another program took the file away; run the same command again";
        File::open(&path)
            .and_then(|mut file| io::copy(&mut file, &mut hash))
            .map_err(|source| RunError::Read { path, source, hint })?;
        Ok(format!("{:x}", hash.finalize()))
    }
}

/// Whether the texts came from elsewhere, after all that these entries say.
fn imported(entries: &[Entry]) -> bool {
    let stage = |wanted: &str| {
        entries
            .iter()
            .rposition(|entry| matches!(entry, Entry::Stage { stage, .. } if stage == wanted))
    };
    stage("import") > stage("generate")
}

/// The settings that the run in the folder `path` was begun with.
fn read_settings(path: &Path) -> Result<Settings, RunError> {
    let hint = "this is no run folder; `promptmix run TASK --out DIR` or `promptmix generate TASK --out DIR` begins one";
    let path = path.join("settings.toml");
    let text = fs::read_to_string(&path).map_err(|source| RunError::Read {
        path: path.clone(),
        source,
        hint,
    })?;
    toml::from_str(&text).map_err(|error| RunError::Row {
        path,
        line: error.span().map_or(1, |span| text[..span.start].lines().count().max(1)),
        message: error.message().to_owned(),
    })
}

/// The seeds that this run uses.
fn run_seeds(task: &Task, settings: &Settings) -> Vec<LabelledText> {
    task.draw_seeds(settings.run.seed)
}

/// SHA-256 (hex) over the JSON of `parts`: names a piece of work by everything it depends on.
fn key(parts: &impl Serialize) -> String {
    let json = serde_json::to_vec(parts).expect("keys are plain values");
    format!("{:x}", Sha256::digest(json))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let hint = "the run folder is incomplete; start anew in another one with --out";
    let bytes =
        fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source, hint })?;
    serde_json::from_slice(&bytes).map_err(|error| RunError::Row {
        path: path.to_owned(),
        line: error.line(),
        message: voice::json_fault(&error),
    })
}

fn create_private_folder(path: &Path) -> Result<(), RunError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| RunError::Write { path: path.to_owned(), source })
}

fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _whole = interrupt::hold();
    let temporary = path.with_extension("part");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Removes what a program that was killed in the middle of a write has left in the run folder `path`:
/// each file and each student is written beside its place and renamed. Best effort: a leftover does no
/// harm.
fn sweep(path: &Path) {
    let numbered = |name: &str, before: &str| {
        let number = name.strip_prefix(before);
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(name) = name.to_str() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        let report = name.strip_suffix(".tmp").is_some_and(|name| numbered(name, "report."));
        if kind.is_file() && (name.ends_with(".part") || report) {
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

/// Now, as `YYYY-MM-DD hh:mm:ss UTC`.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days since 1970-01-01.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}
