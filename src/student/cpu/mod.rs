//! The CPU engine: forward and backward written by hand over packed rows.
//!
//! candle's graph makes a transformer layer of some forty nodes, each a pass through memory, its
//! backward two more, and a fresh tensor for each. Here a layer is eight products, and everything
//! between two products is one pass; buffers are made once, for the largest batch, and dropout is
//! asked for twice instead of being remembered.
//!
//! | file | what it is for |
//! |---|---|
//! | `layout` | where each weight lies in the one buffer |
//! | `product` | matrix products, shared out over the threads |
//! | `kernel` | a product by AVX-512; `gemm` serves other processors |
//! | `arith` | the loops between them, compiled for the processor at hand |
//! | `pages` | memory for long buffers |
//! | `attention` | attention of each text and head |
//! | `layer` | dense layer, norm and transformer layer, forward and backward |
//! | `predict` | a network that predicts, in F32 or 8 bits |
//! | `learn` | a network that is trained |

mod arith;
mod attention;
mod kernel;
mod layer;
mod layout;
mod learn;
mod pages;
mod predict;
mod product;

use std::ops::Range;

use super::{
    Pooling,
    model_spec::{HeadActivation, ModelSpec},
    packed_batch::PackedBatch,
};

pub(super) use learn::CpuLearner;
pub(super) use predict::CpuNetwork;
pub(crate) use predict::Precision;

/// Numbers that are made once and used for every batch; grows to the largest.
#[derive(Default)]
struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` numbers, whatever they hold.
    fn of(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            // Nothing in it is of worth: a fresh one saves the copy.
            self.0 = Vec::new();
            self.0 = pages::zeros(len);
        }
        &mut self.0[..len]
    }
}

impl ModelSpec {
    fn shape(&self) -> layer::Shape {
        layer::Shape {
            heads: attention::Heads { heads: self.heads, depth: self.hidden / self.heads },
            intermediate: self.intermediate,
            activation: self.activation,
            eps: self.layer_norm_eps,
        }
    }
}

/// The rows that make up a text's vector, and how much each counts.
fn pooled_rows(pooling: Pooling, span: Range<usize>) -> (Range<usize>, f32) {
    match pooling {
        Pooling::First => (span.start..span.end.min(span.start + 1), 1.0),
        Pooling::Mean => (span.clone(), 1.0 / span.len().max(1) as f32),
    }
}

/// One vector per text, `[texts, width]`, from hidden states `[tokens, width]`.
fn pool(pooling: Pooling, rows: &PackedBatch, hidden: &[f32], out: &mut [f32]) {
    let width = hidden.len() / rows.tokens().max(1);
    out.fill(0.0);
    for (span, out) in rows.spans().zip(out.chunks_exact_mut(width.max(1))) {
        let (rows, share) = pooled_rows(pooling, span);
        for hidden in hidden[rows.start * width..rows.end * width].chunks_exact(width) {
            arith::add(hidden, out);
        }
        out.iter_mut().for_each(|value| *value *= share);
    }
}

/// The activation between the head's dense layers, in place.
fn activate_head(kind: HeadActivation, x: &mut [f32]) {
    match kind {
        HeadActivation::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
        HeadActivation::Tanh => x.iter_mut().for_each(|x| *x = x.tanh()),
    }
}
