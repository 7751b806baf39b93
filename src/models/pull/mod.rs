//! Downloads a model from the Hugging Face hub into the library. Only this module opens
//! connections.
//!
//! Data from the network is trusted as little as possible. The hub is first asked for the commit;
//! every file is then requested at that commit, so that a push in the meantime cannot mix two
//! versions. The bytes go to a staging folder, where interrupted downloads are resumed, by this
//! call or the next. Then sizes and hashes are compared with the manifest, the lock file and the
//! hub's own headers, and each model file's header is checked against its length. Only after that
//! is the folder moved into the library.

mod disk_space;
mod fetch;
mod http_error;
mod hub;
mod retry;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

pub(crate) use hf_hub::api::Progress;

use fetch::fetch;
use hub::{Hub, RemoteFile};

use super::{
    KnownModel, ModelError, Role,
    checksum::{self, Expected},
    files, library,
    lock::{self, Lock, Locked, LockedFile},
    manifest, paths, resolve, split,
};
use crate::model_file::HeaderError;

/// What to download.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub model: KnownModel,
    /// A revision to use instead of the one in the lock file or the manifest; it replaces the pin.
    pub revision: Option<String>,
}

/// What was downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pulled {
    /// The model's folder in the library.
    pub folder: PathBuf,
    pub commit: String,
    pub files: Vec<LockedFile>,
    /// Whether the model was in the library already, so that nothing was downloaded.
    pub was_there: bool,
    /// Whether this call pinned the model.
    pub pinned_now: bool,
}

/// Checks that the environment does not forbid connections.
///
/// # Errors
/// [`ModelError::Offline`] names the variable.
pub(crate) fn check_online() -> Result<(), ModelError> {
    let variable = "HF_HUB_OFFLINE";
    let set = env::var(variable).unwrap_or_default().to_ascii_lowercase();
    if matches!(set.as_str(), "" | "0" | "false" | "off" | "no") {
        return Ok(());
    }
    Err(ModelError::Offline {
        by: variable.to_owned(),
        hint: format!("unset {variable}, or copy the model here and run `promptmix models import`"),
    })
}

/// Downloads the files of a model into the library.
///
/// # Errors
/// Connections are forbidden, the hub cannot be reached or refuses, a file differs from the
/// manifest, the lock file or the hub's own headers, another model has the name, or the disk is
/// full.
pub(crate) fn pull(request: &Request, progress: &mut dyn Progress) -> Result<Pulled, ModelError> {
    check_online()?;
    let model = &request.model;
    let (role, name) = (model.role, model.name.as_str());
    paths::check_name("model", name, "use the name of the file")?;
    let staging = paths::library_root().join(".pull").join(format!("{role}-{name}"));
    let lock_path = paths::library_root().join(".pull").join(format!("{role}-{name}.lock"));
    // Of two pulls of the same model, the second waits and then finds it installed.
    let _lock = lock::acquire(lock_path, &format!("another pull of {name}"))?;
    let locked = Lock::read()?.find(role, name).cloned();
    check_owner(model, locked.as_ref())?;
    let locked = locked.filter(|locked| locked.repo == model.repo);
    let installed = paths::model_dir(role, name);
    if installed.is_dir() {
        let pinned = locked.as_ref().map(|locked| locked.commit.as_str());
        if request.revision.is_some() && request.revision.as_deref() != pinned {
            return Err(ModelError::Taken { role, name: name.to_owned(), path: installed });
        }
        return check_installed(model, locked);
    }
    let revision = match (&request.revision, &locked) {
        (Some(revision), _) => revision.clone(),
        (None, Some(locked)) if !locked.commit.is_empty() => locked.commit.clone(),
        _ => model.revision.clone(),
    };
    let hub = Hub::open(model)?;
    let remotes = metadata(&hub, model, &revision)?;
    let commit = remotes[0].commit.clone();
    let folder = staging.join(&commit);
    let obey_pin = request.revision.is_none() || model.is_pinned();
    let expected = expected_files(model, &remotes, obey_pin)?;
    clear_other_commits(&staging, &folder)?;
    let sizes = model.files.iter().zip(&remotes).map(|(file, remote)| (&*file.name, remote.size));
    disk_space::check(&folder, sizes)?;
    let mut files = Vec::new();
    for ((file, remote), expected) in model.files.iter().zip(&remotes).zip(&expected) {
        let path = folder.join(&file.name);
        fetch(&hub, remote, &file.name, &path, progress)?;
        let sha256 = check_download(&path, expected)?;
        files.push(LockedFile { name: file.name.clone(), size: remote.size, sha256 });
    }
    let entry = Locked {
        name: name.to_owned(),
        role,
        repo: model.repo.clone(),
        commit: commit.clone(),
        licence: model.licence.clone(),
        files: files.clone(),
    };
    let guard = lock::lock_library()?;
    let repin = request.revision.is_some();
    let pinned_now = repin || locked.is_none();
    let folder = library::adopt(&guard, &folder, entry, repin)?;
    files::remove_dir(&staging)?;
    Ok(Pulled { folder, commit, files, was_there: false, pinned_now })
}

/// What is expected of each file: the hub's headers and, with `obey_pin`, the manifest or lock
/// file.
///
/// # Errors
/// The hub's headers differ from the pin; this is found before anything is downloaded.
fn expected_files(
    model: &KnownModel,
    remotes: &[RemoteFile],
    obey_pin: bool,
) -> Result<Vec<Vec<Expected>>, ModelError> {
    let mut all = Vec::new();
    for (file, remote) in model.files.iter().zip(remotes) {
        let mut of_file = vec![hub_claim(remote)];
        if obey_pin {
            let pin = resolve::expected(model.role, &model.name, &file.name)?;
            let path = Path::new(&file.name);
            match &of_file[0].sha256 {
                Some(claim) => pin.compare(path, remote.size, || Ok(claim.clone()))?,
                None => {
                    Expected { sha256: None, ..pin.clone() }
                        .compare(path, remote.size, || Ok(String::new()))?
                }
            }
            of_file.push(pin);
        }
        all.push(of_file);
    }
    Ok(all)
}

/// Verifies a model that is in the library already.
fn check_installed(model: &KnownModel, locked: Option<Locked>) -> Result<Pulled, ModelError> {
    let found = resolve::find_by_name(model.role, &model.name)?;
    found.check()?;
    let folder = paths::model_dir(model.role, &model.name);
    let (commit, files) =
        locked.map_or_else(Default::default, |locked| (locked.commit, locked.files));
    Ok(Pulled { folder, commit, files, was_there: true, pinned_now: false })
}

/// Checks that the model may have its name: that neither the manifest nor an installed or pinned
/// model uses it for something else.
fn check_owner(model: &KnownModel, locked: Option<&Locked>) -> Result<(), ModelError> {
    let claimed = |owner: String| ModelError::Claimed {
        name: model.name.clone(),
        owner,
        repo: model.repo.clone(),
    };
    let known = manifest::known(model.role, &model.name);
    if let Some(known) = &known {
        let same = |a: &KnownModel, b: &KnownModel| {
            a.files.iter().map(|file| &file.name).eq(b.files.iter().map(|file| &file.name))
        };
        if known.embedded {
            return Err(claimed("a model that is part of the program".to_owned()));
        }
        if known.repo != model.repo || !same(known, model) {
            return Err(claimed(format!("{} in the manifest of this program", known.repo)));
        }
    }
    let by = lock::path();
    match locked {
        // A model of the manifest may have been imported or have come in a bundle.
        Some(locked) if locked.repo.is_empty() && known.is_some() => Ok(()),
        Some(locked) if locked.repo.is_empty() => {
            Err(claimed(format!("a model that was imported ({})", by.display())))
        }
        Some(locked) if locked.repo != model.repo => {
            Err(claimed(format!("{} ({})", locked.repo, by.display())))
        }
        None if known.is_none() && paths::model_dir(model.role, &model.name).is_dir() => {
            Err(claimed("a model of the library that came from elsewhere".to_owned()))
        }
        _ => Ok(()),
    }
}

/// The hub's metadata of each file, all at one commit.
fn metadata(hub: &Hub, model: &KnownModel, revision: &str) -> Result<Vec<RemoteFile>, ModelError> {
    let mut remotes: Vec<RemoteFile> = Vec::new();
    for file in &model.files {
        let first = remotes.first().map(|first| first.commit.clone());
        let revision = first.clone().unwrap_or_else(|| revision.to_owned());
        let remote = hub.metadata(&revision, &file.name)?;
        if (first.is_some() || paths::is_hex(&revision, 40)) && remote.commit != revision {
            return Err(hub.error(
                &file.name,
                format!("requested commit {revision}, but the hub answered with {}", remote.commit),
                "try again later; a mirror in HF_ENDPOINT may be out of date",
            ));
        }
        remotes.push(remote);
    }
    Ok(remotes)
}

/// Deletes everything in `staging` that pulls of other commits left, and creates `folder` in it.
fn clear_other_commits(staging: &Path, folder: &Path) -> Result<(), ModelError> {
    files::create_dir(folder)?;
    let read = |source| ModelError::Read { path: staging.to_owned(), source };
    for entry in fs::read_dir(staging).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path != folder {
            files::remove_dir(&path)?;
        }
    }
    Ok(())
}

/// The size and hash in the hub's headers. The etag of a large file is its SHA-256, that of a small
/// one git's SHA-1. The latter is not checked: SHA-1 does not protect against forged files, and TLS
/// already protects against transmission errors.
fn hub_claim(remote: &RemoteFile) -> Expected {
    let hash = paths::is_hex(&remote.etag, 64);
    Expected {
        size: Some(remote.size),
        sha256: hash.then(|| remote.etag.clone()),
        by: "the hub".to_owned(),
        hint: DOWNLOAD_HINT.to_owned(),
    }
}

const DOWNLOAD_HINT: &str = "the bad file was deleted; pull again; if that fails too, something between the hub and this machine alters files";

/// Compares a downloaded file with everything that is expected of it and returns its SHA-256. A bad
/// file is deleted, so that the next pull downloads it again.
fn check_download(path: &Path, expected: &[Expected]) -> Result<String, ModelError> {
    let check = || {
        let size = checksum::metadata(path)?.len();
        let sha256 = checksum::hash_file(path)?;
        for expected in expected {
            let expected = Expected { hint: DOWNLOAD_HINT.to_owned(), ..expected.clone() };
            expected.compare(path, size, || Ok(sha256.clone()))?;
        }
        resolve::check_header(path)?;
        Ok(sha256)
    };
    check().inspect_err(|error| {
        let bad = matches!(
            error,
            ModelError::SizeMismatch { .. }
                | ModelError::HashMismatch { .. }
                | ModelError::Header(HeaderError::Unsound { .. })
        );
        // A read error proves nothing about the file.
        if bad {
            let _ = fs::remove_file(path);
        }
    })
}

/// A model that is not in the manifest: a repo and the names of its files.
///
/// # Errors
/// The repo is not `owner/name`, or a name is invalid.
pub(crate) fn ad_hoc(repo: &str, files: &[String]) -> Result<KnownModel, ModelError> {
    let hint = "give `owner/name`, as in the address of the model's page";
    let (owner, bare) = repo.split_once('/').ok_or_else(|| ModelError::InvalidName {
        name: repo.to_owned(),
        what: "repo",
        reason: "it has no owner",
        hint,
    })?;
    paths::check_name("repo", owner, hint)?;
    paths::check_name("repo", bare, hint)?;
    for file in files {
        paths::check_name("model file", file, "only files in the repo's top folder can be pulled")?;
    }
    let teacher = files.first().is_some_and(|file| file.ends_with(".gguf"));
    let files = if files.is_empty() {
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
            .map(str::to_owned)
            .to_vec()
    } else if let ([first], true) = (files, teacher) {
        // The first part of a split model stands for all of them.
        let parts = split::parts(Path::new(first));
        parts.into_iter().map(|part| part.to_string_lossy().into_owned()).collect()
    } else {
        files.to_vec()
    };
    let name = if teacher { paths::plain_name(Path::new(&files[0])) } else { bare.to_owned() };
    let known = |name| manifest::KnownFile { name, size: None, sha256: None };
    Ok(KnownModel {
        name,
        role: if teacher { Role::Teacher } else { Role::Student },
        embedded: false,
        repo: repo.to_owned(),
        revision: "main".to_owned(),
        files: files.into_iter().map(known).collect(),
        licence: String::new(),
        memory: 0,
        sentences: None,
        chat: String::new(),
        about: String::new(),
    })
}
