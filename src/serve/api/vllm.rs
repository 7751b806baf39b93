//! The format of vLLM's and SGLang's `/v1/classify`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{Refusal, version::Version},
    input::Texts,
};
use crate::student::{Scores, largest};

#[derive(Deserialize)]
pub(super) struct Classify {
    model: Option<String>,
    input: Option<Texts>,
    /// Whether logits become probabilities; the second is the former name.
    use_activation: Option<bool>,
    activation: Option<bool>,
}

/// A request that was read.
pub(super) struct Asked {
    pub model: Option<String>,
    pub texts: Vec<String>,
    activation: bool,
}

impl Classify {
    pub(super) fn read(self) -> Result<Asked, Refusal> {
        Ok(Asked {
            model: self.model,
            texts: Texts::needed(self.input, "input")?.into_vec(),
            activation: self.use_activation.or(self.activation).unwrap_or(true),
        })
    }
}

#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    label: &'a str,
    probs: &'a [f32],
    num_classes: usize,
}

impl Asked {
    pub(super) fn answer(&self, name: &str, scores: &[Scores], version: &Version) -> Value {
        let labels = version.student.labels();
        let row = |(index, scores): (usize, &'_ Scores)| {
            let probs = if self.activation { &scores.probabilities } else { &scores.logits };
            let label = &labels[largest(&scores.probabilities)];
            json!(Row { index, label, probs, num_classes: labels.len() })
        };
        let tokens: usize = scores.iter().map(|it| it.tokens).sum();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        json!({
            "id": format!("classify-{:x}", now.as_nanos()),
            "object": "list",
            "created": now.as_secs(),
            "model": name,
            "data": scores.iter().enumerate().map(row).collect::<Vec<_>>(),
            "usage": {
                "prompt_tokens": tokens,
                "total_tokens": tokens,
                "completion_tokens": 0,
                "prompt_tokens_details": null,
            },
        })
    }
}
