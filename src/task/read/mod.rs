//! Reads files of texts in any supported format into rows of named columns. Each cell keeps its
//! line and column, so that a fault found later can still name its place.
//!
//! | file | what it is for |
//! |---|---|
//! | `format` | which format a file has, by its first bytes and its name |
//! | `input` | gzip, byte-order marks, UTF-16 and Windows-1252 to lines of UTF-8 |
//! | `csv`, `json`, `parquet`, `page_header`, `fasttext` | the formats |
//! | `columns` | which columns are the text and the label |
//! | `reader` | the rows of a file or a pipe, one at a time, in constant memory |
//!
//! A spreadsheet export works as it is: whatever is not as documented is guessed and told in one
//! line. Readers do not stop at the first fault: they skip an invalid row and read the next one.

mod columns;
mod csv;
mod fasttext;
mod format;
mod input;
mod json;
mod page_header;
mod parquet;
mod reader;

use std::{
    borrow::Cow,
    io::{ErrorKind, Read},
    path::Path,
};

use serde_json::Value;

use super::{
    fault::{Fault, Place, Problem, TaskError},
    limits::{MAX_FAULTS, MAX_FILE, MAX_ROWS},
};
use crate::{
    fs,
    verbosity::{self, Notice},
};

pub(crate) use columns::{ColumnSettings, Columns, LabelColumn};
pub(crate) use format::Format;
pub(crate) use reader::{Origin, Reader, Row as TableRow, open_file};

/// Bytes that a row takes beside its text.
const ROW: usize = 256;

/// A value and its place. Lines and columns as in [`Place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub value: String,
    pub line: usize,
    pub column: usize,
}

/// A text and its label as read: the label may be any string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub text: Cell,
    pub label: Cell,
}

/// A value of a row.
struct Field {
    name: String,
    value: Value,
    /// The byte, or the number of the column, for its place.
    at: usize,
    /// Why it can be neither a text nor a label.
    problem: Option<Problem>,
}

/// A row as its format has it.
struct Record {
    fields: Vec<Field>,
    places: Places,
    /// Why the row cannot be used.
    faults: Vec<Fault>,
}

impl Record {
    fn broken(place: (usize, usize), fault: Fault) -> Self {
        let places = Places::Text { text: String::new(), start: place };
        Self { fields: Vec::new(), places, faults: vec![fault] }
    }
}

/// Where the fields of a row are.
enum Places {
    /// At their bytes in this text, which starts at this line and column.
    Text { text: String, start: (usize, usize) },
    /// In the row with this number, by the number of their column.
    Row(usize),
}

impl Places {
    fn at(&self, at: usize) -> (usize, usize) {
        match self {
            Self::Text { text, start } => Lines::of(text).place_from(*start, at),
            Self::Row(row) => (*row, at),
        }
    }
}

/// A file's name as faults show it, and its bytes.
pub(super) struct Source<'a> {
    pub name: String,
    pub bytes: Cow<'a, [u8]>,
}

impl Source<'_> {
    /// Reads a file.
    pub(super) fn open(name: &str, path: &Path) -> Result<Self, Problem> {
        let unreadable = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Problem::MissingFile { path: name.into() },
            ErrorKind::InvalidInput => {
                Problem::NotAFile { path: name.into(), message: error.to_string() }
            }
            _ => Problem::Unreadable { path: name.into(), message: error.to_string() },
        };
        let file = fs::open_regular(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > MAX_FILE {
            return Err(Problem::TooLarge);
        }
        Ok(Self { name: name.to_owned(), bytes: Cow::Owned(bytes) })
    }

    /// The file's text without a byte-order mark; bytes that are not UTF-8 are a fault and give
    /// `None`.
    pub(super) fn text(&self, faults: &mut Faults) -> Option<&str> {
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let valid = error.valid_up_to();
                let before = String::from_utf8_lossy(&bytes[..valid]);
                let offset = valid + (self.bytes.len() - bytes.len());
                let problem = Problem::NotUtf8 { byte: bytes[valid], offset };
                faults.add(&self.name, Lines::of(&before).place(valid), problem);
                None
            }
        }
    }
}

/// The faults found so far, about [`MAX_FAULTS`] at most.
#[derive(Default)]
pub(super) struct Faults(pub Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, file: &str, place: (usize, usize), problem: Problem) {
        if !self.is_full() {
            self.0.push(Fault { place: Place::new(file, place), problem });
        }
    }

    /// Whether there are so many that no more are looked for.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FAULTS
    }

    /// The value, or all faults.
    pub(super) fn finish<T>(self, value: T) -> Result<T, TaskError> {
        if self.0.is_empty() { Ok(value) } else { Err(self.into_error()) }
    }

    /// The faults in the order of the files, and of the places within each.
    pub(super) fn into_error(self) -> TaskError {
        let mut faults = self.0;
        let mut files: Vec<String> = Vec::new();
        for fault in &faults {
            if !files.contains(&fault.place.file) {
                files.push(fault.place.file.clone());
            }
        }
        faults.sort_by_key(|fault| {
            let file = files.iter().position(|file| *file == fault.place.file);
            (file, fault.place.line, fault.place.column)
        });
        TaskError::Faults { faults }
    }
}

impl From<Fault> for TaskError {
    fn from(fault: Fault) -> Self {
        Self::Faults { faults: vec![fault] }
    }
}

impl From<Vec<Fault>> for TaskError {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Faults { faults }
    }
}

/// Converts byte offsets to lines and columns.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self { text, starts }
    }

    /// Line and column, both from 1, of the character that contains byte `at`.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|&start| start <= at);
        let start = self.starts[line - 1];
        let before = self.text[start..].char_indices();
        let column = before
            .take_while(|(offset, character)| start + offset + character.len_utf8() <= at)
            .count();
        (line, column + 1)
    }

    /// The same in a file in which the text starts at `start`.
    fn place_from(&self, start: (usize, usize), at: usize) -> (usize, usize) {
        match self.place(at) {
            (1, column) => (start.0, start.1 + column - 1),
            (line, column) => (start.0 + line - 1, column),
        }
    }

    /// The byte offset of the byte `at` of the line `line`, which counts from 1.
    fn byte_of(&self, line: usize, at: usize) -> usize {
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let mut byte = (start + at).min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }
}

/// The names of columns, of which a repeated one gets a number, as in pandas.
fn unique(names: Vec<String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::with_capacity(names.len());
    let mut taken = std::collections::HashSet::new();
    for name in names {
        let mut number = 0;
        let mut free = name.clone();
        while !taken.insert(free.clone()) {
            number += 1;
            free = format!("{name}.{number}");
        }
        seen.push(free);
    }
    seen
}

/// Reads the usable rows of a source and adds its faults to `faults`. Tells what was guessed.
fn rows(source: &Source<'_>, columns: &Columns, faults: &mut Faults) -> Vec<TableRow> {
    let origin = Origin::Bytes(&source.bytes);
    let mut reader = match Reader::open(&source.name, origin, columns, None) {
        Ok(reader) => reader,
        Err(found) => {
            faults.0.extend(found);
            return Vec::new();
        }
    };
    let (mut rows, mut bytes, mut count) = (Vec::new(), 0, 0);
    loop {
        let mut row = match reader.next_row() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(fault) => {
                faults.0.push(fault);
                return rows;
            }
        };
        // Spreadsheets leave empty rows at the end.
        let labelled = columns.label.is_some() && !row.fields.is_empty();
        if labelled && row.fields.values().all(|value| value == "") {
            continue;
        }
        count += 1;
        if count > MAX_ROWS {
            faults.add(&source.name, row.place, Problem::TooManyRows);
            return rows;
        }
        row.fields = serde_json::Map::new();
        bytes += ROW + row.text.as_ref().map_or(0, |text| text.value.len());
        if bytes > MAX_FILE {
            faults.add(&source.name, row.place, Problem::TooLarge);
            return rows;
        }
        if row.faults.is_empty() {
            rows.push(row);
        } else {
            faults.0.append(&mut row.faults);
            if faults.is_full() {
                return rows;
            }
        }
    }
    if let Some(note) = reader.note() {
        verbosity::notify(Notice::Message(note));
    }
    if count == 0 {
        faults.add(&source.name, (0, 0), Problem::EmptyFile);
    }
    rows
}

/// Reads the labelled rows of a source and adds its faults to `faults`.
pub(super) fn labelled(source: &Source<'_>, columns: &Columns, faults: &mut Faults) -> Vec<Row> {
    let rows = rows(source, columns, faults).into_iter();
    rows.filter_map(|row| Some(Row { text: row.text?, label: row.label? })).collect()
}

/// Reads texts and their labels from a file, whose columns are found by their names.
///
/// # Errors
/// [`TaskError::Faults`] with every invalid row, missing column and empty text.
pub(crate) fn read_labelled(path: &Path) -> Result<Vec<Row>, TaskError> {
    let columns = Columns::labelled(&[], None, ColumnSettings::Flags);
    read(path, |source, faults| labelled(source, &columns, faults))
}

/// Reads texts: a column of a file, found by its name, or the lines of a `.txt` file.
///
/// # Errors
/// [`TaskError::Faults`] with every invalid row, missing column and empty text.
pub(crate) fn read_texts(path: &Path) -> Result<Vec<Cell>, TaskError> {
    let columns = Columns::texts(&[]);
    read(path, |source, faults| {
        rows(source, &columns, faults).into_iter().filter_map(|row| row.text).collect()
    })
}

fn read<T>(path: &Path, read: impl FnOnce(&Source<'_>, &mut Faults) -> T) -> Result<T, TaskError> {
    let name = path.display().to_string();
    let source = Source::open(&name, path)
        .map_err(|problem| TaskError::one(Place::whole(&name), problem))?;
    let mut faults = Faults::default();
    let value = read(&source, &mut faults);
    faults.finish(value)
}

#[cfg(test)]
mod tests;
