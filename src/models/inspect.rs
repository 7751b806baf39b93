//! `models verify`: reads every model on this machine and compares it with the expected hashes.

use std::path::PathBuf;

use super::{
    ModelError, Role, checksum,
    lock::Lock,
    manifest::{self, known_models},
    paths,
    resolve::{self, Found, Place},
};

/// One inspected file of a model.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub name: String,
    pub role: Role,
    pub file: String,
    pub path: PathBuf,
    /// SHA-256 (hex); empty if the file cannot be read.
    pub sha256: String,
    pub soundness: Soundness,
}

/// The result of an inspection.
#[derive(Debug)]
pub(crate) enum Soundness {
    /// The file matches the manifest or the lock file.
    Sound,
    /// No hash is known for it; its header is valid.
    Unknown,
    /// It differs, cannot be read, or has an invalid header.
    Unsound(ModelError),
}

/// Reads every file of the models called `names`; without names, of all models in the library and
/// of those in the Hugging Face cache that have a known hash. The cache of hashes is not used. A
/// file that the lock file lists and the library lacks is unsound, and so is one that it does not
/// list.
///
/// # Errors
/// A name is unknown, or the lock file cannot be read.
pub(crate) fn inspect(names: &[String]) -> Result<Vec<Inspected>, ModelError> {
    // An unreadable lock file is an error even if there is no model to look up in it.
    Lock::read()?;
    let models = if names.is_empty() { present() } else { asked(names)? };
    let mut all = Vec::new();
    for (role, name) in models {
        let found = match resolve::find_by_name(role, &name) {
            Err(ModelError::Incomplete { .. }) => {
                let files = Vec::new();
                Found { role, name: name.clone(), place: Place::Library, files }
            }
            found => found?,
        };
        if found.place == Place::Library {
            for path in found.extras()? {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let sha256 = checksum::hash_file(&path).unwrap_or_default();
                let soundness = Soundness::Unsound(resolve::extra_file(path.clone(), &name));
                let name = name.clone();
                all.push(Inspected { name, role, file, path, sha256, soundness });
            }
        }
        let complete = found.files.iter().all(|(_, path)| path.is_file());
        for (at, (file, path)) in found.files.iter().cloned().enumerate() {
            let expected = found.expected_of(&file, &path)?;
            let hash_known = expected.iter().any(|expected| expected.sha256.is_some());
            if names.is_empty() && found.place == Place::Cache && !hash_known {
                continue;
            }
            let hash = checksum::hash_file(&path);
            let sha256 = hash.as_deref().unwrap_or_default().to_owned();
            // An embedded model was compared byte by byte when it was unpacked.
            let known = hash_known || found.place == Place::Embedded;
            let checked = hash.and_then(|hash| {
                let size = checksum::metadata(&path)?.len();
                for expected in &expected {
                    expected.compare(&path, size, || Ok(hash.clone()))?;
                }
                resolve::check_header(&path)?;
                // The first part is checked together with the others, if all are there.
                if at == 0 && complete { found.check_parts() } else { Ok(()) }
            });
            let soundness = match checked {
                Ok(()) if known => Soundness::Sound,
                Ok(()) => Soundness::Unknown,
                Err(error) => Soundness::Unsound(error),
            };
            let name = name.clone();
            all.push(Inspected { name, role, file, path, sha256, soundness });
        }
    }
    Ok(all)
}

/// Every model that is on this machine.
fn present() -> Vec<(Role, String)> {
    let mut models = paths::library_names();
    for model in known_models().into_iter().filter(|model| !model.embedded) {
        let listed = models.iter().any(|(role, name)| *role == model.role && *name == model.name);
        if !listed && model.cached().is_ok() {
            models.push((model.role, model.name));
        }
    }
    models
}

/// The models called `names`, in every role in which they are known.
fn asked(names: &[String]) -> Result<Vec<(Role, String)>, ModelError> {
    let mut models = Vec::new();
    for name in names {
        let known = |role| {
            manifest::known(role, name).is_some()
                || paths::library_names().contains(&(role, name.clone()))
        };
        let roles = [Role::Teacher, Role::Student].into_iter().filter(|&role| known(role));
        let roles: Vec<Role> = roles.collect();
        if roles.is_empty() {
            // Fails with an error that lists the known names.
            resolve::find_by_name(Role::Teacher, name)?;
        }
        models.extend(roles.into_iter().map(|role| (role, name.clone())));
    }
    Ok(models)
}
