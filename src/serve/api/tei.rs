//! The format of text-embeddings-inference (TEI): `/predict`, `/info`.
//!
//! One difference: a list of strings is a batch here. TEI takes two strings for a pair and wants a
//! batch as a list of lists, which is taken here, too.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    super::{Bounds, Refusal, version::Version},
    input::Texts,
};
use crate::student::Scores;

#[derive(Deserialize)]
pub(super) struct Predict {
    inputs: Option<Texts>,
    raw_scores: Option<bool>,
    truncate: Option<bool>,
    truncation_direction: Option<String>,
}

/// A request that was read.
pub(super) struct Asked {
    pub texts: Vec<String>,
    is_batch: bool,
    raw_scores: bool,
    /// Whether a text that is too long is cut. By default it is, as by `promptmix predict`.
    truncate: bool,
    /// Where, if it is said, in lower case.
    side: Option<String>,
}

impl Predict {
    pub(super) fn read(self) -> Result<Asked, Refusal> {
        let read = Texts::needed(self.inputs, "inputs")?;
        let side = self.truncation_direction.map(|side| side.to_ascii_lowercase());
        if !matches!(side.as_deref(), None | Some("left" | "right")) {
            let wrong = "`truncation_direction` must be \"Left\" or \"Right\"";
            return Err(Refusal::new(422, wrong));
        }
        Ok(Asked {
            is_batch: matches!(read, Texts::Many(_)),
            texts: read.into_vec(),
            raw_scores: self.raw_scores.unwrap_or(false),
            truncate: self.truncate.unwrap_or(true),
            side,
        })
    }
}

#[derive(Serialize)]
struct Label<'a> {
    label: &'a str,
    score: f32,
}

impl Asked {
    /// The answer: of each text all classes, the most probable first.
    pub(super) fn answer(&self, scores: &[Scores], version: &Version) -> Result<Value, Refusal> {
        let student = &version.student;
        let own = if student.part_read() == "first" { "right" } else { "left" };
        if let Some(at) = scores.iter().position(|it| it.truncated) {
            let field = if self.is_batch { format!("inputs[{at}]") } else { "inputs".to_owned() };
            let most = student.max_length();
            let long = format!("`{field}` has more than the {most} tokens that the model reads");
            if !self.truncate {
                return Err(Refusal::new(413, format!("{long}, and `truncate` is false")));
            }
            if self.side.as_ref().is_some_and(|side| side != own) {
                let message = format!(
                    "{long}, and `truncation_direction` is not where it cuts: on the {own}"
                );
                return Err(Refusal::new(422, message));
            }
        }
        let labels = |scores: &Scores| {
            let values = if self.raw_scores { &scores.logits } else { &scores.probabilities };
            let named = student.labels().iter().zip(values);
            let mut labels: Vec<Label<'_>> =
                named.map(|(label, score)| Label { label, score: *score }).collect();
            // Stable: of equal scores the first class comes first, as in `predict`.
            labels.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal));
            json!(labels)
        };
        Ok(match self.is_batch {
            false => labels(&scores[0]),
            true => scores.iter().map(labels).collect(),
        })
    }
}

/// What TEI tells of a model, and the names of all.
pub(super) fn info(name: &str, version: &Version, bounds: &Bounds, names: &[&str]) -> Value {
    let student = &version.student;
    let numbered = || student.labels().iter().enumerate();
    let id2label: Map<String, Value> =
        numbered().map(|(id, label)| (id.to_string(), json!(label))).collect();
    let label2id: Map<String, Value> =
        numbered().map(|(id, label)| (label.clone(), json!(id))).collect();
    json!({
        "model_id": name,
        "model_sha": null,
        "model_dtype": "float32",
        "model_type": {"classifier": {"id2label": id2label, "label2id": label2id}},
        "max_concurrent_requests": bounds.connections,
        "max_input_length": student.max_length(),
        "max_batch_tokens": bounds.queue * student.max_length(),
        "max_client_batch_size": bounds.texts,
        "auto_truncate": true,
        "tokenization_workers": std::thread::available_parallelism().map_or(1, |it| it.get()),
        "version": env!("CARGO_PKG_VERSION"),
        "sha": null,
        "docker_label": null,
        "model_version": version.number,
        "models": names,
    })
}
