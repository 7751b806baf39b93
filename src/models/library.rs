//! The library: installs, finds and removes the models of this machine, one folder for each.
//!
//! `models/teacher/NAME` and `models/student/NAME` in the program's folder hold the models that
//! were pulled, imported or came in a bundle. A model is assembled in a staging folder on the same
//! file system, checked there and renamed to its final place. An interruption leaves only the
//! staging folder, which the next installation clears.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    ModelError, Role, checksum, files,
    lock::{self, Guard, Lock, Locked, LockedFile},
    manifest,
    paths::{self, library_names, library_root, model_dir, plain_name},
    resolve,
};
use crate::{
    fs::{create_new, open_regular, sync_dir},
    suggest,
};

/// A model's files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalModel {
    /// The name in the library.
    pub name: String,
    pub role: Role,
    /// An SPDX expression; empty if unknown.
    pub licence: String,
    /// Name inside the model's folder, and the file's current path.
    pub files: Vec<(String, PathBuf)>,
}

/// The model that `spec` (a path or a name) refers to, verified as before every use.
///
/// # Errors
/// As [`crate::models::teacher_file`]; also if a file of the model is missing.
pub(crate) fn local(role: Role, spec: &str) -> Result<LocalModel, ModelError> {
    let found = resolve::locate(role, spec)?;
    let names = found.files.iter().map(|(name, _)| name.as_str());
    check_complete(role, Path::new(spec), &names.collect::<Vec<_>>())?;
    for (_, path) in &found.files {
        checksum::metadata(path)?;
    }
    found.check()?;
    let name = match found.name.as_str() {
        "" => plain_name(Path::new(spec)),
        name => name.to_owned(),
    };
    let licence = match manifest::known(role, &found.name) {
        Some(model) => model.licence,
        None => Lock::read()?
            .find(role, &found.name)
            .map(|model| model.licence.clone())
            .unwrap_or_default(),
    };
    Ok(LocalModel { name, role, licence, files: found.files })
}

/// Checks that `model`, a name or a path, has every file that a model of its role needs, if these
/// are its `files`.
///
/// # Errors
/// [`ModelError::Incomplete`], naming the first file that is missing.
pub(crate) fn check_complete(role: Role, model: &Path, files: &[&str]) -> Result<(), ModelError> {
    let has = |file: &str| files.contains(&file);
    let missing = match role {
        Role::Teacher if files.iter().any(|file| file.ends_with(".gguf")) => return Ok(()),
        Role::Teacher => "file that ends in .gguf",
        Role::Student if !has("config.json") => "config.json",
        Role::Student if !has("model.safetensors") => "model.safetensors",
        // Older models have their vocabulary alone.
        Role::Student if !has("tokenizer.json") && !has("vocab.txt") => {
            "tokenizer.json or vocab.txt"
        }
        Role::Student => return Ok(()),
    };
    Err(ModelError::Incomplete { path: model.to_owned(), file: missing.to_owned() })
}

/// Copies the files of `model` into the library, verifies the copies, records their hashes and
/// moves the finished folder to its place. Returns that folder. Installing the same bytes again is
/// fine.
///
/// # Errors
/// A name is invalid, a file differs from the manifest or the lock file, a header is invalid,
/// another model has the name, or the disk is full.
pub(crate) fn install(model: &LocalModel) -> Result<PathBuf, ModelError> {
    check_names(model)?;
    let guard = lock::lock_library()?;
    let staging = library_root().join(".staging");
    files::remove_dir(&staging)?;
    let new = staging.join("new");
    files::create_dir(&new)?;
    let mut files = Vec::new();
    for (name, from) in &model.files {
        let (size, sha256) = copy(from, &new.join(name))?;
        files.push(LockedFile { name: name.clone(), size, sha256 });
    }
    let locked = Locked {
        name: model.name.clone(),
        role: model.role,
        repo: String::new(),
        commit: String::new(),
        licence: model.licence.clone(),
        files,
    };
    let installed = adopt(&guard, &new, locked, false);
    files::remove_dir(&staging)?;
    installed
}

fn check_names(model: &LocalModel) -> Result<(), ModelError> {
    paths::check_name("model", &model.name, "choose another name with --name")?;
    for (at, (name, _)) in model.files.iter().enumerate() {
        paths::check_name("model file", name, "rename the file")?;
        if model.files[..at].iter().any(|(other, _)| other == name) {
            return Err(ModelError::InvalidName {
                name: name.clone(),
                what: "model file",
                reason: "two files of the model have this name",
                hint: "rename one of them",
            });
        }
    }
    Ok(())
}

/// Moves the staged folder `new` into the library. `locked` lists its files, with sizes and hashes
/// taken from their bytes. They must match the model's pin, unless `repin` replaces it.
pub(super) fn adopt(
    guard: &Guard,
    new: &Path,
    mut locked: Locked,
    repin: bool,
) -> Result<PathBuf, ModelError> {
    let (role, name) = (locked.role, locked.name.clone());
    let to = model_dir(role, &name);
    let before = Lock::read()?.find(role, &name).cloned();
    if to.is_dir() {
        if !is_same(&to, &locked)? {
            return Err(ModelError::Taken { role, name, path: to });
        }
        if before.is_none() || repin {
            Lock::put(guard, locked)?;
        }
        return Ok(to);
    }
    // The entry of an import without its folder was left by an interruption: it does not count.
    let before = before.filter(|before| !before.repo.is_empty() && !repin);
    let has_hashes = manifest::known(role, &name).is_some_and(|model| model.is_pinned());
    if let Some(before) = &before {
        same_names(new, before, &locked)?;
    }
    for file in &locked.files {
        let path = new.join(&file.name);
        if has_hashes || before.is_some() {
            let expected = resolve::expected(role, &name, &file.name)?;
            expected.compare(&path, file.size, || Ok(file.sha256.clone()))?;
        }
        resolve::check_header(&path)?;
    }
    if let Some(first) = locked.files.first().filter(|_| role == Role::Teacher) {
        resolve::check_whole(&new.join(&first.name))?;
    }
    if let Some(before) = before {
        // A pulled model keeps its origin, wherever this copy came from.
        (locked.repo, locked.commit) = (before.repo, before.commit);
        if locked.licence.is_empty() {
            locked.licence = before.licence;
        }
    }
    Lock::put(guard, locked)?;
    let parent = library_root().join(role.to_string());
    files::create_dir(&parent)?;
    let _ = sync_dir(new);
    fs::rename(new, &to).map_err(|source| ModelError::Write { path: to.clone(), source })?;
    let _ = sync_dir(&parent);
    Ok(to)
}

/// A pulled model always has the same files: an additional one would have no pin.
fn same_names(folder: &Path, before: &Locked, now: &Locked) -> Result<(), ModelError> {
    let has = |model: &Locked, name: &str| model.files.iter().any(|file| file.name == name);
    if let Some(file) = now.files.iter().find(|file| !has(before, &file.name)) {
        return Err(resolve::extra_file(folder.join(&file.name), &before.name));
    }
    match before.files.iter().find(|file| !has(now, &file.name)) {
        Some(file) => {
            Err(ModelError::Incomplete { path: folder.to_owned(), file: file.name.clone() })
        }
        None => Ok(()),
    }
}

/// Whether the model in `folder` has exactly these files.
fn is_same(folder: &Path, model: &Locked) -> Result<bool, ModelError> {
    let read = |source| ModelError::Read { path: folder.to_owned(), source };
    let count = fs::read_dir(folder).map_err(read)?.count();
    if count != model.files.len() {
        return Ok(false);
    }
    for file in &model.files {
        let path = folder.join(&file.name);
        if !path.is_file() || checksum::hash_file(&path)? != file.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies a file, for the owner alone, and syncs it. Returns the size and hash of the bytes
/// written.
fn copy(from: &Path, to: &Path) -> Result<(u64, String), ModelError> {
    let read = |source| ModelError::Read { path: from.to_owned(), source };
    let write = |source| ModelError::Write { path: to.to_owned(), source };
    let mut source = open_regular(from).map_err(read)?;
    let mut target = create_new(to).map_err(write)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = source.read(&mut buffer).map_err(read)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        target.write_all(&buffer[..count]).map_err(write)?;
        size += count as u64;
    }
    target.sync_all().map_err(write)?;
    Ok((size, checksum::hex(hash)))
}

/// Deletes a model from the library. If it was pulled, its entry in the lock file stays, so that
/// the next pull fetches the same commit.
///
/// # Errors
/// The model is not in the library, or it exists in two roles and none is given.
pub(crate) fn remove(role: Option<Role>, name: &str) -> Result<PathBuf, ModelError> {
    paths::check_name("model", name, "`promptmix models list` shows the names")?;
    let guard = lock::lock_library()?;
    let roles =
        [Role::Teacher, Role::Student].into_iter().filter(|of| role.is_none_or(|role| role == *of));
    let roles: Vec<Role> = roles.collect();
    let installed: Vec<Role> =
        roles.iter().copied().filter(|role| model_dir(*role, name).is_dir()).collect();
    let role = match installed[..] {
        [role] => role,
        [] => return Err(not_removable(&roles, name)),
        _ => return Err(ModelError::Ambiguous { name: name.to_owned() }),
    };
    let path = model_dir(role, name);
    let staging = library_root().join(".staging");
    files::remove_dir(&staging)?;
    files::create_dir(&staging)?;
    let old = staging.join("old");
    fs::rename(&path, &old).map_err(|source| ModelError::Write { path: path.clone(), source })?;
    if Lock::read()?.find(role, name).is_some_and(|model| model.repo.is_empty()) {
        Lock::forget(&guard, role, name)?;
    }
    files::remove_dir(&staging)?;
    Ok(path)
}

/// Why a model that is not in the library cannot be removed.
fn not_removable(roles: &[Role], name: &str) -> ModelError {
    let name = name.to_owned();
    for &role in roles {
        let Some(model) = manifest::known(role, &name) else { continue };
        if model.embedded {
            return ModelError::BuiltIn { name, library: library_root() };
        }
        return match model.cached() {
            Ok(paths) => ModelError::InCache { name, path: paths[0].clone() },
            Err(error) => error,
        };
    }
    let known = library_names().into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    let similar = suggest::nearest(&name, &known).cloned();
    ModelError::Unknown { role: roles[0], name, known: known.join(", "), similar }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_lacks_a_file_is_incomplete() {
        let check = |role, files: &[&str]| check_complete(role, Path::new("x"), files);
        let missing = |role, files: &[&str]| match check(role, files) {
            Err(ModelError::Incomplete { file, .. }) => file,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(Role::Student, &["config.json", "tokenizer.json"]), "model.safetensors");
        assert_eq!(missing(Role::Student, &["model.safetensors"]), "config.json");
        let bare = ["config.json", "model.safetensors", "tokenizer_config.json"];
        assert_eq!(missing(Role::Student, &bare), "tokenizer.json or vocab.txt");
        assert!(missing(Role::Teacher, &["readme.md"]).contains(".gguf"));
        for tokenizer in ["tokenizer.json", "vocab.txt"] {
            let files = ["config.json", "model.safetensors", tokenizer];
            assert!(check(Role::Student, &files).is_ok());
        }
        assert!(check(Role::Teacher, &["x.gguf"]).is_ok());
    }

    #[test]
    fn a_copy_is_private_and_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, "abc").unwrap();
        let (size, hash) = copy(&from, &to).unwrap();
        assert_eq!((size, hash), (3, checksum::hash_file(&from).unwrap()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        }
        // An existing file is never overwritten.
        assert!(copy(&from, &to).is_err());
    }

    #[test]
    fn file_names_are_plain_and_unique() {
        let model = |names: &[&str]| LocalModel {
            name: "m".into(),
            role: Role::Student,
            licence: String::new(),
            files: names.iter().map(|name| ((*name).to_owned(), PathBuf::from("x"))).collect(),
        };
        check_names(&model(&["config.json", "model.safetensors"])).unwrap();
        for names in [&["../evil"][..], &["/etc/passwd"], &["a", "a"], &["sub/a"]] {
            assert!(check_names(&model(names)).is_err(), "{names:?}");
        }
    }
}
