//! A task: its `task.toml`, its seeds and its test set, separated by zero bytes. The first byte
//! chooses the formats.
//!
//! Checks, besides panics: a task that loads has the properties that `task` guarantees, and an
//! error has a message and lists its faults.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promptmix::testing::{Task, TaskError};

const NAMES: [(&str, &str); 4] = [
    ("seeds.jsonl", "test.jsonl"),
    ("seeds.csv", "test.jsonl"),
    ("seeds.csv", "test.csv"),
    ("seeds.parquet", "test.csv"),
];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let Ok(toml) = std::str::from_utf8(part()) else { return };
    let (seeds, test) = NAMES[usize::from(choice) % NAMES.len()];
    let files = [(seeds, part()), (test, part())];
    match Task::load_embedded(toml, &files) {
        Ok(task) => {
            assert!(task.classes.len() >= 2);
            for text in task.seeds.iter().chain(&task.test).chain(&task.pool) {
                assert!(text.label < task.classes.len());
                assert!(!text.text.trim().is_empty());
            }
            for class in 0..task.classes.len() {
                assert!(task.seeds_of(class).count() >= task.shots);
            }
            assert_eq!(task.draw_seeds(7).len(), task.shots * task.classes.len());
            for key in task.settings.keys() {
                let _ = task.place_of(&[key.as_str(), "x"]);
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if let TaskError::Faults { faults } = error {
                assert!(!faults.is_empty());
            }
        }
    }
});
