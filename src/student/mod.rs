//! The student: a small DistilBERT or BERT that is fine-tuned on the texts that the teacher wrote.
//!
//! A [`BaseModel`] reads a pretrained encoder from a Hugging Face folder, a [`Training`] fine-tunes
//! it under a new classification head, and the resulting [`Classifier`] predicts and saves itself
//! to a folder that `transformers` opens unchanged.
//!
//! The networks are our own because candle's layer norm and softmax use fused kernels without a
//! backward pass, and drop the gradient without an error. Ours are tested against PyTorch's
//! gradients for every weight.
//!
//! | file | what it is for |
//! |---|---|
//! | `folder` | the files of a model folder: regular ones, of limited size |
//! | `config`, `labels` | `config.json`, parsed strictly; the classes of a checkpoint |
//! | `weights` | `model.safetensors`, mapped and checked: names, aliases, shapes, number types |
//! | `tokens`, `tokenizer_bounds` | texts to token ids; what a tokenizer may do |
//! | `companions`, `vocabulary` | the files beside `tokenizer.json`; a tokenizer from `vocab.txt` alone |
//! | `coverage` | whether a vocabulary has the words of some texts |
//! | `sentence` | the files of sentence-transformers: pooling, default prompt |
//! | `base` | the pretrained encoder with its tokenizer, cheap to clone |
//! | `model_spec` | the tensors and dimensions of a network |
//! | `network`, `engine` | the traits of the engines, and the choice by device |
//! | `cpu` | the hand-written engine for CPUs |
//! | `quantised` | dense layers in 8 bits |
//! | `graph` | the engine of candle's differentiable ops: for GPUs, and the reference in tests |
//! | `device` | where the engines run: the GPU that a build supports, otherwise the CPU |
//! | `packed_batch`, `dropout`, `optimizer` | shared by the engines |
//! | `train` | loss, training loop, stages, early stopping, snapshots |
//! | `probe` | logistic regression on the embeddings of a frozen encoder |
//! | `parallel` | several trainings at once |
//! | `bench` | measures the speed of students on this machine |
//! | `classifier`, `checkpoint`, `resident` | the trained classifier, how it is written, how it goes on without its files |
//! | `classify` | passes, streams, calibrated probabilities |
//! | `confidence` | out-of-scope score and held-out answers, kept with the student |
//! | `occlusion` | the words that speak for and against a label |
//! | `embedder`, `word_neighbours` | embeddings of texts and words from the encoder |
//! | `untrusted` | the readers by themselves, for the fuzz targets |
//! | [`export`] | a Hugging Face folder or an ONNX file, checked |
//!
//! There is no global state: students can be trained in parallel ([`run_parallel`]).

mod base;
pub(crate) mod bench;
mod checkpoint;
mod classifier;
mod classify;
mod companions;
mod confidence;
mod config;
mod coverage;
mod cpu;
mod device;
mod dropout;
mod embedder;
mod engine;
mod error;
pub(crate) mod export;
mod folder;
mod graph;
mod labels;
mod model_spec;
mod network;
mod occlusion;
mod optimizer;
mod packed_batch;
mod parallel;
pub(crate) mod probe;
mod quantised;
mod resident;
mod sentence;
mod tokenizer_bounds;
mod tokens;
pub(crate) mod train;
pub(crate) mod untrusted;
mod vocabulary;
mod weights;
pub(crate) mod word_neighbours;

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod parity;

pub(crate) use base::BaseModel;
pub(crate) use classifier::{Classifier, Reading, Scores};
pub(crate) use classify::{
    Item, Prediction, SentenceEncoder, Temperature, Texts, calibrate, largest,
};
pub(crate) use confidence::keep_answers;
#[cfg(test)]
pub(crate) use config::Config;
pub(crate) use config::{Architecture, Head, HeadKind, Pooling};
pub(crate) use coverage::Coverage;
pub(crate) use cpu::Precision;
pub(crate) use device::device;
pub(crate) use embedder::EncoderEmbedder;
pub(crate) use error::StudentError;
pub(crate) use occlusion::WordEffect;
pub(crate) use parallel::{Parallelism, run_parallel};
pub(crate) use train::{
    Choice, Corpus, Example, OutOfRange, Snapshots, TokenLengths, TrainSettings, TrainStep,
    Training, disk_estimate, max_memory_estimate, steps,
};

/// Result of the student's functions.
pub(crate) type Result<T> = std::result::Result<T, StudentError>;
