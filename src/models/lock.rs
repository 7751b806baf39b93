//! `models.lock.toml`: the commit, sizes and hashes of each model when it was first installed.
//!
//! The manifest lists repos but has few hashes, since most have not been verified. The first pull
//! or import of a model records its commit, sizes and SHA-256 here; from then on every file must
//! match (trust on first use). To be certain, compare this file between two machines, or with the
//! hashes on the hub's web page.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{
    ModelError, Role, files,
    paths::{self, home, trusted_home},
};
use crate::{
    fs::open_for_update,
    verbosity::{self, Notice},
};

/// One model as it was when it was pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Locked {
    pub name: String,
    pub role: Role,
    /// `owner/name` on the hub; empty if the model came from a file or a bundle.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// The commit of the repo; empty if the model was not pulled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
    #[serde(rename = "file")]
    pub files: Vec<LockedFile>,
}

/// One file of a pinned model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedFile {
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub sha256: String,
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    #[serde(default, rename = "model", skip_serializing_if = "Vec::is_empty")]
    models: Vec<Locked>,
}

const FILE: &str = "models.lock.toml";

pub(super) fn path() -> PathBuf {
    home().join(FILE)
}

impl Lock {
    /// Reads the lock file; a missing one counts as empty.
    ///
    /// # Errors
    /// The file cannot be read or is not a valid lock file.
    pub(crate) fn read() -> Result<Self, ModelError> {
        let path = trusted_home()?.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| ModelError::InvalidLock {
                path,
                message: error.to_string().trim_end().to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ModelError::Read { path, source }),
        }
    }

    pub(crate) fn find(&self, role: Role, name: &str) -> Option<&Locked> {
        self.models.iter().find(|model| model.role == role && model.name == name)
    }

    /// The name of the model that was pulled from `repo`, `owner/name`.
    pub(super) fn of_repo(&self, role: Role, repo: &str) -> Option<String> {
        let is_it = |model: &&Locked| model.role == role && model.repo.eq_ignore_ascii_case(repo);
        self.models.iter().find(is_it).map(|model| model.name.clone())
    }

    /// Records `model`, replacing its previous entry. The guard proves that no other process is
    /// changing the file.
    pub(crate) fn put(_guard: &Guard, model: Locked) -> Result<(), ModelError> {
        let mut lock = Self::read()?;
        lock.models.retain(|other| other.role != model.role || other.name != model.name);
        lock.models.push(model);
        lock.models.sort_by(|a, b| (&a.name, a.role).cmp(&(&b.name, b.role)));
        lock.write()
    }

    /// Removes the entry of a model.
    pub(crate) fn forget(_guard: &Guard, role: Role, name: &str) -> Result<(), ModelError> {
        let mut lock = Self::read()?;
        lock.models.retain(|other| other.role != role || other.name != name);
        lock.write()
    }

    fn write(&self) -> Result<(), ModelError> {
        let text = toml::to_string(self).expect("names, numbers and hashes are TOML");
        let head = "# Each model as it was first installed; `promptmix models verify` checks against this.\n\n";
        files::write(&path(), format!("{head}{text}").as_bytes())
    }
}

/// A file lock; it is released when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Guard {
    _file: File,
}

/// Locks the library and the lock file for changes, waiting for any other process that changes
/// them.
pub(super) fn lock_library() -> Result<Guard, ModelError> {
    acquire(paths::library_root().join(".lock"), "another promptmix that is changing the library")
}

/// Locks the file at `path`, creating it if it is missing; if it has to wait, it prints that it
/// waits for `other`. The system releases the lock when the process ends, however it ends.
pub(super) fn acquire(path: PathBuf, other: &str) -> Result<Guard, ModelError> {
    trusted_home()?;
    if let Some(parent) = path.parent() {
        files::create_dir(parent)?;
    }
    let write = |source| ModelError::Write { path: path.clone(), source };
    let mut file = open_for_update(&path).map_err(write)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // A locked file can be read on Unix only.
            let _ = (&mut file).take(20).read_to_string(&mut holder);
            let process = match holder.trim().parse::<u32>() {
                Ok(number) => format!(" (process {number})"),
                Err(_) => String::new(),
            };
            verbosity::notify(Notice::Message(format!("waiting for {other}{process}")));
            file.lock().map_err(write)?;
        }
        Err(TryLockError::Error(source)) => return Err(write(source)),
    }
    // The holder's process id, for the message of those who wait; nothing else depends on it.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    Ok(Guard { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_read_back_as_written() {
        let model = Locked {
            name: "tiny".into(),
            role: Role::Teacher,
            repo: "owner/tiny".into(),
            commit: "0123456789abcdef".into(),
            licence: "MIT".into(),
            files: vec![LockedFile { name: "tiny.gguf".into(), size: 7, sha256: "ab".repeat(32) }],
        };
        let lock = Lock { models: vec![model.clone()] };
        let text = toml::to_string(&lock).unwrap();
        assert!(text.contains("[[model]]") && text.contains("[[model.file]]"), "{text}");
        assert_eq!(toml::from_str::<Lock>(&text).unwrap(), lock);
        assert_eq!(lock.find(Role::Teacher, "tiny"), Some(&model));
        assert_eq!(lock.find(Role::Student, "tiny"), None);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(
            toml::from_str::<Lock>("[[model]]\nname='a'\nrole='teacher'\nsha='x'\nfile=[]")
                .is_err()
        );
    }
}
