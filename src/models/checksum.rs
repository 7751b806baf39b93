//! The SHA-256 of model files, and whether they are what they should be.
//!
//! A model of 40 GB takes a minute to hash, so what was found is kept in `verified.json` by device,
//! inode, size and the times of the last change of content and of entry. A file that was replaced or
//! written to differs in one of them and is hashed again. The cache spares time, it is no proof: who
//! may write to it and to the model can deceive it. `models verify` never reads it.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    path::Path,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::{ModelError, private, trusted_home};

/// More entries than anybody has models; beyond it the cache begins afresh.
const MOST: usize = 1000;
/// The clocks of file systems tick coarsely (FAT, as on USB sticks: every 2 seconds): what was written
/// this recently may be written again in the same tick, and is not remembered.
const TICK: Duration = Duration::from_secs(3);

/// What a file should be, and who says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub size: Option<u64>,
    pub sha256: Option<String>,
    /// The manifest or the lock file, for errors.
    pub by: String,
    /// What to do when the file differs.
    pub mend: String,
}

impl Wanted {
    /// Compares with what a file of `size` bytes and this hash is. `sha256` is asked for only where
    /// one is wanted.
    pub(crate) fn hold(
        &self,
        path: &Path,
        size: u64,
        sha256: impl FnOnce() -> Result<String, ModelError>,
    ) -> Result<(), ModelError> {
        let (by, mend) = (self.by.clone(), self.mend.clone());
        if let Some(wanted) = self.size.filter(|&wanted| wanted != size) {
            return Err(ModelError::Size { path: path.to_owned(), found: size, wanted, by, mend });
        }
        if let Some(wanted) = self.sha256.clone() {
            let found = sha256()?;
            if !wanted.eq_ignore_ascii_case(&found) {
                let (by, mend) = (by.into(), mend.into());
                return Err(ModelError::Changed { path: path.to_owned(), found, wanted, by, mend });
            }
        }
        Ok(())
    }

    /// Holds the file at `path` against this; its hash comes from the cache where it is known.
    pub(crate) fn check(&self, path: &Path) -> Result<(), ModelError> {
        let size = metadata(path)?.len();
        self.hold(path, size, || sha256_of(path))
    }
}

/// SHA-256 (hex) of a file, from the cache where the file is the one that was hashed before.
///
/// # Errors
/// A file that cannot be read. A cache that cannot be read or written costs only time.
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
        if cache.len() >= MOST {
            cache.clear();
        }
        cache.insert(key, found.clone());
        let json = serde_json::to_vec_pretty(&cache).expect("a map of strings is JSON");
        let _ = private::replace(&file, &json);
    }
    Ok(found)
}

/// Whether neither content nor entry changed just before `now`.
fn settled(meta: &Metadata, now: SystemTime) -> bool {
    let old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > TICK);
    meta.modified().is_ok_and(old) && changed(meta).is_none_or(old)
}

/// When the entry changed: unlike the time of the content, nobody can set it.
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

/// SHA-256 (hex) of a file, read from end to end.
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

    fn abc() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(&path, "abc").unwrap();
        (folder, path)
    }

    /// FIPS 180-2, B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_is_held_against_size_and_hash() {
        let (_folder, path) = abc();
        assert_eq!(hash_file(&path).unwrap(), ABC);
        let wanted = |size, hash: &str| Wanted {
            size: Some(size),
            sha256: Some(hash.to_owned()),
            by: "the lock file".to_owned(),
            mend: "pull again".to_owned(),
        };
        wanted(3, ABC).check(&path).unwrap();
        let size = wanted(4, ABC).check(&path).unwrap_err().to_string();
        assert!(size.contains("has 3 bytes, the lock file says 4"), "{size}");
        let hash = wanted(3, &"0".repeat(64)).check(&path).unwrap_err().to_string();
        assert!(hash.contains(ABC) && hash.ends_with("\nhint: pull again"), "{hash}");
        Wanted::default().check(&path).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn what_changed_just_now_is_not_remembered_whatever_its_time_says() {
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
        // The same content and time, another inode.
        let twin = folder.path().join("b.bin");
        fs::copy(&path, &twin).unwrap();
        let time = metadata(&path).unwrap().modified().unwrap();
        File::options().write(true).open(&twin).unwrap().set_modified(time).unwrap();
        fs::rename(&twin, &path).unwrap();
        assert_ne!(before, key(&path, &metadata(&path).unwrap()));
    }
}
