//! Limits the memory that a template may allocate, in bytes per rendering.
//!
//! A chat template comes inside a model file, and prompts with a task: untrusted code. minijinja
//! limits its *steps* (fuel) but not the *size* of its values, and one step can double a text:
//!
//! ```text
//! {% set ns = namespace(x='yyyyyyyy') %}
//! {% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}
//! ```
//!
//! So each rendering has a budget ([`reset`]), and every operation that makes a larger value out of
//! others is charged to it:
//!
//! | operation | how it is charged |
//! |---|---|
//! | filters, `dict`, `namespace` | replaced by wrappers that charge arguments and result ([`install`]) |
//! | methods | charged by the callback of the environment, if it has one |
//! | `~`, `+`, `*`, `[…]`, `{…}`, comparisons, `in`, slices | replaced in the compiled template by calls of our own filters ([`operators`](super::operators)) |
//! | output, `{% set %}` blocks, macros | charged by the formatter as they are written |
//! | constants, computed by the compiler | estimated from the tokens before compilation ([`constants`](super::constants)) |
//!
//! A few filters can multiply sizes in one call (`replace`, `join`, `indent`, …): [`charge_call`]
//! charges their result in advance. What still escapes meets
//! [`process_limit`](super::process_limit). Why this file exists: `docs/design-decisions.md`.

use std::{borrow::Cow, cell::Cell};

use minijinja::{
    Environment, Error, ErrorKind, Value,
    value::{Rest, ValueKind},
};

/// The budget of one rendering in bytes, plus [`PER_INPUT_BYTE`] times its input.
const BASE_BYTES: u64 = 16 << 20;
const PER_INPUT_BYTE: u64 = 64;
/// The price of a value in addition to its bytes.
pub(super) const VALUE_BYTES: u64 = 16;
/// Maximum nesting of values.
const MAX_DEPTH: usize = 64;
/// Maximum number to which a filter may repeat or pad.
const MAX_WIDTH: usize = 10_000;

/// The error of a rendering whose budget is spent.
pub(crate) const EXCEEDED: &str = "the template exceeds its memory budget";

thread_local! {
    /// The remaining budget of this thread's current rendering.
    static REMAINING: Cell<u64> = const { Cell::new(BASE_BYTES) };
}

/// Begins a rendering with `input` bytes of a user's text.
pub(crate) fn reset(input: usize) {
    REMAINING.set(BASE_BYTES + PER_INPUT_BYTE * input as u64);
}

pub(super) fn spend(bytes: u64) -> Result<(), Error> {
    match REMAINING.get().checked_sub(bytes) {
        Some(left) => {
            REMAINING.set(left);
            Ok(())
        }
        None => {
            REMAINING.set(0);
            Err(error(EXCEEDED))
        }
    }
}

pub(super) fn error(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Charges for `value` and everything in it, once for each occurrence.
pub(crate) fn charge(value: &Value) -> Result<(), Error> {
    charge_at(value, 0)
}

fn charge_at(value: &Value, depth: usize) -> Result<(), Error> {
    let bytes = value.as_bytes().map_or(0, <[u8]>::len);
    spend(VALUE_BYTES + bytes as u64)?;
    if !is_container(value) {
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Err(error("the template nests its values too deeply"));
    }
    let Ok(items) = value.try_iter() else { return Ok(()) };
    for item in items {
        charge_at(&item, depth + 1)?;
        if value.kind() == ValueKind::Map {
            charge_at(&value.get_item(&item)?, depth + 1)?;
        }
    }
    Ok(())
}

fn is_container(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map)
}

pub(super) fn charge_all(values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(charge)
}

/// Charges in advance for a filter or method whose result can be much larger than its arguments.
/// Values other than texts count as the text that they would be written as, which is how filters
/// treat them.
pub(crate) fn charge_call(name: &str, value: &Value, arguments: &[Value]) -> Result<(), Error> {
    let padding = || error("the template pads by more than is allowed");
    let texts = || arguments.iter().map(|argument| text(argument).len() as u64).sum::<u64>();
    match name {
        "replace" => {
            let [from, to, ..] = arguments else { return Ok(()) };
            let found = text(value).matches(&*text(from)).count();
            spend_product(found as u64, text(to).len() as u64)
        }
        // The filter joins its value with the argument, the method its argument with the value.
        "join" => {
            let Some(argument) = arguments.first() else { return Ok(()) };
            spend_product(count_of(value), text(argument).len() as u64)?;
            spend_product(count_of(argument), value.as_str().map_or(0, str::len) as u64)
        }
        "indent" | "batch" | "slice" | "center" if arguments.iter().any(is_wide) => Err(padding()),
        "indent" => {
            let width = arguments.iter().flat_map(numbers_in).max().unwrap_or(0).max(4);
            spend_product(text(value).split('\n').count() as u64, width as u64)
        }
        "format" => {
            let whole = text(value);
            let mut padded = 0u64;
            for run in whole.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty()) {
                match run.parse::<usize>() {
                    Ok(width) if width <= MAX_WIDTH => padded += width as u64,
                    _ => return Err(padding()),
                }
            }
            if whole.contains('*') || has_nested_fields(&whole) {
                return Err(padding());
            }
            spend(padded)?;
            spend_product(whole.matches(['{', '%']).count() as u64, texts())
        }
        "tojson" | "pprint" => {
            // There is a separator between all items, and an indent before each.
            let (nodes, depth) = nodes(value, 0);
            let indent = if arguments.is_empty() && name == "tojson" { 0 } else { 16 * depth };
            spend_product(nodes, texts() + indent)
        }
        _ => Ok(()),
    }
}

pub(super) fn spend_product(count: u64, length: u64) -> Result<(), Error> {
    spend(count.saturating_mul(length))
}

/// `value` as a text. It has been charged, so its text is at most a few times longer than the
/// charge.
fn text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::from)
}

/// Characters of a text, items of anything else that can be iterated.
fn count_of(value: &Value) -> u64 {
    let known = value.len().or_else(|| value.try_iter().ok().map(Iterator::count));
    known.unwrap_or(0) as u64
}

/// The numbers in an argument, or in its keyword arguments.
fn numbers_in(argument: &Value) -> Vec<usize> {
    if argument.kind() != ValueKind::Map {
        return argument.as_usize().into_iter().collect();
    }
    let names = argument.try_iter().into_iter().flatten();
    names.filter_map(|name| argument.get_item(&name).ok()?.as_usize()).collect()
}

fn is_wide(argument: &Value) -> bool {
    numbers_in(argument).into_iter().any(|number| number > MAX_WIDTH)
}

/// Whether a field of a format contains another field, which sets its width.
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

/// The number of values in `value`, including itself, and their depth. It has been charged.
fn nodes(value: &Value, depth: u64) -> (u64, u64) {
    let mut all = (1, depth + 1);
    if !is_container(value) {
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

/// All filters that create a value. Filters that call others by name (`map`, `select` and so on)
/// are not among them: the filters that they call are charged.
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

/// Makes the filters, functions and output of `environment` charge the budget. `plain` is the same
/// environment without charges.
pub(crate) fn install(
    environment: &mut Environment<'static>,
    plain: &'static Environment<'static>,
) {
    for name in FILTERS {
        environment.add_filter(name, move |arguments: Rest<Value>| {
            charge_all(&arguments)?;
            if let [value, others @ ..] = &arguments[..] {
                charge_call(name, value, others)?;
            }
            let result = plain.empty_state().apply_filter(name, &arguments)?;
            charge(&result)?;
            Ok::<Value, Error>(result)
        });
    }
    // It writes all variables, each as often as it occurs.
    environment.remove_global("debug");
    for name in ["dict", "namespace"] {
        let global = plain.globals().find(|(other, _)| *other == name);
        let Some((_, function)) = global else { continue };
        environment.add_function(name, move |arguments: Rest<Value>| {
            charge_all(&arguments)?;
            function.call(&plain.empty_state(), &arguments)
        });
    }
    environment.set_formatter(|out, state, value| {
        charge(value)?;
        minijinja::escape_formatter(out, state, value)
    });
}
