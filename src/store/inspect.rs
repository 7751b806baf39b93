//! `models verify`: every model of this machine read from end to end and held against what is known.

use std::path::PathBuf;

use super::{
    Role, StoreError, library,
    lock::Lock,
    manifest::{self, known_models},
    place::{self, Found, Place},
    verify,
};

/// One file of a model, as it was found.
#[derive(Debug)]
pub struct Inspected {
    pub name: String,
    pub role: Role,
    pub place: Place,
    pub file: String,
    pub path: PathBuf,
    /// SHA-256 (hex); empty for a file that cannot be read.
    pub sha256: String,
    pub soundness: Soundness,
}

/// What the look at it came to.
#[derive(Debug)]
pub enum Soundness {
    /// The file is what the manifest or the lock file says.
    Sound,
    /// Nobody knows what it should be; its header holds.
    Unknown,
    /// It differs, cannot be read, or has a header that cannot be true.
    Unsound(StoreError),
}

/// Reads every file of the models called `names`, or of all models of the library and those of the
/// Hugging Face cache that something is known about. The cache of hashes is not asked. A file that the
/// lock file names and the library lacks is unsound too.
///
/// # Errors
/// A name that is not known, a lock file that cannot be read.
pub fn inspect(names: &[String]) -> Result<Vec<Inspected>, StoreError> {
    let lock = Lock::read()?;
    let models = if names.is_empty() { present() } else { asked(names)? };
    let mut all = Vec::new();
    for (role, name) in models {
        let found = match place::named(role, &name) {
            Err(StoreError::Incomplete { .. }) => {
                let files = Vec::new();
                Found { role, name: name.clone(), place: Place::Library, files }
            }
            found => found?,
        };
        let mut files = found.files.clone();
        if found.place == Place::Library {
            let locked = lock.find(role, &name).into_iter().flat_map(|model| &model.files);
            let missing = locked.filter(|file| !files.iter().any(|(name, _)| *name == file.name));
            let folder = library::folder(role, &name);
            let missing: Vec<_> =
                missing.map(|file| (file.name.clone(), folder.join(&file.name))).collect();
            files.extend(missing);
        }
        for (file, path) in files {
            let wanted = place::wanted(role, &name, &file)?;
            if names.is_empty() && found.place == Place::Cache && wanted.sha256.is_none() {
                continue;
            }
            let hash = verify::hash_file(&path);
            let sha256 = hash.as_deref().unwrap_or_default().to_owned();
            // What is embedded was compared byte by byte when it was unpacked.
            let known = wanted.sha256.is_some() || found.place == Place::Embedded;
            let checked = hash.and_then(|hash| {
                wanted.hold(&path, verify::metadata(&path)?.len(), || Ok(hash))?;
                place::check_header(&path)
            });
            let soundness = match checked {
                Ok(()) if known => Soundness::Sound,
                Ok(()) => Soundness::Unknown,
                Err(error) => Soundness::Unsound(error),
            };
            let (name, place) = (name.clone(), found.place);
            all.push(Inspected { name, role, place, file, path, sha256, soundness });
        }
    }
    Ok(all)
}

/// Every model that is on this machine.
fn present() -> Vec<(Role, String)> {
    let mut models = library::names();
    for model in known_models().into_iter().filter(|model| !model.embedded) {
        let there = models.iter().any(|(role, name)| *role == model.role && *name == model.name);
        if !there && model.cached().is_ok() {
            models.push((model.role, model.name));
        }
    }
    models
}

fn asked(names: &[String]) -> Result<Vec<(Role, String)>, StoreError> {
    let mut models = Vec::new();
    for name in names {
        let known = |role| {
            manifest::known(role, name).is_some()
                || library::names().contains(&(role, name.clone()))
        };
        let roles = [Role::Teacher, Role::Student].into_iter().filter(|&role| known(role));
        let roles: Vec<Role> = roles.collect();
        if roles.is_empty() {
            // Lists the names that are known.
            place::named(Role::Teacher, name)?;
        }
        models.extend(roles.into_iter().map(|role| (role, name.clone())));
    }
    Ok(models)
}
