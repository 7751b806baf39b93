//! What can be wrong with a model or with the program's own folder.

use std::{borrow::Cow, io, path::PathBuf};

use super::Role;
use crate::{hint::Hint, model_file::HeaderError};

/// Why a model cannot be used, fetched, imported or removed.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "pull"), expect(dead_code, reason = "some only happen while pulling"))]
pub(crate) enum ModelError {
    #[error(
        "unknown {role} {name:?}: no file or folder has this path, and no known model this name"
    )]
    Unknown { role: Role, name: String, known: String, similar: Option<String> },
    #[error(
        "{repo} is not on this machine: no such path, and not in the Hugging Face cache {cache}"
    )]
    NotOnDisk { repo: String, cache: PathBuf, similar: Option<String> },
    #[error("{path} must hold a commit, not \"{found}\"")]
    NoCommit { path: PathBuf, found: String },
    #[error("{folder} holds several snapshots, and {reference} names none of them: {names}")]
    SeveralSnapshots { folder: PathBuf, names: String, reference: PathBuf },
    #[error(
        "{name} is not on this machine: {file} is neither in {library} nor in the Hugging Face cache {cache}"
    )]
    NotPulled { name: String, file: String, library: PathBuf, cache: PathBuf },
    #[error("{path} has no {file}")]
    Incomplete { path: PathBuf, file: String },
    #[error("{path} has no GGUF file")]
    NoGguf { path: PathBuf },
    #[error("{path} is not one of the files of {name} that the manifest or {lock} lists")]
    Extra { path: PathBuf, name: String, lock: PathBuf },
    #[error("{path} holds several models: {files}")]
    MultipleModels { path: PathBuf, files: String },
    #[error(
        "not enough space in {path}: {wanted} bytes are needed and {free} are free; with the reserve for other programs, {missing} bytes are missing"
    )]
    DiskFull { path: PathBuf, wanted: u64, free: u64, missing: u64 },
    #[error("the name {name:?} belongs to {owner}")]
    Claimed { name: String, owner: String, repo: String },
    #[error(
        "{path} is not a private folder of yours, and the files in it decide which models are trusted"
    )]
    Untrusted { path: PathBuf },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} has the sha256 {found}, but {by} says {wanted}")]
    HashMismatch { path: PathBuf, found: String, wanted: String, by: Box<str>, hint: Box<str> },
    #[error("{path} has {found} bytes, but {by} says {wanted}")]
    SizeMismatch { path: PathBuf, found: u64, wanted: u64, by: String, hint: String },
    #[error("{name:?} cannot be the name of a {what}: {reason}")]
    InvalidName { name: String, what: &'static str, reason: &'static str, hint: &'static str },
    #[error("another {role} named {name:?} is already in {path}")]
    Taken { role: Role, name: String, path: PathBuf },
    #[error("{name} is in the Hugging Face cache, which belongs to other programs too")]
    InCache { name: String, path: PathBuf },
    #[error("{name} is part of the program")]
    BuiltIn { name: String, library: PathBuf },
    #[error("{name:?} is both a teacher and a student")]
    Ambiguous { name: String },
    #[error("cannot fetch {file} of {name}: {message}")]
    Fetch { name: String, file: String, message: String, hint: String },
    #[error("downloads are disabled: {by} is set")]
    Offline { by: String, hint: String },
    #[error("{path} is not a valid lock file: {message}")]
    InvalidLock { path: PathBuf, message: String },
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Hint for ModelError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Unknown { known, similar: Some(similar), .. } => {
                format!("did you mean {similar}? Give a path, or one of: {known}").into()
            }
            Self::Unknown { known, .. } => format!("give a path, or one of: {known}").into(),
            Self::NoCommit { .. } => {
                "write the name of a folder in snapshots/ into it, or fetch the model again".into()
            }
            Self::SeveralSnapshots { folder, reference, .. } => format!(
                "give the path of one of them ({}/NAME), or write its name into {}",
                folder.display(),
                reference.display()
            )
            .into(),
            Self::NotOnDisk { repo, similar, .. } => format!(
                "{}`promptmix models pull {repo} FILE` fetches a GGUF teacher; \
                 `hf download {repo}` fetches any model into the cache",
                similar.as_ref().map_or_else(String::new, |it| format!("did you mean {it}? "))
            )
            .into(),
            Self::NotPulled { name, .. } => format!(
                "`promptmix models pull {name}` fetches it; without a network, copy the model here \
                 and run `promptmix models import`; a path to a model works too (`./{name}` for a \
                 file or folder in this directory)"
            )
            .into(),
            Self::Incomplete { .. } => {
                "copy the whole model, with all its files in one folder".into()
            }
            Self::NoGguf { .. } => {
                "name a GGUF file, or a folder with one; for a teacher whose engine is \
                 elsewhere (--allow-address), a folder with tokenizer.json will do"
                    .into()
            }
            Self::Extra { .. } => {
                "delete it; `promptmix models import` makes the file a model of its own".into()
            }
            Self::MultipleModels { .. } => {
                "give the path of one of them, or keep each in a folder of its own".into()
            }
            Self::DiskFull { .. } => {
                "free some space, or set PROMPTMIX_HOME to a folder on another disk".into()
            }
            Self::Claimed { repo, .. } => {
                format!("`--name OTHER` stores the model from {repo} under another name").into()
            }
            Self::Untrusted { .. } => {
                "set PROMPTMIX_HOME (or HOME) to a folder that only you can access".into()
            }
            Self::Write { .. } => {
                "set PROMPTMIX_HOME to keep the program's own files in another folder".into()
            }
            Self::Read { .. } => "check that it exists and that you may read it".into(),
            Self::HashMismatch { hint, .. } => (**hint).into(),
            Self::InvalidName { hint, .. } => (*hint).into(),
            Self::SizeMismatch { hint, .. }
            | Self::Fetch { hint, .. }
            | Self::Offline { hint, .. } => hint.into(),
            Self::Taken { name, .. } => format!(
                "`promptmix models remove {name}` removes it; `promptmix models import --name \
                 OTHER` keeps both"
            )
            .into(),
            Self::InCache { path, .. } => {
                format!("delete {} yourself if no other program needs it", path.display()).into()
            }
            Self::BuiltIn { library, .. } => {
                format!("only models in {} can be removed", library.display()).into()
            }
            Self::Ambiguous { .. } => "choose one with --role".into(),
            Self::InvalidLock { .. } => {
                "fix the line, or delete the file: the next pull or import of each model then pins \
                 it again"
                    .into()
            }
            Self::Header(error) => return error.hint(),
        })
    }
}
