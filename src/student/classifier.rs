//! A trained student: predicts, saves itself, loads itself.

mod reading;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::Device;
use serde_json::{Map, Value};
use tokenizers::TruncationDirection;

use super::{
    BaseModel, Coverage, Head, Precision, Result, StudentError, checkpoint,
    classify::{Prediction, check_temperature, run, softmax},
    confidence::{self, Confidence},
    engine::network,
    error::Fault,
    labels::labels,
    model_spec::ModelSpec,
    network::{Network, Source},
    packed_batch::PackedBatch,
    resident::Resident,
    tokens,
    weights::{Weights, serialise},
};
use crate::embed::normalise;

/// A vector for each text.
type Rows = Vec<Vec<f32>>;

pub(crate) use reading::Reading;

/// What a classifier says about a text.
#[derive(Debug, Clone)]
pub(crate) struct Scores {
    /// Before the temperature, `[classes]`.
    pub logits: Vec<f32>,
    /// Of each class, `[classes]`.
    pub probabilities: Vec<f32>,
    /// Tokens that were read, special ones included.
    pub tokens: usize,
    /// Whether the text was longer than the student reads.
    pub truncated: bool,
}

/// A text classifier.
pub(crate) struct Classifier {
    base: BaseModel,
    labels: Vec<String>,
    head: Head,
    max_length: usize,
    temperature: f64,
    /// The weights: of a folder, or in memory after a training.
    source: Arc<dyn Source>,
    network: Box<dyn Network>,
    /// How far to believe its answers.
    confidence: Confidence,
    /// Of the texts that were classified.
    coverage: Mutex<Coverage>,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Classifier({}, {:?})", self.base.inner.origin, self.labels)
    }
}

impl Classifier {
    /// A classifier from a base and the trained weights, by full name.
    pub(super) fn build(
        base: &BaseModel,
        weights: BTreeMap<String, Vec<f32>>,
        labels: Vec<String>,
        head: Head,
        max_length: usize,
    ) -> Result<Self> {
        let source = Arc::new(Weights(weights));
        Self::new(base.clone(), source, labels, head, max_length, 1.0, Precision::F32)
    }

    fn new(
        base: BaseModel,
        source: Arc<dyn Source>,
        labels: Vec<String>,
        head: Head,
        max_length: usize,
        temperature: f64,
        precision: Precision,
    ) -> Result<Self> {
        let inner = &*base.inner;
        let spec = ModelSpec::new(&inner.config, head, labels.len());
        let network = network(spec, source.clone(), &inner.device, precision)?;
        let (confidence, coverage) = Default::default();
        Ok(Self {
            base,
            labels,
            head,
            max_length,
            temperature,
            source,
            network,
            confidence,
            coverage,
        })
    }

    /// Reads a folder written by [`Classifier::save`] or `transformers`.
    ///
    /// # Errors
    /// Those of [`BaseModel::load`]; the checkpoint has no classifier, or one of another kind
    /// or with odd names.
    pub(crate) fn load(folder: &Path, device: &Device) -> Result<Self> {
        Self::load_with(folder, device, Precision::F32)
    }

    /// [`Classifier::load`] with the dense layers in another number type, on a CPU.
    ///
    /// # Errors
    /// As [`Classifier::load`].
    pub(crate) fn load_with(folder: &Path, device: &Device, precision: Precision) -> Result<Self> {
        Self::load_from(folder, device, precision, false)
    }

    /// [`Classifier::load_with`] for a process that goes on for days while its folder changes:
    /// once it is loaded, nothing is read from the files any more.
    ///
    /// # Errors
    /// As [`Classifier::load`].
    pub(crate) fn load_resident(
        folder: &Path,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        Self::load_from(folder, device, precision, true)
    }

    fn load_from(
        folder: &Path,
        device: &Device,
        precision: Precision,
        is_resident: bool,
    ) -> Result<Self> {
        let base = BaseModel::load(folder, device)?;
        let config = base.config();
        let checkpoint = base.inner.checkpoint.clone();
        let labels = labels(&config.raw, checkpoint.classes())
            .map_err(|fault| StudentError::Config { origin: base.inner.origin.clone(), fault })?;
        let spec = ModelSpec::new(config, config.head, labels.len());
        checkpoint.check(&spec)?;
        let most = base.max_tokens();
        let max_length = config.max_length.map_or(most, |length| length.min(most));
        let (head, temperature, width) = (config.head, config.temperature, config.hidden_size);
        let source: Arc<dyn Source> = match is_resident {
            true => Arc::new(Resident::new(checkpoint, &spec)?),
            false => checkpoint,
        };
        let new = Self::new(base, source, labels, head, max_length, temperature, precision)?;
        if !folder.join(confidence::FILE).exists() {
            return Ok(new);
        }
        let confidence = Confidence::read(folder, width, &new.head_hash()?)?;
        Ok(new.having(confidence))
    }

    /// The classes, in the order of the probabilities.
    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The divisor of logits before the softmax.
    pub(super) fn temperature(&self) -> f64 {
        self.temperature
    }

    /// How far to believe its answers; nothing is known of a student that was trained elsewhere.
    pub(crate) fn confidence(&self) -> &Confidence {
        &self.confidence
    }

    /// The same classifier with this confidence.
    pub(super) fn having(mut self, confidence: Confidence) -> Self {
        self.confidence = confidence;
        self
    }

    /// SHA-256 (hex) of its last layer, which another training changes.
    pub(crate) fn head_hash(&self) -> Result<String> {
        let spec = ModelSpec::new(&self.base.inner.config, self.head, self.labels.len());
        let file = serialise(&*self.source, &spec.classifier_tensors())?;
        Ok(crate::hash::of_bytes(file))
    }

    /// The same classifier with the given temperature, usually one fitted by
    /// [`calibrate`](super::calibrate). It does not change which class is the most probable.
    ///
    /// # Errors
    /// The temperature is not a positive number.
    pub(crate) fn with_temperature(mut self, temperature: f64) -> Result<Self> {
        check_temperature("the temperature", temperature).map_err(StudentError::Training)?;
        self.temperature = temperature;
        Ok(self)
    }

    /// The same classifier with the dense layers of its encoder in another number type, on a CPU.
    ///
    /// # Errors
    /// The weights can no longer be read.
    pub(crate) fn with_precision(&self, precision: Precision) -> Result<Self> {
        let (base, source, labels) = (self.base.clone(), self.source.clone(), self.labels.clone());
        let Self { head, max_length, temperature, .. } = *self;
        let new = Self::new(base, source, labels, head, max_length, temperature, precision)?;
        Ok(new.having(self.confidence.clone()))
    }

    /// The logits of each text, before the temperature, in the order of the texts:
    /// `[texts][classes]`.
    pub(crate) fn logits(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        Ok(self.logits_of(texts)?.0)
    }

    /// The same, and whether each text was cut at the length limit.
    fn logits_of<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<(Vec<Vec<f32>>, Vec<bool>)> {
        let (ids, truncated) = self.read(texts)?;
        Ok((self.forward(&ids, |rows| self.network.logits(rows))?, truncated))
    }

    /// [`Self::logits`] of texts that nobody asked about: [`Self::coverage`] leaves them out.
    pub(super) fn logits_of_variants(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let (ids, _) = self.tokenise(texts)?;
        self.forward(&ids, |rows| self.network.logits(rows))
    }

    /// The words and signs of `text` that are read, by their bytes in it.
    pub(super) fn pieces(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let inner = &*self.base.inner;
        let pieces = inner.limited(self.max_length)?.pieces(text);
        pieces.map_err(|fault| StudentError::Tokenizer { origin: inner.origin.clone(), fault })
    }

    /// The logits of each text, `[texts][classes]`, and its pooled hidden states,
    /// `[texts][hidden]`.
    pub(super) fn logits_and_pooled<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
    ) -> Result<(Rows, Rows)> {
        let (ids, _) = self.tokenise(texts)?;
        let rows = self.forward(&ids, |rows| self.network.logits_and_pooled(rows))?;
        let split = |mut logits: Vec<f32>| {
            let pooled = logits.split_off(self.labels.len());
            (logits, pooled)
        };
        Ok(rows.into_iter().map(split).unzip())
    }

    /// The pooled hidden states of each text, scaled to unit length: `[texts][hidden]`.
    pub(crate) fn embeddings<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Vec<f32>>> {
        let (_, mut pooled) = self.logits_and_pooled(texts)?;
        pooled.iter_mut().for_each(|vector| normalise(vector));
        Ok(pooled)
    }

    /// The token ids of each text, and whether it was cut at the length limit.
    fn tokenise<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<(Vec<Vec<u32>>, Vec<bool>)> {
        let inner = &*self.base.inner;
        let tokenizer = inner.limited(self.max_length)?;
        let tokens = tokens::tokenise(&tokenizer, texts, inner.config.vocab_size, &inner.origin)?;
        Ok(tokens.into_iter().map(|text| (text.ids, text.truncated)).unzip())
    }

    /// [`Self::tokenise`] of texts that somebody asked about, which [`Self::coverage`] counts.
    fn read<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<(Vec<Vec<u32>>, Vec<bool>)> {
        let (ids, truncated) = self.tokenise(texts)?;
        self.seen().add(&ids, texts, tokens::unknown_id(&self.base.inner.tokenizer));
        Ok((ids, truncated))
    }

    /// Runs `pass` over texts of these token ids; its numbers begin with the logits of a text.
    fn forward(
        &self,
        ids: &[Vec<u32>],
        pass: impl Fn(&PackedBatch) -> Result<Vec<f32>> + Sync,
    ) -> Result<Vec<Vec<f32>>> {
        let inner = &*self.base.inner;
        let numbers = run(ids, inner.device.is_cpu(), pass)?;
        if numbers.iter().flatten().any(|number| !number.is_finite()) {
            return Err(StudentError::Weights {
                origin: inner.origin.clone(),
                fault: Fault::with_hint(
                    "a logit is not a finite number",
                    "the weights are damaged or their training diverged: download them again, or train with a lower student.learning_rate",
                ),
            });
        }
        Ok(numbers)
    }

    /// How far the vocabulary has the words of the texts that were classified so far.
    pub(crate) fn coverage(&self) -> Coverage {
        *self.seen()
    }

    fn seen(&self) -> MutexGuard<'_, Coverage> {
        self.coverage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Probability of each class for each text, in the order of the texts: `[texts][classes]`.
    pub(crate) fn predict(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let logits = self.logits(texts)?;
        Ok(logits.iter().map(|logits| softmax(logits, self.temperature)).collect())
    }

    /// The answer to each text.
    pub(super) fn classify<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Prediction>> {
        let Some(scope) = self.confidence.scope() else {
            let (logits, truncated) = self.logits_of(texts)?;
            let rows = logits.iter().zip(truncated);
            let answer = |(logits, truncated): (&Vec<f32>, _)| {
                Prediction::new(softmax(logits, self.temperature), truncated, None)
            };
            return Ok(rows.map(answer).collect());
        };
        let (ids, truncated) = self.read(texts)?;
        let rows = self.forward(&ids, |rows| self.network.logits_and_pooled(rows))?;
        let answer = |(row, truncated): (&Vec<f32>, bool)| {
            let (logits, pooled) = row.split_at(self.labels.len());
            let in_scope = Some(scope.in_scope(pooled));
            Prediction::new(softmax(logits, self.temperature), truncated, in_scope)
        };
        Ok(rows.iter().zip(truncated).map(answer).collect())
    }

    /// All that there is to say about each text, in the order of the texts.
    pub(crate) fn scores<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Scores>> {
        let (ids, truncated) = self.read(texts)?;
        let logits = self.forward(&ids, |rows| self.network.logits(rows))?;
        let one = |(logits, (ids, truncated)): (Vec<f32>, (&Vec<u32>, bool))| Scores {
            probabilities: softmax(&logits, self.temperature),
            logits,
            tokens: ids.len(),
            truncated,
        };
        Ok(logits.into_iter().zip(ids.iter().zip(truncated)).map(one).collect())
    }

    /// Tokens that are read of a text, special ones included.
    pub(crate) fn max_length(&self) -> usize {
        self.max_length
    }

    /// The most tokens that its encoder can read.
    pub(crate) fn longest(&self) -> usize {
        self.base.config().max_positions
    }

    /// Which tokens of a text that is too long are read: the `first` or the `last`.
    pub(crate) fn part_read(&self) -> &'static str {
        match self.side() {
            TruncationDirection::Right => "first",
            TruncationDirection::Left => "last",
        }
    }

    /// The side on which a text that is too long is cut.
    fn side(&self) -> TruncationDirection {
        tokens::side(&self.base.inner.tokenizer)
    }

    /// The same classifier with another length limit, at most [`Self::longest`].
    pub(crate) fn with_max_length(mut self, max_length: usize) -> Self {
        self.max_length = max_length.min(self.longest());
        self
    }

    /// Writes a folder for [`Classifier::load`] and `transformers`: `config.json`,
    /// `model.safetensors`, `tokenizer.json` and its companions. The write is atomic and replaces
    /// an older student.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        let inner = &*self.base.inner;
        let head = (self.head, inner.prompt.as_str());
        let config =
            inner.config.for_classifier(&self.labels, head, self.max_length, self.temperature);
        let spec = ModelSpec::new(&inner.config, self.head, self.labels.len());
        let mut files = inner.files.clone();
        files.insert("config.json".to_owned(), json(&config));
        let weights = serialise(&*self.source, &spec.tensors())?;
        files.insert("model.safetensors".to_owned(), weights);
        let length = tokens::with_length(&files["tokenizer.json"], self.max_length, self.side());
        let length = length.map_err(|error| tokens::fault(&inner.origin, &error))?;
        files.insert("tokenizer.json".to_owned(), length);
        self.add_tokenizer_config(&mut files);
        let confidence = self.confidence.to_bytes(&self.head_hash()?)?;
        files.extend(confidence.map(|bytes| (confidence::FILE.to_owned(), bytes)));
        checkpoint::write_folder(folder, &files)
    }

    /// Writes its confidence into the folder that it was saved to.
    pub(crate) fn save_confidence(&self, folder: &Path) -> Result<()> {
        let path = folder.join(confidence::FILE);
        let written = match self.confidence.to_bytes(&self.head_hash()?)? {
            Some(bytes) => crate::fs::write_atomic(&path, &bytes),
            None if path.exists() => std::fs::remove_file(&path),
            None => Ok(()),
        };
        written.map_err(|source| StudentError::Write { path, source })
    }

    /// The trained tensors by their Hugging Face names.
    #[cfg(test)]
    pub(super) fn tensors(&self) -> super::weights::Tensors {
        let config = &self.base.inner.config;
        let wanted = ModelSpec::new(config, self.head, self.labels.len()).tensors();
        super::weights::tensors(&*self.source, &wanted, &Device::Cpu).unwrap()
    }

    /// Adds `tokenizer_config.json` and `special_tokens_map.json` if the base has none:
    /// `transformers` needs them to know the special tokens. States in either case the length that
    /// this classifier reads and the sides on which it cuts and pads.
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
            .filter(|(_, token)| self.base.inner.tokenizer.token_to_id(token).is_some())
            .map(|(role, token)| (role.to_owned(), Value::from(token)))
            .collect::<Map<_, _>>();
        let mut config = special.clone();
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        let stated = files.get("tokenizer_config.json");
        let mut config =
            stated.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or(config);
        config.insert("model_max_length".into(), self.max_length.into());
        config.insert("truncation_side".into(), self.side().as_ref().into());
        config.insert("padding_side".into(), "right".into());
        files.insert("tokenizer_config.json".to_owned(), json(&config));
        files.entry("special_tokens_map.json".to_owned()).or_insert_with(|| json(&special));
    }
}

fn json(map: &Map<String, Value>) -> Vec<u8> {
    let mut text = format!("{:#}", Value::Object(map.clone()));
    text.push('\n');
    text.into_bytes()
}
