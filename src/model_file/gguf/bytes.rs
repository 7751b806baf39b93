//! Reads a header from the start of a file and never past its end.

use std::io::Read;

use crate::model_file::{CheckError, Fault};

/// The largest header that is accepted. The largest known ones, of vocabularies of 256 000 tokens
/// with their merges, have about 20 MB.
pub(super) const MAX_HEADER_BYTES: u64 = 256 << 20;

/// A reader that knows how many bytes are left.
pub(super) struct Bytes<R> {
    inner: R,
    /// Bytes read so far.
    at: u64,
    /// Length of the file.
    length: u64,
}

impl<R: Read> Bytes<R> {
    pub(super) fn new(inner: R, length: u64) -> Self {
        Self { inner, at: 0, length }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that the header may still take.
    pub(super) fn left(&self) -> u64 {
        self.length.min(MAX_HEADER_BYTES).saturating_sub(self.at)
    }

    /// Checks that `count` items of at least `least` bytes each fit into the bytes that are left.
    pub(super) fn check_count(
        &self,
        count: u64,
        least: u64,
        what: impl FnOnce() -> String,
    ) -> Result<(), Fault> {
        if count.checked_mul(least).is_some_and(|needed| needed <= self.left()) {
            return Ok(());
        }
        Err(Fault::new(format!("{} is {count}, but only {} bytes follow", what(), self.left())))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckError> {
        self.check_left(N as u64)?;
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, CheckError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, CheckError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A string: its length, then at most `most` bytes.
    pub(super) fn string(
        &mut self,
        most: u64,
        what: impl Fn() -> String,
    ) -> Result<Vec<u8>, CheckError> {
        let length = self.u64()?;
        if length > most {
            let message = format!("{} is {length} bytes long; at most {most} are allowed", what());
            return Err(Fault::new(message).into());
        }
        self.check_count(length, 1, || format!("the length of {}", what()))?;
        // Grows with the bytes that arrive, not by the announced length.
        let mut bytes = Vec::new();
        let read = self.inner.by_ref().take(length).read_to_end(&mut bytes)?;
        self.at += read as u64;
        if (read as u64) < length {
            return Err(short().into());
        }
        Ok(bytes)
    }

    /// Skips bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), CheckError> {
        self.check_left(count)?;
        let skipped = std::io::copy(&mut self.inner.by_ref().take(count), &mut std::io::sink())?;
        self.at += skipped;
        if skipped < count { Err(short().into()) } else { Ok(()) }
    }

    fn check_left(&self, count: u64) -> Result<(), Fault> {
        if count <= self.left() {
            return Ok(());
        }
        Err(if self.length > MAX_HEADER_BYTES && self.at + count <= self.length {
            Fault::new(format!("its header is longer than {} MiB", MAX_HEADER_BYTES >> 20))
        } else {
            short()
        })
    }
}

fn short() -> Fault {
    Fault::new("it ends in the middle of its header")
}
