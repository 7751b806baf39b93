//! Fetches a known model into the Hugging Face cache. This is the only code that opens a connection.

use std::{collections::BTreeMap, env, fs, io, path::Path};

use hf_hub::api::sync::ApiBuilder;
use sha2::{Digest, Sha256};

use super::{KnownModel, StoreError, home};

/// Fetches the files of `model` and holds them against the lock file; a file that is pulled for the
/// first time is written down there (trust on first use). Returns each file's path and sha256.
///
/// # Errors
/// `HF_HUB_OFFLINE` is set, the hub cannot be reached, a file differs from the one pulled first.
pub fn pull(model: &KnownModel) -> Result<Vec<(std::path::PathBuf, String)>, StoreError> {
    if env::var_os("HF_HUB_OFFLINE").is_some_and(|value| !value.is_empty() && value != "0") {
        return Err(StoreError::Offline { variable: "HF_HUB_OFFLINE" });
    }
    let fetch = |file: &str, message: String| StoreError::Fetch {
        name: model.name.clone(),
        file: file.to_owned(),
        message,
    };
    let api = ApiBuilder::from_env()
        .with_token(env::var("HF_TOKEN").ok().or_else(|| hf_hub::Cache::from_env().token()))
        .build()
        .map_err(|error| fetch("the index", error.to_string()))?;
    let repo = api.repo(model.hub_repo());
    let lock_path = home().join("models.lock.toml");
    let mut lock = read_lock(&lock_path)?;
    let mut pulled = Vec::new();
    for file in &model.files {
        let path = repo.get(file).map_err(|error| fetch(file, error.to_string()))?;
        let found =
            hash_file(&path).map_err(|source| StoreError::Read { path: path.clone(), source })?;
        let name = format!("{}/{file}", model.repo);
        match lock.get(&name) {
            Some(wanted) if *wanted != found => {
                let wanted = wanted.clone();
                return Err(StoreError::Changed { path, found, wanted, lock: lock_path });
            }
            Some(_) => {}
            None => {
                lock.insert(name, found.clone());
            }
        }
        pulled.push((path, found));
    }
    write_lock(&lock_path, &lock)?;
    Ok(pulled)
}

/// `repo/file` → sha256 of what the first pull brought.
fn read_lock(path: &Path) -> Result<BTreeMap<String, String>, StoreError> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| StoreError::Lock {
            path: path.to_owned(),
            message: error.message().to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(StoreError::Read { path: path.to_owned(), source }),
    }
}

fn write_lock(path: &Path, lock: &BTreeMap<String, String>) -> Result<(), StoreError> {
    let text = toml::to_string(lock).expect("a table of strings is TOML");
    let temporary = path.with_extension("part");
    fs::create_dir_all(home())
        .and_then(|()| fs::write(&temporary, text))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|source| StoreError::Write { path: path.to_owned(), source })
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(format!("{:x}", hash.finalize()))
}
