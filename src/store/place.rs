//! Where a model is that somebody asks for, and whether it is what it should be.
//!
//! A path is a path. A name is looked for among the embedded models, in the library, and in the
//! Hugging Face cache, in this order. Before its path is handed out, every file is held against the
//! manifest and the lock file, and its header against its length: no parser sees a file before that.

use std::path::{Path, PathBuf};

use super::{
    Role, StoreError, embedded, header, library,
    lock::{self, Lock},
    manifest::{self, KnownModel, known_models},
    split,
    verify::{self, Wanted},
};

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
pub struct Found {
    pub role: Role,
    /// Its name; empty for a path outside the library.
    pub name: String,
    pub place: Place,
    /// Name inside the model's folder, and path. Of a teacher, the first is the one to load.
    pub files: Vec<(String, PathBuf)>,
}

/// Where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Embedded,
    Library,
    Cache,
    Path,
}

/// Finds the model that `spec` means; nothing is checked yet.
///
/// # Errors
/// A name that is not known, a model that is not on this machine, a folder that is not whole.
pub fn locate(role: Role, spec: &str) -> Result<Found, StoreError> {
    let path = Path::new(spec);
    let looks_like_path = match role {
        Role::Teacher => path.extension().is_some_and(|extension| extension == "gguf"),
        Role::Student => spec.contains(['/', '\\']),
    };
    if looks_like_path || path.exists() {
        let name = library::name_of(role, path).unwrap_or_default();
        return Ok(Found { role, name, place: Place::Path, files: files_at(role, path)? });
    }
    named(role, spec)
}

/// Finds the model of this name.
pub fn named(role: Role, name: &str) -> Result<Found, StoreError> {
    let known = manifest::known(role, name);
    let found = |place, files| Ok(Found { role, name: name.to_owned(), place, files });
    if known.as_ref().is_some_and(|model| model.embedded) {
        return found(Place::Embedded, embedded::unpack(role)?);
    }
    if manifest::check_name("model", name, "").is_ok() {
        let folder = library::folder(role, name);
        if folder.is_dir() {
            return found(Place::Library, files_at(role, &folder)?);
        }
    }
    let Some(model) = known else {
        return Err(unknown(role, name));
    };
    let paths = model.cached()?;
    let names = model.files.into_iter().map(|file| file.name);
    found(Place::Cache, names.zip(paths).collect())
}

fn unknown(role: Role, name: &str) -> StoreError {
    let of_role = |models: Vec<KnownModel>| -> Vec<String> {
        models.into_iter().filter(|model| model.role == role).map(|model| model.name).collect()
    };
    let mut names = of_role(known_models());
    let own = library::names().into_iter().filter(|(of, _)| *of == role).map(|(_, name)| name);
    let own: Vec<String> = own.filter(|name| !names.contains(name)).collect();
    names.extend(own);
    StoreError::Unknown { role, name: name.to_owned(), known: names.join(", ") }
}

/// The files of the model at `path`: a GGUF file with its other parts, or a folder.
///
/// # Errors
/// A folder without a model, and a part that is missing.
pub fn files_at(role: Role, path: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let missing =
        |file: &str| StoreError::Incomplete { path: path.to_owned(), file: file.to_owned() };
    let file_name = |path: &Path| {
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    };
    if role == Role::Teacher {
        let first = if path.is_dir() {
            first_gguf(path)?.ok_or_else(|| missing("GGUF file"))?
        } else {
            path.to_owned()
        };
        let parts = split::parts(&first);
        if first.exists()
            && let Some(part) = parts.iter().find(|part| !part.is_file())
        {
            let path = first.parent().unwrap_or(Path::new(".")).to_owned();
            return Err(StoreError::Incomplete { path, file: file_name(part) });
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

/// The first GGUF of a folder by name: of a split model, that is part 1.
fn first_gguf(folder: &Path) -> Result<Option<PathBuf>, StoreError> {
    let read = |source| StoreError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|extension| extension == "gguf") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files.into_iter().next())
}

/// What is known of the file `file` of the model `name`: the manifest's word, or else the lock's.
///
/// # Errors
/// A lock file that cannot be read.
pub fn wanted(role: Role, name: &str, file: &str) -> Result<Wanted, StoreError> {
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
    pub fn check(&self) -> Result<(), StoreError> {
        for (name, path) in self.files.iter().filter(|(_, path)| path.is_file()) {
            // What is embedded was compared byte by byte when it was unpacked.
            if self.place != Place::Embedded {
                wanted(self.role, &self.name, name)?.check(path)?;
            }
            check_header(path)?;
        }
        Ok(())
    }

    /// SHA-256 of every file, from the cache where it is known.
    pub fn hashes(&self) -> Result<Vec<String>, StoreError> {
        self.files.iter().map(|(_, path)| verify::sha256_of(path)).collect()
    }
}

/// The bounds check of a model file; other files have no header.
pub fn check_header(path: &Path) -> Result<(), StoreError> {
    let model = path.extension().is_some_and(|end| end == "gguf" || end == "safetensors");
    if model {
        header::check(path)?;
    }
    Ok(())
}
