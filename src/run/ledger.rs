//! The ledger: an append-only file of all work that takes time (each teacher call, each student),
//! from which a killed run resumes, and of all decisions (each label, each dropped text), for
//! inspection.
//!
//! One JSON object per line. Each line carries the SHA-256 of the line before it, so a changed or
//! missing line is detected. Lines are written in one piece and synced; an incomplete last line is
//! removed. Calls and students are found by their key in an index, not by scanning.
//!
//! The open file is locked: two processes that append would break the chain. At the end of each
//! stage the hash of the last line goes into `ledger.head` as well, since no line follows it that
//! would show a change.

mod task_changed;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs::{File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    dataset::{PickedText, RowEdit, TestPredictions},
    fs::{is_at, open_for_update, write_atomic},
    hash::{self, ChainHead},
    hint::Hint,
    interrupt,
    prompt::reply::ReplyFault,
    shard::Shard,
    teacher::TeacherIdentity,
    verbosity,
};

use super::names;

pub(crate) use task_changed::{KeptTexts, SetAside, TaskChanged};

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is in use by another process")]
    Locked { path: PathBuf },
    #[error("{path}:{line}: {message}")]
    Broken { path: PathBuf, line: usize, message: String },
}

impl Hint for LedgerError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Write { .. } => {
                "finished work is kept; fix the cause, then rerun the command to continue"
            }
            Self::Read { .. } => "check the file's permissions and the disk",
            Self::Locked { .. } => "wait until it has finished",
            Self::Broken { .. } => {
                "the ledger was edited or the disk is faulty, so its content cannot be trusted; start in another folder with --out"
            }
        };
        Some(hint.into())
    }
}

/// The format of ledgers. From 1 on a ledger that names it has a `ledger.head` beside it, so that
/// nobody removes that file unseen.
pub(super) const FORMAT: u32 = 1;

fn is_old(format: &u32) -> bool {
    *format == 0
}

/// One fact of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// A run was started, or resumed with other settings.
    Begun {
        version: String,
        started: String,
        task_sha256: String,
        prompts_sha256: String,
        settings: String,
        /// [`FORMAT`]; 0 in older ledgers.
        #[serde(default, skip_serializing_if = "is_old")]
        format: u32,
        /// SHA-256 (hex) of `task.json`, by its name; absent in older ledgers.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        files: BTreeMap<String, String>,
    },
    /// The task changed; what is kept of the run so far.
    TaskChanged(Box<TaskChanged>),
    /// The teacher that answers from here on.
    Teacher { identity: TeacherIdentity },
    /// The teacher's reply to one request for new texts.
    Reply {
        key: String,
        ask: String,
        reply: String,
        complete: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<ReplyFault>,
        prompt_tokens: usize,
        generated_tokens: usize,
        seconds: f64,
    },
    /// The teacher's scores (natural log-probabilities) of one text's candidate classes.
    Scores {
        key: String,
        stage: String,
        log_probs: Vec<f32>,
        /// Tokens of each candidate's name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tokens: Vec<usize>,
        prompt_tokens: usize,
        seconds: f64,
    },
    /// The unlabelled texts that the teacher is asked about.
    Picked {
        key: String,
        texts: Vec<PickedText>,
        /// What became of the others.
        counts: BTreeMap<String, usize>,
    },
    /// A request that ended the teacher's process each time it was tried. It is not sent again.
    Skipped { key: String, stage: String, request: String, reason: String },
    /// The teacher's process ended unexpectedly and was started again.
    Restart { stage: String, reason: String },
    /// A trained student and what it predicted on the test set.
    Student {
        key: String,
        row: String,
        seed: u64,
        train_rows: usize,
        /// Hash of all that the student depends on; `key` adds the test set. Empty in older
        /// ledgers.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        training: String,
        /// SHA-256 (hex) of the weights that it was trained from; empty in older ledgers.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        base_sha256: String,
        #[serde(flatten)]
        predictions: TestPredictions,
        seconds: f64,
    },
    /// The answers that follow are those of one shard of `stage`; if `finished`, all of them
    /// precede this entry.
    Shard {
        stage: String,
        #[serde(flatten)]
        shard: Shard,
        finished: bool,
    },
    /// What a stage decided about one row of the file that it read.
    Decision {
        stage: String,
        /// The row's `id`.
        row: usize,
        /// The class that it was given, `kept`, or the reason why it was dropped.
        outcome: String,
    },
    /// What a person edited in one file by hand.
    Edit {
        file: String,
        /// The system's name of the user who recorded it.
        by: String,
        /// When it was recorded.
        at: String,
        changes: Vec<RowEdit>,
        /// SHA-256 (hex) of the files as they are with the edits, by their names.
        files: BTreeMap<String, String>,
    },
    /// A stage has finished.
    Stage {
        stage: String,
        counts: BTreeMap<String, usize>,
        /// SHA-256 (hex) of the files that it wrote, by their names in the run folder.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        files: BTreeMap<String, String>,
    },
}

impl Entry {
    /// The key of a call or a student: the hash of all that its result depends on.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Reply { key, .. }
            | Self::Scores { key, .. }
            | Self::Picked { key, .. }
            | Self::Skipped { key, .. }
            | Self::Student { key, .. } => Some(key),
            Self::Begun { .. }
            | Self::TaskChanged(_)
            | Self::Teacher { .. }
            | Self::Restart { .. }
            | Self::Shard { .. }
            | Self::Decision { .. }
            | Self::Edit { .. }
            | Self::Stage { .. } => None,
        }
    }
}

/// A line of the file: the entry and its place in the chain.
#[derive(Serialize, Deserialize)]
struct Line {
    n: usize,
    /// SHA-256 (hex) of the line before, without its newline; of nothing for the first.
    prev: String,
    #[serde(flatten)]
    entry: Entry,
}

/// The open ledger of a run folder, with all its entries in memory.
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    length: u64,
    last: String,
    entries: Vec<Entry>,
    /// Places in `entries` of the last call or student of each key.
    by_key: HashMap<String, usize>,
    torn: bool,
}

impl Ledger {
    /// Opens or creates `path` and checks the whole chain.
    ///
    /// # Errors
    /// An unreadable file, a link, a file that another process has open, a broken chain (with its
    /// line).
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        let read = |source| LedgerError::Read { path: path.to_owned(), source };
        let write = |source| LedgerError::Write { path: path.to_owned(), source };
        let mut file = locked(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(read)?;
        let (entries, last, length) = parse(path, &bytes)?;
        check_head(path, &bytes, &entries)?;
        let torn = length < bytes.len();
        if torn {
            file.set_len(length as u64).map_err(write)?;
            file.seek(SeekFrom::End(0)).map_err(write)?;
        }
        let (path, length) = (path.to_owned(), length as u64);
        let mut ledger =
            Self { path, file, length, last, entries: Vec::new(), by_key: HashMap::new(), torn };
        ledger.index(entries);
        Ok(ledger)
    }

    /// Whether another process has the ledger `path` open. Creates nothing.
    pub(crate) fn is_in_use(path: &Path) -> bool {
        let file = crate::fs::open_regular(path);
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn index(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if let Some(key) = entry.key() {
                self.by_key.insert(key.to_owned(), self.entries.len());
            }
            self.entries.push(entry);
        }
    }

    /// The last call or student that was recorded under `key`.
    pub(crate) fn find(&self, key: &str) -> Option<&Entry> {
        self.by_key.get(key).map(|place| &self.entries[*place])
    }

    /// The counts of the last time that `stage` finished; empty if it never did.
    pub(crate) fn counts(&self, stage: &str) -> BTreeMap<String, usize> {
        let counts = |entry: &Entry| match entry {
            Entry::Stage { stage: other, counts, .. } if other == stage => Some(counts.clone()),
            _ => None,
        };
        self.entries.iter().rev().find_map(counts).unwrap_or_default()
    }

    /// Whether the last line was incomplete, as after a power cut, and was removed.
    pub(crate) fn was_torn(&self) -> bool {
        self.torn
    }

    /// All entries, oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Writes `entries` in one piece and syncs them.
    ///
    /// # Errors
    /// A failed write; nothing of it is kept.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> Result<(), LedgerError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut last = self.last.clone();
        for (offset, entry) in entries.iter().enumerate() {
            let line = Line { n: self.entries.len() + offset, prev: last, entry: entry.clone() };
            let line =
                serde_json::to_vec(&line).expect("an entry holds nothing that JSON cannot write");
            last = hash::of_bytes(&line);
            bytes.extend(line);
            bytes.push(b'\n');
        }
        let _whole = interrupt::hold();
        if !is_at(&self.file, &self.path) {
            let source = io::Error::other("it was removed or replaced by another program");
            return Err(LedgerError::Write { path: self.path.clone(), source });
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Best effort: if this fails too, the incomplete line is removed when the run resumes.
            let _ = self.file.set_len(self.length);
            return Err(LedgerError::Write { path: self.path.clone(), source });
        }
        self.length += bytes.len() as u64;
        self.last = last;
        self.index(entries);
        Ok(())
    }

    /// Appends `entries` that end a stage or begin a run, and records that the ledger went so far.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn append_and_seal(&mut self, entries: Vec<Entry>) -> Result<(), LedgerError> {
        // Before the first entry that promises the file: the program may be killed behind it.
        if !self.path.with_file_name(names::HEAD).exists() {
            self.seal()?;
        }
        self.append(entries)?;
        self.seal()
    }

    fn seal(&self) -> Result<(), LedgerError> {
        let path = self.path.with_file_name(names::HEAD);
        let head = ChainHead { lines: self.entries.len(), sha256: self.last.clone() };
        let json = serde_json::to_vec(&head).expect("a number and a hash are JSON");
        write_atomic(&path, &json).map_err(|source| LedgerError::Write { path, source })
    }
}

/// The last entry that records the hash of the file `name`: its place, and the hash.
pub(super) fn last_record<'a>(entries: &'a [Entry], name: &str) -> Option<(usize, &'a str)> {
    entries.iter().enumerate().rev().find_map(|(at, entry)| match entry {
        Entry::Stage { files, .. } | Entry::Edit { files, .. } => {
            files.get(name).map(|sha256| (at, sha256.as_str()))
        }
        Entry::TaskChanged(changed) => changed.files.get(name).map(|sha256| (at, sha256.as_str())),
        _ => None,
    })
}

/// Opens or creates the ledger `path` and locks it; closing the file releases the lock.
fn locked(path: &Path) -> Result<File, LedgerError> {
    let write = |source| LedgerError::Write { path: path.to_owned(), source };
    loop {
        let file = open_for_update(path).map_err(write)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::Locked { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(write(source)),
        }
        // Another process may have replaced the file before it was locked.
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

/// Checks the lines in `bytes` of the ledger `path`, which are `entries`, against the file
/// [`names::HEAD`] beside it. Only older runs have none.
fn check_head(path: &Path, bytes: &[u8], entries: &[Entry]) -> Result<(), LedgerError> {
    let broken = |line, message| LedgerError::Broken { path: path.to_owned(), line, message };
    let head = path.with_file_name(names::HEAD);
    let head = match crate::fs::read(&head) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let promises = |entry: &Entry| matches!(entry, Entry::Begun { format: FORMAT.., .. });
            return match entries.iter().position(promises) {
                Some(at) => Err(broken(at + 1, hash::NO_HEAD.to_owned())),
                None => Ok(()),
            };
        }
        Err(source) => return Err(LedgerError::Read { path: head, source }),
        Ok(head) => head,
    };
    let head: ChainHead = serde_json::from_slice(&head)
        .map_err(|_| broken(1, format!("the file {} beside it is damaged", names::HEAD)))?;
    let hashes: Vec<String> = hash::chained_lines(bytes).0.map(|line| line.hash).collect();
    match head.contradiction(&hashes) {
        Some((line, message)) => Err(broken(line, message)),
        None => Ok(()),
    }
}

/// The entries of the ledger `path`, whole as it was when a stage last ended.
///
/// # Errors
/// A file that is missing, a broken chain, with its line.
pub(super) fn read_whole(path: &Path) -> Result<Vec<Entry>, LedgerError> {
    let read = |source| LedgerError::Read { path: path.to_owned(), source };
    let bytes = crate::fs::read(path).map_err(read)?;
    let entries = parse(path, &bytes)?.0;
    check_head(path, &bytes, &entries)?;
    Ok(entries)
}

/// The entries in a ledger's content, the hash of its last line, and the length of its complete
/// lines; what follows them is an interrupted write. `path` is named in errors.
///
/// # Errors
/// A broken chain, with its line.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<(Vec<Entry>, String, usize), LedgerError> {
    let (lines, length) = hash::chained_lines(bytes);
    let mut last = hash::of_bytes(b"");
    let mut entries = Vec::new();
    for (index, line) in lines.enumerate() {
        let broken = |message: String| LedgerError::Broken {
            path: path.to_owned(),
            line: index + 1,
            message,
        };
        let parsed: Line = serde_json::from_slice(line.bytes)
            .map_err(|error| broken(verbosity::json_fault(&error)))?;
        if parsed.prev != line.previous || parsed.n != index {
            return Err(broken("the line does not continue the chain of hashes".to_owned()));
        }
        last = line.hash;
        entries.push(parsed.entry);
    }
    Ok((entries, last, length))
}

#[cfg(test)]
mod tests;
