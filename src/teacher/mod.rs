//! The teacher: a language model that writes texts and scores labels.
//!
//! [`Teacher`] is the seam: requests go in, answers come out through a [`Sink`] as they are ready, in
//! any order. [`llama`] is the engine on llama.cpp. It can end the process it runs in, so it lives
//! in a child process that [`worker`] starts, watches and replaces; [`InProcess`] runs it here, for
//! profiling. [`replay`] needs no model: it answers from what was recorded.

pub(crate) mod chat;
pub(crate) mod grammar;
mod in_process;
pub(crate) mod llama;
pub(crate) mod replay;
mod sampler;
pub(crate) mod worker;

use std::{error::Error, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::hint::Hint;
pub(crate) use in_process::InProcess;
pub(crate) use sampler::{Row, Sampler, Sampling};

/// Why a teacher could not serve.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum TeacherError {
    #[error(
        "the teacher model {path} does not exist\nhint: give a GGUF file with --teacher FILE, or `pocket` for the embedded one"
    )]
    Missing { path: PathBuf },
    #[error("cannot read the teacher model {path}: {message}")]
    Read { path: PathBuf, message: String },
    #[error(
        "{path} is not a whole GGUF model: {message}\nhint: fetch the file again and compare its sha256"
    )]
    Load { path: PathBuf, message: String },
    /// What the check of the header says, with its hint.
    #[error("{message}")]
    Unsound { message: String },
    #[error("llama.cpp could not start: {message}")]
    Backend { message: String },
    #[error(
        "no memory for a context of {cells} tokens ({megabytes} MB of {free_megabytes} MB that are free): {message}\nhint: lower `teacher.context` or `teacher.slots`, choose a smaller `teacher.kv_type` or a smaller model"
    )]
    Context { cells: usize, megabytes: u64, free_megabytes: u64, message: String },
    #[error(
        "request {id} needs a context of {cells} tokens ({megabytes} MB); there is room for {room}\nhint: raise `teacher.context`, choose a smaller `teacher.kv_type` or a smaller model, or shorten the prompts"
    )]
    NoRoom { id: String, cells: usize, room: usize, megabytes: u64 },
    #[error(
        "{path} cannot be a teacher: its architecture is {architecture:?}, {why}\nhint: take an instruction-tuned language model, such as Qwen, Llama, Gemma or Mistral"
    )]
    Unsuited { path: PathBuf, architecture: String, why: String },
    #[error(
        "request {id} is empty\nhint: the chat template writes nothing; set `teacher.chat_template`"
    )]
    Empty { id: String },
    #[error("teacher.devices: {message}\nhint: the devices are: {known}")]
    Devices { message: String, known: String },
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
    /// The process that the engine runs in does not start or does not live.
    #[error("the teacher's process {message}\nhint: {hint}")]
    Worker { message: String, hint: String },
    #[error(
        "{file} has no answer to {missing} of {asked} requests, the first of them {id}\nhint: {hint}"
    )]
    Unrecorded { id: String, missing: usize, asked: usize, file: PathBuf, hint: String },
    /// The receiver of the answers wanted no more.
    #[error("{0}")]
    #[serde(skip)]
    Stopped(#[source] Box<dyn Error + Send + Sync>),
}

impl Hint for TeacherError {}

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
    /// SHA-256 (hex) of a fixed text in the model's chat template: the same words in another
    /// template are another prompt.
    #[serde(default)]
    pub template_sha256: String,
    /// Most tokens of a prompt and its reply together.
    pub context: usize,
}

impl TeacherIdentity {
    /// What an answer depends on beside its request.
    fn work(&self) -> (&str, &str) {
        (&self.sha256, &self.template_sha256)
    }
}

/// How a model is laid over several devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SplitMode {
    /// All of it on one device.
    None,
    #[default]
    Layer,
    Row,
}

/// Whether attention runs in one fused operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FlashAttention {
    /// Where the device has it.
    #[default]
    Auto,
    On,
    Off,
}

/// Type of the numbers in the cache of keys and values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KvType {
    F32,
    #[default]
    F16,
    Bf16,
    Q8_0,
    Q5_0,
    Q4_0,
}

/// Asks for new text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GenerateRequest {
    /// Names the request in errors.
    pub id: String,
    /// The user's turn.
    pub prompt: String,
    /// What the reply is made to begin with; part of the answer.
    pub cue: String,
    /// The reply ends after this many lines that hold text.
    pub lines: usize,
    /// Most characters of one line's text.
    pub longest: usize,
    /// Whether the reply is held to the grammar of a numbered list of `lines` lines.
    pub constrained: bool,
    /// Key of the request's own random stream.
    pub seed: u64,
    pub max_tokens: usize,
    pub sampling: Sampling,
    /// For teachers that do not read prompts.
    #[serde(skip)]
    pub wanted: Wanted,
}

impl GenerateRequest {
    /// SHA-256 (hex) of everything that the reply of `teacher` depends on: the name of the call in
    /// the ledger.
    pub(crate) fn key(&self, teacher: &TeacherIdentity) -> String {
        let Self { prompt, cue, lines, longest, constrained, seed, max_tokens, sampling, .. } =
            self;
        let form = (cue, lines, longest, constrained, max_tokens);
        digest(&(teacher.work(), prompt, seed, sampling, form))
    }
}

/// The classes that a new text is to lie between, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub major: String,
    pub minor: String,
}

/// A reply, cue included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generated {
    pub text: String,
    /// False if the reply ran into `max_tokens`.
    pub complete: bool,
    pub prompt_tokens: usize,
    pub generated_tokens: usize,
}

/// Asks how probable each of `candidates` is as the whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoreRequest {
    pub id: String,
    pub prompt: String,
    pub candidates: Vec<String>,
    /// The text that the prompt asks about: for teachers that do not read prompts.
    #[serde(skip)]
    pub text: String,
}

impl ScoreRequest {
    /// As [`GenerateRequest::key`].
    pub(crate) fn key(&self, teacher: &TeacherIdentity) -> String {
        digest(&(teacher.work(), &self.prompt, &self.candidates))
    }
}

fn digest(parts: &impl Serialize) -> String {
    let json = serde_json::to_vec(parts).expect("keys are plain values");
    crate::hash::of_bytes(json)
}

/// One score for each candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scored {
    /// ln p(candidate and then the end of the turn | prompt), natural logarithm; finite.
    pub log_probs: Vec<f32>,
    /// Tokens of each candidate's name.
    pub tokens: Vec<usize>,
    pub prompt_tokens: usize,
}

impl Scored {
    /// The same with what is impossible (ln 0) as the smallest number, since infinities can be
    /// neither sent nor kept as JSON.
    ///
    /// # Errors
    /// Scores that are no numbers: the model's weights are broken.
    fn finite(mut self) -> Result<Self, TeacherError> {
        for log_prob in &mut self.log_probs {
            if log_prob.is_nan() {
                return Err(TeacherError::Decode {
                    message: "its scores are not numbers\nhint: the model file may be damaged; try another one".to_owned(),
                });
            }
            *log_prob = log_prob.max(f32::MIN);
        }
        Ok(self)
    }
}

/// Softmax over natural logarithms.
pub(crate) fn normalise(log_probs: &[f32]) -> Vec<f32> {
    let top = log_probs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = log_probs.iter().map(|value| (value - top).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// A prompt as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The whole text, chat template included, up to the reply.
    pub rendered: String,
    pub tokens: usize,
}

/// A request that cannot be answered: it ended the engine each time it was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Poison {
    /// How it ended the engine.
    pub reason: String,
}

pub(crate) type Answer<T> = Result<T, Poison>;

/// What a teacher tells while it works.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TeacherEvent<T> {
    /// Answers, each with the index of its request, in any order; each index comes once.
    Answers(Vec<(usize, Answer<T>)>),
    /// The engine ended unexpectedly and is being started again; why.
    Restarted(String),
}

/// Receives event as they come. An error stops the work and comes back as [`TeacherError::Stopped`].
pub(crate) type Sink<'a, T> =
    &'a mut dyn FnMut(TeacherEvent<T>) -> Result<(), Box<dyn Error + Send + Sync>>;

/// What an engine reports while it works on a list of requests, by their indices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Step<T> {
    /// Work on these requests begins.
    Began(Vec<usize>),
    Done(Vec<(usize, T)>),
    /// Nothing is finished yet, but work goes on.
    Alive,
}

/// Receives an engine's steps. An error stops the work and comes back as [`TeacherError::Stopped`].
pub(crate) type StepSink<'a, T> =
    &'a mut dyn FnMut(Step<T>) -> Result<(), Box<dyn Error + Send + Sync>>;

/// A model that writes and scores.
pub(crate) trait Teacher {
    fn identity(&self) -> &TeacherIdentity;

    /// Whether any text can be scored, those of the test set too.
    fn scores_any_text(&self) -> bool {
        true
    }

    /// The prompts as the model sees them (chat template included) and their lengths in tokens.
    fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError>;

    /// Writes one reply for each request.
    fn generate(
        &mut self,
        requests: &[GenerateRequest],
        sink: Sink<'_, Generated>,
    ) -> Result<(), TeacherError>;

    /// Scores the candidates of each request.
    fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: Sink<'_, Scored>,
    ) -> Result<(), TeacherError>;
}
