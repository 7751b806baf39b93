//! DistilBERT (Sanh et al. 2019, arXiv 1910.01108), as in Hugging Face's `modeling_distilbert.py`.
//!
//! Word and position embeddings, layer norm, dropout, then post-norm transformer layers. There
//! are no token types and no pooler, and the attention's dense layer has no dropout.

use candle_core::Tensor;

use super::super::config::Config;
use super::layers::{Block, Embeddings, Names, Norm, Params, Shape};
use super::{DropoutRng, Encoder, Result, Rows};

const NAMES: Names = Names {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

pub(in crate::student) const WORDS: &str = "distilbert.embeddings.word_embeddings.weight";
const POSITIONS: &str = "distilbert.embeddings.position_embeddings.weight";
const EMBEDDING_NORM: &str = "distilbert.embeddings.LayerNorm";

fn layer(at: usize) -> String {
    format!("distilbert.transformer.layer.{at}")
}

/// The encoder.
pub(in crate::student) struct DistilBert {
    embeddings: Embeddings,
    blocks: Vec<Block>,
}

impl DistilBert {
    /// Builds the network over `params`, which it shares.
    pub fn new(config: &Config, params: &Params) -> Result<Self> {
        let shape = Shape {
            heads: config.heads,
            activation: config.activation,
            eps: config.layer_norm_eps,
            attention_dropout: config.attention_dropout,
            output_dropout: 0.0,
            dropout: config.dropout,
        };
        Ok(Self {
            embeddings: Embeddings {
                words: params.take(WORDS)?,
                positions: params.take(POSITIONS)?,
                types: None,
                norm: Norm::new(params, EMBEDDING_NORM, config.layer_norm_eps)?,
                dropout: config.dropout,
                sink: params.sink.clone(),
            },
            blocks: (0..config.layers)
                .map(|at| Block::new(params, &layer(at), &NAMES, shape))
                .collect::<Result<_>>()?,
        })
    }
}

impl Encoder for DistilBert {
    fn hidden_size(&self) -> usize {
        self.embeddings.words.dims()[1]
    }

    fn encode(&self, rows: &Rows, mut dropout: Option<&mut DropoutRng>) -> Result<Tensor> {
        let mut x = self.embeddings.forward(rows, &mut dropout)?;
        for block in &self.blocks {
            x = block.forward(&x, rows, &mut dropout)?;
        }
        Ok(x)
    }
}
