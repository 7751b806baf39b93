//! Shards of a stage. Each is a run folder of its own that begins as a copy of the run, so that
//! many machines can work without a lock between them; merging moves their answers into the run's
//! ledger, where the stage finds them.
//!
//! ```text
//! run/                         ledger.jsonl ◄──────────────┐ merge
//! run/shards/relabel-0-of-2/   copy of the run + answers ──┤
//! run/shards/relabel-1-of-2/   copy of the run + answers ──┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    RunError,
    files::{INCOMPLETE, create_private_folder, files_below, read_json, read_ledger},
    folder::RunFolder,
    ledger::{self, Entry, Ledger, LedgerError},
    names,
};
use crate::{
    fs::{create_new, new_beside, open_regular, replace_dir, sync_dir},
    hash::{self, ChainHead},
    shard::Shard,
    teacher::TeacherIdentity,
};

/// The stage under which the ledger lists a merge.
const MERGE: &str = "merge";
/// What a stage may read of a run; the ledger after its head, since it may grow meanwhile.
const COPIED: [&str; 9] = [
    names::HEAD,
    names::LEDGER,
    names::SETTINGS,
    names::TASK,
    names::NEXT_TASK,
    names::AUGMENTED,
    names::JUNK,
    names::SET_ASIDE,
    names::RELABELLED,
];

/// The folder of one `shard` of `stage` of the run in the folder `run`. A new one begins as a copy
/// of the run, if there is one; an existing one is resumed.
///
/// # Errors
/// A run that is in use or has changed since the shard began, a failed write.
pub(crate) fn prepare(run: &Path, stage: &str, shard: Shard) -> Result<PathBuf, RunError> {
    let Shard { index, of } = shard;
    let digits = (of - 1).to_string().len();
    let folder = run.join(names::SHARDS).join(format!("{stage}-{index:0digits$}-of-{of}"));
    if folder.join(names::TASK).exists() && is_fresh(run, &folder)? {
        return Ok(folder);
    }
    RunFolder::check(run)?;
    if run.join(names::TASK).exists() {
        let write = |source| RunError::Write { path: folder.clone(), source };
        let new = new_beside(&folder);
        let _ = fs::remove_dir_all(&new);
        let head = || crate::fs::read(&run.join(names::HEAD)).ok();
        let before = head();
        copy(run, &new)?;
        if head() != before {
            return Err(RunError::EditedMeanwhile { path: run.to_owned() });
        }
        replace_dir(&new, &folder).map_err(write)?;
    }
    Ok(folder)
}

/// Whether the run has not moved on since the shard in `folder` began.
///
/// # Errors
/// It has, and the shard has answers.
fn is_fresh(run: &Path, folder: &Path) -> Result<bool, RunError> {
    let path = run.join(names::HEAD);
    if !path.exists() {
        return Ok(true);
    }
    let head: ChainHead = read_json(&path, INCOMPLETE)?;
    let path = folder.join(names::LEDGER);
    let bytes = crate::fs::read(&path).map_err(|source| LedgerError::Read { path, source })?;
    let hashes: Vec<String> = hash::chained_lines(&bytes).0.map(|line| line.hash).collect();
    if head.contradiction(&hashes).is_none() {
        return Ok(true);
    }
    let entries = ledger::parse(&folder.join(names::LEDGER), &bytes)?.0;
    match answers(&entries).next() {
        Some(_) => Err(RunError::StaleShard { path: folder.to_owned(), run: run.to_owned() }),
        None => Ok(false),
    }
}

/// Copies what stages read of the run in the folder `run` to the folder `new`, which is created.
fn copy(run: &Path, new: &Path) -> Result<(), RunError> {
    create_private_folder(new)?;
    let written = files_below(run, names::WRITTEN)?;
    for name in COPIED.into_iter().chain(written.iter().map(String::as_str)) {
        let (from, to) = (run.join(name), new.join(name));
        if !from.exists() {
            continue;
        }
        if let Some(parent) = to.parent() {
            create_private_folder(parent)?;
        }
        let copied = create_new(&to).and_then(|mut file| {
            io::copy(&mut open_regular(&from)?, &mut file)?;
            file.sync_all()
        });
        copied.map_err(|source| RunError::Write { path: to, source })?;
    }
    sync_dir(new).map_err(|source| RunError::Write { path: new.to_owned(), source })
}

impl RunFolder {
    /// Records that this folder has one `shard` of the requests of `stage`, and no others.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn begin_shard(
        &mut self,
        stage: &'static str,
        shard: Shard,
    ) -> Result<(), RunError> {
        self.shard = Some((stage, shard));
        self.mark_shard(false)
    }

    /// The shard of `stage` that this folder has, if it has one.
    pub(crate) fn shard_of(&self, stage: &str) -> Option<Shard> {
        self.shard.filter(|(of, _)| *of == stage).map(|(_, shard)| shard)
    }

    /// Records that all requests of the shard are answered; returns how many.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn finish_shard(&mut self) -> Result<usize, RunError> {
        self.mark_shard(true)?;
        Ok(answers(self.ledger().entries()).count())
    }

    fn mark_shard(&mut self, finished: bool) -> Result<(), RunError> {
        let Some((stage, shard)) = self.shard else { return Ok(()) };
        let known = Mark::of(self.ledger.entries());
        if !known.is_some_and(|mark| mark.shard == shard && mark.finished >= finished) {
            let mark = Entry::Shard { stage: stage.to_owned(), shard, finished };
            self.ledger.append_and_seal(vec![mark])?;
        }
        Ok(())
    }

    /// Takes up the answers of `shards` that this run does not have yet.
    ///
    /// # Errors
    /// Shards of another task, another file under the name of the run's teacher, a failed write.
    pub(crate) fn merge(&mut self, shards: &[ShardFolder]) -> Result<Merged, RunError> {
        let own = Origin::of(self.ledger().entries());
        for shard in shards {
            // A shard may be of a changed task, if it began as a copy of this run.
            if !shard.origin.tasks.iter().any(|task| Some(task) == own.tasks.last()) {
                return Err(shard.unlike(self.path(), "their tasks".to_owned()));
            }
        }
        let mut merged = Merged { shards: shards.len(), ..Merged::default() };
        for shard in shards {
            if let Some(teacher) = &shard.origin.teacher {
                self.note_teacher(teacher)?;
            }
            let mut new = HashSet::new();
            let entries = shard.answers.iter().filter(|entry| {
                let key = entry.key().unwrap_or_default();
                self.ledger.find(key).is_none() && new.insert(key)
            });
            let entries: Vec<Entry> = entries.cloned().collect();
            merged.known += shard.answers.len() - entries.len();
            merged.answers += entries.len();
            self.ledger.append(entries)?;
        }
        let Merged { shards, answers, known } = merged;
        let counts = [("shards", shards), ("answers", answers), ("known", known)];
        self.finish_stage(MERGE, &counts, &[], Vec::new())?;
        Ok(merged)
    }
}

/// Which shard a folder has.
struct Mark {
    stage: String,
    shard: Shard,
    /// Whether all its requests are answered, as the task and the settings are now.
    finished: bool,
}

impl Mark {
    /// What the entries of a ledger say, if they are those of a shard.
    fn of(entries: &[Entry]) -> Option<Self> {
        let mut mark: Option<Self> = None;
        for entry in entries {
            match entry {
                Entry::Shard { stage, shard, finished } => {
                    let (stage, shard, finished) = (stage.clone(), *shard, *finished);
                    mark = Some(Self { stage, shard, finished });
                }
                // From here on other requests may be made.
                Entry::Begun { .. } | Entry::TaskChanged(_) => {
                    mark.iter_mut().for_each(|mark| mark.finished = false);
                }
                _ => {}
            }
        }
        mark
    }
}

/// The answers to the requests of a shard, in the entries of its ledger.
fn answers(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    let begin = entries.iter().position(|entry| matches!(entry, Entry::Shard { .. }));
    entries[begin.unwrap_or(entries.len())..].iter().filter(|entry| {
        matches!(
            entry,
            Entry::Reply { .. }
                | Entry::Scores { .. }
                | Entry::Picked { .. }
                | Entry::Skipped { .. }
        )
    })
}

/// What a merge did.
#[derive(Default)]
pub(crate) struct Merged {
    pub shards: usize,
    /// Answers that the run did not have.
    pub answers: usize,
    /// Those that it had, also from another of the shards.
    pub known: usize,
}

/// What requests and answers depend on.
#[derive(Default)]
struct Origin {
    /// SHA-256 (hex) of the task, and of those before it.
    tasks: Vec<String>,
    prompts_sha256: String,
    settings: String,
    teacher: Option<TeacherIdentity>,
}

impl Origin {
    fn of(entries: &[Entry]) -> Self {
        let mut origin = Self::default();
        for entry in entries {
            match entry {
                Entry::Begun { task_sha256, prompts_sha256, settings, .. } => {
                    origin.tasks.push(task_sha256.clone());
                    origin.prompts_sha256.clone_from(prompts_sha256);
                    origin.settings.clone_from(settings);
                }
                Entry::Teacher { identity } => origin.teacher = Some(identity.clone()),
                _ => {}
            }
        }
        origin
    }

    /// What differs from `other`, if anything does.
    fn difference(&self, other: &Self) -> Option<String> {
        if self.tasks.last() != other.tasks.last() {
            return Some("their tasks".to_owned());
        }
        if self.prompts_sha256 != other.prompts_sha256 {
            return Some("their prompts".to_owned());
        }
        let model = |origin: &Self| {
            let teacher = origin.teacher.as_ref()?;
            Some((teacher.sha256.clone(), teacher.template_sha256.clone()))
        };
        match (model(self), model(other)) {
            (Some(one), Some(other)) if one != other => {
                return Some(format!("their teachers: sha256 {} and {}", one.0, other.0));
            }
            _ => {}
        }
        // Engines behind addresses with the same file, and another model than it says.
        if let (Some(one), Some(other)) = (&self.teacher, &other.teacher)
            && !one.is_same_model(other)
        {
            return Some("the models of their teachers".to_owned());
        }
        let (one, other) = (settings(&self.settings), settings(&other.settings));
        let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        let differs = |key: &&String| one.get(*key) != other.get(*key);
        let value = |settings: &BTreeMap<String, String>, key: &String| {
            settings.get(key).map_or_else(|| "unset".to_owned(), Clone::clone)
        };
        let key = keys.into_iter().find(differs)?;
        Some(format!("their settings: {key} is {} and {}", value(&one, key), value(&other, key)))
    }
}

/// The settings in `toml` by `table.key`, without those of the teacher's engine: it may differ from
/// machine to machine, and which model it is the ledger says.
fn settings(toml: &str) -> BTreeMap<String, String> {
    let tables: toml::Table = toml::from_str(toml).unwrap_or_default();
    let tables = tables.into_iter().filter(|(name, _)| name != "teacher");
    let keys = tables.flat_map(|(name, table)| {
        let keys = table.as_table().cloned().unwrap_or_default();
        keys.into_iter().map(move |(key, value)| (format!("{name}.{key}"), value.to_string()))
    });
    keys.collect()
}

/// What a shard has answered so far.
pub(crate) struct ShardFolder {
    path: PathBuf,
    mark: Mark,
    origin: Origin,
    answers: Vec<Entry>,
    /// Bytes of the ledger when it was read.
    length: u64,
}

impl ShardFolder {
    /// Reads the shard in the folder `path`; `None` if it has not begun.
    ///
    /// # Errors
    /// A damaged ledger, a shard that is running.
    fn read(path: &Path) -> Result<Option<Self>, RunError> {
        let file = path.join(names::LEDGER);
        if !file.exists() {
            return Ok(None);
        }
        if Ledger::is_in_use(&file) {
            return Err(RunError::ShardRunning { path: path.to_owned() });
        }
        let length = fs::metadata(&file).map_or(0, |file| file.len());
        let entries = ledger::read_whole(&file)?;
        let Some(mark) = Mark::of(&entries) else { return Ok(None) };
        let answers: Vec<Entry> = answers(&entries).cloned().collect();
        let origin = Origin::of(&entries);
        Ok(Some(Self { path: path.to_owned(), mark, origin, answers, length }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn unlike(&self, other: &Path, what: String) -> RunError {
        RunError::OtherShard { path: self.path.clone(), other: other.to_owned(), what }
    }

    /// Whether the folder is as it was when it was read.
    fn is_unchanged(&self) -> bool {
        let file = self.path.join(names::LEDGER);
        let length = fs::metadata(&file).map_or(0, |file| file.len());
        length == self.length && !Ledger::is_in_use(&file)
    }
}

/// Whether shards were merged into the run in the folder `run`.
pub(crate) fn has_merged(run: &Path) -> bool {
    let is_merge = |it: &Entry| matches!(it, Entry::Stage { stage, .. } if stage == MERGE);
    read_ledger(run, INCOMPLETE).is_ok_and(|entries| entries.iter().any(is_merge))
}

/// The folders of the shards of the run in the folder `run`, sorted.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn shards_of(run: &Path) -> Result<Vec<PathBuf>, RunError> {
    let folder = run.join(names::SHARDS);
    let hint = "the folder must be readable";
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| RunError::Read { path: folder, source, hint })?,
    };
    // Hidden ones are copies that were not finished.
    let is_shard = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    let mut folders: Vec<PathBuf> =
        entries.flatten().filter(is_shard).map(|entry| entry.path()).collect();
    folders.sort();
    Ok(folders)
}

/// Reads the shards in `folders`. They must have the same task, settings and teacher, and, unless
/// `partial`, all of the stage's shards must be there and finished. In the folder `shards` of a run
/// a shard that has not begun is left out.
///
/// # Errors
/// What does not fit, and which shards are missing.
pub(crate) fn read_shards(
    folders: &[PathBuf],
    partial: bool,
) -> Result<Vec<ShardFolder>, RunError> {
    let mut shards: Vec<ShardFolder> = Vec::new();
    for path in folders {
        let is_ours = path.parent().is_some_and(|parent| parent.ends_with(names::SHARDS));
        match ShardFolder::read(path)? {
            Some(shard) => shards.push(shard),
            None if is_ours => {}
            None => return Err(RunError::NoShard { path: path.clone() }),
        }
    }
    let mut finished: BTreeMap<(&str, usize), BTreeSet<usize>> = BTreeMap::new();
    for shard in &shards {
        if let Some(what) = shard.origin.difference(&shards[0].origin) {
            return Err(shard.unlike(&shards[0].path, what));
        }
        let Mark { stage, shard, finished: done } = &shard.mark;
        let found = finished.entry((stage, shard.of)).or_default();
        found.extend(done.then_some(shard.index));
    }
    for ((stage, of), found) in finished {
        let missing: Vec<usize> = (0..of).filter(|index| !found.contains(index)).collect();
        if !missing.is_empty() && !partial {
            return Err(RunError::MissingShards { stage: stage.to_owned(), of, missing });
        }
    }
    Ok(shards)
}

/// Deletes the folder `shards` of the run in the folder `run`, which has the answers of all that is
/// in it: these `shards`. Whether it is deleted; it is not if a shard went on meanwhile.
///
/// # Errors
/// The folder cannot be deleted.
pub(crate) fn delete_merged(run: &Path, shards: &[ShardFolder]) -> Result<bool, RunError> {
    let folder = run.join(names::SHARDS);
    if !shards.iter().all(ShardFolder::is_unchanged) {
        return Ok(false);
    }
    // In one step, so that no part of the shards is ever left; the rest is swept up if the program
    // is killed.
    let old = new_beside(&folder);
    fs::rename(&folder, &old)
        .and_then(|()| fs::remove_dir_all(&old))
        .map_err(|source| RunError::Write { path: folder, source })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teacher::RemoteIdentity;

    #[test]
    fn shards_of_engines_with_other_models_do_not_fit_together() {
        let origin = |probabilities: [f32; 2], address: &str| {
            let remote = RemoteIdentity {
                engine: "vLLM".to_owned(),
                addresses: vec![address.to_owned()],
                probe: probabilities.map(f32::ln).to_vec(),
            };
            let teacher = TeacherIdentity {
                name: "a model".to_owned(),
                file: PathBuf::from("model.gguf"),
                sha256: "65b8".to_owned(),
                parameters: 0,
                template_sha256: String::new(),
                context: 2048,
                remote: Some(Box::new(remote)),
            };
            Origin { teacher: Some(teacher), ..Origin::default() }
        };
        let one = origin([0.7, 0.3], "https://one:443");
        // Elsewhere, and rounded otherwise.
        assert_eq!(one.difference(&origin([0.66, 0.34], "https://two:443")), None);
        let differs = one.difference(&origin([0.4, 0.6], "https://two:443"));
        assert_eq!(differs.as_deref(), Some("the models of their teachers"));
    }
}
