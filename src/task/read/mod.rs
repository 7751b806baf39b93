//! Reads files of texts in any supported format into rows of named columns. Each cell keeps its
//! line and column, so that a fault found later can still name its place.
//!
//! The extension decides the format: `.csv`, `.jsonl`, `.parquet`, and for texts without labels
//! also `.txt` (one text per line). Text files must be UTF-8 without a byte-order mark. Readers do
//! not stop at the first fault: they skip an invalid row and read the next one.

mod csv;
mod jsonl;
mod parquet;
mod stream;

use std::{
    borrow::Cow,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::fault::{Fault, Place, Problem, TaskError};
pub(crate) use stream::stream_texts;

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

/// A file's name as faults show it, and its bytes.
pub(super) struct Source<'a> {
    pub name: String,
    pub bytes: Cow<'a, [u8]>,
    /// The file's path; `None` if it is embedded in the program.
    pub path: Option<PathBuf>,
}

impl Source<'_> {
    /// Reads a file.
    pub(super) fn open(name: &str, path: &Path) -> Result<Self, Problem> {
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Problem::MissingFile { path: name.into() },
            _ => Problem::Unreadable { path: name.into(), message: error.to_string() },
        })?;
        Ok(Self { name: name.to_owned(), bytes: Cow::Owned(bytes), path: Some(path.to_owned()) })
    }

    /// The file's text. A byte-order mark is a fault and is removed; bytes that are not UTF-8 are a
    /// fault and give `None`.
    pub(super) fn text(&self, faults: &mut Faults) -> Option<&str> {
        let bytes = match self.bytes.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => {
                faults.add(&self.name, (1, 1), Problem::Bom);
                rest
            }
            None => &self.bytes,
        };
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let valid = error.valid_up_to();
                let before = String::from_utf8_lossy(&bytes[..valid]);
                let problem = Problem::NotUtf8 {
                    byte: bytes[valid],
                    offset: valid + (self.bytes.len() - bytes.len()),
                    utf16: bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff"),
                };
                faults.add(&self.name, Lines::of(&before).place(valid), problem);
                None
            }
        }
    }
}

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(pub Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, file: &str, place: (usize, usize), problem: Problem) {
        self.0.push(Fault { place: Place::new(file, place), problem });
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
}

/// The rows of a file with one cell for each of `columns`, in that order. Rows with faults are left
/// out.
fn table(source: &Source<'_>, columns: &[&str], faults: &mut Faults) -> Vec<Vec<Cell>> {
    let before = faults.0.len();
    let rows = match extension(&source.name).as_deref() {
        Some("csv") => csv::rows(source, columns, faults),
        Some("jsonl") => jsonl::rows(source, columns, faults),
        Some("parquet") => parquet::rows(source, columns, faults),
        _ => {
            let problem = Problem::UnsupportedExtension {
                path: source.name.clone(),
                known: ".csv, .jsonl or .parquet",
            };
            faults.add(&source.name, (0, 0), problem);
            return Vec::new();
        }
    };
    if rows.is_empty() && faults.0.len() == before {
        faults.add(&source.name, (0, 0), Problem::EmptyFile);
    }
    rows
}

/// The extension of a file name, in lower case.
fn extension(name: &str) -> Option<String> {
    let extension = Path::new(name).extension()?.to_str()?;
    Some(extension.to_ascii_lowercase())
}

/// Adds a fault for a text without visible characters. Returns whether it has some.
fn check_text(name: &str, cell: &Cell, faults: &mut Faults) -> bool {
    let empty = cell.value.trim().is_empty();
    if empty {
        faults.add(name, (cell.line, cell.column), Problem::EmptyText);
    }
    !empty
}

/// Reads the labelled rows of a source and adds its faults to `faults`.
pub(super) fn labelled(
    source: &Source<'_>,
    text_column: &str,
    label_column: &str,
    faults: &mut Faults,
) -> Vec<Row> {
    let rows = table(source, &[text_column, label_column], faults).into_iter();
    let rows = rows.filter_map(|row| <[Cell; 2]>::try_from(row).ok());
    rows.map(|[text, label]| Row { text, label })
        .filter(|row| check_text(&source.name, &row.text, faults))
        .collect()
}

/// Reads texts and their labels from a CSV, JSONL or Parquet file.
///
/// # Errors
/// [`TaskError::Faults`] with every invalid row, missing column and empty text.
pub(crate) fn read_labelled(
    path: &Path,
    text_column: &str,
    label_column: &str,
) -> Result<Vec<Row>, TaskError> {
    let name = path.display().to_string();
    let source = Source::open(&name, path)
        .map_err(|problem| TaskError::one(Place::whole(&name), problem))?;
    let mut faults = Faults::default();
    let rows = labelled(&source, text_column, label_column, &mut faults);
    faults.finish(rows)
}

/// Reads texts to classify: a column of a CSV, JSONL or Parquet file, or the lines of a `.txt`
/// file.
///
/// # Errors
/// [`TaskError::Faults`] with every invalid row, missing column and empty text.
pub(crate) fn read_texts(path: &Path, text_column: &str) -> Result<Vec<Cell>, TaskError> {
    let name = path.display().to_string();
    let source = Source::open(&name, path)
        .map_err(|problem| TaskError::one(Place::whole(&name), problem))?;
    let mut faults = Faults::default();
    let mut texts = if extension(&name).as_deref() == Some("txt") {
        let lines = source.text(&mut faults).unwrap_or_default().lines();
        let cells = lines.enumerate().map(|(index, line)| Cell {
            value: line.to_owned(),
            line: index + 1,
            column: 1,
        });
        let cells: Vec<Cell> = cells.collect();
        if cells.is_empty() && faults.0.is_empty() {
            faults.add(&name, (0, 0), Problem::EmptyFile);
        }
        cells
    } else {
        let rows = table(&source, &[text_column], &mut faults);
        rows.into_iter().flatten().collect()
    };
    texts.retain(|cell| check_text(&name, cell, &mut faults));
    faults.finish(texts)
}

#[cfg(test)]
mod tests;
