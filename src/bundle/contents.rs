//! What goes into a bundle, in the order of its tar.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{
    BundleError, Selection,
    index::{Kind, ModelEntry},
    paths, source,
};
use crate::{models::LocalModel, prompt};

/// Where a member's bytes come from.
pub(super) enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// One file that is to go in.
pub(super) struct Entry {
    pub path: String,
    pub kind: Kind,
    pub executable: bool,
    pub content: Content,
}

impl Entry {
    pub(super) fn text(path: &str, kind: Kind, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            executable: false,
            content: Content::Bytes(text.as_bytes().to_vec()),
        }
    }

    pub(super) fn file(path: String, kind: Kind, executable: bool, file: PathBuf) -> Self {
        Self { path, kind, executable, content: Content::File(file) }
    }

    /// Bytes that will be read.
    pub(super) fn size(&self) -> Result<u64, BundleError> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.len() as u64),
            Content::File(path) => fs::metadata(path)
                .map(|metadata| metadata.len())
                .map_err(|source| BundleError::Read { path: path.clone(), source }),
        }
    }
}

/// All but the bill of materials, and the models' part of the index. Dependencies are fetched into
/// `scratch`, if the sources are wanted.
pub(super) fn gather(
    selection: &Selection,
    scratch: &Path,
) -> Result<(Vec<Entry>, Vec<ModelEntry>), BundleError> {
    let mut entries = vec![
        Entry::text("README.md", Kind::Note, include_str!("readme.md")),
        Entry::text("LICENSE", Kind::Note, include_str!("../../LICENSE")),
        Entry::text("models/manifest.toml", Kind::Note, include_str!("../../models/manifest.toml")),
    ];
    for (name, text) in prompt::built_in() {
        entries.push(Entry::text(&format!("prompts/{name}"), Kind::Prompt, text));
    }
    if let Some(program) = &selection.program {
        let path = format!("bin/promptmix{}", env::consts::EXE_SUFFIX);
        entries.push(Entry::file(path, Kind::Program, true, program.clone()));
    }
    let mut models = Vec::new();
    for model in &selection.models {
        models.push(add_model(model, &mut entries)?);
    }
    if let Some(checkout) = &selection.source {
        entries.extend(source::gather(checkout, scratch)?);
    }
    let bill = "sbom.cdx.json";
    paths::check_all(entries.iter().map(|entry| entry.path.as_str()).chain([bill]))
        .map_err(|(path, why)| BundleError::Name { path: path.to_owned(), why })?;
    Ok((entries, models))
}

fn add_model(model: &LocalModel, entries: &mut Vec<Entry>) -> Result<ModelEntry, BundleError> {
    let name = model.name.clone();
    let check = |name: &str| {
        paths::check_model(name).map_err(|why| BundleError::Name { path: name.to_owned(), why })
    };
    check(&name)?;
    let mut files = Vec::new();
    for (file, from) in &model.files {
        check(file)?;
        let path = format!("models/{}/{name}/{file}", model.role);
        entries.push(Entry::file(path.clone(), Kind::Model, false, from.clone()));
        files.push((file.clone(), path));
    }
    Ok(ModelEntry { role: model.role, name, licence: model.licence.clone(), files })
}
