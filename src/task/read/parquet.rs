//! Parquet, through the record API, which decodes only the requested columns. A place consists of
//! the row and column number, both from 1.

use std::{fs::File, sync::Arc};

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
    schema::types::Type,
};

use super::{super::fault::Problem, Cell, Faults, Source};

pub(super) fn rows(source: &Source<'_>, columns: &[&str], faults: &mut Faults) -> Vec<Vec<Cell>> {
    if source.bytes.is_empty() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    if let Err((row, message)) = read(source, columns, faults, &mut rows) {
        let place = if row == 0 { (0, 0) } else { (row, 1) };
        faults.add(&source.name, place, Problem::InvalidParquet { message });
    }
    rows
}

/// Adds the rows of the file to `rows`.
///
/// # Errors
/// The row at which reading failed (0: before the first) and a message.
fn read(
    source: &Source<'_>,
    columns: &[&str],
    faults: &mut Faults,
    rows: &mut Vec<Vec<Cell>>,
) -> Result<(), (usize, String)> {
    let name = &source.name;
    let Some(path) = &source.path else {
        return Err((0, "an embedded task consists of CSV and JSONL files".into()));
    };
    let file = File::open(path).map_err(|error| (0, error.to_string()))?;
    let reader = SerializedFileReader::new(file).map_err(|error| (0, brief(&error)))?;
    let schema = reader.metadata().file_metadata().schema();
    let found = schema.get_fields();
    let mut wanted = Vec::with_capacity(columns.len());
    for &column in columns {
        match found.iter().position(|field| field.name() == column) {
            Some(index) => wanted.push(index),
            None => {
                let problem = Problem::MissingColumn {
                    column: column.to_owned(),
                    found: found.iter().map(|field| field.name().to_owned()).collect(),
                };
                faults.add(name, (0, 0), problem);
            }
        }
    }
    if wanted.len() < columns.len() {
        return Ok(());
    }
    let mut kept = wanted.clone();
    kept.sort_unstable();
    kept.dedup();
    let projection = Type::group_type_builder(schema.name())
        .with_fields(kept.iter().map(|&index| Arc::clone(&found[index])).collect())
        .build()
        .map_err(|error| (0, brief(&error)))?;
    let records = reader.get_row_iter(Some(projection)).map_err(|error| (0, brief(&error)))?;
    for (index, record) in records.enumerate() {
        let line = index + 1;
        let record = record.map_err(|error| (line, brief(&error)))?;
        let mut cells = Vec::with_capacity(columns.len());
        for (&what, &number) in columns.iter().zip(&wanted) {
            let field = record.get_column_iter().find(|(column, _)| *column == what);
            let Some((_, field)) = field else { continue };
            match text_of(what, field) {
                Ok(value) => cells.push(Cell { value, line, column: number + 1 }),
                Err(problem) => faults.add(name, (line, number + 1), problem),
            }
        }
        if cells.len() == columns.len() {
            rows.push(cells);
        }
    }
    Ok(())
}

fn text_of(what: &str, field: &Field) -> Result<String, Problem> {
    let found = match field {
        Field::Str(text) => return Ok(text.clone()),
        // Some writers omit the annotation that declares a byte array as text.
        Field::Bytes(bytes) => {
            return match std::str::from_utf8(bytes.data()) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => Err(Problem::NotUtf8 {
                    byte: bytes.data()[error.valid_up_to()],
                    offset: error.valid_up_to(),
                    utf16: false,
                }),
            };
        }
        Field::Null => "null",
        Field::Bool(_) => "a boolean",
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => "a nested value",
        Field::Date(_) | Field::TimestampMillis(_) | Field::TimestampMicros(_) => "a date",
        _ => "a number",
    };
    Err(Problem::WrongType { what: what.to_owned(), expected: "a string", found })
}

/// The first line of an error message, at most 120 characters: some contain a dump of bytes.
fn brief(error: &parquet::errors::ParquetError) -> String {
    let message = error.to_string();
    message.lines().next().unwrap_or_default().chars().take(120).collect()
}
