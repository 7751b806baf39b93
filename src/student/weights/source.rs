//! Weights in memory as a source, as candle's tensors (in tests), and as a file.

use std::collections::BTreeMap;

#[cfg(test)]
use candle_core::{Device, Tensor};
use serde_json::{Map, Value, json};

use super::{super::network::Source, LENGTH, Result, StudentError};
use crate::student::{error::Fault, model_spec::TensorSpec};

#[cfg(test)]
/// Candle's tensors by their full Hugging Face name.
pub(in crate::student) type Tensors = BTreeMap<String, Tensor>;

/// Weights in memory by their full names, such as a learner's.
pub(in crate::student) struct Weights(pub BTreeMap<String, Vec<f32>>);

impl Weights {
    fn get(&self, name: &str) -> Result<&[f32]> {
        let weights = self.0.get(name).map(Vec::as_slice);
        weights.ok_or_else(|| fault(format!("{name} is missing")))
    }
}

impl Source for Weights {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let weights = self.get(name)?;
        if weights.len() != out.len() {
            let message = format!("{name} has {} numbers, the buffer {}", weights.len(), out.len());
            return Err(fault(message));
        }
        out.copy_from_slice(weights);
        Ok(())
    }

    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let weights = self.get(name)?;
        if ids.is_empty() {
            return Ok(());
        }
        let width = out.len() / ids.len();
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(width.max(1))) {
            let start = id as usize * width;
            let row = weights.get(start..start + width);
            let row = row.ok_or_else(|| fault(format!("{name} has no row {id}")))?;
            out.copy_from_slice(row);
        }
        Ok(())
    }
}

fn fault(message: String) -> StudentError {
    StudentError::Weights { origin: "the trained student".to_owned(), fault: Fault::new(message) }
}

#[cfg(test)]
/// Reads `wanted` as candle's tensors on `device`.
pub(in crate::student) fn tensors(
    source: &dyn Source,
    wanted: &[TensorSpec],
    device: &Device,
) -> Result<Tensors> {
    let read = |wanted: &TensorSpec| {
        let mut values = vec![0.0; wanted.shape.iter().product()];
        source.read(&wanted.name, &mut values)?;
        Ok((wanted.name.clone(), Tensor::from_vec(values, wanted.shape.as_slice(), device)?))
    };
    wanted.iter().map(read).collect()
}

/// [`serialise_with`] without further metadata.
pub(in crate::student) fn serialise(source: &dyn Source, wanted: &[TensorSpec]) -> Result<Vec<u8>> {
    serialise_with(source, wanted, Map::new())
}

/// A safetensors file with the tensors `wanted`, in F32, and `metadata`, texts by their keys.
pub(in crate::student) fn serialise_with(
    source: &dyn Source,
    wanted: &[TensorSpec],
    mut metadata: Map<String, Value>,
) -> Result<Vec<u8>> {
    // `transformers` refuses a file whose metadata does not name a framework.
    metadata.insert("format".to_owned(), "pt".into());
    let mut header = Map::from_iter([("__metadata__".to_owned(), Value::Object(metadata))]);
    let mut end = 0;
    for TensorSpec { name, shape } in wanted {
        let start = end;
        end += shape.iter().product::<usize>() * size_of::<f32>();
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // Align the data to eight bytes.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = Vec::with_capacity(LENGTH + header.len() + end);
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    let mut values = Vec::new();
    for TensorSpec { name, shape } in wanted {
        values.resize(shape.iter().product(), 0.0);
        source.read(name, &mut values)?;
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    Ok(file)
}
