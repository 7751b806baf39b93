//! The published behaviour as settings, faults included: what `--paper` lays under `--set`.
//!
//! Three layers lie on each other. What the method *is* in the paper and its code replaces what the
//! task says. How large and how long (texts, sampling, training) belongs to the task's models: there
//! the paper's values hold where `task.toml` says nothing. `--set` has the last word on both.
//!
//! Not restored, since nobody could repeat or use it:
//! - classes in the order of a randomised hash, and random streams that cycles share: here every draw
//!   has a key of its own;
//! - row A1 tuned on and on over 11 cycles while A2 starts afresh: the two would differ in their
//!   training and not in their labels alone, so both are trained once, with the same settings;
//! - a share "relabelled" that is the share of labels that stayed;
//! - no bound on repeated requests: here `augment.tries` is one;
//! - replies mended by rules: here a reply that is no numbered list is refused and asked again;
//! - doubles that differ in letter case or punctuation, copies of seeds and texts of the test set are
//!   still dropped: a student that learnt the test set could not be compared.

use toml::Table;

/// Holds whatever the task says.
const METHOD: [&str; 23] = [
    "augment.texts_per_request=3",
    "augment.classes_shown=4",
    "augment.partners=\"even\"",
    "augment.beta=[5.0, 2.0]",
    "augment.constrained=false",
    "augment.unique_per_text=10",
    "augment.truncated_percent=true",
    "relabel.candidates=5",
    "relabel.all_up_to=0",
    "relabel.length_normalisation=false",
    "relabel.contextual_calibration=false",
    "relabel.free_text=true",
    "relabel.gold=true",
    // Above 1: exact doubles only.
    "filter.rouge_l=2.0",
    "filter.min_probability=0.0",
    "student.soft_labels=0.0",
    "student.confidence_weights=false",
    "student.loss=\"cross_entropy\"",
    "student.label_smoothing=0.0",
    "student.class_weights=\"off\"",
    "student.stages=\"mixed\"",
    "student.validation_share=0.0",
    "student.pooling=\"first\"",
];

/// Holds where the task says nothing.
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

/// The overrides (`table.key=value`, for [`crate::config::Settings::resolve`] and [`crate::config::Settings::with`])
/// that restore the published behaviour for a task whose `task.toml` holds the tables `task`.
pub(crate) fn published(task: &Table) -> Vec<String> {
    let says = |given: &str| {
        let key = given.split_once('=').map_or(given, |(key, _)| key);
        key.split_once('.')
            .is_some_and(|(table, key)| task.get(table).and_then(|table| table.get(key)).is_some())
    };
    let sizes = SIZES.into_iter().filter(|given| !says(given));
    METHOD.into_iter().chain(sizes).map(str::to_owned).collect()
}
