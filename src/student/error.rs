//! Errors of reading, training and running a student.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    path::PathBuf,
};

use thiserror::Error;

use crate::{hint::Hint, models::ModelError};

/// Hint of an error that only a bug in promptmix can cause.
pub(super) const BUG: &str = "this is a bug in promptmix; please report it";
/// Hint of a tokenizer that does not fit its `config.json`.
pub(super) const TAKE_TOKENIZER_AND_CONFIG: &str =
    "take tokenizer.json and config.json from the same model";
/// Hint of weights that do not fit their `config.json`.
pub(super) const TAKE_CONFIG_AND_WEIGHTS: &str =
    "take config.json and model.safetensors from the same model";

/// Hint of a GPU that is out of memory.
const FREE_GPU_MEMORY: &str = "the GPU has too little free memory: lower `student.micro_batch` or \
    `student.max_length`, take a smaller student, or end what else runs on the GPU";

/// What is wrong with a file or a training, and the hint where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    message: String,
    hint: Option<Cow<'static, str>>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn with_hint(
        message: impl Into<String>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

impl std::error::Error for Fault {}

impl Hint for Fault {
    fn hint(&self) -> Option<Cow<'_, str>> {
        self.hint.as_deref().map(Cow::Borrowed)
    }
}

impl Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// An error of the student: its files, its settings, or its training.
#[derive(Debug, Error)]
pub(crate) enum StudentError {
    /// A file of a model folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        source: std::io::Error,
    },
    /// A model folder holds a model in another format.
    #[error("{} has no {missing}, but {}", folder.display(), found.display())]
    OtherFormat {
        /// The folder.
        folder: PathBuf,
        /// The file that it lacks.
        missing: &'static str,
        /// The file that shows what it holds.
        found: PathBuf,
        hint: String,
    },
    /// A file of a model folder cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        source: std::io::Error,
    },
    /// The folder to write holds something other than a model.
    #[error("cannot write {}: it exists and holds something other than a model", path.display())]
    NotAModel {
        /// The folder.
        path: PathBuf,
    },
    /// `config.json` is not JSON, or describes a network that is not supported.
    #[error("{origin}: config.json: {fault}")]
    Config {
        /// The folder, or the name of an embedded model.
        origin: String,
        fault: Fault,
    },
    /// `model.safetensors` does not hold what `config.json` promises.
    #[error("{origin}: model.safetensors: {fault}")]
    Weights {
        /// The folder, or the name of an embedded model.
        origin: String,
        /// Every missing or misshapen tensor with the expected and the actual shape.
        fault: Fault,
    },
    /// `tokenizer.json` cannot be used, or a text cannot be tokenised.
    #[error("{origin}: tokenizer.json: {fault}")]
    Tokenizer {
        /// The folder, or the name of an embedded model.
        origin: String,
        fault: Fault,
    },
    /// A file of sentence-transformers asks for something that is not supported.
    #[error("{}: {fault}", path.display())]
    Sentence {
        /// The file.
        path: PathBuf,
        fault: Fault,
    },
    /// The file of the student's confidence is damaged, or of another student.
    #[error("{}: {fault}", path.display())]
    Confidence {
        /// The file.
        path: PathBuf,
        fault: Fault,
    },
    /// The examples or the settings cannot be trained on.
    #[error("cannot train the student: {0}")]
    Training(Fault),
    /// The progress callback stopped a training.
    #[error("the training was interrupted")]
    Stopped,
    /// The model is not available.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tensor library failed: out of memory, a lost device, a bug.
    #[error("the tensor library failed")]
    Engine(#[from] candle_core::Error),
}

impl StudentError {
    /// A training error without a hint.
    pub(super) fn training(message: impl Into<String>) -> Self {
        Self::Training(Fault::new(message))
    }

    /// A training error that only a bug in promptmix can cause.
    pub(super) fn bug(message: impl Into<String>) -> Self {
        Self::Training(Fault::with_hint(message, BUG))
    }
}

impl Hint for StudentError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Read { .. } => Some(
                "a student folder holds config.json, model.safetensors and tokenizer.json".into(),
            ),
            Self::OtherFormat { hint, .. } => Some(hint.into()),
            Self::Write { .. } => Some(
                "finished work is safe; free disk space or grant write access, then rerun the same command"
                    .into(),
            ),
            Self::NotAModel { .. } => Some("name another folder".into()),
            Self::Config { fault, .. }
            | Self::Weights { fault, .. }
            | Self::Tokenizer { fault, .. }
            | Self::Sentence { fault, .. }
            | Self::Confidence { fault, .. }
            | Self::Training(fault) => fault.hint(),
            Self::Stopped => Some(
                "rerun the same command: it resumes from the last snapshot if there is one".into(),
            ),
            Self::Model(error) => error.hint(),
            Self::Engine(source) => is_out_of_memory(source).then(|| FREE_GPU_MEMORY.into()),
        }
    }
}

/// Whether a device has no memory left: the drivers report it only in their message.
fn is_out_of_memory(source: &candle_core::Error) -> bool {
    let message = source.to_string().to_lowercase();
    message.contains("out of memory") || message.contains("out_of_memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_out_of_memory_has_a_hint() {
        let hint = |message: &str| {
            let error = StudentError::from(candle_core::Error::Msg(message.to_owned()));
            error.hint().map(Cow::into_owned)
        };
        assert_eq!(
            hint("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")").as_deref(),
            Some(FREE_GPU_MEMORY)
        );
        assert_eq!(hint("shape mismatch"), None);
    }
}
