//! What can be wrong with a task, and how it is said.
//!
//! A first task is rarely right at the first try, so a fault is the module's most read output. Each
//! one names its place (`seeds.jsonl:12:9`: file, line, column), says what is wrong in one line, and
//! ends with the mend on a `hint:` line. Faults are collected rather than thrown one by one: whoever
//! mends a file wants the whole list.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{hint::Hint, verbosity};

/// How many faults one message lists; the rest are counted.
pub(crate) const LISTED: usize = 20;

/// Where a fault is. Lines and columns start at 1; columns count characters, not bytes.
/// In a Parquet file the line is the row and the column the number of the column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as `task.toml` or the caller wrote it.
    pub file: String,
    /// Line (Parquet: row), or 0 for the file as a whole.
    pub line: usize,
    /// Column, or 0 for the file as a whole.
    pub column: usize,
}

impl Place {
    /// A place in a file.
    pub fn new(file: &str, (line, column): (usize, usize)) -> Self {
        Self { file: file.to_owned(), line, column }
    }

    /// A file as a whole.
    pub fn whole(file: &str) -> Self {
        Self::new(file, (0, 0))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// One thing that is wrong with a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, and how to mend it.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\nhint: {}", self.place, self.problem, self.problem.hint())
    }
}

/// Every kind of fault. `Display` says what is wrong, [`Problem::hint`] how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A label that is no class of the task.
    #[error("unknown label{}", verbosity::quoted(label))]
    UnknownLabel { label: String, classes: Vec<String> },
    /// A text without a single visible character.
    #[error("empty text")]
    EmptyText,
    /// A seed that was given before, but for case and white space.
    #[error("the same text as on line {first}{}", if *.relabelled { ", with another label" } else { "" })]
    DuplicateText { first: usize, relabelled: bool },
    /// A class that no seed belongs to, although seeds are asked for.
    #[error("class {class:?} has no seed in {seeds}")]
    NoSeeds { class: String, seeds: String },
    /// A class with fewer seeds than `shots`.
    #[error("class {class:?} has {found} of the {shots} seeds that shots = {shots} asks for")]
    TooFewSeeds { class: String, found: usize, shots: usize },
    /// `shots` above 0, but `[data]` names no seeds.
    #[error("shots = {shots}, but [data] names no seeds")]
    NoSeedsFile { shots: usize },
    /// A test text that the student would see in training.
    #[error("this test text is also a seed ({seeds}, line {line})")]
    TestIsSeed { seeds: String, line: usize },
    /// Bytes that are not UTF-8.
    #[error("not UTF-8: byte 0x{byte:02x} at offset {offset}")]
    NotUtf8 { byte: u8, offset: usize, utf16: bool },
    /// A byte-order mark at the start of the file.
    #[error("the file starts with a byte-order mark (BOM)")]
    Bom,
    /// A column (CSV, Parquet) or field (JSONL) that is not there.
    #[error("no column {column:?}")]
    MissingColumn { column: String, found: Vec<String> },
    /// A line that is not JSON.
    #[error("broken JSON: {message}")]
    BrokenJson { message: String },
    /// A whole JSON array where JSONL is expected.
    #[error("a JSON array, not one JSON object per line")]
    JsonArray,
    /// A line that is not CSV.
    #[error("broken CSV: {message}")]
    BrokenCsv { message: String },
    /// A file that is not Parquet, or a damaged one.
    #[error("broken Parquet: {message}")]
    BrokenParquet { message: String },
    /// A file that is not TOML.
    #[error("broken TOML: {message}")]
    BrokenToml { message: String },
    /// A value of another type than the one asked for.
    #[error("{what} must be {expected}, this is {found}")]
    WrongType { what: String, expected: &'static str, found: &'static str },
    /// A file without a row.
    #[error("the file is empty: it holds no text")]
    EmptyFile,
    /// A file that is not there.
    #[error("there is no file {path:?}")]
    MissingFile { path: String },
    /// A file that is there but cannot be read.
    #[error("{path:?} cannot be read: {message}")]
    Unreadable { path: String, message: String },
    /// A file name whose ending names no format that is read here.
    #[error("{path:?} is in no format that is read here")]
    UnsupportedExtension { path: String, known: &'static str },
    /// Fewer than two classes.
    #[error("a task needs 2 classes or more, this one has {found}")]
    TooFewClasses { found: usize },
    /// Two classes of one name.
    #[error("class {class:?} is declared twice, first on line {first}")]
    DuplicateClass { class: String, first: usize },
    /// A class name that cannot stand in a prompt.
    #[error("class name {class:?} {reason}")]
    BadClassName { class: String, reason: &'static str },
    /// A key that must be there.
    #[error("{table} has no {key}")]
    MissingKey { table: &'static str, key: &'static str },
    /// A key that means nothing.
    #[error("unknown key {key:?} in {table}")]
    UnknownKey { key: String, table: &'static str, known: Vec<&'static str> },
}

impl Problem {
    /// The mend, in one line.
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownLabel { label, classes } => match nearest(label, classes) {
                Some(class) => {
                    format!("did you mean {class:?}? classes are declared in task.toml")
                }
                None => format!(
                    "the classes declared in task.toml are {}",
                    enumerated(classes)
                ),
            },
            Self::EmptyText => "write the text, or remove the line".into(),
            Self::DuplicateText {
                relabelled: false, ..
            } => "remove one of the two; case and white space make no difference".into(),
            Self::DuplicateText { .. } => {
                "keep the line with the right label; case and white space make no difference".into()
            }
            Self::NoSeeds { class, seeds } => format!(
                "add a text with the label {class:?} to {seeds}, or set shots = 0 to work from descriptions alone"
            ),
            Self::TooFewSeeds { found, shots, .. } => {
                format!("add {} more, or set shots = {found}", shots - found)
            }
            Self::NoSeedsFile { .. } => {
                "add seeds = \"seeds.jsonl\" to [data], or set shots = 0".into()
            }
            Self::TestIsSeed { .. } => {
                "remove it from one of the two files: accuracy on a text seen in training says nothing".into()
            }
            Self::NotUtf8 { utf16: true, .. } => {
                "the file looks like UTF-16: iconv -f UTF-16 -t UTF-8 OLD > NEW".into()
            }
            Self::NotUtf8 { .. } => {
                "save the file as UTF-8, for instance: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW".into()
            }
            Self::Bom => {
                r#"save the file as "UTF-8" instead of "UTF-8 with BOM", or: sed -i '1s/^\xef\xbb\xbf//' FILE"#.into()
            }
            Self::MissingColumn { found, .. } if found.len() == 1 && found[0].contains([';', '\t']) => {
                format!("found one column only{}: columns must be separated by commas", verbosity::quoted(&found[0]))
            }
            Self::MissingColumn { found, .. } => format!(
                "found {}; text_column and label_column under [data] say which columns to read",
                columns(found)
            ),
            Self::BrokenJson { .. } => {
                r#"each line is one object: {"text": "…", "label": "…"}"#.into()
            }
            Self::JsonArray => "turn it into lines: jq -c '.[]' OLD > NEW.jsonl".into(),
            Self::BrokenCsv { .. } => {
                r#"a text with a comma, a quote or a line break stands in double quotes, and a quote inside is doubled: "so ""easy""""#.into()
            }
            Self::BrokenParquet { .. } => {
                "write the file again (snappy, zstd, gzip or no compression), or use CSV or JSONL".into()
            }
            Self::BrokenToml { .. } => "see https://toml.io for what a value may look like".into(),
            Self::WrongType { what, found, .. } if what == "label" && *found != "nothing" => {
                "a label is the name of a class, as text".into()
            }
            Self::WrongType { expected, .. } => format!("write {expected}"),
            Self::EmptyFile => "add texts, or remove the file from [data]".into(),
            Self::MissingFile { path } if path.ends_with("task.toml") => {
                "promptmix init EXAMPLES FOLDER makes one from labelled examples".into()
            }
            Self::MissingFile { .. } => {
                "check the name; files under [data] are looked up beside task.toml".into()
            }
            Self::Unreadable { .. } => "check that it is a file and that you may read it".into(),
            Self::UnsupportedExtension { known, .. } => {
                format!("the ending says the format: {known}")
            }
            Self::TooFewClasses { .. } => {
                "declare each class under its own [[class]] with name and description".into()
            }
            Self::DuplicateClass { .. } => "rename or remove one of the two".into(),
            Self::BadClassName { .. } => {
                "use a short name on one line, such as \"password_reset\"".into()
            }
            Self::MissingKey { key, .. } => format!("add {key} = \"…\""),
            Self::UnknownKey { key, known, .. } => {
                let known: Vec<String> = known.iter().map(|&key| key.to_owned()).collect();
                match nearest(key, &known) {
                    Some(key) => format!("did you mean {key:?}?"),
                    None => format!("the keys known here are {}", known.join(", ")),
                }
            }
        }
    }
}

/// Why a task could not be loaded or made.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Faults in the task's files, in the order of reading. The message lists the first [`LISTED`].
    #[error("{}", listed(.faults))]
    Faults { faults: Vec<Fault> },
    /// The folder for a new task holds something already.
    #[error("{}: the folder is not empty\nhint: name a new folder", .path.display())]
    FolderNotEmpty { path: PathBuf },
    /// A new task could not be written.
    #[error("{}: cannot be written: {source}\nhint: check the folder and its permissions", .path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

impl Hint for TaskError {}

impl TaskError {
    pub(super) fn one(place: Place, problem: Problem) -> Self {
        Self::Faults { faults: vec![Fault { place, problem }] }
    }
}

fn listed(faults: &[Fault]) -> String {
    let mut lines: Vec<String> = faults.iter().take(LISTED).map(Fault::to_string).collect();
    if faults.len() > LISTED {
        lines.push(format!("… and {} more faults", faults.len() - LISTED));
    }
    lines.join("\n")
}

/// Something that works but deserves a look; each says its next action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warning {
    /// A class that the teacher will know by its name alone.
    MissingDescription { class: String, line: usize },
    /// `shots` was left out and the classes differ in how many seeds they have.
    ShotsByFewest { class: String, shots: usize },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingDescription { class, line } => write!(
                f,
                "task.toml:{line}: class {class:?} has no description; one line on what belongs to it helps the teacher most"
            ),
            Self::ShotsByFewest { class, shots } => write!(
                f,
                "task.toml: {shots} seeds per class are used, as many as {class:?} has; add seeds to it, or set shots = {shots}"
            ),
        }
    }
}

/// The name nearest to `word` by edit distance, if no more than half of the word would change.
fn nearest<'a>(word: &str, names: &'a [String]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    names
        .iter()
        .map(|name| (edit_distance(&lower, &name.to_lowercase()), name))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, _)| 2 * distance <= word.chars().count().max(2))
        .map(|(_, name)| name.as_str())
}

/// Levenshtein's distance in characters, row by row.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Names of columns. The first line of a file without a header is a row of texts: what does not look
/// like a name is counted, not told.
fn columns(found: &[String]) -> String {
    let is_name = |name: &&String| {
        let plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        verbosity::texts() || (name.chars().count() <= 32 && name.chars().all(plain))
    };
    let names: Vec<String> = found.iter().filter(is_name).cloned().collect();
    match (names.len(), found.len() - names.len()) {
        (_, 0) => enumerated(&names),
        (0, other) => format!("{other} that do not look like names of columns"),
        (_, other) => {
            format!("{} and {other} that do not look like names of columns", enumerated(&names))
        }
    }
}

/// Names one after another; only the first few of many.
fn enumerated(names: &[String]) -> String {
    const SHOWN: usize = 10;
    if names.is_empty() {
        return "none".into();
    }
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "añb"), 3);
        assert_eq!(edit_distance("añb", "añb"), 0);
    }

    #[test]
    fn a_far_word_has_no_nearest_name() {
        let names = ["billing".to_owned(), "refund".to_owned()];
        assert_eq!(nearest("Biling", &names), Some("billing"));
        assert_eq!(nearest("weather", &names), None);
    }

    #[test]
    fn only_the_first_twenty_faults_are_listed() {
        let faults: Vec<Fault> = (1..=23)
            .map(|line| Fault {
                place: Place::new("a.csv", (line, 1)),
                problem: Problem::EmptyText,
            })
            .collect();
        let message = TaskError::Faults { faults }.to_string();
        assert!(message.starts_with("a.csv:1:1: empty text\nhint: write the text"));
        assert!(message.contains("a.csv:20:1") && !message.contains("a.csv:21:1"));
        assert!(message.ends_with("… and 3 more faults"));
    }
}
