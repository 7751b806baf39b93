//! BERT (Devlin et al. 2018, arXiv 1810.04805), as in Hugging Face's `modeling_bert.py`, and its
//! small kin such as MiniLM.
//!
//! Word, position and token-type embeddings (one text at a time, so type 0 throughout), layer
//! norm, dropout, then post-norm transformer layers. The pooler belongs to the head.

use candle_core::Tensor;

use super::super::config::Config;
use super::layers::{Block, Embeddings, Names, Norm, Params, Shape};
use super::{DropoutRng, Encoder, Result, Rows};

const NAMES: Names = Names {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

pub(in crate::student) const WORDS: &str = "bert.embeddings.word_embeddings.weight";
const POSITIONS: &str = "bert.embeddings.position_embeddings.weight";
const TYPES: &str = "bert.embeddings.token_type_embeddings.weight";
const EMBEDDING_NORM: &str = "bert.embeddings.LayerNorm";

fn layer(at: usize) -> String {
    format!("bert.encoder.layer.{at}")
}

/// The encoder.
pub(in crate::student) struct Bert {
    embeddings: Embeddings,
    blocks: Vec<Block>,
}

impl Bert {
    /// Builds the network over `params`, which it shares.
    pub fn new(config: &Config, params: &Params) -> Result<Self> {
        let shape = Shape {
            heads: config.heads,
            activation: config.activation,
            eps: config.layer_norm_eps,
            attention_dropout: config.attention_dropout,
            output_dropout: config.dropout,
            dropout: config.dropout,
        };
        Ok(Self {
            embeddings: Embeddings {
                words: params.take(WORDS)?,
                positions: params.take(POSITIONS)?,
                types: Some(params.take(TYPES)?),
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

impl Encoder for Bert {
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
