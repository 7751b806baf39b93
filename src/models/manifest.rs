//! `models/manifest.toml`: the models that are known by name.

use std::{fs, path::PathBuf, sync::LazyLock};

use hf_hub::{Cache, Repo};
use serde::{Deserialize, Serialize};

use super::{ModelError, Role, lock::Lock, paths};
use crate::printable::excerpt;

/// One entry of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownModel {
    pub name: String,
    pub role: Role,
    #[serde(default)]
    pub embedded: bool,
    /// `owner/name` on the hub.
    #[serde(default)]
    pub repo: String,
    /// A commit, or a branch if nobody has verified a commit.
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub files: Vec<KnownFile>,
    /// An SPDX expression, or the licence's own name if SPDX has none for it.
    pub licence: String,
    /// Estimated memory in MB: for a teacher the file and 8 sequences of 2048 tokens, for a student
    /// training in batches of 16 texts. 0 for models too small to matter.
    #[serde(default)]
    pub memory: u64,
    /// How an encoder embeds sentences, if it was trained to: its own file that says so is in a
    /// subfolder, which is not pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentences: Option<SentenceEmbedding>,
    /// A teacher's chat template family, under the name that `doctor` prints.
    #[serde(default)]
    pub chat: String,
    pub about: String,
}

/// How an encoder embeds a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentenceEmbedding {
    pub pooling: KnownPooling,
    /// What stands before each text that it reads.
    #[serde(default)]
    pub prompt: String,
}

/// How token vectors become an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KnownPooling {
    /// The first token's, `[CLS]`.
    First,
    Mean,
}

/// One file of a model. Size and hash are present only if somebody has verified them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownFile {
    pub name: String,
    /// Bytes.
    #[serde(default)]
    pub size: Option<u64>,
    #[serde(default)]
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    model: Vec<KnownModel>,
}

static MODELS: LazyLock<Vec<KnownModel>> = LazyLock::new(|| {
    let manifest: Manifest = toml::from_str(include_str!("../../models/manifest.toml"))
        .expect("the manifest is part of the program and a test parses it");
    manifest.model
});

/// Every model in the manifest.
pub(crate) fn known_models() -> Vec<KnownModel> {
    MODELS.clone()
}

/// The manifest's entry for a model.
pub(super) fn known(role: Role, name: &str) -> Option<KnownModel> {
    MODELS.iter().find(|model| model.role == role && model.name == name).cloned()
}

/// The user's Hugging Face cache, which may not exist.
pub(super) fn hub_cache() -> Cache {
    match std::env::var_os("HF_HUB_CACHE").filter(|value| !value.is_empty()) {
        Some(folder) => Cache::new(folder.into()),
        None => Cache::from_env(),
    }
}

/// The folder of the repository `owner/name` in the Hugging Face cache, whether it exists or not.
fn cached_repo(repo: &str) -> PathBuf {
    hub_cache().path().join(Repo::model(repo.to_owned()).folder_name())
}

/// The folder of the cached snapshot of `repo` at `revision`, a commit or a branch: the one that
/// the reference names, or, without a reference, the only one that there is.
///
/// # Errors
/// The reference is no commit, or several snapshots are there and it names none of them.
pub(super) fn snapshot(repo: &str, revision: &str) -> Result<Option<PathBuf>, ModelError> {
    let folder = cached_repo(repo);
    let reference = folder.join("refs").join(revision);
    // Programs other than Hugging Face's end the reference with a line feed.
    let commit = fs::read_to_string(&reference);
    let commit = commit.as_deref().map_or(revision, str::trim);
    // It becomes part of a path.
    if paths::check_name("commit", commit, "").is_err() {
        return Err(ModelError::NoCommit { path: reference, found: excerpt(commit) });
    }
    let snapshots = folder.join("snapshots");
    let named = snapshots.join(commit);
    if named.is_dir() {
        return Ok(Some(named));
    }
    let Ok(entries) = fs::read_dir(&snapshots) else { return Ok(None) };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut all: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    if all.len() > 1 && !paths::is_hex(revision, 40) {
        all.sort();
        let names: Vec<_> = all.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        let names = names.join(", ");
        return Err(ModelError::SeveralSnapshots { folder: snapshots, names, reference });
    }
    Ok(all.pop().filter(|_| all.is_empty()))
}

/// The repositories in the Hugging Face cache, as `owner/name`.
pub(super) fn cached_repos() -> Vec<String> {
    let entries = fs::read_dir(hub_cache().path()).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| Some(name.strip_prefix("models--")?.replacen("--", "/", 1))).collect()
}

impl KnownModel {
    #[cfg(feature = "pull")]
    pub(super) fn hub_repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.clone(), hf_hub::RepoType::Model, revision.to_owned())
    }

    /// The model's files in the local Hugging Face cache, in the manifest's order: those of the
    /// commit in the lock file if it is cached, otherwise those of the manifest's revision.
    ///
    /// # Errors
    /// [`ModelError::NotPulled`] with the first missing file; also as [`snapshot`].
    pub(crate) fn cached(&self) -> Result<Vec<PathBuf>, ModelError> {
        let cache = hub_cache();
        let pinned = Lock::read()?.find(self.role, &self.name).map(|locked| locked.commit.clone());
        let pinned = pinned.filter(|commit| !commit.is_empty());
        let pinned = pinned.map(|commit| cached_repo(&self.repo).join("snapshots").join(commit));
        let is_whole =
            |folder: &PathBuf| self.files.iter().all(|it| folder.join(&it.name).exists());
        let folder = match pinned.as_ref().is_some_and(is_whole) {
            true => None,
            false => snapshot(&self.repo, &self.revision)?,
        };
        self.files
            .iter()
            .map(|KnownFile { name, .. }| {
                let of = |folder: &Option<PathBuf>| {
                    folder.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists())
                };
                of(&pinned).or_else(|| of(&folder)).ok_or_else(|| ModelError::NotPulled {
                    name: self.name.clone(),
                    file: name.clone(),
                    library: paths::model_dir(self.role, &self.name),
                    cache: cache.path().clone(),
                })
            })
            .collect()
    }

    /// Whether the manifest has the hash of every file.
    pub(crate) fn is_pinned(&self) -> bool {
        self.embedded || self.files.iter().all(|file| file.sha256.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teacher::chat::Family;

    const FAMILIES: [Family; 10] = [
        Family::Llama3,
        Family::Qwen25,
        Family::Qwen3,
        Family::Gemma,
        Family::Mistral,
        Family::SmolLm2,
        Family::SmolLm3,
        Family::Phi3,
        Family::Phi4,
        Family::GptOss,
    ];

    #[test]
    fn the_manifest_is_complete() {
        let models = known_models();
        for model in &models {
            let name = &model.name;
            let same = |other: &&KnownModel| other.name == *name && other.role == model.role;
            assert_eq!(models.iter().filter(same).count(), 1, "{name} is listed twice");
            paths::check_name("model", name, "").unwrap();
            assert!(!model.licence.is_empty() && !model.about.is_empty(), "{name}");
            if model.embedded {
                continue;
            }
            let (owner, repo) = model.repo.split_once('/').expect("owner/name");
            paths::check_name("owner", owner, "").unwrap();
            paths::check_name("repo", repo, "").unwrap();
            assert!(!model.revision.is_empty() && !model.files.is_empty(), "{name}");
            assert!(model.memory > 0, "{name} has no memory need");
            for file in &model.files {
                paths::check_name("file", &file.name, "").unwrap();
                let hash = file.sha256.as_deref().unwrap_or(&"0".repeat(64)).to_owned();
                assert!(hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
                assert_eq!(
                    file.sha256.is_some(),
                    file.size.is_some(),
                    "{name}: hash and size go together"
                );
            }
            // A hash belongs to one commit; a branch moves.
            let commit =
                model.revision.len() == 40 && model.revision.chars().all(|c| c.is_ascii_hexdigit());
            assert_eq!(model.is_pinned(), commit, "{name}");
        }
    }

    #[test]
    fn teachers_have_a_known_template_and_students_all_their_files() {
        for model in known_models().iter().filter(|model| !model.embedded) {
            let has = |name: &str| model.files.iter().any(|file| file.name == name);
            match model.role {
                Role::Teacher => {
                    let gguf = model.files.iter().all(|file| file.name.ends_with(".gguf"));
                    assert!(gguf && model.sentences.is_none(), "{}", model.name);
                    let known = FAMILIES.iter().any(|family| family.name() == model.chat);
                    assert!(known, "{}: {}", model.name, model.chat);
                }
                Role::Student => {
                    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
                        assert!(has(file), "{} has no {file}", model.name);
                    }
                    assert!(model.chat.is_empty(), "{}", model.name);
                }
            }
        }
    }
}
