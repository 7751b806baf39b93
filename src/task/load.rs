//! Loading a task: `task.toml` and the files that it names, checked together.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    Class, LabelledText, Task, TaskError, Warning,
    fault::{Fault, Place, Problem},
    manifest::{self, ClassEntry, DataFile, FILE, Manifest, Shots},
    names, normalised,
    read::{self, Faults, Origin, Row, Source},
    unlabelled::UnlabelledFile,
};

/// Seeds of each class that prompts show where `shots` is not set: more cost the teacher time and
/// crowd its context.
const SHOWN: usize = 8;

/// Where a task's files come from.
pub(super) enum Files<'a> {
    Folder(&'a Path),
    Embedded(&'a [(&'a str, &'a [u8])]),
}

impl<'a> Files<'a> {
    pub(super) fn open(&self, name: &str) -> Result<Source<'a>, Problem> {
        match self {
            Self::Folder(folder) => Source::open(name, &folder.join(name)),
            Self::Embedded(files) => {
                let file = files.iter().find(|(other, _)| *other == name);
                let (_, bytes) = file.ok_or_else(|| Problem::MissingFile { path: name.into() })?;
                Ok(Source { name: name.to_owned(), bytes: Cow::Borrowed(bytes) })
            }
        }
    }

    /// As [`Self::open`], to be read as a stream.
    fn origin(&self, name: &str) -> Result<Origin<'a>, Fault> {
        match self {
            Self::Folder(folder) => read::open_file(name, &folder.join(name)),
            Self::Embedded(files) => match files.iter().find(|(other, _)| *other == name) {
                Some((_, bytes)) => Ok(Origin::Bytes(bytes)),
                None => {
                    let problem = Problem::MissingFile { path: name.to_owned() };
                    Err(Fault { place: Place::whole(name), problem })
                }
            },
        }
    }
}

impl Task {
    /// Reads `source`, the text of `task.toml`, and the files that it names. The folder stays
    /// empty, and so does a name that it does not give.
    pub(super) fn read(source: &Source<'_>, files: &Files<'_>) -> Result<Self, TaskError> {
        let mut faults = Faults::default();
        let text = source.text(&mut faults);
        let manifest = text.and_then(|text| manifest::parse(text, &mut faults));
        let (Some(text), Some(manifest)) = (text, manifest) else {
            return Err(faults.into_error());
        };
        let mut loader = Loader {
            files,
            manifest: &manifest,
            names: manifest.classes.iter().map(|class| class.name.0.clone()).collect(),
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
        let unlabelled = manifest.unlabelled.as_ref();
        let unlabelled =
            UnlabelledFile::check(unlabelled, |name| files.origin(name), &mut loader.faults);
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
            unlabelled,
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
                    title: class.title,
                    description: class.description,
                    formerly: class.formerly.map(|(name, _)| name),
                    none_of_these: class.none_of_these.is_some(),
                })
                .collect(),
            settings: manifest.settings,
        })
    }
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
    /// The names of the classes, which faults share.
    names: Arc<[String]>,
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
            if self.faults.is_full() {
                break;
            }
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
            let classes = Arc::clone(&self.names);
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

    /// The number of seeds per class that prompts show. Adds a fault for each class that has fewer
    /// and needs them.
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
                _ if found >= needed || class.none_of_these.is_some() => continue,
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
    let needs_description = |class: &&ClassEntry| class.none_of_these.is_none();
    let undescribed =
        classes.filter(needs_description).filter(|class| class.description.is_empty());
    undescribed
        .map(|class| Warning::MissingDescription {
            class: class.name.0.clone(),
            line: class.name.1.0,
        })
        .collect()
}
