//! The newest bundle of each signer that was imported on this machine. An old bundle keeps its
//! valid signature, and with it every fault of the program inside that was mended since.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::BundleError;
use crate::{
    fs::{create_private_dir, read_regular, write_atomic},
    models,
};

/// File in the program's folder: signer's fingerprint to the version of the newest import.
const FILE: &str = "bundles.json";
/// Maximum size of the file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// By the signer's fingerprint, the program that created the newest bundle, such as
/// `promptmix 0.1.0`.
pub(super) struct Newest {
    path: PathBuf,
    by_signer: BTreeMap<String, String>,
}

impl Newest {
    /// The record of this machine.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read() -> Result<Self, BundleError> {
        Self::read_from(models::home().join(FILE))
    }

    fn read_from(path: PathBuf) -> Result<Self, BundleError> {
        let by_signer = match read_regular(&path, MAX_BYTES) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| BundleError::Read { path: path.clone(), source: error.into() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(BundleError::Read { path, source }),
        };
        Ok(Self { path, by_signer })
    }

    /// # Errors
    /// [`BundleError::Older`] if a newer bundle of `signer` was imported before.
    pub(super) fn check(&self, signer: &str, created_by: &str) -> Result<(), BundleError> {
        match self.by_signer.get(signer) {
            Some(newest) if version(created_by) < version(newest) => {
                Err(BundleError::Older { found: created_by.to_owned(), newest: newest.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Remembers a bundle that was imported.
    ///
    /// # Errors
    /// A failed write.
    pub(super) fn put(mut self, signer: &str, created_by: &str) -> Result<(), BundleError> {
        self.by_signer.insert(signer.to_owned(), created_by.to_owned());
        let text = serde_json::to_string_pretty(&self.by_signer).expect("texts are JSON");
        let folder = self.path.parent().unwrap_or(Path::new("."));
        create_private_dir(folder)
            .and_then(|()| write_atomic(&self.path, text.as_bytes()))
            .map_err(|source| BundleError::Write { path: self.path, source })
    }
}

/// The numbers of a version such as `promptmix 0.1.0`. One that cannot be read is the oldest.
fn version(created_by: &str) -> Vec<u64> {
    let numbers = created_by.rsplit(' ').next().unwrap_or_default().split('-').next();
    let numbers: Option<Vec<u64>> =
        numbers.unwrap_or_default().split('.').map(|number| number.parse().ok()).collect();
    numbers.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_bundle_of_the_same_signer_is_refused_unless_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        // A machine on which nothing was installed yet.
        let path = folder.path().join("new/home").join(FILE);
        let newest = || Newest::read_from(path.clone());
        let check = |signer, version| newest().unwrap().check(signer, version);
        let import = |signer, version| newest().unwrap().put(signer, version).unwrap();
        check("a", "promptmix 0.9.1").unwrap();
        import("a", "promptmix 0.10.0");
        check("a", "promptmix 0.10.0").unwrap();
        let error = check("a", "promptmix 0.9.1").unwrap_err();
        assert!(error.to_string().contains("promptmix 0.9.1"), "{error}");
        assert!(error.to_string().contains("promptmix 0.10.0"), "{error}");
        assert!(matches!(check("a", "no version"), Err(BundleError::Older { .. })));
        check("b", "promptmix 0.9.1").unwrap();
        // What was asked for is the newest from then on.
        import("a", "promptmix 0.9.1");
        check("a", "promptmix 0.9.1").unwrap();
        std::fs::write(&path, "{").unwrap();
        let error = newest().err().unwrap();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
