//! Changes of the task during a run, as its ledger tells them. Pure: what is kept is decided in
//! `pipeline::grow`, and `folder::task_change` writes it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, hash_map::Entry as Slot},
    path::Path,
};

use super::{
    RunError,
    files::{INCOMPLETE, read_json},
    ledger::{Entry, KeptTexts, SetAside, TaskChanged},
    names,
};
use crate::task::{Task, TaskChange};

/// A run folder whose task is no longer the one that was given.
#[derive(Debug, Clone)]
pub(crate) struct PendingChange {
    pub before: Task,
    pub change: TaskChange,
}

impl PendingChange {
    /// What differs in `after` from the task `before` of the run in the folder `path`; `None` if
    /// their files are the same.
    ///
    /// # Errors
    /// [`RunError::OtherTask`]: no class is left.
    pub(crate) fn between(
        path: &Path,
        before: Task,
        after: &Task,
    ) -> Result<Option<Self>, RunError> {
        if before.sha256 == after.sha256 {
            return Ok(None);
        }
        let change = TaskChange::between(&before, after);
        match before.classes.iter().any(|class| change.present_name(&class.name).is_some()) {
            true => Ok(Some(Self { before, change })),
            false => Err(RunError::OtherTask { path: path.to_owned() }),
        }
    }
}

/// The task of the run in the folder `path`, whose ledger has these entries.
///
/// # Errors
/// A file that is missing or was damaged, with its line.
pub(crate) fn present_task(path: &Path, entries: &[Entry]) -> Result<Task, RunError> {
    let next = path.join(names::NEXT_TASK);
    if next.exists() {
        let task: Task = read_json(&next, INCOMPLETE)?;
        if last_change(entries).is_some_and(|changed| changed.after == task.sha256) {
            return Ok(task);
        }
    }
    read_json(&path.join(names::TASK), INCOMPLETE)
}

pub(super) fn last_change(entries: &[Entry]) -> Option<&TaskChanged> {
    entries.iter().rev().find_map(|entry| match entry {
        Entry::TaskChanged(changed) => Some(&**changed),
        _ => None,
    })
}

/// The texts of the last change that reached the prompts.
pub(crate) fn kept_texts(entries: &[Entry]) -> Option<&KeptTexts> {
    entries.iter().rev().find_map(|entry| match entry {
        Entry::TaskChanged(changed) => changed.texts.as_ref(),
        _ => None,
    })
}

/// The present name of the class that was called `name` when the ledger had `since` entries: every
/// later renaming applied. Whoever keeps class names in the ledger, such as a label that a person
/// gave, reads them through this.
pub(crate) fn present_name<'a>(entries: &'a [Entry], since: usize, name: &'a str) -> Cow<'a, str> {
    let mut now = name;
    for entry in entries.iter().skip(since) {
        if let Entry::TaskChanged(changed) = entry {
            now = changed.change.renamed.get(now).map_or(now, String::as_str);
        }
    }
    Cow::Borrowed(now)
}

/// The texts that are set aside now, with the present names of their classes.
pub(crate) fn set_aside_now(entries: &[Entry]) -> Vec<SetAside> {
    let mut aside: BTreeMap<(usize, String), SetAside> = BTreeMap::new();
    for (place, entry) in entries.iter().enumerate() {
        let Entry::TaskChanged(changed) = entry else { continue };
        let Some(texts) = &changed.texts else { continue };
        texts.kept.iter().for_each(|row| drop(aside.remove(&(row.id, row.text.clone()))));
        for set_aside in &texts.set_aside {
            let name = |name: &str| present_name(entries, place + 1, name).into_owned();
            let mut now = set_aside.clone();
            now.row.rename(name);
            let descriptions = now.descriptions.into_iter();
            now.descriptions = descriptions.map(|(class, text)| (name(&class), text)).collect();
            aside.insert((now.row.id, now.row.text.clone()), now);
        }
    }
    aside.into_values().collect()
}

/// The rows of `set-aside.jsonl`: all that was ever set aside, each text once, as it was then.
pub(super) fn ever_set_aside<'a>(
    changes: impl Iterator<Item = &'a KeptTexts>,
) -> Vec<&'a SetAside> {
    let mut places: HashMap<(usize, &str), usize> = HashMap::new();
    let mut rows: Vec<&SetAside> = Vec::new();
    for row in changes.flat_map(|texts| &texts.set_aside) {
        match places.entry((row.row.id, &row.row.text)) {
            Slot::Occupied(place) => rows[*place.get()] = row,
            Slot::Vacant(place) => {
                place.insert(rows.len());
                rows.push(row);
            }
        }
    }
    rows
}

/// `task.json`: the task with the absolute path of its folder.
pub(super) fn task_json(task: &Task) -> Vec<u8> {
    let mut task = task.clone();
    if !task.folder.as_os_str().is_empty() {
        task.folder = std::path::absolute(&task.folder).unwrap_or(task.folder);
    }
    serde_json::to_vec_pretty(&task).expect("a task holds nothing that JSON cannot write")
}

#[cfg(test)]
mod tests;
