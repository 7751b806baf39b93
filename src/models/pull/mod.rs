//! Fetches a model from the Hugging Face hub into the library. With [`hub`] this is the only code of
//! the program that opens a connection.
//!
//! What comes over the net is believed as little as possible. First the hub is asked for the commit;
//! every file is then asked for by that commit, so that a push in the middle cannot mix two versions.
//! The bytes go to a staging folder, where a cut download is gone on with, by this call or the next.
//! Then sizes and hashes are held against the manifest, the lock file and the hub's own claim, the
//! headers against the files' lengths, and only then does the folder get its name in the library.

mod disk_space;
mod fetch;
mod http_error;
mod hub;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

pub(crate) use hf_hub::api::Progress;

use super::{
    KnownModel, ModelError, Role, library,
    lock::{self, Lock, Locked, LockedFile},
    manifest, private,
    pull::{
        fetch::fetch,
        hub::{Hub, Remote},
    },
    resolve, split,
    verify::{self, Wanted},
};
use crate::model_file::HeaderError;

/// What to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub model: KnownModel,
    /// Another revision than the one in the lock file or the manifest; what it brings is pinned anew.
    pub revision: Option<String>,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pulled {
    /// The model's folder in the library.
    pub folder: PathBuf,
    pub commit: String,
    pub files: Vec<LockedFile>,
    /// Whether it was there before; nothing was fetched then.
    pub was_there: bool,
    /// Whether its hashes were written down just now.
    pub pinned_now: bool,
}

/// Says whether the environment forbids connections.
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
        mend: format!(
            "unset {variable}, or copy the model here and take it over with `promptmix models import`"
        ),
    })
}

/// Fetches the files of a model into the library.
///
/// # Errors
/// Connections are forbidden, the hub cannot be reached or refuses, a file is not what the manifest,
/// the lock file or the hub itself says, another model of that name, a full disk.
pub(crate) fn pull(request: &Request, progress: &mut dyn Progress) -> Result<Pulled, ModelError> {
    check_online()?;
    let model = &request.model;
    let (role, name) = (model.role, model.name.as_str());
    manifest::check_name("model", name, "give the file's own name")?;
    // Two pulls of one model: the second waits, and finds it there.
    let staging = library::root().join(".pull").join(format!("{role}-{name}"));
    let beside = library::root().join(".pull").join(format!("{role}-{name}.lock"));
    let _one = lock::lock_file(beside, &format!("another pull of {name}"))?;
    let locked = Lock::read()?.find(role, name).cloned();
    check_owner(model, locked.as_ref())?;
    let locked = locked.filter(|locked| locked.repo == model.repo);
    let there = library::folder(role, name);
    if there.is_dir() {
        let pinned = locked.as_ref().map(|locked| locked.commit.as_str());
        if request.revision.is_some() && request.revision.as_deref() != pinned {
            return Err(ModelError::Taken { role, name: name.to_owned(), path: there });
        }
        return already(model, locked);
    }
    let revision = match (&request.revision, &locked) {
        (Some(revision), _) => revision.clone(),
        (None, Some(locked)) if !locked.commit.is_empty() => locked.commit.clone(),
        _ => model.revision.clone(),
    };
    let hub = Hub::open(model)?;
    let remotes = ask(&hub, model, &revision)?;
    let commit = remotes[0].commit.clone();
    let folder = staging.join(&commit);
    let mut checks = Vec::new();
    for (file, remote) in model.files.iter().zip(&remotes) {
        let mut of_file = vec![hub_claim(remote)];
        if request.revision.is_none() || model.is_pinned() {
            let wanted = resolve::wanted(role, name, &file.name)?;
            // What the hub says is held against the pin before a byte is fetched.
            let named = Path::new(&file.name);
            match &of_file[0].sha256 {
                Some(claim) => wanted.hold(named, remote.size, || Ok(claim.clone()))?,
                None => {
                    Wanted { sha256: None, ..wanted.clone() }
                        .hold(named, remote.size, || Ok(String::new()))?
                }
            }
            of_file.push(wanted);
        }
        checks.push(of_file);
    }
    keep_only(&staging, &folder)?;
    let sizes = model.files.iter().zip(&remotes).map(|(file, remote)| (&*file.name, remote.size));
    disk_space::check(&folder, sizes)?;
    let mut files = Vec::new();
    for ((file, remote), checks) in model.files.iter().zip(&remotes).zip(&checks) {
        let path = folder.join(&file.name);
        fetch(&hub, remote, &file.name, &path, progress)?;
        let sha256 = sound(&path, checks)?;
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
    let guard = lock::hold()?;
    let anew = request.revision.is_some();
    let pinned_now = anew || locked.is_none();
    let folder = library::adopt(&guard, &folder, entry, anew)?;
    private::clear(&staging)?;
    Ok(Pulled { folder, commit, files, was_there: false, pinned_now })
}

/// A model that is in the library already is checked and left as it is.
fn already(model: &KnownModel, locked: Option<Locked>) -> Result<Pulled, ModelError> {
    let found = resolve::named(model.role, &model.name)?;
    found.check()?;
    let folder = library::folder(model.role, &model.name);
    let (commit, files) =
        locked.map_or_else(Default::default, |locked| (locked.commit, locked.files));
    Ok(Pulled { folder, commit, files, was_there: true, pinned_now: false })
}

/// Whether the model may go by its name: not by one that the manifest gives to other files, nor by one
/// under which something else came here first.
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
        // A known model may have been imported, or have come in a bundle.
        Some(locked) if locked.repo.is_empty() && known.is_some() => Ok(()),
        Some(locked) if locked.repo.is_empty() => {
            Err(claimed(format!("a model that was imported ({})", by.display())))
        }
        Some(locked) if locked.repo != model.repo => {
            Err(claimed(format!("{} ({})", locked.repo, by.display())))
        }
        None if known.is_none() && library::folder(model.role, &model.name).is_dir() => {
            Err(claimed("a model of the library that came from elsewhere".to_owned()))
        }
        _ => Ok(()),
    }
}

/// What the hub says of each file, all of one commit.
fn ask(hub: &Hub, model: &KnownModel, revision: &str) -> Result<Vec<Remote>, ModelError> {
    let mut remotes: Vec<Remote> = Vec::new();
    for file in &model.files {
        let first = remotes.first().map(|first| first.commit.clone());
        let revision = first.clone().unwrap_or_else(|| revision.to_owned());
        let remote = hub.metadata(&revision, &file.name)?;
        if (first.is_some() || resolve::is_hex(&revision, 40)) && remote.commit != revision {
            return Err(hub.fault(
                &file.name,
                format!(
                    "the hub answers with commit {} where {revision} was asked for",
                    remote.commit
                ),
                "ask again later; a mirror in HF_ENDPOINT may be out of date",
            ));
        }
        remotes.push(remote);
    }
    Ok(remotes)
}

/// Clears what earlier pulls of other commits left in `staging` and makes `folder` in it.
fn keep_only(staging: &Path, folder: &Path) -> Result<(), ModelError> {
    private::folder(folder)?;
    let read = |source| ModelError::Read { path: staging.to_owned(), source };
    for entry in fs::read_dir(staging).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path != folder {
            private::clear(&path)?;
        }
    }
    Ok(())
}

/// The hub names large files by their SHA-256, and the others by their SHA-1 as git has it. That one
/// is not held against anything: SHA-1 proves nothing about who made a file, no crate here has it, and
/// against a bad line there is TLS.
fn hub_claim(remote: &Remote) -> Wanted {
    let hash = resolve::is_hex(&remote.etag, 64);
    Wanted {
        size: Some(remote.size),
        sha256: hash.then(|| remote.etag.clone()),
        by: "the hub".to_owned(),
        mend: MEND.to_owned(),
    }
}

const MEND: &str = "the bad file was deleted; pull again, and if it stays so, something between the hub and here changes files";

/// Holds a fetched file against all that is known of it; a bad one is deleted, so that the next pull
/// begins it afresh. Returns its SHA-256.
fn sound(path: &Path, checks: &[Wanted]) -> Result<String, ModelError> {
    let check = || {
        let size = verify::metadata(path)?.len();
        let sha256 = verify::hash_file(path)?;
        for wanted in checks {
            let wanted = Wanted { mend: MEND.to_owned(), ..wanted.clone() };
            wanted.hold(path, size, || Ok(sha256.clone()))?;
        }
        resolve::check_header(path)?;
        Ok(sha256)
    };
    check().inspect_err(|error| {
        let bad = matches!(
            error,
            ModelError::Size { .. }
                | ModelError::Changed { .. }
                | ModelError::Header(HeaderError::Unsound { .. })
        );
        // A disk that fails to read says nothing about the file.
        if bad {
            let _ = fs::remove_file(path);
        }
    })
}

/// A model that the manifest does not know: a repo and the names of its files.
///
/// # Errors
/// A repo that is not `owner/name`, file names that lead elsewhere, files of no known kind.
pub(crate) fn ad_hoc(repo: &str, files: &[String]) -> Result<KnownModel, ModelError> {
    let fault = |name: &str, reason, mend| ModelError::Name {
        name: name.to_owned(),
        what: "repo",
        reason,
        mend,
    };
    let mend = "it is `owner/name`, as in the address of the model's page";
    let (owner, bare) = repo.split_once('/').ok_or_else(|| fault(repo, "it has no owner", mend))?;
    manifest::check_name("repo", owner, mend)?;
    manifest::check_name("repo", bare, mend)?;
    for file in files {
        manifest::check_name(
            "model file",
            file,
            "only files in the repo's top folder can be pulled",
        )?;
    }
    let teacher = files.first().is_some_and(|file| file.ends_with(".gguf"));
    let files = if files.is_empty() {
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
            .map(str::to_owned)
            .to_vec()
    } else if let ([first], true) = (files, teacher) {
        // The first part stands for all of them.
        let parts = split::parts(Path::new(first));
        parts.into_iter().map(|part| part.to_string_lossy().into_owned()).collect()
    } else {
        files.to_vec()
    };
    let name = if teacher { library::plain_name(Path::new(&files[0])) } else { bare.to_owned() };
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
        chat: String::new(),
        about: String::new(),
    })
}
