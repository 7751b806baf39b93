//! As much of JSON schema as `openapi.json` uses.

use serde_json::Value;

/// What stands against `value` being of `schema`, which may refer to parts of `document`.
pub(crate) fn faults(document: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let part = document.pointer(name.strip_prefix('#').unwrap()).expect("a part that is there");
        return faults(document, part, value, path);
    }
    if value.is_null() && schema["nullable"] == true {
        return Vec::new();
    }
    for (word, exactly) in [("oneOf", true), ("anyOf", false)] {
        if let Some(schemas) = schema[word].as_array() {
            let fitting =
                schemas.iter().filter(|it| faults(document, it, value, path).is_empty()).count();
            let fits = if exactly { fitting == 1 } else { fitting > 0 };
            return if fits {
                Vec::new()
            } else {
                vec![format!("{path}: {fitting} of {word} fit")]
            };
        }
    }
    let is_type = match schema["type"].as_str().expect("a type") {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is not known here"),
    };
    if !is_type {
        return vec![format!("{path} is no {}: {value}", schema["type"])];
    }
    let mut found = Vec::new();
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        found.push(format!("{path} is none of {}", schema["enum"]));
    }
    if schema["minimum"].as_i64().is_some_and(|least| value.as_i64().unwrap() < least) {
        found.push(format!("{path} is too small"));
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(faults(document, &schema["items"], item, &format!("{path}[{at}]")));
    }
    let length = value.as_array().map_or(0, Vec::len) as u64;
    if schema["minItems"].as_u64().is_some_and(|least| length < least)
        || schema["maxItems"].as_u64().is_some_and(|most| length > most)
    {
        found.push(format!("{path} has {length} items"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{path} lacks {name}"));
        }
    }
    for (name, item) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => {
                found.extend(faults(document, schema, item, &path));
            }
            // An object without properties may have any.
            (None, None) if schema.get("properties").is_none() => {}
            (None, None) => found.push(format!("{path} is not described")),
        }
    }
    found
}
