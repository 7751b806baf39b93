//! One file that carries everything across an air gap: the program, chosen models, prompts, the
//! model manifest, a bill of materials and, on request, all sources; signed with the user's own
//! key.
//!
//! ```text
//! frame  frame  frame … frame                 | skippable frame
//! zstd, each with its size and checksum;      | index (JSON), public key, signature,
//! together one plain tar: tar --zstd -xf      | length of the index, magic number
//! ```
//!
//! Nothing is parsed before it is authenticated. The reader takes the end of the file, which has a
//! fixed length, verifies the Ed25519 signature over the bytes of the [`index`], and only then
//! parses the index, which has the hash of every frame. A frame is decompressed after its hash was
//! verified, into a buffer of the size in the index. The tar inside is never parsed: the index has
//! the path, size and mode of every member, so the reader generates the only tar that it allows and
//! compares ([`read`]). Therefore `tar` cannot unpack anything that the reader does not see, and
//! links, devices, duplicates and `..` are impossible. [`paths`] checks the names, since a valid
//! signature does not make a name harmless.
//!
//! Large members are split into frames of 4 MiB, so that a changed byte can be located, and models
//! of any size need constant memory. The same contents and the same key give the same bytes: there
//! are no time stamps and no owners, and the order does not depend on the file system.

mod contents;
mod create;
mod entry;
mod import;
mod index;
mod keys;
mod newest;
mod partial;
mod paths;
mod read;
mod sbom;
mod source;
mod spdx;
mod write;

#[cfg(test)]
mod hostile;

use std::{borrow::Cow, io, path::PathBuf};

pub(crate) use contents::Selection;
pub(crate) use create::create;
pub(crate) use import::{Destinations, import};
pub(crate) use keys::{Fingerprint, generate, private_key, public_key};
pub(crate) use read::{Trust, inspect, verify};
pub(crate) use sbom::{bill, spdx_bill};

use crate::{
    hint::Hint,
    models::{ModelError, Role},
};

/// Maximum bytes of the tar in one segment, that is, in one frame.
pub(crate) const SEGMENT_BYTES: usize = 4 << 20;
/// Maximum length of the index.
pub(crate) const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Is called with the number of bytes done and their total.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Such as `promptmix 0.1.0`.
    pub created_by: String,
    /// The platform of the program in it, such as `x86_64-linux`; empty without a program.
    pub built_for: String,
    /// The fingerprint of the key that signed it.
    pub signer: Fingerprint,
    /// Bytes of the file.
    pub packed: u64,
    /// Bytes of all members.
    pub unpacked: u64,
    pub members: usize,
    /// Members that are source files.
    pub sources: usize,
    pub program: bool,
    pub models: Vec<CarriedModel>,
}

/// One model of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CarriedModel {
    pub role: Role,
    pub name: String,
    /// An SPDX expression; empty if unknown.
    pub licence: String,
    pub bytes: u64,
}

/// Why a bundle is refused or cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error(
        "this is not a bundle, or its end, which holds the index of the bundle, is damaged: {what}"
    )]
    End { what: &'static str },
    #[error("the index of the bundle was changed: {what}")]
    Index { what: &'static str },
    #[error("signed with the key {found}, not with yours ({wanted})")]
    OtherKey { found: Fingerprint, wanted: Fingerprint },
    #[error("changed since it was signed:\n{}", places.join("\n"))]
    Changed { places: Vec<String> },
    #[error("the signature is valid, but the content is not to be trusted: {what}")]
    Hostile { what: String },
    #[error(
        "created by {found}, but a newer bundle of the same signer, created by {newest}, was imported before"
    )]
    Older { found: String, newest: String },
    #[error("{path:?} cannot be a name in a bundle: {why}")]
    Name { path: String, why: &'static str },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} already exists")]
    Exists { path: PathBuf },
    #[error("{path} is being written by another promptmix")]
    Busy { path: PathBuf },
    #[error("{path} changed while it was read")]
    ChangedWhileRead { path: PathBuf },
    #[error("{path} holds no {what} key: {message}")]
    Key { path: PathBuf, what: &'static str, message: String },
    #[error("the bundle has no {what}")]
    Missing { what: &'static str, flag: &'static str, with: &'static str },
    #[error("{command}: {message}")]
    Tool { command: &'static str, message: String, hint: &'static str },
    #[error("the bundle would be too large: {what}")]
    TooLarge { what: &'static str },
    #[error("the import stopped after it had installed {installed}, which stay in the library")]
    Interrupted { installed: String, source: Box<BundleError> },
    #[error(transparent)]
    Model(Box<ModelError>),
}

impl Hint for BundleError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::End { .. } | Self::Index { .. } | Self::Changed { .. } => {
                "copy it again from where it was created; do not use this copy".into()
            }
            Self::OtherKey { .. } => "ask the maker of the bundle for their public key, over \
                                      another channel than the bundle"
                .into(),
            Self::Hostile { .. } => "do not use it; ask its signer how this came about".into(),
            Self::Older { .. } => {
                "the newer one may fix bugs in this one; pass `--downgrade` to import it anyway"
                    .into()
            }
            Self::Name { .. } => "rename it".into(),
            Self::Read { .. } => "check that it exists and that you may read it".into(),
            Self::Write { .. } => "check the free space and that you may write there".into(),
            Self::Exists { .. } => "choose another name, or remove it first".into(),
            Self::Busy { .. } => "wait until it finishes, or choose another name".into(),
            Self::ChangedWhileRead { .. } => "try again when no program writes to it".into(),
            Self::Key { .. } => "`promptmix bundle keygen FILE` creates both halves, as do \
                                 `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`"
                .into(),
            Self::Missing { flag, with, .. } => {
                format!("leave out {flag}, or create the bundle with {with}").into()
            }
            Self::Tool { hint, .. } => (*hint).into(),
            Self::TooLarge { .. } => "create two bundles".into(),
            Self::Interrupted { source, .. } => return source.hint(),
            Self::Model(error) => return error.hint(),
        })
    }
}

impl From<ModelError> for BundleError {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

impl BundleError {
    /// Whether the bundle itself is bad, as opposed to a wrong argument or an I/O error.
    pub(crate) fn is_verdict(&self) -> bool {
        matches!(
            self,
            Self::End { .. }
                | Self::Index { .. }
                | Self::OtherKey { .. }
                | Self::Changed { .. }
                | Self::Hostile { .. }
        )
    }
}
