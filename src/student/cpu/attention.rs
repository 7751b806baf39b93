//! Scaled dot-product attention of packed texts, forward and backward, one text and head at a time.
//!
//! Rows of `3 · width` hold query, key and value; the products of one head read and write its
//! `depth` columns in place. A text's weights are `[heads, len, len]`.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    super::dropout::Mask,
    arith,
    product::{Init, Matrix, SharedBuffer, Target, multiply},
};

/// Below this many multiplications one thread computes all heads of all texts.
const LEAST_PRODUCTS: usize = 1 << 15;

/// The shape of an attention: `heads · depth` is the width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub heads: usize,
    pub depth: usize,
}

/// The buffer ranges of one head of one text.
#[derive(Debug, Clone)]
struct HeadSpan {
    head: usize,
    /// The text's rows.
    rows: Range<usize>,
    /// Its weights.
    weights: Range<usize>,
}

/// Number of attention weights of all texts.
pub(super) fn weights_len(heads: usize, spans: &[Range<usize>]) -> usize {
    spans.iter().map(|span| heads * span.len() * span.len()).sum()
}

fn head_spans(heads: usize, spans: &[Range<usize>]) -> Vec<HeadSpan> {
    let mut start = 0;
    let mut all = Vec::with_capacity(heads * spans.len());
    for rows in spans.iter().filter(|span| !span.is_empty()) {
        let square = rows.len() * rows.len();
        for head in 0..heads {
            all.push(HeadSpan { head, rows: rows.clone(), weights: start..start + square });
            start += square;
        }
    }
    all
}

/// Writes the weighted sums of the values, `[tokens, width]`, to `out`, and the weights before
/// dropout to `weights` ([`weights_len`] numbers); `qkv` is `[tokens, 3 · width]`.
pub(super) fn forward(
    shape: Heads,
    spans: &[Range<usize>],
    mask: Mask,
    qkv: &[f32],
    weights: &mut [f32],
    out: &mut [f32],
) {
    let Heads { heads, depth } = shape;
    let width = heads * depth;
    let (weights, out) = (SharedBuffer::of(weights), SharedBuffer::of(out));
    let scale = 1.0 / (depth as f32).sqrt();
    let one = |dropped: &mut Vec<f32>, span: HeadSpan| {
        let HeadSpan { head, rows, weights: own } = span;
        let len = rows.len();
        let part = |which: usize| {
            let from = rows.start * 3 * width + which * width + head * depth;
            Matrix::strided(&qkv[from..], len, depth, 3 * width)
        };
        let [q, k, v] = [0, 1, 2].map(part);
        // SAFETY: no other text or head uses these weights.
        let square = unsafe { weights.slice(own.clone()) };
        multiply(q, k.transposed(), Target::new(square, len), Init::Zero);
        for row in square.chunks_exact_mut(len) {
            arith::softmax(scale, row);
        }
        let mut used: &[f32] = square;
        if mask.drops() {
            dropped.resize(len * len, 0.0);
            arith::masked(mask, own.start as u32, square, dropped);
            used = dropped;
        }
        // SAFETY: only this head's columns of this text's rows are written.
        let mixed = unsafe { out.target(rows.start * width + head * depth, width) };
        multiply(Matrix::new(used, len), v, mixed, Init::Zero);
    };
    each(head_spans(heads, spans), depth, one);
}

/// Writes the gradient of `qkv` to `dqkv`, given the gradient `grad` of the weighted sums.
pub(super) fn backward(
    shape: Heads,
    spans: &[Range<usize>],
    mask: Mask,
    qkv: &[f32],
    weights: &[f32],
    grad: &[f32],
    dqkv: &mut [f32],
) {
    let Heads { heads, depth } = shape;
    let width = heads * depth;
    let dqkv = SharedBuffer::of(dqkv);
    let scale = 1.0 / (depth as f32).sqrt();
    let one = |scratch: &mut Vec<f32>, span: HeadSpan| {
        let HeadSpan { head, rows, weights: own } = span;
        let len = rows.len();
        let at = |which: usize| rows.start * 3 * width + which * width + head * depth;
        let part = |which: usize| Matrix::strided(&qkv[at(which)..], len, depth, 3 * width);
        let [q, k, v] = [0, 1, 2].map(part);
        let own_grad = &grad[rows.start * width + head * depth..];
        let own_grad = Matrix::strided(own_grad, len, depth, width);
        let first = own.start as u32;
        let weights = &weights[own];
        scratch.resize(2 * len * len, 0.0);
        let (scores, dropped) = scratch[..2 * len * len].split_at_mut(len * len);
        let write = |which: usize, a: Matrix, b: Matrix| {
            // SAFETY: only this head's columns of this text's rows are written.
            let target = unsafe { dqkv.target(at(which), 3 * width) };
            multiply(a, b, target, Init::Zero);
        };
        let mut used = weights;
        if mask.drops() {
            arith::masked(mask, first, weights, dropped);
            used = dropped;
        }
        write(2, Matrix::new(used, len).transposed(), own_grad);
        multiply(own_grad, v.transposed(), Target::new(scores, len), Init::Zero);
        if mask.drops() {
            arith::mask(mask, first, scores);
        }
        for (scores, weights) in scores.chunks_exact_mut(len).zip(weights.chunks_exact(len)) {
            arith::softmax_backward(scale, weights, scores);
        }
        write(0, Matrix::new(scores, len), k);
        write(1, Matrix::new(scores, len).transposed(), q);
    };
    each(head_spans(heads, spans), depth, one);
}

/// Runs `one` on every head of every text, on the threads of the pool; those of few short texts on
/// this thread.
fn each(all: Vec<HeadSpan>, depth: usize, one: impl Fn(&mut Vec<f32>, HeadSpan) + Send + Sync) {
    let products: usize = all.iter().map(|span| 2 * span.weights.len() * depth).sum();
    if products < LEAST_PRODUCTS || rayon::current_num_threads() == 1 {
        let mut scratch = Vec::new();
        return all.into_iter().for_each(|span| one(&mut scratch, span));
    }
    all.into_par_iter().for_each_init(Vec::new, one);
}
