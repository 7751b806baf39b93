//! Ed25519 keys in the format that `openssl` reads and writes: the private half as PKCS#8, the
//! public half as SPKI, both in PEM.

use std::{fmt, fs, io, path::Path};

use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
        spki::der::pem::LineEnding,
    },
};
use rand::{TryRngCore, rngs::OsRng};

use super::BundleError;

/// Identifies a public key: the first 32 hex digits of the SHA-256 of its DER form, as
/// `openssl pkey -pubin -in FILE -outform der | sha256sum` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The fingerprint of `key`.
pub(crate) fn fingerprint(key: &VerifyingKey) -> Fingerprint {
    let der = key.to_public_key_der().expect("a public key has a DER form");
    Fingerprint(crate::hash::of_bytes(der.as_bytes())[..32].to_owned())
}

/// Reads a private key; also returns whether other users can read its file.
///
/// # Errors
/// The file cannot be read or holds no private Ed25519 key.
pub(crate) fn private_key(path: &Path) -> Result<(SigningKey, bool), BundleError> {
    let (text, open) = read(path)?;
    let key = SigningKey::from_pkcs8_pem(&text).map_err(|error| {
        let message = if text.contains("ENCRYPTED") {
            "it is encrypted with a passphrase; `openssl pkey` can decrypt it".to_owned()
        } else {
            error.to_string()
        };
        BundleError::Key { path: path.to_owned(), what: "private Ed25519", message }
    })?;
    Ok((key, open))
}

/// Reads a public key.
///
/// # Errors
/// The file cannot be read or holds no public Ed25519 key, or the key is weak.
pub(crate) fn public_key(path: &Path) -> Result<VerifyingKey, BundleError> {
    let (text, _) = read(path)?;
    let key = |message| BundleError::Key { path: path.to_owned(), what: "public Ed25519", message };
    let found = VerifyingKey::from_public_key_pem(&text).map_err(|error| key(error.to_string()))?;
    if found.is_weak() {
        Err(key("it is weak: anybody can sign for it".to_owned()))
    } else {
        Ok(found)
    }
}

/// Reads a key file, at most 64 KiB; also returns whether other users can read it.
fn read(path: &Path) -> Result<(String, bool), BundleError> {
    let fail = |source| BundleError::Read { path: path.to_owned(), source };
    let file = crate::fs::open_regular(path).map_err(fail)?;
    let open = is_open(&file.metadata().map_err(fail)?);
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, 1 << 16), &mut text).map_err(fail)?;
    Ok((text, open))
}

#[cfg(unix)]
fn is_open(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open(_: &fs::Metadata) -> bool {
    false
}

/// Creates a key pair: the private half in `path`, for its owner alone, the public half in `path`
/// with `.pub` appended. Neither file may exist.
///
/// # Errors
/// A file exists or cannot be written, or the system provides no random numbers.
pub(crate) fn generate(path: &Path) -> Result<(std::path::PathBuf, Fingerprint), BundleError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    let public = std::path::PathBuf::from(name);
    let mut secret = [0; 32];
    OsRng
        .try_fill_bytes(&mut secret)
        .map_err(|error| fail(path, io::Error::other(error.to_string())))?;
    let key = SigningKey::from_bytes(&secret);
    // Without the public half, which older versions of openssl reject.
    let pair = KeypairBytes { secret_key: secret, public_key: None };
    let private_pem = pair.to_pkcs8_pem(LineEnding::LF).expect("a key has a PEM form");
    let public_pem =
        key.verifying_key().to_public_key_pem(LineEnding::LF).expect("a key has a PEM form");
    if public.exists() {
        return Err(BundleError::Exists { path: public });
    }
    write_new(path, private_pem.as_bytes(), 0o600)?;
    write_new(&public, public_pem.as_bytes(), 0o644)?;
    Ok((public, fingerprint(&key.verifying_key())))
}

fn fail(path: &Path, source: io::Error) -> BundleError {
    match source.kind() {
        io::ErrorKind::AlreadyExists => BundleError::Exists { path: path.to_owned() },
        _ => BundleError::Write { path: path.to_owned(), source },
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), BundleError> {
    let mut file = crate::fs::create_new(path).map_err(|error| fail(path, error))?;
    // Regardless of the umask: the public half is for others.
    super::partial::set_mode(path, mode)
        .and_then(|()| io::Write::write_all(&mut file, bytes))
        .and_then(|()| file.sync_all())
        .map_err(|error| fail(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn openssl_keys_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&private, PRIVATE).unwrap();
        fs::write(&public, PUBLIC).unwrap();
        let (key, _) = private_key(&private).unwrap();
        assert_eq!(key.verifying_key(), public_key(&public).unwrap());
        assert!(private_key(&public).unwrap_err().to_string().contains("no private"));
        assert!(public_key(&private).is_err());
        assert!(matches!(public_key(folder.path()), Err(BundleError::Read { .. })));
    }

    #[test]
    fn generated_keys_match_and_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let (public, fingerprint) = generate(&path).unwrap();
        let (key, open) = private_key(&path).unwrap();
        assert!(!open, "other users can read it");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&public).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
        }
        assert_eq!(super::fingerprint(&public_key(&public).unwrap()), fingerprint);
        assert_eq!(key.verifying_key(), public_key(&public).unwrap());
        assert!(matches!(generate(&path), Err(BundleError::Exists { .. })));
        let before = fs::read(&path).unwrap();
        fs::remove_file(&public).unwrap();
        assert!(matches!(generate(&path), Err(BundleError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
