//! A pretrained encoder with its tokenizer, read once and shared by every student trained from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use super::blueprint::Blueprint;
use super::config::Config;
use super::network::{Network, network};
use super::rows::Rows;
use super::weights::{self, Tensors, Wants};
use super::{Pooling, Result, StudentError, tokens};

/// Files beside `tokenizer.json` that say how `transformers` should use it: carried along as they
/// are where a folder has them.
const COMPANIONS: [&str; 4] =
    ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "added_tokens.json"];

/// A pretrained DistilBERT or BERT. Cloning shares everything.
#[derive(Clone)]
pub struct BaseModel {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    /// Where it came from, for errors.
    pub origin: String,
    /// SHA-256 of the weights, hex.
    pub sha256: String,
    pub config: Config,
    /// Encoder, and the head's first dense layer where the checkpoint has it; F32.
    pub tensors: Tensors,
    pub tokenizer: Tokenizer,
    /// `tokenizer.json` and its companions, by file name.
    pub files: BTreeMap<String, Vec<u8>>,
    pub device: Device,
}

impl std::fmt::Debug for BaseModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let config = &self.inner.config;
        write!(
            f,
            "BaseModel({}, {:?}, {} x {})",
            self.inner.origin, config.architecture, config.layers, config.hidden_size
        )
    }
}

impl BaseModel {
    /// Reads a Hugging Face folder: `config.json`, `model.safetensors` (F32, F16 or BF16) and
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// Names the file, and in the weights every tensor that is missing or misshapen.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = read(&folder.join("config.json"))?;
        let weights = read(&folder.join("model.safetensors"))?;
        let tokenizer = read(&folder.join("tokenizer.json"))?;
        let companions = COMPANIONS
            .iter()
            .filter_map(|name| Some((*name).to_owned()).zip(std::fs::read(folder.join(name)).ok()))
            .collect();
        let origin = folder.display().to_string();
        Self::build(&config, &weights, tokenizer, companions, device, origin)
    }

    /// The same from memory, for a student that is embedded in the binary.
    pub fn from_bytes(
        config: &[u8],
        weights: &[u8],
        tokenizer: &[u8],
        device: &Device,
    ) -> Result<Self> {
        let origin = "the embedded student".to_owned();
        Self::build(config, weights, tokenizer.to_vec(), BTreeMap::new(), device, origin)
    }

    fn build(
        config: &[u8],
        weights: &[u8],
        tokenizer: Vec<u8>,
        mut files: BTreeMap<String, Vec<u8>>,
        device: &Device,
        origin: String,
    ) -> Result<Self> {
        let config = Config::parse(config, &origin)?;
        let blueprint = Blueprint::new(&config, Pooling::First, 0);
        let mut wants = Wants::new(blueprint.encoder_tensors(), false);
        wants.0.extend(Wants::new(blueprint.dense_tensors(), true).0);
        let tensors = weights::pick(weights, &wants, config.architecture, device, &origin)?;
        let read = tokens::read(&tokenizer, &origin)?;
        files.insert("tokenizer.json".to_owned(), tokenizer);
        let device = device.clone();
        let inner = Inner {
            origin,
            sha256: format!("{:x}", Sha256::digest(weights)),
            config,
            tensors,
            tokenizer: read,
            files,
            device,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// SHA-256 (hex) of the checkpoint's `model.safetensors`.
    pub fn sha256(&self) -> &str {
        &self.inner.sha256
    }

    /// What `config.json` says.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The device that the weights are on.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The pretrained network, for reading: its weights are shared and never change.
    pub fn encoder(&self) -> Result<PretrainedEncoder> {
        let Inner { config, tensors, device, .. } = &*self.inner;
        let blueprint = Blueprint::new(config, Pooling::First, 0);
        let network = network(blueprint, Arc::new(tensors.clone()), device)?;
        Ok(PretrainedEncoder { network, width: config.hidden_size })
    }

    /// Token ids of each text, special tokens included, cut at `max_length` tokens (or at the
    /// encoder's own limit, if that is shorter).
    pub fn tokenise(&self, texts: &[String], max_length: usize) -> Result<Vec<Vec<u32>>> {
        let Inner { config, tokenizer, origin, .. } = &*self.inner;
        let tokenizer = tokens::limited(tokenizer, max_length.min(config.max_positions), origin)?;
        tokens::tokenise(&tokenizer, texts, config.vocab_size, origin)
    }
}

/// A pretrained network that turns token ids into vectors.
pub struct PretrainedEncoder {
    network: Box<dyn Network>,
    width: usize,
}

impl PretrainedEncoder {
    /// The mean of each text's last hidden states, `[texts][hidden]`; zero for a text without tokens.
    pub fn means(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let rows = Rows::new(texts);
        let hidden = self.network.hidden(&rows)?;
        let mean = |tokens: std::ops::Range<usize>| {
            let mut mean = vec![0f32; self.width];
            let share = 1.0 / tokens.len().max(1) as f32;
            for token in
                hidden[tokens.start * self.width..tokens.end * self.width].chunks_exact(self.width)
            {
                mean.iter_mut().zip(token).for_each(|(sum, value)| *sum += share * value);
            }
            mean
        };
        Ok(rows.spans().map(mean).collect())
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| StudentError::Read { path: path.to_owned(), source })
}
