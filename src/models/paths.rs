//! The program's own folder, the library of models in it, and the names that models may have there.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{ModelError, Role, files};

/// The folder of the program's own files: `PROMPTMIX_HOME`, or `promptmix` in the user's cache
/// folder. A user without either gets a folder in the system's temporary directory.
pub(crate) fn home() -> PathBuf {
    named_home().unwrap_or_else(shared_home)
}

fn named_home() -> Option<PathBuf> {
    let from = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty());
    from("PROMPTMIX_HOME")
        .map(PathBuf::from)
        .or_else(|| from("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("promptmix")))
        .or_else(|| from("HOME").map(|home| PathBuf::from(home).join(".cache/promptmix")))
}

#[cfg(unix)]
fn shared_home() -> PathBuf {
    // SAFETY: it takes nothing and cannot fail.
    env::temp_dir().join(format!("promptmix-{}", unsafe { libc::geteuid() }))
}

#[cfg(not(unix))]
fn shared_home() -> PathBuf {
    env::temp_dir().join("promptmix")
}

/// [`home`], for reading files that decide which models are trusted. In the temporary directory
/// another user could have created the folder, so it must belong to this user and be private.
///
/// # Errors
/// [`ModelError::Untrusted`] where it is not.
pub(super) fn trusted_home() -> Result<PathBuf, ModelError> {
    if let Some(home) = named_home() {
        return Ok(home);
    }
    let home = shared_home();
    files::create_dir(&home)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // A link is not followed: its owner could point it elsewhere.
        let meta = fs::symlink_metadata(&home)
            .map_err(|source| ModelError::Read { path: home.clone(), source })?;
        // SAFETY: it takes nothing and cannot fail.
        let user = unsafe { libc::geteuid() };
        if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o077 != 0 {
            return Err(ModelError::Untrusted { path: home });
        }
    }
    Ok(home)
}

/// The folder of all models.
pub(crate) fn library_root() -> PathBuf {
    home().join("models")
}

/// The folder of one model, whether it exists or not.
pub(super) fn model_dir(role: Role, name: &str) -> PathBuf {
    library_root().join(role.to_string()).join(name)
}

/// The models in the library, sorted.
pub(crate) fn library_names() -> Vec<(Role, String)> {
    let of = |role: Role| {
        let folder = library_root().join(role.to_string());
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| check_name("model", name, "").is_ok());
        names.map(move |name| (role, name)).collect::<Vec<_>>()
    };
    let mut names = [of(Role::Teacher), of(Role::Student)].concat();
    names.sort();
    names
}

/// The name of the model that `path` belongs to, if it leads into the library.
pub(super) fn model_at(role: Role, path: &Path) -> Option<String> {
    let models = library_root().join(role.to_string()).canonicalize().ok()?;
    let inside = path.canonicalize().ok()?;
    let first = inside.strip_prefix(models).ok()?.components().next()?;
    first.as_os_str().to_str().map(str::to_owned)
}

/// Checks that `name` can be the name of a folder or file in the library: plain characters, not
/// hidden, and no way out of its folder.
///
/// # Errors
/// [`ModelError::InvalidName`] with the broken rule.
pub(super) fn check_name(
    what: &'static str,
    name: &str,
    hint: &'static str,
) -> Result<(), ModelError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let reason = if name.is_empty() || name.len() > 128 {
        "it must have between 1 and 128 characters"
    } else if !name.chars().all(plain) {
        "it may contain only letters, digits and . _ - +"
    } else if name.starts_with(['.', '-']) {
        "it must not begin with . or -"
    } else if name.contains("..") {
        "it must not contain two dots in a row"
    } else {
        return Ok(());
    };
    Err(ModelError::InvalidName { name: name.to_owned(), what, reason, hint })
}

/// Whether `text` consists of `length` hexadecimal digits.
pub(super) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A name for the model at `path`: that of the file without its extension, or of the folder, with
/// every character that a name may not have replaced by `-`.
pub(crate) fn plain_name(path: &Path) -> String {
    // A link is not resolved: in the Hugging Face cache its target is named by a hash. Only `.` and
    // `..` have no name of their own.
    let absolute = match path.file_name() {
        Some(_) => path.to_owned(),
        None => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    };
    // Only `.gguf` counts as an extension: `qwen2.5-7b` keeps its version.
    let name =
        absolute.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let name = name.strip_suffix(".gguf").unwrap_or(&name);
    let name = match name.rsplit_once("-00001-of-") {
        Some((stem, count)) if count.len() == 5 => stem,
        _ => name,
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).take(128).collect();
    let name = name.replace("..", "-");
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

/// Whether there is a file at `path`.
///
/// # Errors
/// It is something else: a folder, a pipe, a device.
pub(super) fn is_file(path: &Path) -> Result<bool, ModelError> {
    if path.is_file() {
        return Ok(true);
    }
    match crate::fs::open_regular(path) {
        Err(source) if source.kind() == std::io::ErrorKind::InvalidInput => {
            Err(ModelError::Read { path: path.to_owned(), source })
        }
        opened => Ok(opened.is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_from_a_path() {
        for (path, name) in [
            ("models/Qwen2.5-7B-Q4.gguf", "Qwen2.5-7B-Q4"),
            ("big-00001-of-00002.gguf", "big"),
            ("my model (old)", "my-model--old-"),
            ("...", "model"),
            ("/", "model"),
        ] {
            assert_eq!(plain_name(Path::new(path)), name, "{path}");
            check_name("model", name, "").unwrap();
        }
    }

    #[test]
    fn names_cannot_lead_out_of_their_folder() {
        for name in
            ["", ".", "..", "a/b", "a\\b", "../a", ".hidden", "-flag", "a..b", "a b", "a\0", "ä"]
        {
            assert!(check_name("model", name, "").is_err(), "{name:?}");
        }
        check_name("model", "Qwen2.5-0.5B_instruct+x", "").unwrap();
    }
}
