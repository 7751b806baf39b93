//! Why a server does not start, and why a request is not answered.

use std::{borrow::Cow, error::Error, io, path::PathBuf};

use crate::hint::Hint;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("cannot load the model {name}")]
    Model { name: String, source: Box<dyn Error + Send + Sync> },
    #[error("cannot read the keys in {path}")]
    ReadKeys { path: PathBuf, source: io::Error },
    #[error("{path}, line {line}: the key has fewer than {least} characters")]
    ShortKey { path: PathBuf, line: usize, least: usize },
    #[error("{path}: the file has no key")]
    NoKeys { path: PathBuf },
}

impl Hint for ServeError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Model { .. } | Self::ReadKeys { .. } => return None,
            Self::ShortKey { .. } | Self::NoKeys { .. } => {
                "make one with `openssl rand -hex 32`; one key a line".into()
            }
        })
    }
}

/// Why a request is not answered, for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    /// Names the field.
    pub message: String,
    /// When to try again, in seconds.
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    /// The server is well, and has no room: it may be tried again after so many seconds.
    pub(super) fn busy(status: u16, message: impl Into<String>, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(status, message) }
    }

    /// The kind of error, as TEI has it in `error_type`.
    pub(super) fn kind(&self) -> &'static str {
        match self.status {
            429 => "overloaded",
            503 => "unhealthy",
            500 => "backend",
            _ => "validation",
        }
    }
}
