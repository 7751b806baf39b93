//! Where a model is that somebody asks for, and whether it is what it should be.
//!
//! What has a separator in it or ends in `.gguf` is a path. All else is a name first, and a path only
//! where nothing has that name: a folder that happens to lie here must not stand in for a known model.
//! A name is looked for among the embedded models, in the library, and in the Hugging Face cache, in
//! this order. Before its path is handed out, every file is held against the manifest and the lock
//! file, and its header against its length: no parser sees a file before that.
//!
//! Which files a model of the library has is the word of the manifest or the lock, never that of the
//! folder: a file that was put beside them is an error. Of a model in the Hugging Face cache, large
//! files bear their SHA-256 as the name of their blob; what else it is gets pinned at its first use, as
//! by a pull.

use std::path::{Path, PathBuf};

use super::{
    ModelError, Role, embedded, library,
    lock::{self, Lock, Locked, LockedFile},
    manifest::{self, KnownModel, known_models},
    split,
    verify::{self, Wanted},
};
use crate::model_file;

/// Files beside `tokenizer.json` that the student carries along.
const STUDENT_FILES: [&str; 7] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "added_tokens.json",
];

/// A model that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub role: Role,
    /// Its name; empty for a path outside the library.
    pub name: String,
    pub place: Place,
    /// Name inside the model's folder, and path. Of a teacher, the first is the one to load.
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

/// Finds the model that `spec` means; nothing is checked yet.
///
/// # Errors
/// A name that is not known, a model that is not on this machine, a folder that is not whole.
pub(crate) fn locate(role: Role, spec: &str) -> Result<Found, ModelError> {
    let path = Path::new(spec);
    let looks_like_path =
        spec.contains(['/', '\\']) || path.extension().is_some_and(|extension| extension == "gguf");
    if !looks_like_path && (is_name(role, spec) || !path.exists()) {
        return named(role, spec);
    }
    let Some(name) = library::name_of(role, path) else {
        let files = files_at(role, path)?;
        return Ok(Found { role, name: String::new(), place: Place::Path, files });
    };
    // A path into the library is no way around what is known of its models.
    let found = in_library(role, &name)?;
    let real = |path: &Path| path.canonicalize().ok();
    let file = real(path);
    if file != real(&library::folder(role, &name))
        && !found.files.iter().any(|(_, path)| real(path) == file)
    {
        return Err(extra(path.to_owned(), &name));
    }
    Ok(found)
}

/// Whether a model is known by this name, on this machine or not.
pub(crate) fn is_name(role: Role, name: &str) -> bool {
    manifest::known(role, name).is_some()
        || (manifest::check_name("model", name, "").is_ok() && library::folder(role, name).is_dir())
}

/// The model of the library, with the files that the manifest or the lock names; with those in the
/// folder only where neither knows the model.
fn in_library(role: Role, name: &str) -> Result<Found, ModelError> {
    let folder = library::folder(role, name);
    let files = match listed(role, name)? {
        Some(names) => names.into_iter().map(|name| (name.clone(), folder.join(name))).collect(),
        None => files_at(role, &folder)?,
    };
    Ok(Found { role, name: name.to_owned(), place: Place::Library, files })
}

/// The names of a model's files: by the manifest where it vouches for them, or else by the lock.
fn listed(role: Role, name: &str) -> Result<Option<Vec<String>>, ModelError> {
    if let Some(model) = manifest::known(role, name).filter(|model| model.is_pinned()) {
        return Ok(Some(model.files.into_iter().map(|file| file.name).collect()));
    }
    let lock = Lock::read()?;
    let files = lock.find(role, name).map(|model| model.files.iter());
    Ok(files.map(|files| files.map(|file| file.name.clone()).collect()))
}

pub(crate) fn extra(path: PathBuf, name: &str) -> ModelError {
    ModelError::Extra { path, name: name.to_owned(), by: lock::path() }
}

/// As [`locate`] for a name, but what is embedded is not written to the disk: it has no files.
///
/// # Errors
/// As [`locate`].
pub(crate) fn present(role: Role, name: &str) -> Result<Found, ModelError> {
    if manifest::known(role, name).is_some_and(|model| model.embedded) {
        let (name, place) = (name.to_owned(), Place::Embedded);
        return Ok(Found { role, name, place, files: Vec::new() });
    }
    let found = named(role, name)?;
    found.whole()?;
    Ok(found)
}

/// Finds the model of this name.
pub(super) fn named(role: Role, name: &str) -> Result<Found, ModelError> {
    let known = manifest::known(role, name);
    let found = |place, files| Ok(Found { role, name: name.to_owned(), place, files });
    if known.as_ref().is_some_and(|model| model.embedded) {
        return found(Place::Embedded, embedded::unpack(role)?);
    }
    if manifest::check_name("model", name, "").is_ok() {
        let folder = library::folder(role, name);
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
    let own = library::names().into_iter().filter(|(of, _)| *of == role).map(|(_, name)| name);
    let own: Vec<String> = own.filter(|name| !names.contains(name)).collect();
    names.extend(own);
    ModelError::Unknown { role, name: name.to_owned(), known: names.join(", ") }
}

/// The files of the model at `path`: a GGUF file with its other parts, or a folder.
///
/// # Errors
/// A folder without a model, and a part that is missing.
pub(crate) fn files_at(role: Role, path: &Path) -> Result<Vec<(String, PathBuf)>, ModelError> {
    let missing =
        |file: &str| ModelError::Incomplete { path: path.to_owned(), file: file.to_owned() };
    let file_name = |path: &Path| {
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    };
    if role == Role::Teacher {
        let first = if path.is_dir() {
            only_gguf(path)?.ok_or_else(|| missing("GGUF file"))?
        } else {
            path.to_owned()
        };
        let parts = split::parts(&first);
        if first.exists()
            && let Some(part) = parts.iter().find(|part| !part.is_file())
        {
            let path = first.parent().unwrap_or(Path::new(".")).to_owned();
            return Err(ModelError::Incomplete { path, file: file_name(part) });
        }
        return Ok(parts.into_iter().map(|part| (file_name(&part), part)).collect());
    }
    let files: Vec<(String, PathBuf)> = STUDENT_FILES
        .iter()
        .map(|name| ((*name).to_owned(), path.join(name)))
        .filter(|(_, path)| path.is_file())
        .collect();
    Ok(files)
}

/// The one GGUF of a folder; of a split model, that is part 1.
fn only_gguf(folder: &Path) -> Result<Option<PathBuf>, ModelError> {
    let read = |source| ModelError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
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
    Err(ModelError::Several { path: folder.to_owned(), files })
}

/// What is known of the file `file` of the model `name`: the manifest's word, or else the lock's.
///
/// # Errors
/// A lock file that cannot be read.
pub(super) fn wanted(role: Role, name: &str, file: &str) -> Result<Wanted, ModelError> {
    if name.is_empty() {
        return Ok(Wanted::default());
    }
    let known = manifest::known(role, name);
    let known = known.and_then(|model| model.files.into_iter().find(|known| known.name == file));
    if let Some(file) = known.filter(|file| file.sha256.is_some()) {
        return Ok(Wanted {
            size: file.size,
            sha256: file.sha256,
            by: "the manifest of this program".to_owned(),
            mend: format!(
                "fetch it again, with `promptmix models remove {name}` before if it is in the library"
            ),
        });
    }
    let lock = Lock::read()?;
    let locked = lock.find(role, name);
    let Some(file) = locked.and_then(|model| model.files.iter().find(|locked| locked.name == file))
    else {
        return Ok(Wanted::default());
    };
    let again = match locked.is_some_and(|model| model.repo.is_empty()) {
        true => format!("`promptmix models remove {name}`, then import it again from a sound copy"),
        false => format!(
            "fetch it again: `promptmix models remove {name}`, then `promptmix models pull {name}`; if the new content is wanted, `pull` with `--revision main`"
        ),
    };
    Ok(Wanted {
        size: Some(file.size),
        sha256: Some(file.sha256.clone()),
        by: format!("{} (written when it came first)", lock::path().display()),
        mend: again,
    })
}

impl Found {
    /// Holds every file against what is known of it, then its header against its length. A file that
    /// is missing is left to whoever opens it, who knows best what it was for.
    ///
    /// # Errors
    /// The first file that is not what it should be.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        self.whole()?;
        for (name, path) in self.files.iter().filter(|(_, path)| path.is_file()) {
            for wanted in self.known_of(name, path)? {
                wanted.check(path)?;
            }
            check_header(path)?;
        }
        self.check_parts()?;
        self.pin()
    }

    /// All that is known of one of the files.
    pub(crate) fn known_of(&self, name: &str, path: &Path) -> Result<Vec<Wanted>, ModelError> {
        Ok(match self.place {
            // What is embedded was compared byte by byte when it was unpacked.
            Place::Embedded => Vec::new(),
            Place::Cache => {
                let mut known = vec![wanted(self.role, &self.name, name)?];
                known.extend(blob(path));
                known
            }
            _ => vec![wanted(self.role, &self.name, name)?],
        })
    }

    /// Whether a model of the library has the files that it should have, and no others.
    ///
    /// # Errors
    /// A file that is missing, and one that nobody knows.
    pub(crate) fn whole(&self) -> Result<(), ModelError> {
        if self.place != Place::Library {
            return Ok(());
        }
        let folder = library::folder(self.role, &self.name);
        if let Some((file, _)) = self.files.iter().find(|(_, path)| !path.is_file()) {
            return Err(ModelError::Incomplete { path: folder, file: file.clone() });
        }
        match self.extras()?.into_iter().next() {
            Some(path) => Err(extra(path, &self.name)),
            None => Ok(()),
        }
    }

    /// What lies in the folder of a library's model and is none of its files. Hidden files are what
    /// desktops leave everywhere.
    pub(crate) fn extras(&self) -> Result<Vec<PathBuf>, ModelError> {
        let folder = library::folder(self.role, &self.name);
        let read = |source| ModelError::Read { path: folder.clone(), source };
        let mut extras = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if !hidden && !self.files.iter().any(|(file, _)| name == **file) {
                extras.push(folder.join(name));
            }
        }
        extras.sort();
        Ok(extras)
    }

    /// Whether the parts of a teacher belong together; each has been checked alone.
    pub(crate) fn check_parts(&self) -> Result<(), ModelError> {
        match self.files.first() {
            Some((_, first)) if self.role == Role::Teacher && first.is_file() => check_whole(first),
            _ => Ok(()),
        }
    }

    /// Writes down what a model is that has a name but that nothing is known of, so that its next use
    /// finds it the same (trust on first use). Where that cannot be written, the model is used all the
    /// same.
    fn pin(&self) -> Result<(), ModelError> {
        let Self { role, name, place, files } = self;
        let to_pin = matches!(place, Place::Cache | Place::Library);
        if !to_pin
            || listed(*role, name)?.is_some()
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
            let size = verify::metadata(path)?.len();
            locked.files.push(LockedFile { name: name.clone(), size, sha256 });
        }
        if let Some(model) = known.filter(|_| *place == Place::Cache) {
            locked.repo = model.repo;
            let snapshot = files.first().and_then(|(_, path)| path.parent()?.file_name()?.to_str());
            let commit = snapshot.filter(|name| is_hex(name, 40));
            commit.unwrap_or_default().clone_into(&mut locked.commit);
        }
        let write = || {
            let guard = lock::hold()?;
            match Lock::read()?.find(*role, name) {
                Some(_) => Ok(()),
                None => Lock::put(&guard, locked),
            }
        };
        match write() {
            Ok(()) => eprintln!("{name} is pinned in {} as it is now", lock::path().display()),
            Err(error) => eprintln!("warning: {name} cannot be pinned: {error}"),
        }
        Ok(())
    }

    /// SHA-256 of every file, from the cache where it is known.
    pub(crate) fn hashes(&self) -> Result<Vec<String>, ModelError> {
        self.files.iter().map(|(_, path)| verify::sha256_of(path)).collect()
    }
}

/// Whether `text` is `length` digits of base 16.
pub(super) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the Hugging Face cache says of a file: there, a large file is a link to a blob that is named by
/// its SHA-256. (The others are named by the SHA-1 of git.)
fn blob(path: &Path) -> Option<Wanted> {
    let blob = path.canonicalize().ok()?;
    let sha256 = blob.file_name()?.to_str().filter(|name| is_hex(name, 64))?.to_owned();
    Some(Wanted {
        size: None,
        sha256: Some(sha256),
        by: "its name in the Hugging Face cache".to_owned(),
        mend: format!("delete {} and fetch the model again", blob.display()),
    })
}

fn has_header(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gguf" || end == "safetensors")
}

/// The bounds check of one model file, whatever its model's other files are; files of other kinds have
/// no header.
pub(super) fn check_header(path: &Path) -> Result<(), ModelError> {
    if has_header(path) {
        model_file::check_one(path)?;
    }
    Ok(())
}

/// The bounds check of a model that begins with `first`: its other parts lie beside it, each in its
/// place.
pub(super) fn check_whole(first: &Path) -> Result<(), ModelError> {
    if has_header(first) {
        model_file::check(first)?;
    }
    Ok(())
}
