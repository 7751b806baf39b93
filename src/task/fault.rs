//! What can be wrong with a task.
//!
//! A task is rarely right at the first try, so these messages are the module's most read output.
//! Each fault names its place (`seeds.jsonl:12:9`: file, line, column), says in one line what is
//! wrong, and has a hint. Faults are collected rather than returned one by one, so that all of them
//! can be fixed in one go.

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::limits::{MAX_FAULTS, MAX_ROW, MAX_ROWS, MAX_TEXT};
use crate::{hint::Hint, printable::excerpt, suggest::nearest, verbosity};

/// How many faults one message lists; the rest are counted.
pub(crate) const LISTED: usize = 20;

/// The place of a fault. Lines and columns start at 1; columns count characters, not bytes.
/// In a Parquet file the line is the row, and the column is the number of the column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as `task.toml` or the caller wrote it.
    pub file: String,
    /// Line (Parquet: row), or 0 for the whole file.
    pub line: usize,
    /// Column, or 0 for the whole file.
    pub column: usize,
}

impl Place {
    /// A place in a file.
    pub fn new(file: &str, (line, column): (usize, usize)) -> Self {
        Self { file: file.to_owned(), line, column }
    }

    /// A whole file.
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
    pub place: Place,
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.place.file;
        match &self.problem {
            // The file that is at fault is named once.
            Problem::MissingFile { path } | Problem::MissingData { path } if path == file => {
                write!(f, "{file}: no such file")
            }
            Problem::Unreadable { path, message } | Problem::NotAFile { path, message }
                if path == file =>
            {
                write!(f, "{file}: cannot be read: {message}")
            }
            Problem::UnsupportedFormat { path, .. } if path == file => {
                write!(f, "{file}: the format is not supported")
            }
            Problem::Workbook { path } if path == file => {
                write!(f, "{file}: it is a workbook or an archive")
            }
            problem => write!(f, "{}: {problem}", self.place),
        }
    }
}

/// All kinds of fault. `Display` says what is wrong, [`Problem::hint`] what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A label that is not a class of the task.
    #[error("unknown label{}", verbosity::quoted(label))]
    UnknownLabel { label: String, classes: Arc<[String]> },
    /// A text without a single visible character.
    #[error("empty text")]
    EmptyText,
    /// A seed that occurred before, ignoring case and white space.
    #[error("the same text as on line {first}{}", if *.relabelled { ", with another label" } else { "" })]
    DuplicateText { first: usize, relabelled: bool },
    /// A class without seeds, although `shots` is above 0.
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
    NotUtf8 { byte: u8, offset: usize },
    /// A file in UTF-32.
    #[error("the file is in UTF-32")]
    Utf32,
    /// A row longer than a row may be.
    #[error("the row is longer than {} MiB", MAX_ROW >> 20)]
    RowTooLong,
    /// A text longer than a text may be.
    #[error("the text is longer than {} MiB", MAX_TEXT >> 20)]
    TextTooLong,
    /// A file that is larger than what is read into memory.
    #[error("the file holds more than 1 GiB")]
    TooLarge,
    /// A file with more rows than are read into memory.
    #[error("the file has more than {MAX_ROWS} rows")]
    TooManyRows,
    /// A column (CSV, Parquet) or field (JSON) that is missing. `setting` names it.
    #[error("no column {column:?}")]
    MissingColumn {
        column: String,
        found: Vec<String>,
        setting: &'static str,
        /// Whether the columns that were found are those of a header line.
        in_header: bool,
    },
    /// A column whose name occurs twice, perhaps in several spellings.
    #[error("more than one column {column:?}{}", others(column, spellings))]
    DuplicateColumn { column: String, spellings: Vec<String> },
    /// A file that is not in the format that the user named.
    #[error("this is not {given}: it looks like {found}")]
    OtherFormat { given: &'static str, found: &'static str },
    /// A label without a visible character.
    #[error("empty label in column {column:?}")]
    EmptyLabel { column: String },
    /// A text with several labels.
    #[error("the text has {labels} labels")]
    SeveralLabels { labels: usize },
    /// Columns that are named for a file that has none.
    #[error("it is read as one text per line and has no columns")]
    NoColumns { setting: &'static str },
    /// A number that is not the number of a class.
    #[error("{number} is not the number of a class")]
    NoSuchClass { number: String },
    /// A line that is not JSON.
    #[error("invalid JSON: {message}")]
    InvalidJson { message: String },
    /// A line that is not CSV.
    #[error("invalid CSV: {message}")]
    InvalidCsv { message: String },
    /// A file that is not Parquet, or a damaged one.
    #[error("invalid Parquet: {message}")]
    InvalidParquet { message: String },
    /// A file that is not TOML.
    #[error("invalid TOML: {message}")]
    InvalidToml { message: String },
    /// A value of the wrong type.
    #[error("{what} must be {expected}, found {found}")]
    WrongType { what: String, expected: &'static str, found: &'static str },
    /// A file without rows.
    #[error("the file contains no texts")]
    EmptyFile,
    /// A file that does not exist.
    #[error("there is no file {path:?}")]
    MissingFile { path: String },
    /// A file that exists but cannot be read.
    #[error("{path:?} cannot be read: {message}")]
    Unreadable { path: String, message: String },
    /// A folder, a pipe or a device where a file is expected.
    #[error("{path:?} cannot be read: {message}")]
    NotAFile { path: String, message: String },
    /// A file that `task.toml` names and that does not exist.
    #[error("there is no file {path:?}")]
    MissingData { path: String },
    /// A file in no supported format.
    #[error("the format of {path:?} is not supported")]
    UnsupportedFormat { path: String, labelled: bool },
    /// An Excel workbook.
    #[error("{path:?} is a workbook or an archive")]
    Workbook { path: String },
    /// Fewer than two classes.
    #[error("a task needs at least 2 classes, this one has {found}")]
    TooFewClasses { found: usize },
    /// Examples with fewer than two labels.
    #[error("a task needs at least 2 classes, the labels name {found}")]
    TooFewLabels { found: usize },
    /// Two classes with the same name.
    #[error("class {class:?} is declared twice, first on line {first}")]
    DuplicateClass { class: String, first: usize },
    /// Two classes whose names look alike.
    #[error("class {class:?} looks like class {other:?} on line {line}")]
    TwinClass { class: String, other: String, line: usize },
    /// A label that looks like another one, at `place`.
    #[error("label {label:?} looks like {other:?} ({place})")]
    TwinLabel { label: String, other: String, place: String },
    /// A class name that cannot be used in a prompt.
    #[error("class name \"{}\" {reason}", excerpt(class))]
    BadClassName { class: String, reason: &'static str },
    /// A former name of a class that cannot be one.
    #[error("formerly = \"{}\" {reason}", excerpt(name))]
    BadFormerName { name: String, reason: &'static str },
    /// A second class for texts that belong to no other class.
    #[error("class {other:?} has none_of_these = true already")]
    SecondNoneOfThese { other: String },
    /// A required key that is missing.
    #[error("{table} has no {key}")]
    MissingKey { table: &'static str, key: &'static str },
    /// A key that is not known.
    #[error("unknown key {key:?} in {table}")]
    UnknownKey { key: String, table: &'static str, known: Vec<&'static str> },
    /// An answer in a labelled sheet that cannot be used.
    #[error("{message}")]
    UnusableAnswer { message: String, hint: &'static str },
}

impl Problem {
    /// The same problem of columns that a header line names.
    pub(super) fn in_header(mut self) -> Self {
        if let Self::MissingColumn { in_header, .. } = &mut self {
            *in_header = true;
        }
        self
    }

    /// What to do about it, in one line.
    pub fn hint(&self) -> Cow<'static, str> {
        match self {
            Self::UnknownLabel { label, classes } => unknown_label_hint(label, classes).into(),
            Self::EmptyText => "write the text, or remove the line".into(),
            Self::DuplicateText { relabelled: false, .. } => {
                "remove one of the two; case and white space make no difference".into()
            }
            Self::DuplicateText { .. } => {
                "keep the line with the right label; case and white space make no difference".into()
            }
            Self::NoSeeds { class, seeds } => no_seeds_hint(class, seeds).into(),
            Self::TooFewSeeds { found, shots, .. } => {
                format!("add {} more, or set shots = {found}", shots - found).into()
            }
            Self::NoSeedsFile { .. } => {
                "add seeds = \"seeds.jsonl\" to [data], or set shots = 0".into()
            }
            Self::TestIsSeed { .. } => TEST_IS_SEED_HINT.into(),
            Self::NotUtf8 { .. } | Self::Utf32 => UTF8_HINT.into(),
            Self::RowTooLong => "check that line breaks end the rows".into(),
            Self::TextTooLong => "cut it: a student reads the first few hundred words".into(),
            Self::TooLarge | Self::TooManyRows => {
                "take a sample: it is read into memory as a whole".into()
            }
            Self::MissingColumn { found, setting, in_header, .. } => {
                missing_column_hint(found, setting, *in_header).into()
            }
            Self::DuplicateColumn { .. } => "rename or remove all but one of them".into(),
            Self::OtherFormat { .. } => "name the right format with --format, or none".into(),
            Self::EmptyLabel { .. } => "write the label, or remove the row".into(),
            Self::SeveralLabels { .. } => "a text of a task has one label".into(),
            Self::NoColumns { setting } => {
                format!("leave out {setting}, or check that the first line names the columns")
                    .into()
            }
            Self::NoSuchClass { .. } => CLASS_NUMBERS_HINT.into(),
            Self::InvalidJson { .. } => {
                r#"each row is one object: {"text": "…", "label": "…"}"#.into()
            }
            Self::InvalidCsv { .. } => CSV_HINT.into(),
            Self::InvalidParquet { .. } => PARQUET_HINT.into(),
            Self::InvalidToml { .. } => "see https://toml.io for the syntax".into(),
            Self::WrongType { what, found, .. } if what == "label" && *found != "null" => {
                "a label is the name of a class, as a string".into()
            }
            Self::WrongType { expected, .. } => format!("change the value to {expected}").into(),
            Self::EmptyFile => "add rows to it".into(),
            Self::MissingFile { path } if path.ends_with("task.toml") => {
                "`promptmix init EXAMPLES FOLDER` creates one from labelled examples".into()
            }
            Self::MissingFile { .. } => "check the name and the folder".into(),
            Self::MissingData { .. } => MISSING_DATA_HINT.into(),
            Self::NotAFile { .. } => "name a file; a pipe goes to the standard input".into(),
            Self::Workbook { .. } => "save the sheet as CSV".into(),
            Self::Unreadable { .. } => "check that it is a file and that you may read it".into(),
            Self::UnsupportedFormat { labelled: true, .. } => FORMATS_HINT.into(),
            Self::UnsupportedFormat { .. } => {
                format!("{FORMATS_HINT}, or .txt with one text per line").into()
            }
            Self::TooFewClasses { .. } => {
                "declare each class under its own [[class]] with name and description".into()
            }
            Self::TooFewLabels { .. } => {
                "add examples of another class, or name the column with --label-column".into()
            }
            Self::DuplicateClass { .. } | Self::TwinClass { .. } => {
                "rename or remove one of the two".into()
            }
            Self::TwinLabel { .. } => TWIN_HINT.into(),
            Self::BadClassName { .. } => {
                "use a short name on one line, such as \"password_reset\"".into()
            }
            Self::BadFormerName { .. } => {
                "give the name this class had before; no other class may have it".into()
            }
            Self::SecondNoneOfThese { .. } => "remove it from one of the two".into(),
            Self::MissingKey { key, .. } => format!("add {key} = \"…\"").into(),
            Self::UnknownKey { key, .. } if is_root_key(key) => above_tables_hint(key).into(),
            Self::UnknownKey { key, known, .. } => unknown_key_hint(key, known).into(),
            Self::UnusableAnswer { hint, .. } => (*hint).into(),
        }
    }
}

const TEST_IS_SEED_HINT: &str =
    "remove it from one of the two files: accuracy on a text seen in training means nothing";
const UTF8_HINT: &str =
    "save the file as UTF-8, for instance: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW";
const FORMATS_HINT: &str =
    "use .csv, .tsv, .json, .jsonl or .parquet, with names of columns in the first row";
const TWIN_HINT: &str = "spell the label the same way everywhere: case, white space, invisible characters and Unicode forms count";
const MISSING_DATA_HINT: &str = "check the name; files under [data] are looked up beside task.toml";
const CSV_HINT: &str = r#"put a text with a comma, a quote or a line break in double quotes, and double each quote in it: "so ""easy""""#;
const CLASS_NUMBERS_HINT: &str =
    "the file's metadata lists the classes, counted from 0; -1 stands for no label";
const PARQUET_HINT: &str =
    "write the file again (snappy, zstd, gzip or no compression), or use CSV or JSONL";

fn unknown_label_hint(label: &str, classes: &[String]) -> String {
    match nearest(label, classes) {
        Some(class) => format!("did you mean {class:?}? classes are declared in task.toml"),
        None => format!("the classes declared in task.toml are {}", enumerated(classes)),
    }
}

fn missing_column_hint(found: &[String], setting: &str, in_header: bool) -> String {
    let header = match in_header {
        true => ", or add a header line if the file has none: its first line was taken for one",
        false => "",
    };
    format!("found {}; name the column with {setting}{header}", columns(found))
}

fn no_seeds_hint(class: &str, seeds: &str) -> String {
    format!(
        "add a text with the label {class:?} to {seeds}, or set shots = 0 to work from \
         descriptions alone"
    )
}

/// The keys of `task.toml` that stand before all tables.
pub(super) const ROOT_KEYS: [&str; 4] = ["name", "item", "items", "shots"];

/// Whether `key` stands before all tables.
pub(crate) fn is_root_key(key: &str) -> bool {
    ROOT_KEYS.contains(&key)
}

/// What helps if `key`, which stands before all tables of `task.toml`, was found in one of them.
pub(crate) fn above_tables_hint(key: &str) -> String {
    format!("move {key} above the first [table]: in TOML, a key belongs to the table above it")
}

fn unknown_key_hint(key: &str, known: &[&'static str]) -> String {
    let names: Vec<String> = known.iter().map(|&key| key.to_owned()).collect();
    match nearest(key, &names) {
        Some(key) => format!("did you mean {key:?}?"),
        None => format!("the known keys are {}", known.join(", ")),
    }
}

/// Why a task could not be loaded or created.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Faults in the task's files, in the order of the files. The message lists the first
    /// [`LISTED`].
    #[error("{}", listed(.faults))]
    Faults { faults: Vec<Fault> },
    /// The folder for a new task contains something already.
    #[error("{}: the folder is not empty", .path.display())]
    FolderNotEmpty { path: PathBuf },
    /// A new task could not be written.
    #[error("cannot write {}", .path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

impl Hint for TaskError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Faults { faults } => hints(faults).map(Into::into),
            Self::FolderNotEmpty { .. } => Some("name a new folder".into()),
            Self::Write { .. } => Some("check the folder and its permissions".into()),
        }
    }
}

impl TaskError {
    pub(super) fn one(place: Place, problem: Problem) -> Self {
        Fault { place, problem }.into()
    }

    /// The same error with its files named as seen from where the user is: those of a task lie
    /// below `folder`.
    pub(super) fn below(mut self, folder: &Path) -> Self {
        if let Self::Faults { faults } = &mut self {
            for Fault { place, problem } in faults {
                place.file = folder.join(&place.file).display().to_string();
                if let Problem::TestIsSeed { seeds, .. } = problem {
                    *seeds = folder.join(&*seeds).display().to_string();
                }
            }
        }
        self
    }
}

/// The faults, one a line.
fn listed(faults: &[Fault]) -> String {
    let mut lines: Vec<String> = faults.iter().take(LISTED).map(Fault::to_string).collect();
    if faults.len() > LISTED {
        let least = if faults.len() < MAX_FAULTS { "" } else { "at least " };
        lines.push(format!("… and {least}{} more faults", faults.len() - LISTED));
    }
    lines.join("\n")
}

/// The hints of the listed faults. One that helps against all of them stands alone; several stand
/// one a line, each once, behind the place of the first fault that it belongs to.
fn hints(faults: &[Fault]) -> Option<String> {
    let mut hints: Vec<(&Place, Cow<'static, str>)> = Vec::new();
    for Fault { place, problem } in faults.iter().take(LISTED) {
        let hint = problem.hint();
        if hints.iter().all(|(_, other)| *other != hint) {
            hints.push((place, hint));
        }
    }
    match hints.as_slice() {
        [] => None,
        [(_, only)] => Some(only.to_string()),
        several => {
            let lines: Vec<String> =
                several.iter().map(|(place, hint)| format!("{place}: {hint}")).collect();
            Some(lines.join("\n"))
        }
    }
}

/// The spellings of a column that are not `column` itself, in brackets.
fn others(column: &str, spellings: &[String]) -> String {
    match spellings.iter().all(|spelling| spelling == column) {
        true => String::new(),
        false => format!(": {}", enumerated(spellings)),
    }
}

/// Lists column names. In a file without a header the first line holds texts, which are private:
/// whatever does not look like a name is only counted.
fn columns(found: &[String]) -> String {
    let is_name = |name: &&String| {
        let plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        verbosity::texts() || (name.chars().count() <= 32 && name.chars().all(plain))
    };
    let names: Vec<String> = found.iter().filter(is_name).cloned().collect();
    match (names.len(), found.len() - names.len()) {
        (_, 0) => enumerated(&names),
        (0, other) => format!("{other} that may be text, not column names (-vv shows them)"),
        (_, other) => {
            format!("{} and {other} that may be text (-vv shows them)", enumerated(&names))
        }
    }
}

/// The names in quotes, as [`first_few`] shows them.
pub(crate) fn enumerated(names: &[String]) -> String {
    first_few(&names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>())
}

/// The items separated by commas; of many only the first few.
pub(crate) fn first_few(items: &[String]) -> String {
    const SHOWN: usize = 10;
    if items.is_empty() {
        return "none".into();
    }
    let shown = items[..items.len().min(SHOWN)].join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
