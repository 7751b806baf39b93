//! Collects what goes into a bundle, in the order of its tar.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{
    BundleError,
    entry::Entry,
    index::{Kind, ModelEntry},
    paths, source,
};
use crate::{models::LocalModel, prompt};

/// What goes into a bundle besides prompts, notes and the bill of materials.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// The program's file.
    pub program: Option<PathBuf>,
    pub models: Vec<LocalModel>,
    /// A checkout of the program's sources, which are included with all their dependencies.
    pub source: Option<PathBuf>,
}

/// All entries but the bill of materials, and the models for the index. If the sources are
/// selected, their dependencies are copied into `scratch`.
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
