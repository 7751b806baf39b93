//! The teacher on llama.cpp, in this process, through `llama-cpp-2`.
//!
//! ```text
//! requests ─ chat template, tokens ─► PrefixTree ─► Queue ─► Session (one llama.cpp context)
//!                                       what is      who is     sequences, cells, batches;
//!                                       shared       let in     every trap of the binding
//! ```
//!
//! [`generate`] keeps a fixed number of slots busy: a finished reply's place is refilled at the next
//! step. [`score`] sends prompt and candidate names of many questions through in one pass. With
//! `deterministic` both go [`alone`], one sequence at a time. [`memory`] chooses the measures of the
//! context. Sampling is our own.

mod alone;
pub mod bench;
mod generate;
mod memory;
mod prefix;
mod queue;
mod reply;
mod score;
mod session;
#[cfg(test)]
mod tests;
mod trie;

use std::{
    ffi::{CStr, c_char, c_void},
    io::{self, Write},
    num::NonZeroU32,
    path::Path,
    ptr,
    sync::OnceLock,
};

use llama_cpp_2::{
    LlamaBackendDeviceType, LogOptions,
    context::params::{KvCacheType, LlamaContextParams},
    list_llama_ggml_backend_devices,
    llama_backend::LlamaBackend,
    model::{
        LlamaModel,
        params::{LlamaModelParams, LlamaSplitMode},
    },
    send_logs_to_tracing,
    token::LlamaToken,
};
use llama_cpp_sys_2::{GGML_LOG_LEVEL_ERROR, ggml_log_level};
use sha2::{Digest, Sha256};

use super::{
    FlashAttention, GenerateRequest, Generated, KvType, Measured, ScoreRequest, Scored, SplitMode,
    StepSink, TeacherError, TeacherIdentity,
    chat::{self, CHATML, ChatTemplate},
    grammar::{Pieces, Role},
};
use crate::store::{self, StoreError, header};
use memory::{Need, Shape};
use prefix::PrefixTree;
use serde::{Deserialize, Serialize};
use session::Session;

/// Weights below which one thread is the fastest.
const SMALL_MODEL: u64 = 30_000_000;

/// What the engine can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LlamaOptions {
    /// Requests that are decoded side by side; 0 = chosen by the engine.
    pub slots: usize,
    /// Tokens in the cache of keys and values; 0 = chosen by the engine.
    pub context: usize,
    /// Most tokens in one call of llama.cpp; 0 = chosen by the engine.
    pub batch_tokens: usize,
    /// CPU threads; 0 = chosen by the model's size.
    pub threads: usize,
    /// Layers on the GPU; `None` = all of them where there is a GPU, none otherwise.
    pub gpu_layers: Option<u32>,
    /// Devices to use, by their numbers; empty = all.
    pub devices: Vec<usize>,
    pub split_mode: SplitMode,
    pub kv_type: KvType,
    pub flash_attention: FlashAttention,
    /// An answer depends on its request alone, not on what is decoded beside it.
    pub deterministic: bool,
    /// Engines that share this machine's memory and, unless `threads` says otherwise, its cores.
    pub replicas: usize,
    /// A template's source, instead of the one in the file.
    pub chat_template: Option<String>,
}

/// A GGUF model, loaded.
pub struct LlamaTeacher {
    model: LlamaModel,
    template: ChatTemplate,
    identity: TeacherIdentity,
    options: LlamaOptions,
    /// Whether layers of the model lie on a GPU.
    gpu: bool,
    /// What each token writes.
    pieces: Pieces,
    /// Control tokens that a reply may not hold.
    banned: Vec<i32>,
    /// The same and the ends of a turn: for replies that may not end by themselves.
    never: Vec<i32>,
    /// Tokens that end a turn.
    ends: Vec<LlamaToken>,
}

/// How requests are served.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Side by side, sharing what they have in common.
    Together,
    /// One sequence at a time; with `reuse` each keeps what it shares with the last one.
    OneByOne { reuse: bool },
}

fn backend() -> Result<&'static LlamaBackend, TeacherError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            send_logs_to_tracing(LogOptions::default().with_logs_enabled(false));
            // SAFETY: the callback lives as long as the program and needs no data.
            unsafe { llama_cpp_sys_2::ggml_log_set(Some(pass_on_errors), ptr::null_mut()) };
            LlamaBackend::init().map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|message| TeacherError::Backend { message: message.clone() })
}

/// What ggml says of a failed call of a GPU's driver goes to stderr: it ends the process next, and the
/// supervisor reads there what it died of.
extern "C" fn pass_on_errors(level: ggml_log_level, text: *const c_char, _: *mut c_void) {
    if level == GGML_LOG_LEVEL_ERROR && !text.is_null() {
        // SAFETY: ggml passes a text that ends in a zero and outlives the call.
        let text = unsafe { CStr::from_ptr(text) };
        let _ = io::stderr().write_all(text.to_bytes());
    }
}

impl LlamaTeacher {
    /// A chat template for models that bring none.
    pub const CHATML: &str = CHATML;

    /// Loads the model at `path`.
    ///
    /// # Errors
    /// A missing file, one that is no whole GGUF, a chat template that does not compile.
    pub fn load(path: &Path, options: LlamaOptions) -> Result<Self, TeacherError> {
        let sha256 = check_file(path)?;
        let load = |message: String| TeacherError::Load { path: path.to_owned(), message };
        let backend = backend()?;
        let gpu_at_hand = backend.supports_gpu_offload()
            && list_llama_ggml_backend_devices()
                .iter()
                .any(|device| !matches!(device.device_type, LlamaBackendDeviceType::Cpu));
        let gpu_layers = options.gpu_layers.unwrap_or(if gpu_at_hand { 999 } else { 0 });
        let mut params = LlamaModelParams::default().with_n_gpu_layers(gpu_layers).with_split_mode(
            match options.split_mode {
                SplitMode::None => LlamaSplitMode::None,
                SplitMode::Layer => LlamaSplitMode::Layer,
                SplitMode::Row => LlamaSplitMode::Row,
            },
        );
        if !options.devices.is_empty() {
            params = params.with_devices(&options.devices).map_err(|error| {
                TeacherError::Devices { message: error.to_string(), known: device_names() }
            })?;
        }
        let model = LlamaModel::load_from_file(backend, path, &params)
            .map_err(|error| load(error.to_string()))?;

        refuse_other_kinds(&model, path)?;
        let name = model.meta_val_str("general.name").unwrap_or_else(|_| {
            path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        });
        let vocab = model.vocab();
        let tokens: Vec<LlamaToken> = vocab.tokens().collect();
        let role = |token: LlamaToken| match vocab {
            _ if vocab.is_eog(token) => Role::End,
            _ if vocab.is_control(token) => Role::Control,
            _ => Role::Text,
        };
        let roles: Vec<Role> = tokens.iter().map(|&token| role(token)).collect();
        let with = |wanted: &[Role]| -> Vec<i32> {
            let numbered = tokens.iter().zip(&roles);
            numbered.filter(|(_, role)| wanted.contains(role)).map(|(token, _)| token.0).collect()
        };
        let (banned, never) = (with(&[Role::Control]), with(&[Role::Control, Role::End]));
        let pieces = Pieces::new(tokens.iter().zip(&roles).map(|(&token, &role)| {
            let bytes = vocab.token_to_piece(token, false, None);
            let role = if chat::is_tag(&bytes) { Role::Control } else { role };
            (bytes, role)
        }));
        let ends = with(&[Role::End]).into_iter().map(LlamaToken).collect();
        let text = |token: LlamaToken| -> String {
            vocab.text(token).map(CStr::to_string_lossy).unwrap_or_default().into_owned()
        };
        let known = |token: LlamaToken| if token.0 >= 0 { text(token) } else { String::new() };
        let control = tokens
            .iter()
            .filter(|&&t| vocab.is_control(t))
            .map(|&t| text(t))
            .filter(|t| !t.is_empty());
        let source = match &options.chat_template {
            Some(source) => source.clone(),
            None => {
                model.meta_val_str("tokenizer.chat_template").unwrap_or_else(|_| CHATML.to_owned())
            }
        };
        let refused = |error: minijinja::Error| TeacherError::ChatTemplate {
            model: name.clone(),
            message: format!("{error:#}"),
        };
        let template =
            ChatTemplate::new(source, known(vocab.bos()), known(vocab.eos()), control.collect())
                .map_err(refused)?;
        let probe = template.probe().map_err(refused)?;
        let template_sha256 = format!("{:x}", Sha256::digest(probe));
        let identity = TeacherIdentity {
            name,
            file: path.to_owned(),
            sha256,
            parameters: model.n_params(),
            template_sha256,
            context: match options.context {
                0 => model.n_ctx_train() as usize,
                cells => cells.min(model.n_ctx_train() as usize),
            },
        };
        let gpu = gpu_at_hand && gpu_layers > 0;
        Ok(Self { template, identity, options, gpu, pieces, banned, never, ends, model })
    }

    /// The whole prompt as text, chat template included, up to the reply.
    pub fn render(&self, user: &str) -> Result<String, TeacherError> {
        self.template.render(user).map_err(|error| TeacherError::ChatTemplate {
            model: self.identity.name.clone(),
            message: format!("{error:#}"),
        })
    }

    /// Tokens of a rendered prompt followed by `cue`. The template writes the begin-of-text token
    /// itself, if the model wants one.
    fn tokenize(&self, user: &str, cue: &str) -> Result<Vec<LlamaToken>, TeacherError> {
        Ok(self.tokens(&(self.render(user)? + cue)))
    }

    /// The tokens of a whole prompt.
    fn tokens(&self, text: &str) -> Vec<LlamaToken> {
        let vocab = self.model.vocab();
        let mut tokens = vocab.tokenize(text.as_bytes(), false, true);
        if vocab.should_add_bos() && tokens.first() != Some(&vocab.bos()) {
            tokens.insert(0, vocab.bos());
        }
        tokens
    }

    /// As many slots as the settings say, or else `default`.
    fn slots(&self, default: usize) -> usize {
        if self.options.slots > 0 { self.options.slots } else { default }
    }

    /// One sequence at a time if the settings want it.
    fn way(&self) -> Way {
        if self.options.deterministic { Way::OneByOne { reuse: true } } else { Way::Together }
    }

    /// The measures of a context for `needs`; without a `tree` they go one at a time.
    fn shape<'i>(
        &self,
        tree: Option<&PrefixTree>,
        needs: &[Need],
        slots: usize,
        id: impl Fn(usize) -> &'i str,
    ) -> Result<Shape, TeacherError> {
        let limit = memory::affordable_cells(&self.model, &self.options, self.gpu);
        let most = memory::most_sequences(&self.model);
        memory::shape(&self.options, tree, needs, slots, limit, most).map_err(|(index, cells)| {
            let bytes = memory::bytes_per_cell(&self.model, self.options.kv_type);
            TeacherError::NoRoom {
                id: id(index).to_owned(),
                cells,
                room: if self.options.context > 0 { self.options.context } else { limit },
                megabytes: (bytes * cells as f64 / 1e6).ceil() as u64,
            }
        })
    }

    /// A context of this `shape`.
    fn session(&self, shape: Shape) -> Result<Session<'_>, TeacherError> {
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
            .with_n_ctx(NonZeroU32::new(number(shape.cells)))
            .with_n_seq_max(number(shape.sequences))
            .with_kv_unified(true)
            .with_n_batch(number(shape.batch_tokens))
            .with_n_ubatch(number(shape.batch_tokens.min(memory::MICRO_BATCH)))
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
        let context = self.model.new_context(backend()?, params).map_err(|error| {
            let bytes = memory::bytes_per_cell(&self.model, self.options.kv_type);
            let free = if self.gpu {
                memory::free_on_devices(&self.options.devices)
            } else {
                memory::free_here()
            };
            TeacherError::Context {
                cells: shape.cells,
                megabytes: (bytes * shape.cells as f64 / 1e6).ceil() as u64,
                free_megabytes: free / 1_000_000,
                message: error.to_string(),
            }
        })?;
        Ok(Session::new(context, shape, self.pieces.len()))
    }

    /// All cores, but one for a model so small that its threads would mostly wait for each other:
    /// OpenMP's barriers spin, and with another load on the machine they cost far more than the work.
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

    /// Tokens of each prompt; refuses what the model was not trained for.
    fn prompts<'r>(
        &self,
        requests: impl Iterator<Item = (&'r String, &'r str, &'r str, usize)>,
    ) -> Result<Vec<Vec<LlamaToken>>, TeacherError> {
        let limit = self.model.n_ctx_train() as usize;
        let mut prompts = Vec::new();
        for (id, user, cue, beyond) in requests {
            let prompt = self.tokenize(user, cue)?;
            let needed = prompt.len() + beyond;
            if needed > limit {
                let model = self.identity.name.clone();
                return Err(TeacherError::TooLong { id: id.clone(), needed, limit, model });
            }
            if prompt.is_empty() {
                return Err(TeacherError::Empty { id: id.clone() });
            }
            prompts.push(prompt);
        }
        Ok(prompts)
    }

    pub fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    /// Each of `prompts` as the model sees it, and its length in tokens.
    pub fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        let measure = |prompt: &String| {
            let rendered = self.render(prompt)?;
            let tokens = self.tokens(&rendered).len();
            Ok(Measured { rendered, tokens })
        };
        prompts.iter().map(measure).collect()
    }

    /// Writes a reply to each of `requests`.
    pub fn generate(
        &mut self,
        requests: &[GenerateRequest],
        step: StepSink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        let asked = requests.iter().map(|request| {
            (&request.id, request.prompt.as_str(), &*request.cue, request.max_tokens)
        });
        let prompts = self.prompts(asked)?;
        generate::run(self, requests, &prompts, self.way(), step)?;
        Ok(())
    }

    /// Scores the candidates of each of `requests`.
    pub fn score(
        &mut self,
        requests: &[ScoreRequest],
        step: StepSink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        let asked = requests.iter().map(|request| {
            let longest = request.candidates.iter().map(String::len).max().unwrap_or(0);
            (&request.id, request.prompt.as_str(), "", longest)
        });
        let prompts = self.prompts(asked)?;
        score::run(self, &score::questions(self, requests, prompts), self.way(), step)?;
        Ok(())
    }
}

/// Refuses models that do not continue a text from left to right, or whose memory cannot be shared
/// between the names of a question.
fn refuse_other_kinds(model: &LlamaModel, path: &Path) -> Result<(), TeacherError> {
    let architecture = model.meta_val_str("general.architecture").unwrap_or_default();
    let other = ["bert", "t5", "dream", "llada", "embed", "clip", "wavtokenizer"];
    let why = if other.iter().any(|kind| architecture.contains(kind)) {
        "it does not continue a text"
    } else if model.is_recurrent() && !model.is_hybrid() {
        "it is recurrent, and labels cannot be scored with it"
    } else {
        return Ok(());
    };
    let path = path.to_owned();
    Err(TeacherError::Unsuited { path, architecture, why: why.to_owned() })
}

fn device_names() -> String {
    let devices = list_llama_ggml_backend_devices();
    let names = devices.iter().map(|device| format!("{} {}", device.index, device.description));
    names.collect::<Vec<_>>().join(", ")
}

/// Checks the file's header and hashes the file, before llama.cpp's parser sees it.
fn check_file(path: &Path) -> Result<String, TeacherError> {
    if !path.is_file() {
        return Err(TeacherError::Missing { path: path.to_owned() });
    }
    let header = header::check(path)
        .map_err(|error| TeacherError::Unsound { message: error.to_string() })?;
    if header.gguf().is_none() {
        return Err(TeacherError::Load {
            path: path.to_owned(),
            message: "it does not begin with the mark GGUF".to_owned(),
        });
    }
    // From the cache where the file is the one that was verified: a worker may start often.
    store::sha256_of(path).map_err(|error| TeacherError::Read {
        path: path.to_owned(),
        message: match error {
            StoreError::Read { source, .. } => source.to_string(),
            other => other.to_string(),
        },
    })
}
