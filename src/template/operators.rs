//! Operators that charge a rendering's budget: filters that replace those of a compiled template.

use minijinja::{
    Environment, Error, ErrorKind, Value, context,
    machinery::{CompiledTemplate, Instruction, Instructions},
    value::{Rest, ValueKind},
};

use super::budget::{VALUE_BYTES, charge, charge_all, spend, spend_product};

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

/// Adds the filters that [`instrument`] calls to `environment`. `plain` is the same environment
/// without charges.
pub(super) fn install(
    environment: &mut Environment<'static>,
    plain: &'static Environment<'static>,
) {
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

/// Replaces the operators of a compiled template by filters that charge the budget. Returns the
/// length of the longest text between its tags.
pub(super) fn instrument(template: &mut CompiledTemplate<'_>) -> usize {
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
