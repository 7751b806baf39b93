//! The ledger's chain, followed without the program that writes it: nothing is locked, created or
//! changed, and what an entry says does not matter.
//!
//! Each line carries the SHA-256 of the one before it. That shows a changed, missing or added line in the
//! middle. It cannot show that lines at the end were taken away, or that the whole was written anew:
//! for that the last hash is to be noted elsewhere and held against the chain later.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why the ledger cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}\nhint: `audit` takes the folder of a run or of a comparison")]
pub struct ChainError {
    path: PathBuf,
    source: io::Error,
}

/// What the chain of a ledger is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Whole lines that continue the chain, from the first on.
    pub lines: usize,
    /// SHA-256 (hex) of the last of them; of nothing where there is none.
    pub last: String,
    /// Where it breaks.
    pub broken: Option<Break>,
    /// Whether the last line was cut off in the middle, as by a power cut. No break: it is cut off and
    /// its work done again when the run goes on.
    pub torn: bool,
    /// What the stages wrote last, by file name, as SHA-256 (hex).
    pub files: BTreeMap<String, String>,
    /// The hash of each line, in order.
    #[serde(skip)]
    pub hashes: Vec<String>,
}

/// A line that does not continue the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
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
}

/// Follows the chain of the ledger in `folder`.
///
/// # Errors
/// A ledger that cannot be read.
pub fn follow(folder: &Path) -> Result<Chain, ChainError> {
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
        hashes: Vec::new(),
    };
    for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
        let line = &line[..line.len() - 1];
        let (before, number) = (chain.lines, chain.lines + 1);
        let reason = match serde_json::from_slice::<Link>(line) {
            Err(error) => Some((before, format!("it is no line of a ledger ({error})"))),
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
pub struct Changed {
    pub file: String,
    /// Whether it is gone, or cannot be read.
    pub missing: bool,
}

/// Those of `files` (name and SHA-256 in hex) that differ in `folder`.
pub fn changed_files(folder: &Path, files: &BTreeMap<String, String>) -> Vec<Changed> {
    let now = |name: &str| fs::read(folder.join(name)).ok().map(|bytes| hash(&bytes));
    files
        .iter()
        .map(|(name, wanted)| (name, now(name), wanted))
        .filter(|(_, now, wanted)| now.as_ref() != Some(*wanted))
        .map(|(name, now, _)| Changed { file: name.clone(), missing: now.is_none() })
        .collect()
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

    #[test]
    fn changed_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "1").unwrap();
        fs::write(folder.path().join("b"), "2").unwrap();
        let files = [("a", "1"), ("b", "1"), ("c", "1")];
        let files = files.map(|(name, text)| (name.to_owned(), hash(text.as_bytes()))).into();
        let changed = changed_files(folder.path(), &files);
        let named: Vec<_> =
            changed.iter().map(|changed| (&*changed.file, changed.missing)).collect();
        assert_eq!(named, [("b", false), ("c", true)]);
    }
}
