//! The CPU engine: hand-written forward and backward passes over packed rows.
//!
//! candle's graph has some forty nodes per transformer layer. Each is one pass through memory and a
//! new tensor; its backward takes two more. Here a layer is eight matrix products with a single
//! pass between two of them. Buffers are allocated once, for the largest batch, and the backward
//! pass recomputes dropout masks instead of storing them.
//!
//! | file | what it is for |
//! |---|---|
//! | `layout` | the place of each weight in the one buffer |
//! | `product` | matrix products, divided among the threads |
//! | `kernel` | the product for AVX-512; other processors use `gemm` |
//! | `arith` | the loops between products, compiled for several instruction sets |
//! | `pages` | memory for long buffers |
//! | `attention` | attention of each text and head |
//! | `layer` | dense layer, norm and transformer layer, forward and backward |
//! | `predict` | inference, in F32 or 8 bits |
//! | `learn` | training |

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

/// A buffer that is reused for every batch and grows to the largest.
#[derive(Default)]
struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` numbers with arbitrary values.
    fn of(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            // The contents are not needed: a new buffer avoids a copy.
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

/// The rows that are pooled into a text's vector, and the weight of each.
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
        // Not `max`, which swallows NaN.
        HeadActivation::Relu => x.iter_mut().filter(|x| **x < 0.0).for_each(|x| *x = 0.0),
        HeadActivation::Tanh => x.iter_mut().for_each(|x| *x = x.tanh()),
    }
}
