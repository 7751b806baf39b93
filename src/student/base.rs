//! A pretrained encoder with its tokenizer, read once and shared by all students trained from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

#[cfg(test)]
use super::weights::{self, Tensors};
use super::{
    Head, Pooling, Result, StudentError,
    companions::Companions,
    config::Config,
    error::Fault,
    folder::{self, MAX_CONFIG_BYTES, MAX_TOKENIZER_BYTES},
    model_spec::ModelSpec,
    network::Source,
    sentence::SentenceSettings,
    tokens::{self, LimitedTokenizer},
    vocabulary,
    weights::{Checkpoint, Weights, serialise},
};
use crate::models::{self, StudentFiles};

/// Files that configure the tokenizer for `transformers`: saved unchanged with a student if the
/// base has them.
const COMPANIONS: [&str; 4] =
    ["tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "added_tokens.json"];

/// A pretrained DistilBERT or BERT. Clones share all data.
#[derive(Clone)]
pub(crate) struct BaseModel {
    pub(super) inner: Arc<Inner>,
}

#[derive(Clone)]
pub(super) struct Inner {
    /// Its folder or name, for errors.
    pub origin: String,
    pub config: Config,
    /// The weights, read from their file on demand.
    pub checkpoint: Arc<Checkpoint>,
    pub tokenizer: Tokenizer,
    /// `tokenizer.json` and its companions, by file name.
    pub files: BTreeMap<String, Vec<u8>>,
    pub device: Device,
    /// Whether it was trained to embed sentences.
    pub is_sentence_encoder: bool,
    /// How its hidden states become an embedding.
    pub pooling: Pooling,
    /// What stands before each text that it reads; empty for nothing.
    pub prompt: String,
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
    /// The encoder that `spec` names: `pocket`, a model of the manifest or the library, or a
    /// folder. Checks every file.
    ///
    /// # Errors
    /// The model is missing or its files are not the expected ones; and those of [`Self::load`].
    pub(crate) fn open(spec: &str, device: &Device) -> Result<Self> {
        match models::student_files(spec)? {
            StudentFiles::Embedded([config, weights, tokenizer]) => {
                Self::from_bytes(config, weights, tokenizer, device)
            }
            StudentFiles::Folder(folder, known) => {
                Self::load_known(&folder, known.map(SentenceSettings::from), device)
            }
        }
    }

    /// Reads a Hugging Face folder: `config.json`, `model.safetensors` (F32, F16 or BF16) and
    /// `tokenizer.json` or, without it, `vocab.txt`. Weights are read from the file on demand.
    ///
    /// # Errors
    /// Names the file and, in the weights, every tensor that is missing, misshapen or surplus.
    pub(crate) fn load(folder: &Path, device: &Device) -> Result<Self> {
        Self::load_known(folder, None, device)
    }

    /// The same for an encoder that embeds sentences as is `known` where its files do not say it.
    fn load_known(folder: &Path, known: Option<SentenceSettings>, device: &Device) -> Result<Self> {
        let origin = folder.display().to_string();
        folder::check(folder)?;
        let config = folder::read(&folder.join("config.json"), MAX_CONFIG_BYTES)?;
        let config = Config::parse(&config, &origin)?;
        let weights = folder.join("model.safetensors");
        let checkpoint = Checkpoint::open(&weights, config.architecture, &origin)?;
        let mut files = BTreeMap::new();
        for name in COMPANIONS {
            let bytes = folder::read_optional(&folder.join(name), MAX_TOKENIZER_BYTES)?;
            files.extend(bytes.map(|bytes| (name.to_owned(), bytes)));
        }
        let path = folder.join("tokenizer.json");
        let tokenizer = match files.get("vocab.txt") {
            Some(words) if !path.exists() => {
                let companions = Companions::read(&files);
                let companions = companions.map_err(|fault| tokenizer_fault(&origin, fault))?;
                vocabulary::tokenizer(words, &companions, &origin)?
            }
            _ => folder::read(&path, MAX_TOKENIZER_BYTES)?,
        };
        files.insert("tokenizer.json".to_owned(), tokenizer);
        let sentence = SentenceSettings::read(folder)?.or(known);
        Self::build(config, checkpoint, files, device, origin, sentence)
    }

    /// The same from memory, for a student embedded in the binary.
    pub(crate) fn from_bytes(
        config: &[u8],
        weights: &[u8],
        tokenizer: &[u8],
        device: &Device,
    ) -> Result<Self> {
        let origin = "the embedded student".to_owned();
        let config = Config::parse(config, &origin)?;
        let checkpoint = Checkpoint::owned(weights.to_vec(), config.architecture, &origin)?;
        let files = [("tokenizer.json".to_owned(), tokenizer.to_vec())].into();
        Self::build(config, checkpoint, files, device, origin, None)
    }

    fn build(
        config: Config,
        checkpoint: Checkpoint,
        mut files: BTreeMap<String, Vec<u8>>,
        device: &Device,
        origin: String,
        sentence: Option<SentenceSettings>,
    ) -> Result<Self> {
        checkpoint.check_layers(config.layers)?;
        let spec = ModelSpec::encoder(&config);
        checkpoint.check(&spec)?;
        let head = [spec.dense_tensors(), spec.classifier_tensors()].concat();
        checkpoint.check_finite(&[spec.encoder_tensors(), head].concat())?;
        let tokenizer = read_tokenizer(&mut files, &origin)?;
        let (checkpoint, device) = (Arc::new(checkpoint), device.clone());
        let is_sentence_encoder = sentence.is_some();
        let SentenceSettings { pooling, prompt } = sentence.unwrap_or_else(|| SentenceSettings {
            // Of a trained classifier with a linear head; other encoders embed by the mean.
            pooling: match config.head {
                Head::Linear(pooling) => pooling,
                Head::Mlp(_) => Pooling::Mean,
            },
            prompt: config.prompt.clone(),
        });
        let inner = Inner {
            origin,
            config,
            checkpoint,
            tokenizer,
            files,
            device,
            is_sentence_encoder,
            pooling,
            prompt,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same with other weights in its encoder, by full name.
    pub(super) fn with_encoder(&self, mut weights: BTreeMap<String, Vec<f32>>) -> Result<Self> {
        let inner = &*self.inner;
        let (config, checkpoint) = (&inner.config, &*inner.checkpoint);
        let spec = ModelSpec::encoder(config);
        let mut wanted = spec.encoder_tensors();
        for tensor in spec.dense_tensors() {
            if checkpoint.holds(&tensor.name) {
                let mut values = vec![0.0; tensor.shape.iter().product()];
                checkpoint.read(&tensor.name, &mut values)?;
                weights.insert(tensor.name.clone(), values);
                wanted.push(tensor);
            }
        }
        let bytes = serialise(&Weights(weights), &wanted)?;
        let checkpoint = Checkpoint::owned(bytes, config.architecture, &inner.origin)?;
        let inner = Inner { checkpoint: Arc::new(checkpoint), ..inner.clone() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// SHA-256 (hex) of the checkpoint's `model.safetensors`, computed at the first call.
    pub(crate) fn sha256(&self) -> &str {
        self.inner.checkpoint.sha256()
    }

    /// SHA-256 (hex) of everything that a training from it depends on: weights, configuration,
    /// tokenizer.
    pub(crate) fn identity(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.sha256());
        let config = serde_json::to_vec(&self.inner.config.raw).expect("it was read from JSON");
        for part in [config.as_slice(), &self.inner.files["tokenizer.json"]] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        // It decides which head a student gets.
        if self.inner.is_sentence_encoder {
            hash.update(b"sentence encoder");
        }
        if self.inner.pooling == Pooling::First {
            hash.update(b"first token");
        }
        if !self.inner.prompt.is_empty() {
            hash.update(self.inner.prompt.as_bytes());
        }
        format!("{:x}", hash.finalize())
    }

    /// Whether the encoder was trained to embed sentences, by the files beside it.
    pub(crate) fn is_sentence_encoder(&self) -> bool {
        self.inner.is_sentence_encoder
    }

    /// How the hidden states of a text become its embedding.
    pub(crate) fn pooling(&self) -> Pooling {
        self.inner.pooling
    }

    /// The contents of `config.json`.
    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The device that the weights are on.
    pub(crate) fn device(&self) -> &Device {
        &self.inner.device
    }

    /// Most tokens of a text that the encoder reads, special ones included: its positions, or what
    /// `tokenizer_config.json` states, whichever is less.
    pub(crate) fn max_tokens(&self) -> usize {
        let positions = self.inner.config.max_positions;
        tokens::stated_limit(&self.inner.files).map_or(positions, |stated| stated.min(positions))
    }

    /// The number of tokens of each text, special ones included. A text of more than
    /// [`Self::max_tokens`] counts as one more than that.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn token_counts(&self, texts: &[String]) -> Result<Vec<usize>> {
        let Inner { config, origin, .. } = &*self.inner;
        let tokenizer = self.inner.limited(self.max_tokens() + 1)?;
        let ids = tokens::tokenise(&tokenizer, texts, config.vocab_size, origin)?;
        Ok(ids.iter().map(|text| text.ids.len()).collect())
    }

    /// Token ids of each text after the prompt, special tokens included, truncated to `max_length`
    /// tokens or to the encoder's own limit, whichever is less.
    pub(crate) fn tokenise(&self, texts: &[String], max_length: usize) -> Result<Vec<Vec<u32>>> {
        let Inner { config, origin, .. } = &*self.inner;
        let tokenizer = self.inner.limited(max_length.min(self.max_tokens()))?;
        let tokens = tokens::tokenise(&tokenizer, texts, config.vocab_size, origin)?;
        Ok(tokens.into_iter().map(|text| text.ids).collect())
    }

    /// The tokens of the vocabulary by id: words, pieces such as `##ing`, special tokens.
    pub(crate) fn vocabulary(&self) -> Vec<(u32, String)> {
        let Inner { config, tokenizer, .. } = &*self.inner;
        let tokens = tokenizer.get_vocab(false).into_iter().map(|(token, id)| (id, token));
        let mut tokens =
            tokens.filter(|(id, _)| (*id as usize) < config.vocab_size).collect::<Vec<_>>();
        tokens.sort_unstable();
        tokens
    }

    /// The id of `text` if it is a single token.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn single_token(&self, text: &str) -> Result<Option<u32>> {
        let Inner { tokenizer, origin, .. } = &*self.inner;
        let encoding = tokenizer.encode_fast(text, false);
        let encoding = encoding.map_err(|error| tokens::fault(origin, &error))?;
        Ok(match encoding.get_ids() {
            &[id] => Some(id),
            _ => None,
        })
    }

    /// The word embeddings of `ids`, `[ids, hidden_size]`. Reads no other rows.
    ///
    /// # Errors
    /// An id outside the table.
    pub(crate) fn word_vectors(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let Inner { config, checkpoint, .. } = &*self.inner;
        let mut vectors = vec![0.0; ids.len() * config.hidden_size];
        let words = ModelSpec::encoder(config).words;
        checkpoint.rows(&words, ids, &mut vectors)?;
        Ok(vectors)
    }
}

impl Inner {
    /// The tokenizer for texts after the prompt, of `max_length` tokens with it and the special
    /// ones.
    pub(super) fn limited(&self, max_length: usize) -> Result<LimitedTokenizer<'_>> {
        Ok(tokens::limited(&self.tokenizer, max_length, &self.origin)?.after(&self.prompt))
    }
}

#[cfg(test)]
impl Inner {
    /// The encoder, and the head's first dense layer if the checkpoint has it, as F32.
    pub(super) fn tensors(&self) -> Result<Tensors> {
        let spec = ModelSpec::encoder(&self.config);
        let mut wanted = spec.encoder_tensors();
        wanted.extend(spec.dense_tensors());
        wanted.retain(|wanted| self.checkpoint.holds(&wanted.name));
        weights::tensors(&*self.checkpoint, &wanted, &self.device)
    }
}

/// Reads the tokenizer among `files`, as its companions complete it; what they add is written into
/// its `tokenizer.json`, so that a saved student has it, too.
fn read_tokenizer(files: &mut BTreeMap<String, Vec<u8>>, origin: &str) -> Result<Tokenizer> {
    let fault = |fault| tokenizer_fault(origin, fault);
    let mut tokenizer = tokens::read(&files["tokenizer.json"], origin)?;
    let companions = Companions::read(files).map_err(fault)?;
    let words = files.get("vocab.txt").map(Vec::as_slice);
    if companions.agree(&mut tokenizer, words).map_err(fault)? {
        let mut whole = tokenizer.clone();
        whole.with_truncation(None).map_err(|error| tokens::fault(origin, &error))?;
        let json = whole.to_string(false).map_err(|error| tokens::fault(origin, &error))?;
        files.insert("tokenizer.json".to_owned(), json.into_bytes());
    }
    if let Some(side) = companions.side {
        tokens::cut_on(&mut tokenizer, side, origin)?;
    }
    Ok(tokenizer)
}

fn tokenizer_fault(origin: &str, fault: Fault) -> StudentError {
    StudentError::Tokenizer { origin: origin.to_owned(), fault }
}
