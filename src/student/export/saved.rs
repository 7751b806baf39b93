//! The weights of a `model.safetensors` of our own, read tensor by tensor: an export never holds more
//! than one of them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::super::network::Source;
use super::super::{Result, StudentError};

/// An open file; F32 throughout, as [`super::super::Classifier::save`] writes it.
pub(super) struct SavedWeights {
    path: PathBuf,
    file: Mutex<File>,
    tensors: HashMap<String, Tensor>,
    /// Where the numbers begin.
    start: u64,
}

/// A tensor in the file's header.
#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl SavedWeights {
    /// Reads the header of the file at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let fault = |source| StudentError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(fault)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(fault)?;
        let length = u64::from_le_bytes(length);
        let mut header = Vec::new();
        file.by_ref().take(length).read_to_end(&mut header).map_err(fault)?;
        let parsed: serde_json::Result<HashMap<String, serde_json::Value>> =
            serde_json::from_slice(&header);
        let tensors = parsed.and_then(|mut entries| {
            entries.remove("__metadata__");
            let tensor = |(name, value)| Ok((name, serde_json::from_value(value)?));
            entries.into_iter().map(tensor).collect::<serde_json::Result<_>>()
        });
        let tensors = tensors.map_err(|error| StudentError::Weights {
            origin: path.display().to_string(),
            message: error.to_string(),
        })?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), tensors, start: 8 + length })
    }

    /// The tensor `name`, which is F32.
    fn find(&self, name: &str) -> Result<&Tensor> {
        let found = self.tensors.get(name).filter(|tensor| tensor.dtype == "F32");
        found.ok_or_else(|| StudentError::Weights {
            origin: self.path.display().to_string(),
            message: format!("{name} is not there as F32"),
        })
    }

    /// Fills `out` from the numbers at `place` on (counted within the tensor).
    fn fill(&self, tensor: &Tensor, place: usize, out: &mut [f32]) -> Result<()> {
        let fault = |source| StudentError::Read { path: self.path.clone(), source };
        let mut bytes = vec![0; 4 * out.len()];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.start + tensor.data_offsets.0 + 4 * place as u64;
        file.seek(SeekFrom::Start(at)).map_err(fault)?;
        file.read_exact(&mut bytes).map_err(fault)?;
        for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*bytes);
        }
        Ok(())
    }

    fn misshapen(&self, name: &str, tensor: &Tensor) -> StudentError {
        StudentError::Weights {
            origin: self.path.display().to_string(),
            message: format!("{name} is {:?}, config.json wants another shape", tensor.shape),
        }
    }
}

impl Source for SavedWeights {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let tensor = self.find(name)?;
        if tensor.shape.iter().product::<usize>() != out.len() {
            return Err(self.misshapen(name, tensor));
        }
        self.fill(tensor, 0, out)
    }

    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let tensor = self.find(name)?;
        let &[rows, width] = tensor.shape.as_slice() else {
            return Err(self.misshapen(name, tensor));
        };
        let inside = ids.iter().all(|&id| (id as usize) < rows);
        if !inside || out.len() != ids.len() * width {
            return Err(self.misshapen(name, tensor));
        }
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(width)) {
            self.fill(tensor, id as usize * width, row)?;
        }
        Ok(())
    }
}
