//! The student: a small DistilBERT or BERT that is fine-tuned on the texts the teacher wrote.
//!
//! Everything from a Hugging Face folder to a Hugging Face folder lives here: [`BaseModel`] reads
//! a pretrained encoder, [`train`] fine-tunes it under a new classification head, and the
//! [`Classifier`] that comes out predicts, saves itself and opens unchanged in `transformers`.
//!
//! The encoders are our own, for one reason: the stock layer norm and softmax of candle run
//! fused kernels that have no backward, and the gradient goes missing without an error. Ours
//! (`layers`) are made of differentiable ops, and on a CPU of fused ones with a backward of their
//! own (`fused`), tested against PyTorch's gradients for every parameter.
//!
//! | file | what it is for |
//! |---|---|
//! | `config` | `config.json`, read strictly and kept whole for the way back out |
//! | `weights` | `model.safetensors`: names, aliases, shapes, number types |
//! | `base` | the pretrained encoder with its tokenizer, cheap to clone |
//! | `rows` | a batch of token ids without its padding |
//! | `layers`, `distilbert`, `bert`, `head` | the networks |
//! | `fused`, `kernels`, `arith` | the same networks as fused CPU ops with a backward of their own |
//! | `optimizer`, `trainer` | AdamW, the schedule and the loop |
//! | `crew` | several trainings at once |
//! | `classifier`, `checkpoint` | the trained result, and how it is written |
//! | [`export`] | the trained result for others: Hugging Face folder, ONNX, both checked |
//!
//! Nothing here is global: students may be trained side by side ([`side_by_side`]).

mod arith;
mod base;
#[allow(dead_code)]
mod blueprint;
mod checkpoint;
mod classifier;
mod config;
mod crew;
#[allow(dead_code)]
mod dropout;
mod error;
pub mod export;
mod graph;
#[allow(dead_code)]
mod network;
#[allow(dead_code)]
mod rows;
mod tokens;
mod trainer;
mod weights;

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod parity;

use candle_core::Tensor;

pub use base::BaseModel;
pub use classifier::Classifier;
pub use config::{Architecture, Config, Pooling};
pub use crew::side_by_side;
pub use error::StudentError;
pub use graph::dropout::DropoutRng;
pub use graph::rows::Rows;
pub use trainer::{Example, TrainSettings, TrainStep, train};

/// Result of everything the student does.
pub type Result<T> = std::result::Result<T, StudentError>;

/// A network from token ids to one hidden vector per token: the seam between the networks and
/// everything that trains, pools or embeds with them.
pub trait Encoder: Send + Sync {
    /// Width of a hidden vector.
    fn hidden_size(&self) -> usize;

    /// Last hidden states of the rows' tokens, `[tokens, hidden]`. Dropout only where its
    /// generator is given.
    fn encode(&self, rows: &Rows, dropout: Option<&mut DropoutRng>) -> Result<Tensor>;

    /// Last hidden states of a padded batch, `[batch, seq, hidden]`; `ids` and `mask` are
    /// `[batch, seq]` u32, the mask 1 for a token and 0 for padding, whose states are zero.
    fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        dropout: Option<&mut DropoutRng>,
    ) -> Result<Tensor> {
        let rows = Rows::from_padded(ids, mask)?;
        let hidden = self.encode(&rows, dropout)?;
        rows.unpack(&hidden)
    }
}
