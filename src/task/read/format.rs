//! Which format a file has: by its first bytes, then by its name.

use std::path::Path;

use super::{
    super::fault::Problem,
    columns::{Columns, fold},
    csv, fasttext,
};

/// How the texts of a file are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A header line, and one row per line or more.
    Csv,
    /// One JSON object per row.
    Json,
    Parquet,
    /// `__label__x text`, one per line.
    FastText,
    /// One text per line.
    Text,
    /// One text.
    Whole,
}

impl Format {
    pub(super) fn named(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Json => "JSON",
            Self::Parquet => "Parquet",
            Self::FastText => "fastText",
            Self::Text => "one text per line",
            Self::Whole => "one text",
        }
    }
}

/// The format of the file `name`, which starts with the bytes `ahead`, and whether its name says
/// the same. Without a format (`None`), it may be anything.
///
/// # Errors
/// It is something that is never read, such as an Excel workbook.
pub(super) fn guess(
    name: &str,
    ahead: &[u8],
    columns: &Columns,
) -> Result<Option<(Format, bool)>, Problem> {
    let by_name = by_name(name);
    let by_bytes = match ahead {
        [b'P', b'A', b'R', b'1', ..] => Some(Format::Parquet),
        [b'P', b'K', 3, 4, ..] | [0xd0, 0xcf, 0x11, 0xe0, ..] => {
            return Err(Problem::Workbook { path: name.to_owned() });
        }
        _ if ahead.starts_with(fasttext::MARK.as_bytes()) => Some(Format::FastText),
        _ => starts_json(ahead).then_some(Format::Json),
    };
    let plain = matches!(by_name, None | Some(Format::Text | Format::Json));
    let by_header = || (plain && starts_header(ahead, columns)).then_some(Format::Csv);
    let format = by_bytes.or_else(by_header).or(by_name);
    Ok(format.map(|format| (format, by_name == Some(format))))
}

fn by_name(name: &str) -> Option<Format> {
    Some(match extension(name).as_deref()? {
        "csv" | "tsv" | "tab" => Format::Csv,
        "jsonl" | "ndjson" | "json" => Format::Json,
        "parquet" | "pq" => Format::Parquet,
        "txt" | "text" => Format::Text,
        _ => return None,
    })
}

/// The separator that the name of a file suggests.
pub(super) fn separator(name: &str) -> u8 {
    match extension(name).as_deref() {
        Some("tsv" | "tab") => b'\t',
        _ => b',',
    }
}

/// The extension in lower case; `x.csv.gz` has `csv`.
fn extension(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let name = lower.strip_suffix(".gz").unwrap_or(&lower);
    Some(Path::new(name).extension()?.to_str()?.to_owned())
}

/// Whether a JSON object or an array of objects starts here, rather than a text in brackets.
fn starts_json(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii_start();
    let object = match bytes {
        [b'[', rest @ ..] => rest.trim_ascii_start(),
        _ => bytes,
    };
    let [b'{', rest @ ..] = object else { return false };
    matches!(rest.trim_ascii_start(), [b'"' | b'}', ..])
}

/// Words of the name of a column that tells a header line from a sentence.
const NAME_WORDS: usize = 3;

/// Whether the first line is a header with the text column: one of the separators gives it by name.
/// A sentence may have `text` between two commas, too. Where each line may be a text, a header has
/// short names only and as many as the next record has fields.
fn starts_header(bytes: &[u8], columns: &Columns) -> bool {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let end = bytes.iter().position(is_end).unwrap_or(bytes.len());
    let Ok(line) = std::str::from_utf8(&bytes[..end]) else { return false };
    if line.len() >= 4096 {
        return false;
    }
    let rest = String::from_utf8_lossy(bytes[end..].trim_ascii_start());
    let may_be_texts = columns.text.is_empty() && columns.label.is_none();
    csv::SEPARATORS.into_iter().any(|separator| {
        let Some(names) = csv::first_record(line, separator) else { return false };
        let folded: Vec<String> = names.iter().map(|name| fold(name)).collect();
        let is_named = match columns.pick(&folded) {
            Ok(picked) => picked.is_named,
            // Opening it as CSV names the fault.
            Err(problems) => {
                problems.iter().any(|it| matches!(it, Problem::DuplicateColumn { .. }))
            }
        };
        let is_short = |name: &String| name.split_whitespace().count() <= NAME_WORDS;
        is_named
            && (!may_be_texts || names.iter().all(is_short) && fits(&rest, separator, names.len()))
    })
}

/// Whether the first record of `rest` has `width` fields. One that does not end yet may have fewer.
fn fits(rest: &str, separator: u8, width: usize) -> bool {
    let ends = rest.contains(['\n', '\r']);
    match csv::first_record(rest, separator) {
        Some(fields) if ends => fields.len() == width,
        Some(fields) => fields.len() <= width,
        None => true,
    }
}
