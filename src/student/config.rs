//! `config.json` of DistilBERT and BERT, read into one description of the network.
//!
//! The two families name the same numbers differently (`dim` and `hidden_size`); the rest of the
//! student sees one [`Config`]. The file is also kept whole, so that saving gives back every key
//! that was there.

use candle_nn::Activation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Result, StudentError, classify::check_temperature};

/// Which family of networks a checkpoint belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// DistilBERT (Sanh et al. 2019, arXiv 1910.01108).
    DistilBert,
    /// BERT (Devlin et al. 2018, arXiv 1810.04805) and its small kin such as MiniLM.
    Bert,
}

/// How the hidden vectors of a text become one vector for the classification head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pooling {
    /// The first token's, as in Hugging Face's `...ForSequenceClassification`.
    #[default]
    First,
    /// The mean over all tokens. `transformers` does not know this key and would pool the first.
    Mean,
}

/// The network that a `config.json` describes.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// DistilBERT or BERT.
    pub architecture: Architecture,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of a hidden vector.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub layers: usize,
    /// Attention heads per layer.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Longest sequence, in tokens.
    pub max_positions: usize,
    /// Rows of the token-type table (BERT), 0 where there is none.
    pub token_types: usize,
    /// Activation of the feed-forward layer.
    pub activation: Activation,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
    /// Dropout after the embeddings and the dense layers.
    pub dropout: f64,
    /// Dropout of the attention weights.
    pub attention_dropout: f64,
    /// Dropout in front of the classifier.
    pub head_dropout: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// How a trained classifier pools; [`Pooling::First`] where the file says nothing.
    pub pooling: Pooling,
    /// Tokens per text that a trained classifier was made with, where the file says so.
    pub max_length: Option<usize>,
    /// What a trained classifier divides its logits by; 1 where the file says nothing.
    pub temperature: f64,
    /// The file as it was.
    pub raw: Map<String, Value>,
}

/// Keys of ours in a saved `config.json`; `transformers` carries them along unread.
pub(super) const POOLING_KEY: &str = "promptmix_pooling";
pub(super) const MAX_LENGTH_KEY: &str = "promptmix_max_length";
pub(super) const TEMPERATURE_KEY: &str = "promptmix_temperature";

impl Config {
    /// Reads the bytes of a `config.json`; `origin` names the model in errors.
    pub(crate) fn parse(bytes: &[u8], origin: &str) -> Result<Self> {
        let fault = |message: String| StudentError::Config { origin: origin.to_owned(), message };
        let raw: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))?;
        let model_type = raw.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let architecture = match model_type {
            "distilbert" => Architecture::DistilBert,
            "bert" => Architecture::Bert,
            other => {
                return Err(fault(format!(
                    "model_type is \"{other}\"\nhint: the student must be a \"distilbert\" or a \"bert\" model"
                )));
            }
        };
        let distil = architecture == Architecture::DistilBert;
        let keys = Keys { raw: &raw, origin };
        let positions = raw.get("position_embedding_type").and_then(Value::as_str);
        if positions.is_some_and(|kind| kind != "absolute") {
            return Err(fault(format!(
                "position_embedding_type is \"{}\"\nhint: only absolute positions are supported",
                positions.unwrap_or_default()
            )));
        }
        let name =
            |bert: &'static str, distilbert: &'static str| if distil { distilbert } else { bert };
        let dropout = keys.number(name("hidden_dropout_prob", "dropout"), Some(0.1))?;
        let config = Self {
            architecture,
            vocab_size: keys.size("vocab_size")?,
            hidden_size: keys.size(name("hidden_size", "dim"))?,
            layers: keys.size(name("num_hidden_layers", "n_layers"))?,
            heads: keys.size(name("num_attention_heads", "n_heads"))?,
            intermediate_size: keys.size(name("intermediate_size", "hidden_dim"))?,
            max_positions: keys.size("max_position_embeddings")?,
            token_types: if distil { 0 } else { keys.size("type_vocab_size")? },
            activation: keys.activation(name("hidden_act", "activation"))?,
            layer_norm_eps: if distil {
                1e-12
            } else {
                keys.number("layer_norm_eps", Some(1e-12))?
            },
            dropout,
            attention_dropout: keys
                .number(name("attention_probs_dropout_prob", "attention_dropout"), Some(0.1))?,
            head_dropout: if distil {
                keys.number("seq_classif_dropout", Some(0.2))?
            } else {
                keys.number("classifier_dropout", Some(dropout))?
            },
            initializer_range: keys.number("initializer_range", Some(0.02))?,
            pooling: match raw.get(POOLING_KEY).and_then(Value::as_str) {
                None | Some("first") => Pooling::First,
                Some("mean") => Pooling::Mean,
                Some(other) => {
                    return Err(fault(format!(
                        "{POOLING_KEY} is \"{other}\"\nhint: it is \"first\" or \"mean\""
                    )));
                }
            },
            max_length: raw.get(MAX_LENGTH_KEY).and_then(Value::as_u64).map(|n| n as usize),
            temperature: keys.number(TEMPERATURE_KEY, Some(1.0))?,
            raw: raw.clone(),
        };
        if !config.hidden_size.is_multiple_of(config.heads) {
            return Err(fault(format!(
                "the width {} is no multiple of the {} heads",
                config.hidden_size, config.heads
            )));
        }
        for (what, p) in [
            ("dropout", config.dropout),
            ("attention dropout", config.attention_dropout),
            ("classifier dropout", config.head_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                return Err(fault(format!(
                    "{what} is {p}\nhint: a share from 0 up to, not including, 1"
                )));
            }
        }
        match check_temperature(config.temperature) {
            Some(message) => Err(fault(format!("{TEMPERATURE_KEY}: {message}"))),
            None => Ok(config),
        }
    }

    /// The labels of a fine-tuned checkpoint in the order of their numbers, `id2label`.
    pub(super) fn labels(&self) -> Option<Vec<String>> {
        let map = self.raw.get("id2label")?.as_object().filter(|map| !map.is_empty())?;
        (0..map.len()).map(|id| map.get(&id.to_string())?.as_str().map(str::to_owned)).collect()
    }

    /// The file that a classifier over `labels` saves: every key that was there, and ours.
    pub(super) fn for_classifier(
        &self,
        labels: &[String],
        pooling: Pooling,
        max_length: usize,
        temperature: f64,
    ) -> Map<String, Value> {
        let mut raw = self.raw.clone();
        let architecture = match self.architecture {
            Architecture::DistilBert => "DistilBertForSequenceClassification",
            Architecture::Bert => "BertForSequenceClassification",
        };
        raw.insert("architectures".into(), serde_json::json!([architecture]));
        let id2label = labels
            .iter()
            .enumerate()
            .map(|(id, label)| (id.to_string(), Value::from(label.as_str())))
            .collect::<Map<_, _>>();
        let label2id = labels
            .iter()
            .enumerate()
            .map(|(id, label)| (label.clone(), Value::from(id)))
            .collect::<Map<_, _>>();
        raw.insert("id2label".into(), id2label.into());
        raw.insert("label2id".into(), label2id.into());
        raw.insert("problem_type".into(), "single_label_classification".into());
        raw.insert("torch_dtype".into(), "float32".into());
        // A count that contradicts id2label would win in transformers; newer files call it dtype.
        for stale in ["num_labels", "dtype", "_num_labels"] {
            raw.shift_remove(stale);
        }
        match pooling {
            Pooling::First => raw.shift_remove(POOLING_KEY),
            Pooling::Mean => raw.insert(POOLING_KEY.into(), "mean".into()),
        };
        raw.insert(MAX_LENGTH_KEY.into(), max_length.into());
        match temperature {
            1.0 => raw.shift_remove(TEMPERATURE_KEY),
            _ => raw.insert(TEMPERATURE_KEY.into(), temperature.into()),
        };
        raw
    }
}

/// Typed look-ups that name the key at fault.
struct Keys<'a> {
    raw: &'a Map<String, Value>,
    origin: &'a str,
}

impl Keys<'_> {
    fn fault(&self, message: String) -> StudentError {
        StudentError::Config { origin: self.origin.to_owned(), message }
    }

    fn size(&self, key: &str) -> Result<usize> {
        match self.raw.get(key).and_then(Value::as_u64) {
            Some(n) if n > 0 => Ok(n as usize),
            _ => Err(self.fault(format!(
                "{key} is {}, a positive whole number is wanted\nhint: take config.json from where the model came from",
                self.raw.get(key).map_or("missing".to_owned(), Value::to_string)
            ))),
        }
    }

    fn number(&self, key: &str, default: Option<f64>) -> Result<f64> {
        match (self.raw.get(key), default) {
            (None | Some(Value::Null), Some(default)) => Ok(default),
            (found, _) => found.and_then(Value::as_f64).ok_or_else(|| {
                self.fault(format!(
                    "{key} is {}, a number is wanted\nhint: take config.json from where the model came from",
                    found.map_or("missing".to_owned(), Value::to_string)
                ))
            }),
        }
    }

    fn activation(&self, key: &str) -> Result<Activation> {
        match self.raw.get(key).and_then(Value::as_str).unwrap_or("gelu") {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::NewGelu),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            other => Err(self.fault(format!(
                "{key} is \"{other}\"\nhint: gelu, gelu_new, relu and silu are supported"
            ))),
        }
    }
}
