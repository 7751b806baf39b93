//! The task: which classes to distinguish, and a few examples of each.
//!
//! A task is a folder with a `task.toml` (classes with descriptions, number of seeds per class) and
//! the files it names: the labelled seeds and, optionally, a test set and a pool of real training
//! texts. Nothing here depends on a model. Later stages start from a [`Task`] and may rely on what
//! loading has checked: labels are indices into `classes`, no text is empty, no seed occurs twice,
//! no test text is a seed, and every class has as many seeds as a number `shots` asks for.
//!
//! ```toml
//! name = "help-desk"      # default: the folder's name
//! item = "ticket"         # name of one text in prompts; default "message"
//! items = "tickets"       # default: item + "s"
//! shots = 2               # seeds per class that prompts show; 0 = descriptions only,
//!                         # "all" = all of them; default: up to 8
//! [[class]]
//! name = "password_reset"
//! description = "forgotten, expired or new password"
//! [[class]]
//! name = "vpn"
//! description = "remote access does not connect"
//! title = "VPN access"     # optional: what prompts call it; the name in words otherwise
//! formerly = "remote"     # optional: its name before, if it was renamed
//! [[class]]
//! name = "other"
//! none_of_these = true    # optional, of one class at most: texts of no other class. It needs no
//!                         # examples: the teacher writes texts that come near the other classes
//! [data]
//! seeds = "seeds.jsonl"   # .csv, .tsv, .json, .jsonl or .parquet, beside task.toml
//! test = "test.jsonl"     # optional
//! pool = "train.jsonl"    # optional: real training texts, an upper bound to compare with
//! unlabelled = "all.csv"  # optional: texts without labels, any number; the teacher labels some
//! text_column = "text"    # several are joined: ["subject", "body"]; default: by their names
//! label_column = "label"
//! # or for one file: test = { file = "test.csv", text_column = "body", label_column = "topic" }
//! ```
//!
//! `manifest` reads `task.toml`, `read` reads the texts, `load` puts both together, `unlabelled`
//! streams the texts without labels, `labelled` a file for a classifier that exists, `describe`
//! changes descriptions in `task.toml`, `fault` describes what is wrong, and [`scaffold()`] creates
//! a new task from labelled examples.

mod change;
mod demo;
mod describe;
mod draw;
mod fault;
mod labelled;
mod limits;
mod load;
mod manifest;
mod names;
mod read;
mod scaffold;
mod unlabelled;
mod warning;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(crate) use change::TaskChange;
pub(crate) use demo::demo_task;
pub(crate) use describe::{DescribeError, NewDescription, manifest_path, replace_descriptions};
pub(crate) use draw::draw;
pub use fault::TaskError;
pub(crate) use fault::{
    Fault, Place, Problem, above_tables_hint, enumerated, first_few, is_root_key,
};
pub(crate) use labelled::{Contents, LabelledFile};
pub(crate) use read::{
    Columns, Format, Origin, Reader, TableRow, open_file, read_labelled, read_texts,
};
pub(crate) use scaffold::scaffold;
pub(crate) use unlabelled::{UnlabelledFile, UnlabelledTexts};

pub(crate) use warning::Warning;

use load::Files;
use manifest::FILE;
use read::{Faults, Source};

/// A class: its name in files and predictions, and one line on what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    pub name: String,
    /// What prompts call the class, if `task.toml` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Empty if none was given; [`Task::warnings`] lists those classes.
    pub description: String,
    /// What the class was called before, if `task.toml` says so: a run of the task as it was then
    /// keeps the texts of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<String>,
    /// Whether its texts are those that belong to none of the other classes. It needs neither
    /// examples nor a description; no other class of the task is like that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub none_of_these: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Class {
    /// What prompts call the class: its title, or its name in words. Small models copy identifiers
    /// into the texts that they write.
    pub(crate) fn shown(&self) -> String {
        self.title.clone().unwrap_or_else(|| self.name.replace('_', " ").trim().to_owned())
    }

    /// The description, or nothing if it only repeats the name, as a task made from a column of
    /// labels often has it: a prompt would say the same twice.
    pub(crate) fn explanation(&self) -> &str {
        let description = words(&self.description);
        let repeated = [words(&self.shown()), words(&self.name)].contains(&description);
        if repeated { "" } else { &self.description }
    }

    /// What describes the class in prompts besides its name; texts that were written from another
    /// description are of another class.
    pub(crate) fn described(&self) -> Cow<'_, str> {
        let none = if self.none_of_these { "none of these: " } else { "" };
        match (&self.title, none) {
            (None, "") => self.description.as_str().into(),
            (None, none) => format!("{none}{}", self.description).into(),
            (Some(title), none) => format!("{none}{title}: {}", self.description).into(),
        }
    }
}

/// A text and the index of its class in [`Task::classes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledText {
    pub text: String,
    pub label: usize,
}

/// A loaded and checked task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub name: String,
    /// The name of one text in prompts, such as "ticket".
    pub item: String,
    /// The plural of [`Task::item`].
    pub items: String,
    /// Number of seeds per class that prompts show, all of those of a class with fewer; training
    /// uses all seeds. 0: prompts show descriptions only.
    pub shots: usize,
    /// At least two, in the order of `task.toml`.
    pub classes: Vec<Class>,
    /// All seeds in file order, including those beyond `shots` per class.
    pub seeds: Vec<LabelledText>,
    pub test: Vec<LabelledText>,
    /// The line of each text of the test set in its file; empty in older run folders.
    #[serde(default)]
    pub test_lines: Vec<usize>,
    /// Real training texts; empty if `task.toml` names none.
    pub pool: Vec<LabelledText>,
    /// The file of texts without labels, if `task.toml` names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unlabelled: Option<UnlabelledFile>,
    /// The folder of `task.toml`; empty for the embedded task.
    pub folder: PathBuf,
    /// The tables of later stages (`[teacher]`, `[augment]`, …), unchecked.
    pub settings: toml::Table,
    /// The text of `task.toml`.
    pub manifest: String,
    /// SHA-256 (hex) of `task.toml` and the data files, whatever folder they are in.
    pub sha256: String,
    /// What could be better.
    pub warnings: Vec<Warning>,
}

impl Task {
    /// The texts that were written by people: seeds, test set and pool.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let all = self.seeds.iter().chain(&self.test).chain(&self.pool);
        all.map(|item| item.text.as_str()).collect()
    }

    /// Loads a task from its folder or its `task.toml`.
    ///
    /// # Errors
    /// [`TaskError::Faults`] with all faults of `task.toml` and the files it names.
    pub fn load(path: &Path) -> Result<Self, TaskError> {
        let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let shown = file.display().to_string();
        let mut source = Source::open(&shown, &file)
            .map_err(|problem| TaskError::one(Place::whole(&shown), problem))?;
        source.name = FILE.to_owned();
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut task =
            Self::read(&source, &Files::Folder(folder)).map_err(|error| error.below(folder))?;
        if task.name.is_empty() {
            let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            let name = whole.file_name().unwrap_or("task".as_ref());
            task.name = name.to_string_lossy().into_owned();
        }
        task.folder = folder.to_owned();
        Ok(task)
    }

    /// Loads a task that is embedded in the program: the text of its `task.toml`, and the CSV or
    /// JSONL files that it names.
    ///
    /// # Errors
    /// As [`Task::load`].
    pub fn load_embedded(toml: &str, files: &[(&str, &[u8])]) -> Result<Self, TaskError> {
        let source = Source { name: FILE.to_owned(), bytes: Cow::Borrowed(toml.as_bytes()) };
        let mut task = Self::read(&source, &Files::Embedded(files))?;
        if task.name.is_empty() {
            task.name = "task".to_owned();
        }
        Ok(task)
    }

    /// The file and the line of row number `row` (from 0) of the test set.
    pub(crate) fn test_place(&self, row: usize) -> String {
        let toml = self.manifest.parse::<toml::Table>().ok();
        let data = toml.as_ref().and_then(|table| table.get("data"));
        let file = data.and_then(|data| data.get("test")).and_then(toml::Value::as_str);
        let line = self.test_lines.get(row).copied().unwrap_or(row + 1);
        format!("{}:{line}", file.unwrap_or("the test set"))
    }

    /// The index of the class called `name`.
    pub(crate) fn class_index(&self, name: &str) -> Option<usize> {
        self.classes.iter().position(|class| class.name == name)
    }

    /// The class of the texts that belong to none of the others, if the task declares one.
    pub(crate) fn none_of_these(&self) -> Option<usize> {
        self.classes.iter().position(|class| class.none_of_these)
    }

    /// The classes that texts come near to: all but [`Self::none_of_these`].
    pub(crate) fn named_classes(&self) -> impl Iterator<Item = usize> {
        (0..self.classes.len()).filter(|class| !self.classes[*class].none_of_these)
    }

    /// The seeds of a class, in file order; all of them, whatever `shots` says.
    pub fn seeds_of(&self, class: usize) -> impl Iterator<Item = &LabelledText> {
        self.seeds.iter().filter(move |seed| seed.label == class)
    }

    /// The number of seeds per class of a comparison, which gives every named class as many:
    /// `shots`, or what the one with the fewest has.
    pub(crate) fn even_shots(&self) -> usize {
        let fewest = self.named_classes().map(|class| self.seeds_of(class).count()).min();
        self.shots.min(fewest.unwrap_or(0))
    }

    /// `shots` seeds per class, class by class, in file order. If a class has more, the choice
    /// depends only on `seed` and its texts; one text more changes at most one of those drawn.
    pub fn draw_seeds(&self, seed: u64) -> Vec<LabelledText> {
        draw(&self.seeds, &vec![self.shots; self.classes.len()], "shots", seed)
    }

    /// The same task with another number of seeds per class.
    ///
    /// # Errors
    /// [`TaskError::Faults`] naming each class that has fewer and needs them.
    pub fn with_shots(mut self, shots: usize) -> Result<Self, TaskError> {
        let mut faults = Faults::default();
        for label in self.named_classes() {
            let class = &self.classes[label];
            let found = self.seeds_of(label).count();
            if found < shots {
                let problem = Problem::TooFewSeeds { class: class.name.clone(), found, shots };
                faults.add(FILE, (0, 0), problem);
            }
        }
        self.shots = shots;
        faults.finish(self)
    }

    /// [`Self::warnings`] as they are printed: one line for all classes without a description.
    pub(crate) fn told_warnings(&self) -> Vec<String> {
        warning::told(&self.warnings, self.classes.len())
    }

    /// The place in `task.toml` of a key of [`Task::settings`], such as `student`, `epochs`; if the
    /// key is missing, that of the nearest table above it.
    pub fn place_of(&self, path: &[&str]) -> Place {
        let file = self.folder.join(FILE).display().to_string();
        Place::new(&file, manifest::place_of(&self.manifest, path))
    }
}

/// `text` in lower case with its white space collapsed. Two texts count as the same if this is
/// equal.
pub(crate) fn normalised(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// The words of `text` in lower case, without punctuation, separated by spaces.
pub(crate) fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
