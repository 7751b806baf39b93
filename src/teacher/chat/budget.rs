//! Bounds what a template piles up in variables.
//!
//! Steps are bounded by fuel, but a step can double a text, and forty doublings are a terabyte. So
//! everything that makes a larger value out of others is paid for from one budget per rendering:
//! `~`, `+`, `*`, list and dict displays, filters, methods, and what is written into a `set` block or
//! a macro. For that the compiled template is changed: operators become calls of filters of ours
//! that do the same and count. What still escapes (a comparison of lists that hold each other, say)
//! meets [`crate::teacher::chat::memory_limit`].

use std::{borrow::Cow, cell::Cell};

use minijinja::{
    Environment, Error, ErrorKind, Value,
    machinery::{CompiledTemplate, Instruction, Instructions, Token, WhitespaceConfig, tokenize},
    value::{Rest, ValueKind},
};

/// What one rendering may pile up, in bytes, beside [`PER_INPUT_BYTE`] times its input.
const MOST: u64 = 16 << 20;
const PER_INPUT_BYTE: u64 = 64;
/// What a value costs beside its letters.
const LEAST: u64 = 16;
const DEEPEST: usize = 64;
/// The most that a filter may be told to repeat or to pad.
const WIDEST: usize = 10_000;

thread_local! {
    /// What is left to the rendering that this thread is at.
    static LEFT: Cell<u64> = const { Cell::new(MOST) };
}

/// Begins a rendering with `input` bytes of a user's text.
pub(super) fn begin(input: usize) {
    LEFT.set(MOST + PER_INPUT_BYTE * input as u64);
}

fn pay(bytes: u64) -> Result<(), Error> {
    match LEFT.get().checked_sub(bytes) {
        Some(left) => {
            LEFT.set(left);
            Ok(())
        }
        None => {
            LEFT.set(0);
            Err(refused("the template piles up more than it may"))
        }
    }
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Pays for all that `value` holds, as often as it holds it.
pub(super) fn weigh(value: &Value) -> Result<(), Error> {
    weigh_at(value, 0)
}

fn weigh_at(value: &Value, depth: usize) -> Result<(), Error> {
    let letters = value.as_bytes().map_or(0, <[u8]>::len);
    pay(LEAST + letters as u64)?;
    let holds = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map);
    if !holds {
        return Ok(());
    }
    if depth == DEEPEST {
        return Err(refused("the template nests its values too deeply"));
    }
    let Ok(items) = value.try_iter() else { return Ok(()) };
    for item in items {
        weigh_at(&item, depth + 1)?;
        if value.kind() == ValueKind::Map {
            weigh_at(&value.get_item(&item)?, depth + 1)?;
        }
    }
    Ok(())
}

fn weigh_all(values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(weigh)
}

/// What a filter or method makes larger by more than a factor, by its name: paid for before. Whatever
/// is no text is taken for the one that it would be written as, as the filters do.
pub(super) fn foresee(name: &str, value: &Value, arguments: &[Value]) -> Result<(), Error> {
    let padding = || refused("the template pads by more than it may");
    let texts = || arguments.iter().map(|argument| text(argument).len() as u64).sum::<u64>();
    match name {
        "replace" => {
            let [from, to, ..] = arguments else { return Ok(()) };
            let found = text(value).matches(&*text(from)).count();
            times(found as u64, text(to).len() as u64)
        }
        // A filter joins its value by its argument, a method its argument by its value.
        "join" => {
            let Some(argument) = arguments.first() else { return Ok(()) };
            times(count_of(value), text(argument).len() as u64)?;
            times(count_of(argument), value.as_str().map_or(0, str::len) as u64)
        }
        "indent" | "batch" | "slice" | "center" if arguments.iter().any(is_wide) => Err(padding()),
        "indent" => {
            let width = arguments.iter().flat_map(numbers_in).max().unwrap_or(0).max(4);
            times(text(value).split('\n').count() as u64, width as u64)
        }
        "format" => {
            let whole = text(value);
            let mut padded = 0u64;
            for run in whole.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty()) {
                match run.parse::<usize>() {
                    Ok(width) if width <= WIDEST => padded += width as u64,
                    _ => return Err(padding()),
                }
            }
            if whole.contains('*') || has_nested_fields(&whole) {
                return Err(padding());
            }
            pay(padded)?;
            times(whole.matches(['{', '%']).count() as u64, texts())
        }
        "tojson" | "pprint" => {
            // Separators stand between all items, and an indent before each.
            let (nodes, depth) = nodes(value, 0);
            let indent = if arguments.is_empty() && name == "tojson" { 0 } else { 16 * depth };
            times(nodes, texts() + indent)
        }
        _ => Ok(()),
    }
}

fn times(count: u64, length: u64) -> Result<(), Error> {
    pay(count.saturating_mul(length))
}

/// The text that `value` is, or would be written as. It has been weighed, so this is no longer than a
/// few times what was paid for.
fn text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::from)
}

/// Letters of a text, items of what else can be walked.
fn count_of(value: &Value) -> u64 {
    let known = value.len().or_else(|| value.try_iter().ok().map(Iterator::count));
    known.unwrap_or(0) as u64
}

/// Numbers of an argument, or of the named arguments in it.
fn numbers_in(argument: &Value) -> Vec<usize> {
    if argument.kind() != ValueKind::Map {
        return argument.as_usize().into_iter().collect();
    }
    let names = argument.try_iter().into_iter().flatten();
    names.filter_map(|name| argument.get_item(&name).ok()?.as_usize()).collect()
}

fn is_wide(argument: &Value) -> bool {
    numbers_in(argument).into_iter().any(|number| number > WIDEST)
}

/// Whether a field of a format has another one in it, which says how wide it is.
fn has_nested_fields(format: &str) -> bool {
    let bytes = format.as_bytes();
    let mut in_field = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' if in_field => return true,
            b'{' if bytes.get(at + 1) == Some(&b'{') => at += 1,
            b'{' => in_field = true,
            b'}' => in_field = false,
            _ => {}
        }
        at += 1;
    }
    false
}

/// How many values `value` holds, itself included, and how deep; it has been weighed.
fn nodes(value: &Value, depth: u64) -> (u64, u64) {
    let mut all = (1, depth + 1);
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
        return all;
    }
    for item in value.try_iter().into_iter().flatten() {
        let inner = match value.kind() {
            ValueKind::Map => value.get_item(&item).unwrap_or_default(),
            _ => item,
        };
        let (count, deep) = nodes(&inner, depth + 1);
        all = (all.0 + count, all.1.max(deep));
    }
    all
}

/// All that make something out of a value. Not those that call others by name (`map`, `select` and their
/// like): what they call is counted.
const FILTERS: [&str; 41] = [
    "safe",
    "escape",
    "e",
    "lower",
    "upper",
    "title",
    "capitalize",
    "replace",
    "length",
    "count",
    "items",
    "dictsort",
    "reverse",
    "trim",
    "join",
    "default",
    "d",
    "list",
    "first",
    "last",
    "min",
    "max",
    "sort",
    "unique",
    "batch",
    "slice",
    "sum",
    "indent",
    "groupby",
    "tojson",
    "urlencode",
    "pprint",
    "string",
    "split",
    "lines",
    "format",
    "chain",
    "zip",
    "attr",
    "bool",
    "round",
];

/// Lets `environment` count. `plain` is the same without that.
pub(super) fn install(
    environment: &mut Environment<'static>,
    plain: &'static Environment<'static>,
) {
    for name in FILTERS {
        environment.add_filter(name, move |arguments: Rest<Value>| {
            weigh_all(&arguments)?;
            if let [value, others @ ..] = &arguments[..] {
                foresee(name, value, others)?;
            }
            let made = plain.empty_state().apply_filter(name, &arguments)?;
            weigh(&made)?;
            Ok::<Value, Error>(made)
        });
    }
    environment.add_filter(CONCAT, concat);
    environment.add_filter(ADD, add);
    environment.add_filter(REPEAT, repeat);
    environment.add_filter(LIST, |values: Rest<Value>| {
        weigh_all(&values)?;
        Ok::<Value, Error>(Value::from(values.0))
    });
    environment.add_filter(DICT, |values: Rest<Value>| {
        weigh_all(&values)?;
        let pairs = values.as_chunks().0.iter();
        Ok::<Value, Error>(pairs.map(|[key, value]| (key.clone(), value.clone())).collect())
    });
    // Its answer is as long as all variables together, each as often as it is held.
    environment.remove_global("debug");
    for name in ["dict", "namespace"] {
        let known = plain.globals().find(|(other, _)| *other == name);
        let Some((_, made)) = known else { continue };
        environment.add_function(name, move |arguments: Rest<Value>| {
            weigh_all(&arguments)?;
            made.call(&plain.empty_state(), &arguments)
        });
    }
    environment.set_formatter(|out, state, value| {
        weigh(value)?;
        minijinja::escape_formatter(out, state, value)
    });
}

// No template can name these.
const CONCAT: &str = "~";
const ADD: &str = "+";
const REPEAT: &str = "*";
const LIST: &str = "[]";
const DICT: &str = "{}";

/// Holds what a compiler would do ahead of time against a budget of its own: minijinja works out
/// constant expressions when it compiles, before anything counts.
///
/// # Errors
/// Texts that are multiplied by large numbers, a tag of more words than its parser has stack for, and
/// what is no Jinja.
pub(super) fn foresee_constants(source: &str, whitespace: WhitespaceConfig) -> Result<(), Error> {
    let mut made = 0u64;
    let mut tag = Tag::default();
    for token in tokenize(source, false, Default::default(), whitespace) {
        let (token, _) = token?;
        match token {
            Token::VariableStart | Token::BlockStart => tag = Tag::default(),
            Token::VariableEnd | Token::BlockEnd => made = made.saturating_add(tag.made()),
            Token::Str(text) => tag.letters += text.len() as u64 + 1,
            Token::String(text) => tag.letters += text.len() as u64 + 1,
            Token::Int(number) => tag.times(number),
            Token::Int128(_) | Token::Pow => tag.times(u64::MAX - 1),
            Token::Float(number) => tag.times(number.abs() as u64),
            Token::Mul => tag.multiplies = true,
            _ => {}
        }
        tag.words += 1;
        if tag.words > MOST_WORDS {
            return Err(refused("the template has a tag of too many words"));
        }
    }
    match made {
        0..=MOST_CONSTANTS => Ok(()),
        _ => Err(refused("the template multiplies texts by more than it may")),
    }
}

/// Words of one tag; the longest in use has some hundred.
const MOST_WORDS: usize = 2_000;
/// Bytes of all texts that are constant products.
const MOST_CONSTANTS: u64 = 1 << 20;

/// What stands between `{{` or `{%` and its end.
struct Tag {
    words: usize,
    letters: u64,
    multiplies: bool,
    factor: u64,
}

impl Default for Tag {
    fn default() -> Self {
        Self { words: 0, letters: 0, multiplies: false, factor: 1 }
    }
}

impl Tag {
    /// One more than the number: sums count as products.
    fn times(&mut self, number: u64) {
        self.factor = self.factor.saturating_mul(number.saturating_add(1));
    }

    fn made(&self) -> u64 {
        if self.multiplies { self.letters.saturating_mul(self.factor) } else { 0 }
    }
}

/// Lets the operators of a compiled template count. Returns the longest text between its tags.
pub(super) fn count(template: &mut CompiledTemplate<'_>) -> usize {
    let blocks = template.blocks.values_mut();
    let parts = std::iter::once(&mut template.instructions).chain(blocks);
    parts.map(count_in).max().unwrap_or(0)
}

fn count_in(code: &mut Instructions<'_>) -> usize {
    let mut longest = 0;
    for at in 0..u32::try_from(code.len()).unwrap_or(u32::MAX) {
        let Some(step) = code.get_mut(at) else { break };
        // Not kept from one call to the next: a call of another filter.
        let call = |name, count| Instruction::ApplyFilter(name, Some(count), !0);
        let other = match step {
            Instruction::StringConcat => call(CONCAT, 2),
            Instruction::Add => call(ADD, 2),
            Instruction::Mul => call(REPEAT, 2),
            Instruction::BuildList(Some(count)) => {
                let Ok(count) = u16::try_from(*count) else { continue };
                call(LIST, count)
            }
            Instruction::BuildMap(pairs) => {
                let Ok(count) = u16::try_from(*pairs * 2) else { continue };
                call(DICT, count)
            }
            Instruction::EmitRaw(text) => {
                longest = longest.max(text.len());
                continue;
            }
            _ => continue,
        };
        *step = other;
    }
    longest
}

fn concat(left: &Value, right: &Value) -> Result<Value, Error> {
    weigh(left)?;
    weigh(right)?;
    Ok(Value::from(format!("{left}{right}")))
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn add(left: &Value, right: &Value) -> Result<Value, Error> {
    if is_list(left) && is_list(right) {
        weigh(left)?;
        weigh(right)?;
        return Ok(left.try_iter()?.chain(right.try_iter()?).collect());
    }
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        pay(LEAST + (left.len() + right.len()) as u64)?;
        return Ok(Value::from(format!("{left}{right}")));
    }
    numbers("+", left, right, i64::checked_add, |a, b| a + b)
}

fn repeat(left: &Value, right: &Value) -> Result<Value, Error> {
    for (value, times) in [(left, right), (right, left)] {
        let (Some(times), true) = (times.as_usize(), is_list(value) || value.as_str().is_some())
        else {
            continue;
        };
        if let Some(text) = value.as_str() {
            pay((text.len() as u64).saturating_mul(times as u64))?;
            return Ok(Value::from(text.repeat(times)));
        }
        weigh(value)?;
        let mut items: Vec<Value> = Vec::new();
        for _ in 0..times {
            weigh(value)?;
            items.extend(value.try_iter()?);
        }
        return Ok(Value::from(items));
    }
    numbers("*", left, right, i64::checked_mul, |a, b| a * b)
}

fn numbers(
    sign: &str,
    left: &Value,
    right: &Value,
    whole: fn(i64, i64) -> Option<i64>,
    broken: fn(f64, f64) -> f64,
) -> Result<Value, Error> {
    let fault = || {
        let kinds = format!("{} and {}", left.kind(), right.kind());
        Error::new(ErrorKind::InvalidOperation, format!("{sign} does not go with {kinds}"))
    };
    if left.is_integer() && right.is_integer() {
        let (Some(a), Some(b)) = (left.as_i64(), right.as_i64()) else { return Err(fault()) };
        return whole(a, b).map(Value::from).ok_or_else(fault);
    }
    let float = |value: &Value| f64::try_from(value.clone()).ok();
    match (float(left), float(right)) {
        (Some(a), Some(b)) => Ok(Value::from(broken(a, b))),
        _ => Err(fault()),
    }
}
