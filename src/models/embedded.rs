//! The models that are part of the program itself.

use std::{fs, path::PathBuf};

use super::{ModelError, Role, files, paths::trusted_home};

/// The pocket teacher, a GGUF.
pub(super) const POCKET_TEACHER: &[u8] =
    include_bytes!("../../models/pocket/teacher/pocket-teacher.gguf");

/// The pocket student, a Hugging Face folder: config, weights, tokenizer.
pub(super) const POCKET_STUDENT: [&[u8]; 3] = [
    include_bytes!("../../models/pocket/student/config.json"),
    include_bytes!("../../models/pocket/student/model.safetensors"),
    include_bytes!("../../models/pocket/student/tokenizer.json"),
];

/// The embedded model of this role as files, since llama.cpp reads models from files only. They are
/// written once, to paths that contain their hash, and compared byte by byte on every use.
pub(super) fn unpack(role: Role) -> Result<Vec<(String, PathBuf)>, ModelError> {
    let unpacked = |name: &str, path: PathBuf, bytes: &[u8]| {
        if !fs::read(&path).is_ok_and(|found| found == bytes) {
            files::write(&path, bytes)?;
        }
        Ok((name.to_owned(), path))
    };
    let home = trusted_home()?;
    let short = |bytes: &[u8]| crate::hash::of_bytes(bytes)[..12].to_owned();
    match role {
        Role::Teacher => {
            let path = home.join(format!("pocket-teacher-{}.gguf", short(POCKET_TEACHER)));
            Ok(vec![unpacked("pocket-teacher.gguf", path, POCKET_TEACHER)?])
        }
        Role::Student => {
            let folder = home.join(format!("pocket-student-{}", short(POCKET_STUDENT[1])));
            let names = ["config.json", "model.safetensors", "tokenizer.json"];
            names
                .into_iter()
                .zip(POCKET_STUDENT)
                .map(|(name, bytes)| unpacked(name, folder.join(name), bytes))
                .collect()
        }
    }
}
