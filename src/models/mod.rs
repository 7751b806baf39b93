//! Finds models by name or path and verifies their files.
//!
//! A model is embedded in the program, given as a path, or known by name: from
//! `models/manifest.toml`, from the library in the program's own folder, or from the local Hugging
//! Face cache, which is read and never written. Before a parser sees a file, its SHA-256 is
//! compared with the one that the manifest or the lock file has, and its header is checked against
//! its length. Only [`pull`] opens a connection, and only in builds with the feature `pull`.
//!
//! The files are layered; each uses only those to its left:
//!
//! ```text
//! paths ──► lock, manifest ──► resolve ──► library, inspect ──► pull
//! ```

mod checksum;
mod embedded;
mod error;
mod files;
mod inspect;
mod library;
mod lock;
mod manifest;
mod paths;
#[cfg(feature = "pull")]
pub(crate) mod pull;
mod resolve;
mod speed;
mod split;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use checksum::sha256_of;
pub(crate) use error::ModelError;
pub(crate) use inspect::{Inspected, Soundness, inspect};
pub(crate) use library::{LocalModel, check_complete, install, local, remove};
pub(crate) use lock::{Lock, Locked};
pub(crate) use manifest::{KnownModel, KnownPooling, SentenceEmbedding, known_models};
pub(crate) use paths::{home, library_names, library_root, plain_name};
pub(crate) use resolve::{Place, files_at, is_name, present};
pub(crate) use speed::{remember_speed, speed};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Teacher,
    Student,
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Teacher => "teacher",
            Self::Student => "student",
        })
    }
}

/// The GGUF file that `spec` refers to: `pocket`, a name from the manifest or the library, or a
/// path. A known name takes precedence over a path without a separator. For a model in several
/// files it is the first. Every file has been verified.
///
/// # Errors
/// The name is unknown, the model is not on this machine, a file differs from the manifest or the
/// lock file, or a header is invalid.
pub(crate) fn teacher_file(spec: &str) -> Result<PathBuf, ModelError> {
    let mut found = resolve::locate(Role::Teacher, spec)?;
    found.check()?;
    Ok(found.files.swap_remove(0).1)
}

/// The folder that `spec` refers to, a path or a model in the Hugging Face cache, if it holds a
/// tokenizer and no GGUF file: it does for a teacher whose engine is elsewhere.
#[cfg(all(target_os = "linux", feature = "remote"))]
pub(crate) fn tokenizer_folder(spec: &str) -> Option<PathBuf> {
    let path = Path::new(spec);
    if is_name(Role::Teacher, spec) {
        return None;
    }
    let folder = match path.exists() {
        true => path.to_owned(),
        false => {
            let (owner, name) = resolve::hub_name(spec)?;
            manifest::snapshot(&format!("{owner}/{name}"), "main").ok()??
        }
    };
    let is_it =
        folder.join("tokenizer.json").is_file() && files_at(Role::Teacher, &folder).is_err();
    is_it.then_some(folder)
}

/// Where the files of an encoder are.
pub(crate) enum StudentFiles {
    /// Part of the program: config, weights, tokenizer.
    Embedded([&'static [u8]; 3]),
    /// A Hugging Face folder; and how the encoder embeds sentences, if its name tells.
    Folder(PathBuf, Option<SentenceEmbedding>),
}

/// The name under which the library and bundles keep a student's `1_Pooling/config.json`: they have
/// no subfolders.
pub(crate) const POOLING_FILE: &str = "1_Pooling.config.json";

/// The encoder that `spec` refers to: `pocket`, a name from the manifest or the library, or a
/// folder. Every file has been verified.
///
/// # Errors
/// As [`teacher_file`].
pub(crate) fn student_files(spec: &str) -> Result<StudentFiles, ModelError> {
    if spec == "pocket" {
        return Ok(StudentFiles::Embedded(embedded::POCKET_STUDENT));
    }
    let found = resolve::locate(Role::Student, spec)?;
    found.check()?;
    let folder = match found.place {
        Place::Path if Path::new(spec).exists() => Path::new(spec),
        _ => found.files.first().and_then(|(_, path)| path.parent()).unwrap_or(Path::new(spec)),
    };
    let known = manifest::known(Role::Student, &found.name);
    Ok(StudentFiles::Folder(folder.to_owned(), known.and_then(|model| model.sentences)))
}

/// Size in bytes and SHA-256 (hex) of each embedded model; a student's hash is that of its weights.
pub(crate) fn embedded_sizes() -> [(Role, usize, String); 2] {
    let [config, weights, tokenizer] = embedded::POCKET_STUDENT;
    [
        (
            Role::Teacher,
            embedded::POCKET_TEACHER.len(),
            crate::hash::of_bytes(embedded::POCKET_TEACHER),
        ),
        (
            Role::Student,
            config.len() + weights.len() + tokenizer.len(),
            crate::hash::of_bytes(weights),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = teacher_file("gpt-9").unwrap_err();
        assert!(error.to_string().contains("gpt-9"), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("qwen2.5-0.5b-instruct"), "{hint}");
    }
}
