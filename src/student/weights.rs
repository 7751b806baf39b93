//! `model.safetensors`: a checkpoint that is mapped into memory, checked, and read tensor by tensor.
//!
//! Checkpoints in the wild leave the `bert.` or `distilbert.` prefix out (MiniLM), call a layer
//! norm's weights `gamma` and `beta` (the first BERTs), store half precision, and carry heads of
//! other tasks. All names are made [`full`] once, when the file is opened. A file is a stranger's:
//! what its header says is held against the file's length ([`header`]) before a byte of it is used.
//!
//! Nothing is copied until it is asked for, and the pages that were read are given back at once, so
//! that a checkpoint beside the network made of it costs no memory.

mod check;
mod half;
mod source;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::{Architecture, Result, StudentError, network::Source};
use crate::model_file;

#[cfg(test)]
pub(super) use source::{Tensors, tensors};
pub(super) use source::{Weights, serialise};

/// Bytes that are converted before their pages are given back.
const CHUNK: usize = 4 << 20;
/// Length of the header's length.
const LENGTH: usize = 8;

/// An opened `model.safetensors`.
pub(super) struct Checkpoint {
    origin: String,
    architecture: Architecture,
    bytes: Bytes,
    /// By full name.
    entries: BTreeMap<String, Entry>,
    sha256: OnceLock<String>,
}

/// One tensor of the file.
struct Entry {
    /// The file's own name for it.
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its place in the file.
    data: Range<usize>,
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Gives the pages of a part that was read back to the system; they are read again where needed.
    fn release(&self, part: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            // SAFETY: the map is of a file and never written to, so a page that is dropped comes
            // back with the same bytes. That it fails costs memory and nothing else.
            let _ = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    part.start,
                    part.len(),
                )
            };
        }
        #[cfg(not(unix))]
        let _ = part;
    }
}

impl Checkpoint {
    /// Maps a file; `origin` names the model in errors. The file must not be written to while it
    /// is open (a student is saved beside the old one and renamed).
    pub(super) fn open(path: &Path, architecture: Architecture, origin: &str) -> Result<Self> {
        let fault = |source| StudentError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(fault)?;
        // SAFETY: the map is read only; who cuts the file short meanwhile ends this process.
        let map = unsafe { Mmap::map(&file) }.map_err(fault)?;
        Self::new(Bytes::Mapped(map), architecture, origin)
    }

    /// A file that is in memory already.
    pub(super) fn owned(bytes: Vec<u8>, architecture: Architecture, origin: &str) -> Result<Self> {
        Self::new(Bytes::Owned(bytes), architecture, origin)
    }

    fn new(bytes: Bytes, architecture: Architecture, origin: &str) -> Result<Self> {
        let fault = |message: String| StudentError::Weights { origin: origin.to_owned(), message };
        model_file::safetensors::check(bytes.all()).map_err(|error| fault(error.to_string()))?;
        let (header, metadata) = SafeTensors::read_metadata(bytes.all()).map_err(|error| {
            fault(format!(
                "{error}\nhint: the file is damaged, or no safetensors file; fetch it again"
            ))
        })?;
        let start = LENGTH + header;
        let mut entries = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let data = place(info.dtype, &info.shape, info.data_offsets, start, bytes.all().len())
                .ok_or_else(|| {
                fault(format!(
                    "{name} {:?} does not lie inside the file\nhint: the file is damaged; fetch it again",
                    info.shape
                ))
            })?;
            let key = full(&name, architecture);
            let entry = Entry { name, dtype: info.dtype, shape: info.shape.clone(), data };
            if let Some(other) = entries.insert(key, entry) {
                let again = full(&other.name, architecture);
                return Err(fault(format!(
                    "{again} is there twice, once as {}\nhint: the file was made from two; fetch it again",
                    other.name
                )));
            }
        }
        let origin = origin.to_owned();
        Ok(Self { origin, architecture, bytes, entries, sha256: OnceLock::new() })
    }

    /// Whether the file has the tensor (full name).
    pub(super) fn holds(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// SHA-256 of the file, hex; worked out when it is first asked for.
    pub(super) fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| {
            let mut hash = Sha256::new();
            let mut at = 0;
            for chunk in self.bytes.all().chunks(CHUNK) {
                hash.update(chunk);
                self.bytes.release(at..at + chunk.len());
                at += chunk.len();
            }
            format!("{:x}", hash.finalize())
        })
    }

    fn fault(&self, message: String) -> StudentError {
        StudentError::Weights { origin: self.origin.clone(), message }
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| {
            self.fault(format!(
                "{name} is missing\nhint: take config.json and model.safetensors from the same model"
            ))
        })
    }

    /// Converts `data`, a part of the file, to as many numbers as `out` has.
    fn convert(&self, entry: &Entry, data: Range<usize>, out: &mut [f32]) -> Result<()> {
        let bytes = &self.bytes.all()[data];
        let width = entry.dtype.bitsize() / 8;
        if bytes.len() != out.len() * width {
            return Err(self.fault(format!(
                "{} has {} numbers here, room is for {}",
                entry.name,
                bytes.len() / width,
                out.len()
            )));
        }
        match entry.dtype {
            Dtype::F32 => half::from_f32(bytes.as_chunks().0, out),
            Dtype::F16 => half::from_f16(bytes.as_chunks().0, out),
            Dtype::BF16 => half::from_bf16(bytes.as_chunks().0, out),
            other => return Err(self.fault(check::unreadable(&entry.name, other))),
        }
        Ok(())
    }
}

impl Source for Checkpoint {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let entry = self.entry(name)?;
        let width = (entry.dtype.bitsize() / 8).max(1);
        if out.len() * width != entry.data.len() {
            return Err(self.fault(format!(
                "{} is {:?}, room is for {} numbers",
                entry.name,
                entry.shape,
                out.len()
            )));
        }
        let mut at = entry.data.start;
        for part in out.chunks_mut(CHUNK / width) {
            let bytes = part.len() * width;
            self.convert(entry, at..at + bytes, part)?;
            self.bytes.release(at..at + bytes);
            at += bytes;
        }
        Ok(())
    }

    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let entry = self.entry(name)?;
        let numbers = entry.shape.iter().skip(1).product::<usize>();
        let rows = entry.shape.first().copied().unwrap_or(0);
        if out.len() != ids.len() * numbers {
            return Err(self.fault(format!(
                "{} rows of {} are {} numbers, room is for {}",
                ids.len(),
                entry.name,
                ids.len() * numbers,
                out.len()
            )));
        }
        let width = numbers * entry.dtype.bitsize() / 8;
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(numbers.max(1))) {
            if id as usize >= rows {
                return Err(self.fault(format!("{} has {rows} rows, row {id} is asked for\nhint: take tokenizer.json and config.json from the same model", entry.name)));
            }
            let start = entry.data.start + id as usize * width;
            self.convert(entry, start..start + width, out)?;
        }
        Ok(())
    }
}

/// Where a tensor lies in the file, if it lies there whole.
fn place(
    dtype: Dtype,
    shape: &[usize],
    (first, last): (usize, usize),
    start: usize,
    file: usize,
) -> Option<Range<usize>> {
    let numbers = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    let bits = numbers.checked_mul(dtype.bitsize())?;
    let whole = bits.is_multiple_of(8) && last.checked_sub(first)? == bits / 8;
    let (first, last) = (start.checked_add(first)?, start.checked_add(last)?);
    (whole && last <= file).then_some(first..last)
}

/// The full Hugging Face name of a tensor that a file calls `name`.
fn full(name: &str, architecture: Architecture) -> String {
    let (prefix, bare): (_, &[&str]) = match architecture {
        Architecture::DistilBert => ("distilbert.", &["embeddings.", "transformer."]),
        Architecture::Bert => ("bert.", &["embeddings.", "encoder.", "pooler."]),
    };
    let lacks = bare.iter().any(|part| name.starts_with(part));
    let name = if lacks { format!("{prefix}{name}") } else { name.to_owned() };
    for norm in ["LayerNorm.", "layer_norm."] {
        for (old, new) in [("gamma", "weight"), ("beta", "bias")] {
            let stem = name.strip_suffix(old).filter(|stem| stem.ends_with(norm));
            if let Some(stem) = stem {
                return format!("{stem}{new}");
            }
        }
    }
    name
}

#[cfg(test)]
mod tests;
