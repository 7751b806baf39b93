//! The classes of a fine-tuned checkpoint: their number from the weights, their names from
//! `config.json`.
//!
//! `transformers` leaves `id2label` out where the names are `LABEL_0` and `LABEL_1`, so the weights
//! decide whether a checkpoint is a classifier. A student gives each text exactly one class: a
//! checkpoint that was trained for another kind of answer is refused by name, since a softmax over
//! its scores would look like probabilities and be none.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::Fault;
use crate::printable::excerpt;

type Read<T> = Result<T, Fault>;

/// Hint of names that do not fit each other or the weights.
const FIX_NAMES: &str = "correct the names in config.json: `id2label` gives each row of \
    classifier.weight, from \"0\" on, a name of its own";

/// The names of the `rows` classes of `classifier.weight`, in their order.
///
/// # Errors
/// There is no classifier, it is not one over classes that exclude each other, or the names in
/// `raw`, the contents of `config.json`, are not those of its rows.
pub(super) fn labels(raw: &Map<String, Value>, rows: Option<usize>) -> Read<Vec<String>> {
    let rows = rows.ok_or_else(|| {
        Fault::with_hint(
            "there is no classifier.weight: this is a pretrained encoder, not a trained classifier",
            "train it first: `promptmix run TASK --student` takes this folder",
        )
    })?;
    check_problem(raw, rows)?;
    check_count(raw, rows)?;
    let names = match (raw.get("id2label"), raw.get("label2id")) {
        (Some(Value::Array(names)), _) => numbered(names.iter().enumerate())?,
        (Some(Value::Object(names)), _) if !names.is_empty() => by_id(names)?,
        (None | Some(Value::Null | Value::Object(_)), Some(Value::Object(ids)))
            if !ids.is_empty() =>
        {
            inverted(ids)?
        }
        (None | Some(Value::Null | Value::Object(_)), _) => {
            return Ok((0..rows).map(default_name).collect());
        }
        (Some(other), _) => {
            let other = excerpt(&other.to_string());
            return Err(Fault::with_hint(format!("id2label is {other}"), FIX_NAMES));
        }
    };
    let names = check_names(names, rows)?;
    check_inverse(raw, &names)?;
    Ok(names)
}

/// The name that `transformers` gives to a class without one.
fn default_name(id: usize) -> String {
    format!("LABEL_{id}")
}

fn check_problem(raw: &Map<String, Value>, rows: usize) -> Read<()> {
    let one_class = "promptmix predicts exactly one class for each text; use the checkpoint with \
        transformers, or train a student of your own";
    match raw.get("problem_type") {
        None | Some(Value::Null) if rows == 1 => Err(Fault::with_hint(
            "classifier.weight has one row: a regression, or a class that every text belongs to",
            one_class,
        )),
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(kind)) if kind == "single_label_classification" && rows > 1 => Ok(()),
        Some(other) => Err(Fault::with_hint(
            format!(
                "problem_type is {} (rows of classifier.weight: {rows})",
                excerpt(&other.to_string())
            ),
            format!(
                "{one_class} (supported is \"single_label_classification\" with two classes or more)"
            ),
        )),
    }
}

fn check_count(raw: &Map<String, Value>, rows: usize) -> Read<()> {
    match raw.get("num_labels") {
        None | Some(Value::Null) => Ok(()),
        Some(count) if count.as_u64() == Some(rows as u64) => Ok(()),
        Some(count) => Err(Fault::with_hint(
            format!(
                "num_labels is {}, but classifier.weight has {rows} rows",
                excerpt(&count.to_string())
            ),
            super::error::TAKE_CONFIG_AND_WEIGHTS,
        )),
    }
}

/// The names of `id2label`, whose keys are numbers in strings.
fn by_id(names: &Map<String, Value>) -> Read<BTreeMap<usize, String>> {
    let numbered_names = names.iter().map(|(id, name)| {
        let number = id.parse::<usize>().map_err(|_| {
            Fault::with_hint(format!("id2label has the key \"{}\"", excerpt(id)), FIX_NAMES)
        })?;
        Ok((number, name))
    });
    numbered(numbered_names.collect::<Read<Vec<_>>>()?.into_iter())
}

fn numbered<'a>(names: impl Iterator<Item = (usize, &'a Value)>) -> Read<BTreeMap<usize, String>> {
    let mut all = BTreeMap::new();
    for (id, name) in names {
        let text = match name {
            Value::String(name) => name.clone(),
            Value::Number(_) | Value::Bool(_) => name.to_string(),
            other => {
                let message = format!("the name of class {id} is {}", excerpt(&other.to_string()));
                return Err(Fault::with_hint(message, FIX_NAMES));
            }
        };
        if all.insert(id, text).is_some() {
            return Err(Fault::with_hint(format!("id2label names class {id} twice"), FIX_NAMES));
        }
    }
    Ok(all)
}

/// The names of a `label2id` that stands alone.
fn inverted(ids: &Map<String, Value>) -> Read<BTreeMap<usize, String>> {
    let mut names = BTreeMap::new();
    for (name, id) in ids {
        let fault = |what: String| Fault::with_hint(format!("label2id {what}"), FIX_NAMES);
        let shown = excerpt(name);
        let Some(number) = id.as_u64() else {
            return Err(fault(format!("gives \"{shown}\" {}", excerpt(&id.to_string()))));
        };
        if let Some(other) = names.insert(number as usize, name.clone()) {
            return Err(fault(format!("gives \"{}\" and \"{shown}\" {number}", excerpt(&other))));
        }
    }
    Ok(names)
}

/// The names in the order of the rows, if there is exactly one for each and all differ.
fn check_names(names: BTreeMap<usize, String>, rows: usize) -> Read<Vec<String>> {
    let fault = |message: String| Err(Fault::with_hint(message, FIX_NAMES));
    if let Some(missing) = (0..rows).find(|id| !names.contains_key(id)) {
        return fault(format!("class {missing} of {rows} has no name in config.json"));
    }
    if let Some((id, name)) = names.range(rows..).next() {
        let name = excerpt(name);
        return fault(format!("\"{name}\" is class {id}, but classifier.weight has {rows} rows"));
    }
    let mut seen = BTreeMap::new();
    for (id, name) in &names {
        if name.trim().is_empty() || name.contains(char::is_control) {
            return fault(format!("the name of class {id} is \"{}\"", excerpt(name)));
        }
        if let Some(other) = seen.insert(name.trim(), id) {
            return fault(format!("the classes {other} and {id} are both named \"{name}\""));
        }
    }
    Ok(names.into_values().collect())
}

/// Checks that `label2id` is the inverse of the names, as far as it says anything: `transformers`
/// leaves its default names there when only `id2label` was set.
fn check_inverse(raw: &Map<String, Value>, names: &[String]) -> Read<()> {
    let Some(Value::Object(ids)) = raw.get("label2id") else { return Ok(()) };
    let number = |id: &Value| id.as_u64().and_then(|id| usize::try_from(id).ok());
    if ids.iter().all(|(name, id)| number(id).is_some_and(|id| *name == default_name(id))) {
        return Ok(());
    }
    for (name, id) in ids {
        let named = number(id).and_then(|id| names.get(id));
        if named.is_none_or(|named| named != name) {
            let (name, id) = (excerpt(name), excerpt(&id.to_string()));
            let found = named.map_or("has no such class".to_owned(), |named| {
                format!("names it \"{}\"", excerpt(named))
            });
            let message = format!("label2id gives \"{name}\" the number {id}, id2label {found}");
            return Err(Fault::with_hint(message, FIX_NAMES));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hint::Hint;

    fn read(config: Value, rows: usize) -> Result<Vec<String>, String> {
        let raw = config.as_object().unwrap();
        labels(raw, Some(rows)).map_err(|fault| {
            assert!(fault.hint().is_some(), "{fault}");
            fault.to_string()
        })
    }

    #[test]
    fn the_rows_of_the_weights_count_and_config_json_names_them() {
        let abc = Ok(["a", "b", "c"].map(str::to_owned).to_vec());
        for config in [
            json!({"id2label": {"0": "a", "1": "b", "2": "c"}}),
            json!({"id2label": {"2": "c", "0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1, "c": 2}}),
            json!({"id2label": ["a", "b", "c"], "num_labels": 3}),
            json!({"label2id": {"c": 2, "a": 0, "b": 1}}),
            // Only id2label was set.
            json!({"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}),
            json!({"id2label": {"0": "a", "1": "b", "2": "c"}, "problem_type": "single_label_classification"}),
        ] {
            assert_eq!(read(config.clone(), 3), abc, "{config}");
        }
        let default = Ok(["LABEL_0", "LABEL_1"].map(str::to_owned).to_vec());
        for config in
            [json!({}), json!({"id2label": null}), json!({"id2label": {}, "label2id": {}})]
        {
            assert_eq!(read(config, 2), default);
        }
        let numbers = json!({"id2label": {"0": 10, "1": false}});
        assert_eq!(read(numbers, 2), Ok(vec!["10".to_owned(), "false".to_owned()]));
    }

    #[test]
    fn other_kinds_of_answers_are_refused_by_name() {
        let names = json!({"0": "toxic", "1": "insult"});
        for (kind, rows) in [
            ("multi_label_classification", 2),
            ("regression", 1),
            ("regression", 2),
            ("single_label_classification", 1),
        ] {
            let error = read(json!({"problem_type": kind, "id2label": names}), rows).unwrap_err();
            assert!(error.contains("problem_type is") && error.contains(kind), "{error}");
        }
        let error = read(json!({"id2label": {"0": "LABEL_0"}}), 1).unwrap_err();
        assert!(error.contains("one row"), "{error}");
        let error = labels(&Map::new(), None).unwrap_err().to_string();
        assert!(error.contains("no classifier.weight"), "{error}");
    }

    #[test]
    fn names_that_contradict_the_weights_or_each_other_are_refused() {
        for (config, part) in [
            (json!({"id2label": {"0": "a", "1": "a"}}), "classes 0 and 1 are both named \"a\""),
            (json!({"id2label": {"0": "a", "1": "a "}}), "are both named"),
            (json!({"id2label": {"0": "a", "1": " "}}), "the name of class 1 is"),
            (json!({"id2label": {"0": "a", "1": "\u{1b}[2J"}}), "\\u001b[2J"),
            (json!({"id2label": {"0": "a", "1": null}}), "the name of class 1 is null"),
            (json!({"id2label": {"1": "a", "2": "b"}}), "class 0 of 2 has no name"),
            (json!({"id2label": {"0": "a", "2": "b"}}), "class 1 of 2 has no name"),
            (json!({"id2label": {"0": "a", "00": "b"}}), "class 0 twice"),
            (json!({"id2label": {"0": "a", "x": "b"}}), "the key \"x\""),
            (json!({"id2label": {"0": "a", "1": "b", "2": "c"}}), "has 2 rows"),
            (json!({"id2label": {"0": "a", "18446744073709551615": "b"}}), "class 1 of 2"),
            (json!({"id2label": "a"}), "id2label is"),
            (json!({"num_labels": 3}), "num_labels is 3, but classifier.weight has 2 rows"),
            (json!({"label2id": {"a": 0, "b": 0}}), "\"b\" 0"),
            (json!({"label2id": {"a": 0, "b": -1}}), "\"b\" -1"),
            (
                json!({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}),
                "label2id gives \"a\" the number 1, id2label names it \"b\"",
            ),
            (
                json!({"id2label": {"0": "a", "1": "b"}, "label2id": {"c": 2}}),
                "id2label has no such class",
            ),
        ] {
            let error = read(config.clone(), 2).expect_err(&config.to_string());
            assert!(error.contains(part), "{config}: {error}");
        }
    }
}
