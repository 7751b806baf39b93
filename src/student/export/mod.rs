//! Exports a trained classifier as a Hugging Face folder, an ONNX file, or both, and checks them.
//!
//! An export begins as a [`Draft`] in a hidden folder beside its target. [`Draft::check`] reads the
//! files back from disk: the folder must give exactly the classifier's logits, `model.onnx` must
//! hold the intended graph and exactly the folder's weights. Then [`Draft::publish`] renames the
//! folder. Dropping a draft deletes it.
//!
//! | file | what it is for |
//! |---|---|
//! | `onnx` | the ONNX file: format, graph, writer, verification |
//! | `check` | the texts to compare, and the comparison |

mod check;
mod onnx;

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use candle_core::Device;

use super::{
    Classifier, StudentError, confidence,
    config::{Architecture, Config, Head, Pooling, TEMPERATURE_KEY},
    model_spec::ModelSpec,
    weights::Checkpoint,
};
use crate::hint::Hint;

const ONNX_FILE: &str = "model.onnx";
const WEIGHTS_FILE: &str = "model.safetensors";

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The classifier cannot be read, saved or computed.
    #[error(transparent)]
    Student(#[from] StudentError),
    /// The target folder is not empty.
    #[error("{} exists and is not empty", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The target has no file name.
    #[error("{} does not name a folder that can be created", path.display())]
    NoName {
        /// The target.
        path: PathBuf,
    },
    /// A file of the export cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        source: io::Error,
    },
    /// A file of the export cannot be read back.
    #[error("cannot read {} back", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        source: io::Error,
    },
    /// The ONNX file would exceed the limit of its format.
    #[error("model.onnx would be {:.1} GB, more than the 2 GiB of an ONNX file", *bytes as f64 / 1e9)]
    TooLarge {
        /// The size that it would have.
        bytes: u64,
    },
    /// The ONNX file, read back, is not what was written.
    #[error("{} differs from what was written: {what}", path.display())]
    OnnxDiffers {
        /// The file.
        path: PathBuf,
        /// The part that differs.
        what: String,
    },
    /// The exported folder gives other logits than the classifier.
    #[error(
        "the exported folder, loaded again, differs from the classifier by {difference:e} in a logit ({texts} texts were compared)"
    )]
    Differs {
        /// The largest difference.
        difference: f32,
        /// Number of texts.
        texts: usize,
    },
}

impl Hint for ExportError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Student(error) => return error.hint(),
            Self::Exists { .. } => "name another folder with --to, or delete it first",
            Self::NoName { .. } => "end --to with the name of a folder",
            Self::Write { .. } => {
                "check that the folder is writable and that the disk has space; nothing was exported"
            }
            Self::Read { .. } => "check the disk; nothing was exported",
            Self::TooLarge { .. } => {
                "use --format hf, which has no such limit, or train a smaller student"
            }
            Self::OnnxDiffers { .. } | Self::Differs { .. } => {
                "nothing was exported; check the disk, and if it is sound please report a bug"
            }
        };
        Some(hint.into())
    }
}

/// The files to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A Hugging Face folder.
    HuggingFace,
    /// `model.onnx`, with its configuration and tokenizer.
    Onnx,
    /// Both in one folder.
    All,
}

/// The properties of a classifier.
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
    /// Number of parameters in all tensors.
    pub parameters: usize,
    /// The classes, in the order of the logits.
    pub labels: Vec<String>,
    /// What follows the encoder.
    pub head: Head,
    /// Tokens to which a text is truncated.
    pub max_length: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// What is read before each text; empty for nothing.
    pub prompt: String,
    /// The fitted temperature, if any.
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

/// The checks that an export passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Checks {
    /// The folder, loaded again; its difference is 0.
    pub folder: Compared,
    /// Tensors of the ONNX file, whose weights all equal the folder's.
    pub onnx_weights: Option<usize>,
}

/// An export before it gets its final name. Dropping it deletes it.
#[derive(Debug)]
pub(crate) struct Draft {
    classifier: Classifier,
    facts: Facts,
    folder: TempFolder,
    to: PathBuf,
    format: Format,
}

impl Draft {
    /// Writes the classifier in the folder `student` as `format`, to a folder beside the target
    /// `to`.
    ///
    /// # Errors
    /// The student cannot be read, the target holds files, the disk is full, or the network is too
    /// large for ONNX.
    pub(crate) fn write(student: &Path, to: &Path, format: Format) -> Result<Self, ExportError> {
        // Results on a CPU are reproducible; those of a GPU need not be.
        let classifier = Classifier::load(student, &Device::Cpu)?;
        let name = to.file_name().ok_or_else(|| ExportError::NoName { path: to.to_owned() })?;
        if to.exists() && !fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_none()) {
            return Err(ExportError::Exists { path: to.to_owned() });
        }
        let name = format!(".{}.export-{}", name.to_string_lossy(), std::process::id());
        let folder = TempFolder(to.with_file_name(name));
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
                head: config.head,
                max_length: config.max_length.unwrap_or(config.max_positions),
                positions: config.max_positions,
                prompt: config.prompt.clone(),
                temperature: config.raw.get(TEMPERATURE_KEY).and_then(serde_json::Value::as_f64),
                sha256: String::new(),
            },
            classifier,
            folder,
            to: to.to_owned(),
            format,
        };
        let weights = draft.weights()?;
        let spec = draft.spec()?;
        draft.facts.sha256 = weights.sha256().to_owned();
        draft.facts.parameters = spec.parameters();
        if format != Format::HuggingFace {
            let metadata = metadata(&draft.facts);
            onnx::write(&draft.folder.join(ONNX_FILE), &spec, &weights, &metadata)?;
        }
        Ok(draft)
    }

    /// The weights in the folder.
    fn weights(&self) -> Result<Checkpoint, ExportError> {
        let (path, origin) = (self.folder.join(WEIGHTS_FILE), self.folder.display().to_string());
        Ok(Checkpoint::open(&path, self.facts.architecture, &origin)?)
    }

    /// The network that the folder's configuration describes.
    fn spec(&self) -> Result<ModelSpec, ExportError> {
        let config = read(&self.folder.join("config.json"))?;
        let config = Config::parse(&config, &self.folder.display().to_string())?;
        Ok(ModelSpec::new(&config, self.facts.head, self.facts.labels.len()))
    }

    /// The properties of the classifier.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Reads the files back and compares the folder's logits with the classifier's, on built-in
    /// texts and on `texts`, and the ONNX file with the folder's weights.
    ///
    /// # Errors
    /// [`ExportError::Differs`] and [`ExportError::OnnxDiffers`].
    pub(crate) fn check(&self, texts: &[String]) -> Result<Checks, ExportError> {
        let built_in = check::probes(self.facts.max_length);
        let texts: Vec<String> = built_in.into_iter().chain(texts.iter().cloned()).collect();
        let expected = self.classifier.logits(&texts)?;
        let found = Classifier::load(&self.folder, &Device::Cpu)?.logits(&texts)?;
        let folder = check::compare(&expected, &found);
        folder.must_be_equal()?;
        if self.format == Format::HuggingFace {
            return Ok(Checks { folder, onnx_weights: None });
        }
        let path = self.folder.join(ONNX_FILE);
        let weights = onnx::verify(&path, &self.spec()?, &self.weights()?, &metadata(&self.facts))?;
        Ok(Checks { folder, onnx_weights: Some(weights) })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn add(&self, name: &str, content: &[u8]) -> Result<(), ExportError> {
        let path = self.folder.join(name);
        // An export is meant to be passed on: its permissions follow the umask.
        let written = fs::File::create_new(&path)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
        written.map_err(|source| ExportError::Write { path, source })
    }

    /// Renames the draft to its target. Returns its files with their sizes in bytes, by name.
    ///
    /// # Errors
    /// A file cannot be removed or the folder cannot be renamed.
    pub(crate) fn publish(self) -> Result<Vec<(String, u64)>, ExportError> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |source| ExportError::Write { path, source }
        };
        if self.format == Format::Onnx {
            let weights = self.folder.join(WEIGHTS_FILE);
            fs::remove_file(&weights).map_err(fault(&weights))?;
            // It is about embeddings, which an ONNX file does not give.
            let confidence = self.folder.join(confidence::FILE);
            if confidence.exists() {
                fs::remove_file(&confidence).map_err(fault(&confidence))?;
            }
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(&*self.folder).map_err(fault(&self.folder))? {
            let entry = entry.map_err(fault(&self.folder))?;
            let size = entry.metadata().map_err(fault(&entry.path()))?.len();
            files.push((entry.file_name().to_string_lossy().into_owned(), size));
        }
        files.sort();
        // `write` checked that the target is empty; if that changed, this fails. Unix renames over
        // an empty folder in one step.
        if cfg!(not(unix)) && self.to.exists() {
            fs::remove_dir(&self.to).map_err(fault(&self.to))?;
        }
        fs::rename(&*self.folder, &self.to).map_err(fault(&self.to))?;
        Ok(files)
    }
}

/// The draft's folder, deleted on drop.
#[derive(Debug)]
struct TempFolder(PathBuf);

impl std::ops::Deref for TempFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // A published folder is already renamed. Remains of a failed deletion are hidden and
        // harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What users of the ONNX file need beside its inputs, for its metadata.
fn metadata(facts: &Facts) -> Vec<(&'static str, String)> {
    let labels = serde_json::Value::from(facts.labels.clone()).to_string();
    let head = match facts.head {
        Head::Mlp(_) => "mlp",
        Head::Linear(_) => "linear",
    };
    let pooling = match facts.head.pooling() {
        Pooling::First => "first",
        Pooling::Mean => "mean",
    };
    let length = facts.max_length.to_string();
    let mut metadata = vec![
        ("labels", labels),
        ("max_length", length),
        ("head", head.into()),
        ("pooling", pooling.into()),
    ];
    if !facts.prompt.is_empty() {
        metadata.push(("prompt", facts.prompt.clone()));
    }
    metadata.extend(facts.temperature.map(|value| ("temperature", value.to_string())));
    metadata
}

fn read(path: &Path) -> Result<Vec<u8>, ExportError> {
    fs::read(path).map_err(|source| ExportError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
