//! One file that goes into a bundle.

use std::{fs, path::PathBuf};

use super::{BundleError, index::Kind};

/// Where the bytes of an entry come from.
pub(super) enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// One file that goes into a bundle.
pub(super) struct Entry {
    pub path: String,
    pub kind: Kind,
    pub executable: bool,
    pub content: Content,
}

impl Entry {
    pub(super) fn text(path: &str, kind: Kind, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            executable: false,
            content: Content::Bytes(text.as_bytes().to_vec()),
        }
    }

    pub(super) fn file(path: String, kind: Kind, executable: bool, file: PathBuf) -> Self {
        Self { path, kind, executable, content: Content::File(file) }
    }

    /// The size in bytes.
    pub(super) fn size(&self) -> Result<u64, BundleError> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.len() as u64),
            Content::File(path) => fs::metadata(path)
                .map(|metadata| metadata.len())
                .map_err(|source| BundleError::Read { path: path.clone(), source }),
        }
    }
}
