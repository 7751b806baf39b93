//! The reports of `promptmix bench` on this machine, stored by the model's SHA-256.

use std::{fs, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use super::{ModelError, Role, files, paths::home};

fn file(role: Role, sha256: &str) -> PathBuf {
    let prefix = match role {
        Role::Teacher => "",
        Role::Student => "student-",
    };
    home().join("bench").join(format!("{prefix}{sha256}.json"))
}

/// Stores the `report` on the model with this SHA-256 for [`speed`].
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn remember_speed(
    role: Role,
    sha256: &str,
    report: &impl Serialize,
) -> Result<(), ModelError> {
    let json = serde_json::to_vec_pretty(report).expect("a report has only strings as keys");
    files::write(&file(role, sha256), &json)
}

/// The last report on the model with this SHA-256, if this version can read it.
pub(crate) fn speed<T: DeserializeOwned>(role: Role, sha256: &str) -> Option<T> {
    serde_json::from_slice(&fs::read(file(role, sha256)).ok()?).ok()
}
