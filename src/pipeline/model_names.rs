//! What models are called in reports.

use std::path::Path;

use crate::{config::Settings, teacher::replay};

/// The student: the last part of its path, or its name.
pub(crate) fn student_name(settings: &Settings) -> String {
    last_part(&settings.student.model)
}

/// The teacher: the name of its file without the ending, or its own name.
pub(crate) fn teacher_name(settings: &Settings) -> String {
    let model = &settings.teacher.model;
    let (recorded, path) = match model.strip_prefix(replay::SCHEME) {
        Some(path) => ("recorded ", path),
        None => ("", model.as_str()),
    };
    let name = last_part(path);
    // Only these endings: the version in `qwen2.5-7b` stays.
    let bare = [".gguf", ".jsonl"].into_iter().find_map(|ending| name.strip_suffix(ending));
    format!("{recorded}{}", bare.unwrap_or(&name))
}

fn last_part(path: &str) -> String {
    let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.to_owned())
}
