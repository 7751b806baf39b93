//! Finds edits in a run folder and records them in its ledger. Kills may happen between any two
//! steps: an edit is either found again or recorded, and never recorded twice.

use std::{collections::BTreeMap, io, path::Path};

use serde::Deserialize;

use super::{
    super::{
        RunError,
        change::present_name,
        clock::{now, user},
        files::json_lines,
        ledger::{Entry, Ledger, last_record},
        names,
    },
    EDITABLE, Edits, Tally, copies,
    diff::Edited,
    waiting::{self, Waiting},
};
use crate::{
    counted::{agree, counted},
    dataset::{AugmentedText, DroppedText, RowEdit, TextRow},
    hash,
};

/// What a person edited in one file.
#[derive(Debug)]
pub(crate) struct FileEdits {
    pub file: &'static str,
    /// Empty if the file was only written in another form.
    pub changes: Vec<RowEdit>,
    /// Whether no copy is left to compare with, so that each row counts as added.
    pub whole: bool,
    /// The decisions of a review that the file does not hold yet, by what they come to.
    pub decided: Option<Tally>,
    /// The files with the edits, as a stage writes them.
    contents: BTreeMap<&'static str, Vec<u8>>,
}

/// The edits in `folder` that its ledger with `entries` does not hold yet. `classes` are the names
/// that labels may have. Nothing is changed.
///
/// # Errors
/// A file that cannot be read, a line that is no row of its file, each with its line.
pub(crate) fn find(
    folder: &Path,
    entries: &[Entry],
    classes: &[String],
) -> Result<Vec<FileEdits>, RunError> {
    let mut found = Vec::new();
    let (renamed, edits) = (BTreeMap::new(), Edits::of(entries));
    for file in EDITABLE {
        let path = folder.join(file);
        let edited = Edited { path: &path, file, classes, renamed: &renamed, edits: &edits };
        found.extend(look(folder, entries, file, edited)?);
    }
    Ok(found)
}

/// Records the edits in `folder` in its `ledger`, each with who and when, and writes the files as a
/// stage would, with them and with the decisions of a review. Returns one line about each file.
///
/// # Errors
/// As [`find`], in which case nothing was changed, and a failed write.
pub(in crate::run) fn take_up(
    folder: &Path,
    ledger: &mut Ledger,
    classes: &[String],
) -> Result<Vec<String>, RunError> {
    let found = find(folder, ledger.entries(), classes)?;
    let (by, at) = (user(), now());
    let entry = |found: &FileEdits| {
        // With decisions, the hashes follow when the files are there.
        let files = if found.decided.is_some() { BTreeMap::new() } else { found.hashes() };
        waiting::entry(found.file, (&by, &at), found.changes.clone(), files)
    };
    let edited = found.iter().filter(|found| !found.changes.is_empty());
    ledger.append_and_seal(edited.map(entry).collect())?;
    let contents = || found.iter().flat_map(|found| &found.contents);
    for (name, bytes) in contents() {
        copies::keep(folder, name, bytes)?;
    }
    for (name, bytes) in contents() {
        let path = folder.join(name);
        crate::fs::write_atomic(&path, bytes).map_err(|source| RunError::Write { path, source })?;
    }
    for decided in found.iter().filter(|found| found.decided.is_some()) {
        waiting::close(ledger, decided.file, decided.hashes())?;
    }
    for (name, bytes) in contents() {
        copies::keep_only(folder, name, &hash::of_bytes(bytes));
    }
    keep_missing(folder, ledger.entries())?;
    Ok(found.iter().flat_map(FileEdits::summaries).collect())
}

/// Keeps a copy of each file that is as recorded: folders of earlier versions have no copies.
fn keep_missing(folder: &Path, entries: &[Entry]) -> Result<(), RunError> {
    for name in EDITABLE.into_iter().chain([names::DROPPED]) {
        let recorded = last_record(entries, name).map(|(_, sha256)| sha256);
        let Some(sha256) = recorded.filter(|sha256| !copies::exists(folder, name, sha256)) else {
            continue;
        };
        let bytes = crate::fs::read(&folder.join(name)).unwrap_or_default();
        if hash::of_bytes(&bytes) == sha256 {
            copies::keep(folder, name, &bytes)?;
        }
    }
    Ok(())
}

/// Called before a stage writes `bytes` to the file `name`: keeps a copy.
///
/// # Errors
/// A file that a person edited since the folder was opened; a failed write.
pub(in crate::run) fn before_write(
    folder: &Path,
    entries: &[Entry],
    name: &str,
    bytes: &[u8],
) -> Result<(), RunError> {
    if !EDITABLE.contains(&name) && name != names::DROPPED {
        return Ok(());
    }
    let path = folder.join(name);
    if EDITABLE.contains(&name)
        && let Ok(now) = hash::of_file(&path)
        && !is_written(folder, entries, name, &now)
    {
        return Err(RunError::EditedMeanwhile { path });
    }
    copies::keep(folder, name, bytes)
}

/// Writes `rows` to `file` as a change of the task decided; a file that a person edited meanwhile
/// is left as it is, and found as an edit.
///
/// # Errors
/// A failed write.
pub(in crate::run) fn write_decided(
    folder: &Path,
    entries: &[Entry],
    file: &str,
    rows: &[AugmentedText],
) -> Result<(), RunError> {
    let (path, bytes) = (folder.join(file), json_lines(rows));
    copies::keep(folder, file, &bytes)?;
    match hash::of_file(&path) {
        Ok(now) if !is_written(folder, entries, file, &now) => Ok(()),
        _ => crate::fs::write_atomic(&path, &bytes)
            .map_err(|source| RunError::Write { path, source }),
    }
}

/// Called when a stage has ended whose `files` are recorded: removes the copies of what they
/// replace.
pub(in crate::run) fn after_stage(folder: &Path, entries: &[Entry], files: &[&str]) {
    for name in files.iter().filter(|name| EDITABLE.contains(name) || **name == names::DROPPED) {
        if let Some((_, sha256)) = last_record(entries, name) {
            copies::keep_only(folder, name, sha256);
        }
    }
}

/// If the file `name`, which has the hash `now`, was edited by a person since: the hash that it had
/// before.
pub(in crate::run) fn written_before(
    folder: &Path,
    entries: &[Entry],
    name: &str,
    now: &str,
) -> Option<String> {
    let edited = EDITABLE.contains(&name) && !is_written(folder, entries, name, now);
    let (_, before) = last_record(entries, name).filter(|_| edited)?;
    Some(before.to_owned())
}

/// Whether this program wrote the file `name` with the hash `sha256`.
fn is_written(folder: &Path, entries: &[Entry], name: &str, sha256: &str) -> bool {
    last_record(entries, name).is_some_and(|(_, last)| last == sha256)
        || copies::exists(folder, name, sha256)
}

fn look(
    folder: &Path,
    entries: &[Entry],
    file: &'static str,
    edited: Edited<'_>,
) -> Result<Option<FileEdits>, RunError> {
    let path = edited.path;
    let bytes = match crate::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let hint = "check the file's permissions";
            return Err(RunError::Read { path: path.to_owned(), source, hint });
        }
    };
    if let Some(waiting) = waiting::waiting(entries, file)
        && let Some(found) = follow(folder, entries, (file, edited), &bytes, &waiting)?
    {
        return Ok(Some(found));
    }
    if is_written(folder, entries, file, &hash::of_bytes(&bytes)) {
        return Ok(None);
    }
    let (next_id, pool) = (next_id(folder), dropped(folder, file));
    let record = last_record(entries, file);
    let mut bases = copies::read(folder, file);
    let recorded = recorded(entries, file, &bases, &pool);
    if let Some(Recorded { after, .. }) = &recorded {
        bases = vec![after.clone()];
    } else if let Some((_, sha256)) = record.filter(|(_, last)| !copies::exists(folder, file, last))
    {
        bases.extend(rebuilt(folder, file, sha256));
    }
    // The file may be older than the names that classes have now.
    let renamed = renamed_since(entries, file);
    bases.iter_mut().for_each(|(_, rows)| rename(rows, &renamed));
    let edited = Edited { renamed: &renamed, ..edited };
    let whole = bases.is_empty();
    if whole {
        bases.push((Vec::new(), Vec::new()));
    }
    let mut fewest: Option<(Vec<RowEdit>, Vec<TextRow>)> = None;
    for (_, rows) in bases {
        let changes = edited.diff(&bytes, &rows, next_id)?;
        if fewest.as_ref().is_none_or(|(known, _)| changes.len() < known.len()) {
            fewest = Some((changes, rows));
        }
    }
    let (mut changes, rows) = fewest.unwrap_or_default();
    // What `dropped.jsonl` loses, and the ledger's entries and the rows before.
    let (mut moved, mut then, mut stood) = (Vec::new(), entries, rows.clone());
    if let Some(Recorded { at, before, changes: known, .. }) = recorded {
        // The file may still be as it was when they were recorded, without what follows from them.
        let edits = Edits::of(&entries[..at]);
        let all = Edited { edits: &edits, ..edited }.diff(&bytes, &before, next_id)?;
        let is_known = |key: &str| all.iter().any(|edit| edit.key == key && known.contains(edit));
        changes.retain(|edit| !is_known(&edit.key));
        (moved, then, stood) = (known.to_vec(), &entries[..at], before);
    }
    moved.extend(changes.iter().cloned());
    let content = json_lines(&edited.edits.rewrite(file, &rows, &changes, &pool));
    let mut contents = BTreeMap::from([(file, content)]);
    let moved = moved_from_dropped(folder, then, stood, &moved).filter(|_| file == names::TRAIN);
    contents.extend(moved.map(|bytes| (names::DROPPED, bytes)));
    Ok(Some(FileEdits { file, changes, whole, decided: None, contents }))
}

/// The `file` with the decisions that it does not hold yet, and with what a person edited by hand
/// meanwhile. `bytes` are its content. `None` if nothing is known of what it was before.
fn follow(
    folder: &Path,
    entries: &[Entry],
    (file, edited): (&'static str, Edited<'_>),
    bytes: &[u8],
    waiting: &Waiting<'_>,
) -> Result<Option<FileEdits>, RunError> {
    let (next_id, pool) = (next_id(folder), dropped(folder, file));
    let Some([before, decided]) = waiting.rows((folder, file), entries, bytes, &pool) else {
        return Ok(None);
    };
    // The file is as it was before, or as it will be, or either of them edited by hand.
    let is_edited = !is_written(folder, entries, file, &hash::of_bytes(bytes));
    let by_hand = |rows: &[TextRow], edits: &Edits| {
        if !is_edited {
            return Ok(Vec::new());
        }
        let changes = Edited { edits, ..edited }.diff(bytes, rows, next_id)?;
        let is_new = |change: &RowEdit| !waiting.made.contains(&change);
        Ok::<_, RunError>(changes.into_iter().filter(is_new).collect::<Vec<RowEdit>>())
    };
    let earlier = Edits::of(&entries[..waiting.at]);
    let (early, late) = (by_hand(&before, &earlier)?, by_hand(&decided, edited.edits)?);
    let changes = if late.len() < early.len() { late } else { early };
    let rows = match changes.is_empty() {
        true => decided,
        false => edited.edits.rewrite(file, &decided, &changes, &pool),
    };
    let mut contents = BTreeMap::from([(file, json_lines(&rows))]);
    let moved = [&waiting.net[..], &changes].concat();
    let moved = moved_from_dropped(folder, &entries[..waiting.at], before, &moved);
    contents.extend(moved.filter(|_| file == names::TRAIN).map(|bytes| (names::DROPPED, bytes)));
    let decided = Some(Tally::of(&waiting.net));
    Ok(Some(FileEdits { file, changes, whole: false, decided, contents }))
}

/// The edits of a file that were recorded last, if the program was killed before it had written
/// them.
struct Recorded<'a> {
    /// The place of their entry.
    at: usize,
    changes: &'a [RowEdit],
    /// The rows without them.
    before: Vec<TextRow>,
    /// The content with them, and its rows.
    after: (Vec<u8>, Vec<TextRow>),
}

/// What was recorded last about `file`, made from one of the copies `bases`.
fn recorded<'a>(
    entries: &'a [Entry],
    file: &str,
    bases: &[(Vec<u8>, Vec<TextRow>)],
    pool: &[TextRow],
) -> Option<Recorded<'a>> {
    let (at, sha256) = last_record(entries, file)?;
    let Entry::Edit { file: edited, changes, .. } = &entries[at] else { return None };
    let edits = Edits::of(&entries[..at]);
    let renamed = renamed_since(&entries[..at], file);
    let others = bases.iter().filter(|(bytes, _)| hash::of_bytes(bytes) != sha256);
    others.filter(|_| edited == file).find_map(|(_, before)| {
        let mut before = before.clone();
        rename(&mut before, &renamed);
        let rows = edits.rewrite(file, &before, changes, pool);
        let bytes = json_lines(&rows);
        (hash::of_bytes(&bytes) == sha256).then_some(Recorded {
            at,
            changes,
            before,
            after: (bytes, rows),
        })
    })
}

/// The present names of the classes that were renamed since `file` was recorded last.
fn renamed_since(entries: &[Entry], file: &str) -> BTreeMap<String, String> {
    let since = last_record(entries, file).map_or(0, |(at, _)| at + 1);
    let renamed = entries[since..].iter().flat_map(|entry| match entry {
        Entry::TaskChanged(changed) => Some(changed.change.renamed.keys()),
        _ => None,
    });
    renamed
        .flatten()
        .map(|name| (name.clone(), present_name(entries, since, name).into_owned()))
        .collect()
}

fn rename(rows: &mut [TextRow], renamed: &BTreeMap<String, String>) {
    if !renamed.is_empty() {
        rows.iter_mut().for_each(|row| row.rename_classes(renamed));
    }
}

/// An id above all that are in use.
pub(crate) fn next_id(folder: &Path) -> usize {
    #[derive(Deserialize)]
    struct Id {
        id: u32,
    }
    let mut next = 0;
    for name in EDITABLE.into_iter().chain([names::DROPPED]) {
        let bytes = crate::fs::read(&folder.join(name)).unwrap_or_default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let id = serde_json::from_slice(line).map_or(0, |Id { id }| id as usize + 1);
            next = next.max(id);
        }
    }
    next
}

/// The rows of `dropped.jsonl`, from which a person may have moved some into `file`.
fn dropped(folder: &Path, file: &str) -> Vec<TextRow> {
    if file != names::TRAIN {
        return Vec::new();
    }
    // Of the copy, since the person may have cut the rows out of the file.
    let copy = copies::read(folder, names::DROPPED).pop().map(|(_, rows)| rows);
    let now = || copies::rows(&crate::fs::read(&folder.join(names::DROPPED)).ok()?);
    copy.or_else(now).unwrap_or_default()
}

/// `dropped.jsonl` without the rows that `changes` add to `train.jsonl`, if the rows that remain
/// are those that stand there, with or without the moved ones. `before` are the rows of
/// `train.jsonl` before the changes, at the end of `entries`.
fn moved_from_dropped(
    folder: &Path,
    entries: &[Entry],
    before: Vec<TextRow>,
    changes: &[RowEdit],
) -> Option<Vec<u8>> {
    let (_, recorded) = last_record(entries, names::DROPPED)?;
    let now = crate::fs::read(&folder.join(names::DROPPED)).ok()?;
    let known = copies::read(folder, names::DROPPED).into_iter().map(|(bytes, _)| bytes);
    let written = known.chain([now.clone()]).find(|bytes| hash::of_bytes(bytes) == recorded)?;
    let added = |key: &str| changes.iter().any(|edit| edit.before.is_none() && edit.key == key);
    let trained = before.len();
    let all = before.into_iter().chain(copies::rows(&written)?).collect();
    let keyed = Edits::of(entries).keyed(names::TRAIN, all).into_iter();
    let keys = keyed.skip(trained).map(|(_, key)| key);
    let rows: Vec<DroppedText> = parsed(&written)?;
    let rest: Vec<&DroppedText> =
        rows.iter().zip(keys).filter(|(_, key)| !added(key)).map(|(row, _)| row).collect();
    let now: Vec<DroppedText> = parsed(&now)?;
    let is_rest = rest.len() == now.len() && rest.iter().zip(&now).all(|(a, b)| *a == b);
    ((is_rest || now == rows) && rest.len() < rows.len()).then(|| json_lines(&rest))
}

fn parsed<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<Vec<T>> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The content of `file` with the hash `sha256`, made from the files beside it: folders of earlier
/// versions have no copies.
fn rebuilt(folder: &Path, file: &str, sha256: &str) -> Option<(Vec<u8>, Vec<TextRow>)> {
    let read = |name: &str| copies::rows(&crate::fs::read(&folder.join(name)).ok()?);
    let mut rows = match file {
        names::AUGMENTED => {
            let bare = |row: TextRow| TextRow::from(row.augmented);
            read(names::RELABELLED)?.into_iter().map(bare).collect()
        }
        names::RELABELLED => [read(names::TRAIN)?, read(names::DROPPED)?].concat(),
        _ => {
            let dropped = read(names::DROPPED)?;
            let is_dropped = |id: usize| dropped.iter().any(|row: &TextRow| row.augmented.id == id);
            let mut rows: Vec<TextRow> = read(names::RELABELLED)?;
            rows.retain(|row| !is_dropped(row.augmented.id));
            rows
        }
    };
    rows.sort_by_key(|row| row.augmented.id);
    let bytes = json_lines(&rows);
    (hash::of_bytes(&bytes) == sha256).then_some((bytes, rows))
}

impl FileEdits {
    /// SHA-256 (hex) of the files with the edits, by name.
    fn hashes(&self) -> BTreeMap<String, String> {
        let hash = |(name, bytes): (&&str, &Vec<u8>)| ((*name).to_owned(), hash::of_bytes(bytes));
        self.contents.iter().map(hash).collect()
    }

    /// One line about the edits by hand and one about the decisions, if there are any.
    fn summaries(&self) -> impl Iterator<Item = String> {
        let edited = (!self.changes.is_empty()).then(|| self.summary());
        let decided = self.decided.filter(|tally| tally.rows > 0);
        let decided = decided.map(|tally| format!("{} in review in {}", tally.words(), self.file));
        edited.into_iter().chain(decided)
    }

    /// What was changed by hand, as `3 labels, 1 text, 2 rows removed by hand in relabelled.jsonl`.
    pub(crate) fn summary(&self) -> String {
        if self.whole {
            return format!(
                "{} has no copy to compare with, so its {} {} treated as edited by hand",
                self.file,
                counted(self.changes.len(), "row"),
                agree(self.changes.len(), "is", "are")
            );
        }
        format!("{} by hand in {}", Tally::of(&self.changes).words(), self.file)
    }
}

impl Tally {
    /// As `3 labels, 1 text, 2 rows removed`.
    pub(crate) fn words(&self) -> String {
        let Self { rows, labels, texts, confirmed, added, removed } = *self;
        let count = |n: usize, one: &str, after: &str| (n > 0).then(|| counted(n, one) + after);
        let changed = [count(labels, "label", ""), count(texts, "text", "")];
        let mut parts: Vec<String> = changed.into_iter().flatten().collect();
        let moved = [
            count(confirmed, "row", " confirmed"),
            count(removed, "row", " removed"),
            count(added, "row", " added"),
        ];
        match (parts.last_mut(), confirmed + added + removed) {
            (Some(last), 0) => last.push_str(" changed"),
            (None, 0) => parts.extend(count(rows, "row", " changed")),
            _ => parts.extend(moved.into_iter().flatten()),
        }
        parts.join(", ")
    }
}
