//! A source that reads nothing from its file any more once the network is built: a file that is
//! overwritten or cut short meanwhile changes no answer and ends no process.
//!
//! The engine for CPUs copies all weights but the word embeddings, which it looks up row by row.
//! Those are kept here, as F32.

use std::sync::Arc;

use super::{Result, model_spec::ModelSpec, network::Source, weights::Weights};

pub(super) struct Resident {
    /// Full name of the word table.
    words: String,
    table: Weights,
    /// The source of all else, while the network is built.
    rest: Arc<dyn Source>,
}

impl Resident {
    /// Reads the word table of `spec` from `source`.
    pub(super) fn new(source: Arc<dyn Source>, spec: &ModelSpec) -> Result<Self> {
        let mut table = vec![0.0; spec.words_kept * spec.hidden];
        source.read(&spec.words, &mut table)?;
        let words = spec.words.clone();
        let table = Weights([(words.clone(), table)].into());
        Ok(Self { words, table, rest: source })
    }
}

impl Source for Resident {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        if name == self.words { self.table.read(name, out) } else { self.rest.read(name, out) }
    }

    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()> {
        if name == self.words {
            self.table.rows(name, ids, out)
        } else {
            self.rest.rows(name, ids, out)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use candle_core::Device;

    use crate::student::{Classifier, Precision, parity::fixture};

    #[test]
    fn a_file_that_is_emptied_under_a_resident_classifier_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixture("bert")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let student =
            Classifier::load_resident(folder.path(), &Device::Cpu, Precision::F32).unwrap();
        let texts = ["my card is lost", "the train"].map(str::to_owned);
        let before = student.scores(&texts).unwrap();
        let weights = folder.path().join("model.safetensors");
        // A mapped page behind the end of its file ends the process.
        OpenOptions::new().write(true).truncate(true).open(weights).unwrap();
        let after = student.scores(&texts).unwrap();
        let plain = Classifier::load(&fixture("bert"), &Device::Cpu).unwrap();
        for ((before, after), plain) in
            before.iter().zip(&after).zip(plain.predict(&texts).unwrap())
        {
            assert_eq!(before.logits, after.logits);
            assert_eq!(after.probabilities, plain);
            assert!(!after.truncated && after.tokens >= 3);
        }
    }
}
