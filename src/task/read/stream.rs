//! Streams the texts of a file that may not fit into memory.
//!
//! The file is read twice: first to find its faults, so that a file with faults is rejected as a
//! whole like everywhere else, then to return the texts. Memory holds one row at a time, except
//! that Parquet files are read as a whole.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind},
    path::Path,
};

use super::{
    super::fault::{Place, Problem, TaskError},
    Cell, Faults, Lines, check_text, csv, extension, jsonl, read_texts,
};

/// Faults after which the first pass ends: nobody fixes more of them at a time.
const MAX_FAULTS: usize = 1000;
/// Bytes of the longest CSV record: a quote that is never closed would otherwise load the whole
/// file.
const MAX_RECORD: usize = 16 << 20;

/// The texts of a file, see [`stream_texts`].
pub(crate) struct TextStream(Rows);

enum Rows {
    Streamed(RowReader),
    Loaded(std::vec::IntoIter<Cell>),
}

/// Reads texts to classify like [`read_texts`], in constant memory.
///
/// # Errors
/// [`TaskError::Faults`] with every invalid row, missing column and empty text, before the first
/// text is returned. The iterator fails if the file changes while it is read.
pub(crate) fn stream_texts(path: &Path, text_column: &str) -> Result<TextStream, TaskError> {
    let name = path.display().to_string();
    let format = match extension(&name).as_deref() {
        Some("txt") => Format::Plain,
        Some("csv") => Format::Csv,
        Some("jsonl") => Format::Jsonl,
        _ => return Ok(TextStream(Rows::Loaded(read_texts(path, text_column)?.into_iter()))),
    };
    let open = || RowReader::open(path, text_column, format);
    let mut reader = open()?;
    let mut faults = Faults::default();
    let mut rows = 0;
    while faults.0.len() < MAX_FAULTS {
        match reader.step(&mut faults) {
            Step::Text(_) => rows += 1,
            Step::None => {}
            Step::End => break,
        }
    }
    if rows == 0 && faults.0.is_empty() {
        faults.add(&name, (0, 0), Problem::EmptyFile);
    }
    faults.finish(())?;
    Ok(TextStream(Rows::Streamed(open()?)))
}

impl Iterator for TextStream {
    type Item = Result<String, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = match &mut self.0 {
            Rows::Streamed(reader) => reader,
            Rows::Loaded(cells) => return cells.next().map(|cell| Ok(cell.value)),
        };
        let mut faults = Faults::default();
        loop {
            let step = reader.step(&mut faults);
            // Only if the file was changed since the first pass.
            if !faults.0.is_empty() {
                reader.done = true;
                return Some(Err(faults.into_error()));
            }
            match step {
                Step::Text(text) => return Some(Ok(text)),
                Step::None => {}
                Step::End => return None,
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Plain,
    Csv,
    Jsonl,
}

enum Step {
    Text(String),
    /// A row with a fault, a blank line or the header.
    None,
    End,
}

struct RowReader {
    name: String,
    column: String,
    format: Format,
    input: BufReader<File>,
    /// Number of lines read so far.
    line: usize,
    /// Whether the last part read did not end with a line feed, so that the next one is on the same
    /// line.
    within_line: bool,
    /// Number of bytes read so far.
    offset: usize,
    /// CSV: the number of fields in the header line, and the index of the text column.
    header: Option<(usize, usize)>,
    /// JSONL: whether a line that is not blank was read.
    started: bool,
    /// Whether nothing more can be read.
    done: bool,
}

impl RowReader {
    fn open(path: &Path, column: &str, format: Format) -> Result<Self, TaskError> {
        let name = path.display().to_string();
        let file = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
            true => Err(ErrorKind::IsADirectory.into()),
            false => Ok(file),
        });
        let file = file.map_err(|error| {
            let path = name.clone();
            let problem = match error.kind() {
                ErrorKind::NotFound => Problem::MissingFile { path },
                _ => Problem::Unreadable { path, message: error.to_string() },
            };
            TaskError::one(Place::whole(&name), problem)
        })?;
        Ok(Self {
            name,
            column: column.to_owned(),
            format,
            input: BufReader::with_capacity(1 << 16, file),
            line: 0,
            within_line: false,
            offset: 0,
            header: None,
            started: false,
            done: false,
        })
    }

    /// The next line with its line break; `None` at the end of the file or if the rest cannot be
    /// read.
    fn line(&mut self, faults: &mut Faults) -> Option<String> {
        let mut bytes = Vec::new();
        if self.done {
            return None;
        }
        let read = match self.format {
            Format::Csv => self.csv_line(&mut bytes),
            _ => self.input.read_until(b'\n', &mut bytes).map(|_| ()),
        };
        self.line += usize::from(!self.within_line);
        self.within_line = !bytes.ends_with(b"\n");
        if let Err(error) = read {
            let (path, message) = (self.name.clone(), error.to_string());
            faults.add(&self.name, (0, 0), Problem::Unreadable { path, message });
        }
        if bytes.is_empty() {
            self.done = true;
            return None;
        }
        let start = self.offset;
        self.offset += bytes.len();
        if start == 0 && bytes.starts_with(b"\xef\xbb\xbf") {
            faults.add(&self.name, (1, 1), Problem::Bom);
            bytes.drain(..3);
        }
        match String::from_utf8(bytes) {
            Ok(line) => Some(line),
            Err(error) => {
                self.done = true;
                let valid = error.utf8_error().valid_up_to();
                let bytes = error.as_bytes();
                let column = String::from_utf8_lossy(&bytes[..valid]).chars().count() + 1;
                let utf16 = start == 0
                    && (bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff"));
                let offset = self.offset - bytes.len() + valid;
                let problem = Problem::NotUtf8 { byte: bytes[valid], offset, utf16 };
                faults.add(&self.name, (self.line, column), problem);
                None
            }
        }
    }

    /// Reads up to the next CR, LF or CRLF, each of which ends a CSV record.
    fn csv_line(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let ahead = self.input.fill_buf()?;
            if ahead.is_empty() || bytes.ends_with(b"\r") {
                if ahead.first() == Some(&b'\n') {
                    self.input.consume(1);
                    bytes.push(b'\n');
                }
                return Ok(());
            }
            let end = ahead.iter().position(|&byte| byte == b'\n' || byte == b'\r');
            let taken = end.map_or(ahead.len(), |end| end + 1);
            bytes.extend_from_slice(&ahead[..taken]);
            self.input.consume(taken);
            if bytes.ends_with(b"\n") {
                return Ok(());
            }
        }
    }

    /// Reads the next row.
    fn step(&mut self, faults: &mut Faults) -> Step {
        let Some(line) = self.line(faults) else { return Step::End };
        let cell = match self.format {
            Format::Plain => {
                let value = line.strip_suffix('\n').unwrap_or(&line);
                let value = value.strip_suffix('\r').unwrap_or(value);
                Some(Cell { value: value.to_owned(), line: self.line, column: 1 })
            }
            Format::Jsonl => self.object(&line, faults),
            Format::Csv => self.record(line, faults),
        };
        match cell {
            Some(cell) if check_text(&self.name, &cell, faults) => Step::Text(cell.value),
            _ => Step::None,
        }
    }

    /// The text of the JSON object on `line`.
    fn object(&mut self, line: &str, faults: &mut Faults) -> Option<Cell> {
        if line.trim().is_empty() {
            return None;
        }
        if !self.started && line.trim_start().starts_with('[') {
            faults.add(&self.name, (1, 1), Problem::JsonArray);
            self.done = true;
            return None;
        }
        self.started = true;
        let cells = jsonl::row(&self.name, self.line, line.trim_end(), &[&self.column], faults);
        cells?.pop()
    }

    /// The text of the CSV record that starts with the line `record`. Reads more lines while a
    /// quote is open.
    fn record(&mut self, mut record: String, faults: &mut Faults) -> Option<Cell> {
        if record.trim_matches(['\r', '\n']).is_empty() {
            return None;
        }
        let first = self.line;
        let starts = loop {
            match csv::fields(&record, 0) {
                Ok(starts) => break starts,
                Err((at, message)) => {
                    let open = message == csv::NEVER_CLOSED;
                    // Reads on to the next line with a quote: only that can close it.
                    let mut closed = false;
                    while open && !closed && record.len() < MAX_RECORD {
                        let Some(line) = self.line(faults) else { break };
                        closed = line.contains('"');
                        record.push_str(&line);
                    }
                    if closed {
                        continue;
                    }
                    let (line, column) = Lines::of(&record).place(at);
                    let problem = Problem::InvalidCsv { message: message.to_owned() };
                    faults.add(&self.name, (first + line - 1, column), problem);
                    // Without a header the rest cannot be read.
                    self.done |= self.header.is_none();
                    return None;
                }
            }
        };
        let record = record.trim_end_matches(['\r', '\n']);
        let value = |at: usize| {
            let end = starts.get(at + 1).map_or(record.len(), |next| next - 1);
            let field = &record[starts[at]..end];
            let inner = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
            inner.map_or_else(|| field.to_owned(), |inner| inner.replace("\"\"", "\""))
        };
        let Some((width, text)) = self.header else {
            let found = (0..starts.len()).map(value).collect::<Vec<_>>();
            match found.iter().position(|name| *name == self.column) {
                Some(at) => self.header = Some((starts.len(), at)),
                None => {
                    let problem = Problem::MissingColumn { column: self.column.clone(), found };
                    faults.add(&self.name, (first, 1), problem);
                    self.done = true;
                }
            }
            return None;
        };
        if starts.len() != width {
            let message = match starts.len() {
                1 => format!("1 field, but the header line has {width}"),
                count => format!("{count} fields, but the header line has {width}"),
            };
            faults.add(&self.name, (first, 1), Problem::InvalidCsv { message });
            return None;
        }
        let (line, column) = Lines::of(record).place(starts[text]);
        Some(Cell { value: value(text), line: first + line - 1, column })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    /// The texts or the faults of the streaming reader, which must equal those of [`read_texts`].
    fn both(name: &str, bytes: &[u8]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let message = |error: TaskError| {
            let hint = error.hint().unwrap_or_default();
            format!("{error}\n{hint}").replace(&path.display().to_string(), name)
        };
        let texts = |cells: Vec<Cell>| cells.into_iter().map(|cell| cell.value).collect();
        let whole = read_texts(&path, "text").map(texts).map_err(message);
        let stream = stream_texts(&path, "text");
        let stream = stream.and_then(Iterator::collect::<Result<Vec<String>, _>>).map_err(message);
        assert_eq!(stream, whole);
        stream
    }

    #[test]
    fn valid_files_give_the_same_texts_as_the_whole_file_reader() {
        assert_eq!(both("x.txt", "one\r\ntwo\nthr\u{e9}e".as_bytes()).unwrap().len(), 3);
        let jsonl = "{\"text\": \"a\"}\n\n{\"n\": 1, \"text\": \"b\\n\\\"c\\\"\"}\r\n";
        assert_eq!(both("x.jsonl", jsonl.as_bytes()).unwrap(), ["a", "b\n\"c\""]);
        let csv =
            "id,text\n\n1,plain\r\n2,\"two\nlines, \"\"quoted\"\"\"\n3,5\" pipe\n\"4\",\"\"\"\"\n";
        let texts = ["plain", "two\nlines, \"quoted\"", "5\" pipe", "\""];
        assert_eq!(both("x.csv", csv.as_bytes()).unwrap(), texts);
    }

    #[test]
    fn faults_equal_those_of_the_whole_file_reader_and_come_before_any_text() {
        for (name, bytes) in [
            ("x.txt", &b"a\n\nb\n \n"[..]),
            ("x.txt", b""),
            ("x.txt", b"\xef\xbb\xbfa\n"),
            ("x.txt", b"a\nb\xffc\n"),
            ("x.jsonl", b"{\"text\": \"a\"}\n{\"text\": 3}\n{\"b\": 1}\nnone\n{\"text\": \" \"}\n"),
            ("x.jsonl", b"[{\"text\": \"a\"}]"),
            ("x.csv", b"body\na\n"),
            ("x.csv", b"id,text\n1\n2,b\n3,c,d\n"),
            ("x.csv", b"id,text\n1,\"open\n2,b\n"),
            ("x.csv", b"id,text\n1,\"shut\"x\n2,b\n"),
            ("x.csv", b"text\n"),
            ("x.doc", b"text\n"),
        ] {
            let message = both(name, bytes).expect_err("a fault");
            assert!(message.starts_with(name) || message.contains("fault"), "{message}");
        }
        assert!(stream_texts(Path::new("/no/where.txt"), "text").is_err());
    }
}
