//! The keys of those who may ask.

use std::path::Path;

use super::ServeError;
use crate::{fs::read_regular, hash, http::is_equal};

/// The largest file of keys.
const MAX_BYTES: u64 = 1 << 20;
/// Characters of the shortest key: 64 bits in hexadecimal.
const LEAST: usize = 16;

/// The SHA-256 of each key, so that a comparison takes as long for every length.
pub(crate) struct Keys(Vec<String>);

impl Keys {
    /// Reads a file with one key a line. Blank lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The file cannot be read, has no key, or one that could be guessed.
    pub(crate) fn read(path: &Path) -> Result<Self, ServeError> {
        let text = read_regular(path, MAX_BYTES)
            .map_err(|source| ServeError::ReadKeys { path: path.to_owned(), source })?;
        let mut hashes = Vec::new();
        for (line, key) in (1..).zip(text.lines().map(str::trim)) {
            match key {
                "" => {}
                key if key.starts_with('#') => {}
                key if key.len() < LEAST => {
                    return Err(ServeError::ShortKey { path: path.to_owned(), line, least: LEAST });
                }
                key => hashes.push(hash::of_bytes(key)),
            }
        }
        match hashes.is_empty() {
            true => Err(ServeError::NoKeys { path: path.to_owned() }),
            false => Ok(Self(hashes)),
        }
    }

    /// Whether `authorization`, the value of the header, is `Bearer` and one of the keys. Takes the
    /// same time whichever it is.
    pub(super) fn admit(&self, authorization: &str) -> bool {
        let (scheme, key) = authorization.split_once(' ').unwrap_or_default();
        let hash = hash::of_bytes(key.trim());
        let found = self.0.iter().fold(false, |found, own| is_equal(own, &hash) | found);
        found && scheme.eq_ignore_ascii_case("bearer")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_line_is_a_key_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, "# old\n0123456789abcdef\n\n  fedcba9876543210-new \n").unwrap();
        let keys = Keys::read(&path).unwrap();
        assert!(keys.admit("Bearer 0123456789abcdef") && keys.admit("bearer fedcba9876543210-new"));
        for wrong in ["Bearer ", "Bearer 0123456789abcde", "Basic 0123456789abcdef", "", "# old"] {
            assert!(!keys.admit(wrong), "{wrong}");
        }
        fs::write(&path, "0123456789abcdef\nshort\n").unwrap();
        let error = Keys::read(&path).err().unwrap().to_string();
        assert!(error.contains("line 2") && !error.contains("short"), "{error}");
        fs::write(&path, "# nothing\n").unwrap();
        assert!(matches!(Keys::read(&path), Err(ServeError::NoKeys { .. })));
    }
}
