//! Where models come from: embedded in the program, given as a path, or known by name from
//! `models/manifest.toml` and found in the local Hugging Face cache. Only [`pull`] opens a
//! connection, and only in builds with the feature `pull`.

mod embedded;
pub mod header;
mod library;
#[cfg(feature = "pull")]
mod pull;
mod speed;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use candle_core::Device;
use hf_hub::{Cache, Repo, RepoType};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use library::{LocalModel, install, local};
#[cfg(feature = "pull")]
pub use pull::pull;
pub use speed::{remember_speed, remember_student_speed, speed, student_speed};

use crate::{
    student::{BaseModel, StudentError},
    task::{Task, TaskError},
};

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "there is no {role} {name:?}: no such file or folder, and no model of that name is known\nhint: give a path, or one of {known}"
    )]
    Unknown { role: Role, name: String, known: String },
    #[error(
        "{name} is not on this machine ({file} is missing from the Hugging Face cache {cache})\nhint: `promptmix models pull {name}` on a machine with a network fetches it; a path to the model works too"
    )]
    NotPulled { name: String, file: String, cache: PathBuf },
    #[error(
        "cannot write {path}: {source}\nhint: PROMPTMIX_HOME names another folder for the program's own files"
    )]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not what was pulled first: its sha256 is {found}, {wanted} was written down\nhint: if the change is wanted, delete its line from {lock}"
    )]
    Changed { path: PathBuf, found: String, wanted: String, lock: PathBuf },
    #[error(
        "cannot fetch {file} of {name}: {message}\nhint: is the network up? HF_ENDPOINT, HF_TOKEN and HTTPS_PROXY are obeyed"
    )]
    Fetch { name: String, file: String, message: String },
    #[error(
        "{variable} is set: nothing may be fetched\nhint: unset it, or copy the model here and give its path"
    )]
    Offline { variable: &'static str },
    #[error("{path}: {message}\nhint: delete the file; it is written anew by the next pull")]
    Lock { path: PathBuf, message: String },
    #[error(transparent)]
    Student(#[from] StudentError),
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Teacher,
    Student,
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Teacher => "teacher",
            Self::Student => "student",
        })
    }
}

/// One entry of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownModel {
    pub name: String,
    pub role: Role,
    #[serde(default)]
    pub embedded: bool,
    #[serde(default)]
    pub repo: String,
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub files: Vec<String>,
    pub licence: String,
    pub about: String,
}

#[derive(Deserialize)]
struct Manifest {
    model: Vec<KnownModel>,
}

/// Every model that is known by name.
pub fn known_models() -> Vec<KnownModel> {
    let manifest: Manifest = toml::from_str(include_str!("../../models/manifest.toml"))
        .expect("the manifest is part of the program and is checked by a test");
    manifest.model
}

impl KnownModel {
    fn hub_repo(&self) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, self.revision.clone())
    }

    /// The model's files in the local Hugging Face cache, in the manifest's order.
    ///
    /// # Errors
    /// [`StoreError::NotPulled`] with the first file that is missing.
    pub fn cached(&self) -> Result<Vec<PathBuf>, StoreError> {
        let cache = Cache::from_env();
        let repo = cache.repo(self.hub_repo());
        self.files
            .iter()
            .map(|file| {
                repo.get(file).ok_or_else(|| StoreError::NotPulled {
                    name: self.name.clone(),
                    file: file.clone(),
                    cache: cache.path().clone(),
                })
            })
            .collect()
    }
}

fn find(role: Role, name: &str) -> Result<KnownModel, StoreError> {
    let models = known_models();
    let of_role = || models.iter().filter(|model| model.role == role);
    of_role().find(|model| model.name == name).cloned().ok_or_else(|| StoreError::Unknown {
        role,
        name: name.to_owned(),
        known: of_role().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// The GGUF file that `spec` means: a path, `pocket`, or a name of the manifest.
pub fn teacher_file(spec: &str) -> Result<PathBuf, StoreError> {
    let path = Path::new(spec);
    // What looks like a path is one: the engine then says that the file is missing.
    if path.exists() || path.extension().is_some_and(|extension| extension == "gguf") {
        return Ok(path.to_owned());
    }
    let model = find(Role::Teacher, spec)?;
    if model.embedded {
        return unpack_pocket_teacher();
    }
    Ok(model.cached()?.swap_remove(0))
}

/// The encoder that `spec` means: a folder, `pocket`, or a name of the manifest.
pub fn student_base(spec: &str, device: &Device) -> Result<BaseModel, StoreError> {
    let path = Path::new(spec);
    if path.exists() || spec.contains(['/', '\\']) {
        return Ok(BaseModel::load(path, device)?);
    }
    let model = find(Role::Student, spec)?;
    if model.embedded {
        let [config, weights, tokenizer] = embedded::POCKET_STUDENT;
        return Ok(BaseModel::from_bytes(config, weights, tokenizer, device)?);
    }
    let files = model.cached()?;
    let folder = files[0].parent().unwrap_or(Path::new("."));
    Ok(BaseModel::load(folder, device)?)
}

/// The task of `promptmix demo`.
pub fn demo_task() -> Result<Task, TaskError> {
    Task::load_embedded(embedded::DEMO_TASK, &embedded::DEMO_FILES)
}

/// Bytes and sha256 (hex) of the embedded models together, for `doctor`.
pub fn embedded_sizes() -> [(Role, usize, String); 2] {
    let [config, weights, tokenizer] = embedded::POCKET_STUDENT;
    [
        (Role::Teacher, embedded::POCKET_TEACHER.len(), sha256(embedded::POCKET_TEACHER)),
        (Role::Student, config.len() + weights.len() + tokenizer.len(), sha256(weights)),
    ]
}

/// The folder of the program's own files: `PROMPTMIX_HOME`, or `promptmix` in the user's cache folder.
pub fn home() -> PathBuf {
    let from = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty());
    from("PROMPTMIX_HOME")
        .map(PathBuf::from)
        .or_else(|| from("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("promptmix")))
        .or_else(|| from("HOME").map(|home| PathBuf::from(home).join(".cache/promptmix")))
        .unwrap_or_else(|| env::temp_dir().join("promptmix"))
}

/// llama.cpp reads models from files only: the embedded one is written to [`home`] once, under its
/// hash, and checked each time.
fn unpack_pocket_teacher() -> Result<PathBuf, StoreError> {
    let digest = sha256(embedded::POCKET_TEACHER);
    let folder = home();
    let path = folder.join(format!("pocket-teacher-{}.gguf", &digest[..12]));
    if fs::read(&path).is_ok_and(|bytes| bytes == embedded::POCKET_TEACHER) {
        return Ok(path);
    }
    let write = |source| StoreError::Write { path: path.clone(), source };
    fs::create_dir_all(&folder).map_err(write)?;
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = fs::write(&temporary, embedded::POCKET_TEACHER)
        .and_then(|()| fs::rename(&temporary, &path));
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary);
        return Err(write(source));
    }
    Ok(path)
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_whole() {
        let models = known_models();
        for model in &models {
            assert!(model.embedded || !model.files.is_empty(), "{} has no files", model.name);
            assert!(model.embedded || model.repo.contains('/'), "{} has no repo", model.name);
            let same = |other: &&KnownModel| other.name == model.name && other.role == model.role;
            assert_eq!(models.iter().filter(same).count(), 1, "{} stands there twice", model.name);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = teacher_file("gpt-9").unwrap_err().to_string();
        assert!(
            message.contains("gpt-9") && message.contains("qwen2.5-0.5b-instruct"),
            "{message}"
        );
    }
}
