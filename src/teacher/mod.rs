//! The teacher: a language model that writes texts and scores labels.
//!
//! [`Teacher`] is the interface: it takes a list of requests and passes the answers to a [`Sink`]
//! as they become ready, in any order. [`llama`] is the engine on llama.cpp. llama.cpp can abort
//! its process, so the engine runs in a child process that [`worker`] starts, watches and replaces;
//! [`InProcess`] runs it in this process, for profiling. `remote` asks an engine behind an address,
//! if the user allows it. [`replay`] needs no model: it answers from a recording.

pub(crate) mod chat;
pub(crate) mod grammar;
mod in_process;
pub(crate) mod llama;
#[cfg(all(target_os = "linux", feature = "remote"))]
pub(crate) mod remote;
pub(crate) mod replay;
mod sampler;
mod tokens;
mod trie;
pub(crate) mod worker;

use std::{borrow::Cow, error::Error, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{counted::part, hint::Hint};
pub(crate) use in_process::InProcess;
pub(crate) use sampler::{LogitsRow, Sampler, Sampling};

/// Why a teacher could not serve. Workers send it to their supervisor as JSON.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum TeacherError {
    #[error("the teacher model {path} does not exist")]
    Missing { path: PathBuf },
    #[error("cannot read the teacher model {path}: {message}")]
    Read { path: PathBuf, message: String, hint: Option<String> },
    #[error("{path} is not a complete GGUF model: {message}")]
    Load { path: PathBuf, message: String },
    /// The file failed the check of its header; message and hint are those of the check.
    #[error("{message}")]
    Unsound { message: String, hint: Option<String> },
    #[error("llama.cpp could not start: {message}")]
    Backend { message: String },
    #[cfg(feature = "cpu-variants")]
    #[error("{path} {what}")]
    Kernels { path: PathBuf, what: String },
    #[error(
        "not enough memory for a context of {cells} tokens ({megabytes} MB, {free_megabytes} MB free): {message}"
    )]
    Context { cells: usize, megabytes: u64, free_megabytes: u64, message: String },
    #[error("request {id} needs a context of {cells} tokens ({megabytes} MB); only {limit} fit")]
    NoRoom { id: String, cells: usize, limit: usize, megabytes: u64 },
    #[error("{path} cannot be a teacher: its architecture is {architecture:?}, {why}")]
    Unsuited { path: PathBuf, architecture: String, why: String },
    #[error("the prompt of request {id} is empty")]
    Empty { id: String },
    #[error("teacher.devices: {message}")]
    Devices { message: String, known: String },
    #[error("request {id} needs {needed} tokens, but {model} was trained for {limit}")]
    TooLong { id: String, needed: usize, limit: usize, model: String },
    #[error("the teacher failed on a batch: {message}")]
    Decode { message: String },
    #[error("the teacher's scores are not numbers")]
    NotANumber,
    #[error("the teacher did not answer request {id}")]
    NoAnswer { id: String },
    #[error("the chat template of {model} does not render: {message}")]
    ChatTemplate { model: String, message: String },
    /// An engine behind an address.
    #[error("the teacher at {address}: {message}")]
    Address { address: String, message: String, hint: String },
    /// The worker process does not start, or keeps ending.
    #[error("the teacher's process {message}")]
    Worker { message: String, hint: String },
    #[error(
        "{file} has no answer to {}; the first of them is {id}",
        part(*missing, *asked, "request")
    )]
    Unrecorded { id: String, missing: usize, asked: usize, file: PathBuf, hint: String },
    /// The receiver of the answers returned an error. That error is the source as well as the
    /// message, so that the hint it may have is found.
    #[error("{0}")]
    #[serde(skip)]
    Stopped(#[source] Box<dyn Error + Send + Sync>),
}

impl Hint for TeacherError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Missing { .. } => {
                "give a GGUF file with --teacher FILE, or `pocket` for the embedded one".into()
            }
            #[cfg(feature = "cpu-variants")]
            Self::Kernels { .. } => "unset PROMPTMIX_KERNELS if it is set; otherwise install the \
                 whole package: the program in `bin` finds llama.cpp's kernels in `lib/promptmix` beside it"
                .into(),
            Self::Load { .. } => "download the file again and compare its sha256".into(),
            Self::Context { .. } => "lower `teacher.context` or `teacher.slots`, choose a smaller \
                 `teacher.kv_type` or a smaller model"
                .into(),
            Self::NoRoom { .. } => {
                "raise `teacher.context`, choose a smaller `teacher.kv_type` or \
                 a smaller model, or shorten the prompts"
                    .into()
            }
            Self::Unsuited { .. } => "choose an instruction-tuned language model, such as Qwen, \
                 Llama, Gemma or Mistral"
                .into(),
            Self::Empty { .. } => {
                "the chat template renders to nothing; set `teacher.chat_template`".into()
            }
            Self::Devices { known, .. } => format!("the devices are: {known}").into(),
            Self::TooLong { .. } => "use fewer seeds (`shots`), fewer classes per prompt \
                 (`augment.classes_shown`) or shorter texts"
                .into(),
            Self::Decode { .. } => {
                "a lower `teacher.slots` or a larger `teacher.context` may help".into()
            }
            Self::NotANumber => "the model file may be damaged; try another one".into(),
            Self::NoAnswer { .. } => "rerun the same command; finished work is kept".into(),
            Self::ChatTemplate { .. } => {
                "set `teacher.chat_template` to a template file, or to \"chatml\"".into()
            }
            Self::Read { hint, .. } | Self::Unsound { hint, .. } => hint.as_deref()?.into(),
            Self::Worker { hint, .. }
            | Self::Unrecorded { hint, .. }
            | Self::Address { hint, .. } => hint.into(),
            Self::Backend { .. } | Self::Stopped(_) => return None,
        })
    }
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
    /// SHA-256 (hex) of a fixed text rendered with the model's chat template: the same words in
    /// another template are a different prompt.
    #[serde(default)]
    pub template_sha256: String,
    /// Maximum number of tokens of a prompt and its reply together.
    pub context: usize,
    /// For a teacher behind addresses. `file` is then where tokenizer and chat template come from,
    /// and `sha256` covers that file and the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Box<RemoteIdentity>>,
}

/// Which engine answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoteIdentity {
    /// `llama-server`, `vLLM` or `SGLang`.
    pub engine: String,
    /// Where the prompts were sent.
    pub addresses: Vec<String>,
    /// ln p of a few answers to a fixed prompt: another model under the same name gives others.
    pub probe: Vec<f32>,
}

// The probe has no NaN.
impl Eq for RemoteIdentity {}

impl RemoteIdentity {
    /// Whether two probes are of one model: their total variation distance is at most 0.1. The
    /// rounding of batches alone moves a few per cent.
    pub(crate) fn agree(a: &[f32], b: &[f32]) -> bool {
        let apart: f32 = a.iter().zip(b).map(|(a, b)| (a.exp() - b.exp()).abs()).sum();
        a.len() == b.len() && apart / 2.0 <= 0.1
    }
}

impl TeacherIdentity {
    /// What an answer depends on besides its request.
    fn fingerprint(&self) -> (&str, &str) {
        (&self.sha256, &self.template_sha256)
    }

    /// Where it answers, if not on this machine.
    pub(crate) fn addresses(&self) -> &[String] {
        self.remote.as_ref().map_or(&[], |remote| &remote.addresses)
    }

    /// Whether both are the same model, wherever it runs.
    pub(crate) fn is_same_model(&self, other: &Self) -> bool {
        let probes_agree = match (&self.remote, &other.remote) {
            (Some(a), Some(b)) => RemoteIdentity::agree(&a.probe, &b.probe),
            (a, b) => a.is_none() == b.is_none(),
        };
        self.sha256 == other.sha256 && probes_agree
    }

    /// Whether both say the same about the model and where it runs.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let without_probe = |identity: &Self| {
            let mut identity = identity.clone();
            identity.remote.iter_mut().for_each(|remote| remote.probe.clear());
            identity
        };
        self.is_same_model(other) && without_probe(self) == without_probe(other)
    }
}

/// How a model is split over several devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SplitMode {
    /// Everything on one device.
    None,
    #[default]
    Layer,
    Row,
}

/// Whether attention runs as one fused operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FlashAttention {
    /// Where the device supports it.
    #[default]
    Auto,
    On,
    Off,
}

/// Number type of the KV cache.
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

/// A request for new text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GenerateRequest {
    /// Names the request in errors.
    pub id: String,
    /// The user's turn.
    pub prompt: String,
    /// The forced beginning of the reply; part of the answer.
    pub cue: String,
    /// The reply ends after this many non-empty lines.
    pub lines: usize,
    /// Maximum number of characters in a line's text.
    pub longest: usize,
    /// Whether the reply is constrained to a numbered list of `lines` lines.
    pub constrained: bool,
    /// Key of the request's own random stream.
    pub seed: u64,
    pub max_tokens: usize,
    pub sampling: Sampling,
    /// For teachers that do not read the prompt.
    #[serde(skip)]
    pub wanted: Wanted,
}

impl GenerateRequest {
    /// SHA-256 (hex) of everything that the reply of `teacher` depends on: the key of the call in
    /// the ledger.
    pub(crate) fn key(&self, teacher: &TeacherIdentity) -> String {
        let Self { prompt, cue, lines, longest, constrained, seed, max_tokens, sampling, .. } =
            self;
        let form = (cue, lines, longest, constrained, max_tokens);
        digest(&(teacher.fingerprint(), prompt, seed, sampling, form))
    }
}

/// The names of the classes that a new text should lie between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub major: String,
    pub minor: String,
}

/// A reply, including its cue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generated {
    pub text: String,
    /// False if the reply was cut off at `max_tokens`.
    pub complete: bool,
    pub prompt_tokens: usize,
    pub generated_tokens: usize,
}

/// What the score of a label is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LabelScoring {
    /// The probability that the teacher answers with the whole name and nothing else: that of each
    /// of its tokens and of the end of the answer.
    #[default]
    Sequence,
    /// The probability that the teacher arrives at the name if it can only write names: wherever
    /// names differ, that of the next token among those that continue a name. Tokens that are the
    /// only way to go on count as certain and are not evaluated, so long names are at no
    /// disadvantage, and names that differ in their first token cost nothing beyond the prompt.
    Branch,
}

/// A request for the probability of each of `candidates` as the whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoreRequest {
    pub id: String,
    pub prompt: String,
    pub candidates: Vec<String>,
    pub scoring: LabelScoring,
    /// The text that the prompt asks about, for teachers that do not read the prompt.
    #[serde(skip)]
    pub text: String,
}

impl ScoreRequest {
    /// As [`GenerateRequest::key`].
    pub(crate) fn key(&self, teacher: &TeacherIdentity) -> String {
        let Self { prompt, candidates, scoring, .. } = self;
        match scoring {
            // The keys of ledgers that were written before there was a choice.
            LabelScoring::Sequence => digest(&(teacher.fingerprint(), prompt, candidates)),
            LabelScoring::Branch => digest(&(teacher.fingerprint(), prompt, candidates, scoring)),
        }
    }
}

fn digest(parts: &impl Serialize) -> String {
    let json = serde_json::to_vec(parts).expect("keys are plain values");
    crate::hash::of_bytes(json)
}

/// One score for each candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scored {
    /// ln p of each candidate ([`LabelScoring`]), natural logarithm; finite.
    pub log_probs: Vec<f32>,
    /// Number of tokens of each candidate.
    pub tokens: Vec<usize>,
    pub prompt_tokens: usize,
}

impl Scored {
    /// Replaces ln 0 by the smallest finite number, since JSON has no infinity.
    ///
    /// # Errors
    /// A score that is NaN: the model's weights are broken.
    fn finite(mut self) -> Result<Self, TeacherError> {
        for log_prob in &mut self.log_probs {
            if log_prob.is_nan() {
                return Err(TeacherError::NotANumber);
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

/// A prompt as the model receives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The whole text up to the reply, including the chat template.
    pub rendered: String,
    pub tokens: usize,
}

/// A request that stays without an answer because the engine crashed on every attempt, or refuses
/// it (a "poison message" in the language of queues). The ledger keeps it as `skipped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct SkippedRequest {
    /// How the engine ended, or why it refuses.
    pub reason: String,
}

pub(crate) type Answer<T> = Result<T, SkippedRequest>;

/// What a teacher reports while it works.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TeacherEvent<T> {
    /// The prompts of these requests are being read. After a restart a request begins again.
    Began(Vec<usize>),
    /// Answers with the indices of their requests, in any order. Each index comes exactly once.
    Answers(Vec<(usize, Answer<T>)>),
    /// The engine ended unexpectedly, for this reason, and is being restarted.
    Restarted(String),
}

/// Receives events as they occur. An error stops the work and is returned as
/// [`TeacherError::Stopped`].
pub(crate) type Sink<'a, T> =
    &'a mut dyn FnMut(TeacherEvent<T>) -> Result<(), Box<dyn Error + Send + Sync>>;

/// Passes `answers` on, if there are any.
fn deliver<T>(answers: Vec<(usize, Answer<T>)>, sink: Sink<'_, T>) -> Result<(), TeacherError> {
    if answers.is_empty() {
        return Ok(());
    }
    sink(TeacherEvent::Answers(answers)).map_err(TeacherError::Stopped)
}

/// What an engine reports while it works on a list of requests. Requests are named by index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum EngineEvent<T> {
    /// The engine starts work on these requests.
    Began(Vec<usize>),
    Done(Vec<(usize, T)>),
    /// The engine cannot answer this request, for this reason.
    Skipped(usize, String),
    /// Nothing was finished, but the engine is still working.
    Alive,
}

/// Receives an engine's events. An error stops the work and is returned as
/// [`TeacherError::Stopped`].
pub(crate) type EngineSink<'a, T> =
    &'a mut dyn FnMut(EngineEvent<T>) -> Result<(), Box<dyn Error + Send + Sync>>;

/// A model that generates texts and scores labels.
pub(crate) trait Teacher {
    fn identity(&self) -> &TeacherIdentity;

    /// Whether it can score any text, including those of the test set.
    fn scores_any_text(&self) -> bool {
        true
    }

    /// The prompts as the model receives them (including the chat template), with their lengths in
    /// tokens.
    fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError>;

    /// Generates one reply for each request.
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
