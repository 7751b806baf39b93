//! ONNX: a classifier as one file that other runtimes open.
//!
//! | file | what it is for |
//! |---|---|
//! | `proto` | the messages of the format |
//! | `graph` | nodes, constants and weights, put together one by one |
//! | `layout` | DistilBERT and BERT with their head, as nodes |
//! | `file` | the writer, one weight after another |
//! | `tensor`, `interpret` | reads a file back and computes it: the check of every export |

mod file;
mod graph;
mod interpret;
mod layout;
mod proto;
mod tensor;
#[cfg(test)]
mod tests;

pub(super) use file::write;
pub(super) use interpret::Interpreter;
