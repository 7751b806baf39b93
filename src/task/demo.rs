//! The task of `promptmix demo`, embedded in the program.

use super::{Task, TaskError};

/// Its `task.toml`: a help desk.
const DEMO_TASK: &str = include_str!("../../models/pocket/demo/task.toml");

/// The files that [`DEMO_TASK`] names.
const DEMO_FILES: [(&str, &[u8]); 3] = [
    ("seeds.jsonl", include_bytes!("../../models/pocket/demo/seeds.jsonl")),
    ("pool.jsonl", include_bytes!("../../models/pocket/demo/pool.jsonl")),
    ("test.jsonl", include_bytes!("../../models/pocket/demo/test.jsonl")),
];

/// The task of `promptmix demo`.
///
/// # Errors
/// None in practice: a test loads this task.
pub(crate) fn demo_task() -> Result<Task, TaskError> {
    Task::load_embedded(DEMO_TASK, &DEMO_FILES)
}
