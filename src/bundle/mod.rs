//! One file that carries everything over the gap: the program, chosen models, prompts, the list of
//! known models, a bill of materials and, if wanted, the sources of all of it; signed with the user's
//! own key.
//!
//! ```text
//! frame  frame  frame … frame                 | skippable frame
//! zstd, each with its size and checksum;      | index (JSON), public key, signature,
//! together one plain tar: tar --zstd -xf      | length of the index, mark
//! ```
//!
//! Nothing is parsed before it is authenticated. A reader takes the fixed end of the file, checks the
//! Ed25519 signature over the bytes of the [`index`], and only then reads the index, which says what
//! each frame hashes to. A frame is decompressed after its hash is right, into a buffer of the size
//! that the index states. The tar inside is never parsed here: since the index knows path, size and mode
//! of every member, the only tar that it allows is made anew and compared ([`read`]). So what our reader
//! sees and what `tar` unpacks cannot differ, and links, devices, doubles and `..` have no way in
//! ([`paths`] judges the names themselves, since a valid signature does not make a name harmless).
//!
//! Large members are cut into frames of 4 MiB, so that a changed byte is named by member and place, and
//! models of any size pass in constant memory. The same contents and the same key give the same bytes:
//! no times, no owners, no order of a folder.

mod contents;
mod create;
mod import;
mod index;
mod keys;
mod part;
mod paths;
mod read;
mod sbom;
mod source;
mod write;

#[cfg(test)]
mod hostile;

use std::{io, path::PathBuf};

pub(crate) use create::{Selection, create};
pub(crate) use import::{Destinations, import};
pub(crate) use keys::{Fingerprint, generate, private_key, public_key};
pub(crate) use read::inspect;
pub(crate) use read::{Trust, verify};
pub(crate) use sbom::bill;

use crate::{
    hint::Hint,
    models::{ModelError, Role},
};

/// Largest piece of the tar that one frame holds, in bytes.
pub(crate) const PIECE: usize = 4 << 20;
/// Longest index, in bytes.
pub(crate) const LONGEST_INDEX: u64 = 64 << 20;

/// Told how many of how many bytes are done.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(u64, u64);

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// As `promptmix 0.1.0`.
    pub created_by: String,
    /// Machine that the program in it was built for, as `x86_64-linux`; empty without a program.
    pub built_for: String,
    /// Of the key that signed it.
    pub signer: Fingerprint,
    /// Bytes of the file, and of all that is in it.
    pub packed: u64,
    pub unpacked: u64,
    pub members: usize,
    /// Files of the sources among the members.
    pub sources: usize,
    pub program: bool,
    pub models: Vec<CarriedModel>,
}

/// One model of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CarriedModel {
    pub role: Role,
    pub name: String,
    /// As an SPDX expression; empty where nobody said.
    pub licence: String,
    pub bytes: u64,
}

/// Why a bundle is refused or cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error(
        "no bundle, or its end was changed, cut off or added to: {what} (there stands the index of the bundle)\nhint: copy it again from where it was made; do not use this one"
    )]
    End { what: &'static str },
    #[error(
        "the index of the bundle was changed: {what}\nhint: copy it again from where it was made; do not use this one"
    )]
    Index { what: &'static str },
    #[error(
        "signed with the key {found}, not with yours, {wanted}\nhint: ask whoever made the bundle for their public key, on another way than the bundle came"
    )]
    OtherKey { found: Fingerprint, wanted: Fingerprint },
    #[error(
        "changed since it was signed:\n{}\nhint: copy it again from where it was made; do not use this one",
        places.join("\n")
    )]
    Changed { places: Vec<String> },
    #[error(
        "signed, yet not to be trusted: {what}\nhint: do not use it, and ask whoever signed it how that came about"
    )]
    Hostile { what: String },
    #[error("{path:?} cannot be a name in a bundle: {why}\nhint: rename it")]
    Name { path: String, why: &'static str },
    #[error("cannot read {path}: {source}\nhint: does it exist, and may you read it?")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}\nhint: is there space, and may you write there?")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is there already\nhint: give another name, or remove it first")]
    Exists { path: PathBuf },
    #[error(
        "{path} is being written by another promptmix\nhint: wait until it has ended, or give another name"
    )]
    Busy { path: PathBuf },
    #[error("{path}: it changed while it was read\nhint: try again when nobody writes it")]
    Moving { path: PathBuf },
    #[error(
        "{path} holds no {what} key: {message}\nhint: `promptmix bundle keygen FILE` makes both halves, as do `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`"
    )]
    Key { path: PathBuf, what: &'static str, message: String },
    #[error("the bundle has no {what}\nhint: leave out {flag}, or make it with {with}")]
    Missing { what: &'static str, flag: &'static str, with: &'static str },
    #[error("{command}: {message}\nhint: {hint}")]
    Tool { command: &'static str, message: String, hint: &'static str },
    #[error("more than a bundle can hold: {what}\nhint: make two bundles")]
    TooMuch { what: &'static str },
    #[error("after {installed} had been installed, which stay in the library: {error}")]
    Partly { installed: String, error: Box<BundleError> },
    #[error(transparent)]
    Store(Box<ModelError>),
}

impl Hint for BundleError {}

impl From<ModelError> for BundleError {
    fn from(error: ModelError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl BundleError {
    /// Whether this is a verdict on the bundle, and not a mistake or an accident.
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
