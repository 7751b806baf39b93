//! Writes the segments of a bundle and collects their index.

use std::io::{self, Read, Write};

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::{
    BundleError, SEGMENT_BYTES,
    index::{FORMAT, Index, Kind, Member, ModelEntry, Segment, TAR_END},
};

/// A member of this size or more has segments of its own, so that a changed byte can be located.
const LARGE: u64 = 256 << 10;
/// Smaller members share a segment until it holds this many bytes.
const PACK: usize = 1 << 20;
/// zstd levels: weights hardly compress, texts do.
const LEVEL_MODEL: i32 = 1;
const LEVEL_OTHER: i32 = 9;

/// A bundle that is being written.
pub(super) struct Writer<W> {
    out: W,
    /// Bytes of the tar that are not compressed yet.
    pending: Vec<u8>,
    written: u64,
    members: Vec<Member>,
    segments: Vec<Segment>,
}

/// Why a member could not be added.
#[derive(Debug)]
pub(super) enum AddError {
    Read(io::Error),
    Write(io::Error),
    /// The reader returned more or fewer bytes than expected.
    Length,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, pending: Vec::new(), written: 0, members: Vec::new(), segments: Vec::new() }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Adds a member of `size` bytes in constant memory; `progress` is called with the size of each
    /// chunk.
    ///
    /// # Errors
    /// [`AddError`].
    pub(super) fn add(
        &mut self,
        (path, kind, executable): (&str, Kind, bool),
        size: u64,
        mut from: impl Read,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), AddError> {
        let large = size >= LARGE;
        let level = if kind == Kind::Model { LEVEL_MODEL } else { LEVEL_OTHER };
        if large || self.pending.len() >= PACK {
            self.flush(LEVEL_OTHER)?;
        }
        let mode = if executable { "0755" } else { "0644" };
        let (path, mode) = (path.to_owned(), mode.to_owned());
        let mut member = Member { path, kind, mode, size, sha256: String::new() };
        let header = member.header().map_err(AddError::Write)?;
        self.append(&header, level)?;
        let mut hash = Sha256::new();
        let mut left = size;
        let mut chunk = vec![0; 256 << 10];
        loop {
            let count = match from.read(&mut chunk) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(AddError::Read(error)),
            };
            if count == 0 {
                break;
            }
            left = left.checked_sub(count as u64).ok_or(AddError::Length)?;
            hash.update(&chunk[..count]);
            self.append(&chunk[..count], level)?;
            progress(count as u64);
        }
        if left > 0 {
            return Err(AddError::Length);
        }
        self.append(&vec![0; member.padding() as usize], level)?;
        if large {
            self.flush(level)?;
        }
        member.sha256 = format!("{:x}", hash.finalize());
        self.members.push(member);
        Ok(())
    }

    /// Ends the tar and writes the signed index. Returns the output, the index and the file's
    /// length.
    ///
    /// # Errors
    /// As for [`Writer::add`]; also if there are too many members.
    pub(super) fn finish(
        mut self,
        models: Vec<ModelEntry>,
        built_for: String,
        key: &SigningKey,
    ) -> Result<(W, Index, u64), FinishError> {
        let end = [0; TAR_END as usize];
        self.append(&end, LEVEL_OTHER).map_err(FinishError::Add)?;
        self.flush(LEVEL_OTHER).map_err(FinishError::Add)?;
        let index = Index {
            format: FORMAT.to_owned(),
            created_by: concat!("promptmix ", env!("CARGO_PKG_VERSION")).to_owned(),
            built_for,
            models,
            members: self.members,
            segments: self.segments,
        };
        let footer = index.signed(key).map_err(FinishError::Index)?;
        let written = self.out.write_all(&footer).and_then(|()| self.out.flush());
        written.map_err(|error| FinishError::Add(AddError::Write(error)))?;
        Ok((self.out, index, self.written + footer.len() as u64))
    }

    fn append(&mut self, mut bytes: &[u8], level: i32) -> Result<(), AddError> {
        while !bytes.is_empty() {
            let count = bytes.len().min(SEGMENT_BYTES - self.pending.len());
            self.pending.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.pending.len() == SEGMENT_BYTES {
                self.flush(level)?;
            }
        }
        Ok(())
    }

    /// Compresses the pending bytes into one segment.
    fn flush(&mut self, level: i32) -> Result<(), AddError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let frame = frame(&self.pending, level).map_err(AddError::Write)?;
        self.out.write_all(&frame).map_err(AddError::Write)?;
        let (offset, length) = (self.written, frame.len() as u64);
        let raw = self.pending.len() as u64;
        let sha256 = crate::hash::of_bytes(&frame);
        self.segments.push(Segment { offset, length, raw, sha256 });
        self.written += length;
        self.pending.clear();
        Ok(())
    }
}

/// Why a bundle could not be finished.
#[derive(Debug)]
pub(super) enum FinishError {
    Add(AddError),
    Index(BundleError),
}

/// One zstd frame with `bytes`, their number and a checksum.
pub(super) fn frame(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(level)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
    compressor.compress(bytes)
}

/// A bundle of any bytes as `frames` and `index`, signed with a known key: unsigned bytes would not
/// get past the signature check.
#[cfg(test)]
pub(super) fn sealed(frames: &[u8], index: &[u8]) -> Vec<u8> {
    [frames, &super::index::footer(index, &SigningKey::from_bytes(&[7; 32]))].concat()
}
