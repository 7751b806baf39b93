//! JSONL: one JSON object per line. Blank lines and other fields are ignored.

use serde_json::Value;

use super::{super::fault::Problem, Cell, Faults, Source};

pub(super) fn rows(source: &Source<'_>, columns: &[&str], faults: &mut Faults) -> Vec<Vec<Cell>> {
    let Some(text) = source.text(faults) else {
        return Vec::new();
    };
    if text.trim_start().starts_with('[') {
        faults.add(&source.name, (1, 1), Problem::JsonArray);
        return Vec::new();
    }
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines.filter_map(|(index, line)| row(&source.name, index + 1, line, columns, faults)).collect()
}

/// The cells of the object on line `number`; `None` if it has a fault.
pub(super) fn row(
    name: &str,
    number: usize,
    line: &str,
    columns: &[&str],
    faults: &mut Faults,
) -> Option<Vec<Cell>> {
    let object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(other) => {
            let problem = wrong_type("a line", "a JSON object", &other);
            faults.add(name, (number, column(line, indent(line))), problem);
            return None;
        }
        Err(error) => {
            // serde_json counts bytes from 1, and its message ends with the place.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            let place = (number, column(line, error.column().saturating_sub(1)));
            let message = message.to_owned();
            faults.add(name, place, Problem::InvalidJson { message });
            return None;
        }
    };
    let starts = value_starts(line);
    let mut cells = Vec::with_capacity(columns.len());
    for &wanted in columns {
        let start = starts.iter().rev().find(|(key, _)| key == wanted);
        match (object.get(wanted), start) {
            (Some(Value::String(value)), Some(&(_, at))) => {
                cells.push(Cell { value: value.clone(), line: number, column: column(line, at) })
            }
            (Some(other), Some(&(_, at))) => {
                let problem = wrong_type(wanted, "a string", other);
                faults.add(name, (number, column(line, at)), problem);
            }
            _ => {
                let problem = Problem::MissingColumn {
                    column: wanted.to_owned(),
                    found: object.keys().cloned().collect(),
                };
                faults.add(name, (number, column(line, indent(line))), problem);
            }
        }
    }
    (cells.len() == columns.len()).then_some(cells)
}

fn wrong_type(what: &str, expected: &'static str, value: &Value) -> Problem {
    Problem::WrongType {
        what: what.to_owned(),
        expected,
        found: match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        },
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The column, in characters from 1, of byte `at`.
fn column(line: &str, at: usize) -> usize {
    let whole = |&(start, character): &(usize, char)| start + character.len_utf8() <= at;
    line.char_indices().take_while(whole).count() + 1
}

/// Each key of the object on this line, and the byte offset of its value. The line must be one
/// valid JSON object.
fn value_starts(line: &str) -> Vec<(String, usize)> {
    let bytes = line.as_bytes();
    let mut starts = Vec::new();
    let mut depth = 0;
    let mut key = String::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at);
                if depth == 1 {
                    key = serde_json::from_str(&line[at..end]).unwrap_or_default();
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b':' if depth == 1 => {
                at += 1 + indent(&line[at + 1..]);
                starts.push((std::mem::take(&mut key), at));
                // Skips a string value, which would be taken for the next key.
                if bytes[at] == b'"' {
                    at = string_end(bytes, at);
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    starts
}

/// The offset after the string literal that starts at `open`.
fn string_end(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += 1 + usize::from(bytes[at] == b'\\');
    }
    (at + 1).min(bytes.len())
}
