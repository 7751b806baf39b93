//! The teacher: a language model that writes texts and scores labels.
//!
//! [`Teacher`] is the seam. Work comes as a list of requests that the engine cuts into *waves* of a
//! fixed size; a wave is evaluated as one batch and handed over whole. What a request answers
//! depends on its wave alone, so a run that was killed goes on wave by wave and ends with the same
//! rows as one that was not.

mod chat;
pub mod grammar;
pub mod llama;
mod sampler;

use std::{error::Error, io, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use sampler::{Row, Sampler, Sampling};

/// Why a teacher could not serve.
#[derive(Debug, thiserror::Error)]
pub enum TeacherError {
    #[error(
        "the teacher model {path} does not exist\nhint: give a GGUF file with --teacher FILE, or `pocket` for the embedded one"
    )]
    Missing { path: PathBuf },
    #[error("cannot read the teacher model {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not a whole GGUF model: {message}\nhint: fetch the file again and compare its sha256"
    )]
    Load { path: PathBuf, message: String },
    #[error("llama.cpp could not start: {message}")]
    Backend { message: String },
    #[error(
        "no memory for a context of {cells} tokens: {message}\nhint: lower `teacher.batch`, or choose a smaller model"
    )]
    Context { cells: u32, message: String },
    #[error(
        "request {id} needs {needed} tokens but {model} was trained for {limit}\nhint: fewer seeds (`shots`), fewer classes per prompt (`augment.classes_shown`) or shorter texts"
    )]
    TooLong { id: String, needed: usize, limit: usize, model: String },
    #[error("the teacher failed on a batch: {message}")]
    Decode { message: String },
    #[error(
        "the chat template of {model} does not render: {message}\nhint: set `teacher.chat_template` to a template file, or to \"chatml\""
    )]
    ChatTemplate { model: String, message: String },
    #[error("{0}")]
    Stopped(#[source] Box<dyn Error + Send + Sync>),
}

/// Which model answered: part of every row's provenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeacherIdentity {
    /// `general.name` of the GGUF, or the file name.
    pub name: String,
    pub file: PathBuf,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Number of weights.
    pub parameters: u64,
}

/// Asks for new text.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// Names the request in errors.
    pub id: String,
    /// The user's turn.
    pub prompt: String,
    /// What the reply is made to begin with; part of the answer.
    pub cue: &'static str,
    /// The reply ends after this many lines that hold text.
    pub lines: usize,
    /// Key of the request's own random stream.
    pub seed: u64,
    pub max_tokens: usize,
    pub sampling: Sampling,
}

/// A reply, cue included.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    pub text: String,
    /// False if the reply ran into `max_tokens`.
    pub complete: bool,
    pub prompt_tokens: usize,
    pub generated_tokens: usize,
}

/// Asks how probable each of `candidates` is as the whole answer.
#[derive(Debug, Clone)]
pub struct ScoreRequest {
    pub id: String,
    pub prompt: String,
    pub candidates: Vec<String>,
}

/// One score for each candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// ln p(candidate and then the end of the turn | prompt), natural logarithm.
    pub log_probs: Vec<f32>,
    pub prompt_tokens: usize,
}

impl Scored {
    /// The probabilities renormalised over the candidates; they add up to 1.
    pub fn probabilities(&self) -> Vec<f32> {
        normalise(&self.log_probs)
    }
}

/// Softmax over natural logarithms.
pub fn normalise(log_probs: &[f32]) -> Vec<f32> {
    let top = log_probs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = log_probs.iter().map(|value| (value - top).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Receives a finished wave: the index of its first request and the answers in order. An error
/// stops the work and comes back as [`TeacherError::Stopped`].
pub type WaveSink<'a, T> =
    &'a mut dyn FnMut(usize, Vec<T>) -> Result<(), Box<dyn Error + Send + Sync>>;

/// A model that writes and scores.
///
/// In both calls `done[i]` marks requests whose answers are known from an earlier run: a wave is
/// skipped when all of it is done.
pub trait Teacher {
    fn identity(&self) -> &TeacherIdentity;

    /// Number of tokens of `prompt` as the user's turn, chat template included.
    fn prompt_tokens(&self, prompt: &str) -> Result<usize, TeacherError>;

    /// Writes one reply for each request.
    fn generate(
        &mut self,
        requests: &[GenerateRequest],
        done: &[bool],
        sink: WaveSink<'_, Generated>,
    ) -> Result<(), TeacherError>;

    /// Scores the candidates of each request.
    fn score(
        &mut self,
        requests: &[ScoreRequest],
        done: &[bool],
        sink: WaveSink<'_, Scored>,
    ) -> Result<(), TeacherError>;
}
