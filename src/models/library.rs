//! The models of this machine: a folder for each, whole or not there at all.
//!
//! `models/teacher/NAME` and `models/student/NAME` under the program's folder hold what was pulled,
//! imported or came in a bundle. A model is built in a staging folder of the same file system, checked
//! there and renamed into its place in one step; whatever interrupts that leaves only the staging
//! folder, which the next installation clears.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    ModelError, Role, home,
    lock::{self, Guard, Lock, Locked, LockedFile},
    manifest, private, resolve, verify,
};

/// A model's files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalModel {
    /// As it is asked for.
    pub name: String,
    pub role: Role,
    /// As an SPDX expression; empty where nobody said.
    pub licence: String,
    /// Name inside the model's folder, and where the file is now.
    pub files: Vec<(String, PathBuf)>,
}

/// The folder of all models.
pub(crate) fn root() -> PathBuf {
    home().join("models")
}

/// The folder of one model, whether it is there or not.
pub(super) fn folder(role: Role, name: &str) -> PathBuf {
    root().join(role.to_string()).join(name)
}

/// The models in the library, sorted.
pub(crate) fn names() -> Vec<(Role, String)> {
    let of = |role: Role| {
        let entries = fs::read_dir(root().join(role.to_string())).into_iter().flatten().flatten();
        let names = entries
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| manifest::check_name("model", name, "").is_ok());
        names.map(move |name| (role, name)).collect::<Vec<_>>()
    };
    let mut names = [of(Role::Teacher), of(Role::Student)].concat();
    names.sort();
    names
}

/// The name of the model that `path` belongs to, if it leads into the library.
pub(super) fn name_of(role: Role, path: &Path) -> Option<String> {
    let models = root().join(role.to_string()).canonicalize().ok()?;
    let inside = path.canonicalize().ok()?;
    let first = inside.strip_prefix(models).ok()?.components().next()?;
    first.as_os_str().to_str().map(str::to_owned)
}

/// The model that `spec` means (a path, or a name), checked as before each use.
///
/// # Errors
/// As [`crate::models::teacher_file`] and [`crate::student::BaseModel::open`], and a model of which a file is missing.
pub(crate) fn local(role: Role, spec: &str) -> Result<LocalModel, ModelError> {
    let found = resolve::locate(role, spec)?;
    let needed: &[&str] = match role {
        Role::Teacher => &[],
        Role::Student => &["config.json", "model.safetensors"],
    };
    for file in needed {
        if !found.files.iter().any(|(name, _)| name == file) {
            return Err(ModelError::Incomplete { path: spec.into(), file: (*file).to_owned() });
        }
    }
    for (_, path) in &found.files {
        verify::metadata(path)?;
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

/// A name for the model at `path`: the file's without its ending, or the folder's, in characters that
/// a name may have.
pub(crate) fn plain_name(path: &Path) -> String {
    // A link keeps its own name: in the Hugging Face cache it leads to one that is a hash. Only `.` and
    // `..` have none.
    let absolute = match path.file_name() {
        Some(_) => path.to_owned(),
        None => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    };
    // Only an ending is cut off: `qwen2.5-7b` keeps its version.
    let name =
        absolute.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let name = name.strip_suffix(".gguf").unwrap_or(&name);
    let name = match name.rsplit_once("-00001-of-") {
        Some((stem, count)) if count.len() == 5 => stem,
        _ => name,
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).take(128).collect();
    let name = name.replace("..", "-");
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

/// Copies the files of `model` into the library, checks the copies, writes their hashes down and gives
/// the whole its name at the end. Returns the model's folder. A model that is there already, byte for
/// byte, is fine.
///
/// # Errors
/// A name or file name that leads elsewhere, a file that is not what the manifest or the lock says, a
/// header that cannot be true, another model of that name, a full disk.
pub(crate) fn install(model: &LocalModel) -> Result<PathBuf, ModelError> {
    check_names(model)?;
    let guard = lock::hold()?;
    let staging = root().join(".staging");
    private::clear(&staging)?;
    let new = staging.join("new");
    private::folder(&new)?;
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
    private::clear(&staging)?;
    installed
}

fn check_names(model: &LocalModel) -> Result<(), ModelError> {
    manifest::check_name("model", &model.name, "give it another with --name")?;
    for (at, (name, _)) in model.files.iter().enumerate() {
        manifest::check_name("model file", name, "rename the file")?;
        if model.files[..at].iter().any(|(other, _)| other == name) {
            return Err(ModelError::Name {
                name: name.clone(),
                what: "model file",
                reason: "two files of the model have it",
                mend: "rename one of them",
            });
        }
    }
    Ok(())
}

/// Makes the staged folder `new` a model of the library. Its files are those of `locked`, whose sizes
/// and hashes were taken from the bytes themselves. Unless it comes `anew`, the lock binds.
pub(super) fn adopt(
    guard: &Guard,
    new: &Path,
    mut locked: Locked,
    anew: bool,
) -> Result<PathBuf, ModelError> {
    let (role, name) = (locked.role, locked.name.clone());
    let to = folder(role, &name);
    let before = Lock::read()?.find(role, &name).cloned();
    if to.is_dir() {
        if !is_same(&to, &locked)? {
            return Err(ModelError::Taken { role, name, path: to });
        }
        if before.is_none() || anew {
            Lock::put(guard, locked)?;
        }
        return Ok(to);
    }
    // A line of an import without its folder is what an interruption left.
    let before = before.filter(|before| !before.repo.is_empty() && !anew);
    let vouched = manifest::known(role, &name).is_some_and(|model| model.is_pinned());
    if let Some(before) = &before {
        same_names(new, before, &locked)?;
    }
    for file in &locked.files {
        let path = new.join(&file.name);
        if vouched || before.is_some() {
            let wanted = resolve::wanted(role, &name, &file.name)?;
            wanted.hold(&path, file.size, || Ok(file.sha256.clone()))?;
        }
        resolve::check_header(&path)?;
    }
    if let Some(first) = locked.files.first().filter(|_| role == Role::Teacher) {
        resolve::check_whole(&new.join(&first.name))?;
    }
    if let Some(before) = before {
        // What was pulled once stays known as that, wherever this copy came from.
        (locked.repo, locked.commit) = (before.repo, before.commit);
        if locked.licence.is_empty() {
            locked.licence = before.licence;
        }
    }
    Lock::put(guard, locked)?;
    let parent = root().join(role.to_string());
    private::folder(&parent)?;
    private::sync_folder(new);
    fs::rename(new, &to).map_err(|source| ModelError::Write { path: to.clone(), source })?;
    private::sync_folder(&parent);
    Ok(to)
}

/// What was pulled once has the same files ever after: one more would be a file that no pin speaks of.
fn same_names(folder: &Path, before: &Locked, now: &Locked) -> Result<(), ModelError> {
    let has = |model: &Locked, name: &str| model.files.iter().any(|file| file.name == name);
    if let Some(file) = now.files.iter().find(|file| !has(before, &file.name)) {
        return Err(resolve::extra(folder.join(&file.name), &before.name));
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
        if !path.is_file() || verify::hash_file(&path)? != file.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies a file, for the owner alone and down to the disk; its size and hash, of the bytes written.
fn copy(from: &Path, to: &Path) -> Result<(u64, String), ModelError> {
    let read = |source| ModelError::Read { path: from.to_owned(), source };
    let write = |source| ModelError::Write { path: to.to_owned(), source };
    let mut source = File::open(from).map_err(read)?;
    let mut target =
        private::private_options().write(true).create_new(true).open(to).map_err(write)?;
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
    Ok((size, verify::hex(hash)))
}

/// Deletes a model from the library; its lines in the lock file stay if it was pulled, so that the next
/// pull brings the same again.
///
/// # Errors
/// A model that is not in the library, and one of two roles where none is named.
pub(crate) fn remove(role: Option<Role>, name: &str) -> Result<PathBuf, ModelError> {
    manifest::check_name("model", name, "`promptmix models list` shows the names")?;
    let guard = lock::hold()?;
    let roles =
        [Role::Teacher, Role::Student].into_iter().filter(|of| role.is_none_or(|role| role == *of));
    let roles: Vec<Role> = roles.collect();
    let own: Vec<Role> =
        roles.iter().copied().filter(|role| folder(*role, name).is_dir()).collect();
    let role = match own[..] {
        [role] => role,
        [] => return Err(not_own(&roles, name)),
        _ => return Err(ModelError::Ambiguous { name: name.to_owned() }),
    };
    let path = folder(role, name);
    let staging = root().join(".staging");
    private::clear(&staging)?;
    private::folder(&staging)?;
    let old = staging.join("old");
    fs::rename(&path, &old).map_err(|source| ModelError::Write { path: path.clone(), source })?;
    if Lock::read()?.find(role, name).is_some_and(|model| model.repo.is_empty()) {
        Lock::forget(&guard, role, name)?;
    }
    private::clear(&staging)?;
    Ok(path)
}

/// Why a model that is not in the library cannot be removed.
fn not_own(roles: &[Role], name: &str) -> ModelError {
    let name = name.to_owned();
    for &role in roles {
        let Some(model) = manifest::known(role, &name) else { continue };
        if model.embedded {
            return ModelError::BuiltIn { name, library: root() };
        }
        return match model.cached() {
            Ok(paths) => ModelError::InCache { name, path: paths[0].clone() },
            Err(error) => error,
        };
    }
    let known = names().into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(", ");
    ModelError::Unknown { role: roles[0], name, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_from_a_path() {
        for (path, name) in [
            ("models/Qwen2.5-7B-Q4.gguf", "Qwen2.5-7B-Q4"),
            ("big-00001-of-00002.gguf", "big"),
            ("my model (old)", "my-model--old-"),
            ("...", "model"),
            ("/", "model"),
        ] {
            assert_eq!(plain_name(Path::new(path)), name, "{path}");
            manifest::check_name("model", name, "").unwrap();
        }
    }

    #[test]
    fn a_copy_is_private_and_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, "abc").unwrap();
        let (size, hash) = copy(&from, &to).unwrap();
        assert_eq!((size, hash), (3, verify::hash_file(&from).unwrap()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        }
        // What is there is never written over.
        assert!(copy(&from, &to).is_err());
    }

    #[test]
    fn names_of_files_lead_nowhere_and_differ() {
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
