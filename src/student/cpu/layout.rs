//! The place of each weight: one buffer holds all weights of a network, and three more of the same
//! layout its gradients and moments.
//!
//! With one buffer the optimiser is one pass, a snapshot three writes, and query, key and value of
//! a layer, which are adjacent, one product. Weights that decay come first: tables, then matrices;
//! biases and layer norms follow.

use std::ops::Range;

use super::{
    super::{Result, network::Source},
    arith,
    pages::zeros,
};
use crate::student::{
    model_spec::{HeadActivation, HeadParts, ModelSpec},
    packed_batch::PackedBatch,
};

/// A dense layer: weight `[outputs, inputs]`, bias `[outputs]`.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    pub weight: Range<usize>,
    pub bias: Range<usize>,
    pub inputs: usize,
}

/// A layer norm: weight and bias, `[width]` each.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    pub weight: Range<usize>,
    pub bias: Range<usize>,
}

/// A transformer layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Query, key and value as one, `[3 · width, width]`.
    pub qkv: Linear,
    pub output: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub norm: Norm,
}

/// The classification head.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub hidden: Hidden,
    pub classifier: Linear,
}

/// What a head does with the pooled vectors before its classifier.
#[derive(Debug, Clone)]
pub(super) enum Hidden {
    Dense(Linear, HeadActivation),
    /// Scales each to unit length.
    Normalise,
}

/// Which weights a layout has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// All: for training.
    All,
    /// For inference: neither the word table, whose rows are read from the source as needed, nor
    /// the layers' matrices, which are kept elsewhere, packed or in 8 bits.
    NoMatrices,
}

/// The places of all weights in the buffer.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub words: Range<usize>,
    pub positions: Range<usize>,
    pub types: Option<Range<usize>>,
    pub embedding_norm: Norm,
    pub layers: Vec<Layer>,
    /// Where the network has one.
    pub head: Option<Head>,
    /// All tables: their gradients are accumulated row by row, all others are overwritten.
    pub tables: Range<usize>,
    /// Weights before this index decay.
    pub decayed: usize,
    /// Numbers in the buffer.
    pub len: usize,
    /// Every tensor by its full name.
    named: Vec<(String, Range<usize>)>,
}

impl Layout {
    /// Lays out the tensors of `spec` that `contents` selects.
    pub(super) fn new(spec: &ModelSpec, contents: Contents) -> Self {
        let mut allocator = Allocator::default();
        let width = spec.hidden;
        let words = match contents {
            Contents::All => allocator.take(&spec.words, spec.words_kept * width),
            Contents::NoMatrices => 0..0,
        };
        let positions = allocator.take(&spec.positions, spec.max_positions * width);
        let types = spec.types.as_ref().map(|name| allocator.take(name, spec.token_types * width));
        let tables = 0..allocator.len;
        let with_head = spec.classes > 0;
        let matrices: Vec<Matrices> = spec
            .layers
            .iter()
            .filter(|_| contents != Contents::NoMatrices)
            .map(|layer| Matrices {
                qkv: allocator.matrix(&[&layer.query, &layer.key, &layer.value], width, width),
                output: allocator.matrix(&[&layer.output], width, width),
                up: allocator.matrix(&[&layer.up], spec.intermediate, width),
                down: allocator.matrix(&[&layer.down], width, spec.intermediate),
            })
            .collect();
        let head = with_head.then(|| {
            let dense = match &spec.head {
                HeadParts::Mlp { dense, .. } => allocator.matrix(&[dense], width, width),
                HeadParts::Linear(_) => 0..0,
            };
            (dense, allocator.matrix(&[&spec.classifier], spec.classes, width))
        });
        let decayed = allocator.len;
        let embedding_norm = allocator.norm(&spec.embedding_norm, width);
        let layers = spec
            .layers
            .iter()
            .zip(matrices.into_iter().chain(std::iter::repeat_with(Matrices::default)))
            .map(|(layer, of)| Layer {
                qkv: allocator.linear(
                    &[&layer.query, &layer.key, &layer.value],
                    of.qkv,
                    width,
                    width,
                ),
                output: allocator.linear(&[&layer.output], of.output, width, width),
                attention_norm: allocator.norm(&layer.attention_norm, width),
                up: allocator.linear(&[&layer.up], of.up, spec.intermediate, width),
                down: allocator.linear(&[&layer.down], of.down, width, spec.intermediate),
                norm: allocator.norm(&layer.norm, width),
            })
            .collect();
        let head = head.map(|(matrix, classifier)| Head {
            hidden: match &spec.head {
                HeadParts::Mlp { dense, activation, .. } => {
                    Hidden::Dense(allocator.linear(&[dense], matrix, width, width), *activation)
                }
                HeadParts::Linear(_) => Hidden::Normalise,
            },
            classifier: allocator.linear(&[&spec.classifier], classifier, spec.classes, width),
        });
        Self {
            words,
            positions,
            types,
            embedding_norm,
            layers,
            head,
            tables,
            decayed,
            len: allocator.len,
            named: allocator.named,
        }
    }

    /// Every tensor by its full name, in the order of the buffer.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.named.iter().map(|(name, range)| (name.as_str(), range.clone()))
    }

    /// Adds the embeddings of positions and token types to those of the words, `[tokens, width]`.
    pub(super) fn add_position_embeddings(
        &self,
        weights: &[f32],
        rows: &PackedBatch,
        width: usize,
        words: &mut [f32],
    ) {
        let positions = &weights[self.positions.clone()];
        let types = self.types.as_ref().map(|types| &weights[types.clone()][..width]);
        for (position, words) in rows.positions().zip(words.chunks_exact_mut(width)) {
            arith::add(&positions[position as usize * width..][..width], words);
            if let Some(types) = types {
                arith::add(types, words);
            }
        }
    }

    /// Fills a buffer from `source`.
    pub(super) fn read(&self, source: &dyn Source) -> Result<Vec<f32>> {
        let mut values = zeros(self.len);
        for (name, range) in self.named() {
            source.read(name, &mut values[range])?;
        }
        Ok(values)
    }
}

/// The matrices of a layer, laid out before all biases; empty where they are kept elsewhere.
#[derive(Default)]
struct Matrices {
    qkv: Range<usize>,
    output: Range<usize>,
    up: Range<usize>,
    down: Range<usize>,
}

/// Assigns consecutive ranges.
#[derive(Default)]
struct Allocator {
    len: usize,
    named: Vec<(String, Range<usize>)>,
}

impl Allocator {
    fn take(&mut self, name: &str, len: usize) -> Range<usize> {
        let range = self.len..self.len + len;
        self.len = range.end;
        self.named.push((name.to_owned(), range.clone()));
        range
    }

    /// The weights of dense layers, stacked.
    fn matrix(&mut self, parts: &[&str], outputs: usize, inputs: usize) -> Range<usize> {
        let start = self.len;
        for part in parts {
            self.take(&format!("{part}.weight"), outputs * inputs);
        }
        start..self.len
    }

    /// The biases that belong to `weight`, `outputs` for each part.
    fn linear(
        &mut self,
        parts: &[&str],
        weight: Range<usize>,
        outputs: usize,
        inputs: usize,
    ) -> Linear {
        let start = self.len;
        for part in parts {
            self.take(&format!("{part}.bias"), outputs);
        }
        Linear { weight, bias: start..self.len, inputs }
    }

    fn norm(&mut self, part: &str, width: usize) -> Norm {
        let weight = self.take(&format!("{part}.weight"), width);
        Norm { weight, bias: self.take(&format!("{part}.bias"), width) }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::super::{BaseModel, Head, Pooling, parity::fixture};
    use super::{Contents, Layout, ModelSpec};
    use crate::student::model_spec::TensorSpec;

    /// Whether `layout` holds exactly the tensors of `wanted`, in any order.
    fn holds(layout: &Layout, wanted: &[TensorSpec]) -> bool {
        let mut ours: Vec<(String, usize)> =
            layout.named().map(|(name, range)| (name.to_owned(), range.len())).collect();
        let mut theirs: Vec<(String, usize)> =
            wanted.iter().map(|w| (w.name.clone(), w.shape.iter().product())).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        ours == theirs
    }

    #[test]
    fn a_layout_holds_every_tensor_once() {
        for family in ["distilbert", "bert"] {
            let base = BaseModel::load(&fixture(family), &Device::Cpu).unwrap();
            for head in [Head::Mlp(Pooling::First), Head::Linear(Pooling::Mean)] {
                let spec = ModelSpec::new(base.config(), head, 3);
                let layout = Layout::new(&spec, Contents::All);
                assert!(holds(&layout, &spec.tensors()));
                assert_eq!(layout.len, spec.parameters());
            }
        }
    }
}
