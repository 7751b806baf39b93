//! The engine on llama.cpp, through `llama-cpp-2`, in this process.
//!
//! ```text
//! requests ─ chat template, tokens ─► PrefixTree ──► AdmissionQueue ──► Session
//!                                     finds shared    decides which      one llama.cpp context:
//!                                     prefixes        request is next    sequences, cells, batches
//! ```
//!
//! [`generate`] keeps a fixed number of slots busy: when a reply is finished, the next step gives
//! its slot to another request (continuous batching). [`score`] evaluates the prompts and candidate
//! names of many questions in one pass. With `deterministic`, both decode one sequence at a time
//! ([`sequential`]). [`memory`] chooses the size of the context. Sampling is our own
//! ([`super::sampler`]). With the feature `cpu-variants`, `kernels` loads llama.cpp's kernels for
//! this CPU.

pub(crate) mod bench;
mod generate;
#[cfg(feature = "cpu-variants")]
mod kernels;
mod load;
mod memory;
mod prefix;
mod queue;
mod reply;
mod score;
mod sequential;
mod session;
#[cfg(test)]
mod tests;
mod token_engine;

use std::{num::NonZeroU32, path::PathBuf};

use llama_cpp_2::{
    context::params::{KvCacheType, LlamaContextParams},
    model::LlamaModel,
    token::LlamaToken,
};
use serde::{Deserialize, Serialize};

use super::{
    EngineSink, FlashAttention, GenerateRequest, Generated, KvType, ScoreRequest, Scored,
    SplitMode, TeacherError, TeacherIdentity,
    chat::{CHATML, ChatTemplate},
    tokens::PromptTokenizer,
};
use load::Vocabulary;
use memory::{ContextSize, Demand};
use prefix::PrefixTree;
use session::Session;
pub use token_engine::TokenEngine;

/// A model with fewer weights than this is fastest on one thread.
const SMALL_MODEL: u64 = 30_000_000;

/// The library of CPU kernels that suits this CPU best; `None` in a build that has its kernels
/// linked.
pub(crate) fn cpu_kernels() -> Option<Result<PathBuf, TeacherError>> {
    #[cfg(feature = "cpu-variants")]
    return Some(kernels::chosen());
    #[cfg(not(feature = "cpu-variants"))]
    None
}

/// The settings of the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LlamaOptions {
    /// Requests that are decoded side by side; 0 = chosen by the engine.
    pub slots: usize,
    /// Tokens in the KV cache; 0 = chosen by the engine.
    pub context: usize,
    /// Maximum number of tokens in one call of llama.cpp; 0 = chosen by the engine.
    pub batch_tokens: usize,
    /// CPU threads; 0 = chosen by the model's size.
    pub threads: usize,
    /// Layers on the GPU; `None` = all of them if there is a GPU, none otherwise.
    pub gpu_layers: Option<u32>,
    /// Numbers of the devices to use; empty = all.
    pub devices: Vec<usize>,
    pub split_mode: SplitMode,
    pub kv_type: KvType,
    pub flash_attention: FlashAttention,
    /// An answer depends on its request alone, not on what is decoded beside it.
    pub deterministic: bool,
    /// Number of engines that share this machine's memory and, unless `threads` is set, its cores.
    pub replicas: usize,
    /// Source of a chat template that replaces the one in the file.
    pub chat_template: Option<String>,
}

/// A GGUF model, loaded.
pub(crate) struct LlamaTeacher {
    model: LlamaModel,
    template: ChatTemplate,
    identity: TeacherIdentity,
    options: LlamaOptions,
    /// Whether layers of the model are on a GPU.
    gpu: bool,
    vocabulary: Vocabulary,
    /// Maximum number of tokens of a prompt and its reply together.
    trained_context: usize,
}

/// How requests are decoded.
#[derive(Debug, Clone, Copy)]
enum DecodeMode {
    /// Side by side, with shared prefixes evaluated once.
    Batched,
    /// One sequence at a time; with `reuse` each one keeps the prefix that it shares with the last.
    Sequential { reuse: bool },
}

impl LlamaTeacher {
    /// A chat template for models that bring none.
    pub(crate) const CHATML: &str = CHATML;

    /// The number of slots in the settings, or else `default`.
    fn slots(&self, default: usize) -> usize {
        if self.options.slots > 0 { self.options.slots } else { default }
    }

    fn decode_mode(&self) -> DecodeMode {
        if self.options.deterministic {
            DecodeMode::Sequential { reuse: true }
        } else {
            DecodeMode::Batched
        }
    }

    /// The size of a context for requests with these `demands`. Without a `tree` they are decoded
    /// one at a time. `id` names a request in errors.
    fn context_size<'i>(
        &self,
        tree: Option<&PrefixTree>,
        demands: &[Demand],
        slots: usize,
        id: impl Fn(usize) -> &'i str,
    ) -> Result<ContextSize, TeacherError> {
        let max_cells = match self.options.context {
            0 => memory::affordable_cells(&self.model, &self.options, self.gpu),
            cells => cells,
        };
        let max_sequences = memory::max_sequences(&self.model);
        memory::context_size(&self.options, tree, demands, slots, max_cells, max_sequences).map_err(
            |(index, cells)| TeacherError::NoRoom {
                id: id(index).to_owned(),
                cells,
                limit: max_cells,
                megabytes: self.cache_megabytes(cells),
            },
        )
    }

    /// Size of a KV cache of this many cells, in MB.
    fn cache_megabytes(&self, cells: usize) -> u64 {
        let bytes = memory::bytes_per_cell(&self.model, self.options.kv_type);
        (bytes * cells as f64 / 1e6).ceil() as u64
    }

    /// A context of this `size`.
    fn session(&self, size: ContextSize) -> Result<Session<'_>, TeacherError> {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let threads = i32::try_from(self.threads()).unwrap_or(i32::MAX);
        let kv_type = match self.options.kv_type {
            KvType::F32 => KvCacheType::F32,
            KvType::F16 => KvCacheType::F16,
            KvType::Bf16 => KvCacheType::BF16,
            KvType::Q8_0 => KvCacheType::Q8_0,
            KvType::Q5_0 => KvCacheType::Q5_0,
            KvType::Q4_0 => KvCacheType::Q4_0,
        };
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(number(size.cells)))
            .with_n_seq_max(number(size.sequences))
            .with_kv_unified(true)
            .with_n_batch(number(size.batch_tokens))
            .with_n_ubatch(number(size.batch_tokens.min(memory::MICRO_BATCH)))
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_type_k(kv_type)
            .with_type_v(kv_type)
            .with_flash_attention_policy(match self.options.flash_attention {
                FlashAttention::Auto => -1,
                FlashAttention::Off => 0,
                FlashAttention::On => 1,
            })
            .with_no_perf(true);
        let context = self.model.new_context(load::backend()?, params).map_err(|error| {
            let free = if self.gpu {
                memory::free_on_devices(&self.options.devices)
            } else {
                memory::free_here()
            };
            TeacherError::Context {
                cells: size.cells,
                megabytes: self.cache_megabytes(size.cells),
                free_megabytes: free / 1_000_000,
                message: error.to_string(),
            }
        })?;
        Ok(Session::new(context, size, self.vocabulary.token_bytes.len()))
    }

    /// All cores, but only one for a small model, whose threads would mostly wait for each other:
    /// OpenMP's barriers spin, and on a busy machine they cost far more than the work itself.
    fn threads(&self) -> usize {
        match self.options.threads {
            0 if self.identity.parameters < SMALL_MODEL => 1,
            0 => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                (cores / self.options.replicas.max(1)).max(1)
            }
            threads => threads,
        }
    }

    pub(crate) fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    /// Generates a reply to each of `requests`.
    pub(crate) fn generate(
        &mut self,
        requests: &[GenerateRequest],
        sink: EngineSink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        let prompts = self.reply_prompts(requests)?;
        generate::run(self, requests, &prompts, self.decode_mode(), sink)?;
        Ok(())
    }

    /// Scores the candidates of each of `requests`.
    pub(crate) fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: EngineSink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        let questions = self.questions(requests)?;
        score::run(self, &questions, self.decode_mode(), sink)?;
        Ok(())
    }
}

impl PromptTokenizer for LlamaTeacher {
    fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    fn template(&self) -> &ChatTemplate {
        &self.template
    }

    fn longest(&self) -> usize {
        self.trained_context
    }

    fn prompt_tokens(&self, prompt: &str) -> Vec<LlamaToken> {
        let vocab = self.model.vocab();
        let mut tokens = vocab.tokenize(prompt.as_bytes(), false, true);
        if vocab.should_add_bos() && tokens.first() != Some(&vocab.bos()) {
            tokens.insert(0, vocab.bos());
        }
        tokens
    }

    fn text_tokens(&self, text: &str) -> Vec<LlamaToken> {
        self.model.vocab().tokenize(text.as_bytes(), false, false)
    }

    #[cfg(all(target_os = "linux", feature = "remote"))]
    fn limit_context(&mut self, tokens: usize) {
        (self.trained_context, self.identity.context) = (tokens, tokens);
    }

    #[cfg(all(target_os = "linux", feature = "remote"))]
    fn vocabulary(&self) -> Option<usize> {
        Some(self.vocabulary.token_bytes.len())
    }

    #[cfg(all(target_os = "linux", feature = "remote"))]
    fn ends(&self) -> Vec<i32> {
        self.vocabulary.ends.iter().map(|token| token.0).collect()
    }
}
