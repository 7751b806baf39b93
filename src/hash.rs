//! SHA-256 in lower-case hex: of bytes, of a file, and of a text file in which every line carries
//! the hash of the line before it.

use std::{
    io::{self, Read},
    mem,
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 (hex) of `bytes`.
pub(crate) fn of_bytes(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// SHA-256 (hex) of the file at `path`, read from start to end in blocks of 1 MiB.
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (crate::fs::open_regular(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(format!("{:x}", hash.finalize())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A line of a hash-chained file.
pub(crate) struct ChainedLine<'a> {
    /// Without its newline.
    pub bytes: &'a [u8],
    /// SHA-256 (hex) of the line before it; of nothing for the first. An intact line carries this
    /// hash.
    pub previous: String,
    /// SHA-256 (hex) of this line.
    pub hash: String,
}

/// The complete lines of a hash-chained file with the hashes that link them, and the length of
/// those lines in bytes. Anything behind them is a line without its newline: a write that was cut
/// short.
///
/// Only line breaks and hashes are computed here. Whether a line carries the right hash, and what
/// else it holds, is for the caller to check.
pub(crate) fn chained_lines(bytes: &[u8]) -> (impl Iterator<Item = ChainedLine<'_>>, usize) {
    let length = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut last = of_bytes(b"");
    let lines = bytes[..length].split_inclusive(|&byte| byte == b'\n').map(move |line| {
        let bytes = &line[..line.len() - 1];
        let hash = of_bytes(bytes);
        ChainedLine { bytes, previous: mem::replace(&mut last, hash.clone()), hash }
    });
    (lines, length)
}

/// What is wrong with a hash-chained file that promises a [`ChainHead`] beside it and has none.
pub(crate) const NO_HEAD: &str = "the file ledger.head beside it was removed";

/// How far a hash-chained file went at some time: kept in a file beside it. The chain itself cannot
/// show that its last line was changed, or that lines were cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainHead {
    /// Number of lines at that time.
    pub lines: usize,
    /// SHA-256 (hex) of the last of them.
    pub sha256: String,
}

impl ChainHead {
    /// The first line (from 1) that contradicts this head, and how, if the file's lines have these
    /// `hashes`.
    pub(crate) fn contradiction(&self, hashes: &[String]) -> Option<(usize, String)> {
        match hashes.get(self.lines.checked_sub(1)?) {
            Some(hash) if *hash == self.sha256 => None,
            Some(_) => Some((self.lines, "it was changed after it was written".to_owned())),
            None => {
                let missing = format!("it is missing: there were {} lines before", self.lines);
                Some((hashes.len() + 1, missing))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files_have_the_hash_of_the_standard() {
        // FIPS 180-2, appendix B.1, and the hash of nothing.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!((of_bytes("abc").as_str(), of_bytes("").as_str()), (abc, nothing));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(of_file(&path).unwrap(), abc);
    }

    #[test]
    fn lines_carry_the_hash_of_the_line_before() {
        let (lines, length) = chained_lines(b"a\n\nb\ntorn");
        let lines: Vec<ChainedLine<'_>> = lines.collect();
        assert_eq!(length, 5);
        assert_eq!(lines.iter().map(|line| line.bytes).collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
        assert_eq!(lines[0].previous, of_bytes(""));
        assert_eq!((&lines[1].previous, &lines[2].previous), (&lines[0].hash, &lines[1].hash));
        assert_eq!(lines[2].hash, of_bytes("b"));
        assert_eq!(chained_lines(b"torn").1, 0);
    }
}
