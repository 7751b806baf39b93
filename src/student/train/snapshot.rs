//! A training's exact state on disk, so that an interrupted training can be resumed.
//!
//! One safetensors file, `training.safetensors`, holds the tensors `weight.NAME`, `first.NAME` and
//! `second.NAME`, those of the best epoch so far as `best.NAME`, its validation logits as
//! `best-logits`, and in the header's metadata the progress of the training as JSON. It is replaced
//! atomically. Its fingerprint covers the examples, the settings and the base; a file with another
//! fingerprint is ignored.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        Result, StudentError,
        network::{Slot, State},
    },
    Epoch,
    init::Weights,
};

const FILE: &str = "training.safetensors";
const PART: &str = "training.safetensors.part";
/// Key of the progress; older snapshots use the same one.
const PROGRESS: &str = "place";
const FINGERPRINT: &str = "fingerprint";
const BEST_LOGITS: &str = "best-logits";
/// Minimum time between two snapshots, in multiples of the time that writing one takes.
const PAUSE: u32 = 20;

/// Where and how often a training's state is saved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshots {
    /// A folder for this training alone; created if it does not exist.
    pub folder: PathBuf,
    /// Also save within an epoch after this many steps; 0: only after epochs.
    pub every_steps: usize,
    /// Minimum time since the start or the last snapshot: less work than that is quickly redone. If
    /// writing is slow the interval grows, so that snapshots take a twentieth of the time at most.
    /// With zero every snapshot that is due is written.
    pub least_time: Duration,
}

impl Snapshots {
    /// After each epoch, but at most every 20 seconds.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, every_steps: 0, least_time: Duration::from_secs(20) }
    }
}

/// The progress of a training; with the weights and moments its whole state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub stage: usize,
    /// Epoch of the stage.
    pub epoch: usize,
    /// Steps taken in the epoch.
    pub in_epoch: usize,
    /// Steps taken in all stages.
    pub step: usize,
    /// Steps taken since the optimiser's moments were reset.
    pub optimiser_step: u64,
    /// Product of all steps' decay factors, for weights without gradients.
    #[serde(rename = "unused_kept")]
    pub unused_decay: f64,
    /// Sums over the epoch so far: weighted losses, and weights.
    pub loss: f64,
    pub weight: f64,
    /// Epochs since the stage's best.
    #[serde(rename = "without_better")]
    pub epochs_without_improvement: usize,
    pub history: Vec<Epoch>,
    /// The best epoch's validation loss and `unused_decay`.
    pub best: Option<(f64, f64)>,
}

/// The best epoch so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Best {
    pub weights: Weights,
    /// Logits of the validation examples, `[examples, classes]`.
    pub logits: Vec<f32>,
}

/// A training's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    pub progress: Progress,
    pub state: State,
    pub best: Option<Best>,
}

/// Writes and reads the snapshots of one training.
pub(super) struct SnapshotStore {
    settings: Snapshots,
    fingerprint: String,
    last: Instant,
    /// Minimum time between `last` and the next snapshot.
    pause: Duration,
    steps: usize,
}

impl SnapshotStore {
    pub(super) fn new(settings: Snapshots, fingerprint: String) -> Self {
        let pause = settings.least_time;
        Self { settings, fingerprint, last: Instant::now(), pause, steps: 0 }
    }

    /// The state to resume from. A foreign, outdated or damaged file is ignored: that costs time,
    /// but never gives a wrong result.
    pub(super) fn read(&self) -> Option<Snapshot> {
        let file = fs::File::open(self.settings.folder.join(FILE)).ok()?;
        // Mapped: the learner already exists, and a copy of the file might not fit beside it.
        // SAFETY: only this run, which holds its folder's lock, writes the file, and does so by
        // renaming.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        let metadata = header.metadata().as_ref()?;
        if metadata.get(FINGERPRINT)? != &self.fingerprint {
            return None;
        }
        let progress: Progress = serde_json::from_str(metadata.get(PROGRESS)?).ok()?;
        let mut state = State::new();
        let mut best = Best::default();
        for (name, view) in SafeTensors::deserialize(&bytes).ok()?.iter() {
            let values = view.data().chunks_exact(4);
            let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            let Some((kind, name)) = name.split_once('.') else {
                best.logits = values;
                continue;
            };
            if kind == "best" {
                best.weights.insert(name.to_owned(), values);
                continue;
            }
            let empty = || Slot { weight: Vec::new(), first: Vec::new(), second: Vec::new() };
            let slot = state.entry(name.to_owned()).or_insert_with(empty);
            *match kind {
                "weight" => &mut slot.weight,
                "first" => &mut slot.first,
                _ => &mut slot.second,
            } = values;
        }
        Some(Snapshot { best: progress.best.map(|_| best), progress, state })
    }

    /// Whether a snapshot is due after a step; `epoch_ends` tells whether an epoch ended with it.
    pub(super) fn is_due(&mut self, epoch_ends: bool) -> bool {
        self.steps += 1;
        let every = self.settings.every_steps;
        (epoch_ends || (every > 0 && self.steps >= every)) && self.last.elapsed() >= self.pause
    }

    /// Replaces the snapshot.
    ///
    /// # Errors
    /// [`StudentError::Write`].
    pub(super) fn write(
        &mut self,
        progress: &Progress,
        state: &State,
        best: Option<&Best>,
    ) -> Result<()> {
        let clock = Instant::now();
        let mut tensors = BTreeMap::new();
        for (name, slot) in state {
            tensors.insert(format!("weight.{name}"), Floats::new(&slot.weight));
            tensors.insert(format!("first.{name}"), Floats::new(&slot.first));
            tensors.insert(format!("second.{name}"), Floats::new(&slot.second));
        }
        if let Some(best) = best {
            for (name, weight) in &best.weights {
                tensors.insert(format!("best.{name}"), Floats::new(weight));
            }
            tensors.insert(BEST_LOGITS.to_owned(), Floats::new(&best.logits));
        }
        let json = serde_json::to_string(progress).expect("progress is plain numbers");
        let metadata = HashMap::from([
            (PROGRESS.to_owned(), json),
            (FINGERPRINT.to_owned(), self.fingerprint.clone()),
        ]);
        let folder = &self.settings.folder;
        replace(folder, |path| {
            safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(io::Error::other)
        })
        .map_err(|source| StudentError::Write { path: folder.join(FILE), source })?;
        self.last = Instant::now();
        self.steps = 0;
        if !self.settings.least_time.is_zero() {
            self.pause = self.settings.least_time.max(PAUSE * clock.elapsed());
        }
        Ok(())
    }

    /// Removes the snapshot of a completed training.
    ///
    /// # Errors
    /// [`StudentError::Write`].
    pub(super) fn remove(&self) -> Result<()> {
        let folder = &self.settings.folder;
        let fault = |source| StudentError::Write { path: folder.clone(), source };
        // Left by an interrupted write.
        let _ = fs::remove_file(folder.join(PART));
        match fs::remove_file(folder.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(error)),
            // The folder stays if it holds files of others.
            _ => fs::remove_dir(folder).or(Ok(())),
        }
    }
}

fn replace(folder: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let part = folder.join(PART);
    let written = crate::fs::create_anew(&part)
        .and_then(|_| write(&part))
        .and_then(|()| File::open(&part)?.sync_all())
        .and_then(|()| fs::rename(&part, folder.join(FILE)));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written?;
    // Only Unix can open a folder to make its names durable.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A safetensors view of F32 numbers; encodes one tensor's bytes at a time.
struct Floats<'a> {
    shape: [usize; 1],
    values: &'a [f32],
}

impl<'a> Floats<'a> {
    fn new(values: &'a [f32]) -> Self {
        Self { shape: [values.len()], values }
    }
}

impl safetensors::View for Floats<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into()
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let slot =
            Slot { weight: vec![1.0, -0.1], first: vec![1e-30, 2.0], second: vec![0.5, 0.0] };
        Snapshot {
            progress: Progress {
                step: 7,
                unused_decay: 0.1 + 0.2,
                loss: 1.0 / 3.0,
                best: Some((0.3, 0.9)),
                ..Progress::default()
            },
            state: [("a.weight".to_owned(), slot)].into(),
            best: Some(Best {
                weights: [("a.weight".to_owned(), vec![3.0, 4.0])].into(),
                logits: vec![0.25; 3],
            }),
        }
    }

    fn store(folder: &Path, fingerprint: &str) -> SnapshotStore {
        let settings = Snapshots {
            every_steps: 3,
            least_time: Duration::ZERO,
            ..Snapshots::new(folder.into())
        };
        SnapshotStore::new(settings, fingerprint.to_owned())
    }

    #[test]
    fn a_state_comes_back_bit_for_bit_and_only_to_its_own_training() -> anyhow::Result<()> {
        let temp = tempfile::tempdir()?;
        let folder = temp.path().join("deep/training");
        let mut mine = store(&folder, "mine");
        assert_eq!(mine.read(), None);
        let wanted = snapshot();
        for step in [1, 7] {
            let progress = Progress { step, ..wanted.progress.clone() };
            mine.write(&progress, &wanted.state, wanted.best.as_ref())?;
        }
        assert_eq!(mine.read(), Some(wanted));
        assert_eq!(store(&folder, "other").read(), None);
        assert_eq!(fs::read_dir(&folder)?.count(), 1);
        let whole = fs::read(folder.join(FILE))?;
        fs::write(folder.join(FILE), &whole[..whole.len() - 1])?;
        assert_eq!(mine.read(), None);
        mine.remove()?;
        mine.remove()?;
        assert!(!folder.exists());
        Ok(())
    }

    #[test]
    fn states_are_due_after_epochs_and_steps_but_not_too_often() {
        let mut often = store(Path::new("/no/where"), "");
        let due = [false, false, false, true].map(|epoch_ends| often.is_due(epoch_ends));
        assert_eq!(due, [false, false, true, true]);
        let mut seldom = SnapshotStore::new(Snapshots::new("/no/where".into()), String::new());
        assert!(!seldom.is_due(true));
    }
}
