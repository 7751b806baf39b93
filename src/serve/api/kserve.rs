//! The Open Inference Protocol (KServe V2): `/v2`.
//!
//! One input, `text`, of texts; outputs `label`, `score` and `probabilities`, of which a request
//! may name some. Tensors are JSON; the binary extension is not there.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{
    super::{Refusal, version::Version},
    input::Texts,
};
use crate::student::{Scores, largest};

const INPUT: &str = "text";
const OUTPUTS: [&str; 3] = ["label", "score", "probabilities"];

#[derive(Deserialize)]
pub(super) struct Infer {
    id: Option<String>,
    inputs: Option<Vec<Tensor>>,
    outputs: Option<Vec<Named>>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    parameters: Option<Parameters>,
    data: Option<Texts>,
}

#[derive(Deserialize)]
struct Parameters {
    binary_data_size: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// A request that was read.
pub(super) struct Asked {
    id: Option<String>,
    pub texts: Vec<String>,
    outputs: Vec<&'static str>,
}

impl Infer {
    pub(super) fn read(self) -> Result<Asked, Refusal> {
        let refused = |message: &str| Refusal::new(400, message);
        let tensors = self.inputs.ok_or_else(|| refused("`inputs` is missing"))?;
        let Ok([tensor]) = <[Tensor; 1]>::try_from(tensors) else {
            return Err(refused("`inputs` must be one tensor: the texts"));
        };
        if tensor.name != INPUT {
            return Err(refused("`inputs[0].name` must be \"text\""));
        }
        if tensor.datatype != "BYTES" {
            return Err(refused("`inputs[0].datatype` must be \"BYTES\""));
        }
        if tensor.parameters.is_some_and(|it| it.binary_data_size.is_some()) {
            return Err(refused("`inputs[0].parameters`: tensors must be JSON, not binary"));
        }
        let texts = Texts::needed(tensor.data, "inputs[0].data")?.into_vec();
        // Of two dimensions the second is that of one text.
        if !matches!(tensor.shape[..], [count] | [count, 1] if count == texts.len()) {
            let count = texts.len();
            let message =
                format!("`inputs[0].shape` must be [{count}] or [{count}, 1], after `data`");
            return Err(Refusal::new(400, message));
        }
        let mut outputs = Vec::new();
        for (at, Named { name }) in self.outputs.unwrap_or_default().into_iter().enumerate() {
            let known = OUTPUTS.into_iter().find(|known| *known == name);
            outputs.push(known.ok_or_else(|| {
                let all = OUTPUTS.join(", ");
                Refusal::new(400, format!("`outputs[{at}].name` must be one of {all}"))
            })?);
        }
        if outputs.is_empty() {
            outputs = OUTPUTS.to_vec();
        }
        Ok(Asked { id: self.id, texts, outputs })
    }
}

impl Asked {
    pub(super) fn answer(&self, name: &str, scores: &[Scores], version: &Version) -> Value {
        let labels = version.student.labels();
        let best = |it: &Scores| largest(&it.probabilities);
        let tensor = |output: &&str| {
            let (kind, shape, data): (_, _, Vec<Value>) = match *output {
                "label" => {
                    let data = scores.iter().map(|it| json!(labels[best(it)])).collect();
                    ("BYTES", vec![scores.len()], data)
                }
                "score" => {
                    let data = scores.iter().map(|it| json!(it.probabilities[best(it)])).collect();
                    ("FP32", vec![scores.len()], data)
                }
                _ => {
                    let all = scores.iter().flat_map(|it| &it.probabilities);
                    let data = all.map(|it| json!(it)).collect();
                    ("FP32", vec![scores.len(), labels.len()], data)
                }
            };
            json!({"name": output, "datatype": kind, "shape": shape, "data": data})
        };
        let mut answer = Map::new();
        answer.insert("model_name".into(), json!(name));
        answer.insert("model_version".into(), json!(version.number.to_string()));
        answer.extend(self.id.as_ref().map(|id| ("id".to_owned(), json!(id))));
        answer.insert("outputs".into(), self.outputs.iter().map(tensor).collect());
        Value::Object(answer)
    }
}

/// What the server is.
pub(super) fn server() -> Value {
    json!({"name": "promptmix", "version": env!("CARGO_PKG_VERSION"), "extensions": []})
}

/// What a model takes and gives. The order of `probabilities` is that of `labels`.
pub(super) fn model(name: &str, version: &Version) -> Value {
    let labels = version.student.labels();
    json!({
        "name": name,
        "versions": [version.number.to_string()],
        "platform": "promptmix",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, labels.len()]},
        ],
        "parameters": {"labels": labels},
    })
}
