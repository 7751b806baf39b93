//! The index: what is in a bundle, where, and what each part hashes to; and the end of the file that
//! carries it.
//!
//! The signature covers the bytes of the index as they stand in the file, so that they can be checked
//! by hand (`openssl pkeyutl -verify -rawin`) and nothing has to be parsed before. The index begins
//! with the name of the format, so a signature over it means nothing elsewhere.

use std::{collections::HashSet, io};

use ed25519_dalek::{Signature, Signer, SigningKey};
use serde::{Deserialize, Serialize};

use super::{BundleError, LONGEST_INDEX, PIECE, paths};
use crate::models::Role;

/// The first field of each index.
pub(super) const FORMAT: &str = "promptmix-bundle-1";
/// The last eight bytes of each bundle.
pub(super) const MARK: &[u8; 8] = b"PMIXBND1";
/// Bytes after the index: public key, signature, length of the index, mark.
pub(super) const TAIL: u64 = 32 + 64 + 8 + 8;
/// Magic number of the skippable frame, and the length of its header.
const SKIPPABLE: u32 = 0x184D_2A5B;
pub(super) const FRAME_HEAD: u64 = 8;
/// Bytes of a tar's block, and of its end.
const BLOCK: u64 = 512;
pub(super) const TAR_END: u64 = 2 * BLOCK;

/// What a member is.
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

/// One zstd frame: a piece of the tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    /// Bytes of the file: from, and how many.
    pub offset: u64,
    pub length: u64,
    /// Bytes of the tar in it.
    pub raw: u64,
    /// Of the compressed bytes, hex.
    pub sha256: String,
}

/// A model, as `promptmix models list` will show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelEntry {
    pub role: Role,
    pub name: String,
    pub licence: String,
    /// Name in the model's folder, path of the member.
    pub files: Vec<(String, String)>,
}

/// All that is signed.
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

    /// The blocks of the tar before the content: the only ones that say what the index says.
    ///
    /// # Errors
    /// The tar format has no room for the name.
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

    /// Bytes in the tar, header and padding included; none if there are more than can be counted.
    fn span(&self) -> Option<u64> {
        // A name over 100 bytes stands in an entry of its own before: header, name with its NUL.
        let name = self.path.len() as u64;
        let long = if name > 100 { BLOCK + (name + 1).div_ceil(BLOCK) * BLOCK } else { 0 };
        (long + BLOCK).checked_add(self.size)?.checked_add(self.padding())
    }
}

impl Index {
    /// The end of the file: a skippable frame with index, key and signature.
    ///
    /// # Errors
    /// The index is longer than a reader would take.
    pub(super) fn signed(&self, key: &SigningKey) -> Result<Vec<u8>, BundleError> {
        let json = serde_json::to_vec(self).expect("an index is JSON");
        if json.len() as u64 > LONGEST_INDEX {
            return Err(BundleError::TooMuch { what: "too many files" });
        }
        Ok(footer(&json, key))
    }

    /// Reads an index whose signature was right, and checks that it makes sense for a file whose
    /// frames end at `end`.
    ///
    /// # Errors
    /// [`BundleError::Hostile`] with the first thing that does not fit.
    pub(super) fn parse(json: &[u8], end: u64) -> Result<Self, BundleError> {
        let hostile = |what: String| BundleError::Hostile { what };
        let index: Self = serde_json::from_slice(json)
            .map_err(|error| error.to_string().chars().take(200).collect::<String>())
            .map_err(|error| {
                hostile(format!("its index is not of this format: {}", error.escape_debug()))
            })?;
        if index.format != FORMAT {
            return Err(hostile(format!("its format is {:?}, not {FORMAT:?}", index.format)));
        }
        if serde_json::to_vec(&index).ok().as_deref() != Some(json) {
            return Err(hostile("its index is not written the one way that there is".to_owned()));
        }
        index.check_words().map_err(hostile)?;
        index.check_members().map_err(hostile)?;
        index.check_segments(end).map_err(hostile)?;
        index.check_models().map_err(hostile)?;
        Ok(index)
    }

    /// What is shown to people can neither steer a terminal nor fill it.
    fn check_words(&self) -> Result<(), String> {
        let said = [("maker", &self.created_by), ("machine", &self.built_for)];
        let licences = self.models.iter().map(|model| ("licence", &model.licence));
        for (what, text) in said.into_iter().chain(licences) {
            paths::check_shown(text).map_err(|why| format!("its {what} cannot be: {why}"))?;
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

    /// The segments lie end to end from the first byte to the footer, and hold just the tar.
    fn check_segments(&self, end: u64) -> Result<(), String> {
        let too_large = || "its sizes are larger than can be counted".to_owned();
        let (mut offset, mut raw) = (0u64, 0u64);
        for (number, segment) in self.segments.iter().enumerate() {
            if segment.offset != offset {
                return Err(format!(
                    "segment {number} begins at byte {}, where {offset} is due",
                    segment.offset
                ));
            }
            if segment.raw == 0 || segment.raw > PIECE as u64 {
                return Err(format!("segment {number} claims {} bytes", segment.raw));
            }
            if segment.length == 0 || segment.length > longest_segment() {
                return Err(format!("segment {number} has {} bytes", segment.length));
            }
            if !is_sha256(&segment.sha256) {
                return Err(format!("segment {number} has no sha256"));
            }
            offset = offset.checked_add(segment.length).ok_or_else(too_large)?;
            raw = raw.checked_add(segment.raw).ok_or_else(too_large)?;
        }
        if offset != end {
            return Err(format!("its segments end at byte {offset}, where {end} is due"));
        }
        let tar = self.tar_length().ok_or_else(too_large)?;
        if raw != tar {
            return Err(format!("its segments hold {raw} bytes, its members {tar}"));
        }
        // Weights and texts stay far below this; a bomb does not.
        if raw > end.saturating_mul(1000).saturating_add(64 << 20) {
            return Err(format!("{raw} bytes in {end} would be a bomb"));
        }
        Ok(())
    }

    fn check_models(&self) -> Result<(), String> {
        // Each member is a file of one model, once.
        let models = self.members.iter().filter(|member| member.kind == Kind::Model);
        let mut free: HashSet<&str> = models.map(|member| member.path.as_str()).collect();
        let mut names = HashSet::new();
        for model in &self.models {
            paths::check_model(&model.name)
                .map_err(|why| format!("the model {:?}: {why}", model.name))?;
            if !names.insert((model.role.to_string(), model.name.to_lowercase())) {
                return Err(format!("the model {:?} is there twice", model.name));
            }
            for (name, path) in &model.files {
                let what = |why: &str| format!("the file {name:?} of {}: {why}", model.name);
                paths::check_model(name).map_err(what)?;
                if !free.remove(path.as_str()) {
                    return Err(what("no member of the bundle, or that of another file"));
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

    /// Bytes of the whole tar.
    pub(super) fn tar_length(&self) -> Option<u64> {
        self.members.iter().try_fold(TAR_END, |sum, member| sum.checked_add(member.span()?))
    }

    /// Which members the segment `number` holds parts of, and which bytes of them: for people.
    pub(super) fn place(&self, number: usize) -> String {
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

/// Most bytes that zstd makes of one piece.
pub(super) fn longest_segment() -> u64 {
    zstd::zstd_safe::compress_bound(PIECE) as u64
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A skippable frame around the signed `json`.
pub(super) fn footer(json: &[u8], key: &SigningKey) -> Vec<u8> {
    let signature: Signature = key.sign(json);
    let mut bytes = frame_head(json.len() as u64).to_vec();
    bytes.extend_from_slice(json);
    bytes.extend_from_slice(key.verifying_key().as_bytes());
    bytes.extend_from_slice(&signature.to_bytes());
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(MARK);
    bytes
}

/// The header of the skippable frame around an index of `length` bytes, at most [`LONGEST_INDEX`].
pub(super) fn frame_head(length: u64) -> [u8; 8] {
    let [a, b, c, d] = SKIPPABLE.to_le_bytes();
    let [e, f, g, h, ..] = (length + TAIL).to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_spans_what_its_header_and_content_take() {
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
    fn sizes_beyond_eight_gibibytes_have_a_header() {
        let sha256 = String::new();
        let (path, kind, mode) = ("x".to_owned(), Kind::Model, "0644".to_owned());
        let member = Member { path, kind, mode, size: 40 << 30, sha256 };
        let header = member.header().unwrap();
        assert_eq!(tar::Header::from_byte_slice(&header).size().unwrap(), 40 << 30);
    }
}
