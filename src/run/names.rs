//! The names of the files in a run folder.

/// The task with its texts.
pub(crate) const TASK: &str = "task.json";
/// The next [`TASK`], while a change of the task is taken up.
pub(crate) const NEXT_TASK: &str = "task.json.next";
/// All settings, written out.
pub(crate) const SETTINGS: &str = "settings.toml";
/// Everything that cost something or was decided; see [`super::ledger`].
pub(crate) const LEDGER: &str = "ledger.jsonl";
/// How far the ledger went when a stage last ended, so that its end is not cut off unseen.
pub(crate) const HEAD: &str = "ledger.head";
/// The number of the process that has the folder open. What is locked is the ledger.
pub(crate) const LOCK: &str = "run.lock";
/// The empty file that marks the folder of a comparison.
pub(crate) const COMPARISON: &str = "comparison";
/// The new texts, written by `generate`.
pub(crate) const AUGMENTED: &str = "augmented.jsonl";
/// New texts whose classes are gone or described otherwise.
pub(crate) const SET_ASIDE: &str = "set-aside.jsonl";
/// The texts that were junk or were cleaned, each with its reasons, written by `generate`.
pub(crate) const JUNK: &str = "junk.jsonl";
/// The new texts with the labels that the teacher gave them.
pub(crate) const RELABELLED: &str = "relabelled.jsonl";
/// Real texts with the labels that the teacher gave them, written by `label`.
pub(crate) const LABELLED: &str = "labelled.jsonl";
/// The seeds with the labels that the teacher gave them, where `relabel.gold` is set.
pub(crate) const GOLD: &str = "gold.jsonl";
/// The texts that students are trained on.
pub(crate) const TRAIN: &str = "train.jsonl";
/// The texts that were filtered out, each with its reason.
pub(crate) const DROPPED: &str = "dropped.jsonl";
/// The unlabelled texts that people were asked about; see `suggest`.
pub(crate) const SUGGESTED: &str = "suggested.jsonl";
/// The descriptions that `refine` drafted, with what they change.
pub(crate) const REFINED: &str = "refined.json";
/// Embeddings of the training texts, for `predict --why`; computed again if the file is gone.
pub(crate) const NEAREST: &str = "nearest.safetensors";
/// What each student predicted on the test set.
pub(crate) const PREDICTIONS: &str = "predictions.json";
/// The folder of the student that is kept.
pub(crate) const STUDENT: &str = "student";
/// The hash of all that [`STUDENT`] was trained from, as in its entry in the ledger.
pub(crate) const STUDENT_KEY: &str = "student.key";
/// The folder of the state of an unfinished training.
pub(crate) const TRAINING: &str = "training";
/// The folder of the shards of this run's stages, each a run folder; see [`super::shards`].
pub(crate) const SHARDS: &str = "shards";
/// The folder of copies of the editable files as they were written; see [`super::edits`].
pub(crate) const WRITTEN: &str = "written";
