//! The newest bundle of each signer that was imported on this machine. An old bundle keeps its
//! valid signature, and with it every fault of the program inside that was mended since.

use std::{collections::BTreeMap, io, path::Path};

use super::BundleError;
use crate::{
    fs::{read_regular, write_atomic},
    models,
};

/// File in the program's folder: signer's fingerprint to the version of the newest import.
const FILE: &str = "bundles.json";
/// Maximum size of the file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Remembers a bundle by `signer` that `created_by` (such as `promptmix 0.1.0`) created.
///
/// # Errors
/// [`BundleError::Older`] if a newer one was imported before, unless `downgrade`; the record cannot
/// be read or written.
pub(super) fn admit(signer: &str, created_by: &str, downgrade: bool) -> Result<(), BundleError> {
    admit_in(&models::home().join(FILE), signer, created_by, downgrade)
}

fn admit_in(
    path: &Path,
    signer: &str,
    created_by: &str,
    downgrade: bool,
) -> Result<(), BundleError> {
    let mut newest: BTreeMap<String, String> = match read_regular(path, MAX_BYTES) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|error| BundleError::Read { path: path.to_owned(), source: error.into() })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(source) => return Err(BundleError::Read { path: path.to_owned(), source }),
    };
    if let Some(before) = newest.get(signer)
        && version(created_by) < version(before)
        && !downgrade
    {
        return Err(BundleError::Older { found: created_by.to_owned(), newest: before.clone() });
    }
    newest.insert(signer.to_owned(), created_by.to_owned());
    let text = serde_json::to_string_pretty(&newest).expect("texts are JSON");
    write_atomic(path, text.as_bytes())
        .map_err(|source| BundleError::Write { path: path.to_owned(), source })
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
        let path = folder.path().join(FILE);
        let admit = |signer, version, downgrade| admit_in(&path, signer, version, downgrade);
        admit("a", "promptmix 0.9.1", false).unwrap();
        admit("a", "promptmix 0.10.0", false).unwrap();
        admit("a", "promptmix 0.10.0", false).unwrap();
        let error = admit("a", "promptmix 0.9.1", false).unwrap_err();
        assert!(error.to_string().contains("promptmix 0.9.1"), "{error}");
        assert!(error.to_string().contains("promptmix 0.10.0"), "{error}");
        assert!(matches!(admit("a", "no version", false), Err(BundleError::Older { .. })));
        admit("b", "promptmix 0.9.1", false).unwrap();
        admit("a", "promptmix 0.9.1", true).unwrap();
        // What was asked for is the newest from then on.
        admit("a", "promptmix 0.9.1", false).unwrap();
        std::fs::write(&path, "{").unwrap();
        let error = admit("a", "promptmix 0.10.0", false).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
