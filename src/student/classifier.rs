//! A trained student: predicts, saves itself, loads itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use serde_json::{Map, Value};
use tokenizers::Tokenizer;

use super::blueprint::Blueprint;
use super::config::Config;
use super::network::{Network, network};
use super::rows::Rows;
use super::weights::{self, Tensors, Wants};
use super::{BaseModel, Pooling, Result, StudentError, base, checkpoint, tokens, train::softmax};

/// Texts per forward pass.
const BATCH: usize = 32;
/// Tokens per text where a checkpoint does not say what it was trained with.
const USUAL_LENGTH: usize = 128;

/// A text classifier.
pub struct Classifier {
    origin: String,
    config: Config,
    labels: Vec<String>,
    pooling: Pooling,
    max_length: usize,
    tensors: Tensors,
    network: Box<dyn Network>,
    tokenizer: Tokenizer,
    files: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Classifier({}, {:?})", self.origin, self.labels)
    }
}

impl Classifier {
    /// Puts a classifier together from a base and its trained tensors (detached: predicting
    /// records no graph).
    pub(super) fn build(
        base: &BaseModel,
        tensors: Tensors,
        labels: Vec<String>,
        pooling: Pooling,
        max_length: usize,
    ) -> Result<Self> {
        let inner = &*base.inner;
        let blueprint = Blueprint::new(&inner.config, pooling, labels.len());
        Ok(Self {
            origin: inner.origin.clone(),
            labels,
            pooling,
            max_length,
            network: network(blueprint, Arc::new(tensors.clone()), &inner.device)?,
            tensors,
            tokenizer: tokens::limited(&inner.tokenizer, max_length, &inner.origin)?,
            config: inner.config.clone(),
            files: inner.files.clone(),
        })
    }

    /// Reads a folder that [`Classifier::save`] or `transformers` wrote.
    ///
    /// # Errors
    /// As [`BaseModel::load`]; and where the checkpoint has no `id2label` or no classifier.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let base = BaseModel::load(folder, device)?;
        let config = base.config();
        let origin = &base.inner.origin;
        let labels = config.labels().ok_or_else(|| StudentError::Config {
            origin: origin.clone(),
            message: "there is no id2label with the numbers 0, 1, 2, ...\nhint: this is a pretrained encoder, not a trained classifier; train it first".to_owned(),
        })?;
        let blueprint = Blueprint::new(config, config.pooling, labels.len());
        let wants = Wants::new(blueprint.tensors(), false);
        let bytes = base::read(&folder.join("model.safetensors"))?;
        let tensors = weights::pick(&bytes, &wants, config.architecture, device, origin)?;
        let max_length = config.max_length.unwrap_or(USUAL_LENGTH).min(config.max_positions);
        let pooling = config.pooling;
        Self::build(&base, tensors, labels, pooling, max_length)
    }

    /// The classes, in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Probability of each class for each text, in the order of the texts: `[texts][classes]`.
    pub fn predict(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let ids = tokens::tokenise(&self.tokenizer, texts, self.config.vocab_size, &self.origin)?;
        // Texts of like length together: little padding where there is any, even work where not.
        let mut order = (0..texts.len()).collect::<Vec<_>>();
        order.sort_by_key(|&at| ids[at].len());
        let mut probabilities = vec![Vec::new(); texts.len()];
        for batch in order.chunks(BATCH) {
            let rows = batch.iter().map(|&at| ids[at].as_slice()).collect::<Vec<_>>();
            let logits = self.network.logits(&Rows::new(&rows))?;
            for (&at, logits) in batch.iter().zip(logits.chunks_exact(self.labels.len())) {
                probabilities[at] = softmax(logits);
            }
        }
        Ok(probabilities)
    }

    /// Writes a folder that [`Classifier::load`] and `transformers` open: `config.json`,
    /// `model.safetensors`, `tokenizer.json` and what belongs to it. The folder appears whole or
    /// not at all; an older student there is replaced.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let config = self.config.for_classifier(&self.labels, self.pooling, self.max_length);
        let mut files = self.files.clone();
        files.insert("config.json".to_owned(), json(&config));
        files.insert("model.safetensors".to_owned(), self.weights()?);
        self.add_tokenizer_config(&mut files);
        checkpoint::write_folder(folder, &files)
    }

    /// The trained tensors by their Hugging Face names.
    #[cfg(test)]
    pub(super) fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    fn weights(&self) -> Result<Vec<u8>> {
        let stored = self
            .tensors
            .iter()
            .map(|(name, tensor)| Ok((name.as_str(), weights::Stored::new(tensor)?)))
            .collect::<Result<Vec<_>>>()?;
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize(stored, Some(metadata)).map_err(|error| StudentError::Weights {
            origin: self.origin.clone(),
            message: error.to_string(),
        })
    }

    /// Where the base came without a `tokenizer_config.json`, says what `transformers` must know:
    /// which token plays which part.
    fn add_tokenizer_config(&self, files: &mut BTreeMap<String, Vec<u8>>) {
        let roles = [
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
            ("pad_token", "[PAD]"),
            ("sep_token", "[SEP]"),
            ("unk_token", "[UNK]"),
        ];
        let special = roles
            .into_iter()
            .filter(|(_, token)| self.tokenizer.token_to_id(token).is_some())
            .map(|(role, token)| (role.to_owned(), Value::from(token)))
            .collect::<Map<_, _>>();
        let mut config = special.clone();
        config.insert("model_max_length".into(), self.config.max_positions.into());
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        files.entry("tokenizer_config.json".to_owned()).or_insert_with(|| json(&config));
        files.entry("special_tokens_map.json".to_owned()).or_insert_with(|| json(&special));
    }
}

fn json(map: &Map<String, Value>) -> Vec<u8> {
    let mut text = format!("{:#}", Value::Object(map.clone()));
    text.push('\n');
    text.into_bytes()
}
