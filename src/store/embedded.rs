//! The models and the task that are part of the program itself.

/// The pocket teacher, a GGUF.
pub const POCKET_TEACHER: &[u8] = include_bytes!("../../models/pocket/teacher/pocket-teacher.gguf");

/// The pocket student, a Hugging Face folder: config, weights, tokenizer.
pub const POCKET_STUDENT: [&[u8]; 3] = [
    include_bytes!("../../models/pocket/student/config.json"),
    include_bytes!("../../models/pocket/student/model.safetensors"),
    include_bytes!("../../models/pocket/student/tokenizer.json"),
];

/// The help-desk task of `promptmix demo`.
pub const DEMO_TASK: &str = include_str!("../../models/pocket/demo/task.toml");

/// The files that [`DEMO_TASK`] names.
pub const DEMO_FILES: [(&str, &[u8]); 3] = [
    ("seeds.jsonl", include_bytes!("../../models/pocket/demo/seeds.jsonl")),
    ("pool.jsonl", include_bytes!("../../models/pocket/demo/pool.jsonl")),
    ("test.jsonl", include_bytes!("../../models/pocket/demo/test.jsonl")),
];
