//! The inner loops of the fused CPU ops: plain Rust over slices, written so that the compiler
//! vectorises them, and compiled a second time for AVX2 by [`wide!`].

use candle_nn::Activation;

use crate::vector::{exp, wide};

/// Distribution function of the standard normal by erf, Abramowitz and Stegun 7.1.26 (error under
/// 1.5e-7); `square` is e^(-x²/2), which the derivative needs as well.
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

/// A smooth gate in front of `x`: its value and its slope at `x`. GELU is `x · gate(x)`.
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

wide! {
    /// `x · gate(x)` for ReLU, SiLU and both GELUs; any other kind counts as the exact GELU.
    pub(super) fn activate(kind: Activation, x: &[f32], out: &mut [f32]) {
        #[inline(always)]
        fn all(kind: Activation, x: &[f32], out: &mut [f32]) {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = x * gate(kind, x).0;
            }
        }
        // Each kind by name, so that each gets a loop of its own.
        match kind {
            Activation::Relu => all(Activation::Relu, x, out),
            Activation::Silu => all(Activation::Silu, x, out),
            Activation::NewGelu => all(Activation::NewGelu, x, out),
            _ => all(Activation::Gelu, x, out),
        }
    }
}

wide! {
    /// Gradient of [`activate`] at `x`, times the gradient that comes in.
    pub(super) fn activate_backward(kind: Activation, x: &[f32], grad: &[f32], out: &mut [f32]) {
        #[inline(always)]
        fn all(kind: Activation, x: &[f32], grad: &[f32], out: &mut [f32]) {
            for ((out, &x), &grad) in out.iter_mut().zip(x).zip(grad) {
                let (gate, slope) = gate(kind, x);
                *out = grad * (gate + x * slope);
            }
        }
        match kind {
            Activation::Relu => all(Activation::Relu, x, grad, out),
            Activation::Silu => all(Activation::Silu, x, grad, out),
            Activation::NewGelu => all(Activation::NewGelu, x, grad, out),
            _ => all(Activation::Gelu, x, grad, out),
        }
    }
}

/// Lanes summed side by side, so that a sum vectorises and yet has one fixed order.
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

wide! {
    /// Layer norm of rows as wide as `weight`.
    pub(super) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let width = weight.len();
        for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let (mean, scale) = moments(x, eps);
            for i in 0..width {
                out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
            }
        }
    }
}

wide! {
    /// Backward of layer norm for some rows: `dx` is written, `dweight` and `dbias` are added to.
    pub(super) fn layer_norm_backward(
        x: &[f32], weight: &[f32], grad: &[f32], eps: f32,
        dx: &mut [f32], dweight: &mut [f32], dbias: &mut [f32],
    ) {
        let width = weight.len();
        let (dweight, dbias) = (&mut dweight[..width], &mut dbias[..width]);
        let mut normed = vec![0f32; width];
        let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(grad.chunks_exact(width));
        for ((dx, x), grad) in rows {
            let (mean, scale) = moments(x, eps);
            for i in 0..width {
                normed[i] = (x[i] - mean) * scale;
                dx[i] = grad[i] * weight[i];
                dweight[i] += grad[i] * normed[i];
                dbias[i] += grad[i];
            }
            let mean_grad = sum_of(width, |i| dx[i]) / width as f32;
            let mean_product = sum_of(width, |i| dx[i] * normed[i]) / width as f32;
            for i in 0..width {
                dx[i] = scale * (dx[i] - mean_grad - normed[i] * mean_product);
            }
        }
    }
}

wide! {
    /// Adds `bias` to every row of `x`.
    pub(super) fn add_bias(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, &bias) in row.iter_mut().zip(bias) {
                *x += bias;
            }
        }
    }
}

wide! {
    /// Adds every row of `x` to `sum`.
    pub(super) fn sum_rows(x: &[f32], sum: &mut [f32]) {
        for row in x.chunks_exact(sum.len()) {
            for (sum, &x) in sum.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}

wide! {
    /// Multiplies `x` by `factors`, element by element.
    pub(super) fn scale_by(x: &mut [f32], factors: &[f32]) {
        for (x, &factor) in x.iter_mut().zip(factors) {
            *x *= factor;
        }
    }
}

wide! {
    /// Sum of squares, in f64 (an f32 sum over millions of gradients loses digits).
    pub(super) fn sum_squares(x: &[f32]) -> f64 {
        // A loop, for `map` would be compiled without AVX2.
        let mut total = 0.0;
        for x in x.chunks(1024) {
            total += f64::from(sum_of(x.len(), |i| x[i] * x[i]));
        }
        total
    }
}

/// One AdamW update's numbers, bias corrections already in them.
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
    /// Factor on the gradient, from clipping.
    pub clip: f32,
}

wide! {
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

/// The shape of one text's attention: `len` tokens, `heads` heads of `depth`; rows of `q`, `k`
/// and `v` are `heads · depth` wide, the weights are `[heads, len, len]`.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub len: usize,
    pub heads: usize,
    pub depth: usize,
}

/// Copies one head's rows, turned: `out[c][j] = x[j][c]`, `[depth, len]`.
#[inline(always)]
fn turn_head(x: &[f32], span: Span, head: usize, out: &mut [f32]) {
    let width = span.heads * span.depth;
    for j in 0..span.len {
        let row = &x[j * width + head * span.depth..][..span.depth];
        for (c, &value) in row.iter().enumerate() {
            out[c * span.len + j] = value;
        }
    }
}

/// `out += factor · x`.
#[inline(always)]
fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

wide! {
    /// Scaled dot-product attention of one text. Writes `out` and the weights before dropout;
    /// `dropout` holds a factor per weight, or nothing.
    pub(super) fn attention(
        span: Span, q: &[f32], k: &[f32], v: &[f32], dropout: &[f32],
        weights: &mut [f32], out: &mut [f32],
    ) {
        let Span { len, heads, depth } = span;
        let width = heads * depth;
        let scale = 1.0 / (depth as f32).sqrt();
        let mut keys = vec![0f32; depth * len];
        out.fill(0.0);
        for head in 0..heads {
            turn_head(k, span, head, &mut keys);
            for i in 0..len {
                let at = (head * len + i) * len;
                let row = &mut weights[at..at + len];
                row.fill(0.0);
                for c in 0..depth {
                    add_scaled(row, q[i * width + head * depth + c] * scale, &keys[c * len..(c + 1) * len]);
                }
                let top = row.iter().fold(f32::NEG_INFINITY, |top, &score| top.max(score));
                row.iter_mut().for_each(|score| *score = exp(*score - top));
                let whole = 1.0 / sum_of(len, |j| row[j]);
                row.iter_mut().for_each(|weight| *weight *= whole);
                let out = &mut out[i * width + head * depth..][..depth];
                for j in 0..len {
                    let kept = if dropout.is_empty() { 1.0 } else { dropout[at + j] };
                    add_scaled(out, row[j] * kept, &v[j * width + head * depth..][..depth]);
                }
            }
        }
    }
}

wide! {
    /// Backward of [`attention`]: `dq`, `dk` and `dv` are added to.
    pub(super) fn attention_backward(
        span: Span, q: &[f32], k: &[f32], v: &[f32], dropout: &[f32], weights: &[f32],
        grad: &[f32], dq: &mut [f32], dk: &mut [f32], dv: &mut [f32],
    ) {
        let Span { len, heads, depth } = span;
        let width = heads * depth;
        let scale = 1.0 / (depth as f32).sqrt();
        let mut values = vec![0f32; depth * len];
        let mut dscores = vec![0f32; len];
        for head in 0..heads {
            turn_head(v, span, head, &mut values);
            for i in 0..len {
                let at = (head * len + i) * len;
                let row = &weights[at..at + len];
                let grad = &grad[i * width + head * depth..][..depth];
                dscores.fill(0.0);
                for c in 0..depth {
                    add_scaled(&mut dscores, grad[c], &values[c * len..(c + 1) * len]);
                }
                if !dropout.is_empty() {
                    for j in 0..len {
                        dscores[j] *= dropout[at + j];
                    }
                }
                let mean = sum_of(len, |j| dscores[j] * row[j]);
                for j in 0..len {
                    dscores[j] = row[j] * (dscores[j] - mean) * scale;
                }
                let own = i * width + head * depth..i * width + (head + 1) * depth;
                for j in 0..len {
                    let other = j * width + head * depth..j * width + (head + 1) * depth;
                    let kept = if dropout.is_empty() { 1.0 } else { dropout[at + j] };
                    add_scaled(&mut dv[other.clone()], row[j] * kept, grad);
                    add_scaled(&mut dq[own.clone()], dscores[j], &k[other.clone()]);
                    add_scaled(&mut dk[other], dscores[j], &q[own.clone()]);
                }
            }
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
            let (mut out, mut slope) = (vec![0f32; x.len()], vec![0f32; x.len()]);
            activate(kind, &x, &mut out);
            activate_backward(kind, &x, &vec![1.0; x.len()], &mut slope);
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
    fn attention_over_equal_keys_is_the_mean_of_the_values() {
        let span = Span { len: 2, heads: 1, depth: 2 };
        let (mut weights, mut out) = ([0f32; 4], [0f32; 4]);
        attention(
            span,
            &[1.0, 2.0, 3.0, 4.0],
            &[5.0; 4],
            &[1.0, 2.0, 3.0, 6.0],
            &[],
            &mut weights,
            &mut out,
        );
        assert_eq!(weights, [0.5; 4]);
        assert_eq!(out, [2.0, 4.0, 2.0, 4.0]);
    }
}
