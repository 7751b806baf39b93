//! Settings that restore the published behaviour, faults included: the overrides behind `--paper`.
//!
//! There are three layers. What defines the method in the paper and its code replaces the values of
//! `task.toml`. Sizes and lengths (number of texts, sampling, training) depend on the task's
//! models: there, the paper's values hold only if `task.toml` does not set them. `--set` overrides
//! both.
//!
//! Not restored, because nobody could repeat or use it:
//! - classes in the order of a randomised hash, and random streams shared by cycles: here every
//!   draw has a key of its own;
//! - training that continues row A1 over 11 cycles while A2 starts afresh: the two would differ in
//!   their training and not in their labels alone, so both are trained once, with the same
//!   settings;
//! - a share of "relabelled" texts that is in fact the share of labels that did not change;
//! - unlimited repeated requests: here `augment.tries` is the limit;
//! - replies repaired by rules: here a reply that is not a numbered list is rejected and requested
//!   again;
//! - duplicates that differ in letter case or punctuation, copies of seeds and texts of the test
//!   set in the training set: they are still dropped, because the score of a student that has seen
//!   the test set means nothing.

use toml::Table;

/// Applies even if the task sets the key.
const METHOD: [&str; 37] = [
    "augment.clean=false",
    "teacher.check=0",
    "augment.texts_per_request=3",
    "augment.classes_shown=4",
    "augment.mix=1.0",
    "augment.style_examples=0",
    "augment.partners=\"even\"",
    "augment.prompts=\"paper\"",
    "augment.beta=[5.0, 2.0]",
    "augment.constrained=false",
    "augment.unique_per_text=10",
    "augment.truncated_percent=true",
    "relabel.labels=\"teacher\"",
    "relabel.prompts=\"paper\"",
    "relabel.candidates=5",
    "relabel.all_up_to=0",
    "relabel.scoring=\"sequence\"",
    "relabel.length_normalisation=false",
    "relabel.calibration=\"none\"",
    "relabel.free_text=true",
    "relabel.gold=true",
    // Above 1: exact duplicates only.
    "filter.rouge_l=2.0",
    "filter.min_probability=0.0",
    "student.gold=\"shots\"",
    "student.soft_labels=0.0",
    "student.texts=\"always\"",
    "student.text_weight=1.0",
    "student.confidence_weights=false",
    "student.loss=\"cross_entropy\"",
    "student.label_smoothing=0.0",
    "student.class_weights=\"off\"",
    "student.stages=\"mixed\"",
    "student.validation_share=0.0",
    "student.head=\"mlp\"",
    "student.fine_tune=\"always\"",
    "student.interpolation=1.0",
    "student.pooling=\"first\"",
];

/// Applies if the task does not set the key.
const SIZES: [&str; 14] = [
    "augment.per_class=100",
    "augment.max_tokens=256",
    "augment.temperature=1.0",
    "augment.top_p=1.0",
    "augment.top_k=0",
    "augment.min_p=0.0",
    "student.epochs=5",
    "student.batch_size=8",
    "student.learning_rate=4e-5",
    "student.weight_decay=0.01",
    "student.warmup_share=0.1",
    "student.max_length=50",
    "student.min_steps=0",
    "student.clip_norm=1.0",
];

/// The overrides (`table.key=value`, as [`Settings::resolve`](super::Settings::resolve) takes them)
/// that restore the published behaviour for a task with the tables `task` in its `task.toml`.
pub(crate) fn paper_overrides(task: &Table) -> Vec<String> {
    METHOD.into_iter().map(str::to_owned).chain(sizes(task)).collect()
}

/// The `overrides` of a command, between those that restore the published sizes and those that
/// restore the published method: for a row of a comparison, whose method is fixed whatever the
/// other rows try.
pub(crate) fn paper_row_overrides(task: &Table, overrides: &[String]) -> Vec<String> {
    let method = METHOD.into_iter().map(str::to_owned);
    sizes(task).chain(overrides.iter().cloned()).chain(method).collect()
}

/// Of [`SIZES`], those that `task` does not set.
fn sizes(task: &Table) -> impl Iterator<Item = String> {
    let is_set = move |given: &str| {
        let key = given.split_once('=').map_or(given, |(key, _)| key);
        key.split_once('.')
            .is_some_and(|(table, key)| task.get(table).and_then(|table| table.get(key)).is_some())
    };
    SIZES.into_iter().filter(move |given| !is_set(given)).map(str::to_owned)
}
