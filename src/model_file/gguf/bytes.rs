//! Reads a file from its start and never past its end, whatever it says about itself.

use std::io::Read;

use crate::model_file::{Fault, Stop};

/// The largest header there may be. The largest known ones, of vocabularies of 256 000 tokens with
/// their merges, have some 20 MB.
pub(super) const MOST_HEADER: u64 = 256 << 20;

/// A reader that knows how much is left.
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

    /// What a header may still take.
    pub(super) fn left(&self) -> u64 {
        self.length.min(MOST_HEADER).saturating_sub(self.at)
    }

    /// Refuses `count` things of at least `least` bytes each where there is no room for them.
    pub(super) fn room(
        &self,
        count: u64,
        least: u64,
        what: impl FnOnce() -> String,
    ) -> Result<(), Fault> {
        if count.checked_mul(least).is_some_and(|needed| needed <= self.left()) {
            return Ok(());
        }
        Err(Fault::new(format!(
            "{} would be {count}, and only {} bytes follow",
            what(),
            self.left()
        )))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.enough(N as u64)?;
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A text: its length and as many bytes, at most `most` of them.
    pub(super) fn text(&mut self, most: u64, what: impl Fn() -> String) -> Result<Vec<u8>, Stop> {
        let length = self.u64()?;
        if length > most {
            let message = format!("{} would be {length} bytes long, {most} at most", what());
            return Err(Fault::new(message).into());
        }
        self.room(length, 1, || format!("the bytes of {}", what()))?;
        // Grows with what comes, not with what was announced.
        let mut bytes = Vec::new();
        let read = self.inner.by_ref().take(length).read_to_end(&mut bytes)?;
        self.at += read as u64;
        if (read as u64) < length {
            return Err(short().into());
        }
        Ok(bytes)
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), Stop> {
        self.enough(count)?;
        let passed = std::io::copy(&mut self.inner.by_ref().take(count), &mut std::io::sink())?;
        self.at += passed;
        if passed < count { Err(short().into()) } else { Ok(()) }
    }

    fn enough(&self, count: u64) -> Result<(), Fault> {
        if count <= self.left() {
            return Ok(());
        }
        Err(if self.length > MOST_HEADER && self.at + count <= self.length {
            Fault::new(format!("its header is longer than {} MiB", MOST_HEADER >> 20))
        } else {
            short()
        })
    }
}

fn short() -> Fault {
    Fault::new("it ends in the middle of its header")
}
