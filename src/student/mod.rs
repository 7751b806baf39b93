//! The student: a small DistilBERT or BERT that is fine-tuned on the texts the teacher wrote.
//!
//! Everything from a Hugging Face folder to a Hugging Face folder lives here: [`BaseModel`] reads
//! a pretrained encoder, a [`Training`] fine-tunes it under a new classification head, and the
//! [`Classifier`] that comes out predicts, saves itself and opens unchanged in `transformers`.
//!
//! The networks are our own, for one reason: the stock layer norm and softmax of candle run
//! fused kernels that have no backward, and the gradient goes missing without an error. Ours are
//! tested against PyTorch's gradients for every weight.
//!
//! | file | what it is for |
//! |---|---|
//! | `config` | `config.json`, read strictly and kept whole for the way back out |
//! | `weights` | `model.safetensors`, mapped and checked: names, aliases, shapes, number types |
//! | `base` | the pretrained encoder with its tokenizer, cheap to clone |
//! | `blueprint`, `network` | what a network is made of; the seam between the engines and the rest |
//! | `cpu` | the engine written by hand, for CPUs |
//! | `quantised` | dense layers in 8 bits |
//! | `graph` | the engine of candle's differentiable ops: GPUs, and the tests' ruler |
//! | `device` | where the engines run: the GPU that a build is for, or the CPU |
//! | `rows`, `dropout`, `optimizer` | what engines share: packed batches, dropout, AdamW's numbers |
//! | `train` | objective, loop, stages, early stopping, snapshots |
//! | `crew` | several trainings at once |
//! | `bench` | what a student does in a second on this machine |
//! | `classifier`, `checkpoint` | the trained result, and how it is written |
//! | `classify` | passes, streams, calibrated probabilities |
//! | [`export`] | the trained result for others: Hugging Face folder, ONNX, both checked |
//! | `vocabulary` | a tokenizer for folders that hold `vocab.txt` alone |
//!
//! Nothing here is global: students may be trained side by side ([`side_by_side`]).

mod base;
pub mod bench;
mod blueprint;
mod checkpoint;
mod classifier;
mod classify;
mod config;
mod cpu;
mod crew;
mod device;
mod dropout;
mod error;
pub mod export;
mod graph;
mod network;
mod optimizer;
mod quantised;
mod rows;
mod tokens;
mod train;
mod vocabulary;
mod weights;

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod parity;

pub use base::BaseModel;
pub use classifier::Classifier;
pub use classify::{Prediction, SentenceEncoder, Stream, Temperature, Texts, calibrate, largest};
pub use config::{Architecture, Config, Pooling};
pub use cpu::Precision;
pub use crew::{Crew, side_by_side};
pub use device::device;
pub use error::StudentError;
pub use train::{
    ClassWeights, Corpus, Epoch, Example, Loss, OutOfRange, Snapshots, Stages, TrainOutcome,
    TrainSettings, TrainStep, Training, Validation, most_memory, steps,
};

/// Result of everything the student does.
pub type Result<T> = std::result::Result<T, StudentError>;
