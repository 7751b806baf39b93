//! What can be wrong with a model or with the program's own folder, and how it is mended.

use std::{io, path::PathBuf};

use super::Role;
use crate::{hint::Hint, model_file::HeaderError};

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error(
        "there is no {role} {name:?}: no such file or folder, and no model of that name is known\nhint: give a path, or one of {known}"
    )]
    Unknown { role: Role, name: String, known: String },
    #[error(
        "{name} is not on this machine ({file} is neither in {library} nor in the Hugging Face cache {cache})\nhint: `promptmix models pull {name}` on a machine with a network fetches it, `promptmix models import` takes a copy; a path to the model works too (`./{name}` if a file or folder here is meant)"
    )]
    NotPulled { name: String, file: String, library: PathBuf, cache: PathBuf },
    #[error("{path} holds no {file}\nhint: copy the whole model, all its files in one folder")]
    Incomplete { path: PathBuf, file: String },
    #[error(
        "{path} is none of the files of {name}, as {by} and the manifest have them\nhint: delete it; to take a file over as a model of its own: `promptmix models import`"
    )]
    Extra { path: PathBuf, name: String, by: PathBuf },
    #[error(
        "{path} holds several models: {files}\nhint: give the path of one of them, or keep each in a folder of its own"
    )]
    Several { path: PathBuf, files: String },
    #[error(
        "{path} has no room for {wanted} bytes: {free} are free, {missing} bytes are missing (some are left for others)\nhint: make room, or set PROMPTMIX_HOME to a folder on another disk"
    )]
    Full { path: PathBuf, wanted: u64, free: u64, missing: u64 },
    #[error(
        "the name {name:?} belongs to {owner}\nhint: `--name OTHER` gives what comes from {repo} another name"
    )]
    Claimed { name: String, owner: String, repo: String },
    #[error(
        "{path} is not a folder for you alone, and what lies there is to say what models should be\nhint: set PROMPTMIX_HOME (or HOME) to a folder of yours"
    )]
    Untrusted { path: PathBuf },
    #[error(
        "cannot write {path}: {source}\nhint: PROMPTMIX_HOME names another folder for the program's own files"
    )]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}\nhint: is it there, and may you read it?")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not what it should be: its sha256 is {found}, {by} says {wanted}\nhint: {mend}"
    )]
    Changed { path: PathBuf, found: String, wanted: String, by: Box<str>, mend: Box<str> },
    #[error("{path} has {found} bytes, {by} says {wanted}\nhint: {mend}")]
    Size { path: PathBuf, found: u64, wanted: u64, by: String, mend: String },
    #[error("{name:?} cannot be the name of a {what}: {reason}\nhint: {mend}")]
    Name { name: String, what: &'static str, reason: &'static str, mend: &'static str },
    #[error(
        "there is another {role} of the name {name:?} in {path}\nhint: `promptmix models remove {name}` makes room; `models import --name OTHER` keeps both"
    )]
    Taken { role: Role, name: String, path: PathBuf },
    #[error(
        "{name} is in the Hugging Face cache, which belongs to other programs too\nhint: delete {path} yourself if none of them needs it"
    )]
    InCache { name: String, path: PathBuf },
    #[error("{name} is part of the program\nhint: only models in {library} can be removed")]
    BuiltIn { name: String, library: PathBuf },
    #[error("{name:?} is both a teacher and a student\nhint: say which with --role")]
    Ambiguous { name: String },
    #[error("cannot fetch {file} of {name}: {message}\nhint: {mend}")]
    Fetch { name: String, file: String, message: String, mend: String },
    #[error("{by} is set: nothing may be fetched\nhint: {mend}")]
    Offline { by: String, mend: String },
    #[error(
        "{path}: {message}\nhint: mend the line, or delete the file: each model is then pinned anew by its next pull"
    )]
    Lock { path: PathBuf, message: String },
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Hint for ModelError {}
