//! Records of Argilla 2, as `dataset.records.to_json` writes and `from_json` reads them:
//! <https://docs.argilla.io/latest/how_to_guides/import_export/>. The most probable class is the
//! suggestion, answers come back as responses.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Answer, EDITED, LABEL, Opinion, Place, SheetRow, TEXT, Wrong, choices, id, string};

/// Metadata of a record: what does not fit into its suggestion.
const METADATA: [&str; 6] = ["asked", "teacher", "teacher_p", "student", "student_p", "why"];

/// `row` as a record.
pub(super) fn record(row: &SheetRow) -> Value {
    let SheetRow { id, text, suggestion, asked, teacher, student, why, .. } = row;
    let suggestions = match suggestion {
        Some(Opinion { label, p }) => {
            json!({ LABEL: { "value": label, "score": p, "agent": "promptmix" } })
        }
        None => json!({}),
    };
    let word = |opinion: &Option<Opinion>| opinion.as_ref().map(|it| json!(it.label));
    let p = |opinion: &Option<Opinion>| opinion.as_ref().and_then(|it| it.p).map(|p| json!(p));
    let values = [
        asked.as_ref().map(|asked| json!(asked)),
        word(teacher),
        p(teacher),
        word(student),
        p(student),
        why.as_ref().map(|why| json!(why)),
    ];
    let metadata: Map<String, Value> = METADATA
        .into_iter()
        .zip(values)
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
    json!({
        "id": id,
        "fields": { TEXT: text },
        "metadata": metadata,
        "suggestions": suggestions,
        "responses": {},
        "vectors": {},
        "status": "pending",
        "_server_id": null,
    })
}

/// A Python module with the settings of the dataset: the text, the question for one of `classes`,
/// and one for a corrected text.
pub(super) fn settings(classes: &[String]) -> String {
    let mut labels = String::new();
    for name in choices(classes) {
        // A string of JSON is one of Python.
        let _ = writeln!(labels, "                {},", json!(name));
    }
    format!(
        "import argilla as rg\n\nsettings = rg.Settings(\n    fields=[rg.TextField(name=\"{TEXT}\")],\n    \
         questions=[\n        rg.LabelQuestion(\n            name=\"{LABEL}\",\n            labels=[\n\
         {labels}            ],\n        ),\n        rg.TextQuestion(name=\"{EDITED}\", title=\"The text, \
         corrected\", required=False),\n    ],\n)\n"
    )
}

/// The answers in a record, one for each user who responded.
pub(super) fn answers(
    record: &Map<String, Value>,
    fields: &Map<String, Value>,
    place: &Place,
) -> Result<Vec<Answer>, Wrong> {
    let (id, text) = (id(record, "id")?, string(fields, TEXT).unwrap_or_default());
    let labels = responses(record, LABEL)?;
    let edited = responses(record, EDITED)?;
    let mut users: Vec<&Option<String>> = labels.iter().chain(&edited).map(|(by, _)| by).collect();
    users.sort();
    users.dedup();
    let of = |responses: &[(Option<String>, String)], by: &Option<String>| {
        responses.iter().find(|(user, _)| user == by).map(|(_, value)| value.clone())
    };
    let answer = |by: &Option<String>| Answer {
        place: place.clone(),
        id: id.clone(),
        text: of(&edited, by).unwrap_or_else(|| text.clone()),
        label: of(&labels, by),
        by: by.clone(),
    };
    match users.as_slice() {
        [] => Ok(vec![answer(&None)]),
        users => Ok(users.iter().map(|by| answer(by)).collect()),
    }
}

/// The users who responded to `question`, and how.
fn responses(
    record: &Map<String, Value>,
    question: &str,
) -> Result<Vec<(Option<String>, String)>, Wrong> {
    let responses =
        record.get("responses").and_then(|of| of.get(question)).and_then(Value::as_array);
    let mut found = Vec::new();
    for response in responses.map(Vec::as_slice).unwrap_or_default() {
        let by = response.get("user_id").and_then(Value::as_str).map(str::to_owned);
        match response.get("value") {
            Some(Value::String(value)) => found.push((by, value.clone())),
            None | Some(Value::Null) => {}
            Some(_) => {
                let hint = "make `label` a LabelQuestion, for which people choose one label";
                return Err((format!("a response to `{question}` is not a single one"), hint));
            }
        }
    }
    Ok(found)
}
