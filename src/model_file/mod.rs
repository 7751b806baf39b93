//! Holds the header of a model file against the file before any parser sees it.
//!
//! A model is code's worth of numbers in a container that a stranger wrote, and the parsers of such
//! containers have a history: counts that were allocated unseen, products of dimensions that
//! wrapped, offsets past the end (the list is in [`gguf`]). llama.cpp reads a GGUF in C++; so each
//! file goes through this check first, in safe Rust that believes no number in it: a count is held
//! against the bytes that are left, a product is checked, nothing is allocated because a file says
//! how much. The tensors themselves are never read. What passes is in one piece, each tensor lies in
//! the file, and none lies on another.
//!
//! Which format a file has is told by its first bytes, never by its name.

pub(crate) mod gguf;
pub mod safetensors;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use crate::hint::Hint;
pub(crate) use gguf::Gguf;
pub(crate) use safetensors::Safetensors;

/// Why a file is not let near a parser.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("cannot read {path}: {source}\nhint: is it there, and may you read it?")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {fault}")]
    Unsound { path: PathBuf, fault: Fault },
}

impl Hint for HeaderError {}

/// What cannot be true of a file, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nhint: {hint}")]
pub struct Fault {
    pub message: String,
    pub hint: &'static str,
}

const DAMAGED: &str = "the file is damaged or was tampered with; fetch it again";

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self::hinted(message, DAMAGED)
    }

    fn hinted(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: shown(&message.into()), hint }
    }
}

/// Letters of a message beyond which its middle, a long name, is left out.
const LONGEST_MESSAGE: usize = 300;
/// Letters that are left at either end.
const END: usize = 120;

/// `message` without what would steer a terminal or fill it: names come from the file.
fn shown(message: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    let letters: Vec<char> = message.chars().collect();
    if letters.len() <= LONGEST_MESSAGE {
        return letters.into_iter().map(plain).collect();
    }
    let (start, end) = (&letters[..END], &letters[letters.len() - END..]);
    start
        .iter()
        .copied()
        .map(plain)
        .chain(["…".to_owned()])
        .chain(end.iter().copied().map(plain))
        .collect()
}

/// What a sound header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    Gguf(Box<Gguf>),
    Safetensors(Safetensors),
}

impl Header {
    /// The GGUF's, if it is one.
    pub fn gguf(&self) -> Option<&Gguf> {
        match self {
            Self::Gguf(header) => Some(header),
            Self::Safetensors(_) => None,
        }
    }
}

/// Checks the header of the GGUF or safetensors file at `path`, and of the other parts of a GGUF
/// that was split: llama.cpp opens those by itself.
///
/// # Errors
/// A file that cannot be read, and one whose header cannot be true.
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
                "give the first part; the names end in -00001-of-0000N.gguf as they were made",
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

/// Checks the header of this file alone, as long as the other parts of its model are not there yet.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_one(path: &Path) -> Result<Header, HeaderError> {
    let read = |source| HeaderError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let length = file.metadata().map_err(read)?;
    if !length.is_file() {
        return Err(read(std::io::Error::other("it is no file")));
    }
    check_reader(BufReader::with_capacity(1 << 16, file), length.len()).map_err(|error| match error
    {
        Stop::Read(source) => read(source),
        Stop::Fault(fault) => HeaderError::Unsound { path: path.to_owned(), fault },
    })
}

/// Checks a file that is in memory, as [`check`] does.
///
/// # Errors
/// The first thing that cannot be true.
pub fn check_bytes(bytes: &[u8]) -> Result<Header, Fault> {
    check_reader(std::io::Cursor::new(bytes), bytes.len() as u64).map_err(|error| match error {
        Stop::Read(source) => Fault::new(source.to_string()),
        Stop::Fault(fault) => fault,
    })
}

/// Why a check ended early.
enum Stop {
    Read(std::io::Error),
    Fault(Fault),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn check_reader(mut file: impl Read + Seek, length: u64) -> Result<Header, Stop> {
    let mut start = Vec::with_capacity(16);
    file.by_ref().take(16).read_to_end(&mut start)?;
    file.rewind()?;
    if start.starts_with(gguf::MAGIC) {
        return Ok(Header::Gguf(Box::new(gguf::read(file, length)?)));
    }
    if start.get(8) == Some(&b'{') {
        return Ok(Header::Safetensors(safetensors::read(file, length)?));
    }
    Err(unknown(&start).into())
}

/// What people have in place of a model, most often.
fn unknown(start: &[u8]) -> Fault {
    let is = |mark: &[u8]| start.starts_with(mark);
    if start.is_empty() {
        Fault::new("it is empty")
    } else if is(b"version https:/") {
        Fault::hinted("it is a pointer of git-lfs, not the model", "fetch it with `git lfs pull`")
    } else if is(b"<") {
        Fault::hinted("it is a web page", "fetch the model itself: the link to the raw file")
    } else if is(b"PK\x03\x04") || is(b"\x80\x02") {
        Fault::hinted(
            "it is a pickle of PyTorch, which can run any code when it is opened",
            "take the model's safetensors or GGUF file",
        )
    } else if [&b"ggml"[..], b"lmgg", b"fmgg", b"tjgg", b"algg"].iter().any(|mark| is(mark)) {
        Fault::hinted("it is of the time before GGUF", "take the model's GGUF file")
    } else {
        Fault::new("it is neither GGUF nor safetensors")
    }
}
