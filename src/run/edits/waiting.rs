//! Decisions of `promptmix review` that their file does not hold yet.
//!
//! A decision is an [`Entry::Edit`] without the hashes of files: writing the whole file for each
//! one would take longer than a person wants to wait. The file follows when the review ends or the
//! folder is opened next, and then an entry with its hash.
//!
//! ```text
//! decision ─► Entry::Edit, no hash (record)   the page answers here
//!             …
//! take_up ──► the copy, the file, Entry::Edit with the hash and no change (close)
//! ```
//!
//! The file with all decisions is made from the copy of what it was before the first of them, so a
//! kill between any two of these steps changes nothing: the next command does the same again.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{
        RunError,
        clock::{now, user},
        ledger::{Entry, Ledger, LedgerError, last_record},
    },
    Edits, copies,
};
use crate::{
    dataset::{RowEdit, TextRow},
    hash,
};

/// The decisions about one file since it was last recorded.
pub(super) struct Waiting<'a> {
    /// The place of the first in the ledger.
    pub at: usize,
    /// As they were made, one after the other.
    pub made: Vec<&'a RowEdit>,
    /// One change for each row.
    pub net: Vec<RowEdit>,
}

/// The decisions in `entries` that `file` may not hold yet; `None` if there is none.
pub(super) fn waiting<'a>(entries: &'a [Entry], file: &str) -> Option<Waiting<'a>> {
    let since = last_record(entries, file).map_or(0, |(at, _)| at + 1);
    let made = |entry: &'a Entry| match entry {
        Entry::Edit { file: edited, changes, .. } if edited == file => Some(changes),
        _ => None,
    };
    let at = since + entries[since..].iter().position(|entry| made(entry).is_some())?;
    let made: Vec<&RowEdit> = entries[at..].iter().filter_map(made).flatten().collect();
    let net = Edits::of(&entries[..at]).net(file, &made);
    Some(Waiting { at, made, net })
}

impl Waiting<'_> {
    /// The rows of `file` before the first decision, and with all of them. `now` is its content:
    /// what it was before if there is no copy. `pool` is as in [`Edits::apply`].
    pub(super) fn rows(
        &self,
        (folder, file): (&Path, &str),
        entries: &[Entry],
        now: &[u8],
        pool: &[TextRow],
    ) -> Option<[Vec<TextRow>; 2]> {
        let copy = last_record(&entries[..self.at], file).and_then(|(_, sha256)| {
            let copies = copies::read(folder, file).into_iter();
            copies.into_iter().find(|(bytes, _)| hash::of_bytes(bytes) == sha256)
        });
        let before = copy.map(|(_, rows)| rows).or_else(|| copies::rows(now))?;
        let after = Edits::of(&entries[..self.at]).rewrite(file, &before, &self.net, pool);
        Some([before, after])
    }
}

/// Records the decision that the rows of `file` become what `changes` say. Returns who decided and
/// when.
///
/// # Errors
/// A failed write.
pub(in crate::run) fn record(
    ledger: &mut Ledger,
    file: &str,
    changes: Vec<RowEdit>,
) -> Result<(String, String), LedgerError> {
    let (by, at) = (user(), now());
    ledger.append(vec![entry(file, (&by, &at), changes, BTreeMap::new())])?;
    Ok((by, at))
}

/// Records that the files with these hashes hold all decisions about `file`.
///
/// # Errors
/// A failed write.
pub(super) fn close(
    ledger: &mut Ledger,
    file: &str,
    files: BTreeMap<String, String>,
) -> Result<(), RunError> {
    let entry = entry(file, (&user(), &now()), Vec::new(), files);
    Ok(ledger.append_and_seal(vec![entry])?)
}

/// The entry of what the user `by` did `at` that time.
pub(super) fn entry(
    file: &str,
    (by, at): (&str, &str),
    changes: Vec<RowEdit>,
    files: BTreeMap<String, String>,
) -> Entry {
    Entry::Edit { file: file.to_owned(), by: by.to_owned(), at: at.to_owned(), changes, files }
}
