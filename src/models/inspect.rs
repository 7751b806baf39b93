//! `models verify`: every model of this machine read from end to end and held against what is known.

use std::path::PathBuf;

use super::{
    ModelError, Role, library,
    lock::Lock,
    manifest::{self, known_models},
    resolve::{self, Found, Place},
    verify,
};

/// One file of a model, as it was found.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub name: String,
    pub role: Role,
    pub file: String,
    pub path: PathBuf,
    /// SHA-256 (hex); empty for a file that cannot be read.
    pub sha256: String,
    pub soundness: Soundness,
}

/// What the look at it came to.
#[derive(Debug)]
pub(crate) enum Soundness {
    /// The file is what the manifest or the lock file says.
    Sound,
    /// Nobody knows what it should be; its header holds.
    Unknown,
    /// It differs, cannot be read, or has a header that cannot be true.
    Unsound(ModelError),
}

/// Reads every file of the models called `names`, or of all models of the library and those of the
/// Hugging Face cache that something is known about. The cache of hashes is not asked. A file that the
/// lock file names and the library lacks is unsound too, and so is one that lies there unnamed.
///
/// # Errors
/// A name that is not known, a lock file that cannot be read.
pub(crate) fn inspect(names: &[String]) -> Result<Vec<Inspected>, ModelError> {
    // One that cannot be read is an error even where there is no model to look up in it.
    Lock::read()?;
    let models = if names.is_empty() { present() } else { asked(names)? };
    let mut all = Vec::new();
    for (role, name) in models {
        let found = match resolve::named(role, &name) {
            Err(ModelError::Incomplete { .. }) => {
                let files = Vec::new();
                Found { role, name: name.clone(), place: Place::Library, files }
            }
            found => found?,
        };
        if found.place == Place::Library {
            for path in found.extras()? {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let sha256 = verify::hash_file(&path).unwrap_or_default();
                let soundness = Soundness::Unsound(resolve::extra(path.clone(), &name));
                let name = name.clone();
                all.push(Inspected { name, role, file, path, sha256, soundness });
            }
        }
        let complete = found.files.iter().all(|(_, path)| path.is_file());
        for (at, (file, path)) in found.files.iter().cloned().enumerate() {
            let wanted = found.known_of(&file, &path)?;
            let hash_known = wanted.iter().any(|wanted| wanted.sha256.is_some());
            if names.is_empty() && found.place == Place::Cache && !hash_known {
                continue;
            }
            let hash = verify::hash_file(&path);
            let sha256 = hash.as_deref().unwrap_or_default().to_owned();
            // What is embedded was compared byte by byte when it was unpacked.
            let known = hash_known || found.place == Place::Embedded;
            let checked = hash.and_then(|hash| {
                let size = verify::metadata(&path)?.len();
                for wanted in &wanted {
                    wanted.hold(&path, size, || Ok(hash.clone()))?;
                }
                resolve::check_header(&path)?;
                // Once all parts are there, the first is asked whether they belong together.
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
    let mut models = library::names();
    for model in known_models().into_iter().filter(|model| !model.embedded) {
        let there = models.iter().any(|(role, name)| *role == model.role && *name == model.name);
        if !there && model.cached().is_ok() {
            models.push((model.role, model.name));
        }
    }
    models
}

fn asked(names: &[String]) -> Result<Vec<(Role, String)>, ModelError> {
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
            resolve::named(Role::Teacher, name)?;
        }
        models.extend(roles.into_iter().map(|role| (role, name.clone())));
    }
    Ok(models)
}
