//! Limits the memory that a template may allocate, in bytes per rendering.
//!
//! A chat template comes inside a model file, and prompts with a task: untrusted code. minijinja limits its *steps*
//! (fuel) but not the *size* of its values, and one step can double a text:
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
//! | `~`, `+`, `*`, `[…]`, `{…}`, comparisons, `in`, slices | replaced in the compiled template by calls of our own filters ([`instrument`]) |
//! | output, `{% set %}` blocks, macros | charged by the formatter as they are written |
//! | constants, computed by the compiler | estimated from the tokens before compilation ([`check_constants`]) |
//!
//! A few filters can multiply sizes in one call (`replace`, `join`, `indent`, …): [`charge_call`]
//! charges their result in advance. What still escapes meets [`process_limit`](super::process_limit). Why this file exists:
//! `docs/design-decisions.md`.

use std::{borrow::Cow, cell::Cell};

use minijinja::{
    Environment, Error, ErrorKind, Value, context,
    machinery::{CompiledTemplate, Instruction, Instructions, Token, WhitespaceConfig, tokenize},
    value::{Rest, ValueKind},
};

/// The budget of one rendering in bytes, plus [`PER_INPUT_BYTE`] times its input.
const BASE_BYTES: u64 = 16 << 20;
const PER_INPUT_BYTE: u64 = 64;
/// The price of a value in addition to its bytes.
const VALUE_BYTES: u64 = 16;
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

fn spend(bytes: u64) -> Result<(), Error> {
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

fn error(message: &'static str) -> Error {
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

fn charge_all(values: &[Value]) -> Result<(), Error> {
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

fn spend_product(count: u64, length: u64) -> Result<(), Error> {
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
    environment.add_filter(CONCAT, concat);
    environment.add_filter(ADD, add);
    environment.add_filter(REPEAT, repeat);
    environment.add_filter(LIST, |values: Rest<Value>| {
        charge_all(&values)?;
        Ok::<Value, Error>(Value::from(values.0))
    });
    environment.add_filter(DICT, |values: Rest<Value>| {
        charge_all(&values)?;
        let pairs = values.as_chunks().0.iter();
        Ok::<Value, Error>(pairs.map(|[key, value]| (key.clone(), value.clone())).collect())
    });
    install_comparisons(environment, plain);
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

/// Makes comparisons charge what they compare, as operators and as tests: one can read two lists of
/// a hundred thousand items in a single step.
fn install_comparisons(
    environment: &mut Environment<'static>,
    plain: &'static Environment<'static>,
) {
    let compare = |holds: fn(&Value, &Value) -> bool| {
        move |left: Value, right: Value| -> Result<bool, Error> {
            charge(&left)?;
            charge(&right)?;
            Ok(holds(&left, &right))
        }
    };
    environment.add_filter(EQ, compare(|a, b| a == b));
    environment.add_filter(NE, compare(|a, b| a != b));
    environment.add_filter(LT, compare(|a, b| a < b));
    environment.add_filter(LE, compare(|a, b| a <= b));
    environment.add_filter(GT, compare(|a, b| a > b));
    environment.add_filter(GE, compare(|a, b| a >= b));
    let apply = |name: &str, values: &[Value]| {
        charge_all(values)?;
        plain.empty_state().perform_test(name, values)
    };
    environment.add_filter(IN, move |value: Value, all: Value| apply("in", &[value, all]));
    for name in COMPARING_TESTS {
        environment.add_test(name, move |values: Rest<Value>| apply(name, &values));
    }
    environment.add_filter(SLICE, move |value: Value, start: Value, stop: Value, step: Value| {
        charge(&value)?;
        let slice = plain.compile_expression("value[start:stop:step]")?;
        let result = slice.eval(context! { value, start, stop, step })?;
        charge(&result)?;
        Ok::<Value, Error>(result)
    });
}

const COMPARING_TESTS: [&str; 15] = [
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "lt",
    "lessthan",
    "<",
    "le",
    "<=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
];

// Names of the filters that replace operators. No template can call them by these names.
const CONCAT: &str = "~";
const ADD: &str = "+";
const REPEAT: &str = "*";
const LIST: &str = "[]";
const DICT: &str = "{}";
const SLICE: &str = "[:]";
const IN: &str = "@in";
const EQ: &str = "==";
const NE: &str = "!=";
const LT: &str = "<";
const LE: &str = "<=";
const GT: &str = ">";
const GE: &str = ">=";

/// Checks the constant expressions of a template, which minijinja computes when it compiles, before
/// any budget applies. Texts, numbers and `*` in one tag are assumed to multiply.
///
/// # Errors
/// Texts multiplied by large numbers, a tag with more tokens than the parser has stack for, and a
/// source that is not Jinja.
pub(crate) fn check_constants(source: &str, whitespace: WhitespaceConfig) -> Result<(), Error> {
    let mut bytes = 0u64;
    let mut tag = Tag::default();
    for token in tokenize(source, false, Default::default(), whitespace) {
        let (token, _) = token?;
        match token {
            Token::VariableStart | Token::BlockStart => tag = Tag::default(),
            Token::VariableEnd | Token::BlockEnd => {
                bytes = bytes.saturating_add(tag.max_product_bytes());
            }
            Token::Str(text) => tag.text_bytes += text.len() as u64 + 1,
            Token::String(text) => tag.text_bytes += text.len() as u64 + 1,
            Token::Int(number) => tag.multiply(number),
            Token::Int128(_) | Token::Pow => tag.multiply(u64::MAX - 1),
            Token::Float(number) => tag.multiply(number.abs() as u64),
            Token::Mul => tag.multiplies = true,
            _ => {}
        }
        tag.tokens += 1;
        if tag.tokens > MAX_TAG_TOKENS {
            return Err(error("the template has a tag with too many tokens"));
        }
    }
    match bytes {
        0..=MAX_CONSTANT_BYTES => Ok(()),
        _ => Err(error("the template multiplies a text by too large a number")),
    }
}

/// Maximum number of tokens in one tag; the longest tags in use have about a hundred.
const MAX_TAG_TOKENS: usize = 2_000;
/// Maximum size of all constant products.
const MAX_CONSTANT_BYTES: u64 = 1 << 20;

/// The content between `{{` or `{%` and its end.
struct Tag {
    tokens: usize,
    text_bytes: u64,
    multiplies: bool,
    factor: u64,
}

impl Default for Tag {
    fn default() -> Self {
        Self { tokens: 0, text_bytes: 0, multiplies: false, factor: 1 }
    }
}

impl Tag {
    /// Multiplies by one more than the number, so that a sum is never larger than the product.
    fn multiply(&mut self, number: u64) {
        self.factor = self.factor.saturating_mul(number.saturating_add(1));
    }

    fn max_product_bytes(&self) -> u64 {
        if self.multiplies { self.text_bytes.saturating_mul(self.factor) } else { 0 }
    }
}

/// Replaces the operators of a compiled template by filters that charge the budget. Returns the
/// length of the longest text between its tags.
pub(crate) fn instrument(template: &mut CompiledTemplate<'_>) -> usize {
    let blocks = template.blocks.values_mut();
    let parts = std::iter::once(&mut template.instructions).chain(blocks);
    parts.map(instrument_block).max().unwrap_or(0)
}

fn instrument_block(code: &mut Instructions<'_>) -> usize {
    let mut longest = 0;
    for index in 0..u32::try_from(code.len()).unwrap_or(u32::MAX) {
        let Some(instruction) = code.get_mut(index) else { break };
        // !0 tells minijinja not to cache the filter: the cache slots belong to the template's own.
        let call = |name, count| Instruction::ApplyFilter(name, Some(count), !0);
        let replacement = match instruction {
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
            Instruction::Slice => call(SLICE, 4),
            Instruction::In => call(IN, 2),
            Instruction::Eq => call(EQ, 2),
            Instruction::Ne => call(NE, 2),
            Instruction::Lt => call(LT, 2),
            Instruction::Lte => call(LE, 2),
            Instruction::Gt => call(GT, 2),
            Instruction::Gte => call(GE, 2),
            Instruction::EmitRaw(text) => {
                longest = longest.max(text.len());
                continue;
            }
            _ => continue,
        };
        *instruction = replacement;
    }
    longest
}

fn concat(left: &Value, right: &Value) -> Result<Value, Error> {
    charge(left)?;
    charge(right)?;
    Ok(Value::from(format!("{left}{right}")))
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn add(left: &Value, right: &Value) -> Result<Value, Error> {
    if is_list(left) && is_list(right) {
        charge(left)?;
        charge(right)?;
        return Ok(left.try_iter()?.chain(right.try_iter()?).collect());
    }
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        spend(VALUE_BYTES + (left.len() + right.len()) as u64)?;
        return Ok(Value::from(format!("{left}{right}")));
    }
    numbers("+", left, right, i64::checked_add, |a, b| a + b)
}

fn repeat(left: &Value, right: &Value) -> Result<Value, Error> {
    for (value, count) in [(left, right), (right, left)] {
        let (Some(count), true) = (count.as_usize(), is_list(value) || value.as_str().is_some())
        else {
            continue;
        };
        if let Some(text) = value.as_str() {
            spend_product(text.len() as u64, count as u64)?;
            return Ok(Value::from(text.repeat(count)));
        }
        charge(value)?;
        let mut items: Vec<Value> = Vec::new();
        for _ in 0..count {
            charge(value)?;
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
