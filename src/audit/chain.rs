//! The ledger's chain, followed without the program that writes it: nothing is locked, created or
//! changed, and what an entry says does not matter.
//!
//! Each line carries the SHA-256 of the one before it. That shows a changed, missing or added line in the
//! middle. It cannot show that lines at the end were taken away, or that the whole was written anew:
//! for that the last hash is to be noted elsewhere and held against the chain later.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{hash, hint::Hint, verbosity};

/// Why the ledger cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}\nhint: `audit` takes the folder of a run or of a comparison")]
pub(crate) struct ChainError {
    path: PathBuf,
    source: io::Error,
}

impl Hint for ChainError {}

/// What the chain of a ledger is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Chain {
    /// Whole lines that continue the chain, from the first on.
    pub lines: usize,
    /// SHA-256 (hex) of the last of them; of nothing where there is none.
    pub last: String,
    /// Where it breaks.
    pub broken: Option<Break>,
    /// Whether the last line was cut off in the middle, as by a power cut. No break: it is cut off and
    /// its work done again when the run goes on.
    pub torn: bool,
    /// What the stages wrote last, by file name, as SHA-256 (hex); the settings among it.
    pub files: BTreeMap<String, String>,
    /// The task that the run was begun with or taken up with last, by the SHA-256 (hex) of its files.
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
    /// Lines before it that are beyond doubt.
    pub sound: usize,
    pub reason: String,
}

/// As much of a line as the chain needs.
#[derive(Deserialize)]
struct Link {
    n: usize,
    prev: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Of the lines that say with what a run was begun.
    task_sha256: Option<String>,
    settings: Option<String>,
}

/// Follows the chain of the ledger in `folder`.
///
/// # Errors
/// A ledger that cannot be read.
pub(crate) fn follow(folder: &Path) -> Result<Chain, ChainError> {
    let path = folder.join("ledger.jsonl");
    let bytes = fs::read(&path).map_err(|source| ChainError { path, source })?;
    Ok(chain(&bytes))
}

fn chain(bytes: &[u8]) -> Chain {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut chain = Chain {
        lines: 0,
        last: hash(b""),
        broken: None,
        torn: whole < bytes.len(),
        files: BTreeMap::new(),
        task_sha256: None,
        hashes: Vec::new(),
    };
    for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
        let line = &line[..line.len() - 1];
        let (before, number) = (chain.lines, chain.lines + 1);
        let reason = match serde_json::from_slice::<Link>(line) {
            Err(error) => {
                let fault = verbosity::json_fault(&error);
                Some((before, format!("it is no line of a ledger ({fault})")))
            }
            Ok(link) if link.n > before => Some((
                before,
                format!("it is numbered {}: lines before it are missing", link.n + 1),
            )),
            Ok(link) if link.n < before => Some((
                before,
                format!("it is numbered {}: lines were added or doubled", link.n + 1),
            )),
            Ok(link) if link.prev != chain.last => Some((
                before.saturating_sub(1),
                match before {
                    0 => "it does not begin a chain".to_owned(),
                    _ => format!("it does not continue line {before}: one of the two was changed"),
                },
            )),
            Ok(link) => {
                chain.files.extend(link.files);
                if let Some(settings) = link.settings {
                    chain.files.insert("settings.toml".to_owned(), hash(settings.as_bytes()));
                }
                chain.task_sha256 = link.task_sha256.or(chain.task_sha256);
                None
            }
        };
        if let Some((sound, reason)) = reason {
            chain.broken = Some(Break { line: number, sound, reason });
            break;
        }
        chain.lines = number;
        chain.last = hash(line);
        chain.hashes.push(chain.last.clone());
    }
    chain
}

/// A file that is no longer what the run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    pub file: String,
    /// Whether it is gone, or cannot be read.
    pub missing: bool,
}

/// Those files in `folder` that are not what `chain` notes: by their SHA-256, and the task by the one
/// that it carries itself.
///
/// A name that leads out of the folder, over a link or to anything but a plain file is taken for a
/// missing file: the ledger may come from somebody else.
pub(crate) fn changed_files(folder: &Path, chain: &Chain) -> Vec<Changed> {
    let mut changed = BTreeMap::new();
    for (name, wanted) in &chain.files {
        let now = within(folder, name).and_then(|path| hash::of_file(&path).ok());
        if now.as_ref() != Some(wanted) {
            changed.insert(name.as_str(), now.is_none());
        }
    }
    if let Some(wanted) = &chain.task_sha256 {
        let task = within(folder, TASK).and_then(|path| fs::read(path).ok());
        let now = task.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        if now.is_none_or(|TaskHash { sha256 }| sha256 != *wanted) {
            changed.entry(TASK).or_insert(task.is_none());
        }
    }
    let told = |(file, missing): (&str, bool)| Changed { file: file.to_owned(), missing };
    changed.into_iter().map(told).collect()
}

const TASK: &str = "task.json";

/// As much of a task as is held against the chain.
#[derive(Deserialize)]
struct TaskHash {
    sha256: String,
}

/// The plain file `name` in `folder`, reached without links.
fn within(folder: &Path, name: &str) -> Option<PathBuf> {
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

fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of lines with these bodies.
    fn ledger(bodies: &[&str]) -> Vec<String> {
        let mut last = hash(b"");
        let link = |(n, body): (usize, &&str)| {
            let line =
                format!("{{\"n\":{n},\"prev\":\"{last}\",\"kind\":\"x\",\"body\":\"{body}\"}}");
            last = hash(line.as_bytes());
            line
        };
        bodies.iter().enumerate().map(link).collect()
    }

    fn of(lines: &[String]) -> Chain {
        chain((lines.join("\n") + "\n").as_bytes())
    }

    #[test]
    fn a_sound_chain_and_a_torn_line() {
        let lines = ledger(&["a", "b", "c"]);
        let sound = of(&lines);
        assert_eq!((sound.lines, sound.torn, &sound.broken), (3, false, &None));
        assert_eq!(sound.last, hash(lines[2].as_bytes()));
        let torn = chain((lines.join("\n") + "\n{\"n\":3,\"pre").as_bytes());
        assert_eq!((torn.lines, torn.torn, torn.broken), (3, true, None));
        assert_eq!((chain(b"").lines, chain(b"").torn), (0, false));
        assert!(chain(b"{").torn, "a first line that was never finished");
    }

    #[test]
    fn each_kind_of_break_is_told() {
        let lines = ledger(&["a", "b", "c", "d"]);
        let broken = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            of(&lines).broken.expect("a break")
        };
        let changed = broken(&|lines| lines[1] = lines[1].replace("\"b\"", "\"x\""));
        assert_eq!((changed.line, changed.sound), (3, 1), "{changed:?}");
        let gone = broken(&|lines| drop(lines.remove(1)));
        assert_eq!((gone.line, gone.sound), (2, 1), "{gone:?}");
        assert!(gone.reason.contains("missing"));
        let doubled = broken(&|lines| lines.insert(2, lines[1].clone()));
        assert!(doubled.line == 3 && doubled.reason.contains("doubled"), "{doubled:?}");
        let noise = broken(&|lines| lines[2] = "noise".to_owned());
        assert_eq!((noise.line, noise.sound), (3, 2));
        let empty = broken(&|lines| lines.insert(1, String::new()));
        assert_eq!(empty.line, 2);
        // The end alone shows nothing: that is what the noted hash is for.
        let cut = of(&lines[..3]);
        assert!(cut.broken.is_none() && !cut.hashes.contains(&of(&lines).last));
    }

    /// A chain that notes these contents.
    fn noting(files: &[(&str, &str)]) -> Chain {
        let note = |(name, text): &(&str, &str)| ((*name).to_owned(), hash(text.as_bytes()));
        Chain { files: files.iter().map(note).collect(), ..chain(b"") }
    }

    fn changed(folder: &Path, chain: &Chain) -> Vec<(String, bool)> {
        let changed = changed_files(folder, chain);
        changed.into_iter().map(|changed| (changed.file, changed.missing)).collect()
    }

    #[test]
    fn changed_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "1").unwrap();
        fs::write(folder.path().join("b"), "2").unwrap();
        let named = changed(folder.path(), &noting(&[("a", "1"), ("b", "1"), ("c", "1")]));
        assert_eq!(named, [("b".to_owned(), false), ("c".to_owned(), true)]);
    }

    #[test]
    fn what_a_run_was_begun_with_is_held_against_its_last_beginning() {
        let begun = |n: usize, last: &str, task: &str, settings: &str| {
            format!(
                "{{\"n\":{n},\"prev\":\"{last}\",\"kind\":\"begun\",\"task_sha256\":\"{task}\",\"settings\":\"{settings}\"}}"
            )
        };
        let first = begun(0, &hash(b""), "old", "x = 1");
        let second = begun(1, &hash(first.as_bytes()), "new", "x = 2");
        let chain = of(&[first, second]);
        assert_eq!(chain.broken, None);
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let names = || -> Vec<_> {
            changed(folder.path(), &chain).into_iter().map(|(name, _)| name).collect()
        };
        write("settings.toml", "x = 2");
        write("task.json", r#"{"sha256": "new", "name": "t"}"#);
        assert_eq!(names(), [""; 0]);
        write("settings.toml", "x = 1");
        write("task.json", r#"{"sha256": "old"}"#);
        assert_eq!(names(), ["settings.toml", "task.json"]);
        write("task.json", "no task at all");
        assert_eq!(names(), ["settings.toml", "task.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_lead_elsewhere_are_not_followed() {
        let outer = tempfile::tempdir().unwrap();
        let run = outer.path().join("run");
        fs::create_dir_all(run.join("below")).unwrap();
        fs::write(outer.path().join("x"), "1").unwrap();
        fs::write(run.join("below/x"), "1").unwrap();
        std::os::unix::fs::symlink(outer.path(), run.join("out")).unwrap();
        std::os::unix::fs::symlink(outer.path().join("x"), run.join("link")).unwrap();
        let absolute = outer.path().join("x");
        let names =
            ["../x", "below/../../x", "out/x", "link", "below", "", absolute.to_str().unwrap()];
        for name in names.into_iter().chain(["/dev/zero"]) {
            assert_eq!(changed(&run, &noting(&[(name, "1")])), [(name.to_owned(), true)]);
        }
        assert_eq!(changed(&run, &noting(&[("below/x", "1")])), []);
    }
}
