//! `[teacher]`: the model that writes and labels text, and the engine that runs it.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check::at_least};
use crate::teacher::{FlashAttention, KvType, SplitMode};

/// The model that writes and labels text, and the engine that runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TeacherSettings {
    /// A GGUF file, a name from `promptmix models list`, `pocket` (the demo's toy model), or
    /// `replay:FILE`, which answers from a recording: the `ledger.jsonl` of a run or a JSONL file
    /// of texts with their labels. With `teacher.address` a Hugging Face folder without weights
    /// will do. `--teacher` is short for it. There is no default, since the choice decides the
    /// result more than any other: a task or a flag must name the teacher.
    pub model: String,
    /// Requests decoded in parallel. 0: 16 on a CPU, 128 on a GPU, fewer if memory is short.
    pub slots: usize,
    /// Tokens in the key/value cache, for all slots together. 0: as many as the slots need.
    pub context: usize,
    /// Maximum number of tokens in one call of llama.cpp. 0: 2048.
    pub batch_tokens: usize,
    /// CPU threads, shared by all replicas. 0: one per core, or a single one for a model of a few
    /// million weights.
    pub threads: usize,
    /// Layers on the GPU. Unset: all of them in a GPU build, none otherwise.
    pub gpu_layers: Option<u32>,
    /// Engines that run in parallel and share one queue, each with the whole model: one per GPU.
    pub replicas: usize,
    /// Numbers of the devices to use; with several replicas, each takes the next one in turn.
    /// Empty: all devices.
    pub devices: Vec<usize>,
    /// How one model is split over several devices.
    pub split_mode: SplitMode,
    /// Number type of the key/value cache. `f16` is llama.cpp's own default; the 8-, 5- and 4-bit
    /// types save memory on a GPU, are slower on a CPU and need flash attention.
    pub kv_type: KvType,
    /// Whether attention is computed in one fused operation.
    pub flash_attention: FlashAttention,
    /// Each answer depends on its own request only, not on the requests decoded beside it. Slower,
    /// but every run yields the same rows. `--deterministic` is short for it.
    pub deterministic: bool,
    /// Runs the engine inside this process, without a supervisor. For profiling. `--in-process` is
    /// short for it; a task.toml cannot set it.
    pub in_process: bool,
    /// An engine that sends nothing for this many seconds counts as hung and is restarted. 0:
    /// never.
    pub watchdog_seconds: u64,
    /// The teacher is tested on up to this many labelled examples before it writes: seeds and texts
    /// of the pool, each left out of its own prompt. `run` and `plan --check` warn if it is no
    /// better than guessing or than the nearest class by embedding. 0: no test.
    pub check: usize,
    /// A Jinja file that replaces the chat template in the model, or `chatml`. Unset: the model's
    /// own template.
    pub chat_template: Option<String>,
    /// Engines that answer instead of this machine: `http://127.0.0.1:8080`, `https://HOST:PORT` or
    /// `unix:/run/engine.sock`, each a llama-server, vLLM or SGLang with the same model. They share
    /// one queue. Prompts, and the texts in them, are sent there; a command connects only with
    /// `--allow-address`, or with `PROMPTMIX_ALLOW_NETWORK=1` in its environment. `model` is then a
    /// GGUF of the same model, in any quantisation, or its Hugging Face folder: tokenizer and chat
    /// template come from it. Empty: none.
    pub address: Vec<String>,
    /// PEM file of the authority that signed the certificates of `https` addresses.
    pub tls_ca: Option<String>,
    /// SHA-256 of the certificate of `https` addresses, in hexadecimal: only that one is trusted.
    pub tls_pin: Option<String>,
    /// File with the API key of the addresses.
    pub api_key_file: Option<String>,
}

impl Default for TeacherSettings {
    fn default() -> Self {
        Self {
            model: String::new(),
            slots: 0,
            context: 0,
            batch_tokens: 0,
            threads: 0,
            gpu_layers: None,
            replicas: 1,
            devices: Vec::new(),
            split_mode: SplitMode::default(),
            kv_type: KvType::default(),
            flash_attention: FlashAttention::default(),
            deterministic: false,
            in_process: false,
            watchdog_seconds: 600,
            check: 48,
            chat_template: None,
            address: Vec::new(),
            tls_ca: None,
            tls_pin: None,
            api_key_file: None,
        }
    }
}

impl TeacherSettings {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        at_least("teacher.replicas", self.replicas, 1)?;
        let quantised_cache = matches!(self.kv_type, KvType::Q8_0 | KvType::Q5_0 | KvType::Q4_0);
        if quantised_cache && self.flash_attention == FlashAttention::Off {
            return Err(ConfigError::OutOfRange {
                key: "teacher.flash_attention",
                value: "off".to_owned(),
                wanted: "a cache of q8_0, q5_0 or q4_0 needs flash attention".into(),
            });
        }
        Ok(())
    }
}
