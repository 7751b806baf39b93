//! CSV according to RFC 4180: commas, double quotes, a header line, LF or CRLF.
//!
//! The `csv` crate reads the values. It accepts what should be a fault (a quote that is never
//! closed swallows the rest of the file), and it reports the start of a record but not of its
//! fields. So [`fields`] parses each record a second time for its places and faults.

use super::{super::fault::Problem, Cell, Faults, Lines, Source};

/// The error of [`fields`] that more lines may resolve.
pub(super) const NEVER_CLOSED: &str = "the quote that opens here is never closed";

pub(super) fn rows(source: &Source<'_>, columns: &[&str], faults: &mut Faults) -> Vec<Vec<Cell>> {
    let Some(text) = source.text(faults) else {
        return Vec::new();
    };
    let name = &source.name;
    let lines = Lines::of(text);
    let mut reader =
        ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut header: Option<(usize, Vec<usize>)> = None;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let message = error.to_string();
                faults.add(name, (0, 0), Problem::InvalidCsv { message });
                break;
            }
        };
        let Some(start) = record.position().map(|place| place.byte() as usize) else {
            continue;
        };
        // The position may lie before blank lines or the second half of a CRLF.
        let start = text.len() - text[start..].trim_start_matches(['\r', '\n']).len();
        let starts = match fields(text, start) {
            Ok(starts) => starts,
            Err((at, message)) => {
                let problem = Problem::InvalidCsv { message: message.to_owned() };
                faults.add(name, lines.place(at), problem);
                if header.is_none() {
                    break;
                }
                continue;
            }
        };
        let Some((width, indices)) = &header else {
            let found: Vec<String> = record.iter().map(str::to_owned).collect();
            let mut indices = Vec::with_capacity(columns.len());
            for column in columns {
                match found.iter().position(|name| name == column) {
                    Some(index) => indices.push(index),
                    None => {
                        let problem = Problem::MissingColumn {
                            column: (*column).to_owned(),
                            found: found.clone(),
                        };
                        faults.add(name, lines.place(start), problem);
                    }
                }
            }
            if indices.len() < columns.len() {
                break;
            }
            header = Some((record.len(), indices));
            continue;
        };
        if record.len() != *width {
            let message = match record.len() {
                1 => format!("1 field, but the header line has {width}"),
                count => format!("{count} fields, but the header line has {width}"),
            };
            faults.add(name, lines.place(start), Problem::InvalidCsv { message });
            continue;
        }
        let cells = indices.iter().map(|&index| {
            let (line, column) = lines.place(starts[index]);
            Cell { value: record[index].to_owned(), line, column }
        });
        rows.push(cells.collect());
    }
    rows
}

/// The byte offset of each field of the record at `start`, or the offset and description of an
/// error.
pub(super) fn fields(text: &str, start: usize) -> Result<Vec<usize>, (usize, &'static str)> {
    let mut starts = vec![start];
    let mut at = start;
    loop {
        if text[at..].starts_with('"') {
            let open = at;
            at += 1;
            loop {
                let close = text[at..].find('"').ok_or((open, NEVER_CLOSED))?;
                at += close + 1;
                if !text[at..].starts_with('"') {
                    break;
                }
                at += 1;
            }
            if !text[at..].is_empty() && !text[at..].starts_with([',', '\r', '\n']) {
                return Err((at, "text after the closing quote"));
            }
        } else {
            at = text[at..].find([',', '\r', '\n']).map_or(text.len(), |end| at + end);
        }
        if !text[at..].starts_with(',') {
            return Ok(starts);
        }
        at += 1;
        starts.push(at);
    }
}
