//! A trained classifier for others: a Hugging Face folder, an ONNX file, or both, checked before
//! anybody sees them.
//!
//! An export is a [`Draft`] first, in a hidden folder beside its goal. What was written there is read
//! back from disk and held against the classifier, text by text ([`Draft::check`]): the folder must
//! give the very same logits, `model.onnx`, computed by an interpreter of our own, the same within
//! [`LIMIT`]. Only then does it get its name ([`Draft::publish`]); a draft that is dropped leaves
//! nothing behind.
//!
//! | file | what it is for |
//! |---|---|
//! | `onnx` | the ONNX file: format, graph, writer, interpreter |
//! | `check` | the texts that are compared, and the comparison |
//!
//! Everything here reads the saved folder, so that what is checked is what is handed on; of the
//! [`Classifier`] only `load`, `save`, `labels` and `logits` are used.

mod check;
mod onnx;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use candle_core::Device;

use super::{
    Classifier, StudentError,
    config::{Architecture, Config, Pooling, TEMPERATURE_KEY},
    model_spec::ModelSpec,
    weights::Checkpoint,
};
use crate::hint::Hint;
use onnx::Interpreter;

/// Largest difference between two logits that the ONNX file may show: float32 summed in another
/// order differs by a hundredth of it.
pub(crate) const LIMIT: f32 = 1e-4;

const ONNX_FILE: &str = "model.onnx";
/// Where `config.json` keeps a fitted temperature.
const WEIGHTS_FILE: &str = "model.safetensors";

/// Why an export was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The classifier cannot be read, saved or computed.
    #[error(transparent)]
    Student(#[from] StudentError),
    /// The goal holds something already.
    #[error(
        "{path} exists and is not empty\nhint: name another folder with --to, or delete it first"
    )]
    Exists {
        /// The goal.
        path: PathBuf,
    },
    /// The goal is no name of a folder.
    #[error(
        "{path} does not name a folder that could be made\nhint: end --to in a folder's own name"
    )]
    NoName {
        /// The goal.
        path: PathBuf,
    },
    /// A file of the export cannot be written.
    #[error(
        "cannot write {path}: {source}\nhint: check that the folder is writable and has room; nothing was exported"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the export cannot be read back.
    #[error("cannot read {path} back: {source}\nhint: check the disk; nothing was exported")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More than an ONNX file may hold.
    #[error("model.onnx would be {:.1} GB, and ONNX files end at 2 GiB\nhint: export --format hf, which has no such bound, or train a smaller student", *bytes as f64 / 1e9)]
    TooLarge {
        /// The size that it would have.
        bytes: u64,
    },
    /// The ONNX file is not what was meant to be written.
    #[error(
        "{origin}: {message}\nhint: this is a fault of promptmix, please report it; --format hf exports without ONNX"
    )]
    Onnx {
        /// The file.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// What was written does not say what the classifier says.
    #[error(
        "{what} differs from the classifier by {difference:e} in a logit (at most {limit:e} is allowed; {texts} texts were compared)\nhint: nothing was exported; this is a fault of promptmix or of the disk, please report it"
    )]
    Differs {
        /// Which of the exported forms.
        what: &'static str,
        /// The largest difference.
        difference: f32,
        /// The largest that is allowed.
        limit: f32,
        /// Number of texts.
        texts: usize,
    },
}

impl Hint for ExportError {}

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A Hugging Face folder.
    HuggingFace,
    /// `model.onnx`, with the configuration and the tokenizer that belong to it.
    Onnx,
    /// Both in one folder.
    All,
}

/// What a classifier is, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    /// DistilBERT or BERT.
    pub architecture: Architecture,
    /// Transformer layers.
    pub layers: usize,
    /// Width of a hidden vector.
    pub hidden: usize,
    /// Attention heads per layer.
    pub heads: usize,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Numbers in all tensors together.
    pub parameters: usize,
    /// The classes, in the order of the logits.
    pub labels: Vec<String>,
    /// How the hidden vectors of a text become one.
    pub pooling: Pooling,
    /// Tokens after which a text is cut.
    pub max_length: usize,
    /// Tokens that the position table has room for.
    pub positions: usize,
    /// What logits are divided by to give probabilities, where one was fitted.
    pub temperature: Option<f64>,
    /// SHA-256 (hex) of the exported `model.safetensors`.
    pub sha256: String,
}

/// The outcome of one comparison with the classifier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Compared {
    /// Texts compared.
    pub texts: usize,
    /// Largest difference between two logits.
    pub difference: f32,
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Checks {
    /// The folder, loaded again; its difference is 0.
    pub folder: Compared,
    /// The ONNX file, at most [`LIMIT`] away.
    pub onnx: Option<Compared>,
}

/// An export that has no name yet. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Draft {
    classifier: Classifier,
    facts: Facts,
    folder: Hidden,
    to: PathBuf,
    format: Format,
}

impl Draft {
    /// Writes the classifier in the folder `student` as `format`, beside the goal `to`.
    ///
    /// # Errors
    /// A student that cannot be read, a goal that holds files, a disk that is full, a network too
    /// large for ONNX.
    pub(crate) fn write(student: &Path, to: &Path, format: Format) -> Result<Self, ExportError> {
        // The processor's numbers are the same each time; a GPU's need not be.
        let classifier = Classifier::load(student, &Device::Cpu)?;
        let name = to.file_name().ok_or_else(|| ExportError::NoName { path: to.to_owned() })?;
        if to.exists() && !fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_none()) {
            return Err(ExportError::Exists { path: to.to_owned() });
        }
        let hidden = format!(".{}.export-{}", name.to_string_lossy(), std::process::id());
        let folder = Hidden(to.with_file_name(hidden));
        classifier.save(&folder)?;
        let config = read(&folder.join("config.json"))?;
        let origin = folder.display().to_string();
        let config = Config::parse(&config, &origin)?;
        let mut draft = Self {
            facts: Facts {
                architecture: config.architecture,
                layers: config.layers,
                hidden: config.hidden_size,
                heads: config.heads,
                vocabulary: config.vocab_size,
                parameters: 0,
                labels: classifier.labels().to_vec(),
                pooling: config.pooling,
                max_length: config.max_length.unwrap_or(config.max_positions),
                positions: config.max_positions,
                temperature: config.raw.get(TEMPERATURE_KEY).and_then(serde_json::Value::as_f64),
                sha256: String::new(),
            },
            classifier,
            folder,
            to: to.to_owned(),
            format,
        };
        let weights = draft.folder.join(WEIGHTS_FILE);
        let weights = Checkpoint::open(&weights, config.architecture, &origin)?;
        draft.facts.sha256 = weights.sha256().to_owned();
        let (pooling, classes) = (draft.facts.pooling, draft.facts.labels.len());
        let spec = ModelSpec::new(&config, pooling, classes);
        draft.facts.parameters = spec.parameters();
        if format != Format::HuggingFace {
            let about = about(&draft.facts);
            onnx::write(&draft.folder.join(ONNX_FILE), &spec, &weights, &about)?;
        }
        Ok(draft)
    }

    /// What the classifier is.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Reads back what was written and compares it with the classifier, on texts of our own and on
    /// `texts`.
    ///
    /// # Errors
    /// [`ExportError::Differs`] where it does not say the same.
    pub(crate) fn check(&self, texts: &[String]) -> Result<Checks, ExportError> {
        let own = check::probes(self.facts.max_length);
        let number = own.len();
        let all: Vec<String> = own.into_iter().chain(texts.iter().cloned()).collect();
        let wanted = self.classifier.logits(&all)?;
        let again = Classifier::load(&self.folder, &Device::Cpu)?.logits(&all)?;
        let folder = check::compare(&wanted, &again);
        folder.within(0.0, "the Hugging Face folder, loaded again,")?;
        if self.format == Format::HuggingFace {
            return Ok(Checks { folder, onnx: None });
        }
        let chosen = check::sample(number, all.len());
        let texts: Vec<&str> = chosen.iter().map(|&at| all[at].as_str()).collect();
        let interpreter = Interpreter::read(&self.folder.join(ONNX_FILE))?;
        let computed = check::interpret(&interpreter, &self.folder, &self.facts, &texts)?;
        let (wanted, computed): (Vec<_>, Vec<_>) = chosen
            .iter()
            .zip(computed)
            .filter_map(|(&at, row)| Some((wanted[at].clone(), row?)))
            .unzip();
        let onnx = check::compare(&wanted, &computed);
        onnx.within(LIMIT, ONNX_FILE)?;
        Ok(Checks { folder, onnx: Some(onnx) })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn add(&self, name: &str, text: &str) -> Result<(), ExportError> {
        let path = self.folder.join(name);
        let written = fs::write(&path, text).and_then(|()| File::open(&path)?.sync_all());
        written.map_err(|source| ExportError::Write { path, source })
    }

    /// Gives the draft its name. Returns its files with their sizes in bytes, by name.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn publish(self) -> Result<Vec<(String, u64)>, ExportError> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |source| ExportError::Write { path, source }
        };
        if self.format == Format::Onnx {
            let weights = self.folder.join(WEIGHTS_FILE);
            fs::remove_file(&weights).map_err(fault(&weights))?;
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(&*self.folder).map_err(fault(&self.folder))? {
            let entry = entry.map_err(fault(&self.folder))?;
            let size = entry.metadata().map_err(fault(&entry.path()))?.len();
            files.push((entry.file_name().to_string_lossy().into_owned(), size));
        }
        files.sort();
        if self.to.exists() {
            // Empty, as it was looked at before; a folder that is not stays.
            fs::remove_dir(&self.to).map_err(fault(&self.to))?;
        }
        fs::rename(&*self.folder, &self.to).map_err(fault(&self.to))?;
        Ok(files)
    }
}

/// The draft's folder, which goes with it.
#[derive(Debug)]
struct Hidden(PathBuf);

impl std::ops::Deref for Hidden {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Gone already where it was published; a rest is hidden and harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a user of the ONNX file must know beside its inputs.
fn about(facts: &Facts) -> Vec<(&'static str, String)> {
    let labels = serde_json::Value::from(facts.labels.clone()).to_string();
    let pooling = match facts.pooling {
        Pooling::First => "first",
        Pooling::Mean => "mean",
    };
    let length = facts.max_length.to_string();
    let mut about = vec![("labels", labels), ("max_length", length), ("pooling", pooling.into())];
    about.extend(facts.temperature.map(|value| ("temperature", value.to_string())));
    about
}

fn read(path: &Path) -> Result<Vec<u8>, ExportError> {
    fs::read(path).map_err(|source| ExportError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
