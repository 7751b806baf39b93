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
    columns::{Columns, Picked},
    input::{Input, Part},
    unique,
};
use crate::counted::counted;

/// Bytes that are read again after quotes that are never closed.
const AGAIN: usize = 64 << 20;

/// Bytes of a header line that goes on while a quote is open.
const MAX_HEADER: usize = 64 << 10;

/// What separates fields, in the order in which they are tried.
pub(super) const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

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
        let first = loop {
            let Some(first) = input.line(true).map_err(|fault| vec![fault])? else {
                return Ok(None);
            };
            let line = first.text.trim_matches(['\r', '\n']);
            let line = line.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(line);
            match line.strip_prefix("sep=").map(str::as_bytes) {
                // Excel's own way of naming the separator.
                Some(&[separator]) => sep = Some(separator),
                _ if line.is_empty() && first.fault.is_none() => {}
                _ => break first,
            }
        };
        let candidates = match sep {
            Some(separator) => vec![separator],
            None => {
                let others = SEPARATORS.into_iter().filter(|other| *other != preferred);
                std::iter::once(preferred).chain(others).collect()
            }
        };
        let place = first.place;
        let Header { dialect, names } = open_header(&mut input, first, &candidates, columns)?;
        let mut picked = columns.pick(&names).map_err(|problems| {
            let problems = problems.into_iter().map(Problem::in_header);
            problems.map(|problem| input.fault(place, problem)).collect::<Vec<_>>()
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

    /// Whether no line of the next record has arrived.
    pub(super) fn pauses(&self) -> bool {
        let Some(bytes) = self.input.at_hand() else { return false };
        let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let blank = bytes.iter().take_while(|byte| is_break(byte)).count();
        let bytes = &bytes[blank..];
        // A carriage return ends a line once it is known that no line feed follows.
        let end = bytes.iter().position(is_break);
        !end.is_some_and(|at| bytes[at] == b'\n' || at + 1 < bytes.len())
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
            let message = format!("{}, but the header line has {width}", counted(count, "field"));
            record.faults.push(self.input.fault(start, Problem::InvalidCsv { message }));
        }
        record
    }
}

/// The header that starts with the line `first`, split by the first of the best `separators`: one
/// that gives the columns, then one that gives the most.
///
/// # Errors
/// A line cannot be read, or the first of the separators gives no record and no other gives the
/// columns.
fn open_header(
    input: &mut Input<'_>,
    first: Part,
    separators: &[u8],
    columns: &Columns,
) -> Result<Header, Vec<Fault>> {
    let mut text = first.text.clone();
    let mut lines = vec![first];
    let mut guesses: Vec<Guess> = separators.iter().map(|&it| Guess::new(it)).collect();
    // A quoted name may go over several lines.
    loop {
        let open = guesses.iter_mut().map(|guess| guess.split(&text)).fold(false, |a, b| a | b);
        let fault = lines.last().is_some_and(|line| line.fault.is_some());
        if !open || fault || text.len() >= MAX_HEADER {
            break;
        }
        let Some(line) = input.line(true).map_err(|fault| vec![fault])? else { break };
        text.push_str(&line.text);
        lines.push(line);
    }
    let mut headers: Vec<_> = guesses.into_iter().map(|guess| guess.header(&text)).collect();
    let best = headers.iter().enumerate().filter_map(|(number, header)| {
        let (Header { names, .. }, _) = header.as_ref().ok()?;
        let found = columns.pick(names).map_or(0, |picked| 1 + picked.certainty);
        Some((found, names.len(), std::cmp::Reverse(number)))
    });
    let best = best.max().filter(|(found, ..)| *found > 0 || headers[0].is_ok());
    let (header, end) =
        headers.swap_remove(best.map_or(0, |best| best.2.0)).map_err(|(at, message)| {
            let problem = Problem::InvalidCsv { message: message.to_owned() };
            vec![input.fault(Lines::of(&text).place_from(lines[0].place, at), problem)]
        })?;
    // Lines that only another separator asked for are rows.
    let starts = lines.iter().scan(0, |start, line| {
        *start += line.text.len();
        Some(*start - line.text.len())
    });
    let own = starts.take_while(|start| *start <= end).count();
    input.give_back(lines.split_off(own).into_iter());
    match lines.into_iter().find_map(|line| line.fault) {
        Some(fault) => Err(vec![fault]),
        None => Ok(header),
    }
}

struct Header {
    dialect: Dialect,
    names: Vec<String>,
}

/// A header as one separator splits it, with and without spaces behind the separators.
struct Guess {
    ways: [(Splitter, Split); 2],
}

impl Guess {
    fn new(separator: u8) -> Self {
        let way = |spaced: bool| (Splitter::new(Dialect { separator, spaced }), Split::Open(0));
        Self { ways: [way(true), way(false)] }
    }

    /// Goes on with `text`, which starts with what was given before. Returns whether it is open.
    fn split(&mut self, text: &str) -> bool {
        let mut open = false;
        for (splitter, split) in &mut self.ways {
            if matches!(split, Split::Open(_)) {
                *split = splitter.split(text);
                open |= matches!(split, Split::Open(_));
            }
        }
        open
    }

    /// The header and the byte behind its last field; or the byte at which it is broken, and why.
    fn header(self, text: &str) -> Result<(Header, usize), (usize, &'static str)> {
        let [(spaced, way), (plain, other)] = self.ways;
        let splitter = match (way, other) {
            (Split::Done, _) if spaced.is_spaced(text) => spaced,
            (_, Split::Done) => plain,
            (_, Split::Open(quote)) => return Err((quote, NEVER_CLOSED)),
            (_, Split::Stray { at, .. }) => return Err((at, AFTER_QUOTE)),
        };
        let names = splitter.fields.iter().map(|field| value(&text[field.clone()])).collect();
        Ok((Header { dialect: splitter.dialect, names }, splitter.at))
    }
}

/// The fields of the first record of `text`, split by `separator`; `None` if it is broken or does
/// not end.
pub(super) fn first_record(text: &str, separator: u8) -> Option<Vec<String>> {
    let mut guess = Guess::new(separator);
    guess.split(text);
    guess.header(text).ok().map(|(header, _)| header.names)
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

    /// Whether a space follows each separator.
    fn is_spaced(&self, record: &str) -> bool {
        let bytes = record.as_bytes();
        let spaced = |field: &Range<usize>| bytes[..field.start].ends_with(b" ");
        self.dialect.separator != b' '
            && self.fields.len() > 1
            && self.fields[1..].iter().all(spaced)
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
