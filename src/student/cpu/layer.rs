//! The parts of the network, forward and backward: dense layer, layer norm, transformer layer.
//!
//! A forward pass stores in [`Activations`] what its backward pass needs; inference reuses one
//! `Activations` for all layers. Sums over rows are computed in chunks of a fixed size and added in
//! order, so that results do not depend on the number of threads.

use std::ops::Range;

use candle_nn::Activation;
use rayon::prelude::*;

use super::{
    super::dropout::Mask,
    Buffer, arith,
    attention::{self, Heads},
    layout,
    product::{Init, Matrix, Target, product},
};

/// Numbers per task: below this a second thread costs more than it saves.
pub(super) const CHUNK: usize = 1 << 14;

/// Numbers per task, rounded down to whole rows of `width`.
fn whole_rows(width: usize) -> usize {
    (CHUNK / width.max(1)).max(1) * width
}

/// Fewer numbers are not worth a task.
const LEAST_CHUNK: usize = 1 << 11;

/// Numbers per task where `len` numbers in rows of `width` are changed one by one: for a short text
/// an even share for each thread. A thread without one falls asleep between two products, and to
/// wake it takes longer than its share.
fn even_rows(len: usize, width: usize) -> usize {
    let share = (len / rayon::current_num_threads()).clamp(LEAST_CHUNK, CHUNK);
    share.div_ceil(width.max(1)) * width
}

/// A dense layer: weight `[outputs, inputs]`, bias `[outputs]`.
#[derive(Clone, Copy)]
pub(super) struct Dense<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub inputs: usize,
}

impl<'a> Dense<'a> {
    pub(super) fn of(at: &layout::Linear, weights: &'a [f32]) -> Self {
        let (weight, bias) = (&weights[at.weight.clone()], &weights[at.bias.clone()]);
        Self { weight, bias, inputs: at.inputs }
    }

    /// `out = x · weightᵀ + bias`.
    pub(super) fn forward(&self, x: &[f32], out: &mut [f32]) {
        let outputs = self.bias.len();
        let weight = Matrix::new(self.weight, self.inputs).transposed();
        let target = Target::new(out, outputs);
        product(Matrix::new(x, self.inputs), weight, target, Init::Row(self.bias));
    }

    /// The gradient `grad · weight` of the layer's input, written or added to `dx`.
    pub(super) fn backward(&self, grad: &[f32], dx: &mut [f32], init: Init) {
        let weight = Matrix::new(self.weight, self.inputs);
        product(Matrix::new(grad, self.bias.len()), weight, Target::new(dx, self.inputs), init);
    }
}

/// A layer norm, `[width]` each.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub eps: f32,
}

impl<'a> Norm<'a> {
    pub(super) fn of(at: &layout::Norm, weights: &'a [f32], eps: f32) -> Self {
        Self { weight: &weights[at.weight.clone()], bias: &weights[at.bias.clone()], eps }
    }

    /// `sum = sum · mask + x`, and the norm of that into `out`.
    pub(super) fn residual(&self, mask: Mask, x: &[f32], sum: &mut [f32], out: &mut [f32]) {
        let chunk = even_rows(x.len(), self.weight.len());
        out.par_chunks_mut(chunk)
            .zip(sum.par_chunks_mut(chunk))
            .zip(x.par_chunks(chunk))
            .enumerate()
            .for_each(|(at, ((out, sum), x))| {
                let first = (at * chunk) as u32;
                arith::residual_norm(mask, first, x, self.weight, self.bias, self.eps, sum, out);
            });
    }

    /// The norm of `x` into `out`.
    pub(super) fn forward(&self, x: &[f32], out: &mut [f32]) {
        let chunk = whole_rows(self.weight.len());
        out.par_chunks_mut(chunk)
            .zip(x.par_chunks(chunk))
            .for_each(|(out, x)| arith::layer_norm(x, self.weight, self.bias, self.eps, out));
    }

    /// Writes the gradient of the input `x` to `dx`; adds those of the weights.
    fn backward(
        &self,
        x: &[f32],
        grad: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
        dbias: &mut [f32],
    ) {
        let width = self.weight.len();
        let chunk = whole_rows(width);
        let parts: Vec<(Vec<f32>, Vec<f32>)> = dx
            .par_chunks_mut(chunk)
            .zip(x.par_chunks(chunk))
            .zip(grad.par_chunks(chunk))
            .map(|((dx, x), grad)| {
                let (mut dweight, mut dbias) = (vec![0f32; width], vec![0f32; width]);
                let (weight, eps) = (self.weight, self.eps);
                arith::layer_norm_backward(x, weight, eps, grad, dx, &mut dweight, &mut dbias);
                (dweight, dbias)
            })
            .collect();
        for (weight, bias) in &parts {
            arith::add(weight, dweight);
            arith::add(bias, dbias);
        }
    }
}

/// The gradients of all weights, accumulated over passes.
pub(super) struct Gradients<'a> {
    /// As long as the buffer of weights.
    pub values: &'a mut [f32],
    /// Whether matrices hold gradients of an earlier pass or are overwritten. The rest of the
    /// buffer has been zeroed.
    pub init: Init<'static>,
}

impl Gradients<'_> {
    /// Adds a dense layer's gradients, given its input `x` and the gradient `grad` of its output.
    pub(super) fn dense(&mut self, at: &layout::Linear, x: &[f32], grad: &[f32]) {
        let outputs = at.bias.len();
        let grads = Matrix::new(grad, outputs).transposed();
        let target = Target::new(&mut self.values[at.weight.clone()], at.inputs);
        product(grads, Matrix::new(x, at.inputs), target, self.init);
        let rows = grad.len() / outputs.max(1);
        // Columns per task: a multiple of cache lines, so that no line is read twice.
        let columns = (CHUNK / rows.max(1)).next_multiple_of(64);
        self.values[at.bias.clone()]
            .par_chunks_mut(columns)
            .enumerate()
            .for_each(|(task, sum)| arith::sum_columns(grad, outputs, task * columns, sum));
    }

    /// Adds a layer norm's gradients, given its input `x` and the gradient `grad` of its output;
    /// writes the gradient of `x` to `dx`.
    pub(super) fn norm(
        &mut self,
        at: &layout::Norm,
        norm: &Norm,
        x: &[f32],
        grad: &[f32],
        dx: &mut [f32],
    ) {
        let [dweight, dbias] = self
            .values
            .get_disjoint_mut([at.weight.clone(), at.bias.clone()])
            .expect("a norm's weight and bias do not overlap");
        norm.backward(x, grad, dx, dweight, dbias);
    }
}

/// `x · mask` in place; the mask's factors are counted from the first number.
pub(super) fn drop_out(mask: Mask, x: &mut [f32]) {
    if mask.drops() {
        x.par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(at, x)| arith::mask(mask, (at * CHUNK) as u32, x));
    }
}

/// `x · mask`, computed in `buffer`; `x` itself where nothing is dropped.
fn dropped<'a>(mask: Mask, x: &'a [f32], buffer: &'a mut [f32]) -> &'a [f32] {
    if !mask.drops() {
        return x;
    }
    buffer
        .par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .enumerate()
        .for_each(|(at, (out, x))| arith::masked(mask, (at * CHUNK) as u32, x, out));
    buffer
}

/// The dimensions and constants of a transformer layer.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub heads: Heads,
    pub intermediate: usize,
    pub activation: Activation,
    pub eps: f32,
}

impl Shape {
    pub(super) fn width(&self) -> usize {
        self.heads.heads * self.heads.depth
    }
}

/// The dropout masks of one layer.
#[derive(Clone, Copy)]
pub(super) struct Masks {
    pub attention: Mask,
    pub output: Mask,
    pub feed_forward: Mask,
}

impl Masks {
    pub(super) const NONE: Self =
        Self { attention: Mask::NONE, output: Mask::NONE, feed_forward: Mask::NONE };
}

/// The activations of one forward pass of a layer, kept for its backward pass.
#[derive(Default)]
pub(super) struct Activations {
    /// `[tokens, 3 · width]`.
    pub qkv: Buffer,
    /// Attention weights before dropout, `[heads, len, len]` for each text in turn.
    pub weights: Buffer,
    /// Attention's weighted sums of the values, `[tokens, width]`.
    pub mixed: Buffer,
    /// Input and output of the first norm, `[tokens, width]`.
    pub before: Buffer,
    pub middle: Buffer,
    /// Feed-forward before and after its activation, `[tokens, intermediate]`.
    pub up: Buffer,
    pub active: Buffer,
    /// Input of the second norm, `[tokens, width]`.
    pub after: Buffer,
}

/// The dense layers of a transformer layer, in F32 or in 8 bits.
pub(super) trait DenseLayers {
    fn qkv(&mut self, x: &[f32], out: &mut [f32]);
    fn output(&mut self, x: &[f32], out: &mut [f32]);
    fn up(&mut self, x: &[f32], out: &mut [f32]);
    fn down(&mut self, x: &[f32], out: &mut [f32]);
}

/// The dense layers over weights in F32.
pub(super) struct F32Layers<'a> {
    pub layer: &'a layout::Layer,
    pub weights: &'a [f32],
}

impl DenseLayers for F32Layers<'_> {
    fn qkv(&mut self, x: &[f32], out: &mut [f32]) {
        Dense::of(&self.layer.qkv, self.weights).forward(x, out);
    }

    fn output(&mut self, x: &[f32], out: &mut [f32]) {
        Dense::of(&self.layer.output, self.weights).forward(x, out);
    }

    fn up(&mut self, x: &[f32], out: &mut [f32]) {
        Dense::of(&self.layer.up, self.weights).forward(x, out);
    }

    fn down(&mut self, x: &[f32], out: &mut [f32]) {
        Dense::of(&self.layer.down, self.weights).forward(x, out);
    }
}

/// One layer, from `x` `[tokens, width]` to `out` of the same shape. `weights` is the whole buffer,
/// for the layer's norms.
#[expect(clippy::too_many_arguments, reason = "a layer, its inputs and its outputs")]
pub(super) fn forward(
    dense: &mut dyn DenseLayers,
    layer: &layout::Layer,
    weights: &[f32],
    shape: Shape,
    spans: &[Range<usize>],
    masks: Masks,
    x: &[f32],
    kept: &mut Activations,
    out: &mut [f32],
) {
    attend(dense, shape, spans, masks.attention, x, kept);
    feed_forward(dense, layer, weights, shape, masks, x, kept, out);
}

/// The attention of a layer, from `x` `[tokens, width]` to `kept.mixed` of the same shape.
pub(super) fn attend(
    dense: &mut dyn DenseLayers,
    shape: Shape,
    spans: &[Range<usize>],
    mask: Mask,
    x: &[f32],
    kept: &mut Activations,
) {
    let qkv = kept.qkv.of(3 * x.len());
    dense.qkv(x, qkv);
    let mixed = kept.mixed.of(x.len());
    let squares = kept.weights.of(attention::weights_len(shape.heads.heads, spans));
    attention::forward(shape.heads, spans, mask, qkv, squares, mixed);
}

/// The rest of a layer, row by row: from `kept.mixed` and `x` `[rows, width]` to `out` of the same
/// shape.
#[expect(clippy::too_many_arguments, reason = "a layer, its inputs and its outputs")]
pub(super) fn feed_forward(
    dense: &mut dyn DenseLayers,
    layer: &layout::Layer,
    weights: &[f32],
    shape: Shape,
    masks: Masks,
    x: &[f32],
    kept: &mut Activations,
    out: &mut [f32],
) {
    let rows = x.len() / shape.width();
    let attention_norm = Norm::of(&layer.attention_norm, weights, shape.eps);
    let norm = Norm::of(&layer.norm, weights, shape.eps);

    let mixed = kept.mixed.of(x.len());
    let before = kept.before.of(x.len());
    dense.output(mixed, before);
    let middle = kept.middle.of(x.len());
    attention_norm.residual(masks.output, x, before, middle);

    let (up, active) =
        (kept.up.of(rows * shape.intermediate), kept.active.of(rows * shape.intermediate));
    dense.up(middle, up);
    let chunk = even_rows(up.len(), shape.intermediate);
    active
        .par_chunks_mut(chunk)
        .zip(up.par_chunks(chunk))
        .for_each(|(out, x)| arith::activate(shape.activation, x, out));
    let after = kept.after.of(x.len());
    dense.down(active, after);
    norm.residual(masks.feed_forward, middle, after, out);
}

/// Buffers of the backward pass, shared by all layers.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[tokens, width]`: the gradient of `middle`, and that of a residual branch.
    middle: Buffer,
    branch: Buffer,
    /// `[tokens, 3 · width]`.
    qkv: Buffer,
    /// `[tokens, intermediate]`.
    up: Buffer,
}

/// Backward of [`forward`]: turns `grad`, the gradient of the layer's output, into that of its
/// input `x`.
#[expect(clippy::too_many_arguments, reason = "a layer, its inputs and its outputs")]
pub(super) fn backward(
    layer: &layout::Layer,
    weights: &[f32],
    shape: Shape,
    spans: &[Range<usize>],
    masks: Masks,
    x: &[f32],
    kept: &mut Activations,
    scratch: &mut Scratch,
    gradients: &mut Gradients,
    grad: &mut [f32],
) {
    let rows = x.len();
    let wide = rows / shape.width() * shape.intermediate;
    let dense = |at: &layout::Linear| Dense::of(at, weights);
    let attention_norm = Norm::of(&layer.attention_norm, weights, shape.eps);
    let norm = Norm::of(&layer.norm, weights, shape.eps);

    // The residual connection passes the same gradient through the feed-forward branch and around
    // it.
    let (dmiddle, buffer) = (scratch.middle.of(rows), scratch.branch.of(rows));
    gradients.norm(&layer.norm, &norm, kept.after.of(rows), grad, dmiddle);
    let branch = dropped(masks.feed_forward, dmiddle, buffer);
    gradients.dense(&layer.down, kept.active.of(wide), branch);
    let dup = scratch.up.of(wide);
    dense(&layer.down).backward(branch, dup, Init::Zero);
    dup.par_chunks_mut(CHUNK)
        .zip(kept.up.of(wide).par_chunks(CHUNK))
        .for_each(|(grad, x)| arith::activate_backward(shape.activation, x, grad));
    gradients.dense(&layer.up, kept.middle.of(rows), dup);
    dense(&layer.up).backward(dup, dmiddle, Init::Current);

    gradients.norm(&layer.attention_norm, &attention_norm, kept.before.of(rows), dmiddle, grad);
    let branch = dropped(masks.output, grad, buffer);
    gradients.dense(&layer.output, kept.mixed.of(rows), branch);
    // Reuses the buffer of the middle's gradient, which is no longer needed.
    let dmixed = dmiddle;
    dense(&layer.output).backward(branch, dmixed, Init::Zero);
    let dqkv = scratch.qkv.of(3 * rows);
    let squares = kept.weights.of(attention::weights_len(shape.heads.heads, spans));
    let qkv = kept.qkv.of(3 * rows);
    attention::backward(shape.heads, spans, masks.attention, qkv, squares, dmixed, dqkv);
    gradients.dense(&layer.qkv, x, dqkv);
    dense(&layer.qkv).backward(dqkv, grad, Init::Current);
}
