//! Where models come from, and that they are what they should be.
//!
//! A model is embedded in the program, given as a path, or known by name: from `models/manifest.toml`,
//! from the library under the program's own folder, or from the local Hugging Face cache, which is
//! read and never written. Every file is held against the hash that is known of it, and its header
//! against its length, before a parser sees it. Only [`pull`] opens a connection, and only in builds
//! with the feature `pull`.

mod embedded;
mod error;
mod inspect;
mod library;
mod lock;
mod manifest;
mod private;
#[cfg(feature = "pull")]
pub(crate) mod pull;
mod resolve;
mod speed;
mod split;
mod verify;

use std::{
    env,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(crate) use error::ModelError;
pub(crate) use inspect::{Inspected, Soundness, inspect};
pub(crate) use library::{
    LocalModel, install, local, names as library_names, plain_name, remove, root as library_root,
};
pub(crate) use lock::{Lock, Locked};
pub(crate) use manifest::{KnownModel, known_models};
pub(crate) use resolve::{Place, files_at, is_name, present};
pub(crate) use speed::{remember_speed, speed};
pub(crate) use verify::sha256_of;

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

/// The GGUF file that `spec` means: `pocket`, a name of the manifest or the library, or a path; what
/// has a name wins over a path without a separator. Of a model in several files it is the first. Every file has been checked.
///
/// # Errors
/// A name that is not known or not on this machine, a file that is not what the manifest or the lock
/// file says, a header that cannot be true.
pub(crate) fn teacher_file(spec: &str) -> Result<PathBuf, ModelError> {
    let mut found = resolve::locate(Role::Teacher, spec)?;
    found.check()?;
    Ok(found.files.swap_remove(0).1)
}

/// Where the files of an encoder are.
pub(crate) enum StudentFiles {
    /// Part of the program: config, weights, tokenizer.
    Embedded([&'static [u8]; 3]),
    /// A Hugging Face folder.
    Folder(PathBuf),
}

/// The encoder that `spec` means: `pocket`, a name of the manifest or the library, or a folder. Every
/// file has been checked.
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
        Place::Path => Path::new(spec),
        _ => found.files.first().and_then(|(_, path)| path.parent()).unwrap_or(Path::new(spec)),
    };
    Ok(StudentFiles::Folder(folder.to_owned()))
}

/// Bytes and sha256 (hex) of the embedded models together, for `doctor`.
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

/// The folder of the program's own files: `PROMPTMIX_HOME`, or `promptmix` in the user's cache folder.
/// A user without any of them gets one beside everybody's temporary files.
pub(crate) fn home() -> PathBuf {
    named_home().unwrap_or_else(shared_home)
}

fn named_home() -> Option<PathBuf> {
    let from = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty());
    from("PROMPTMIX_HOME")
        .map(PathBuf::from)
        .or_else(|| from("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("promptmix")))
        .or_else(|| from("HOME").map(|home| PathBuf::from(home).join(".cache/promptmix")))
}

#[cfg(unix)]
fn shared_home() -> PathBuf {
    // SAFETY: it takes nothing and cannot fail.
    env::temp_dir().join(format!("promptmix-{}", unsafe { libc::geteuid() }))
}

#[cfg(not(unix))]
fn shared_home() -> PathBuf {
    env::temp_dir().join("promptmix")
}

/// [`home`], to be believed: what is in there says what models should be. Among everybody's temporary
/// files it must be this user's alone, or another could have put it there.
fn trusted_home() -> Result<PathBuf, ModelError> {
    if let Some(home) = named_home() {
        return Ok(home);
    }
    let home = shared_home();
    private::folder(&home)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // A link is not followed: its target could be changed.
        let meta = std::fs::symlink_metadata(&home)
            .map_err(|source| ModelError::Read { path: home.clone(), source })?;
        // SAFETY: it takes nothing and cannot fail.
        let user = unsafe { libc::geteuid() };
        if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o077 != 0 {
            return Err(ModelError::Untrusted { path: home });
        }
    }
    Ok(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = teacher_file("gpt-9").unwrap_err().to_string();
        assert!(
            message.contains("gpt-9") && message.contains("qwen2.5-0.5b-instruct"),
            "{message}"
        );
    }
}
