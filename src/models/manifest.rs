//! `models/manifest.toml`: the models that are known by name, and what a name may be.

use std::{path::PathBuf, sync::LazyLock};

use hf_hub::{Cache, Repo, RepoType};
use serde::{Deserialize, Serialize};

use super::{ModelError, Role, library, lock::Lock};

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
    /// A commit, or a branch where nobody checked one.
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub files: Vec<KnownFile>,
    /// An SPDX expression, or the licence's own name where SPDX has none.
    pub licence: String,
    /// Memory in MB, an estimate: for a teacher the file and 8 sequences of 2048 tokens, for a student
    /// its training in batches of 16 texts. 0 where it does not matter.
    #[serde(default)]
    pub memory: u64,
    /// A teacher's family of chat templates, as `doctor` names it.
    #[serde(default)]
    pub chat: String,
    pub about: String,
}

/// One file of a model. Size and hash are there only where somebody checked them.
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
        .expect("the manifest is part of the program and is checked by a test");
    manifest.model
});

/// Every model that is known by name.
pub(crate) fn known_models() -> Vec<KnownModel> {
    MODELS.clone()
}

/// The entry of a name.
pub(super) fn known(role: Role, name: &str) -> Option<KnownModel> {
    MODELS.iter().find(|model| model.role == role && model.name == name).cloned()
}

/// The Hugging Face cache of this user, which may not exist.
pub(super) fn hub_cache() -> Cache {
    match std::env::var_os("HF_HUB_CACHE").filter(|value| !value.is_empty()) {
        Some(folder) => Cache::new(folder.into()),
        None => Cache::from_env(),
    }
}

impl KnownModel {
    pub(super) fn hub_repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, revision.to_owned())
    }

    /// The model's files in the local Hugging Face cache, in the manifest's order: of the commit in
    /// the lock file, or else of the manifest's revision.
    ///
    /// # Errors
    /// [`ModelError::NotPulled`] with the first file that is missing.
    pub(crate) fn cached(&self) -> Result<Vec<PathBuf>, ModelError> {
        let cache = hub_cache();
        let repo = cache.repo(self.hub_repo(&self.revision));
        let pinned = Lock::read()?.find(self.role, &self.name).map(|locked| locked.commit.clone());
        let snapshot =
            pinned.filter(|commit| !commit.is_empty()).map(|commit| repo.pointer_path(&commit));
        self.files
            .iter()
            .map(|KnownFile { name, .. }| {
                let pinned = snapshot.as_ref().map(|snapshot| snapshot.join(name));
                pinned.filter(|path| path.exists()).or_else(|| repo.get(name)).ok_or_else(|| {
                    ModelError::NotPulled {
                        name: self.name.clone(),
                        file: name.clone(),
                        library: library::folder(self.role, &self.name),
                        cache: cache.path().clone(),
                    }
                })
            })
            .collect()
    }

    /// Whether the manifest vouches for every file.
    pub(crate) fn is_pinned(&self) -> bool {
        self.embedded || self.files.iter().all(|file| file.sha256.is_some())
    }
}

/// Whether `name` can be the name of a folder or file in the library: plain characters, nothing that
/// leads elsewhere, nothing hidden.
///
/// # Errors
/// [`ModelError::Name`] says what is wrong with it.
pub(super) fn check_name(
    what: &'static str,
    name: &str,
    mend: &'static str,
) -> Result<(), ModelError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let reason = if name.is_empty() || name.len() > 128 {
        "it must have between 1 and 128 characters"
    } else if !name.chars().all(plain) {
        "only letters, digits and . _ - + may stand in it"
    } else if name.starts_with(['.', '-']) {
        "it must not begin with . or -"
    } else if name.contains("..") {
        "it must not hold two dots in a row"
    } else {
        return Ok(());
    };
    Err(ModelError::Name { name: name.to_owned(), what, reason, mend })
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
    fn the_manifest_is_whole() {
        let models = known_models();
        for model in &models {
            let name = &model.name;
            let same = |other: &&KnownModel| other.name == *name && other.role == model.role;
            assert_eq!(models.iter().filter(same).count(), 1, "{name} stands there twice");
            check_name("model", name, "").unwrap();
            assert!(!model.licence.is_empty() && !model.about.is_empty(), "{name}");
            if model.embedded {
                continue;
            }
            let (owner, repo) = model.repo.split_once('/').expect("owner/name");
            check_name("owner", owner, "").unwrap();
            check_name("repo", repo, "").unwrap();
            assert!(!model.revision.is_empty() && !model.files.is_empty(), "{name}");
            assert!(model.memory > 0, "{name} has no memory need");
            for file in &model.files {
                check_name("file", &file.name, "").unwrap();
                let hash = file.sha256.as_deref().unwrap_or(&"0".repeat(64)).to_owned();
                assert!(hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
                assert_eq!(
                    file.sha256.is_some(),
                    file.size.is_some(),
                    "{name}: hash and size go together"
                );
            }
            // Hashes mean something for one commit only.
            let commit =
                model.revision.len() == 40 && model.revision.chars().all(|c| c.is_ascii_hexdigit());
            assert_eq!(model.is_pinned(), commit, "{name}");
        }
    }

    #[test]
    fn teachers_speak_a_known_template_and_students_are_whole() {
        for model in known_models().iter().filter(|model| !model.embedded) {
            let has = |name: &str| model.files.iter().any(|file| file.name == name);
            match model.role {
                Role::Teacher => {
                    assert!(
                        model.files.iter().all(|file| file.name.ends_with(".gguf")),
                        "{}",
                        model.name
                    );
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

    #[test]
    fn names_lead_nowhere() {
        for name in
            ["", ".", "..", "a/b", "a\\b", "../a", ".hidden", "-flag", "a..b", "a b", "a\0", "ä"]
        {
            assert!(check_name("model", name, "").is_err(), "{name:?}");
        }
        check_name("model", "Qwen2.5-0.5B_instruct+x", "").unwrap();
    }
}
