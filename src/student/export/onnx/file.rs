//! Writes `model.onnx`, one weight after another, so that the file is never in memory as a whole.
//!
//! Protobuf prefixes a message with its length and accepts fields in any order. So the lengths are
//! summed up first; then `prost` encodes each weight's header, and its numbers follow directly.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use prost::Message;

use super::{
    super::{super::network::Source, ExportError},
    graph::{Form, Weight},
    layout,
    proto::{
        Entry, FLOAT, GRAPH_INITIALIZER, Graph, MODEL_GRAPH, Model, Opset, TENSOR_RAW_DATA,
        TensorData,
    },
};
use crate::student::model_spec::ModelSpec;

/// Version of the operator set: the first with `LayerNormalization`.
const OPSET: i64 = 17;
/// The version of the file format that belongs to it.
const IR_VERSION: i64 = 8;
/// The size limit of protobuf readers.
const MOST_BYTES: u64 = i32::MAX as u64;

/// Writes the classifier of `spec` with the weights of `source` and the file's `metadata` to
/// `path`. Returns the number of bytes.
///
/// # Errors
/// [`ExportError::TooLarge`] from 2 GiB on, and errors of reading a weight or writing.
pub(in crate::student::export) fn write(
    path: &Path,
    spec: &ModelSpec,
    source: &dyn Source,
    metadata: &[(&str, String)],
) -> Result<u64, ExportError> {
    let (graph, weights) = layout::build_graph(spec);
    let model = model_without_graph(metadata);
    let bodies: u64 = weights.iter().map(|weight| field_length(body_length(weight))).sum();
    let graph_length = graph.encoded_len() as u64 + bodies;
    let bytes = model.encoded_len() as u64 + field_length(graph_length);
    if bytes > MOST_BYTES {
        return Err(ExportError::TooLarge { bytes });
    }
    let fault = |source| ExportError::Write { path: path.to_owned(), source };
    let mut to = BufWriter::new(std::fs::File::create_new(path).map_err(fault)?);
    to.write_all(&model.encode_to_vec()).map_err(fault)?;
    begin(&mut to, MODEL_GRAPH, graph_length).map_err(fault)?;
    to.write_all(&Graph::encode_to_vec(&graph)).map_err(fault)?;
    for weight in &weights {
        let values = read_weight(weight, source)?;
        begin(&mut to, GRAPH_INITIALIZER, body_length(weight)).map_err(fault)?;
        to.write_all(&header(weight).encode_to_vec()).map_err(fault)?;
        begin(&mut to, TENSOR_RAW_DATA, raw_length(weight)).map_err(fault)?;
        for value in values {
            to.write_all(&value.to_le_bytes()).map_err(fault)?;
        }
    }
    let file = to.into_inner().map_err(|error| fault(error.into_error()))?;
    file.sync_all().map_err(fault)?;
    Ok(bytes)
}

/// The model message without its graph.
pub(super) fn model_without_graph(metadata: &[(&str, String)]) -> Model {
    let metadata = metadata
        .iter()
        .map(|(key, value)| Entry { key: Some((*key).to_owned()), value: Some(value.clone()) });
    Model {
        ir_version: Some(IR_VERSION),
        producer_name: Some("promptmix".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        opset_import: vec![Opset { domain: Some(String::new()), version: Some(OPSET) }],
        metadata: metadata.collect(),
        ..Model::default()
    }
}

/// The weight's message without its numbers.
pub(super) fn header(weight: &Weight) -> TensorData {
    TensorData {
        dims: weight.dims().iter().map(|&size| size as i64).collect(),
        data_type: Some(FLOAT),
        name: Some(weight.name.clone()),
        raw_data: None,
    }
}

fn raw_length(weight: &Weight) -> u64 {
    4 * weight.dims().iter().map(|&size| size as u64).product::<u64>()
}

fn body_length(weight: &Weight) -> u64 {
    header(weight).encoded_len() as u64 + field_length(raw_length(weight))
}

/// Bytes of a field with a payload of `length` bytes: field number (below 16), length, payload.
fn field_length(length: u64) -> u64 {
    // A varint has seven bits per byte.
    let digits = u64::from((64 - (length | 1).leading_zeros()).div_ceil(7));
    1 + digits + length
}

/// Writes the field number and the length that precede a field's payload.
fn begin(to: &mut impl Write, field: u8, mut length: u64) -> io::Result<()> {
    to.write_all(&[field])?;
    while length >= 0x80 {
        to.write_all(&[(length as u8) | 0x80])?;
        length >>= 7;
    }
    to.write_all(&[length as u8])
}

/// Reads the weight's numbers in the order of the file.
pub(super) fn read_weight(weight: &Weight, source: &dyn Source) -> Result<Vec<f32>, ExportError> {
    let columns = weight.shape.last().copied().unwrap_or(1);
    if weight.form == Form::FirstRow {
        let mut row = vec![0.0; columns];
        source.rows(&weight.tensor, &[0], &mut row)?;
        return Ok(row);
    }
    let mut values = vec![0.0; weight.shape.iter().product()];
    source.read(&weight.tensor, &mut values)?;
    if weight.form == Form::Transposed {
        let rows = weight.shape[0];
        let transposed = (0..columns).flat_map(|column| {
            let values = &values;
            (0..rows).map(move |row| values[row * columns + column])
        });
        return Ok(transposed.collect());
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_that_prost_writes() {
        for length in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), 1 << 40] {
            let mut bytes = Vec::new();
            begin(&mut bytes, MODEL_GRAPH, length).unwrap();
            assert_eq!(bytes.len() as u64 + length, field_length(length), "{length}");
            let mut wanted = vec![MODEL_GRAPH];
            prost::encode_length_delimiter(length as usize, &mut wanted).unwrap();
            assert_eq!(bytes, wanted);
        }
    }
}
