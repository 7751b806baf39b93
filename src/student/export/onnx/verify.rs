//! Reads an ONNX file back from disk and compares it with what was to be written: the header, the
//! graph and every byte of the weights.

use std::{fs, path::Path};

use prost::Message;

use super::{
    super::{super::network::Source, ExportError},
    file::{header, model_without_graph, read_weight},
    layout,
    proto::Model,
};
use crate::student::model_spec::ModelSpec;

/// Compares the file at `path` with what [`write`](super::write) writes for the other arguments.
/// Returns the number of weights.
///
/// # Errors
/// [`ExportError::OnnxDiffers`] for any difference, and errors of reading the file or `source`.
pub(in crate::student::export) fn verify(
    path: &Path,
    spec: &ModelSpec,
    source: &dyn Source,
    metadata: &[(&str, String)],
) -> Result<usize, ExportError> {
    let differs = |what: String| ExportError::OnnxDiffers { path: path.to_owned(), what };
    let bytes =
        fs::read(path).map_err(|source| ExportError::Read { path: path.to_owned(), source })?;
    let mut model =
        Model::decode(bytes.as_slice()).map_err(|error| differs(format!("the format: {error}")))?;
    drop(bytes);
    let mut graph = model.graph.take().unwrap_or_default();
    let (mut expected, weights) = layout::build_graph(spec);
    let mut tensors = std::mem::take(&mut graph.initializer).into_iter();
    let constants = std::mem::take(&mut expected.initializer);
    if model != model_without_graph(metadata) {
        return Err(differs("the header".to_owned()));
    }
    let count = constants.len();
    if graph != expected || !tensors.by_ref().take(count).eq(constants) {
        return Err(differs("the graph".to_owned()));
    }
    for weight in &weights {
        let differs = || differs(format!("the weight {}", weight.name));
        let mut tensor = tensors.next().ok_or_else(differs)?;
        let data = tensor.raw_data.take().unwrap_or_default();
        let values = read_weight(weight, source)?;
        let same = data.len() == 4 * values.len()
            && data.chunks_exact(4).zip(&values).all(|(found, value)| found == value.to_le_bytes());
        if tensor != header(weight) || !same {
            return Err(differs());
        }
    }
    match tensors.next() {
        None => Ok(weights.len()),
        Some(tensor) => Err(differs(format!("the surplus weight {:?}", tensor.name))),
    }
}
