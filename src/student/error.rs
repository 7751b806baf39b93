//! What can go wrong between a folder and a trained classifier, and how to mend it.

use std::path::PathBuf;

use thiserror::Error;

/// A fault of the student: its files, its settings, or its training.
#[derive(Debug, Error)]
pub enum StudentError {
    /// A file of a model folder cannot be read.
    #[error("cannot read {}: {source}\nhint: a student folder holds config.json, model.safetensors and tokenizer.json", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of a model folder cannot be written.
    #[error("cannot write {}: {source}{}", path.display(), mend(source))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `config.json` is no JSON, or describes a network we do not have.
    #[error("{origin}: config.json: {message}")]
    Config {
        /// The folder, or the name of an embedded model.
        origin: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// `model.safetensors` does not hold what `config.json` promises.
    #[error("{origin}: model.safetensors: {message}")]
    Weights {
        /// The folder, or the name of an embedded model.
        origin: String,
        /// Every missing or misshapen tensor with the shape wanted and the shape found.
        message: String,
    },
    /// `tokenizer.json` cannot be used, or a text cannot be tokenised.
    #[error("{origin}: tokenizer.json: {message}")]
    Tokenizer {
        /// The folder, or the name of an embedded model.
        origin: String,
        /// What the tokenizer said.
        message: String,
    },
    /// The examples or the settings cannot be trained on.
    #[error("cannot train the student: {0}")]
    Training(String),
    /// A training was broken off by whoever watches it.
    #[error(
        "the training was broken off\nhint: run the same command again; it goes on from where it was, where its state was kept"
    )]
    Stopped,
    /// The tensor engine failed: out of memory, a device lost, a bug of ours.
    #[error("the tensor engine failed: {}{}", .0, room(.0))]
    Engine(#[from] candle_core::Error),
}

/// What helps against a write that failed, unless `source` says so itself.
fn mend(source: &std::io::Error) -> &'static str {
    match source.to_string().contains("hint: ") {
        true => "",
        false => {
            "\nhint: what was finished is safe; make room or give the rights, and run the same command again"
        }
    }
}

/// What helps where a device has no memory left: the drivers say so in words alone.
fn room(source: &candle_core::Error) -> &'static str {
    let told = source.to_string().to_lowercase();
    match told.contains("out of memory") || told.contains("out_of_memory") {
        true => {
            "\nhint: the GPU has too little free memory: set student.micro_batch or student.max_length lower, take a smaller student, or end what else runs there"
        }
        false => "",
    }
}
