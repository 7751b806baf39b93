//! The models of this machine: a folder for each, whole or not there at all.

use std::path::PathBuf;

use super::{Role, StoreError};

/// A model's files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModel {
    /// As it is asked for.
    pub name: String,
    pub role: Role,
    /// As an SPDX expression; empty where nobody said.
    pub licence: String,
    /// Name inside the model's folder, and where the file is now.
    pub files: Vec<(String, PathBuf)>,
}

/// The model that `spec` means (a path, or a name), checked as before each use.
///
/// # Errors
/// As [`super::teacher_file`] and [`super::student_base`].
pub fn local(role: Role, spec: &str) -> Result<LocalModel, StoreError> {
    let _ = (role, spec);
    todo!()
}

/// Checks the files of `model`, copies them into the library and gives the whole its name at the end.
/// Returns the model's folder.
///
/// # Errors
/// A file that is not what the manifest or the lock says, another model of that name, a full disk.
pub fn install(model: &LocalModel) -> Result<PathBuf, StoreError> {
    let _ = model;
    todo!()
}
