//! The rows of a file or a pipe, one at a time: memory does not grow with the input.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek},
    path::Path,
};

use serde_json::{Map, Value};

use super::{
    super::{
        fault::{Fault, Place, Problem},
        limits::MAX_TEXT,
        names,
    },
    Cell, Field, Places, Record,
    columns::{self, Columns, Picked},
    csv::Csv,
    fasttext,
    format::{self, Format},
    input::{Input, Part},
    json::{self, Json},
    parquet::Parquet,
};
use crate::fs;

/// What stands between the columns of a text.
const JOINT: &str = "\n\n";

/// Where rows come from.
pub(crate) enum Origin<'a> {
    File(File),
    Bytes(&'a [u8]),
    /// A pipe, which cannot go back.
    Pipe(Box<dyn Read + Send + 'a>),
}

/// A row as it is read.
pub(crate) struct Row {
    /// Line and column of its start; in Parquet the number of the row.
    pub place: (usize, usize),
    /// All columns in the order of the file; of a file of texts, `text`. Empty if the row cannot be
    /// read.
    pub fields: Map<String, Value>,
    /// Its text: the text columns, joined.
    pub text: Option<Cell>,
    /// Its label, if one was asked for.
    pub label: Option<Cell>,
    /// Why the row cannot be used.
    pub faults: Vec<Fault>,
    /// Its bytes in the input, roughly.
    pub bytes: usize,
}

/// Reads rows; see the [module](self).
pub(crate) struct Reader<'a> {
    name: String,
    rows: Rows<'a>,
    pipe: bool,
    columns: Columns,
    /// The names of the text columns, and that of the label. JSON has them from its first row on.
    picked: Option<(Vec<String>, Option<String>)>,
    notes: Vec<String>,
}

enum Rows<'a> {
    Text(Input<'a>),
    FastText(Input<'a>),
    /// The rest of the input is one text.
    Whole(Input<'a>),
    Csv(Csv<'a>),
    Json(Json<'a>),
    Parquet(Box<Parquet>),
    Empty,
}

/// Opens the file at `path` for [`Reader::open`].
///
/// # Errors
/// It is missing, cannot be read or is no regular file.
pub(crate) fn open_file<'a>(name: &str, path: &Path) -> Result<Origin<'a>, Fault> {
    fs::open_regular(path).map(Origin::File).map_err(|error| {
        let (path, message) = (name.to_owned(), error.to_string());
        let problem = match error.kind() {
            ErrorKind::NotFound => Problem::MissingFile { path },
            ErrorKind::InvalidInput => Problem::NotAFile { path, message },
            _ => Problem::Unreadable { path, message },
        };
        Fault { place: Place::whole(name), problem }
    })
}

impl<'a> Reader<'a> {
    /// Opens the rows of the file `name`, which faults show. Without a `format`, it is guessed.
    ///
    /// # Errors
    /// The file cannot be read, has no supported format, or lacks a column.
    pub(crate) fn open(
        name: &str,
        origin: Origin<'a>,
        columns: &Columns,
        format: Option<Format>,
    ) -> Result<Self, Vec<Fault>> {
        let fault = |problem: Problem| vec![Fault { place: Place::whole(name), problem }];
        let unreadable = |error: std::io::Error| {
            fault(Problem::Unreadable { path: name.to_owned(), message: error.to_string() })
        };
        let mut reader = Self {
            name: name.to_owned(),
            rows: Rows::Empty,
            pipe: matches!(origin, Origin::Pipe(_)),
            columns: columns.clone(),
            picked: None,
            notes: Vec::new(),
        };
        let mut start = [0; 4];
        let bytes: Box<dyn Read + Send + 'a> = match origin {
            Origin::File(mut file) => {
                let length = read_up_to(&mut file, &mut start).map_err(unreadable)?;
                file.rewind().map_err(unreadable)?;
                if is_parquet(&start[..length], name, format) {
                    reader.open_parquet(file)?;
                    return Ok(reader);
                }
                Box::new(file)
            }
            Origin::Bytes(bytes) => {
                if is_parquet(bytes, name, format) && !bytes.is_empty() {
                    reader.open_parquet(bytes::Bytes::copy_from_slice(bytes))?;
                    return Ok(reader);
                }
                Box::new(bytes)
            }
            Origin::Pipe(bytes) => bytes,
        };
        reader.open_text(bytes, format)?;
        Ok(reader)
    }

    fn open_parquet(
        &mut self,
        file: impl parquet::file::reader::ChunkReader + 'static,
    ) -> Result<(), Vec<Fault>> {
        let all = self.columns.label.is_none();
        let (parquet, picked) = Parquet::open(&self.name, file, &self.columns, all)?;
        if !format::guess(&self.name, b"PAR1", &self.columns)
            .is_ok_and(|it| it.is_some_and(|it| it.1))
        {
            self.notes.push(format!("read as {}", Format::Parquet.named()));
        }
        self.pick(parquet.names().to_vec().as_slice(), picked);
        self.rows = Rows::Parquet(Box::new(parquet));
        Ok(())
    }

    fn open_text(
        &mut self,
        bytes: Box<dyn Read + Send + 'a>,
        format: Option<Format>,
    ) -> Result<(), Vec<Fault>> {
        let one = |fault: Fault| vec![fault];
        let mut input = Input::new(&self.name, bytes).map_err(one)?;
        self.notes.append(&mut input.notes);
        let ahead = input.ahead().map_err(one)?;
        // Nothing is no row, unless it was said to be one.
        if ahead.is_empty() && format != Some(Format::Whole) {
            return Ok(());
        }
        let guessed = format::guess(&self.name, ahead, &self.columns);
        if let (Some(given), Ok(Some((found, _)))) = (format, &guessed)
            && matches!((given, found), (Format::Json, Format::Csv) | (Format::Csv, Format::Json))
        {
            let (given, found) = (given.named(), found.named());
            return Err(vec![input.fault((1, 1), Problem::OtherFormat { given, found })]);
        }
        let format = match (format, guessed) {
            (Some(format), _) => Some(format),
            (None, Ok(Some((format, by_name)))) => {
                if !by_name {
                    self.notes.insert(0, format!("read as {}", format.named()));
                }
                Some(format)
            }
            // What is typed or piped are texts.
            (None, Ok(None)) => self.pipe.then_some(Format::Text),
            (None, Err(problem)) => return Err(vec![input.fault((0, 0), problem)]),
        };
        let has_columns = !matches!(format, Some(Format::Text | Format::FastText));
        if !has_columns && !self.columns.text.is_empty() {
            let setting = self.columns.settings.text();
            return Err(vec![input.fault((0, 0), Problem::NoColumns { setting })]);
        }
        if matches!(format, Some(Format::Text | Format::Whole)) {
            self.picked = Some((vec!["text".to_owned()], None));
        }
        if format == Some(Format::FastText) {
            let [label, text] = fasttext::NAMES.map(str::to_owned);
            self.picked = Some((vec![text], self.columns.label.as_ref().map(|_| label)));
        }
        self.rows = match format {
            Some(Format::FastText) => Rows::FastText(input),
            Some(Format::Csv) => {
                let preferred = format::separator(&self.name);
                match Csv::open(input, preferred, &self.columns)? {
                    None => Rows::Empty,
                    Some((csv, picked)) => {
                        self.pick(csv.names().to_vec().as_slice(), picked);
                        Rows::Csv(csv)
                    }
                }
            }
            Some(Format::Json) => Rows::Json(Json::open(input).map_err(one)?),
            Some(Format::Text) if self.columns.label.is_none() => Rows::Text(input),
            Some(Format::Whole) => Rows::Whole(input),
            Some(Format::Parquet) => {
                let message = "a pipe cannot hold a Parquet file".to_owned();
                return Err(vec![input.fault((0, 0), Problem::InvalidParquet { message })]);
            }
            Some(Format::Text) | None => {
                let labelled = self.columns.label.is_some();
                let problem = Problem::UnsupportedFormat { path: self.name.clone(), labelled };
                return Err(vec![input.fault((0, 0), problem)]);
            }
        };
        Ok(())
    }

    fn pick(&mut self, names: &[String], mut picked: Picked) {
        let text = picked.text.iter().map(|&at| names[at].clone()).collect();
        self.picked = Some((text, picked.label.map(|at| names[at].clone())));
        self.notes.append(&mut picked.notes);
    }

    /// What was guessed so far, in one line, once.
    pub(crate) fn note(&mut self) -> Option<String> {
        if self.notes.is_empty() {
            return None;
        }
        let notes = std::mem::take(&mut self.notes).join(", ");
        Some(format!("{}: {notes}", self.name))
    }

    /// Whether the next row has not arrived yet, as far as can be told without blocking. A file
    /// never pauses.
    pub(crate) fn pauses(&self) -> bool {
        self.pipe
            && match &self.rows {
                Rows::Text(input) | Rows::FastText(input) | Rows::Whole(input) => {
                    input.at_hand().is_some_and(|bytes| !bytes.contains(&b'\n'))
                }
                Rows::Csv(csv) => csv.pauses(),
                Rows::Json(json) => json.pauses(),
                Rows::Parquet(_) | Rows::Empty => false,
            }
    }

    /// The names of the columns, where they are known before the first row.
    pub(crate) fn names(&self) -> Option<Vec<String>> {
        match &self.rows {
            Rows::Text(_) | Rows::Whole(_) => Some(vec!["text".to_owned()]),
            Rows::FastText(_) => Some(fasttext::NAMES.map(str::to_owned).to_vec()),
            Rows::Csv(csv) => Some(csv.names().to_vec()),
            Rows::Parquet(parquet) => Some(parquet.names().to_vec()),
            Rows::Json(_) | Rows::Empty => None,
        }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The rest of the file cannot be read.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>, Fault> {
        let record = match &mut self.rows {
            Rows::Text(input) => input.line(false)?.map(line),
            Rows::FastText(input) => input.line(false)?.map(fasttext::record),
            Rows::Whole(input) => {
                let record = whole(input)?;
                self.rows = Rows::Empty;
                Some(record)
            }
            Rows::Csv(csv) => csv.next()?,
            Rows::Json(json) => json.next()?,
            Rows::Parquet(parquet) => parquet.next()?,
            Rows::Empty => None,
        };
        Ok(record.map(|record| self.row(record)))
    }

    fn row(&mut self, record: Record) -> Row {
        let Record { fields, places, mut faults } = record;
        let fault = |at: (usize, usize), problem: Problem| Fault {
            place: Place::new(&self.name, at),
            problem,
        };
        let start = match &places {
            Places::Text { start, .. } => *start,
            Places::Row(row) => (*row, 1),
        };
        let (mut text, mut label) = (None, None);
        if faults.is_empty() {
            if self.picked.is_none() {
                let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
                match self.columns.pick(&names) {
                    Ok(mut picked) => {
                        let text = picked.text.iter().map(|&at| names[at].clone()).collect();
                        self.picked = Some((text, picked.label.map(|at| names[at].clone())));
                        self.notes.append(&mut picked.notes);
                    }
                    Err(problems) => {
                        faults.extend(problems.into_iter().map(|it| fault(start, it)));
                    }
                }
            }
            if let Some((texts, labels)) = &self.picked {
                let cells = Cells { fields: &fields, places: &places };
                match cells.text(texts, &self.columns) {
                    Ok(cell) => text = Some(cell),
                    Err((place, problem)) => faults.push(fault(place, problem)),
                }
                let parquet = match &self.rows {
                    Rows::Parquet(parquet) => Some(&**parquet),
                    _ => None,
                };
                match labels.as_ref().map(|name| cells.label(name, parquet, &self.columns)) {
                    Some(Ok(cell)) => label = Some(cell),
                    Some(Err((place, problem))) => faults.push(fault(place, problem)),
                    None => {}
                }
            }
        }
        let bytes = match &places {
            Places::Text { text, .. } => text.len(),
            Places::Row(_) => 0,
        };
        let strings = fields.iter().map(|field| field.value.as_str().map_or(0, str::len));
        let bytes = bytes.max(strings.sum());
        let fields = fields.into_iter().map(|field| (field.name, field.value)).collect();
        Row { place: start, fields, text, label, faults, bytes }
    }
}

/// Whether a file is Parquet, by its first bytes or, as a damaged one, by its name.
fn is_parquet(start: &[u8], name: &str, format: Option<Format>) -> bool {
    let by_name = || name.to_ascii_lowercase().ends_with(".parquet");
    match format {
        Some(format) => format == Format::Parquet,
        None => start.starts_with(b"PAR1") || by_name(),
    }
}

fn read_up_to(file: &mut File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// A line of a file of texts.
fn line(part: Part) -> Record {
    let Part { mut text, place, fault } = part;
    if let Some(fault) = fault {
        return Record::broken(place, fault);
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    let value = Value::String(text);
    let field = Field { name: "text".to_owned(), value, at: 0, problem: None };
    let places = Places::Text { text: String::new(), start: place };
    Record { fields: vec![field], places, faults: Vec::new() }
}

/// All of the input as one row.
fn whole(input: &mut Input<'_>) -> Result<Record, Fault> {
    let mut whole = Part { text: String::new(), place: (1, 1), fault: None };
    while let Some(line) = input.line(false)? {
        if whole.text.len() + line.text.len() > MAX_TEXT {
            whole.fault = Some(input.fault((1, 1), Problem::TextTooLong));
            break;
        }
        whole.text.push_str(&line.text);
        if line.fault.is_some() {
            whole.fault = line.fault;
            break;
        }
    }
    Ok(line(whole))
}

/// The fields of a row and their places.
struct Cells<'r> {
    fields: &'r [Field],
    places: &'r Places,
}

type Misplaced = ((usize, usize), Problem);

impl Cells<'_> {
    fn find(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// A missing column of a row, as only JSON has it.
    fn missing(&self, column: &str, setting: &'static str) -> Misplaced {
        let start = match self.places {
            Places::Text { start, .. } => *start,
            Places::Row(row) => (*row, 1),
        };
        (start, columns::missing(column, self.fields.iter().map(|field| &field.name), setting))
    }

    /// The text: the columns `names` that have one, joined.
    fn text(&self, names: &[String], columns: &Columns) -> Result<Cell, Misplaced> {
        let mut parts: Vec<&str> = Vec::new();
        let mut first = None;
        for name in names {
            let Some(field) = self.find(name) else {
                if names.len() > 1 {
                    continue;
                }
                return Err(self.missing(name, columns.settings.text()));
            };
            if let Some(problem) = &field.problem {
                return Err((self.places.at(field.at), problem.clone()));
            }
            first.get_or_insert(field.at);
            match &field.value {
                Value::String(text) if text.trim().is_empty() => {}
                Value::String(text) => parts.push(text),
                Value::Null if names.len() > 1 => {}
                other => {
                    let problem = json::wrong_type(name, "a string", other);
                    return Err((self.places.at(field.at), problem));
                }
            }
        }
        let Some(first) = first else {
            return Err(self.missing(&names.join(","), columns.settings.text()));
        };
        let (line, column) = self.places.at(first);
        if parts.is_empty() {
            return Err(((line, column), Problem::EmptyText));
        }
        let value = parts.join(JOINT);
        if value.len() > MAX_TEXT {
            return Err(((line, column), Problem::TextTooLong));
        }
        Ok(Cell { value, line, column })
    }

    /// The label: a string, a number or a boolean.
    fn label(
        &self,
        name: &str,
        parquet: Option<&Parquet>,
        columns: &Columns,
    ) -> Result<Cell, Misplaced> {
        let Some(field) = self.find(name) else {
            return Err(self.missing(name, columns.settings.label()));
        };
        let (line, column) = self.places.at(field.at);
        let fault = |problem: Problem| Err(((line, column), problem));
        if let Some(problem) = &field.problem {
            return fault(problem.clone());
        }
        let value = match (&field.value, parquet.and_then(|it| it.class_names(name))) {
            (Value::Number(number), Some(names)) => {
                let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
                match at.and_then(|at| names.get(at)) {
                    Some(name) => name.clone(),
                    None => return fault(Problem::NoSuchClass { number: number.to_string() }),
                }
            }
            (Value::String(label), _) => names::canonical(label).into_owned(),
            (Value::Number(number), _) => names::canonical(&number.to_string()).into_owned(),
            (Value::Bool(value), _) => value.to_string(),
            (other, _) => return fault(json::wrong_type(name, "a string or a number", other)),
        };
        if value.trim().is_empty() {
            return fault(Problem::EmptyLabel { column: name.to_owned() });
        }
        Ok(Cell { value, line, column })
    }
}
