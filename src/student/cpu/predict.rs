//! Inference: keeps no activations and no word table in memory; weights are F32, packed for the
//! kernel, or 8 bits.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    super::{
        Result, StudentError,
        network::{Network, Source},
        quantised::{QuantisedActivations, QuantisedDense},
    },
    Buffer,
    head::pool,
    layer::{self, Activations, DenseLayers, Masks, Norm},
    layout::{self, Contents, Head, Hidden, Layout, Linear},
    packed::PackedDense,
};
use crate::student::{Pooling, model_spec::ModelSpec, packed_batch::PackedBatch};

/// The number type of the dense layers' arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Precision {
    /// The type of training.
    #[default]
    F32,
    /// Eight bits: faster and slightly less accurate.
    Int8,
}

impl Precision {
    /// Whether this precision is fast on this processor: F32 always is, 8 bits need special
    /// instructions.
    pub(crate) fn pays(self) -> bool {
        self == Self::F32 || QuantisedDense::pays()
    }
}

/// The dense layers of a transformer layer.
struct LayerMatrices<D> {
    qkv: D,
    output: D,
    up: D,
    down: D,
}

impl<D> LayerMatrices<D> {
    /// The matrices of every layer of `spec`, which `new` makes of weight, bias and inputs;
    /// `weights` already holds the biases.
    fn read(
        spec: &ModelSpec,
        layout: &Layout,
        weights: &[f32],
        source: &dyn Source,
        new: impl Fn(&[f32], &[f32], usize) -> D,
    ) -> Result<Vec<Self>> {
        let mut matrix = Vec::new();
        let mut read = |parts: &[&String], at: &layout::Linear| {
            let bias = &weights[at.bias.clone()];
            matrix.resize(bias.len() * at.inputs, 0.0);
            let rows = matrix.len() / parts.len();
            for (part, matrix) in parts.iter().zip(matrix.chunks_exact_mut(rows)) {
                source.read(&format!("{part}.weight"), matrix)?;
            }
            Ok::<_, StudentError>(new(&matrix, bias, at.inputs))
        };
        let layers = spec.layers.iter().zip(&layout.layers).map(|(parts, at)| {
            Ok(Self {
                qkv: read(&[&parts.query, &parts.key, &parts.value], &at.qkv)?,
                output: read(&[&parts.output], &at.output)?,
                up: read(&[&parts.up], &at.up)?,
                down: read(&[&parts.down], &at.down)?,
            })
        });
        layers.collect()
    }
}

/// The matrices of a head, always in F32: they are small.
struct HeadMatrices {
    /// Before the classifier, if there is one.
    hidden: Option<PackedDense>,
    classifier: PackedDense,
}

impl HeadMatrices {
    fn of(head: &Head, weights: &[f32]) -> Self {
        let hidden = match &head.hidden {
            Hidden::Dense(dense, _) => Some(PackedDense::of(dense, weights)),
            Hidden::Normalise => None,
        };
        Self { hidden, classifier: PackedDense::of(&head.classifier, weights) }
    }
}

/// The matrices of all layers.
enum Matrices {
    F32(Vec<LayerMatrices<PackedDense>>),
    Int8(Vec<LayerMatrices<QuantisedDense>>),
}

impl DenseLayers for &LayerMatrices<PackedDense> {
    fn qkv(&mut self, x: &[f32], out: &mut [f32]) {
        self.qkv.forward(x, out);
    }

    fn output(&mut self, x: &[f32], out: &mut [f32]) {
        self.output.forward(x, out);
    }

    fn up(&mut self, x: &[f32], out: &mut [f32]) {
        self.up.forward(x, out);
    }

    fn down(&mut self, x: &[f32], out: &mut [f32]) {
        self.down.forward(x, out);
    }
}

/// The dense layers in 8 bits, with a buffer for their quantised inputs.
struct Int8Layers<'a> {
    layer: &'a LayerMatrices<QuantisedDense>,
    rows: &'a mut QuantisedActivations,
}

impl DenseLayers for Int8Layers<'_> {
    fn qkv(&mut self, x: &[f32], out: &mut [f32]) {
        self.layer.qkv.forward(x, out, self.rows);
    }

    fn output(&mut self, x: &[f32], out: &mut [f32]) {
        self.layer.output.forward(x, out, self.rows);
    }

    fn up(&mut self, x: &[f32], out: &mut [f32]) {
        self.layer.up.forward(x, out, self.rows);
    }

    fn down(&mut self, x: &[f32], out: &mut [f32]) {
        self.layer.down.forward(x, out, self.rows);
    }
}

/// The network for inference.
pub(in crate::student) struct CpuNetwork {
    spec: ModelSpec,
    layout: Layout,
    weights: Vec<f32>,
    matrices: Matrices,
    head: Option<HeadMatrices>,
    /// Word embeddings are read from here, row by row.
    source: Arc<dyn Source>,
    /// Buffers that are not in use.
    free: Mutex<Vec<Workspace>>,
}

/// The buffers of one call.
#[derive(Default)]
struct Workspace {
    kept: Activations,
    hidden: Buffer,
    other: Buffer,
    quantised: QuantisedActivations,
}

impl CpuNetwork {
    /// Reads the weights, except for the word embeddings, which stay in `source`.
    pub(crate) fn new(
        spec: ModelSpec,
        source: Arc<dyn Source>,
        precision: Precision,
    ) -> Result<Self> {
        let layout = Layout::new(&spec, Contents::NoMatrices);
        let weights = layout.read(&*source)?;
        let matrices = match precision {
            Precision::F32 => Matrices::F32(LayerMatrices::read(
                &spec,
                &layout,
                &weights,
                &*source,
                PackedDense::new,
            )?),
            Precision::Int8 => Matrices::Int8(LayerMatrices::read(
                &spec,
                &layout,
                &weights,
                &*source,
                QuantisedDense::new,
            )?),
        };
        let head = layout.head.as_ref().map(|head| HeadMatrices::of(head, &weights));
        Ok(Self { spec, layout, weights, matrices, head, source, free: Mutex::default() })
    }

    /// Runs `f` on the last hidden states: of all tokens, `[tokens, hidden]`, or, if `wanted` says
    /// so, of the first one of each text, `[texts, hidden]`. Then the last layer does no more for
    /// the others than what attention needs: with six layers, an eighth of the work is left out.
    fn with_hidden<R>(
        &self,
        rows: &PackedBatch,
        wanted: Wanted,
        f: impl FnOnce(&[f32]) -> R,
    ) -> Result<R> {
        let lock = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut space = lock().pop().unwrap_or_default();
        let width = self.spec.hidden;
        let len = rows.tokens() * width;
        let Workspace { kept, hidden, other, quantised } = &mut space;
        let (mut x, mut out) = (hidden.of(len), other.of(len));
        self.source.rows(&self.spec.words, rows.ids(), out)?;
        self.layout.add_position_embeddings(&self.weights, rows, width, out);
        let eps = self.spec.layer_norm_eps;
        Norm::of(&self.layout.embedding_norm, &self.weights, eps).forward(out, x);
        let (weights, shape) = (&self.weights, self.spec.shape());
        let spans: Vec<Range<usize>> = rows.spans().collect();
        let last = self.layout.layers.len().saturating_sub(1);
        for (at, layer) in self.layout.layers.iter().enumerate() {
            let (mut plain, mut fast);
            let dense: &mut dyn DenseLayers = match &self.matrices {
                Matrices::F32(layers) => {
                    plain = &layers[at];
                    &mut plain
                }
                Matrices::Int8(layers) => {
                    fast = Int8Layers { layer: &layers[at], rows: quantised };
                    &mut fast
                }
            };
            layer::attend(dense, shape, &spans, Masks::NONE.attention, x, kept);
            if wanted == Wanted::FirstOfEach && at == last {
                keep_first(&spans, width, kept.mixed.of(len));
                keep_first(&spans, width, x);
                (x, out) = (&mut x[..spans.len() * width], &mut out[..spans.len() * width]);
            }
            layer::feed_forward(dense, layer, weights, shape, Masks::NONE, x, kept, out);
            std::mem::swap(&mut x, &mut out);
        }
        let result = f(x);
        lock().push(space);
        Ok(result)
    }

    /// The logits, `[texts, classes]`, and the pooled states, `[texts, hidden]`; both empty without
    /// a head.
    fn with_head(&self, rows: &PackedBatch) -> Result<(Vec<f32>, Vec<f32>)> {
        let (Some(head), Some(matrices)) = (&self.layout.head, &self.head) else {
            return Ok((Vec::new(), Vec::new()));
        };
        let pooling = self.spec.pooling();
        let is_cut = !self.layout.layers.is_empty() && rows.spans().all(|span| !span.is_empty());
        let wanted = match pooling {
            Pooling::First if is_cut => Wanted::FirstOfEach,
            _ => Wanted::All,
        };
        self.with_hidden(rows, wanted, |hidden| {
            let pooled = match wanted {
                Wanted::FirstOfEach => hidden.to_vec(),
                Wanted::All => {
                    let mut pooled = vec![0f32; rows.texts() * self.spec.hidden];
                    pool(pooling, rows, hidden, &mut pooled);
                    pooled
                }
            };
            let mut features = vec![0f32; pooled.len()];
            let dense = |_: &Linear, x: &[f32], out: &mut [f32]| {
                matrices.hidden.iter().for_each(|dense| dense.forward(x, out));
            };
            head.forward(dense, &pooled, &mut features);
            let mut logits = vec![0f32; rows.texts() * self.spec.classes];
            matrices.classifier.forward(&features, &mut logits);
            (logits, pooled)
        })
    }
}

/// The tokens whose last hidden states are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    FirstOfEach,
}

/// Moves the first row of each span of `rows` `[tokens, width]` to the beginning, in order. No span
/// is empty.
fn keep_first(spans: &[Range<usize>], width: usize, rows: &mut [f32]) {
    for (at, span) in spans.iter().enumerate() {
        rows.copy_within(span.start * width..(span.start + 1) * width, at * width);
    }
}

impl Network for CpuNetwork {
    fn hidden(&self, rows: &PackedBatch) -> Result<Vec<f32>> {
        self.with_hidden(rows, Wanted::All, <[f32]>::to_vec)
    }

    fn logits(&self, rows: &PackedBatch) -> Result<Vec<f32>> {
        Ok(self.with_head(rows)?.0)
    }

    fn logits_and_pooled(&self, rows: &PackedBatch) -> Result<Vec<f32>> {
        let (logits, pooled) = self.with_head(rows)?;
        let pooled = pooled.chunks_exact(self.spec.hidden);
        let texts = logits.chunks_exact(self.spec.classes.max(1)).zip(pooled);
        Ok(texts.flat_map(|(logits, pooled)| [logits, pooled].concat()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rows_move_to_the_front() {
        let mut rows: Vec<f32> = (0..12).map(|at| at as f32).collect();
        keep_first(&[0..3, 3..4, 4..6], 2, &mut rows);
        assert_eq!(rows[..6], [0.0, 1.0, 6.0, 7.0, 8.0, 9.0]);
    }
}
