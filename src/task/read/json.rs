//! JSON: one object per line, an array of objects, or objects one after the other.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    super::fault::{Fault, Problem},
    Field, Lines, Places, Record,
    input::{Input, Part},
};

pub(super) struct Json<'a> {
    pub input: Input<'a>,
    layout: Layout,
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    /// One object per line. Blank lines are ignored.
    Lines,
    /// An array, which opens at this place.
    Array((usize, usize)),
    /// Objects that go over several lines.
    Sequence,
    /// The array is read.
    Over,
}

impl<'a> Json<'a> {
    /// # Errors
    /// The file cannot be read.
    pub(super) fn open(mut input: Input<'a>) -> Result<Self, Fault> {
        let ahead = input.ahead()?;
        let start = ahead.trim_ascii_start();
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let layout = match start.first() {
            Some(b'[') => {
                input.symbol()?;
                let (line, column) = input.here();
                Layout::Array((line, column - 1))
            }
            Some(b'{') if line.trim_ascii() == b"{" => Layout::Sequence,
            _ => Layout::Lines,
        };
        Ok(Self { input, layout })
    }

    /// The next object; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Fault> {
        let part = match self.layout {
            Layout::Over => None,
            Layout::Lines => loop {
                match self.input.line(false)? {
                    Some(line) if line.fault.is_none() && line.text.trim().is_empty() => {}
                    line => break line,
                }
            },
            Layout::Array(_) | Layout::Sequence => self.input.json_value()?,
        };
        match part {
            Some(part) => Ok(Some(self.record(part))),
            None => self.end().map(|()| None),
        }
    }

    /// Whether the next object has not begun to arrive, or as a line has not arrived.
    pub(super) fn pauses(&self) -> bool {
        let Some(bytes) = self.input.at_hand() else { return false };
        let between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']');
        match self.layout {
            Layout::Lines => !bytes.trim_ascii_start().contains(&b'\n'),
            Layout::Array(_) | Layout::Sequence => bytes.iter().all(between),
            Layout::Over => false,
        }
    }

    /// Checks what follows the last object.
    fn end(&mut self) -> Result<(), Fault> {
        let layout = std::mem::replace(&mut self.layout, Layout::Over);
        let message = |message: &str| Problem::InvalidJson { message: message.to_owned() };
        match (layout, self.input.symbol()?) {
            (Layout::Array(_), Some(b']')) => match self.input.symbol()? {
                None => Ok(()),
                Some(_) => {
                    let (line, column) = self.input.here();
                    let problem = message("text after the end of the array");
                    Err(self.input.fault((line, column - 1), problem))
                }
            },
            (Layout::Array(place), _) => {
                Err(self.input.fault(place, message("the array that opens here is never closed")))
            }
            (_, Some(_)) => {
                Err(self.input.fault(self.input.here(), message("an unexpected \"]\"")))
            }
            (_, None) => Ok(()),
        }
    }

    fn record(&self, part: Part) -> Record {
        let Part { mut text, place, fault } = part;
        if let Some(fault) = fault {
            return Record::broken(place, fault);
        }
        // The end first: a value of white space alone, such as a vertical tab, has no indent left.
        text.truncate(text.trim_end().len());
        let indent = text.len() - text.trim_start().len();
        let place = Lines::of(&text[..indent]).place_from(place, indent);
        text.drain(..indent);
        let lines = Lines::of(&text);
        let broken = |at: usize, problem: Problem| {
            let fault = self.input.fault(lines.place_from(place, at), problem);
            Record::broken(place, fault)
        };
        let object = match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => object,
            Ok(other) => return broken(0, wrong_type("a row", "a JSON object", &other)),
            Err(error) => {
                // serde_json counts bytes from 1, and its message ends with the place.
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default().to_owned();
                let at = lines.byte_of(error.line(), error.column().saturating_sub(1));
                return broken(at, Problem::InvalidJson { message });
            }
        };
        let mut fields: Vec<Field> = Vec::with_capacity(object.len());
        let mut numbers: HashMap<String, usize> = HashMap::new();
        for (name, at) in value_starts(&text) {
            if let Some(&first) = numbers.get(&name) {
                fields[first].problem =
                    Some(Problem::DuplicateColumn { column: name, spellings: Vec::new() });
                fields[first].at = at;
                continue;
            }
            numbers.insert(name.clone(), fields.len());
            let value = object.get(&name).cloned().unwrap_or_default();
            fields.push(Field { name, value, at, problem: None });
        }
        let places = Places::Text { text, start: place };
        Record { fields, places, faults: Vec::new() }
    }
}

pub(super) fn wrong_type(what: &str, expected: &'static str, value: &Value) -> Problem {
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

/// Each key of the object, and the byte offset of its value. `text` must be one valid JSON object.
fn value_starts(text: &str) -> Vec<(String, usize)> {
    let bytes = text.as_bytes();
    let mut starts = Vec::new();
    let mut depth = 0;
    let mut key = String::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at);
                if depth == 1 {
                    key = serde_json::from_str(&text[at..end]).unwrap_or_default();
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b':' if depth == 1 => {
                at += 1;
                at += text[at..].len() - text[at..].trim_start().len();
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
