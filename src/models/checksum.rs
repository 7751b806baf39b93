//! The SHA-256 of model files, a cache of them, and the comparison with what is expected.
//!
//! Hashing a model of 40 GB takes a minute, so `verified.json` caches hashes by device, inode,
//! size, mtime and ctime. A file that was replaced or written to differs in one of these and is
//! hashed again. The cache saves time and proves nothing: anybody who can write to it and to the
//! model can deceive it. `models verify` never reads it.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    path::Path,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::{ModelError, files, paths::trusted_home};

/// More entries than anybody has models; a larger cache is cleared.
const MAX_ENTRIES: usize = 1000;
/// File systems have coarse clocks (FAT, as on USB sticks: 2 seconds). A file that changed this
/// recently may change again without a new time stamp, so its hash is not cached.
const TICK: Duration = Duration::from_secs(3);

/// The expected size and hash of a file, and where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub size: Option<u64>,
    pub sha256: Option<String>,
    /// The source of both, for error messages: the manifest, the lock file, the hub.
    pub by: String,
    /// What to do if the file differs.
    pub hint: String,
}

impl Expected {
    /// Compares with a file of `size` bytes and the hash `sha256()`, which is called only if a hash
    /// is expected.
    ///
    /// # Errors
    /// [`ModelError::SizeMismatch`] or [`ModelError::HashMismatch`], both about `path`.
    pub(crate) fn compare(
        &self,
        path: &Path,
        size: u64,
        sha256: impl FnOnce() -> Result<String, ModelError>,
    ) -> Result<(), ModelError> {
        let (by, hint) = (self.by.clone(), self.hint.clone());
        if let Some(wanted) = self.size.filter(|&wanted| wanted != size) {
            return Err(ModelError::SizeMismatch {
                path: path.to_owned(),
                found: size,
                wanted,
                by,
                hint,
            });
        }
        if let Some(wanted) = self.sha256.clone() {
            let found = sha256()?;
            if !wanted.eq_ignore_ascii_case(&found) {
                let (by, hint) = (by.into(), hint.into());
                return Err(ModelError::HashMismatch {
                    path: path.to_owned(),
                    found,
                    wanted,
                    by,
                    hint,
                });
            }
        }
        Ok(())
    }

    /// Compares with the file at `path`; its hash comes from the cache if it is there.
    pub(crate) fn check(&self, path: &Path) -> Result<(), ModelError> {
        let size = metadata(path)?.len();
        self.compare(path, size, || sha256_of(path))
    }
}

/// SHA-256 (hex) of a file, from the cache if the file has not changed since it was hashed.
///
/// # Errors
/// The file cannot be read. A cache that cannot be read or written costs only time.
pub(crate) fn sha256_of(path: &Path) -> Result<String, ModelError> {
    let before = metadata(path)?;
    let key = key(path, &before);
    let file = trusted_home()?.join("verified.json");
    let mut cache: BTreeMap<String, String> = fs::read(&file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    if let Some(hash) = cache.get(&key) {
        return Ok(hash.clone());
    }
    let found = hash_file(path)?;
    if settled(&before, SystemTime::now())
        && metadata(path).is_ok_and(|after| self::key(path, &after) == key)
    {
        if cache.len() >= MAX_ENTRIES {
            cache.clear();
        }
        cache.insert(key, found.clone());
        let json = serde_json::to_vec_pretty(&cache).expect("a map of strings is JSON");
        let _ = files::write(&file, &json);
    }
    Ok(found)
}

/// Whether neither the content nor the inode changed within [`TICK`] before `now`.
fn settled(meta: &Metadata, now: SystemTime) -> bool {
    let old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > TICK);
    meta.modified().is_ok_and(old) && changed(meta).is_none_or(old)
}

/// The ctime: unlike the mtime, no program can set it.
#[cfg(unix)]
fn changed(meta: &Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(meta.ctime()).ok()?;
    let part = u32::try_from(meta.ctime_nsec()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, part))
}

#[cfg(not(unix))]
fn changed(_meta: &Metadata) -> Option<SystemTime> {
    None
}

/// SHA-256 (hex) of a file; reads all of it.
pub(super) fn hash_file(path: &Path) -> Result<String, ModelError> {
    crate::hash::of_file(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })
}

pub(super) fn hex(hash: Sha256) -> String {
    format!("{:x}", hash.finalize())
}

pub(super) fn metadata(path: &Path) -> Result<Metadata, ModelError> {
    fs::metadata(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })
}

#[cfg(unix)]
fn key(_path: &Path, meta: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!(
        "{}:{}:{}:{}.{:09}:{}.{:09}",
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    )
}

#[cfg(not(unix))]
fn key(path: &Path, meta: &Metadata) -> String {
    let time = |time: std::io::Result<SystemTime>| {
        time.ok()
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_nanos())
    };
    format!("{}:{}:{}:{}", path.display(), meta.len(), time(meta.modified()), time(meta.created()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::hint::Hint;

    fn abc() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(&path, "abc").unwrap();
        (folder, path)
    }

    /// FIPS 180-2, B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_is_compared_by_size_and_hash() {
        let (_folder, path) = abc();
        assert_eq!(hash_file(&path).unwrap(), ABC);
        let expected = |size, hash: &str| Expected {
            size: Some(size),
            sha256: Some(hash.to_owned()),
            by: "the lock file".to_owned(),
            hint: "pull again".to_owned(),
        };
        expected(3, ABC).check(&path).unwrap();
        let size = expected(4, ABC).check(&path).unwrap_err();
        assert!(size.to_string().contains("has 3 bytes, but the lock file says 4"), "{size}");
        let hash = expected(3, &"0".repeat(64)).check(&path).unwrap_err();
        assert!(hash.to_string().contains(ABC), "{hash}");
        for error in [size, hash] {
            assert_eq!(error.hint().as_deref(), Some("pull again"));
        }
        Expected::default().check(&path).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_changed_just_now_is_not_cached_even_with_an_old_mtime() {
        let (_folder, path) = abc();
        let now = SystemTime::now();
        let old = now - Duration::from_secs(60);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let meta = metadata(&path).unwrap();
        assert!(!settled(&meta, now));
        assert!(!settled(&meta, now + Duration::from_secs(2)));
        assert!(settled(&meta, now + Duration::from_secs(5)));
    }

    #[test]
    fn every_change_of_a_file_changes_its_key() {
        let (folder, path) = abc();
        let before = key(&path, &metadata(&path).unwrap());
        assert_eq!(before, key(&path, &metadata(&path).unwrap()));
        // The same content and mtime, another inode.
        let copy = folder.path().join("b.bin");
        fs::copy(&path, &copy).unwrap();
        let time = metadata(&path).unwrap().modified().unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
        fs::rename(&copy, &path).unwrap();
        assert_ne!(before, key(&path, &metadata(&path).unwrap()));
    }
}
