//! Sheets: texts with opinions about their classes, for people to label in a spreadsheet, Label
//! Studio or Argilla, and what the people answered.
//!
//! | file | what it is for |
//! |---|---|
//! | `csv` | a table for a spreadsheet, and JSON or Parquet of the same columns |
//! | `label_studio` | tasks with predictions; annotations back |
//! | `argilla` | records with suggestions; responses back |
//!
//! In every format a text carries an id of ours, [`ID`], which matches its answer to the text.
//! Knows neither runs nor classes: whoever reads the answers checks ids and labels.

mod argilla;
mod csv;
mod label_studio;

use std::path::Path;

use serde_json::{Map, Value};

use crate::task::{Columns, Fault, Place, Problem, Reader, TableRow, TaskError, open_file};

pub(crate) use csv::unquoted;

/// The answer to a text that belongs to no class.
pub(crate) const NONE_OF_THESE: &str = "none of these";

/// The column, or the key, of the id that names a text.
pub(crate) const ID: &str = "promptmix_id";
/// The column, control or question for the class.
const LABEL: &str = "label";
/// The control or question for a corrected text, where the text itself cannot be edited.
const EDITED: &str = "edited";
const TEXT: &str = "text";

/// What a sheet is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SheetFormat {
    Csv,
    LabelStudio,
    Argilla,
}

/// A class that somebody proposes for a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Opinion {
    pub label: String,
    /// Its probability, 0 to 1, if there is one.
    pub p: Option<f32>,
}

/// A text to be labelled.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SheetRow {
    pub id: String,
    pub text: String,
    /// The label that it has, or the most probable one.
    pub suggestion: Option<Opinion>,
    /// The class that the teacher was asked to write for.
    pub asked: Option<String>,
    pub teacher: Option<Opinion>,
    pub student: Option<Opinion>,
    /// Why a person should look at it.
    pub why: Option<String>,
    /// The probability of each class that comes into question, by name.
    pub probabilities: Vec<(String, f32)>,
}

/// What one person said about a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub place: Place,
    pub id: String,
    /// The text as the sheet has it.
    pub text: String,
    /// A class, or [`NONE_OF_THESE`]; `None` if nothing was chosen.
    pub label: Option<String>,
    /// What the sheet calls the person, if it does.
    pub by: Option<String>,
}

/// `rows` in the bytes of `format`; people choose among `classes` and [`NONE_OF_THESE`].
pub(crate) fn write(format: SheetFormat, rows: &[SheetRow]) -> Vec<u8> {
    match format {
        SheetFormat::Csv => csv::write(rows),
        SheetFormat::LabelStudio => json(rows.iter().map(label_studio::task)),
        SheetFormat::Argilla => json(rows.iter().map(argilla::record)),
    }
}

/// What the tool needs to know besides the texts to ask for one of `classes`: the labelling
/// interface of Label Studio, the settings of a dataset of Argilla.
pub(crate) fn interface(format: SheetFormat, classes: &[String]) -> Option<String> {
    match format {
        SheetFormat::Csv => None,
        SheetFormat::LabelStudio => Some(label_studio::interface(classes)),
        SheetFormat::Argilla => Some(argilla::settings(classes)),
    }
}

/// What people choose among: `classes` and [`NONE_OF_THESE`], which a class may be called, too.
fn choices(classes: &[String]) -> impl Iterator<Item = &str> {
    let is_class = classes.iter().any(|class| class.eq_ignore_ascii_case(NONE_OF_THESE));
    let none = (!is_class).then_some(NONE_OF_THESE);
    classes.iter().map(String::as_str).chain(none)
}

/// An array, one element a line: diffs and `grep` work.
fn json(rows: impl Iterator<Item = Value>) -> Vec<u8> {
    let rows: Vec<String> = rows.map(|row| row.to_string()).collect();
    format!("[\n{}\n]\n", rows.join(",\n")).into_bytes()
}

/// Reads the answers in the sheet `path`, which any of the tools wrote. Of several people who
/// answered about one text there are several answers; a text without an answer has one without a
/// label.
///
/// # Errors
/// A file that cannot be read or holds no rows, and all rows that are no rows of a sheet, each with
/// its place.
pub(crate) fn read(path: &Path) -> Result<Vec<Answer>, TaskError> {
    let name = path.display().to_string();
    let origin = open_file(&name, path)?;
    let columns = Columns::texts(&[TEXT.to_owned()]);
    let mut reader = Reader::open(&name, origin, &columns, None)
        .map_err(|faults| faults.into_iter().map(not_a_sheet).collect::<Vec<_>>())?;
    let (mut answers, mut faults) = (Vec::new(), Vec::new());
    while let Some(row) = reader.next_row()? {
        let place = Place::new(&name, row.place);
        match row_answers(row, place) {
            Ok(found) => answers.extend(found),
            Err(found) => faults.extend(found),
        }
    }
    if answers.is_empty() && faults.is_empty() {
        faults.push(Fault { place: Place::whole(&name), problem: Problem::EmptyFile });
    }
    if faults.is_empty() { Ok(answers) } else { Err(faults.into()) }
}

/// A missing column for texts as the fault that the table is not a sheet; other faults as they are.
fn not_a_sheet(found: Fault) -> Fault {
    match found.problem {
        Problem::MissingColumn { .. } | Problem::NoColumns { .. } => {
            fault(found.place, format!("no column `{TEXT}`, so it is not a sheet"), ID_HINT)
        }
        _ => found,
    }
}

/// The answers in one row of a table, task or record.
fn row_answers(row: TableRow, place: Place) -> Result<Vec<Answer>, Vec<Fault>> {
    let TableRow { fields, faults, .. } = row;
    let found = match (&fields.get("data"), &fields.get("fields")) {
        (Some(Value::Object(data)), _) => label_studio::answers(&fields, data, &place),
        (_, Some(Value::Object(texts))) => argilla::answers(&fields, texts, &place),
        // Spreadsheets leave empty rows at the end.
        _ if !fields.is_empty() && fields.values().all(|value| value == "") => return Ok(vec![]),
        // Only a table has the text where the reader looks for it.
        _ if !faults.is_empty() => return Err(faults),
        _ => csv::answer(&fields, &place).map(|answer| vec![answer]),
    };
    found.map_err(|(message, hint)| vec![fault(place, message, hint)])
}

/// What is wrong with an answer, and what helps.
type Wrong = (String, &'static str);

/// An answer at `place` that cannot be used.
pub(crate) fn fault(place: Place, message: impl Into<String>, hint: &'static str) -> Fault {
    Fault { place, problem: Problem::UnusableAnswer { message: message.into(), hint } }
}

/// The value of `key`, in whatever case a person wrote it.
fn value<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let alike = || fields.iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(key));
    fields.get(key).or_else(|| alike().map(|(_, value)| value))
}

/// The value of `key` as a string that is not blank; spreadsheets make numbers of numerals.
fn string(fields: &Map<String, Value>, key: &str) -> Option<String> {
    match value(fields, key)? {
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.clone()),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        _ => None,
    }
}

/// The id that stands in `fields`.
fn id(fields: &Map<String, Value>, key: &str) -> Result<String, Wrong> {
    let id = string(fields, key).map(|id| id.trim().to_owned());
    id.ok_or_else(|| (format!("no `{key}`, so it is not known which text this is"), ID_HINT))
}

const ID_HINT: &str = "label a sheet of `promptmix suggest` or `promptmix export-labels`, and keep \
                       the ids that it came with";

/// The only one of `labels`, if there is any.
fn only(mut labels: Vec<String>) -> Result<Option<String>, Wrong> {
    match labels.len() {
        0 | 1 => Ok(labels.pop()),
        count => Err((format!("{count} labels for one text"), "choose one label")),
    }
}

#[cfg(test)]
mod tests;
