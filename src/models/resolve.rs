//! Resolves a name or path to the files of a model and verifies them.
//!
//! A spec that contains a separator or ends in `.gguf` is a path. Any other is first a name, and a
//! path only if nothing has that name: a folder in the current directory must not replace a known
//! model. A name is looked up among the embedded models, in the library, and in the Hugging Face
//! cache, in this order. Before a path is returned, each file is compared with the manifest and the
//! lock file, and its header is checked against its length: no parser sees a file before that.
//!
//! The manifest or the lock file decides which files a model in the library has, never the folder:
//! an additional file is an error. In the Hugging Face cache, a large file is stored under its
//! SHA-256; the other files of such a model are pinned when it is first used, as by a pull.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use super::{
    ModelError, POOLING_FILE, Role,
    checksum::{self, Expected},
    embedded,
    lock::{self, Lock, Locked, LockedFile},
    manifest::{self, KnownModel, known_models},
    paths, split,
};
use crate::{
    hint::{self, Hint},
    model_file, suggest,
    verbosity::{self, Notice},
};

/// The files of a student that are used or carried along.
const STUDENT_FILES: [&str; 10] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "added_tokens.json",
    "modules.json",
    "config_sentence_transformers.json",
    POOLING_FILE,
];

/// A model that was found, not necessarily verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub role: Role,
    /// Its name; empty for a path outside the library.
    pub name: String,
    pub place: Place,
    /// Name inside the model's folder, and path. The first file of a teacher is the one to load.
    pub files: Vec<(String, PathBuf)>,
}

/// Where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Embedded,
    Library,
    Cache,
    Path,
}

/// Finds the model that `spec` refers to, without verifying it.
///
/// # Errors
/// The name is unknown, the model is not on this machine, or a folder lacks a file.
pub(crate) fn locate(role: Role, spec: &str) -> Result<Found, ModelError> {
    let path = Path::new(spec);
    let looks_like_path =
        spec.contains(['/', '\\']) || path.extension().is_some_and(|extension| extension == "gguf");
    if !path.exists()
        && let Some((owner, name)) = hub_name(spec)
    {
        return on_hub(role, owner, name);
    }
    if !looks_like_path && (is_name(role, spec) || !path.exists()) {
        return find_by_name(role, spec);
    }
    let Some(name) = paths::model_at(role, path) else {
        let files = files_at(role, path)?;
        return Ok(Found { role, name: String::new(), place: Place::Path, files });
    };
    // A path into the library is verified like the name of the model.
    let found = in_library(role, &name)?;
    let real = |path: &Path| path.canonicalize().ok();
    let file = real(path);
    if file != real(&paths::model_dir(role, &name))
        && !found.files.iter().any(|(_, path)| real(path) == file)
    {
        return Err(extra_file(path.to_owned(), &name));
    }
    Ok(found)
}

/// The two halves of `owner/name`, as the Hugging Face hub names a model.
pub(super) fn hub_name(spec: &str) -> Option<(&str, &str)> {
    let (owner, name) = spec.split_once('/')?;
    let plain = |part: &str| paths::check_name("model", part, "").is_ok();
    (plain(owner) && plain(name) && !name.ends_with(".gguf")).then_some((owner, name))
}

/// The model that the hub calls `owner/name`: under its name in the manifest, in the library, or in
/// the Hugging Face cache.
fn on_hub(role: Role, owner: &str, name: &str) -> Result<Found, ModelError> {
    let repo = format!("{owner}/{name}");
    let is_it = |model: &KnownModel| model.role == role && model.repo.eq_ignore_ascii_case(&repo);
    if let Some(model) = known_models().into_iter().find(is_it) {
        return find_by_name(role, &model.name);
    }
    let pulled = Lock::read()?.of_repo(role, &repo);
    if let Some(name) = pulled.filter(|name| paths::model_dir(role, name).is_dir()) {
        return in_library(role, &name);
    }
    match manifest::snapshot(&repo, "main")? {
        Some(folder) => {
            let files = files_at(role, &folder)?;
            Ok(Found { role, name: String::new(), place: Place::Path, files })
        }
        None => {
            let similar = similar_repo(role, owner, &repo);
            let cache = manifest::hub_cache().path().clone();
            Err(ModelError::NotOnDisk { repo, cache, similar })
        }
    }
}

/// What `repo` is most like: a model of the hub that is known or cached, or, if it was meant as a
/// path, a folder beside it.
fn similar_repo(role: Role, owner: &str, repo: &str) -> Option<String> {
    let known = known_models().into_iter().filter(|model| model.role == role);
    let beside = fs::read_dir(owner).into_iter().flatten();
    let beside = beside.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names = known
        .map(|model| model.repo)
        .chain(manifest::cached_repos())
        .chain(beside.map(|name| format!("{owner}/{name}")));
    suggest::nearest(repo, names)
}

/// Whether this is the name of a known model, on this machine or not.
pub(crate) fn is_name(role: Role, name: &str) -> bool {
    manifest::known(role, name).is_some()
        || (paths::check_name("model", name, "").is_ok() && paths::model_dir(role, name).is_dir())
}

/// The model in the library, with the files that the manifest or the lock file lists; if neither
/// lists the model, with the files in its folder.
fn in_library(role: Role, name: &str) -> Result<Found, ModelError> {
    let folder = paths::model_dir(role, name);
    let files = match listed_files(role, name)? {
        Some(names) => names.into_iter().map(|name| (name.clone(), folder.join(name))).collect(),
        None => files_at(role, &folder)?,
    };
    Ok(Found { role, name: name.to_owned(), place: Place::Library, files })
}

/// The names of a model's files: from the manifest if it has their hashes, otherwise from the lock
/// file.
fn listed_files(role: Role, name: &str) -> Result<Option<Vec<String>>, ModelError> {
    if let Some(model) = manifest::known(role, name).filter(|model| model.is_pinned()) {
        return Ok(Some(model.files.into_iter().map(|file| file.name).collect()));
    }
    let lock = Lock::read()?;
    let files = lock.find(role, name).map(|model| model.files.iter());
    Ok(files.map(|files| files.map(|file| file.name.clone()).collect()))
}

pub(super) fn extra_file(path: PathBuf, name: &str) -> ModelError {
    ModelError::Extra { path, name: name.to_owned(), lock: lock::path() }
}

/// As [`locate`] for a name, but an embedded model is not written to disk: its list of files is
/// empty.
///
/// # Errors
/// As [`locate`].
pub(crate) fn present(role: Role, name: &str) -> Result<Found, ModelError> {
    if manifest::known(role, name).is_some_and(|model| model.embedded) {
        let (name, place) = (name.to_owned(), Place::Embedded);
        return Ok(Found { role, name, place, files: Vec::new() });
    }
    let found = find_by_name(role, name)?;
    found.check_files()?;
    Ok(found)
}

/// Finds the model with this name.
pub(super) fn find_by_name(role: Role, name: &str) -> Result<Found, ModelError> {
    let known = manifest::known(role, name);
    let found = |place, files| Ok(Found { role, name: name.to_owned(), place, files });
    if known.as_ref().is_some_and(|model| model.embedded) {
        return found(Place::Embedded, embedded::unpack(role)?);
    }
    if paths::check_name("model", name, "").is_ok() {
        let folder = paths::model_dir(role, name);
        if folder.is_dir() {
            return in_library(role, name);
        }
    }
    let Some(model) = known else {
        return Err(unknown(role, name));
    };
    let paths = model.cached()?;
    let names = model.files.into_iter().map(|file| file.name);
    found(Place::Cache, names.zip(paths).collect())
}

fn unknown(role: Role, name: &str) -> ModelError {
    let of_role = |models: Vec<KnownModel>| -> Vec<String> {
        models.into_iter().filter(|model| model.role == role).map(|model| model.name).collect()
    };
    let mut names = of_role(known_models());
    let own =
        paths::library_names().into_iter().filter(|(of, _)| *of == role).map(|(_, name)| name);
    let own: Vec<String> = own.filter(|name| !names.contains(name)).collect();
    names.extend(own);
    let similar = suggest::nearest(name, &names).cloned();
    ModelError::Unknown { role, name: name.to_owned(), known: names.join(", "), similar }
}

/// The files of the model at `path`: a GGUF file with its other parts, or a folder.
///
/// # Errors
/// The folder holds no model or several, or a part is missing.
pub(crate) fn files_at(role: Role, path: &Path) -> Result<Vec<(String, PathBuf)>, ModelError> {
    let file_name = |path: &Path| {
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    };
    if role == Role::Teacher {
        let first = if path.is_dir() {
            only_gguf(path)?.ok_or_else(|| ModelError::NoGguf { path: path.to_owned() })?
        } else {
            path.to_owned()
        };
        let parts = split::parts(&first);
        for part in parts.iter().filter(|_| first.exists()) {
            if !paths::is_file(part)? {
                let path = first.parent().unwrap_or(Path::new(".")).to_owned();
                return Err(ModelError::Incomplete { path, file: file_name(part) });
            }
        }
        return Ok(parts.into_iter().map(|part| (file_name(&part), part)).collect());
    }
    let mut files = Vec::new();
    for name in STUDENT_FILES {
        let path = path.join(name);
        if paths::is_file(&path)? {
            files.push((name.to_owned(), path));
        }
    }
    let pooling = path.join("1_Pooling").join("config.json");
    if paths::is_file(&pooling)? {
        files.retain(|(name, _)| name != POOLING_FILE);
        files.push((POOLING_FILE.to_owned(), pooling));
    }
    Ok(files)
}

/// The only GGUF in a folder; for a split model, its first part.
fn only_gguf(folder: &Path) -> Result<Option<PathBuf>, ModelError> {
    let read = |source| ModelError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|extension| extension == "gguf") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let parts = files.first().map(|first| split::parts(first)).unwrap_or_default();
    if files.iter().all(|file| parts.contains(file)) {
        return Ok(files.into_iter().next());
    }
    let names = files.iter().filter_map(|file| file.file_name()?.to_str());
    let files = names.collect::<Vec<_>>().join(", ");
    Err(ModelError::MultipleModels { path: folder.to_owned(), files })
}

/// The expected size and hash of the file `file` of the model `name`: from the manifest, otherwise
/// from the lock file.
///
/// # Errors
/// The lock file cannot be read.
pub(super) fn expected(role: Role, name: &str, file: &str) -> Result<Expected, ModelError> {
    if name.is_empty() {
        return Ok(Expected::default());
    }
    let known = manifest::known(role, name);
    let known = known.and_then(|model| model.files.into_iter().find(|known| known.name == file));
    if let Some(file) = known.filter(|file| file.sha256.is_some()) {
        return Ok(Expected {
            size: file.size,
            sha256: file.sha256,
            by: "the manifest of this program".to_owned(),
            hint: format!(
                "fetch it again; if it is in the library, run `promptmix models remove {name}` first"
            ),
        });
    }
    let lock = Lock::read()?;
    let locked = lock.find(role, name);
    let Some(file) = locked.and_then(|model| model.files.iter().find(|locked| locked.name == file))
    else {
        return Ok(Expected::default());
    };
    let again = match locked.is_some_and(|model| model.repo.is_empty()) {
        true => {
            format!("`promptmix models remove {name}`, then import it again from an intact copy")
        }
        false => format!(
            "fetch it again: `promptmix models remove {name}`, then `promptmix models pull {name}`; to get the new content, add `--revision main`"
        ),
    };
    Ok(Expected {
        size: Some(file.size),
        sha256: Some(file.sha256.clone()),
        by: format!("{} (written when it was first installed)", lock::path().display()),
        hint: again,
    })
}

impl Found {
    /// Compares every file with its expected hash, then checks its header against its length.
    /// Whether a missing file is an error is left to the code that opens it, which knows what it is
    /// for.
    ///
    /// # Errors
    /// The first file that fails.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        self.check_files()?;
        for (name, path) in self.files.iter().filter(|(_, path)| path.is_file()) {
            for expected in self.expected_of(name, path)? {
                expected.check(path)?;
            }
            check_header(path)?;
        }
        self.check_parts()?;
        self.pin()
    }

    /// Everything that is expected of one of the files.
    pub(crate) fn expected_of(&self, name: &str, path: &Path) -> Result<Vec<Expected>, ModelError> {
        Ok(match self.place {
            // An embedded model was compared byte by byte when it was unpacked.
            Place::Embedded => Vec::new(),
            Place::Cache => {
                let mut all = vec![expected(self.role, &self.name, name)?];
                all.extend(blob_hash(path));
                all
            }
            _ => vec![expected(self.role, &self.name, name)?],
        })
    }

    /// Checks that a model in the library has its listed files and no others.
    ///
    /// # Errors
    /// A file is missing, or one is not listed.
    fn check_files(&self) -> Result<(), ModelError> {
        if self.place != Place::Library {
            return Ok(());
        }
        let folder = paths::model_dir(self.role, &self.name);
        if let Some((file, _)) = self.files.iter().find(|(_, path)| !path.is_file()) {
            return Err(ModelError::Incomplete { path: folder, file: file.clone() });
        }
        match self.extras()?.into_iter().next() {
            Some(path) => Err(extra_file(path, &self.name)),
            None => Ok(()),
        }
    }

    /// The files in the folder of a model in the library that are not listed. Hidden files do not
    /// count: desktops leave them everywhere.
    pub(crate) fn extras(&self) -> Result<Vec<PathBuf>, ModelError> {
        let folder = paths::model_dir(self.role, &self.name);
        let read = |source| ModelError::Read { path: folder.clone(), source };
        let mut extras = Vec::new();
        for entry in fs::read_dir(&folder).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if !hidden && !self.files.iter().any(|(file, _)| name == **file) {
                extras.push(folder.join(name));
            }
        }
        extras.sort();
        Ok(extras)
    }

    /// Checks that the parts of a teacher belong together; each has already been checked alone.
    pub(crate) fn check_parts(&self) -> Result<(), ModelError> {
        match self.files.first() {
            Some((_, first)) if self.role == Role::Teacher && first.is_file() => check_whole(first),
            _ => Ok(()),
        }
    }

    /// Pins a named model that has no known hashes, so that later uses must find the same bytes
    /// (trust on first use). If the lock file cannot be written, the model is used nevertheless.
    fn pin(&self) -> Result<(), ModelError> {
        let Self { role, name, place, files } = self;
        let to_pin = matches!(place, Place::Cache | Place::Library);
        if !to_pin
            || listed_files(*role, name)?.is_some()
            || files.iter().any(|(_, path)| !path.is_file())
        {
            return Ok(());
        }
        let known = manifest::known(*role, name);
        let mut locked = Locked {
            name: name.clone(),
            role: *role,
            repo: String::new(),
            commit: String::new(),
            licence: known.as_ref().map(|model| model.licence.clone()).unwrap_or_default(),
            files: Vec::new(),
        };
        for ((name, path), sha256) in files.iter().zip(self.hashes()?) {
            let size = checksum::metadata(path)?.len();
            locked.files.push(LockedFile { name: name.clone(), size, sha256 });
        }
        if let Some(model) = known.filter(|_| *place == Place::Cache) {
            locked.repo = model.repo;
            let snapshot = files.first().and_then(|(_, path)| path.parent()?.file_name()?.to_str());
            let commit = snapshot.filter(|name| paths::is_hex(name, 40));
            commit.unwrap_or_default().clone_into(&mut locked.commit);
        }
        let write = || {
            let guard = lock::lock_library()?;
            match Lock::read()?.find(*role, name) {
                Some(_) => Ok(()),
                None => Lock::put(&guard, locked),
            }
        };
        match write() {
            Ok(()) => verbosity::notify(Notice::Message(format!(
                "pinned {name} as it is now in {}",
                lock::path().display()
            ))),
            Err(error) => verbosity::notify(Notice::Warning {
                message: format!("cannot pin {name}: {}", hint::one_line(&error)),
                hint: error.hint().map(Cow::into_owned),
            }),
        }
        Ok(())
    }

    /// SHA-256 of every file, from the cache where possible.
    pub(crate) fn hashes(&self) -> Result<Vec<String>, ModelError> {
        self.files.iter().map(|(_, path)| checksum::sha256_of(path)).collect()
    }
}

/// The hash that the Hugging Face cache records for a file: there, a large file is a link to a blob
/// named by its SHA-256. (Small ones are named by git's SHA-1.)
fn blob_hash(path: &Path) -> Option<Expected> {
    let blob = path.canonicalize().ok()?;
    let sha256 = blob.file_name()?.to_str().filter(|name| paths::is_hex(name, 64))?.to_owned();
    Some(Expected {
        size: None,
        sha256: Some(sha256),
        by: "its name in the Hugging Face cache".to_owned(),
        hint: format!("delete {} and fetch the model again", blob.display()),
    })
}

fn has_header(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gguf" || end == "safetensors")
}

/// Checks the header of one model file, regardless of the other files of its model. Other kinds of
/// files pass.
pub(super) fn check_header(path: &Path) -> Result<(), ModelError> {
    if has_header(path) {
        model_file::check_one(path)?;
    }
    Ok(())
}

/// Checks the headers of the model that begins with `first`, including its other parts.
pub(super) fn check_whole(first: &Path) -> Result<(), ModelError> {
    if has_header(first) {
        model_file::check(first)?;
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests;
