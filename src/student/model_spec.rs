//! The specification of a network: the tensors of DistilBERT and BERT by part and full name, and
//! its dimensions and constants. Both engines are built from it.
//!
//! DistilBERT (Sanh et al. 2019, arXiv 1910.01108) and BERT (Devlin et al. 2018, arXiv 1810.04805;
//! also its small variants such as MiniLM and TinyBERT) are one network under two sets of names.
//! BERT also has token types (all 0 for a single text) and dropout after the attention's dense
//! layer, and its head has a tanh where DistilBERT's has a ReLU.

use candle_nn::Activation;

use super::{
    Pooling,
    config::{Architecture, Config, Head},
};

/// A tensor by name and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    /// Full Hugging Face name, prefix included.
    pub name: String,
    /// Outermost first: a dense layer's weight is `[outputs, inputs]`.
    pub shape: Vec<usize>,
}

/// A dense layer or a layer norm: its name before `.weight` and `.bias`.
pub(crate) type Part = String;

/// The parts of one transformer layer.
#[derive(Debug, Clone)]
pub(crate) struct LayerParts {
    pub query: Part,
    pub key: Part,
    pub value: Part,
    pub output: Part,
    pub attention_norm: Part,
    pub up: Part,
    pub down: Part,
    pub norm: Part,
}

/// The activation between the head's two dense layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadActivation {
    Relu,
    Tanh,
}

/// What is between the last hidden states and the classifier.
#[derive(Debug, Clone)]
pub(crate) enum HeadParts {
    /// A dense layer `[hidden, hidden]` over the pooled states, an activation, and dropout.
    Mlp { pooling: Pooling, dense: Part, activation: HeadActivation, dropout: f64 },
    /// The pooled states, divided by their Euclidean norm.
    Linear(Pooling),
}

/// The smallest norm that a linear head divides by, as in `torch.nn.functional.normalize`.
pub(crate) const MIN_NORM: f32 = 1e-12;

/// Everything that an engine needs to build a network.
#[derive(Debug, Clone)]
pub(crate) struct ModelSpec {
    pub hidden: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub activation: Activation,
    pub layer_norm_eps: f32,
    /// Dropout after the embeddings and after the feed-forward layer.
    pub dropout: f64,
    /// Dropout of the attention weights.
    pub attention_dropout: f64,
    /// Dropout after the attention's dense layer.
    pub output_dropout: f64,
    /// Rows of the word table: the vocabulary, or the part of it that a training uses.
    pub words_kept: usize,
    pub max_positions: usize,
    /// Rows of the token-type table.
    pub token_types: usize,
    /// Tables, by full name.
    pub words: String,
    pub positions: String,
    /// BERT's token types.
    pub types: Option<String>,
    pub embedding_norm: Part,
    pub layers: Vec<LayerParts>,
    pub head: HeadParts,
    /// The head's last dense layer, `[classes, hidden]`.
    pub classifier: Part,
    /// 0 for an encoder without a head.
    pub classes: usize,
}

impl ModelSpec {
    /// The encoder that `config` describes, without a classifier.
    pub(super) fn encoder(config: &Config) -> Self {
        Self::new(config, Head::Mlp(Pooling::First), 0)
    }

    /// The same under `head` over `classes` classes (0: no classifier).
    pub(super) fn new(config: &Config, head: Head, classes: usize) -> Self {
        let bert = config.architecture == Architecture::Bert;
        let prefix = if bert { "bert" } else { "distilbert" };
        let embeddings = |name: &str| format!("{prefix}.embeddings.{name}");
        Self {
            hidden: config.hidden_size,
            heads: config.heads,
            intermediate: config.intermediate_size,
            activation: config.activation,
            layer_norm_eps: config.layer_norm_eps as f32,
            dropout: config.dropout,
            attention_dropout: config.attention_dropout,
            output_dropout: if bert { config.dropout } else { 0.0 },
            words_kept: config.vocab_size,
            max_positions: config.max_positions,
            token_types: config.token_types,
            words: embeddings("word_embeddings.weight"),
            positions: embeddings("position_embeddings.weight"),
            types: bert.then(|| embeddings("token_type_embeddings.weight")),
            embedding_norm: embeddings("LayerNorm"),
            layers: (0..config.layers).map(|at| layer(bert, at)).collect(),
            head: match head {
                Head::Mlp(pooling) => HeadParts::Mlp {
                    pooling,
                    dense: if bert { "bert.pooler.dense" } else { "pre_classifier" }.to_owned(),
                    activation: if bert { HeadActivation::Tanh } else { HeadActivation::Relu },
                    dropout: config.head_dropout,
                },
                Head::Linear(pooling) => HeadParts::Linear(pooling),
            },
            classifier: "classifier".to_owned(),
            classes,
        }
    }

    /// How the hidden states of a text become one vector.
    pub(super) fn pooling(&self) -> Pooling {
        match self.head {
            HeadParts::Mlp { pooling, .. } | HeadParts::Linear(pooling) => pooling,
        }
    }

    /// Dropout before the classifier.
    pub(super) fn head_dropout(&self) -> f64 {
        match self.head {
            HeadParts::Mlp { dropout, .. } => dropout,
            HeadParts::Linear(_) => 0.0,
        }
    }

    /// The encoder's tensors.
    pub(super) fn encoder_tensors(&self) -> Vec<TensorSpec> {
        let width = self.hidden;
        let mut wanted = Vec::new();
        wanted.push(one(&self.words, &[self.words_kept, width]));
        wanted.push(one(&self.positions, &[self.max_positions, width]));
        wanted.extend(self.types.iter().map(|types| one(types, &[self.token_types, width])));
        wanted.extend(norm(&self.embedding_norm, width));
        for layer in &self.layers {
            for part in [&layer.query, &layer.key, &layer.value, &layer.output] {
                wanted.extend(dense(part, width, width));
            }
            wanted.extend(norm(&layer.attention_norm, width));
            wanted.extend(dense(&layer.up, self.intermediate, width));
            wanted.extend(dense(&layer.down, width, self.intermediate));
            wanted.extend(norm(&layer.norm, width));
        }
        wanted
    }

    /// The head's first dense layer, if it has one; a pretrained checkpoint may contain it.
    pub(super) fn dense_tensors(&self) -> Vec<TensorSpec> {
        match &self.head {
            HeadParts::Mlp { dense: part, .. } => dense(part, self.hidden, self.hidden).into(),
            HeadParts::Linear(_) => Vec::new(),
        }
    }

    /// The head's classifier: only a trained checkpoint has it.
    pub(super) fn classifier_tensors(&self) -> Vec<TensorSpec> {
        dense(&self.classifier, self.classes, self.hidden).into()
    }

    /// All tensors: those of the encoder, and of the head if there are classes.
    pub(super) fn tensors(&self) -> Vec<TensorSpec> {
        let mut wanted = self.encoder_tensors();
        if self.classes > 0 {
            wanted.extend(self.dense_tensors());
            wanted.extend(self.classifier_tensors());
        }
        wanted
    }

    /// Number of parameters in all tensors.
    pub(super) fn parameters(&self) -> usize {
        self.tensors().iter().map(|wanted| wanted.shape.iter().product::<usize>()).sum()
    }
}

fn layer(bert: bool, at: usize) -> LayerParts {
    let part = |bert_name: &str, distilbert_name: &str| match bert {
        true => format!("bert.encoder.layer.{at}.{bert_name}"),
        false => format!("distilbert.transformer.layer.{at}.{distilbert_name}"),
    };
    LayerParts {
        query: part("attention.self.query", "attention.q_lin"),
        key: part("attention.self.key", "attention.k_lin"),
        value: part("attention.self.value", "attention.v_lin"),
        output: part("attention.output.dense", "attention.out_lin"),
        attention_norm: part("attention.output.LayerNorm", "sa_layer_norm"),
        up: part("intermediate.dense", "ffn.lin1"),
        down: part("output.dense", "ffn.lin2"),
        norm: part("output.LayerNorm", "output_layer_norm"),
    }
}

fn one(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), shape: shape.to_vec() }
}

fn dense(part: &str, outputs: usize, inputs: usize) -> [TensorSpec; 2] {
    [one(&format!("{part}.weight"), &[outputs, inputs]), one(&format!("{part}.bias"), &[outputs])]
}

fn norm(part: &str, width: usize) -> [TensorSpec; 2] {
    [one(&format!("{part}.weight"), &[width]), one(&format!("{part}.bias"), &[width])]
}
