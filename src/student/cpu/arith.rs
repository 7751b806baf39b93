//! The inner loops: plain Rust over slices that the compiler vectorises, compiled for AVX2 and
//! AVX-512 too by [`multiversion!`].

use candle_nn::Activation;

use super::super::{
    dropout::Mask,
    optimizer::{BETA1, BETA2, EPSILON, Factors},
};
use crate::simd::{exp, multiversion};

/// Distribution function of the standard normal by erf, Abramowitz and Stegun 7.1.26 (error under
/// 1.5e-7); `square` is e^(-x²/2), which the derivative needs too.
#[inline(always)]
fn normal_cdf(x: f32, square: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (0.327_591_1 * z + 1.0);
    let mut p = 1.061_405_4;
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = p * t + c;
    }
    let tail = 0.5 * p * t * square;
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// The gate of an activation `x · gate(x)`: its value and its slope at `x`.
#[inline(always)]
fn gate(kind: Activation, x: f32) -> (f32, f32) {
    match kind {
        Activation::Relu => (if x > 0.0 { 1.0 } else { 0.0 }, 0.0),
        Activation::Silu => {
            let share = 1.0 / (1.0 + exp(-x));
            (share, share * (1.0 - share))
        }
        // The tanh approximation: (1 + tanh z) / 2 is a logistic curve of 2z.
        Activation::NewGelu => {
            const INNER: f32 = 1.595_769; // 2 sqrt(2/pi)
            let share = 1.0 / (1.0 + exp(-INNER * (x + 0.044_715 * x * x * x)));
            (share, share * (1.0 - share) * INNER * (1.0 + 3.0 * 0.044_715 * x * x))
        }
        _ => {
            const DENSITY: f32 = 0.398_942_3; // 1/sqrt(2 pi)
            let square = exp(-0.5 * x * x);
            (normal_cdf(x, square), DENSITY * square)
        }
    }
}

multiversion! {
    /// `x · gate(x)` for ReLU, SiLU and both GELUs; any other kind is treated as the exact GELU.
    pub(super) fn activate(kind: Activation, x: &[f32], out: &mut [f32]) {
        #[inline(always)]
        fn all(kind: Activation, x: &[f32], out: &mut [f32]) {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = x * gate(kind, x).0;
            }
        }
        // A constant kind in each call gives each kind its own loop.
        match kind {
            Activation::Relu => all(Activation::Relu, x, out),
            Activation::Silu => all(Activation::Silu, x, out),
            Activation::NewGelu => all(Activation::NewGelu, x, out),
            _ => all(Activation::Gelu, x, out),
        }
    }
}

multiversion! {
    /// Backward of [`activate`] at `x`: turns `grad`, the gradient of the output, into that of the
    /// input.
    pub(super) fn activate_backward(kind: Activation, x: &[f32], grad: &mut [f32]) {
        #[inline(always)]
        fn all(kind: Activation, x: &[f32], grad: &mut [f32]) {
            for (grad, &x) in grad.iter_mut().zip(x) {
                let (gate, slope) = gate(kind, x);
                *grad *= gate + x * slope;
            }
        }
        match kind {
            Activation::Relu => all(Activation::Relu, x, grad),
            Activation::Silu => all(Activation::Silu, x, grad),
            Activation::NewGelu => all(Activation::NewGelu, x, grad),
            _ => all(Activation::Gelu, x, grad),
        }
    }
}

/// Lanes of a sum, so that it vectorises with a fixed order of additions.
const LANES: usize = 16;

#[inline(always)]
fn sum_of(len: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = len / LANES * LANES;
    let mut at = 0;
    while at < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(at + lane);
        }
        at += LANES;
    }
    let mut sum = lanes.iter().sum::<f32>();
    for at in whole..len {
        sum += term(at);
    }
    sum
}

/// Mean and 1/sqrt(variance + eps) of a row.
#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = sum_of(x.len(), |i| x[i]) / width;
    let variance = sum_of(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / width;
    (mean, 1.0 / (variance + eps).sqrt())
}

multiversion! {
    /// `out += x`.
    pub(super) fn add(x: &[f32], out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out += x;
        }
    }
}

multiversion! {
    /// Adds columns `from..from + sum.len()` of every row of `x` to `sum`.
    pub(super) fn sum_columns(x: &[f32], width: usize, from: usize, sum: &mut [f32]) {
        for row in x.chunks_exact(width) {
            for (sum, &x) in sum.iter_mut().zip(&row[from..]) {
                *sum += x;
            }
        }
    }
}

multiversion! {
    /// `x` times the factors `first..` of a mask.
    pub(super) fn masked(mask: Mask, first: u32, x: &[f32], out: &mut [f32]) {
        for (at, (out, &x)) in (0u32..).zip(out.iter_mut().zip(x)) {
            *out = x * mask.factor(first.wrapping_add(at));
        }
    }
}

multiversion! {
    /// [`masked`] in place.
    pub(super) fn mask(mask: Mask, first: u32, x: &mut [f32]) {
        for (at, x) in (0u32..).zip(x.iter_mut()) {
            *x *= mask.factor(first.wrapping_add(at));
        }
    }
}

multiversion! {
    /// Layer norm of rows as wide as `weight`.
    pub(super) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let width = weight.len();
        for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            norm_row(x, weight, bias, eps, out);
        }
    }
}

multiversion! {
    /// `sum = sum · mask + x`, and its layer norm into `out`; the mask's factors are counted from
    /// `first`.
    pub(super) fn residual_norm(
        mask: Mask, first: u32, x: &[f32], weight: &[f32], bias: &[f32], eps: f32,
        sum: &mut [f32], out: &mut [f32],
    ) {
        let width = weight.len();
        let rows = sum.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(out.chunks_exact_mut(width));
        for (row, ((sum, x), out)) in (0u32..).zip(rows) {
            if mask.drops() {
                let first = first.wrapping_add(row * width as u32);
                for (at, sum) in (0u32..).zip(sum.iter_mut()) {
                    *sum *= mask.factor(first.wrapping_add(at));
                }
            }
            for (sum, &x) in sum.iter_mut().zip(x) {
                *sum += x;
            }
            norm_row(sum, weight, bias, eps, out);
        }
    }
}

#[inline(always)]
fn norm_row(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let (mean, scale) = moments(x, eps);
    for ((out, &x), (&weight, &bias)) in out.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
        *out = (x - mean) * scale * weight + bias;
    }
}

multiversion! {
    /// Backward of layer norm for some rows: overwrites `dx`, adds to `dweight` and `dbias`.
    pub(super) fn layer_norm_backward(
        x: &[f32], weight: &[f32], eps: f32, grad: &[f32],
        dx: &mut [f32], dweight: &mut [f32], dbias: &mut [f32],
    ) {
        let width = weight.len();
        let (dweight, dbias) = (&mut dweight[..width], &mut dbias[..width]);
        let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(grad.chunks_exact(width));
        for ((dx, x), grad) in rows {
            let (dx, x, grad) = (&mut dx[..width], &x[..width], &grad[..width]);
            let (mean, scale) = moments(x, eps);
            let mean_grad = sum_of(width, |i| grad[i] * weight[i]) / width as f32;
            let mean_product =
                sum_of(width, |i| grad[i] * weight[i] * (x[i] - mean)) * scale / width as f32;
            for i in 0..width {
                let normed = (x[i] - mean) * scale;
                dweight[i] += grad[i] * normed;
                dbias[i] += grad[i];
                dx[i] = scale * (grad[i] * weight[i] - mean_grad - normed * mean_product);
            }
        }
    }
}

multiversion! {
    /// Softmax of `scale · row`, in place.
    pub(super) fn softmax(scale: f32, row: &mut [f32]) {
        let mut top = f32::NEG_INFINITY;
        for &score in row.iter() {
            top = if score > top { score } else { top };
        }
        for score in row.iter_mut() {
            *score = exp((*score - top) * scale);
        }
        let whole = 1.0 / sum_of(row.len(), |at| row[at]);
        for weight in row.iter_mut() {
            *weight *= whole;
        }
    }
}

multiversion! {
    /// Backward of [`softmax`]: turns `grad`, the gradient of the weights, into that of the scores.
    pub(super) fn softmax_backward(scale: f32, weights: &[f32], grad: &mut [f32]) {
        let mean = sum_of(weights.len(), |at| weights[at] * grad[at]);
        for (grad, &weight) in grad.iter_mut().zip(weights) {
            *grad = weight * (*grad - mean) * scale;
        }
    }
}

multiversion! {
    /// Sum of squares, in f64 (an f32 sum over millions of gradients loses digits).
    pub(super) fn sum_squares(x: &[f32]) -> f64 {
        // A loop, since the closure of `map` would be compiled without AVX2. Four vectors of lanes
        // hide the latency of the additions.
        let mut total = 0.0;
        for x in x.chunks(1024) {
            let (blocks, rest) = x.as_chunks::<{ 4 * LANES }>();
            let mut lanes = [0f32; 4 * LANES];
            for block in blocks {
                for (lane, &x) in lanes.iter_mut().zip(block) {
                    *lane += x * x;
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(rest) {
                *lane += x * x;
            }
            let mut sum = 0.0;
            for lane in lanes {
                sum += lane;
            }
            total += f64::from(sum);
        }
        total
    }
}

/// The factors of one AdamW update, with the bias corrections applied.
#[derive(Clone, Copy)]
pub(super) struct AdamStep {
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    /// Learning rate / (1 - beta1^t).
    pub rate: f32,
    /// 1 / (1 - beta2^t).
    pub second: f32,
    /// 1 - learning rate · weight decay.
    pub keep: f32,
    /// Factor of the gradient, from clipping.
    pub clip: f32,
}

impl AdamStep {
    /// The factors of a step, for weights that decay multiplies by `keep`.
    pub(super) fn new(factors: &Factors, keep: f64) -> Self {
        Self {
            beta1: BETA1 as f32,
            beta2: BETA2 as f32,
            epsilon: EPSILON as f32,
            rate: factors.rate as f32,
            second: factors.second_scale as f32,
            keep: keep as f32,
            clip: factors.clip as f32,
        }
    }
}

multiversion! {
    /// AdamW with decoupled decay (Loshchilov and Hutter 2019), parameters and moments in place.
    pub(super) fn adamw(
        step: AdamStep, params: &mut [f32], first: &mut [f32], second: &mut [f32], grad: &[f32],
    ) {
        let moments = first.iter_mut().zip(second.iter_mut());
        for ((param, (first, second)), &grad) in params.iter_mut().zip(moments).zip(grad) {
            let grad = grad * step.clip;
            *first = step.beta1 * *first + (1.0 - step.beta1) * grad;
            *second = step.beta2 * *second + (1.0 - step.beta2) * grad * grad;
            let root = (*second * step.second).sqrt() + step.epsilon;
            *param = *param * step.keep - step.rate * *first / root;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_curve_is_right_to_a_few_units() {
        // Table values of the standard normal.
        for (x, want) in [(0.0, 0.5), (1.0, 0.841_344_8), (-1.96, 0.024_997_9), (4.0, 0.999_968_3)]
        {
            let x: f32 = x;
            assert!((normal_cdf(x, exp(-0.5 * x * x)) - want).abs() < 3e-7, "cdf({x})");
        }
    }

    #[test]
    fn every_activation_and_its_slope_equal_candles() {
        use candle_core::{Device, Var};
        use candle_nn::Module;
        let x = (-60..=60).map(|i| i as f32 / 10.0 + 0.01).collect::<Vec<_>>();
        let var = Var::new(x.as_slice(), &Device::Cpu).unwrap();
        for kind in [Activation::Gelu, Activation::NewGelu, Activation::Relu, Activation::Silu] {
            let want = kind.forward(&var).unwrap();
            let slopes = want.sum_all().unwrap().backward().unwrap().remove(&var).unwrap();
            let (mut out, mut slope) = (vec![0f32; x.len()], vec![1f32; x.len()]);
            activate(kind, &x, &mut out);
            activate_backward(kind, &x, &mut slope);
            for (got, want) in [(out, want), (slope, slopes)] {
                for ((got, want), x) in got.iter().zip(want.to_vec1::<f32>().unwrap()).zip(&x) {
                    assert!((got - want).abs() < 2e-6, "{kind:?} at {x}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn layer_norm_of_a_row_worked_by_hand() {
        let mut out = [0f32; 4];
        layer_norm(
            &[1.0, 2.0, 3.0, 4.0],
            &[1.0, 1.0, 2.0, 1.0],
            &[0.0, 0.0, 0.0, 10.0],
            0.0,
            &mut out,
        );
        let unit = 1.25f32.sqrt(); // the standard deviation of 1, 2, 3, 4
        for (got, want) in out.iter().zip([-1.5 / unit, -0.5 / unit, 1.0 / unit, 10.0 + 1.5 / unit])
        {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn a_residual_is_masked_added_and_normed() {
        let x = [1.0, 2.0, 3.0, 5.0];
        let (mut sum, mut out) = ([2.0, 0.0, 1.0, -1.0], [0f32; 4]);
        residual_norm(Mask::NONE, 0, &x, &[1.0; 4], &[0.0; 4], 0.0, &mut sum, &mut out);
        assert_eq!(sum, [3.0, 2.0, 4.0, 4.0]);
        let unit = 0.6875f32.sqrt(); // the standard deviation of 3, 2, 4, 4
        for (got, want) in out.iter().zip([-0.25, -1.25, 0.75, 0.75]) {
            assert!((got - want / unit).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn a_softmax_and_its_backward_worked_by_hand() {
        let mut row = [0.0, 2.0 * 3f32.ln()];
        softmax(0.5, &mut row);
        assert!((row[0] - 0.25).abs() < 1e-6 && (row[1] - 0.75).abs() < 1e-6, "{row:?}");
        // d/ds0 of w1 is -w0 w1 · scale.
        let mut grad = [0.0, 1.0];
        softmax_backward(0.5, &[0.25, 0.75], &mut grad);
        assert!((grad[0] + 0.09375).abs() < 1e-6 && (grad[1] - 0.09375).abs() < 1e-6, "{grad:?}");
    }
}
