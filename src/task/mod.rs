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
//! formerly = "remote"     # optional: its name before, if it was renamed
//! [data]
//! seeds = "seeds.jsonl"   # .csv, .tsv, .json, .jsonl or .parquet, beside task.toml
//! test = "test.jsonl"     # optional
//! pool = "train.jsonl"    # optional: real training texts, an upper bound to compare with
//! text_column = "text"    # several are joined: ["subject", "body"]; default: by their names
//! label_column = "label"
//! # or for one file: test = { file = "test.csv", text_column = "body", label_column = "topic" }
//! ```
//!
//! `manifest` reads `task.toml`, `read` reads the texts, `fault` describes what is wrong, and
//! [`scaffold()`] creates a new task from labelled examples.

mod change;
mod demo;
mod fault;
mod limits;
mod manifest;
mod names;
mod read;
mod scaffold;
mod warning;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use rand_core::RngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::rng::Rng;

pub(crate) use change::TaskChange;
pub(crate) use demo::demo_task;
pub use fault::TaskError;
pub(crate) use fault::{Place, Problem, enumerated};
pub(crate) use read::{
    Columns, Format, Origin, Reader, TableRow, open_file, read_labelled, read_texts,
};
pub(crate) use scaffold::scaffold;
pub(crate) use warning::Warning;

use manifest::{DataFile, FILE, Manifest, Shots};
use read::{Faults, Row, Source};

/// Seeds of each class that prompts show where `shots` is not set: more cost the teacher time and
/// crowd its context.
const SHOWN: usize = 8;

/// A class: the name used in prompts and predictions, and one line on what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    pub name: String,
    /// Empty if none was given; [`Task::warnings`] lists those classes.
    pub description: String,
    /// What the class was called before, if `task.toml` says so: a run of the task as it was then
    /// keeps the texts of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<String>,
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

/// Where a task's files come from.
enum Files<'a> {
    Folder(&'a Path),
    Embedded(&'a [(&'a str, &'a [u8])]),
}

impl<'a> Files<'a> {
    fn open(&self, name: &str) -> Result<Source<'a>, Problem> {
        match self {
            Self::Folder(folder) => Source::open(name, &folder.join(name)),
            Self::Embedded(files) => {
                let file = files.iter().find(|(other, _)| *other == name);
                let (_, bytes) = file.ok_or_else(|| Problem::MissingFile { path: name.into() })?;
                Ok(Source { name: name.to_owned(), bytes: Cow::Borrowed(bytes) })
            }
        }
    }
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

    fn read(source: &Source<'_>, files: &Files<'_>) -> Result<Self, TaskError> {
        let mut faults = Faults::default();
        let text = source.text(&mut faults);
        let manifest = text.and_then(|text| manifest::parse(text, &mut faults));
        let (Some(text), Some(manifest)) = (text, manifest) else {
            return Err(faults.into_error());
        };
        let mut loader = Loader {
            files,
            manifest: &manifest,
            labels: HashMap::new(),
            alike: HashMap::new(),
            hash: Sha256::new(),
            faults,
        };
        for (label, class) in manifest.classes.iter().enumerate() {
            loader.labels.insert(names::canonical(&class.name.0).into_owned(), label);
            loader.alike.insert(names::folded(&class.name.0), label);
        }
        loader.digest("task.toml", &source.bytes);
        let before = loader.faults.0.len();
        let seeds = loader.texts("seeds", manifest.seeds.as_ref());
        loader.check_duplicate_seeds(&seeds);
        let seeds_valid = loader.faults.0.len() == before && manifest.classes_valid;
        let test = loader.texts("test", manifest.test.as_ref());
        loader.check_test_texts(&seeds, &test);
        let pool = loader.texts("pool", manifest.pool.as_ref());
        let mut warnings = missing_descriptions(&manifest);
        // Faults in the seeds would only cause misleading faults about missing seeds.
        let shots = match seeds_valid {
            true => loader.shots(&seeds, &mut warnings),
            false => 0,
        };

        let Loader { hash, faults, .. } = loader;
        let texts =
            |located: Vec<LocatedText>| located.into_iter().map(|text| text.labelled).collect();
        faults.finish(Self {
            test_lines: test.iter().map(|text| text.line).collect(),
            shots,
            seeds: texts(seeds),
            test: texts(test),
            pool: texts(pool),
            folder: PathBuf::new(),
            manifest: text.to_owned(),
            sha256: format!("{:x}", hash.finalize()),
            warnings,
            name: manifest.name.unwrap_or_default(),
            item: manifest.item,
            items: manifest.items,
            classes: manifest
                .classes
                .into_iter()
                .map(|class| Class {
                    name: class.name.0,
                    description: class.description,
                    formerly: class.formerly.map(|(name, _)| name),
                })
                .collect(),
            settings: manifest.settings,
        })
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

    /// The seeds of a class, in file order; all of them, whatever `shots` says.
    pub fn seeds_of(&self, class: usize) -> impl Iterator<Item = &LabelledText> {
        self.seeds.iter().filter(move |seed| seed.label == class)
    }

    /// The number of seeds per class of a comparison, which gives every class as many: `shots`, or
    /// what the class with the fewest has.
    pub(crate) fn even_shots(&self) -> usize {
        let fewest = (0..self.classes.len()).map(|class| self.seeds_of(class).count()).min();
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
    /// [`TaskError::Faults`] naming each class that has fewer.
    pub fn with_shots(mut self, shots: usize) -> Result<Self, TaskError> {
        let mut faults = Faults::default();
        for (label, class) in self.classes.iter().enumerate() {
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
        Place::new(FILE, manifest::place_of(&self.manifest, path))
    }
}

/// Draws `wanted[class]` of `texts` for each class (all if there are fewer), class by class, in the
/// order of `texts`. The choice depends only on `stage`, `seed` and the texts of the class: those
/// with the lowest keyed hashes are drawn, so a text that is added or removed changes at most one.
pub(crate) fn draw(
    texts: &[LabelledText],
    wanted: &[usize],
    stage: &str,
    seed: u64,
) -> Vec<LabelledText> {
    let mut seen: HashMap<(usize, &str), u64> = HashMap::new();
    let mut of_class: Vec<Vec<(u64, usize)>> = vec![Vec::new(); wanted.len()];
    for (place, text) in texts.iter().enumerate().filter(|(_, text)| text.label < wanted.len()) {
        let copies = seen.entry((text.label, &text.text)).or_default();
        let rank = Rng::for_item(seed, &format!("{stage} {}", text.text), *copies).next_u64();
        *copies += 1;
        of_class[text.label].push((rank, place));
    }
    let mut drawn = Vec::new();
    for (mut ranked, &wanted) in of_class.into_iter().zip(wanted) {
        ranked.sort_unstable();
        ranked.truncate(wanted);
        let mut places: Vec<usize> = ranked.into_iter().map(|(_, place)| place).collect();
        places.sort_unstable();
        drawn.extend(places.into_iter().map(|place| texts[place].clone()));
    }
    drawn
}

/// `text` in lower case with its white space collapsed. Two texts count as the same if this is
/// equal.
pub(crate) fn normalised(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// A labelled text and its place in the file.
struct LocatedText {
    labelled: LabelledText,
    line: usize,
    column: usize,
}

struct Loader<'a> {
    files: &'a Files<'a>,
    manifest: &'a Manifest,
    /// The classes by their names, as [`names::canonical`] writes them.
    labels: HashMap<String, usize>,
    /// The classes by their names, as [`names::folded`] writes them.
    alike: HashMap<String, usize>,
    hash: Sha256,
    faults: Faults,
}

impl Loader<'_> {
    /// Adds a file to the hash. Role and length separate it from the others.
    fn digest(&mut self, role: &str, bytes: &[u8]) {
        self.hash.update(format!("{role} {}\n", bytes.len()));
        self.hash.update(bytes);
    }

    fn texts(&mut self, role: &str, file: Option<&DataFile>) -> Vec<LocatedText> {
        let Some(DataFile { name, place, columns }) = file else {
            return Vec::new();
        };
        let source = match self.files.open(name) {
            Ok(source) => source,
            Err(problem) => {
                let problem = match problem {
                    Problem::MissingFile { path } => Problem::MissingData { path },
                    other => other,
                };
                self.faults.add(FILE, *place, problem);
                return Vec::new();
            }
        };
        self.digest(role, &source.bytes);
        let rows = read::labelled(&source, columns, &mut self.faults);
        let mut texts = Vec::with_capacity(rows.len());
        let mut twins = HashSet::new();
        for Row { text, label } in rows {
            match self.labels.get(label.value.as_str()) {
                Some(&found) => texts.push(LocatedText {
                    labelled: LabelledText { text: text.value, label: found },
                    line: text.line,
                    column: text.column,
                }),
                None if self.manifest.classes_valid => {
                    let place = (label.line, label.column);
                    // Of each spelling, the first is enough.
                    if let Some(problem) = self.unknown(label.value, &mut twins) {
                        self.faults.add(name, place, problem);
                    }
                }
                // The label may belong to a class that could not be read.
                None => {}
            }
        }
        texts
    }

    /// The fault of a label that is no class; `None` for a twin that is among `twins` already.
    fn unknown(&self, label: String, twins: &mut HashSet<String>) -> Option<Problem> {
        let classes = &self.manifest.classes;
        let Some(&twin) = self.alike.get(&names::folded(&label)) else {
            let classes = classes.iter().map(|class| class.name.0.clone()).collect();
            return Some(Problem::UnknownLabel { label, classes });
        };
        let (other, place) = classes[twin].name.clone();
        let place = Place::new(FILE, place).to_string();
        twins.insert(label.clone()).then_some(Problem::TwinLabel { label, other, place })
    }

    fn check_duplicate_seeds(&mut self, seeds: &[LocatedText]) {
        let Some(DataFile { name, .. }) = &self.manifest.seeds else {
            return;
        };
        let mut first: HashMap<String, &LocatedText> = HashMap::new();
        for seed in seeds {
            let earlier = first.entry(normalised(&seed.labelled.text)).or_insert(seed);
            if !std::ptr::eq(*earlier, seed) {
                let problem = Problem::DuplicateText {
                    first: earlier.line,
                    relabelled: earlier.labelled.label != seed.labelled.label,
                };
                self.faults.add(name, (seed.line, seed.column), problem);
            }
        }
    }

    fn check_test_texts(&mut self, seeds: &[LocatedText], test: &[LocatedText]) {
        let Manifest { seeds: Some(seeds_file), test: Some(test_file), .. } = self.manifest else {
            return;
        };
        let (seeds_name, name) = (&seeds_file.name, &test_file.name);
        let lines: HashMap<String, usize> =
            seeds.iter().map(|seed| (normalised(&seed.labelled.text), seed.line)).collect();
        for text in test {
            if let Some(&line) = lines.get(&normalised(&text.labelled.text)) {
                let problem = Problem::TestIsSeed { seeds: seeds_name.clone(), line };
                self.faults.add(name, (text.line, text.column), problem);
            }
        }
    }

    /// The number of seeds per class that prompts show. Adds a fault for each class that has fewer.
    fn shots(&mut self, seeds: &[LocatedText], warnings: &mut Vec<Warning>) -> usize {
        let (asked, place) = self.manifest.shots;
        let Some(DataFile { name: seeds_name, .. }) = &self.manifest.seeds else {
            return match asked {
                Shots::Some | Shots::All | Shots::Exactly(0) => 0,
                Shots::Exactly(shots) => {
                    self.faults.add(FILE, place, Problem::NoSeedsFile { shots });
                    0
                }
            };
        };
        let mut counts = vec![0; self.manifest.classes.len()];
        for seed in seeds {
            counts[seed.labelled.label] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or(0);
        let (shots, needed) = match asked {
            Shots::Some => (most.clamp(1, SHOWN), 1),
            Shots::All => (most.max(1), 1),
            Shots::Exactly(shots) => (shots, shots),
        };
        for (class, &found) in self.manifest.classes.iter().zip(&counts) {
            let name = class.name.0.clone();
            let problem = match found {
                _ if found >= needed => continue,
                0 => Problem::NoSeeds { class: name, seeds: seeds_name.clone() },
                _ => Problem::TooFewSeeds { class: name, found, shots: needed },
            };
            self.faults.add(FILE, class.name.1, problem);
        }
        let shown = counts.iter().map(|&count| count.min(shots)).sum();
        if shown < seeds.len() {
            warnings.push(Warning::SeedsNotShown { shown, seeds: seeds.len(), shots });
        }
        shots
    }
}

fn missing_descriptions(manifest: &Manifest) -> Vec<Warning> {
    let classes = manifest.classes.iter();
    let undescribed = classes.filter(|class| class.description.is_empty());
    undescribed
        .map(|class| Warning::MissingDescription {
            class: class.name.0.clone(),
            line: class.name.1.0,
        })
        .collect()
}

#[cfg(test)]
mod tests;
