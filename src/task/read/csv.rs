//! CSV according to RFC 4180, with the separators that spreadsheets use: double quotes, a header
//! line, LF, CRLF or CR.
//!
//! A quote that is never closed would swallow the rest of the file. The fault names the line where
//! it opens, and reading goes on with the line after that. Every byte is looked at once, but for
//! those that are read again after such a fault, of which there may be [`AGAIN`].

use std::ops::Range;

use serde_json::Value;

use super::{
    super::{
        fault::{Fault, Problem},
        limits::MAX_ROW,
    },
    Field, Lines, Places, Record,
    columns::{Columns, Picked, fold},
    input::{Input, Part},
    unique,
};

/// Bytes that are read again after quotes that are never closed.
const AGAIN: usize = 64 << 20;

/// Columns of a file.
const MAX_COLUMNS: usize = 10_000;

/// How the fields of a file are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dialect {
    pub separator: u8,
    /// Whether each separator is followed by a space that belongs to it.
    pub spaced: bool,
}

impl Dialect {
    pub(super) fn named(self) -> String {
        let space = if self.spaced { " " } else { "" };
        match self.separator {
            b'\t' => "tabs".to_owned(),
            separator => format!("\"{}{space}\"", char::from(separator)),
        }
    }
}

pub(super) struct Csv<'a> {
    pub input: Input<'a>,
    dialect: Dialect,
    names: Vec<String>,
    /// Bytes read again so far.
    again: usize,
}

impl<'a> Csv<'a> {
    /// Reads the header line, guesses the separator and finds the columns.
    ///
    /// # Errors
    /// There is no header line, or it lacks a column.
    pub(super) fn open(
        mut input: Input<'a>,
        preferred: u8,
        columns: &Columns,
    ) -> Result<Option<(Self, Picked)>, Vec<Fault>> {
        let mut sep = None;
        let (header, place) = loop {
            let Some(first) = input.line(true).map_err(|fault| vec![fault])? else {
                return Ok(None);
            };
            if let Some(fault) = first.fault {
                return Err(vec![fault]);
            }
            let line = first.text.trim_matches(['\r', '\n']);
            match line.strip_prefix("sep=").map(str::as_bytes) {
                // Excel's own way of naming the separator.
                Some(&[separator]) => sep = Some(separator),
                _ if line.is_empty() => {}
                _ => break open_header(&mut input, first)?,
            }
        };
        let candidates = match sep {
            Some(separator) => vec![separator],
            None => vec![preferred, b',', b';', b'\t', b'|'],
        };
        let guesses = candidates.iter().map(|&separator| Header::split(&header, separator));
        let mut guesses: Vec<Header> =
            guesses.collect::<Result<_, _>>().map_err(|(at, message)| {
                let problem = Problem::InvalidCsv { message: message.to_owned() };
                vec![input.fault(Lines::of(&header).place_from(place, at), problem)]
            })?;
        // The first of the best: a separator that gives the columns, then one that gives the most.
        let best = guesses.iter().enumerate().max_by_key(|(number, guess)| {
            let found = columns.pick(&guess.names).map_or(0, |picked| 1 + picked.certainty);
            (found, guess.names.len(), std::cmp::Reverse(*number))
        });
        let best = best.map_or(0, |(number, _)| number);
        let Header { dialect, names } = guesses.swap_remove(best);
        let mut picked = columns.pick(&names).map_err(|problems| {
            problems.into_iter().map(|problem| input.fault(place, problem)).collect::<Vec<_>>()
        })?;
        if sep.is_none() && (dialect.separator != preferred || dialect.spaced) {
            picked.notes.insert(0, format!("separated by {}", dialect.named()));
        }
        if names.len() > MAX_COLUMNS {
            let message = format!("more than {MAX_COLUMNS} columns");
            return Err(vec![input.fault(place, Problem::InvalidCsv { message })]);
        }
        let names = unique(names);
        Ok(Some((Self { input, dialect, names, again: 0 }, picked)))
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Fault> {
        let first = loop {
            let Some(line) = self.input.line(true)? else { return Ok(None) };
            if line.fault.is_some() || !line.text.trim_matches(['\r', '\n']).is_empty() {
                break line;
            }
        };
        let start = first.place;
        let broken = |fault: Fault| Ok(Some(Record::broken(start, fault)));
        let mut lines = vec![first];
        let mut text = String::new();
        let mut splitter = Splitter::new(self.dialect);
        loop {
            let line = lines.last_mut().expect("the first line");
            if let Some(fault) = line.fault.take() {
                return broken(fault);
            }
            text.push_str(&line.text);
            let (quote, problem) = match splitter.split(&text) {
                Split::Done => break,
                Split::Open(quote) => match self.input.line(true)? {
                    Some(line) if text.len() + line.text.len() <= MAX_ROW => {
                        lines.push(line);
                        continue;
                    }
                    line => {
                        lines.extend(line);
                        (quote, NEVER_CLOSED)
                    }
                },
                Split::Stray { quote, at } if text[quote..at].contains(['\r', '\n']) => {
                    (quote, NEVER_CLOSED)
                }
                Split::Stray { at, .. } => (at, AFTER_QUOTE),
            };
            let (number, column) = Lines::of(&text).place(quote);
            let rest = lines.split_off(number.min(lines.len()));
            self.again += rest.iter().map(|line| line.text.len()).sum::<usize>();
            let place = (start.0 + number - 1, column);
            let problem = Problem::InvalidCsv { message: problem.to_owned() };
            let fault = self.input.fault(place, problem);
            if self.again > AGAIN {
                return Err(fault);
            }
            self.input.give_back(rest.into_iter());
            return broken(fault);
        }
        Ok(Some(self.record(text, start, &splitter.fields)))
    }

    fn record(&self, text: String, start: (usize, usize), spans: &[Range<usize>]) -> Record {
        let named = self.names.iter().zip(spans).map(|(name, span)| Field {
            name: name.clone(),
            value: Value::String(value(&text[span.clone()])),
            at: span.start,
            problem: None,
        });
        let fields = named.collect();
        let mut record =
            Record { fields, places: Places::Text { text, start }, faults: Vec::new() };
        let (count, width) = (spans.len(), self.names.len());
        if count != width {
            let fields = if count == 1 { "field" } else { "fields" };
            let message = format!("{count} {fields}, but the header line has {width}");
            record.faults.push(self.input.fault(start, Problem::InvalidCsv { message }));
        }
        record
    }
}

/// The header record, of which `first` is the first line, and its place.
fn open_header(input: &mut Input<'_>, first: Part) -> Result<(String, (usize, usize)), Vec<Fault>> {
    let mut header = first.text;
    // A quoted name may go over several lines.
    while header.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 && header.len() < 1 << 16 {
        match input.line(true).map_err(|fault| vec![fault])? {
            Some(line) => header.push_str(&line.text),
            None => break,
        }
    }
    Ok((header, first.place))
}

struct Header {
    dialect: Dialect,
    names: Vec<String>,
}

impl Header {
    fn split(text: &str, separator: u8) -> Result<Self, (usize, &'static str)> {
        let split = |spaced: bool| {
            let mut splitter = Splitter::new(Dialect { separator, spaced });
            match splitter.split(text) {
                Split::Done => Ok(splitter),
                Split::Open(quote) => Err((quote, NEVER_CLOSED)),
                Split::Stray { at, .. } => Err((at, AFTER_QUOTE)),
            }
        };
        let plain = split(false)?;
        let spaced = plain.fields.len() > 1
            && plain.fields[1..].iter().all(|field| text[field.clone()].starts_with(' '));
        let splitter = if spaced { split(true)? } else { plain };
        let names = splitter.fields.iter().map(|field| value(&text[field.clone()])).collect();
        Ok(Self { dialect: splitter.dialect, names })
    }
}

/// Whether `line` may be a header with the columns: one of the separators gives them by name.
pub(super) fn is_header(line: &str, columns: &Columns) -> bool {
    let split = |separator: u8| Header::split(line, separator).ok();
    [b',', b';', b'\t', b'|'].into_iter().filter_map(split).any(|header| {
        let names: Vec<String> = header.names.iter().map(|name| fold(name)).collect();
        columns.pick(&names).is_ok_and(|picked| picked.is_named)
    })
}

const NEVER_CLOSED: &str = "the quote that opens here is never closed";
const AFTER_QUOTE: &str = "text after the closing quote";

/// A field without its quotes.
fn value(field: &str) -> String {
    match field.strip_prefix('"').and_then(|field| field.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => field.to_owned(),
    }
}

enum Split {
    Done,
    /// The record ends within the quotes that open at this byte: more lines are needed.
    Open(usize),
    /// Text at the byte `at` follows the quotes that open at `quote`.
    Stray {
        quote: usize,
        at: usize,
    },
}

/// Splits a record, which may grow while a quote is open.
struct Splitter {
    dialect: Dialect,
    /// The bytes of each field, with its quotes.
    fields: Vec<Range<usize>>,
    /// The start of the current field.
    start: usize,
    /// The next byte to look at.
    at: usize,
    quoted: bool,
}

impl Splitter {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, fields: Vec::new(), start: 0, at: 0, quoted: false }
    }

    /// Goes on with `record`, which starts with what was given before.
    fn split(&mut self, record: &str) -> Split {
        let bytes = record.as_bytes();
        let ends = |byte: u8| byte == self.dialect.separator || byte == b'\r' || byte == b'\n';
        let (separator, spaced) = (self.dialect.separator, self.dialect.spaced);
        loop {
            if !self.quoted {
                if spaced && !self.fields.is_empty() && bytes.get(self.at) == Some(&b' ') {
                    self.at += 1;
                }
                self.start = self.at;
                self.quoted = bytes.get(self.at) == Some(&b'"');
                self.at += usize::from(self.quoted);
            }
            if self.quoted {
                match bytes[self.at..].iter().position(|byte| *byte == b'"') {
                    None => {
                        self.at = bytes.len();
                        return Split::Open(self.start);
                    }
                    Some(quote) => self.at += quote + 1,
                }
                if bytes.get(self.at) == Some(&b'"') {
                    self.at += 1;
                    continue;
                }
                self.quoted = false;
                if bytes.get(self.at).is_some_and(|byte| !ends(*byte)) {
                    return Split::Stray { quote: self.start, at: self.at };
                }
            } else {
                let rest = bytes[self.at..].iter();
                self.at = rest
                    .clone()
                    .position(|byte| ends(*byte))
                    .map_or(bytes.len(), |end| self.at + end);
            }
            self.fields.push(self.start..self.at);
            if bytes.get(self.at) != Some(&separator) {
                return Split::Done;
            }
            self.at += 1;
        }
    }
}
