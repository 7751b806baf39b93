//! Makes minijinja behave like the renderer that chat templates are written for: the sandboxed
//! Jinja2 of Hugging Face transformers. It trims blocks, has loop controls and adds a few extras
//! (`raise_exception`, `strftime_now`, a `tojson` in Python's format, the `{% generation %}` tags
//! used in training). This file adds what minijinja lacks or does differently;
//! `tests/data/chat/features.j2` has a line for each difference.
//!
//! A template inside a model file is untrusted code: [`crate::template`] limits what it can do.
//!
//! Known remaining differences: a list is printed with double quotes around its texts; `loop.last`
//! is wrong in a loop over the characters of a text; a loop over `none` is empty where Jinja2
//! raises an error; `sum` has no start, `replace` no count, macros have no `varargs`; `%` does not
//! format texts; `splitlines` splits at line feeds only; very large and very small floats are
//! written in full. None of this occurs in the templates of `prompts/chat/` or in seventy others
//! that were compared.

use std::{fmt, sync::OnceLock};

use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    machinery::WhitespaceConfig,
    value::{Kwargs, ObjectRepr, ValueKind},
};

use crate::template::{Template, budget};

/// Maximum length of an error that a template raises, in characters.
const MAX_MESSAGE_CHARS: usize = 400;

/// The name of the template in errors.
const NAME: &str = "chat";

/// Compiles `source`, a template of a model file.
pub(super) fn compile(source: &str) -> Result<Template, Error> {
    static PLAIN: OnceLock<Environment<'static>> = OnceLock::new();
    Template::new(NAME, normalise_source(source), PLAIN.get_or_init(plain), white_space())
}

fn white_space() -> WhitespaceConfig {
    WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true }
}

/// The filters, functions and tests that transformers gives to a template.
fn plain() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        let error = Error::new(ErrorKind::InvalidOperation, "the template refuses the prompt");
        Err(error.with_source(Refusal(message)))
    });
    environment.add_function("strftime_now", |format: &str| strftime(format));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_filter("tojson", to_json);
    environment.add_filter("trim", |value: &Value, characters: Option<&str>| {
        strip(&value.to_string(), characters, true, true)
    });
    environment.add_filter("string", Value::to_string);
    for name in ["length", "count"] {
        environment.add_filter(name, |value: &Value| match value.is_undefined() {
            true => Ok(0),
            false => minijinja::filters::length(value),
        });
    }
    // In Python a text is a sequence of its characters, and a dict has a length.
    let sized =
        |value: &Value| matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map);
    environment.add_test("sequence", sized);
    environment.add_test("iterable", move |value: &Value| {
        sized(value) || !value.is_none() && value.try_iter().is_ok()
    });
    environment.add_test("callable", |value: &Value| {
        value.as_object().is_some_and(|object| object.repr() == ObjectRepr::Plain)
    });
    environment
}

/// What a template says with `raise_exception`. It may be the user's text: whoever prints it must
/// know that it is not.
#[derive(Debug)]
struct Refusal(String);

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("with a message of its own")
    }
}

/// `error` of a template with this `source`. If it refuses the prompt, then in its own words, but
/// only if they stand in the source as they are: others may quote the prompt.
pub(super) fn in_own_words(error: Error, source: &str) -> Error {
    let Some(Refusal(message)) = std::error::Error::source(&error).and_then(|it| it.downcast_ref())
    else {
        return error;
    };
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    let refusal = match is_literal(message, source) {
        true => format!("it refuses the prompt: {}{line}", for_terminal(message)),
        false => format!(
            "it refuses the prompt with a message that it makes of other texts; it is not shown, since it may quote the prompt{line}"
        ),
    };
    Error::new(ErrorKind::InvalidOperation, refusal)
}

/// Whether `text` is a literal in `source`.
fn is_literal(text: &str, source: &str) -> bool {
    ['"', '\''].into_iter().any(|quote| {
        let escaped = |c: char| match c {
            '\n' => "\\n".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if c == quote => format!("\\{quote}"),
            c => c.to_string(),
        };
        let literal: String = text.chars().map(escaped).collect();
        [text, &literal].iter().any(|text| source.contains(&format!("{quote}{text}{quote}")))
    })
}

/// A template's message for a terminal: short, on one line, control characters escaped.
fn for_terminal(message: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    message.chars().take(MAX_MESSAGE_CHARS).map(plain).collect()
}

/// Replaces `{% generation %}` and `{% endgeneration %}` by a `with` block, which likewise writes
/// nothing and opens a scope. Converts line ends to line feeds, like Jinja2.
fn normalise_source(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        // The percent sign of the opening does not count: `{%}` is not a tag.
        let Some(end) = tag[2..].find("%}").map(|at| at + 2) else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let word = tag[2..tag.len() - 2].trim_matches(|c| c == '-' || c == '+').trim();
        match word {
            "generation" => out.push_str(&tag.replace("generation", "with")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endwith")),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A method of one of Python's types, charged to the budget.
fn method(state: &State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    for value in std::iter::once(value).chain(arguments) {
        budget::charge(value)?;
    }
    budget::charge_call(name, value, arguments)?;
    let result = python_method(state, value, name, arguments)?;
    budget::charge(&result)?;
    Ok(result)
}

/// The methods of minijinja-contrib, the ones it lacks, and `strip` with Python's white space.
fn python_method(
    state: &State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let sides = match name {
        "strip" => Some((true, true)),
        "lstrip" => Some((true, false)),
        "rstrip" => Some((false, true)),
        _ => None,
    };
    if let (Some((left, right)), Some(text)) = (sides, value.as_str()) {
        let (characters,): (Option<&str>,) = minijinja::value::from_args(arguments)?;
        return Ok(strip(text, characters, left, right).into());
    }
    match (name, value.as_str()) {
        ("removeprefix", Some(text)) => {
            let (part,): (&str,) = minijinja::value::from_args(arguments)?;
            Ok(text.strip_prefix(part).unwrap_or(text).into())
        }
        ("removesuffix", Some(text)) => {
            let (part,): (&str,) = minijinja::value::from_args(arguments)?;
            Ok(text.strip_suffix(part).unwrap_or(text).into())
        }
        ("rsplit", Some(text)) => {
            let (mark, most): (&str, Option<usize>) = minijinja::value::from_args(arguments)?;
            let mut parts: Vec<&str> =
                text.rsplitn(most.map_or(usize::MAX, |n| n.saturating_add(1)), mark).collect();
            parts.reverse();
            Ok(parts.into_iter().map(Value::from).collect())
        }
        ("partition", Some(text)) => {
            let (mark,): (&str,) = minijinja::value::from_args(arguments)?;
            let (head, tail) = text.split_once(mark).unwrap_or((text, ""));
            let mark = if head.len() < text.len() { mark } else { "" };
            Ok([head, mark, tail].into_iter().map(Value::from).collect())
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

/// Python's `strip`: Unicode white space and the four separators U+001C to U+001F, or `characters`.
fn strip(text: &str, characters: Option<&str>, left: bool, right: bool) -> String {
    let stripped = |c: char| match characters {
        Some(characters) => characters.contains(c),
        None => c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c),
    };
    let text = if left { text.trim_start_matches(stripped) } else { text };
    if right { text.trim_end_matches(stripped).to_owned() } else { text.to_owned() }
}

/// The `tojson` of transformers: Python's `json.dumps` with `ensure_ascii=False` as the default.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let indent: Option<usize> = options.get("indent")?;
    let sorted: Option<bool> = options.get("sort_keys")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    options.assert_all_used()?;
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "tojson of an undefined value"));
    }
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson takes two separators"));
        }
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    let value = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let style = JsonStyle {
        ascii: ascii.unwrap_or(false),
        indent,
        sorted: sorted.unwrap_or(false),
        item,
        key,
    };
    let mut out = String::new();
    style.write(&value, 0, &mut out);
    Ok(out)
}

struct JsonStyle {
    ascii: bool,
    indent: Option<usize>,
    sorted: bool,
    /// Separators of items and after keys.
    item: String,
    key: String,
}

impl JsonStyle {
    fn write(&self, value: &serde_json::Value, depth: usize, out: &mut String) {
        match value {
            serde_json::Value::Array(items) if !items.is_empty() => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    self.start_item(place, depth + 1, out);
                    self.write(item, depth + 1, out);
                }
                self.line(depth, out);
                out.push(']');
            }
            serde_json::Value::Object(fields) if !fields.is_empty() => {
                let mut fields: Vec<_> = fields.iter().collect();
                if self.sorted {
                    fields.sort_by_key(|(name, _)| *name);
                }
                out.push('{');
                for (place, (name, field)) in fields.into_iter().enumerate() {
                    self.start_item(place, depth + 1, out);
                    self.text(&serde_json::Value::from(name.as_str()), out);
                    out.push_str(&self.key);
                    self.write(field, depth + 1, out);
                }
                self.line(depth, out);
                out.push('}');
            }
            other => self.text(other, out),
        }
    }

    fn start_item(&self, place: usize, depth: usize, out: &mut String) {
        if place > 0 {
            out.push_str(&self.item);
        }
        self.line(depth, out);
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent.min(16) * depth));
        }
    }

    fn text(&self, value: &serde_json::Value, out: &mut String) {
        for c in value.to_string().chars() {
            if self.ascii && !c.is_ascii() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            } else if c == '\u{7f}' && self.ascii {
                out.push_str("\\u007f");
            } else {
                out.push(c);
            }
        }
    }
}

/// `strftime_now` always returns noon of Friday, 26 July 2024, so that a prompt is the same every
/// day. Llama's templates fall back to this date if they are given none.
fn strftime(format: &str) -> String {
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut sign = characters.next();
        if sign == Some('-') {
            // No leading zeros: of this date's numbers only the month and the minutes have one.
            sign = characters.next();
            let padded = strftime(&format!("%{}", sign.unwrap_or('%')));
            let bare = padded.trim_start_matches('0');
            out.push_str(if bare.is_empty() { "0" } else { bare });
            continue;
        }
        out.push_str(match sign {
            Some('Y') => "2024",
            Some('y') => "24",
            Some('m') => "07",
            Some('d' | 'e') => "26",
            Some('B') => "July",
            Some('b' | 'h') => "Jul",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('j') => "208",
            Some('u' | 'w') => "5",
            Some('H' | 'I') => "12",
            Some('M' | 'S') => "00",
            Some('p') => "PM",
            Some('F') => "2024-07-26",
            Some('D' | 'x') => "07/26/24",
            Some('T' | 'X') => "12:00:00",
            Some('R') => "12:00",
            Some('c') => "Fri Jul 26 12:00:00 2024",
            Some('Z' | 'z') => "",
            Some('%') | None => "%",
            Some(other) => {
                out.push('%');
                out.push(other);
                continue;
            }
        });
    }
    out
}
