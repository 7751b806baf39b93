//! Checks the ledger's hash chain and the files it names, from the outside: nothing is locked,
//! created or changed.
//!
//! Each line carries the SHA-256 of the line before it. That reveals a line that was changed,
//! removed or added in the middle. `ledger.head` has the hash of the last line at the end of the
//! last stage, which reveals a change of that line, and lines that were cut off. Neither reveals
//! that all of it was rewritten by somebody who can compute a hash: for that, note the last hash
//! elsewhere and compare it later (`audit --expect`).
//!
//! With `run::ledger` this shares only [`hash::chained_lines`], which splits and hashes the bytes.
//! The rest differs on purpose. The ledger stops at the first line that it cannot parse as an
//! entry; an audit trusts no entry, reads only the fields that the chain needs, and reports where
//! the chain breaks and how many lines before that are sound.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    hash::{self, ChainHead},
    hint::Hint,
    verbosity,
};

/// The ledger cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub(crate) struct ChainError {
    path: PathBuf,
    source: io::Error,
}

impl Hint for ChainError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("`audit` takes the folder of a run or of a comparison".into())
    }
}

/// The state of a ledger's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Chain {
    /// Complete lines that continue the chain, from the first line on.
    pub lines: usize,
    /// SHA-256 (hex) of the last of them; of nothing if there are none.
    pub last: String,
    /// Where the chain breaks, if it does.
    pub broken: Option<Break>,
    /// Whether the last line has no newline, as after a power cut. That is not a break: the run
    /// removes the line when it is resumed and repeats its work.
    pub torn: bool,
    /// SHA-256 (hex) of each file as a stage last wrote it, by file name; the settings included.
    pub files: BTreeMap<String, String>,
    /// Edits by hand that the ledger records.
    pub edits: usize,
    /// The addresses to which prompts were sent.
    pub sent_to: BTreeSet<String>,
    /// Names of all files that a stage has ever recorded.
    #[serde(skip)]
    pub recorded: BTreeSet<String>,
    /// Lines of the ledger when `ledger.head` was written, which protects them from changes; `None`
    /// without that file.
    pub protected: Option<usize>,
    /// The first line that promises a `ledger.head`.
    #[serde(skip)]
    pub promised: Option<usize>,
    /// SHA-256 (hex) of the task's files when the run was last started or resumed.
    pub task_sha256: Option<String>,
    /// The hash of each line, in order.
    #[serde(skip)]
    pub hashes: Vec<String>,
}

/// A line that does not continue the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Break {
    /// Counted from 1.
    pub line: usize,
    /// Number of lines before it that are certainly unchanged.
    pub sound: usize,
    pub reason: String,
}

/// The fields of a line that the chain needs.
#[derive(Deserialize)]
struct Link {
    n: usize,
    prev: String,
    stage: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Only in lines that record edits by hand.
    #[serde(default)]
    changes: Vec<IgnoredAny>,
    /// Only in lines that record the start of a run, like `settings`.
    task_sha256: Option<String>,
    settings: Option<String>,
    /// Only in lines that record a teacher.
    identity: Option<Identity>,
    /// As in lines that record a start; from 1 on the ledger has a `ledger.head`.
    #[serde(default)]
    format: u32,
}

/// Of a teacher, where it answers.
#[derive(Default, Deserialize)]
struct Identity {
    remote: Option<Remote>,
}

#[derive(Deserialize)]
struct Remote {
    addresses: Vec<String>,
}

/// Follows the chain of the ledger in `folder`.
///
/// # Errors
/// A ledger that cannot be read.
pub(crate) fn follow(folder: &Path) -> Result<Chain, ChainError> {
    // The head first: a run that goes on meanwhile only appends to the ledger.
    let head = crate::fs::read_regular(&folder.join("ledger.head"), MAX_HEAD);
    let path = folder.join("ledger.jsonl");
    let mut bytes = Vec::new();
    crate::fs::open_regular(&path)
        .and_then(|mut file| io::Read::read_to_end(&mut file, &mut bytes))
        .map_err(|source| ChainError { path, source })?;
    let mut chain = chain(&bytes);
    match head {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            chain.break_at(chain.promised, hash::NO_HEAD);
        }
        head => chain.compare(head.ok().and_then(|head| serde_json::from_str(&head).ok())),
    }
    Ok(chain)
}

/// Bytes that a `ledger.head` may have.
const MAX_HEAD: u64 = 1000;

impl Chain {
    /// Compares the lines with the `head`, which is `None` if it is damaged.
    fn compare(&mut self, head: Option<ChainHead>) {
        let broken = match &head {
            None => Some((1, "the file ledger.head beside it is damaged".to_owned())),
            Some(head) => head.contradiction(&self.hashes),
        };
        self.protected = head.map(|head| head.lines);
        if let Some((line, reason)) = broken {
            self.break_at(Some(line), &reason);
        }
    }

    /// Breaks the chain at `line`, unless it is broken already.
    fn break_at(&mut self, line: Option<usize>, reason: &str) {
        if let (None, Some(line)) = (&self.broken, line) {
            self.broken = Some(Break { line, sound: line - 1, reason: reason.to_owned() });
        }
    }
}

fn chain(bytes: &[u8]) -> Chain {
    let (lines, length) = hash::chained_lines(bytes);
    let mut chain = Chain {
        lines: 0,
        last: hash::of_bytes(b""),
        broken: None,
        torn: length < bytes.len(),
        files: BTreeMap::new(),
        edits: 0,
        sent_to: BTreeSet::new(),
        recorded: BTreeSet::new(),
        protected: None,
        promised: None,
        task_sha256: None,
        hashes: Vec::new(),
    };
    // The stage that recorded each file last.
    let mut stages: BTreeMap<String, Option<String>> = BTreeMap::new();
    for line in lines {
        let (before, number) = (chain.lines, chain.lines + 1);
        let reason = match serde_json::from_slice::<Link>(line.bytes) {
            Err(error) => {
                let fault = verbosity::json_fault(&error);
                Some((before, format!("it is not a line of a ledger ({fault})")))
            }
            Ok(link) if link.n > before => Some((
                before,
                format!("it is numbered {}: lines before it are missing", link.n + 1),
            )),
            Ok(link) if link.n < before => Some((
                before,
                format!("it is numbered {}: lines were added or duplicated", link.n + 1),
            )),
            Ok(link) if link.prev != line.previous => Some((
                before.saturating_sub(1),
                match before {
                    0 => "it does not start a chain".to_owned(),
                    _ => format!("it does not continue line {before}: one of the two was changed"),
                },
            )),
            Ok(link) => {
                chain.edits += link.changes.len();
                let remote = link.identity.and_then(|identity| identity.remote);
                chain.sent_to.extend(remote.into_iter().flat_map(|remote| remote.addresses));
                chain.recorded.extend(link.files.keys().cloned());
                match &link.stage {
                    // A stage that ends again has replaced all that it wrote before.
                    Some(_) if !link.files.is_empty() => {
                        stages.retain(|_, stage| *stage != link.stage);
                        stages.extend(
                            link.files.keys().map(|name| (name.clone(), link.stage.clone())),
                        );
                        chain.files.retain(|name, _| stages.contains_key(name) || name == SETTINGS);
                    }
                    // A start, an edit or a change of the task replaces what others wrote.
                    _ => link.files.keys().for_each(|name| {
                        stages.entry(name.clone()).or_insert(None);
                    }),
                }
                chain.files.extend(link.files);
                if let Some(settings) = link.settings {
                    chain.files.insert(SETTINGS.to_owned(), hash::of_bytes(settings));
                }
                chain.promised = chain.promised.or((link.format > 0).then_some(number));
                chain.task_sha256 = link.task_sha256.or(chain.task_sha256);
                None
            }
        };
        if let Some((sound, reason)) = reason {
            chain.broken = Some(Break { line: number, sound, reason });
            break;
        }
        chain.lines = number;
        chain.last = line.hash.clone();
        chain.hashes.push(line.hash);
    }
    chain
}

/// A file that differs from what the run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    pub file: String,
    /// Whether it is missing or cannot be read.
    pub missing: bool,
    /// Whether no stage has recorded it: it was added, or its stage was interrupted.
    pub unrecorded: bool,
}

/// Why the folder with this `chain` and these `changed` files is not as its run wrote it.
pub(crate) fn faults(chain: &Chain, changed: &[Changed]) -> Vec<String> {
    let broken = chain.broken.as_ref();
    let broken = broken.map(|broken| format!("the ledger's chain breaks at line {}", broken.line));
    let first = changed.first().map(|first| {
        let fault = if first.unrecorded { "recorded in the ledger" } else { "as the run wrote it" };
        format!("{} is not {fault}", first.file.escape_debug())
    });
    broken.into_iter().chain(first).collect()
}

/// The files in `folder` that differ from the hashes in `chain`. `task.json` is compared by the
/// hash that it contains.
///
/// A name that leads out of the folder, through a symbolic link or to anything but a regular file
/// counts as a missing file: the ledger may come from somebody else.
pub(crate) fn changed_files(folder: &Path, chain: &Chain) -> Vec<Changed> {
    let mut changed = BTreeMap::new();
    for (name, wanted) in &chain.files {
        let now = regular_file(folder, name).and_then(|path| hash::of_file(&path).ok());
        if now.as_ref() != Some(wanted) {
            changed.insert(name.as_str(), now.is_none());
        }
    }
    if let Some(wanted) = &chain.task_sha256 {
        let task = regular_file(folder, TASK).and_then(|path| fs::read(path).ok());
        let now = task.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        if now.is_none_or(|TaskHash { sha256 }| sha256 != *wanted) {
            changed.entry(TASK).or_insert(task.is_none());
        }
    }
    let changed = changed.into_iter();
    let mut changed: Vec<Changed> = changed
        .map(|(file, missing)| Changed { file: file.to_owned(), missing, unrecorded: false })
        .collect();
    let changed_copy = |file| Changed { file, missing: false, unrecorded: false };
    changed.extend(changed_copies(folder).into_iter().map(changed_copy));
    let unrecorded = |file| Changed { file, missing: false, unrecorded: true };
    changed.extend(unrecorded_files(folder, chain).into_iter().map(unrecorded));
    changed
}

/// The files in `written/` that no longer have the hash in their names, of which `NAME.HASH.jsonl`
/// has the first digits: copies of what stages wrote, with which edits are found.
fn changed_copies(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join(COPIES)).into_iter().flatten().flatten();
    let names = entries.map(|entry| format!("{COPIES}/{}", entry.file_name().to_string_lossy()));
    let is_changed = |name: &String| {
        // A copy that was not finished when the program was killed.
        if name.ends_with(".part") {
            return false;
        }
        let hash = regular_file(folder, name).and_then(|path| hash::of_file(&path).ok());
        let digits = name.strip_suffix(".jsonl").and_then(|name| Some(name.rsplit_once('.')?.1));
        let digits = digits.filter(|digits| digits.len() == COPY_DIGITS);
        !hash.zip(digits).is_some_and(|(hash, digits)| hash.starts_with(digits))
    };
    let mut changed: Vec<String> = names.filter(is_changed).collect();
    changed.sort();
    changed
}

/// The outputs of a run in `folder` that no stage has recorded. Texts of the person who owns the
/// folder are none of them; a student's folder, though, is handed on as it is.
fn unrecorded_files(folder: &Path, chain: &Chain) -> Vec<String> {
    let outputs = OUTPUTS.iter().map(|name| (*name).to_owned());
    let outputs =
        outputs.filter(|name| folder.join(name).exists() && !chain.recorded.contains(name));
    let student = fs::read_dir(folder.join(STUDENT)).into_iter().flatten().flatten();
    let student = student.map(|entry| format!("{STUDENT}/{}", entry.file_name().to_string_lossy()));
    outputs.chain(student.filter(|name| !chain.files.contains_key(name))).collect()
}

/// What stages write, but for the student.
const OUTPUTS: [&str; 14] = [
    "augmented.jsonl",
    "set-aside.jsonl",
    "junk.jsonl",
    "relabelled.jsonl",
    "labelled.jsonl",
    "gold.jsonl",
    "train.jsonl",
    "dropped.jsonl",
    "predictions.json",
    "student.key",
    "report.json",
    "report.html",
    "compare.json",
    "compare.md",
];
const STUDENT: &str = "student";
const COPIES: &str = "written";
/// Digits of the hash in the name of a copy.
const COPY_DIGITS: usize = 16;
const SETTINGS: &str = "settings.toml";
const TASK: &str = "task.json";

/// The field of `task.json` that is compared with the chain.
#[derive(Deserialize)]
struct TaskHash {
    sha256: String,
}

/// The regular file `name` in `folder`, reached without symbolic links.
fn regular_file(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    let mut plain = false;
    for part in Path::new(name).components() {
        let Component::Normal(part) = part else { return None };
        path.push(part);
        let kind = fs::symlink_metadata(&path).ok()?.file_type();
        if kind.is_symlink() {
            return None;
        }
        plain = kind.is_file();
    }
    plain.then_some(path)
}

#[cfg(test)]
mod tests;
