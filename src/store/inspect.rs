//! `models verify`: every model of this machine read from end to end and held against what is known.

use std::path::PathBuf;

use super::{
    Role, StoreError, library,
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
/// Hugging Face cache that something is known about. The cache of hashes is not asked.
///
/// # Errors
/// A name that is not known, a lock file that cannot be read.
pub fn inspect(names: &[String]) -> Result<Vec<Inspected>, StoreError> {
    let models = if names.is_empty() { present()? } else { asked(names)? };
    let mut all = Vec::new();
    for model in models {
        for (file, path) in &model.files {
            let wanted = place::wanted(model.role, &model.name, file)?;
            if names.is_empty() && model.place == Place::Cache && wanted.sha256.is_none() {
                continue;
            }
            let hash = verify::hash_file(path);
            let sha256 = hash.as_deref().unwrap_or_default().to_owned();
            // What is embedded was compared byte by byte when it was unpacked.
            let known = wanted.sha256.is_some() || model.place == Place::Embedded;
            let checked = hash.and_then(|hash| {
                let size = verify::metadata(path)?.len();
                wanted.hold(path, size, || Ok(hash))?;
                place::check_header(path)
            });
            let soundness = match checked {
                Ok(()) if known => Soundness::Sound,
                Ok(()) => Soundness::Unknown,
                Err(error) => Soundness::Unsound(error),
            };
            let (name, file, path) = (model.name.clone(), file.clone(), path.clone());
            let (role, place) = (model.role, model.place);
            all.push(Inspected { name, role, place, file, path, sha256, soundness });
        }
    }
    Ok(all)
}

/// Every model that is on this machine.
fn present() -> Result<Vec<Found>, StoreError> {
    let mut models = Vec::new();
    for (role, name) in library::names() {
        models.push(place::named(role, &name)?);
    }
    for model in known_models().iter().filter(|model| !model.embedded) {
        let there = models.iter().any(|found| found.role == model.role && found.name == model.name);
        if !there && model.cached().is_ok() {
            models.push(place::named(model.role, &model.name)?);
        }
    }
    Ok(models)
}

fn asked(names: &[String]) -> Result<Vec<Found>, StoreError> {
    let mut models = Vec::new();
    for name in names {
        let roles: Vec<Role> = [Role::Teacher, Role::Student]
            .into_iter()
            .filter(|&role| {
                manifest::known(role, name).is_some()
                    || library::names().contains(&(role, name.clone()))
            })
            .collect();
        // Of a name that nobody knows, the error lists those that are known.
        for role in if roles.is_empty() { vec![Role::Teacher] } else { roles } {
            models.push(place::named(role, name)?);
        }
    }
    Ok(models)
}
