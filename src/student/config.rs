//! `config.json` of DistilBERT and BERT, read into one description of the network.
//!
//! The two families use different names for the same number (`dim` and `hidden_size`); the rest of
//! the student sees one [`Config`]. The raw file is kept too, so that saving preserves every key.

use candle_nn::Activation;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Result, StudentError, classify::check_temperature, error::Fault};
use crate::{model_file, printable::excerpt};

/// Which family of networks a checkpoint belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// DistilBERT (Sanh et al. 2019, arXiv 1910.01108).
    DistilBert,
    /// BERT (Devlin et al. 2018, arXiv 1810.04805) and its small variants such as MiniLM.
    Bert,
}

/// How the hidden vectors of a text become one vector for the classification head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pooling {
    /// The first token's, as in Hugging Face's `...ForSequenceClassification`.
    #[default]
    First,
    /// The mean over all tokens. `transformers` ignores this setting and pools the first token.
    Mean,
}

/// The layers between a text's vector and the scores of its classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HeadKind {
    /// A dense layer with an activation, dropout, and a second dense layer: the head of Hugging
    /// Face's `...ForSequenceClassification`.
    Mlp,
    /// One dense layer over the pooled token vectors, scaled to unit length: what a logistic
    /// regression on sentence embeddings computes. `transformers` ignores this setting and builds
    /// its own head.
    Linear,
}

/// A head with its pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Mlp(Pooling),
    Linear(Pooling),
}

impl Head {
    pub(crate) fn new(kind: HeadKind, pooling: Pooling) -> Self {
        match kind {
            HeadKind::Mlp => Self::Mlp(pooling),
            HeadKind::Linear => Self::Linear(pooling),
        }
    }

    /// How it pools.
    pub(crate) fn pooling(self) -> Pooling {
        match self {
            Self::Mlp(pooling) | Self::Linear(pooling) => pooling,
        }
    }
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
    /// Dropout before the classifier.
    pub head_dropout: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// The head of a trained classifier; [`HeadKind::Mlp`] over [`Pooling::First`] by default, a
    /// linear one over [`Pooling::Mean`].
    pub head: Head,
    /// What a trained classifier reads before each text; empty for nothing.
    pub prompt: String,
    /// Tokens per text that a classifier was trained with, if the file states it.
    pub max_length: Option<usize>,
    /// What a trained classifier divides its logits by; 1 by default.
    pub temperature: f64,
    /// The whole file.
    pub raw: Map<String, Value>,
}

/// promptmix's own keys in a saved `config.json`; `transformers` ignores and preserves them.
pub(super) const HEAD_KEY: &str = "promptmix_head";
pub(super) const POOLING_KEY: &str = "promptmix_pooling";
pub(super) const PROMPT_KEY: &str = "promptmix_prompt";
pub(super) const MAX_LENGTH_KEY: &str = "promptmix_max_length";
pub(super) const TEMPERATURE_KEY: &str = "promptmix_temperature";

impl Config {
    /// Reads the bytes of a `config.json`; `origin` names the model in errors.
    pub(crate) fn parse(bytes: &[u8], origin: &str) -> Result<Self> {
        Self::read(bytes).map_err(|fault| StudentError::Config { origin: origin.to_owned(), fault })
    }

    fn read(bytes: &[u8]) -> Read<Self> {
        if let Some(fault) = model_file::not_a_model(bytes) {
            return Err(Fault::with_hint(fault.message, fault.hint));
        }
        let raw: Map<String, Value> = serde_json::from_slice(bytes)
            .map_err(|error| Fault::with_hint(excerpt(&error.to_string()), FETCH_AGAIN))?;
        let keys = Keys(&raw);
        let architecture = keys.architecture()?;
        keys.check_positions()?;
        let distil = architecture == Architecture::DistilBert;
        let name =
            |bert: &'static str, distilbert: &'static str| if distil { distilbert } else { bert };
        let dropout = keys.number(name("hidden_dropout_prob", "dropout"), 0.1)?;
        let attention_dropout = name("attention_probs_dropout_prob", "attention_dropout");
        let head_dropout = match architecture {
            Architecture::DistilBert => keys.number("seq_classif_dropout", 0.2)?,
            Architecture::Bert => keys.number("classifier_dropout", dropout)?,
        };
        let layer_norm_eps = match architecture {
            Architecture::DistilBert => 1e-12,
            Architecture::Bert => keys.number("layer_norm_eps", 1e-12)?,
        };
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
            layer_norm_eps,
            dropout,
            attention_dropout: keys.number(attention_dropout, 0.1)?,
            head_dropout,
            initializer_range: keys.number("initializer_range", 0.02)?,
            head: keys.head()?,
            prompt: keys.prompt()?,
            max_length: raw.get(MAX_LENGTH_KEY).map(|_| keys.size(MAX_LENGTH_KEY)).transpose()?,
            temperature: keys.number(TEMPERATURE_KEY, 1.0)?,
            raw: raw.clone(),
        };
        config.check()?;
        Ok(config)
    }

    /// Checks what no single key can tell.
    fn check(&self) -> Read<()> {
        if !self.hidden_size.is_multiple_of(self.heads) {
            return Err(Fault::new(format!(
                "the hidden size {} is not a multiple of the {} heads",
                self.hidden_size, self.heads
            )));
        }
        for (what, p) in [
            ("dropout", self.dropout),
            ("attention dropout", self.attention_dropout),
            ("classifier dropout", self.head_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                let hint = "a dropout probability is at least 0 and below 1";
                return Err(Fault::with_hint(format!("{what} is {p}"), hint));
            }
        }
        if !(0.0..1.0).contains(&self.layer_norm_eps) {
            let hint = "it is a small positive number, such as 1e-12";
            let message = format!("layer_norm_eps is {}", self.layer_norm_eps);
            return Err(Fault::with_hint(message, hint));
        }
        check_temperature(TEMPERATURE_KEY, self.temperature)
    }

    /// The `config.json` of a classifier over `labels`: every key of the base's file, and our own.
    pub(super) fn for_classifier(
        &self,
        labels: &[String],
        (head, prompt): (Head, &str),
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
        // In transformers a contradicting count overrides id2label; newer files name the type
        // `dtype`.
        for stale in ["num_labels", "dtype", "_num_labels"] {
            raw.shift_remove(stale);
        }
        match head {
            Head::Mlp(_) => raw.shift_remove(HEAD_KEY),
            Head::Linear(_) => raw.insert(HEAD_KEY.into(), "linear".into()),
        };
        // Older versions read a linear head without this key as one over the mean.
        match head {
            Head::Mlp(Pooling::First) => raw.shift_remove(POOLING_KEY),
            Head::Linear(Pooling::First) => raw.insert(POOLING_KEY.into(), "first".into()),
            Head::Mlp(Pooling::Mean) | Head::Linear(Pooling::Mean) => {
                raw.insert(POOLING_KEY.into(), "mean".into())
            }
        };
        match prompt {
            "" => raw.shift_remove(PROMPT_KEY),
            prompt => raw.insert(PROMPT_KEY.into(), prompt.into()),
        };
        raw.insert(MAX_LENGTH_KEY.into(), max_length.into());
        match temperature {
            1.0 => raw.shift_remove(TEMPERATURE_KEY),
            _ => raw.insert(TEMPERATURE_KEY.into(), temperature.into()),
        };
        raw
    }
}

type Read<T> = std::result::Result<T, Fault>;

/// Hint of a key that is missing or of the wrong type.
const FETCH_AGAIN: &str = "take config.json from where the model came from";

/// Typed look-ups whose errors name the key.
struct Keys<'a>(&'a Map<String, Value>);

impl Keys<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    fn size(&self, key: &str) -> Read<usize> {
        match self.0.get(key).and_then(Value::as_u64) {
            Some(n) if n > 0 => Ok(n as usize),
            _ => Err(self.unexpected(key, "a positive integer")),
        }
    }

    fn number(&self, key: &str, default: f64) -> Read<f64> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(found) => found.as_f64().ok_or_else(|| self.unexpected(key, "a number")),
        }
    }

    fn unexpected(&self, key: &str, expected: &str) -> Fault {
        let found = self.0.get(key).map_or("missing".to_owned(), |it| excerpt(&it.to_string()));
        Fault::with_hint(format!("{key} is {found}, expected {expected}"), FETCH_AGAIN)
    }

    fn architecture(&self) -> Read<Architecture> {
        // Old files name only the class of the network.
        let class = self.0.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str);
        let of_class = match class {
            Some(class) if class.starts_with("DistilBert") => "distilbert",
            Some(class) if class.starts_with("Bert") => "bert",
            _ => "",
        };
        match self.text("model_type").unwrap_or(of_class) {
            "distilbert" => Ok(Architecture::DistilBert),
            "bert" => Ok(Architecture::Bert),
            "" => Err(Fault::with_hint(
                "model_type is missing",
                "add \"model_type\": \"distilbert\" or \"bert\", whichever the model is",
            )),
            other => Err(Fault::with_hint(
                format!("model_type is \"{}\"", excerpt(other)),
                "the student must be a \"distilbert\" or a \"bert\" model",
            )),
        }
    }

    fn check_positions(&self) -> Read<()> {
        match self.text("position_embedding_type") {
            None | Some("absolute") => Ok(()),
            Some(other) => Err(Fault::with_hint(
                format!("position_embedding_type is \"{}\"", excerpt(other)),
                "take a model with absolute position embeddings",
            )),
        }
    }

    fn head(&self) -> Read<Head> {
        let kind = self.choice(HEAD_KEY, "it is \"mlp\" or \"linear\"")?;
        let pooling = self.choice(POOLING_KEY, "it is \"first\" or \"mean\"")?;
        // Files without the keys are Hugging Face's, whatever the settings' defaults are.
        let kind = kind.unwrap_or(HeadKind::Mlp);
        let usual = match kind {
            HeadKind::Mlp => Pooling::First,
            HeadKind::Linear => Pooling::Mean,
        };
        Ok(Head::new(kind, pooling.unwrap_or(usual)))
    }

    fn prompt(&self) -> Read<String> {
        match self.0.get(PROMPT_KEY) {
            None => Ok(String::new()),
            Some(Value::String(prompt)) => Ok(prompt.clone()),
            Some(_) => Err(self.unexpected(PROMPT_KEY, "a text")),
        }
    }

    /// One of the values of `T`; `None` if the key is absent.
    fn choice<T: DeserializeOwned>(&self, key: &str, hint: &'static str) -> Read<Option<T>> {
        let Some(found) = self.0.get(key) else { return Ok(None) };
        let choice = T::deserialize(found).map_err(|_| {
            Fault::with_hint(format!("{key} is {}", excerpt(&found.to_string())), hint)
        })?;
        Ok(Some(choice))
    }

    fn activation(&self, key: &str) -> Read<Activation> {
        match self.text(key).unwrap_or("gelu") {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::NewGelu),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            other => Err(Fault::with_hint(
                format!("{key} is \"{}\"", excerpt(other)),
                "the supported activations are gelu, gelu_new, relu and silu",
            )),
        }
    }
}
