//! Parquet, through the record API, one page of each column at a time. A place consists of the row
//! and column number, both from 1.
//!
//! A small file may claim, or unpack to, any size: the header of every page is checked before the
//! first page is decoded.

use std::{collections::HashMap, io::Read, sync::Arc};

use parquet::{
    errors::ParquetError,
    file::{
        metadata::ColumnChunkMetaData,
        reader::{ChunkReader, FileReader, SerializedFileReader},
    },
    record::{Field as Cell, reader::RowIter},
    schema::types::Type,
};
use serde_json::Value;

use super::{
    super::fault::{Fault, Place, Problem},
    Field, Places, Record,
    columns::{Columns, Picked},
    page_header::{self, PageHeader},
    unique,
};
use crate::caught::catch;

/// Bytes that a page may have when it is unpacked; writers make pages of one MiB.
const MAX_PAGE: u64 = 128 << 20;
/// Values that a page may have.
const MAX_VALUES: u64 = 16 << 20;
/// Bytes that hold the header of a page, with the smallest and the largest of its values.
const HEADER: u64 = 1 << 20;

pub(super) struct Parquet {
    name: String,
    names: Vec<String>,
    /// The numbers, from 1, of the columns of a record.
    numbers: Vec<usize>,
    /// Class names of columns that hold their numbers.
    classes: HashMap<String, Vec<String>>,
    rows: RowIter<'static>,
    row: usize,
}

impl Parquet {
    /// Reads the footer and finds the columns. With `all`, a record has every column.
    ///
    /// # Errors
    /// The file is damaged, lacks a column, or is larger inside than a reader can be asked to hold.
    pub(super) fn open(
        name: &str,
        file: impl ChunkReader + 'static,
        columns: &Columns,
        all: bool,
    ) -> Result<(Self, Picked), Vec<Fault>> {
        let opened = catch(|| Self::open_footer(name, file, columns, all));
        opened.unwrap_or_else(|| {
            Err(vec![Fault { place: Place::whole(name), problem: undecodable() }])
        })
    }

    fn open_footer(
        name: &str,
        file: impl ChunkReader + 'static,
        columns: &Columns,
        all: bool,
    ) -> Result<(Self, Picked), Vec<Fault>> {
        let fault = |problem: Problem| vec![Fault { place: Place::whole(name), problem }];
        let invalid = |message: String| fault(Problem::InvalidParquet { message });
        let broken = |error: ParquetError| invalid(brief(&error));
        let file = Arc::new(file);
        let reader = SerializedFileReader::new(Shared(Arc::clone(&file))).map_err(broken)?;
        let footer = reader.metadata().file_metadata();
        let schema = footer.schema();
        let fields = schema.get_fields();
        let found: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
        let mut picked = columns
            .pick(&found)
            .map_err(|problems| problems.into_iter().flat_map(fault).collect::<Vec<_>>())?;
        let mut kept: Vec<usize> = picked.text.iter().copied().chain(picked.label).collect();
        if all {
            kept = (0..fields.len()).collect();
        }
        kept.sort_unstable();
        kept.dedup();
        let metadata = footer.key_value_metadata().into_iter().flatten();
        let huggingface = metadata.filter(|pair| pair.key == "huggingface");
        let mut classes = HashMap::new();
        for text in huggingface.filter_map(|pair| pair.value.as_deref()) {
            classes.extend(class_names(text));
        }
        let label = picked.label.map(|at| found[at].as_str());
        if label.is_some_and(|label| classes.contains_key(label)) {
            picked.notes.push("class names from its Hugging Face metadata".to_owned());
        }
        check_pages(&*file, &reader, &found, &kept).map_err(invalid)?;
        let projection = Type::group_type_builder(schema.name())
            .with_fields(kept.iter().map(|&at| Arc::clone(&fields[at])).collect())
            .build()
            .map_err(broken)?;
        let names = unique(found);
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection));
        let numbers = kept.iter().map(|at| at + 1).collect();
        let rows = rows.map_err(broken)?;
        Ok((Self { name: name.to_owned(), names, numbers, classes, rows, row: 0 }, picked))
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The names of the classes whose numbers are in `column`, where the metadata has them.
    pub(super) fn class_names(&self, column: &str) -> Option<&[String]> {
        self.classes.get(column).map(Vec::as_slice)
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Fault> {
        self.row += 1;
        let places = Places::Row(self.row);
        let fault =
            |problem: Problem| Err(Fault { place: Place::new(&self.name, (self.row, 1)), problem });
        let record = match catch(|| self.rows.next()) {
            None => return fault(undecodable()),
            Some(None) => return Ok(None),
            Some(Some(Ok(record))) => record,
            Some(Some(Err(error))) => {
                return fault(Problem::InvalidParquet { message: brief(&error) });
            }
        };
        let cells = record.get_column_iter().zip(&self.numbers);
        let fields = cells.map(|((_, cell), &number)| {
            let name = self.names[number - 1].clone();
            let (value, problem) = value_of(&name, cell);
            Field { name, value, at: number, problem }
        });
        Ok(Some(Record { fields: fields.collect(), places, faults: Vec::new() }))
    }
}

/// The parser of Parquet panics on some damaged files.
fn undecodable() -> Problem {
    Problem::InvalidParquet { message: "a page cannot be decoded".to_owned() }
}

/// A file that several readers share.
struct Shared<R>(Arc<R>);

impl<R: ChunkReader> parquet::file::reader::Length for Shared<R> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<R: ChunkReader> ChunkReader for Shared<R> {
    type T = R::T;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        self.0.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<bytes::Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// Checks the headers of all pages of the columns `kept`.
fn check_pages<R: ChunkReader + 'static>(
    file: &R,
    reader: &SerializedFileReader<Shared<R>>,
    names: &[String],
    kept: &[usize],
) -> Result<(), String> {
    for (number, group) in reader.metadata().row_groups().iter().enumerate() {
        for column in group.columns() {
            let root = column.column_path().parts().first();
            if kept.iter().any(|&at| Some(&names[at]) == root) {
                check_chunk(file, column)
                    .map_err(|message| format!("row group {}: {message}", number + 1))?;
            }
        }
    }
    Ok(())
}

fn check_chunk<R: ChunkReader>(file: &R, column: &ColumnChunkMetaData) -> Result<(), String> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let outside = || "a column lies outside of the file".to_owned();
    let mut at = u64::try_from(start).map_err(|_| outside())?;
    let length = u64::try_from(column.compressed_size()).map_err(|_| outside())?;
    let end = at.checked_add(length).filter(|end| *end <= file.len()).ok_or_else(outside)?;
    let required = column.column_descr().max_def_level() == 0;
    while at < end {
        let mut bytes = Vec::new();
        let source = file.get_read(at).map_err(|error| brief(&error))?;
        let taken = source.take(HEADER.min(end - at)).read_to_end(&mut bytes);
        taken.map_err(|error| error.to_string())?;
        let header = page_header::parse(&bytes).ok_or("the header of a page is damaged")?;
        let PageHeader { length, packed, unpacked, values } = header;
        if unpacked > MAX_PAGE {
            return Err(format!("a page unpacks to more than {} MiB", MAX_PAGE >> 20));
        }
        // A value without a null takes a byte at least, except in a dictionary's index.
        if values > MAX_VALUES || (required && values > unpacked.max(1) * MAX_PACKED) {
            return Err(format!("a page claims {values} values"));
        }
        at = at.checked_add(length + packed).filter(|at| *at <= end).ok_or_else(outside)?;
    }
    Ok(())
}

/// Values per byte: run-length encoding of a constant index needs almost none.
const MAX_PACKED: u64 = 1 << 20;

/// The classes of each column that the metadata of `datasets` declares as a ClassLabel.
fn class_names(metadata: &str) -> Vec<(String, Vec<String>)> {
    let Ok(metadata) = serde_json::from_str::<Value>(metadata) else { return Vec::new() };
    let features = metadata["info"]["features"].as_object().into_iter().flatten();
    let names = |feature: &Value| -> Option<Vec<String>> {
        let names = feature["names"].as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let labels = features.filter(|(_, feature)| feature["_type"] == "ClassLabel");
    labels.filter_map(|(column, feature)| Some((column.clone(), names(feature)?))).collect()
}

/// The value of a cell, and why it is neither a text nor a label.
fn value_of(what: &str, cell: &Cell) -> (Value, Option<Problem>) {
    let other = |found: &'static str| {
        let problem = Problem::WrongType { what: what.to_owned(), expected: "a string", found };
        (Value::String(cell.to_string()), Some(problem))
    };
    let value = match cell {
        Cell::Null => Value::Null,
        Cell::Bool(value) => Value::Bool(*value),
        Cell::Byte(value) => (*value).into(),
        Cell::Short(value) => (*value).into(),
        Cell::Int(value) => (*value).into(),
        Cell::Long(value) => (*value).into(),
        Cell::UByte(value) => (*value).into(),
        Cell::UShort(value) => (*value).into(),
        Cell::UInt(value) => (*value).into(),
        Cell::ULong(value) => (*value).into(),
        Cell::Float(value) => (*value).into(),
        Cell::Double(value) => (*value).into(),
        Cell::Str(text) => Value::String(text.clone()),
        // Some writers omit the annotation that declares a byte array as text.
        Cell::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::String(text.to_owned()),
            Err(error) => {
                let offset = error.valid_up_to();
                let problem = Problem::NotUtf8 { byte: bytes.data()[offset], offset };
                let text = String::from_utf8_lossy(bytes.data()).into_owned();
                return (Value::String(text), Some(problem));
            }
        },
        Cell::Group(_) | Cell::ListInternal(_) | Cell::MapInternal(_) => {
            return other("a nested value");
        }
        Cell::Date(_) | Cell::TimestampMillis(_) | Cell::TimestampMicros(_) => {
            return other("a date");
        }
        _ => return other("a number"),
    };
    (value, None)
}

/// The first line of an error message, at most 120 characters: some contain a dump of bytes.
fn brief(error: &ParquetError) -> String {
    let message = error.to_string();
    message.lines().next().unwrap_or_default().chars().take(120).collect()
}
