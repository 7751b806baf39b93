//! Loads a GGUF model: checks the file, reads its vocabulary, compiles its chat template.

use std::{
    borrow::Cow,
    ffi::{CStr, c_char, c_void},
    io::{self, Write},
    path::Path,
    ptr,
    sync::{Once, OnceLock},
};

use llama_cpp_2::{
    LlamaBackendDeviceType, LogOptions, list_llama_ggml_backend_devices,
    llama_backend::LlamaBackend,
    model::{
        LlamaModel,
        params::{LlamaModelParams, LlamaSplitMode},
    },
    send_logs_to_tracing,
    token::LlamaToken,
};
use llama_cpp_sys_2::{GGML_LOG_LEVEL_ERROR, ggml_log_level};

use super::{LlamaOptions, LlamaTeacher};
use crate::{
    hint::{Hint, one_line},
    model_file,
    models::{self, ModelError},
    printable::{excerpt, printable},
    teacher::{
        SplitMode, TeacherError, TeacherIdentity,
        chat::{self, CHATML, ChatTemplate},
        grammar::{TokenBytes, TokenRole},
    },
};

/// The tokens of a model, by what they do.
pub(super) struct Vocabulary {
    /// What each token writes.
    pub token_bytes: TokenBytes,
    /// Control tokens: a reply may not contain any.
    pub control: Vec<i32>,
    /// Control tokens and the ends of a turn, for replies that may not end by themselves.
    pub control_and_ends: Vec<i32>,
    /// Tokens that end a turn.
    pub ends: Vec<LlamaToken>,
}

impl Vocabulary {
    fn of(model: &LlamaModel) -> Self {
        let vocab = model.vocab();
        let tokens: Vec<LlamaToken> = vocab.tokens().collect();
        let role = |token: LlamaToken| match vocab {
            _ if vocab.is_eog(token) => TokenRole::End,
            _ if vocab.is_control(token) => TokenRole::Control,
            _ => TokenRole::Text,
        };
        let roles: Vec<TokenRole> = tokens.iter().map(|&token| role(token)).collect();
        let with_role = |wanted: &[TokenRole]| -> Vec<i32> {
            let pairs = tokens.iter().zip(&roles);
            pairs.filter(|(_, role)| wanted.contains(role)).map(|(token, _)| token.0).collect()
        };
        let token_bytes = TokenBytes::new(tokens.iter().zip(&roles).map(|(&token, &role)| {
            let bytes = vocab.token_to_piece(token, false, None);
            let role = if chat::is_tag(&bytes) { TokenRole::Control } else { role };
            (bytes, role)
        }));
        Self {
            token_bytes,
            control: with_role(&[TokenRole::Control]),
            control_and_ends: with_role(&[TokenRole::Control, TokenRole::End]),
            ends: with_role(&[TokenRole::End]).into_iter().map(LlamaToken).collect(),
        }
    }
}

impl LlamaTeacher {
    /// Loads the model at `path`.
    ///
    /// # Errors
    /// A missing file, an incomplete GGUF, a model that does not continue text, a chat template
    /// that does not compile.
    pub(crate) fn load(path: &Path, options: LlamaOptions) -> Result<Self, TeacherError> {
        let sha256 = check_file(path)?;
        let gpu_available = backend()?.supports_gpu_offload()
            && list_llama_ggml_backend_devices()
                .iter()
                .any(|device| !matches!(device.device_type, LlamaBackendDeviceType::Cpu));
        let gpu_layers = options.gpu_layers.unwrap_or(if gpu_available { 999 } else { 0 });
        let params = model_params(&options, gpu_layers)?;
        let gpu = gpu_available && gpu_layers > 0;
        Ok(Self { gpu, ..Self::with_params(path, sha256, options, &params)? })
    }

    /// Reads vocabulary and chat template of the model at `path`, without its weights: for prompts
    /// that an engine elsewhere evaluates.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    #[cfg(all(target_os = "linux", feature = "remote"))]
    pub(in crate::teacher) fn load_vocabulary(
        path: &Path,
        chat_template: Option<String>,
    ) -> Result<Self, TeacherError> {
        let options = LlamaOptions { chat_template, ..LlamaOptions::default() };
        let params = model_params(&options, 0)?.with_vocab_only(true);
        Self::with_params(path, check_file(path)?, options, &params)
    }

    fn with_params(
        path: &Path,
        sha256: String,
        options: LlamaOptions,
        params: &LlamaModelParams,
    ) -> Result<Self, TeacherError> {
        let model = LlamaModel::load_from_file(backend()?, path, params).map_err(|error| {
            TeacherError::Load { path: path.to_owned(), message: error.to_string() }
        })?;

        refuse_unsuited(&model, path)?;
        let name = model.meta_val_str("general.name").unwrap_or_else(|_| {
            path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        });
        let name = excerpt(&name);
        let render_error = |error: minijinja::Error| TeacherError::ChatTemplate {
            model: name.clone(),
            message: format!("{error:#}"),
        };
        let template =
            chat_template(&model, options.chat_template.as_deref()).map_err(render_error)?;
        let probe = template.probe().map_err(render_error)?;
        let identity = TeacherIdentity {
            file: path.to_owned(),
            sha256,
            parameters: model.n_params(),
            template_sha256: crate::hash::of_bytes(probe),
            context: match options.context {
                0 => model.n_ctx_train() as usize,
                cells => cells.min(model.n_ctx_train() as usize),
            },
            name,
            remote: None,
        };
        let vocabulary = Vocabulary::of(&model);
        let trained_context = model.n_ctx_train() as usize;
        Ok(Self { model, template, identity, options, gpu: false, vocabulary, trained_context })
    }
}

pub(super) fn backend() -> Result<&'static LlamaBackend, TeacherError> {
    static LOGS: Once = Once::new();
    LOGS.call_once(|| {
        send_logs_to_tracing(LogOptions::default().with_logs_enabled(false));
        // SAFETY: the callback lives as long as the program and needs no data.
        unsafe { llama_cpp_sys_2::ggml_log_set(Some(forward_errors), ptr::null_mut()) };
    });
    #[cfg(feature = "cpu-variants")]
    super::kernels::load()?;
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| LlamaBackend::init().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(|message| TeacherError::Backend { message: message.clone() })
}

/// Writes ggml's errors to stderr: after a failed call of a GPU's driver ggml aborts the process,
/// and the supervisor reads there why.
extern "C" fn forward_errors(level: ggml_log_level, text: *const c_char, _: *mut c_void) {
    if level == GGML_LOG_LEVEL_ERROR && !text.is_null() {
        // SAFETY: ggml passes a text that ends in a zero and outlives the call.
        let text = unsafe { CStr::from_ptr(text) };
        let text = text.to_string_lossy();
        let _ = io::stderr().write_all(printable(&text).as_bytes());
    }
}

/// How llama.cpp loads the model.
fn model_params(options: &LlamaOptions, gpu_layers: u32) -> Result<LlamaModelParams, TeacherError> {
    let split_mode = match options.split_mode {
        SplitMode::None => LlamaSplitMode::None,
        SplitMode::Layer => LlamaSplitMode::Layer,
        SplitMode::Row => LlamaSplitMode::Row,
    };
    let params =
        LlamaModelParams::default().with_n_gpu_layers(gpu_layers).with_split_mode(split_mode);
    if options.devices.is_empty() {
        return Ok(params);
    }
    params.with_devices(&options.devices).map_err(|error| TeacherError::Devices {
        message: error.to_string(),
        known: device_names(),
    })
}

/// Compiles `source`, or else the template of `model`, or else ChatML.
fn chat_template(
    model: &LlamaModel,
    source: Option<&str>,
) -> Result<ChatTemplate, minijinja::Error> {
    let vocab = model.vocab();
    let text = |token: LlamaToken| -> String {
        vocab.text(token).map(CStr::to_string_lossy).unwrap_or_default().into_owned()
    };
    // A vocabulary without such a token has a negative number instead.
    let special = |token: LlamaToken| if token.0 >= 0 { text(token) } else { String::new() };
    let control = vocab
        .tokens()
        .filter(|&token| vocab.is_control(token))
        .map(text)
        .filter(|text| !text.is_empty())
        .collect();
    let source = match source {
        Some(source) => source.to_owned(),
        None => model.meta_val_str("tokenizer.chat_template").unwrap_or_else(|_| CHATML.to_owned()),
    };
    ChatTemplate::new(source, special(vocab.bos()), special(vocab.eos()), control)
}

/// Refuses models that do not continue a text from left to right, and models with a recurrent
/// state, which the candidates of a question cannot share.
fn refuse_unsuited(model: &LlamaModel, path: &Path) -> Result<(), TeacherError> {
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

/// Checks the file's header before llama.cpp's parser sees it, and returns the file's SHA-256.
fn check_file(path: &Path) -> Result<String, TeacherError> {
    if !path.is_file() {
        return Err(TeacherError::Missing { path: path.to_owned() });
    }
    let header = model_file::check(path).map_err(|error| TeacherError::Unsound {
        message: one_line(&error),
        hint: error.hint().map(Cow::into_owned),
    })?;
    if header.gguf().is_none() {
        return Err(TeacherError::Load {
            path: path.to_owned(),
            message: "it does not begin with the magic number `GGUF`".to_owned(),
        });
    }
    // Cached for files that were verified: a worker may start often.
    models::sha256_of(path).map_err(|error| TeacherError::Read {
        path: path.to_owned(),
        message: match &error {
            ModelError::Read { source, .. } => source.to_string(),
            other => one_line(other),
        },
        hint: error.hint().map(Cow::into_owned),
    })
}
