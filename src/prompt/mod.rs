//! Renders the prompts for the teacher and, in [`reply`], parses its replies. Every word that is
//! sent to a teacher comes from a template in `prompts/`.
//!
//! The templates are compiled in. A task may override them, in any language: a file in the folder
//! `prompts/` beside its `task.toml` replaces the built-in template of the same name. The hash over
//! all templates is part of each run's provenance.
//!
//! A task may come from somebody else, so its templates are untrusted code, limited by
//! [`crate::template`]. They may include one another by literal names, which is done before they
//! are compiled: a template that is included while another runs would not be limited. Their errors
//! hold no values, which may be texts of the seeds.

pub(crate) mod reply;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use minijinja::{Environment, UndefinedBehavior, context, machinery::WhitespaceConfig};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{fs::read_regular, hint::Hint, task::Task, template::Template};

const BUILT_IN: [(&str, &str); 15] = [
    ("classes.j2", include_str!("../../prompts/classes.j2")),
    ("continuation.j2", include_str!("../../prompts/continuation.j2")),
    (DESCRIBE, include_str!("../../prompts/describe.j2")),
    (DESCRIBE_CUE, include_str!("../../prompts/describe_cue.j2")),
    ("gpt3mix.j2", include_str!("../../prompts/gpt3mix.j2")),
    ("gpt3mix_label.j2", include_str!("../../prompts/gpt3mix_label.j2")),
    ("labelled.j2", include_str!("../../prompts/labelled.j2")),
    ("mixup.j2", include_str!("../../prompts/mixup.j2")),
    ("near_miss.j2", include_str!("../../prompts/near_miss.j2")),
    ("outline.j2", include_str!("../../prompts/outline.j2")),
    ("paper_mixup.j2", include_str!("../../prompts/paper_mixup.j2")),
    ("paper_plain.j2", include_str!("../../prompts/paper_plain.j2")),
    ("paper_relabel.j2", include_str!("../../prompts/paper_relabel.j2")),
    ("plain.j2", include_str!("../../prompts/plain.j2")),
    ("relabel.j2", include_str!("../../prompts/relabel.j2")),
];

/// Asks for a description. Like [`DESCRIBE_CUE`] it is not part of [`Prompts::sha256`]: no text and
/// no label depends on it.
const DESCRIBE: &str = "describe.j2";
/// How the reply with a description is made to begin.
const DESCRIBE_CUE: &str = "describe_cue.j2";

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

/// Where prompts show examples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PromptForm {
    /// After the list of classes, just before the request: small models follow most closely what
    /// stands last. A request for texts shows only examples of the classes that the texts are for;
    /// a question for a label shows all examples, each followed by its class (docs/recipe.md). The
    /// templates are `mixup.j2`, `plain.j2` and `relabel.j2`.
    #[default]
    ExamplesLast,
    /// Under each class, as in the paper (`paper_mixup.j2`, `paper_plain.j2`, `paper_relabel.j2`).
    Paper,
}

impl PromptForm {
    /// The name of the template of this form.
    fn choose(self, examples_last: &'static str, paper: &'static str) -> &'static str {
        match self {
            Self::ExamplesLast => examples_last,
            Self::Paper => paper,
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
    /// Whether it is for the texts that belong to none of the others.
    pub none_of_these: bool,
}

/// The texts that a request asks for, whatever their class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WantedTexts {
    pub count: usize,
    /// Texts of any class that show how they are written.
    pub style: Vec<String>,
}

#[cfg(test)]
impl WantedTexts {
    /// So many texts, without texts of style.
    pub(crate) fn of(count: usize) -> Self {
        Self { count, style: Vec::new() }
    }
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

/// `text` on one line, as an item of a list.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The templates in use, and their hash.
pub(crate) struct Prompts {
    templates: BTreeMap<&'static str, Template>,
    sha256: String,
}

/// Maximum size of a task's template in bytes; the built-in ones have a few hundred.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;
/// Prints nothing; a tag such as `-%}` removes no white space beyond it.
const EDGE: &str = "{{ '' }}";
/// Maximum depth of includes.
const MAX_INCLUDES: usize = 4;

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
        for (name, source) in
            sources.iter().filter(|(name, _)| ![DESCRIBE, DESCRIBE_CUE].contains(name))
        {
            hash.update(name);
            hash.update([0]);
            hash.update(source);
            hash.update([0]);
        }
        let mut templates = BTreeMap::new();
        for &name in sources.keys() {
            let fault = |message| PromptError::Render { name, message };
            let source = with_includes(name, &sources, MAX_INCLUDES).map_err(fault)?;
            let template = Template::new(name, source, plain(), WhitespaceConfig::default())
                .map_err(|error| fault(error.to_string()))?;
            templates.insert(name, template);
        }
        Ok(Self { templates, sha256: format!("{:x}", hash.finalize()) })
    }

    /// SHA-256 (hex) over the names and texts of all templates that texts and labels depend on.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Asks for texts that belong to `major` and `minor`, indices into `shown`, to the given
    /// percentages.
    pub(crate) fn mixup(
        &self,
        form: PromptForm,
        task: &Task,
        shown: &[ShownClass],
        (major, minor): (usize, usize),
        (major_percent, minor_percent): (u8, u8),
        wanted: &WantedTexts,
    ) -> Result<String, PromptError> {
        self.render(
            form.choose("mixup.j2", "paper_mixup.j2"),
            context! {
                task => context! { item => task.item, items => task.items },
                classes => shown,
                count => wanted.count,
                major => shown[major],
                minor => shown[minor],
                major_percent,
                minor_percent,
                style => wanted.style,
            },
        )
    }

    /// Asks for texts of the class `major`, an index into `shown`.
    pub(crate) fn plain(
        &self,
        form: PromptForm,
        task: &Task,
        shown: &[ShownClass],
        major: usize,
        wanted: &WantedTexts,
    ) -> Result<String, PromptError> {
        self.render(
            form.choose("plain.j2", "paper_plain.j2"),
            context! {
                task => context! { item => task.item, items => task.items },
                classes => shown,
                count => wanted.count,
                major => shown[major],
                style => wanted.style,
            },
        )
    }

    /// Asks for texts that belong to none of the classes `shown`, though they come near the one at
    /// the place `near`. `none` is their class. The same for both [`PromptForm`]s: the paper has no
    /// such class.
    pub(crate) fn near_miss(
        &self,
        task: &Task,
        shown: &[ShownClass],
        near: usize,
        none: &ShownClass,
        wanted: &WantedTexts,
    ) -> Result<String, PromptError> {
        self.render(
            "near_miss.j2",
            context! {
                task => context! { item => task.item, items => task.items },
                classes => shown,
                count => wanted.count,
                near => shown[near],
                outside => none,
                style => wanted.style,
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
        names: &[String],
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
        names: &[String],
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
        form: PromptForm,
        task: &Task,
        shown: &[ShownClass],
        text: &str,
    ) -> Result<String, PromptError> {
        self.render(
            form.choose("relabel.j2", "paper_relabel.j2"),
            context! {
                task => context! { item => task.item, items => task.items },
                classes => shown,
                text,
            },
        )
    }

    /// Asks for a sentence that says what belongs to `class` and not to `other`; also how the reply
    /// begins.
    pub(crate) fn describe(
        &self,
        task: &Task,
        class: &ShownClass,
        other: &ShownClass,
    ) -> Result<(String, String), PromptError> {
        let render = |name| {
            let task = context! { item => task.item, items => task.items };
            self.render(name, context! { task, class, other })
        };
        Ok((render(DESCRIBE)?, render(DESCRIBE_CUE)?))
    }

    fn render(&self, name: &'static str, values: minijinja::Value) -> Result<String, PromptError> {
        let input = serde_json::to_string(&values).map_or(0, |text| text.len());
        let template = &self.templates[name];
        template
            .render(values, input)
            .map(|text| text.trim().to_owned())
            .map_err(|error| PromptError::Render { name, message: without_values(&error) })
    }
}

/// What a task's template may call: what minijinja has.
fn plain() -> &'static Environment<'static> {
    static PLAIN: OnceLock<Environment<'static>> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment
    })
}

/// The kind of an error and its line; the details may quote a text.
fn without_values(error: &minijinja::Error) -> String {
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    let budget = error.to_string().contains(crate::template::budget::EXCEEDED);
    let what = if budget {
        crate::template::budget::EXCEEDED.to_owned()
    } else {
        error.kind().to_string()
    };
    format!("{what}{line}")
}

/// The source of `name` with the sources that it includes by literal names in their places.
fn with_includes(
    name: &str,
    sources: &BTreeMap<&'static str, String>,
    depth: usize,
) -> Result<String, String> {
    let source = sources.get(name).ok_or("it includes a template that is none of the prompts")?;
    let mut whole = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some((before, included, after)) = next_include(rest) {
        if depth == 0 {
            return Err(format!("its includes are more than {MAX_INCLUDES} deep"));
        }
        whole += before;
        // An included template drops its last line feed, and its tags that remove white space end
        // at its edges.
        let included = with_includes(included, sources, depth - 1)?;
        let included = included.strip_suffix('\n').unwrap_or(&included);
        whole += &format!("{EDGE}{included}{EDGE}");
        if whole.len() as u64 > MAX_TEMPLATE_BYTES {
            return Err(format!("with its includes it has more than {MAX_TEMPLATE_BYTES} bytes"));
        }
        rest = after;
    }
    Ok(whole + rest)
}

/// The text before the first `{% include "NAME" %}` of `source`, NAME, and the text after it.
fn next_include(source: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(start) = source[from..].find("{%").map(|at| from + at) {
        let end = start + source[start..].find("%}")?;
        let tag = source[start + 2..end].trim();
        let name = tag.strip_prefix("include").map(str::trim).and_then(|name| {
            let bare = |quote| name.strip_prefix(quote)?.strip_suffix(quote);
            bare('"').or_else(|| bare('\''))
        });
        if let Some(name) = name {
            return Some((&source[..start], name, &source[end + 2..]));
        }
        from = end + 2;
    }
    None
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
        let text = read_regular(&path, MAX_TEMPLATE_BYTES).map_err(|error| read(path, error))?;
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
            name: task.classes[index].shown(),
            description: task.classes[index].explanation().to_owned(),
            examples: examples(index),
            none_of_these: task.classes[index].none_of_these,
        })
        .collect()
}

#[cfg(test)]
mod tests;
