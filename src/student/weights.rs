//! `model.safetensors`: a checkpoint that is memory-mapped, checked, and read tensor by tensor.
//!
//! Real checkpoints may omit the `bert.` or `distilbert.` prefix (MiniLM), call a layer norm's
//! weights `gamma` and `beta` (the first BERTs), carry the prefix of a wrapper (`module.`), store
//! half precision, and include heads of other tasks. Names are normalised ([`full_name`]) when the
//! file is opened. The file is untrusted: its header is checked against the file's length before
//! any tensor is read.
//!
//! Tensors are copied on demand and their pages released at once, so that a checkpoint takes no
//! memory beside the network built from it.

mod check;
mod finite;
mod half;
mod source;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::{
    Architecture, Result, StudentError,
    error::{Fault, TAKE_CONFIG_AND_WEIGHTS, TAKE_TOKENIZER_AND_CONFIG},
    folder,
    network::Source,
};
use crate::{
    hint::one_line,
    model_file::{self, Header},
};

#[cfg(test)]
pub(super) use source::{Tensors, tensors};
pub(super) use source::{Weights, serialise, serialise_with};

/// Bytes that are converted before their pages are released.
const CHUNK: usize = 4 << 20;
/// Bytes of the field that holds the header's length.
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
    /// Its name in the file.
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its byte range in the file.
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

    /// Releases the pages of a part; the system reads them again when they are needed.
    fn release(&self, part: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            // SAFETY: the map is read-only and backed by a file, so a released page comes back with
            // the same bytes. If the call fails, only memory is lost.
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
    /// Maps a file; `origin` names the model in errors. The file must not be written to while it is
    /// open (saving a student replaces the folder and does not write to old files).
    pub(super) fn open(path: &Path, architecture: Architecture, origin: &str) -> Result<Self> {
        let fault = |source| StudentError::Read { path: path.to_owned(), source };
        let file = folder::open(path)?;
        // SAFETY: the map is read-only. A process that truncates the file meanwhile kills this one.
        let map = unsafe { Mmap::map(&file) }.map_err(fault)?;
        Self::new(Bytes::Mapped(map), architecture, origin)
    }

    /// A file in memory.
    pub(super) fn owned(bytes: Vec<u8>, architecture: Architecture, origin: &str) -> Result<Self> {
        Self::new(Bytes::Owned(bytes), architecture, origin)
    }

    fn new(bytes: Bytes, architecture: Architecture, origin: &str) -> Result<Self> {
        let fault = |fault: Fault| StudentError::Weights { origin: origin.to_owned(), fault };
        match model_file::check_bytes(bytes.all()) {
            Ok(Header::Safetensors(_)) => {}
            Ok(Header::Gguf(_)) => {
                return Err(fault(Fault::with_hint(
                    "it is a GGUF file, the format of teachers",
                    "take the model.safetensors of a DistilBERT or BERT",
                )));
            }
            Err(error) => return Err(fault(Fault::with_hint(error.message, error.hint))),
        }
        let (header, metadata) = SafeTensors::read_metadata(bytes.all()).map_err(|error| {
            fault(Fault::with_hint(
                one_line(&error),
                "the file is damaged, or not a safetensors file; download it again",
            ))
        })?;
        let start = LENGTH + header;
        let mut entries = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let data =
                byte_range(info.dtype, &info.shape, info.data_offsets, start, bytes.all().len())
                    .ok_or_else(|| {
                        fault(Fault::with_hint(
                            format!("{name} {:?} does not lie inside the file", info.shape),
                            "the file is damaged; download it again",
                        ))
                    })?;
            let key = full_name(&name, architecture);
            let entry = Entry { name, dtype: info.dtype, shape: info.shape.clone(), data };
            if let Some(other) = entries.insert(key, entry) {
                let duplicate = full_name(&other.name, architecture);
                return Err(fault(Fault::with_hint(
                    format!("{duplicate} is there twice, once as {}", other.name),
                    "the file mixes two naming schemes; download it again",
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

    /// The classes of the file's classifier, if it has one.
    pub(super) fn classes(&self) -> Option<usize> {
        self.entries.get("classifier.weight").and_then(|entry| entry.shape.first().copied())
    }

    /// SHA-256 of the file, hex; computed at the first call.
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

    fn fault(&self, fault: Fault) -> StudentError {
        StudentError::Weights { origin: self.origin.clone(), fault }
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| {
            self.fault(Fault::with_hint(format!("{name} is missing"), TAKE_CONFIG_AND_WEIGHTS))
        })
    }

    /// Converts `data`, a byte range of the file, to the numbers of `out`.
    fn convert(&self, entry: &Entry, data: Range<usize>, out: &mut [f32]) -> Result<()> {
        let bytes = &self.bytes.all()[data];
        let width = entry.dtype.bitsize() / 8;
        if bytes.len() != out.len() * width {
            return Err(self.fault(Fault::new(format!(
                "{} has {} numbers here, the buffer {}",
                entry.name,
                bytes.len() / width,
                out.len()
            ))));
        }
        match entry.dtype {
            Dtype::F32 => half::from_f32(bytes.as_chunks().0, out),
            Dtype::F16 => half::from_f16(bytes.as_chunks().0, out),
            Dtype::BF16 => half::from_bf16(bytes.as_chunks().0, out),
            other => return Err(self.fault(Fault::new(check::unreadable(&entry.name, other)))),
        }
        Ok(())
    }
}

impl Source for Checkpoint {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let entry = self.entry(name)?;
        let width = (entry.dtype.bitsize() / 8).max(1);
        if out.len() * width != entry.data.len() {
            return Err(self.fault(Fault::new(format!(
                "{} is {:?}, the buffer has {} numbers",
                entry.name,
                entry.shape,
                out.len()
            ))));
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
            return Err(self.fault(Fault::new(format!(
                "{} rows of {} are {} numbers, the buffer has {}",
                ids.len(),
                entry.name,
                ids.len() * numbers,
                out.len()
            ))));
        }
        let width = numbers * entry.dtype.bitsize() / 8;
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(numbers.max(1))) {
            if id as usize >= rows {
                return Err(self.fault(Fault::with_hint(
                    format!("{} has {rows} rows, row {id} is asked for", entry.name),
                    TAKE_TOKENIZER_AND_CONFIG,
                )));
            }
            let start = entry.data.start + id as usize * width;
            self.convert(entry, start..start + width, out)?;
        }
        Ok(())
    }
}

/// The byte range of a tensor, if the file contains all of it.
fn byte_range(
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

/// What programs put before the names when they save a model inside another module: PyTorch's
/// `DataParallel` and `compile`, Lightning and home-made classes, sentence-transformers.
const WRAPPERS: [&str; 5] = ["module.", "_orig_mod.", "model.", "0.auto_model.", "auto_model."];

/// The full Hugging Face name of the tensor `name` of a file.
fn full_name(mut name: &str, architecture: Architecture) -> String {
    while let Some(inner) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = inner;
    }
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
