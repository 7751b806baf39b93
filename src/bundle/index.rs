//! The index: the members of a bundle, their positions and hashes; and the end of the file, which
//! contains it.
//!
//! The signature covers the bytes of the index in the file, so `openssl pkeyutl -verify -rawin` can
//! verify it too and nothing has to be parsed first. The index begins with the name of the format,
//! so its signature is useless in another context.

use std::{collections::HashSet, io};

use ed25519_dalek::{Signature, Signer, SigningKey};
use serde::{Deserialize, Serialize};

use super::{BundleError, MAX_INDEX_BYTES, SEGMENT_BYTES, paths};
use crate::{models::Role, printable::excerpt};

/// The first field of each index.
pub(super) const FORMAT: &str = "promptmix-bundle-1";
/// The last eight bytes of every bundle.
pub(super) const MAGIC: &[u8; 8] = b"PMIXBND1";
/// Bytes after the index: public key, signature, length of the index, magic number.
pub(super) const TAIL_BYTES: u64 = 32 + 64 + 8 + 8;
/// Magic number of the skippable frame.
const SKIPPABLE: u32 = 0x184D_2A5B;
/// Bytes of the header of a skippable frame.
pub(super) const FRAME_HEADER_BYTES: u64 = 8;
/// Bytes of a tar block.
const BLOCK: u64 = 512;
/// Bytes of the end of a tar.
pub(super) const TAR_END: u64 = 2 * BLOCK;

/// The kind of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Note,
    Program,
    Prompt,
    Model,
    Source,
    Sbom,
}

/// One file of the tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub path: String,
    pub kind: Kind,
    /// `0644` or `0755`.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// Of the content, hex.
    pub sha256: String,
}

/// One zstd frame, which holds a part of the tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub length: u64,
    /// Bytes of the tar that it holds.
    pub raw: u64,
    /// Of the compressed bytes, hex.
    pub sha256: String,
}

/// A model, with the data that `promptmix models list` will show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelEntry {
    pub role: Role,
    pub name: String,
    pub licence: String,
    /// Name in the model's folder, and path of the member.
    pub files: Vec<(String, String)>,
}

/// The signed part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub format: String,
    pub created_by: String,
    pub built_for: String,
    pub models: Vec<ModelEntry>,
    /// In the order of the tar.
    pub members: Vec<Member>,
    /// In the order of the file.
    pub segments: Vec<Segment>,
}

impl Member {
    pub(super) fn is_executable(&self) -> bool {
        self.mode == "0755"
    }

    /// The tar blocks before the content. The index allows no others.
    ///
    /// # Errors
    /// The tar format cannot represent the name.
    pub(super) fn header(&self) -> io::Result<Vec<u8>> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(if self.is_executable() { 0o755 } else { 0o644 });
        header.set_size(self.size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header, &self.path, io::empty())?;
        Ok(tar.get_ref().clone())
    }

    /// Zero bytes after the content.
    pub(super) fn padding(&self) -> u64 {
        (BLOCK - self.size % BLOCK) % BLOCK
    }

    /// Bytes in the tar, including header and padding; `None` on overflow.
    fn span(&self) -> Option<u64> {
        // A name over 100 bytes has an entry of its own before: header, then the name and a NUL.
        let name = self.path.len() as u64;
        let long = if name > 100 { BLOCK + (name + 1).div_ceil(BLOCK) * BLOCK } else { 0 };
        (long + BLOCK).checked_add(self.size)?.checked_add(self.padding())
    }
}

impl Index {
    /// The end of the file: a skippable frame with index, key and signature.
    ///
    /// # Errors
    /// The index is longer than readers accept.
    pub(super) fn signed(&self, key: &SigningKey) -> Result<Vec<u8>, BundleError> {
        let json = serde_json::to_vec(self).expect("an index is JSON");
        if json.len() as u64 > MAX_INDEX_BYTES {
            return Err(BundleError::TooLarge { what: "it has too many files" });
        }
        Ok(footer(&json, key))
    }

    /// Parses an authentic index and checks that it is consistent and matches a file whose segments
    /// end at byte `end`.
    ///
    /// # Errors
    /// [`BundleError::Hostile`] with the first contradiction.
    pub(super) fn parse(json: &[u8], end: u64) -> Result<Self, BundleError> {
        let hostile = |what: String| BundleError::Hostile { what };
        let index: Self = serde_json::from_slice(json).map_err(|error| {
            let error = excerpt(&error.to_string());
            hostile(format!("its index is not of this format: {error}"))
        })?;
        if index.format != FORMAT {
            return Err(hostile(format!("its format is {:?}, not {FORMAT:?}", index.format)));
        }
        if serde_json::to_vec(&index).ok().as_deref() != Some(json) {
            return Err(hostile("its index is not in canonical form".to_owned()));
        }
        index.check_shown_texts().map_err(hostile)?;
        index.check_members().map_err(hostile)?;
        index.check_segments(end).map_err(hostile)?;
        index.check_models().map_err(hostile)?;
        Ok(index)
    }

    /// Checks the texts that are shown to users: no control characters, limited length.
    fn check_shown_texts(&self) -> Result<(), String> {
        let texts = [("maker", &self.created_by), ("machine", &self.built_for)];
        let licences = self.models.iter().map(|model| ("licence", &model.licence));
        for (what, text) in texts.into_iter().chain(licences) {
            paths::check_shown(text).map_err(|why| format!("its {what} is not allowed: {why}"))?;
        }
        Ok(())
    }

    fn check_members(&self) -> Result<(), String> {
        paths::check_all(self.members.iter().map(|member| member.path.as_str()))
            .map_err(|(path, why)| format!("the name {path:?}: {why}"))?;
        for member in &self.members {
            if !matches!(member.mode.as_str(), "0644" | "0755") {
                return Err(format!("{} has the mode {:?}", member.path, member.mode));
            }
            if !is_sha256(&member.sha256) {
                return Err(format!("{} has no sha256", member.path));
            }
        }
        let programs = self.members.iter().filter(|member| member.kind == Kind::Program);
        if programs.count() > 1 { Err("it has two programs".to_owned()) } else { Ok(()) }
    }

    /// Checks that the segments fill the file from the first byte to the footer and hold exactly
    /// the tar.
    fn check_segments(&self, end: u64) -> Result<(), String> {
        let too_large = || "its sizes are larger than can be counted".to_owned();
        let (mut offset, mut raw) = (0u64, 0u64);
        for (number, segment) in self.segments.iter().enumerate() {
            if segment.offset != offset {
                return Err(format!(
                    "segment {number} begins at byte {}, expected {offset}",
                    segment.offset
                ));
            }
            if segment.raw == 0 || segment.raw > SEGMENT_BYTES as u64 {
                return Err(format!("segment {number} claims {} bytes", segment.raw));
            }
            if segment.length == 0 || segment.length > max_compressed_bytes() {
                return Err(format!("segment {number} has {} bytes", segment.length));
            }
            if !is_sha256(&segment.sha256) {
                return Err(format!("segment {number} has no sha256"));
            }
            offset = offset.checked_add(segment.length).ok_or_else(too_large)?;
            raw = raw.checked_add(segment.raw).ok_or_else(too_large)?;
        }
        if offset != end {
            return Err(format!("its segments end at byte {offset}, expected {end}"));
        }
        let tar = self.tar_length().ok_or_else(too_large)?;
        if raw != tar {
            return Err(format!("its segments hold {raw} bytes, but its members need {tar}"));
        }
        // Weights and texts compress far less than this.
        if raw > end.saturating_mul(1000).saturating_add(64 << 20) {
            return Err(format!("{raw} bytes compressed to {end} are a decompression bomb"));
        }
        Ok(())
    }

    fn check_models(&self) -> Result<(), String> {
        // Every model file belongs to exactly one model.
        let models = self.members.iter().filter(|member| member.kind == Kind::Model);
        let mut unused: HashSet<&str> = models.map(|member| member.path.as_str()).collect();
        let mut names = HashSet::new();
        for model in &self.models {
            paths::check_model(&model.name)
                .map_err(|why| format!("the model {:?}: {why}", model.name))?;
            if !names.insert((model.role.to_string(), model.name.to_lowercase())) {
                return Err(format!("the model {:?} occurs twice", model.name));
            }
            for (name, path) in &model.files {
                let what = |why: &str| format!("the file {name:?} of {}: {why}", model.name);
                paths::check_model(name).map_err(what)?;
                if !unused.remove(path.as_str()) {
                    return Err(what(
                        "it is not a member of the bundle, or belongs to another file",
                    ));
                }
            }
            paths::check_all(model.files.iter().map(|(name, _)| name.as_str()))
                .map_err(|(name, why)| format!("the file {name:?} of {}: {why}", model.name))?;
            if model.files.is_empty() {
                return Err(format!("the model {} has no files", model.name));
            }
        }
        Ok(())
    }

    /// Bytes of the whole tar; `None` on overflow.
    pub(super) fn tar_length(&self) -> Option<u64> {
        self.members.iter().try_fold(TAR_END, |sum, member| sum.checked_add(member.span()?))
    }

    /// Describes for an error message which members, and which of their bytes, a segment holds.
    pub(super) fn describe_segment(&self, number: usize) -> String {
        let segment = &self.segments[number];
        let from: u64 = self.segments[..number].iter().map(|segment| segment.raw).sum();
        let to = from + segment.raw;
        let bytes = format!(
            "bytes {} to {} of the bundle",
            segment.offset,
            segment.offset + segment.length - 1
        );
        let mut start = 0;
        let mut touched: Vec<(&Member, u64)> = Vec::new();
        for member in &self.members {
            let span = member.span().unwrap_or(0);
            if start < to && start + span > from {
                touched.push((member, start + span - member.padding() - member.size));
            }
            start += span;
        }
        match touched.as_slice() {
            [] => format!("  the end mark of the archive ({bytes})"),
            [(member, content)] => {
                let low = from.saturating_sub(*content);
                let high = to.saturating_sub(*content).min(member.size);
                format!("  {}, between byte {low} and {high} of it ({bytes})", member.path)
            }
            [(first, _), .., (last, _)] => {
                let count = touched.len();
                format!("  {} … {}, one of {count} files ({bytes})", first.path, last.path)
            }
        }
    }
}

/// The maximum compressed length of a segment.
fn max_compressed_bytes() -> u64 {
    zstd::zstd_safe::compress_bound(SEGMENT_BYTES) as u64
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A skippable frame with the signed `json`.
pub(super) fn footer(json: &[u8], key: &SigningKey) -> Vec<u8> {
    let signature: Signature = key.sign(json);
    let mut bytes = frame_header(json.len() as u64).to_vec();
    bytes.extend_from_slice(json);
    bytes.extend_from_slice(key.verifying_key().as_bytes());
    bytes.extend_from_slice(&signature.to_bytes());
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    bytes
}

/// The header of the skippable frame around an index of `length` bytes, at most
/// [`MAX_INDEX_BYTES`].
pub(super) fn frame_header(length: u64) -> [u8; 8] {
    let [a, b, c, d] = SKIPPABLE.to_le_bytes();
    let [e, f, g, h, ..] = (length + TAIL_BYTES).to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_of_a_member_is_that_of_its_header_and_content() {
        for (length, size) in [(1, 0), (99, 1), (100, 511), (101, 512), (254, 513), (400, 7)] {
            let path = vec!["a".repeat(99); 4].join("/")[..length.min(399)]
                .trim_end_matches('/')
                .to_owned();
            let (kind, mode, sha256) = (Kind::Note, "0644".to_owned(), String::new());
            let member = Member { path, kind, mode, size, sha256 };
            let header = member.header().unwrap().len() as u64;
            assert_eq!(member.span(), Some(header + size + member.padding()), "{length}");
        }
    }

    #[test]
    fn members_over_eight_gibibytes_have_a_header() {
        let sha256 = String::new();
        let (path, kind, mode) = ("x".to_owned(), Kind::Model, "0644".to_owned());
        let member = Member { path, kind, mode, size: 40 << 30, sha256 };
        let header = member.header().unwrap();
        assert_eq!(tar::Header::from_byte_slice(&header).size().unwrap(), 40 << 30);
    }
}
