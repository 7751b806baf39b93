//! The classification head: from hidden states to the classifier's inputs, and back.

use std::ops::Range;

use super::{
    arith,
    layer::{Dense, Gradients},
    layout::{Head, Hidden, Linear},
    product::Init,
};
use crate::{
    simd::dot,
    student::{
        Pooling,
        model_spec::{HeadActivation, MIN_NORM},
        packed_batch::PackedBatch,
    },
};

/// The rows that are pooled into a text's vector, and the weight of each.
pub(in crate::student) fn pooled_rows(pooling: Pooling, span: Range<usize>) -> (Range<usize>, f32) {
    match pooling {
        Pooling::First => (span.start..span.end.min(span.start + 1), 1.0),
        Pooling::Mean => (span.clone(), 1.0 / span.len().max(1) as f32),
    }
}

/// One vector per text, `[texts, width]`, from hidden states `[tokens, width]`.
pub(super) fn pool(pooling: Pooling, rows: &PackedBatch, hidden: &[f32], out: &mut [f32]) {
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

impl Head {
    /// The features `[texts, width]`, the classifier's inputs before dropout, of `pooled` vectors.
    /// `dense` multiplies with the dense layer between the two, if there is one.
    pub(super) fn forward(
        &self,
        dense: impl FnOnce(&Linear, &[f32], &mut [f32]),
        pooled: &[f32],
        features: &mut [f32],
    ) {
        match &self.hidden {
            Hidden::Dense(layer, activation) => {
                dense(layer, pooled, features);
                activate(*activation, features);
            }
            Hidden::Normalise => normalise(self.classifier.inputs, pooled, features),
        }
    }

    /// The gradient of the pooled vectors, given that of the features, which is overwritten.
    pub(super) fn backward(
        &self,
        weights: &[f32],
        gradients: &mut Gradients<'_>,
        pooled: &[f32],
        features: &[f32],
        dfeatures: &mut [f32],
        dpooled: &mut [f32],
    ) {
        match &self.hidden {
            Hidden::Dense(dense, activation) => {
                activate_backward(*activation, features, dfeatures);
                gradients.dense(dense, pooled, dfeatures);
                Dense::of(dense, weights).backward(dfeatures, dpooled, Init::Zero);
            }
            Hidden::Normalise => {
                normalise_backward(self.classifier.inputs, pooled, features, dfeatures, dpooled);
            }
        }
    }
}

/// The activation between the dense layers, in place.
fn activate(kind: HeadActivation, x: &mut [f32]) {
    match kind {
        // Not `max`, which swallows NaN.
        HeadActivation::Relu => x.iter_mut().filter(|x| **x < 0.0).for_each(|x| *x = 0.0),
        HeadActivation::Tanh => x.iter_mut().for_each(|x| *x = x.tanh()),
    }
}

/// Multiplies `grad` by the activation's slope, given its results.
fn activate_backward(kind: HeadActivation, active: &[f32], grad: &mut [f32]) {
    for (grad, &active) in grad.iter_mut().zip(active) {
        *grad *= match kind {
            HeadActivation::Relu => f32::from(u8::from(active > 0.0)),
            HeadActivation::Tanh => 1.0 - active * active,
        };
    }
}

/// u = x / max(‖x‖, [`MIN_NORM`]) for each row x, `[texts, width]`.
pub(super) fn normalise(width: usize, x: &[f32], out: &mut [f32]) {
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let scale = 1.0 / divisor(x);
        out.iter_mut().zip(x).for_each(|(u, x)| *u = x * scale);
    }
}

/// dx = (du - u (u·du)) / ‖x‖ for each row, and du / [`MIN_NORM`] where that is the divisor.
pub(super) fn normalise_backward(width: usize, x: &[f32], u: &[f32], du: &[f32], dx: &mut [f32]) {
    let given = x.chunks_exact(width).zip(u.chunks_exact(width));
    let grads = du.chunks_exact(width).zip(dx.chunks_exact_mut(width));
    for ((x, u), (du, dx)) in given.zip(grads) {
        let divisor = divisor(x);
        let along = if divisor > MIN_NORM { dot(u, du) } else { 0.0 };
        for ((dx, du), u) in dx.iter_mut().zip(du).zip(u) {
            *dx = (du - u * along) / divisor;
        }
    }
}

fn divisor(x: &[f32]) -> f32 {
    let norm = dot(x, x).sqrt();
    // Not `max`, which swallows NaN.
    if norm < MIN_NORM { MIN_NORM } else { norm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_of_the_normalisation_is_its_slope() {
        let x = [0.3f32, -0.2, 0.9, 0.05, -1.1];
        let du = [0.7f32, 0.1, -0.4, 1.3, 0.2];
        let (mut u, mut dx) = ([0f32; 5], [0f32; 5]);
        normalise(5, &x, &mut u);
        assert!((dot(&u, &u) - 1.0).abs() < 1e-6);
        normalise_backward(5, &x, &u, &du, &mut dx);
        // In F64, so that the difference quotient is exact to 1e-9.
        let loss = |x: [f64; 5]| {
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            x.iter().zip(du).map(|(x, du)| x / norm * f64::from(du)).sum::<f64>()
        };
        for at in 0..5 {
            let moved = |by: f64| {
                let mut x = x.map(f64::from);
                x[at] += by;
                loss(x)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((f64::from(dx[at]) - slope).abs() < 1e-6, "{at}: {} {slope}", dx[at]);
        }
    }

    #[test]
    fn a_zero_vector_stays_zero_and_nan_stays_nan() {
        let (mut u, mut dx) = ([1f32; 2], [1f32; 2]);
        normalise(2, &[0.0, 0.0], &mut u);
        normalise_backward(2, &[0.0, 0.0], &u, &[1e-12, 0.0], &mut dx);
        assert_eq!((u, dx), ([0.0, 0.0], [1.0, 0.0]));
        normalise(2, &[f32::NAN, 1.0], &mut u);
        assert!(u.iter().all(|u| u.is_nan()));
    }
}
