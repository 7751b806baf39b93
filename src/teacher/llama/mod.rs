//! The teacher on llama.cpp, in this process, through `llama-cpp-2`.
//!
//! One context serves a whole stage. Within a wave the longest common prefix of all prompts is
//! evaluated once and its cells are shared (`seq_cp`); the rest of the prompts goes in as one packed
//! batch; then all sequences are decoded together ([`generate`]) or all candidate names are scored
//! as branches of a token trie in the same pass ([`score`]). The cells are cleared between waves, so
//! a wave's numbers never depend on the one before.
//!
//! The binding aborts the process on quite a few misuses; they are all kept behind this module:
//! batches are never longer than `n_batch`, logits are only read from rows that asked for them,
//! sequence numbers stay below `n_seq_max`, sampling is our own.

mod batch;
mod generate;
mod score;
#[cfg(test)]
mod tests;

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read},
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use llama_cpp_2::{
    LogOptions,
    context::{LlamaContext, params::LlamaContextParams},
    llama_backend::LlamaBackend,
    model::{LlamaModel, params::LlamaModelParams},
    send_logs_to_tracing,
    token::LlamaToken,
};
use sha2::{Digest, Sha256};

use super::{
    GenerateRequest, Generated, ScoreRequest, Scored, Teacher, TeacherError, TeacherIdentity,
    WaveSink,
    chat::{CHATML, ChatTemplate},
};

/// Most tokens that go into one call of llama.cpp.
const BATCH_TOKENS: usize = 2048;
/// Weights below which one thread is the fastest.
const SMALL_MODEL: u64 = 30_000_000;
/// llama.cpp's own bound on sequences in a context.
const MOST_SEQUENCES: usize = 256;

/// What the engine can be told.
#[derive(Debug, Clone)]
pub struct LlamaOptions {
    /// Requests that are decoded side by side.
    pub batch: usize,
    /// CPU threads; 0 = chosen by the model's size.
    pub threads: usize,
    /// Layers on the GPU; `None` = all of them in a build with a GPU, none otherwise.
    pub gpu_layers: Option<u32>,
    /// A template's source, instead of the one in the file.
    pub chat_template: Option<String>,
}

/// A GGUF model, loaded.
pub struct LlamaTeacher {
    model: LlamaModel,
    template: ChatTemplate,
    identity: TeacherIdentity,
    options: LlamaOptions,
    /// Control tokens that a reply may not hold.
    banned: Vec<i32>,
    /// Tokens that end a turn.
    ends: Vec<LlamaToken>,
}

fn backend() -> Result<&'static LlamaBackend, TeacherError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            send_logs_to_tracing(LogOptions::default().with_logs_enabled(false));
            LlamaBackend::init().map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|message| TeacherError::Backend { message: message.clone() })
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
        let gpu_layers = options
            .gpu_layers
            .unwrap_or(if cfg!(any(feature = "cuda", feature = "metal")) { 999 } else { 0 });
        let params = LlamaModelParams::default().with_n_gpu_layers(gpu_layers);
        let model = LlamaModel::load_from_file(backend()?, path, &params)
            .map_err(|error| load(error.to_string()))?;

        let name = model.meta_val_str("general.name").unwrap_or_else(|_| {
            path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        });
        let vocab = model.vocab();
        let tokens: Vec<LlamaToken> = vocab.tokens().collect();
        let control = |token: &LlamaToken| vocab.is_control(*token) && !vocab.is_eog(*token);
        let banned = tokens.iter().filter(|token| control(token)).map(|token| token.0).collect();
        let ends = tokens.iter().copied().filter(|&token| vocab.is_eog(token)).collect();
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
        let template =
            ChatTemplate::new(source, known(vocab.bos()), known(vocab.eos()), control.collect())
                .map_err(|error| TeacherError::ChatTemplate {
                    model: name.clone(),
                    message: format!("{error:#}"),
                })?;

        let identity =
            TeacherIdentity { name, file: path.to_owned(), sha256, parameters: model.n_params() };
        Ok(Self { template, identity, options, banned, ends, model })
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
        let text = self.render(user)? + cue;
        let vocab = self.model.vocab();
        let mut tokens = vocab.tokenize(text.as_bytes(), false, true);
        if vocab.should_add_bos() && tokens.first() != Some(&vocab.bos()) {
            tokens.insert(0, vocab.bos());
        }
        Ok(tokens)
    }

    /// A context with room for `cells` tokens in `sequences` sequences.
    fn context(&self, cells: usize, sequences: usize) -> Result<LlamaContext<'_>, TeacherError> {
        let cells = u32::try_from(cells.next_multiple_of(256)).unwrap_or(u32::MAX);
        let threads = i32::try_from(self.threads()).unwrap_or(i32::MAX);
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(cells))
            .with_n_seq_max(u32::try_from(sequences).unwrap_or(u32::MAX))
            .with_kv_unified(true)
            .with_n_batch(BATCH_TOKENS as u32)
            .with_n_ubatch(512)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_flash_attention_policy(-1)
            .with_no_perf(true);
        self.model
            .new_context(backend()?, params)
            .map_err(|error| TeacherError::Context { cells, message: error.to_string() })
    }

    /// All cores, but one for a model so small that its threads would mostly wait for each other:
    /// OpenMP's barriers spin, and with another load on the machine they cost far more than the work.
    fn threads(&self) -> usize {
        match self.options.threads {
            0 if self.identity.parameters < SMALL_MODEL => 1,
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    fn check_length(&self, id: &str, needed: usize) -> Result<(), TeacherError> {
        let limit = self.model.n_ctx_train() as usize;
        if needed <= limit {
            return Ok(());
        }
        Err(TeacherError::TooLong {
            id: id.to_owned(),
            needed,
            limit,
            model: self.identity.name.clone(),
        })
    }
}

impl Teacher for LlamaTeacher {
    fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    fn prompt_tokens(&self, prompt: &str) -> Result<usize, TeacherError> {
        Ok(self.tokenize(prompt, "")?.len())
    }

    fn generate(
        &mut self,
        requests: &[GenerateRequest],
        done: &[bool],
        sink: WaveSink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        generate::run(self, requests, done, sink)
    }

    fn score(
        &mut self,
        requests: &[ScoreRequest],
        done: &[bool],
        sink: WaveSink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        score::run(self, requests, done, sink)
    }
}

/// Hashes the file and checks that it is a GGUF, before llama.cpp's parser sees it.
fn check_file(path: &Path) -> Result<String, TeacherError> {
    if !path.is_file() {
        return Err(TeacherError::Missing { path: path.to_owned() });
    }
    let read = |source: io::Error| TeacherError::Read { path: PathBuf::from(path), source };
    let mut file = File::open(path).map_err(read)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut first = true;
    loop {
        let count = file.read(&mut buffer).map_err(read)?;
        if first && !buffer[..count].starts_with(b"GGUF") {
            return Err(TeacherError::Load {
                path: path.to_owned(),
                message: "it does not begin with the mark GGUF".to_owned(),
            });
        }
        first = false;
        if count == 0 {
            return Ok(format!("{:x}", hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}

/// Number of leading tokens that all of `prompts` share, leaving each at least one token of its own
/// (its last row has to be evaluated to give logits).
fn shared_prefix(prompts: &[&[LlamaToken]]) -> usize {
    let Some((first, rest)) = prompts.split_first() else { return 0 };
    let common = rest.iter().fold(first.len(), |length, prompt| {
        first[..length].iter().zip(*prompt).take_while(|(a, b)| a == b).count()
    });
    let shortest = prompts.iter().map(|prompt| prompt.len()).min().unwrap_or(0);
    common.min(shortest.saturating_sub(1))
}
