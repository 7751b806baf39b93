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
//! | `kernel` | the product of training for AVX-512; other processors use `gemm` |
//! | `packed` | dense layers of inference, whose weights are packed once |
//! | `panels` | the product with packed weights, tile by tile |
//! | `avx512`, `avx2` | what computes a tile |
//! | `arith` | the loops between products, compiled for several instruction sets |
//! | `pages` | memory for long buffers |
//! | `attention` | attention of each text and head |
//! | `layer` | dense layer, norm and transformer layer, forward and backward |
//! | `head` | pooling and the classification head, forward and backward |
//! | `predict` | inference, in F32 or 8 bits |
//! | `learn` | training |

mod arith;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod head;
mod kernel;
mod layer;
mod layout;
mod learn;
mod packed;
mod pages;
mod panels;
mod predict;
mod product;

use super::model_spec::ModelSpec;

pub(super) use head::pooled_rows;
pub(super) use learn::CpuLearner;
pub(super) use predict::CpuNetwork;
pub(crate) use predict::Precision;
pub(super) use product::{Init as ProductInit, Matrix, Target, product};

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
