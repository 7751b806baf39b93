//! `models.lock.toml`: what each model was when it came first.
//!
//! The manifest names repos, but vouches for few hashes: nobody checked the rest. The first pull or
//! import of a model writes commit, sizes and SHA-256 here, and from then on every file must be the
//! same (trust on first use). Whoever wants certainty compares this file between two machines, or
//! with what the hub's web page says.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{ModelError, Role, home, library, private, trusted_home};

/// One model as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Locked {
    pub name: String,
    pub role: Role,
    /// `owner/name` on the hub; empty where the model came from a file or a bundle.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// The commit of the repo, where the model was pulled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
    #[serde(rename = "file")]
    pub files: Vec<LockedFile>,
}

/// One file of it.
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
    /// The lock file; an empty one where there is none yet.
    ///
    /// # Errors
    /// A file that cannot be read or is not a lock file.
    pub(crate) fn read() -> Result<Self, ModelError> {
        let path = trusted_home()?.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| ModelError::Lock {
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

    /// Writes down `model`, in the place of what was known of it. The guard shows that no other
    /// program changes the file meanwhile.
    pub(crate) fn put(_guard: &Guard, model: Locked) -> Result<(), ModelError> {
        let mut lock = Self::read()?;
        lock.models.retain(|other| other.role != model.role || other.name != model.name);
        lock.models.push(model);
        lock.models.sort_by(|a, b| (&a.name, a.role).cmp(&(&b.name, b.role)));
        lock.write()
    }

    /// Forgets a model.
    pub(crate) fn forget(_guard: &Guard, role: Role, name: &str) -> Result<(), ModelError> {
        let mut lock = Self::read()?;
        lock.models.retain(|other| other.role != role || other.name != name);
        lock.write()
    }

    fn write(&self) -> Result<(), ModelError> {
        let text = toml::to_string(self).expect("names, numbers and hashes are TOML");
        let head = "# What each model was when it came first; see `promptmix models verify`.\n\n";
        private::replace(&path(), format!("{head}{text}").as_bytes())
    }
}

/// While it lives, no other process changes library or lock file.
#[derive(Debug)]
pub(crate) struct Guard {
    _file: File,
}

/// Waits until no other process changes the library.
pub(super) fn hold() -> Result<Guard, ModelError> {
    lock_file(library::root().join(".lock"), "another promptmix that changes the library")
}

/// Waits for the lock on the file at `path`, which is made where it is missing, and says that it waits
/// for `whom`. The system gives it up with the process, however that ends.
pub(super) fn lock_file(path: PathBuf, whom: &str) -> Result<Guard, ModelError> {
    trusted_home()?;
    if let Some(parent) = path.parent() {
        private::folder(parent)?;
    }
    let write = |source| ModelError::Write { path: path.clone(), source };
    let options =
        private::private_options().read(true).write(true).create(true).truncate(false).clone();
    let mut file = options.open(&path).map_err(write)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Elsewhere than on Unix a locked file cannot be read.
            let _ = (&mut file).take(20).read_to_string(&mut holder);
            let process = match holder.trim().parse::<u32>() {
                Ok(number) => format!(" (process {number})"),
                Err(_) => String::new(),
            };
            // In one piece: several may wait.
            let line = format!("waiting for {whom}{process}\n");
            eprint!("{line}");
            file.lock().map_err(write)?;
        }
        Err(TryLockError::Error(source)) => return Err(write(source)),
    }
    // Who holds it, for those who wait; nothing depends on it.
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
    fn the_file_says_what_it_means() {
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
    fn an_unknown_key_is_an_error_and_not_silence() {
        assert!(
            toml::from_str::<Lock>("[[model]]\nname='a'\nrole='teacher'\nsha='x'\nfile=[]")
                .is_err()
        );
    }
}
