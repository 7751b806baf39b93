//! A table with one row a text, as spreadsheets read and write it: CSV with a byte-order mark, by
//! which Excel recognises UTF-8. Also reads the tables that Label Studio exports (CSV, JSON-MIN).
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula and runs it, also
//! in a text that somebody else wrote (OWASP, *CSV Injection*), and makes numbers and dates of
//! cells that look like them. Such a cell gets an apostrophe in front, which is taken off when it
//! comes back.

use serde_json::{Map, Value};

use super::{
    Answer, EDITED, ID, LABEL, Opinion, Place, SheetRow, TEXT, Wrong, id, only, string, value,
};

/// Characters that begin a formula, in their usual and their full width.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// A text of at most this many bytes that begins with a digit may be taken for a number or a date.
const NUMBER: usize = 24;

const COLUMNS: [&str; 12] = [
    ID,
    LABEL,
    TEXT,
    "suggestion",
    "p",
    "asked",
    "teacher",
    "teacher_p",
    "student",
    "student_p",
    "why",
    "probabilities",
];

/// The table of `rows`, with an empty column to fill in.
pub(super) fn write(rows: &[SheetRow]) -> Vec<u8> {
    let mut out = b"\xef\xbb\xbf".to_vec();
    let mut writer =
        ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(&mut out);
    let mut record = |cells: &[String]| {
        writer.write_record(cells).expect("memory takes every record, and all are of one length");
    };
    record(&COLUMNS.map(str::to_owned));
    rows.iter().for_each(|row| record(&cells(row).map(|cell| quoted(&cell))));
    drop(writer);
    out
}

fn cells(row: &SheetRow) -> [String; COLUMNS.len()] {
    let SheetRow { id, text, suggestion, asked, teacher, student, why, probabilities } = row;
    let [suggestion, teacher, student] = [suggestion, teacher, student].map(pair);
    let shares: Vec<String> =
        probabilities.iter().map(|(class, p)| format!("{class} {p:.3}")).collect();
    [
        id.clone(),
        String::new(),
        text.clone(),
        suggestion.0,
        suggestion.1,
        asked.clone().unwrap_or_default(),
        teacher.0,
        teacher.1,
        student.0,
        student.1,
        why.clone().unwrap_or_default(),
        shares.join("; "),
    ]
}

/// The cells of an opinion: its class and the probability.
fn pair(opinion: &Option<Opinion>) -> (String, String) {
    let Some(Opinion { label, p }) = opinion else { return Default::default() };
    (label.clone(), p.map_or_else(String::new, |p| format!("{p:.3}")))
}

/// `cell` so that a spreadsheet shows it as it is. Probabilities, which are numbers, pass.
fn quoted(cell: &str) -> String {
    let is_probability = || cell.len() == 5 && cell.parse::<f32>().is_ok();
    match needs_apostrophe(cell) && !is_probability() {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    }
}

/// `cell` without the apostrophe of [`quoted`].
pub(crate) fn unquoted(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| needs_apostrophe(rest)).unwrap_or(cell)
}

/// Also if there are apostrophes in front already: so [`unquoted`] takes none off that was there
/// before.
fn needs_apostrophe(cell: &str) -> bool {
    let start = cell.trim_start_matches('\'').trim_start();
    let is_number = |first: char| first.is_ascii_digit() && cell.len() <= NUMBER;
    let control = cell.starts_with(['\t', '\r', '\n']);
    control || start.starts_with(|first| FORMULA.contains(&first) || is_number(first))
}

/// The answer in a row of a table.
pub(super) fn answer(fields: &Map<String, Value>, place: &Place) -> Result<Answer, Wrong> {
    let label = match value(fields, LABEL) {
        // Several choices of Label Studio.
        Some(Value::Object(several)) => only(strings(several.get("choices")))?,
        several @ Some(Value::Array(_)) => only(strings(several))?,
        _ => string(fields, LABEL).map(|label| unquoted(label.trim()).to_owned()),
    };
    let text = string(fields, EDITED).or_else(|| string(fields, TEXT)).unwrap_or_default();
    let by = string(fields, "annotator");
    Ok(Answer { place: place.clone(), id: id(fields, ID)?, text, label, by })
}

/// The strings of a list.
pub(super) fn strings(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}
