//! Checks the header of a model file before any parser sees it.
//!
//! Model files come from strangers, and the parsers of their formats have had many vulnerabilities:
//! unchecked counts that were allocated, products of dimensions that overflowed, offsets past the
//! end (the list is in [`gguf`]). llama.cpp reads GGUF in C++, so each file first passes this
//! check, in safe Rust that trusts no number in it: counts are compared with the remaining bytes,
//! products are checked, and no size in the file decides an allocation. The tensors themselves are
//! never read. In a file that passes, every tensor lies inside the file and none overlaps another.
//!
//! The format is recognised by the first bytes, never by the file's name.

pub(crate) mod gguf;
pub mod safetensors;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    io::{BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use crate::{hint::Hint, printable::excerpt};
pub(crate) use gguf::Gguf;
pub(crate) use safetensors::Safetensors;

/// Why no parser may read a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {fault}")]
    Unsound { path: PathBuf, fault: Fault },
}

impl Hint for HeaderError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Read { .. } => Some("check that it exists and that you may read it".into()),
            Self::Unsound { fault, .. } => fault.hint(),
        }
    }
}

/// What is wrong with a file, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    pub message: String,
    pub hint: &'static str,
}

impl Hint for Fault {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(self.hint.into())
    }
}

const DAMAGED: &str = "the file is damaged or was tampered with; fetch it again";

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self::hinted(message, DAMAGED)
    }

    fn hinted(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: excerpt(&message.into()), hint }
    }
}

/// The content of a valid header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    Gguf(Box<Gguf>),
    Safetensors(Safetensors),
}

impl Header {
    /// The header of a GGUF, if it is one.
    pub fn gguf(&self) -> Option<&Gguf> {
        match self {
            Self::Gguf(header) => Some(header),
            Self::Safetensors(_) => None,
        }
    }
}

/// Checks the header of the GGUF or safetensors file at `path`, and those of the other parts of a
/// split GGUF, which llama.cpp opens by itself.
///
/// # Errors
/// A file cannot be read, or a header is invalid.
pub(crate) fn check(path: &Path) -> Result<Header, HeaderError> {
    let header = check_one(path)?;
    let Some(split) = header.gguf().and_then(|gguf| gguf.split) else {
        return Ok(header);
    };
    let unsound = |path: &Path, fault| HeaderError::Unsound { path: path.to_owned(), fault };
    let Some(parts) = split.parts(path) else {
        return Err(unsound(
            path,
            Fault::hinted(
                format!("it is part {} of a model of {} files", split.number + 1, split.count),
                "give the first part; keep the original names, which end in -00001-of-0000N.gguf",
            ),
        ));
    };
    for (number, part) in parts.iter().enumerate().skip(1) {
        let found = check_one(part)?.gguf().and_then(|gguf| gguf.split);
        if found
            .is_none_or(|found| usize::from(found.number) != number || found.count != split.count)
        {
            let message = format!("it is not part {} of {}", number + 1, split.count);
            return Err(unsound(part, Fault::new(message)));
        }
    }
    Ok(header)
}

/// Checks the header of this file alone, for a split model that is not complete yet.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_one(path: &Path) -> Result<Header, HeaderError> {
    let read = |source| HeaderError::Read { path: path.to_owned(), source };
    let file = crate::fs::open_regular(path).map_err(read)?;
    let length = file.metadata().map_err(read)?;
    check_reader(BufReader::with_capacity(1 << 16, file), length.len()).map_err(|error| match error
    {
        CheckError::Io(source) => read(source),
        CheckError::Fault(fault) => HeaderError::Unsound { path: path.to_owned(), fault },
    })
}

/// Checks a file in memory, as [`check`] does.
///
/// # Errors
/// The first fault.
pub fn check_bytes(bytes: &[u8]) -> Result<Header, Fault> {
    check_reader(std::io::Cursor::new(bytes), bytes.len() as u64).map_err(|error| match error {
        CheckError::Io(source) => Fault::new(source.to_string()),
        CheckError::Fault(fault) => fault,
    })
}

/// Why a check failed; [`HeaderError`] without the path.
enum CheckError {
    Io(std::io::Error),
    Fault(Fault),
}

impl From<std::io::Error> for CheckError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for CheckError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn check_reader(mut file: impl Read + Seek, length: u64) -> Result<Header, CheckError> {
    let mut start = Vec::with_capacity(16);
    file.by_ref().take(16).read_to_end(&mut start)?;
    file.rewind()?;
    if start.starts_with(gguf::MAGIC) {
        return Ok(Header::Gguf(Box::new(gguf::read(file, length)?)));
    }
    if start.get(8) == Some(&b'{') {
        return Ok(Header::Safetensors(safetensors::read(file, length)?));
    }
    Err(not_a_model(&start).unwrap_or_else(|| unknown_format(&start)).into())
}

/// What a file is that begins with `start`, if it was left in place of any file of a model:
/// nothing, a git-lfs pointer, a web page.
pub(crate) fn not_a_model(start: &[u8]) -> Option<Fault> {
    if start.is_empty() {
        Some(Fault::new("it is empty"))
    } else if start.starts_with(b"version https:/") {
        let hint = "fetch it with `git lfs pull`";
        Some(Fault::hinted("it is a git-lfs pointer, not the model", hint))
    } else if start.trim_ascii_start().starts_with(b"<") {
        let hint = "fetch the model itself, with the link to the raw file";
        Some(Fault::hinted("it is a web page", hint))
    } else {
        None
    }
}

/// Names the files that people most often have in place of weights.
fn unknown_format(start: &[u8]) -> Fault {
    let is = |mark: &[u8]| start.starts_with(mark);
    if is(b"PK\x03\x04") || is(b"\x80\x02") {
        Fault::hinted(
            "it is a PyTorch pickle, which can run arbitrary code when it is opened",
            "use the model's safetensors or GGUF file",
        )
    } else if [&b"ggml"[..], b"lmgg", b"fmgg", b"tjgg", b"algg"].iter().any(|mark| is(mark)) {
        Fault::hinted("it has a format from before GGUF", "use the model's GGUF file")
    } else {
        Fault::new("it is neither GGUF nor safetensors")
    }
}
