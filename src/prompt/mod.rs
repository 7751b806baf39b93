//! Renders the prompts for the teacher and, in [`reply`], parses its replies. Every word that is
//! sent to a teacher comes from a template in `prompts/`.
//!
//! The templates are compiled in. A task may override them, in any language: a file in the folder
//! `prompts/` beside its `task.toml` replaces the built-in template of the same name. The hash over
//! all templates is part of each run's provenance.

pub(crate) mod reply;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{hint::Hint, task::Task};

const BUILT_IN: [(&str, &str); 8] = [
    ("classes.j2", include_str!("../../prompts/classes.j2")),
    ("continuation.j2", include_str!("../../prompts/continuation.j2")),
    ("gpt3mix.j2", include_str!("../../prompts/gpt3mix.j2")),
    ("gpt3mix_label.j2", include_str!("../../prompts/gpt3mix_label.j2")),
    ("labelled.j2", include_str!("../../prompts/labelled.j2")),
    ("mixup.j2", include_str!("../../prompts/mixup.j2")),
    ("plain.j2", include_str!("../../prompts/plain.j2")),
    ("relabel.j2", include_str!("../../prompts/relabel.j2")),
];

/// The built-in templates: file name and text.
pub(crate) fn built_in() -> &'static [(&'static str, &'static str)] {
    &BUILT_IN
}

/// Why a prompt could not be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromptError {
    #[error("cannot read the template {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: there is no prompt of that name")]
    UnknownName { path: PathBuf, known: String },
    #[error("the template {name} does not render: {message}")]
    Render { name: &'static str, message: String },
}

impl Hint for PromptError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Read { .. } => None,
            Self::UnknownName { known, .. } => Some(format!("the names are {known}").into()),
            Self::Render { name, .. } => {
                Some(format!("prompts/{name} of the project shows which variables it has").into())
            }
        }
    }
}

/// One class, as a template sees it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShownClass {
    pub number: usize,
    pub name: String,
    pub description: String,
    pub examples: Vec<String>,
}

/// A text and its class, as a template sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LabelledExample {
    pub text: String,
    /// Name of its class.
    pub name: String,
}

/// A question to the teacher: which class does this text belong to?
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    /// Class indices, in the order in which they are shown and scored.
    pub candidates: Vec<usize>,
    /// The text in question.
    pub text: String,
    pub prompt: String,
}

impl Question {
    /// The most probable of the candidates, given their `probabilities`.
    pub(crate) fn winner(&self, probabilities: &[f32]) -> usize {
        let best =
            (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
        self.candidates[best.unwrap_or_default()]
    }
}

/// `text` on one line, as an item of a list.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The templates in use, and their hash.
pub(crate) struct Prompts {
    environment: Environment<'static>,
    sha256: String,
}

impl Prompts {
    /// The built-in templates, each replaced by the file of the same name in `folder` if it exists.
    ///
    /// # Errors
    /// An unreadable file, a file name that no prompt has, a template that does not compile.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Self, PromptError> {
        let mut sources: BTreeMap<&'static str, String> =
            BUILT_IN.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
            replace_from(folder, &mut sources)?;
        }
        let mut hash = Sha256::new();
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in sources {
            hash.update(name);
            hash.update([0]);
            hash.update(&source);
            hash.update([0]);
            environment
                .add_template_owned(name, source)
                .map_err(|error| PromptError::Render { name, message: error.to_string() })?;
        }
        Ok(Self { environment, sha256: format!("{:x}", hash.finalize()) })
    }

    /// SHA-256 (hex) over the names and texts of all templates.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Asks for `count` texts that belong to `major` and `minor`, indices into `shown`, to the
    /// given percentages.
    pub(crate) fn mixup(
        &self,
        task: &Task,
        shown: &[ShownClass],
        (major, minor): (usize, usize),
        (major_percent, minor_percent): (u8, u8),
        count: usize,
    ) -> Result<String, PromptError> {
        self.render(
            "mixup.j2",
            context! {
                task => context! { item => task.item, items => task.items },
                classes => shown,
                count,
                major => shown[major],
                minor => shown[minor],
                major_percent,
                minor_percent,
            },
        )
    }

    /// Asks for `count` texts of the class `major`, an index into `shown`.
    pub(crate) fn plain(
        &self,
        task: &Task,
        shown: &[ShownClass],
        major: usize,
        count: usize,
    ) -> Result<String, PromptError> {
        self.render(
            "plain.j2",
            context! {
                task => context! { item => task.item, items => task.items },
                classes => shown,
                count,
                major => shown[major],
            },
        )
    }

    /// Asks for `count` more texts of `class` and shows nothing but the examples of that class.
    pub(crate) fn continuation(
        &self,
        task: &Task,
        class: &ShownClass,
        count: usize,
    ) -> Result<String, PromptError> {
        self.render(
            "continuation.j2",
            context! {
                task => context! { item => task.item, items => task.items },
                class,
                count,
            },
        )
    }

    /// Asks for `count` more texts like `examples`, each with its class, one of `names`.
    pub(crate) fn gpt3mix(
        &self,
        task: &Task,
        names: &[&str],
        examples: &[LabelledExample],
        count: usize,
    ) -> Result<String, PromptError> {
        self.render(
            "gpt3mix.j2",
            context! {
                task => context! { item => task.item, items => task.items },
                names,
                examples,
                count,
            },
        )
    }

    /// Asks which of `names` follows `text`, as one of them follows each of `examples`.
    pub(crate) fn gpt3mix_label(
        &self,
        task: &Task,
        names: &[&str],
        examples: &[LabelledExample],
        text: &str,
    ) -> Result<String, PromptError> {
        self.render(
            "gpt3mix_label.j2",
            context! {
                task => context! { item => task.item, items => task.items },
                names,
                examples,
                text,
            },
        )
    }

    /// Asks which of the `shown` classes `text` belongs to.
    pub(crate) fn relabel(
        &self,
        task: &Task,
        shown: &[ShownClass],
        text: &str,
    ) -> Result<String, PromptError> {
        self.render(
            "relabel.j2",
            context! {
                task => context! { item => task.item, items => task.items },
                classes => shown,
                text,
            },
        )
    }

    fn render(&self, name: &'static str, values: minijinja::Value) -> Result<String, PromptError> {
        self.environment
            .get_template(name)
            .and_then(|template| template.render(values))
            .map(|text| text.trim().to_owned())
            .map_err(|error| PromptError::Render { name, message: format!("{error:#}") })
    }
}

fn replace_from(
    folder: &Path,
    sources: &mut BTreeMap<&'static str, String>,
) -> Result<(), PromptError> {
    let read = |path: PathBuf, source| PromptError::Read { path, source };
    for entry in fs::read_dir(folder).map_err(|error| read(folder.to_owned(), error))? {
        let path = entry.map_err(|error| read(folder.to_owned(), error))?.path();
        if path.extension().is_none_or(|extension| extension != "j2") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((&known, _)) = sources.iter().find(|(known, _)| **known == name) else {
            let known: Vec<&str> = sources.keys().copied().collect();
            return Err(PromptError::UnknownName { path, known: known.join(", ") });
        };
        let text = fs::read_to_string(&path).map_err(|error| read(path, error))?;
        sources.insert(known, text);
    }
    Ok(())
}

/// The classes `indices` of `task`, numbered in that order, each with its `examples`.
pub(crate) fn shown_classes(
    task: &Task,
    indices: &[usize],
    mut examples: impl FnMut(usize) -> Vec<String>,
) -> Vec<ShownClass> {
    indices
        .iter()
        .enumerate()
        .map(|(position, &index)| ShownClass {
            number: position + 1,
            name: task.classes[index].name.clone(),
            description: task.classes[index].description.clone(),
            examples: examples(index),
        })
        .collect()
}
