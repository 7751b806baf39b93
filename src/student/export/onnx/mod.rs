//! ONNX: a classifier as one file for other runtimes.
//!
//! | file | what it is for |
//! |---|---|
//! | `proto` | the messages of the format |
//! | `graph` | builds a graph from nodes, constants and weights |
//! | `layout` | DistilBERT and BERT with their head, as a graph |
//! | `file` | writes the file, one weight after another |
//! | `verify` | reads a file back and compares it with what was to be written |
//!
//! Independent implementations run exported files: tract in `tests/onnx`, onnxruntime in
//! `scripts/check_onnx.py` (docs/design-decisions.md).

mod file;
mod graph;
mod layout;
mod proto;
#[cfg(test)]
mod tests;
mod verify;

pub(super) use file::write;
pub(super) use verify::verify;
