//! Tasks of Label Studio: <https://labelstud.io/guide/tasks> and
//! <https://labelstud.io/guide/export>. Opinions are predictions, answers come back as annotations.

use serde_json::{Map, Value, json};

use super::{
    Answer, EDITED, ID, LABEL, Opinion, Place, SheetRow, TEXT, Wrong, choices, csv::strings, id,
    only, string,
};

/// `row` as a task to import.
pub(super) fn task(row: &SheetRow) -> Value {
    let SheetRow { id, text, suggestion, asked, teacher, student, why, .. } = row;
    let opinions = [("label", suggestion), ("teacher", teacher), ("student", student)];
    let predictions: Vec<Value> = opinions
        .into_iter()
        .filter_map(|(by, opinion)| Some(prediction(by, opinion.as_ref()?)))
        .collect();
    let mut data = json!({ ID: id, TEXT: text });
    for (key, value) in [("asked", asked), ("why", why)] {
        if let Some(value) = value {
            data[key] = value.as_str().into();
        }
    }
    json!({ "data": data, "predictions": predictions })
}

fn prediction(by: &str, Opinion { label, p }: &Opinion) -> Value {
    let result = json!([{
        "from_name": LABEL,
        "to_name": TEXT,
        "type": "choices",
        "value": { "choices": [label] },
    }]);
    let mut prediction = json!({ "model_version": format!("promptmix {by}"), "result": result });
    if let Some(p) = p {
        prediction["score"] = (*p).into();
    }
    prediction
}

/// The labelling interface: the text, a choice among `classes`, and a field for a corrected text.
pub(super) fn interface(classes: &[String]) -> String {
    let choices: String = choices(classes)
        .map(|name| format!("    <Choice value=\"{}\"/>\n", escaped(name)))
        .collect();
    format!(
        "<View>\n  <Text name=\"{TEXT}\" value=\"${TEXT}\"/>\n  <Choices name=\"{LABEL}\" toName=\"{TEXT}\" \
         choice=\"single-radio\" showInLine=\"true\">\n{choices}  </Choices>\n  <TextArea name=\"{EDITED}\" \
         toName=\"{TEXT}\" maxSubmissions=\"1\" placeholder=\"the text, corrected (optional)\"/>\n</View>\n"
    )
}

/// `text` in an attribute of XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// The answers in an exported task, one for each annotation. Skipped and empty ones are none.
pub(super) fn answers(
    task: &Map<String, Value>,
    data: &Map<String, Value>,
    place: &Place,
) -> Result<Vec<Answer>, Wrong> {
    let (id, text) = (id(data, ID)?, string(data, TEXT).unwrap_or_default());
    let annotations = task.get("annotations").and_then(Value::as_array);
    let mut answers = Vec::new();
    for annotation in annotations.map(Vec::as_slice).unwrap_or_default() {
        let Some(annotation) = annotation.as_object() else {
            let hint = "export the project as JSON, with the annotations themselves";
            return Err(("an annotation is only referred to".to_owned(), hint));
        };
        if annotation.get("was_cancelled") == Some(&Value::Bool(true)) {
            continue;
        }
        let label = only(values(annotation, "choices", "choices"))?;
        let edited = only(values(annotation, "textarea", "text"))?;
        let text = edited.unwrap_or_else(|| text.clone());
        let by = annotation.get("completed_by").and_then(annotator);
        answers.push(Answer { place: place.clone(), id: id.clone(), text, label, by });
    }
    if answers.is_empty() {
        answers.push(Answer { place: place.clone(), id, text, label: None, by: None });
    }
    Ok(answers)
}

/// What an annotation says in all its controls of one `kind`, under `key`.
fn values(annotation: &Map<String, Value>, kind: &str, key: &str) -> Vec<String> {
    let results = annotation.get("result").and_then(Value::as_array);
    let results = results.map(Vec::as_slice).unwrap_or_default().iter();
    let of_kind = results.filter(|result| result["type"] == kind);
    of_kind.flat_map(|result| strings(result["value"].get(key))).collect()
}

/// Whom `completed_by` names: by number, or with all that is known of the user.
fn annotator(user: &Value) -> Option<String> {
    match user {
        Value::Number(number) => Some(number.to_string()),
        user => user.get("id").map(ToString::to_string),
    }
}
