//! Vectorised loops over slices of f32, shared by the student's kernels and by the teacher's
//! sampler and scorer.
//!
//! A loop is written once as plain scalar code, and [`multiversion!`] compiles it three times: for
//! any x86-64, for AVX2 (8 lanes) and for AVX-512 (16 lanes). The loops avoid `mul_add`, which
//! without the FMA instruction is a library call per number; therefore all versions give the same
//! bits. On aarch64 a single version suffices, since NEON is part of every processor.

/// Defines a function that is compiled for any x86-64, for AVX2 and for AVX-512 and picks the best
/// version at run time. Functions that its body calls must be `#[inline(always)]`, or they are not
/// compiled for the same instructions.
macro_rules! multiversion {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $out)? { body($($arg),*) }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $out)? { body($($arg),*) }
                if $crate::simd::has_avx512() {
                    // SAFETY: the check above found all four features.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the check above found AVX2.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use multiversion;

/// Whether the processor has the AVX-512 subsets that [`multiversion!`] compiles for.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

multiversion! {
    /// Dot product of two vectors of equal length.
    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        let mut lanes = [0.0f32; 16];
        for (a, b) in a.iter().zip(b) {
            for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                *lane += a * b;
            }
        }
        let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
        lanes.iter().sum::<f32>() + rest.sum::<f32>()
    }
}

/// 1.5·2^23: adding it rounds to an integer, which the low bits of the mantissa then hold.
const ROUND: f32 = 12_582_912.0;

/// e^x to about 2 ulp: the polynomial of Cephes after range reduction by powers of two. `x` is
/// clamped to -87.3..=88.3, where the result is a normal number.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * r + c;
    }
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * power
}

/// Elements per partial result: enough that combining the results costs nothing beside computing
/// them, few enough that a chunk can be searched again for a single element.
pub(crate) const CHUNK: usize = 128;
/// Independent accumulators, so that a reduction vectorises and yet adds in one fixed order.
const LANES: usize = 16;
/// Smallest exponent used: powers of two below 2^-126 are subnormal.
const MIN_EXPONENT: f32 = -125.0;

/// e^((x - top) · scale) with a relative error of about 10^-6; 0 if x is NaN or -inf, or the result
/// is below 10^-37.
///
/// Cheaper than [`exp`]: 2^z with z rounded to an integer, and for the fraction in -1/2..=1/2 a
/// minimax polynomial (relative error 1.5·10^-7).
#[inline(always)]
pub(crate) fn weight(x: f32, top: f32, scale: f32) -> f32 {
    let z = (x - top) * (scale * std::f32::consts::LOG2_E);
    let bounded = larger(z, MIN_EXPONENT);
    let shifted = bounded + ROUND;
    let f = bounded - (shifted - ROUND);
    let mut p = 1.327_646_7e-3;
    for c in [9.675_541e-3, 5.550_713_5e-2, 0.240_221_2, 0.693_146_94, 1.0] {
        p = p * f + c;
    }
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if z > MIN_EXPONENT { p * power } else { 0.0 }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    // A single instruction that gives b if a is NaN. `f32::max` compiles to more.
    if a > b { a } else { b }
}

#[inline(always)]
fn max_of(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut blocks = x.chunks_exact(LANES);
    for block in &mut blocks {
        for lane in 0..LANES {
            lanes[lane] = larger(block[lane], lanes[lane]);
        }
    }
    let mut top = f32::NEG_INFINITY;
    for lane in lanes {
        top = larger(lane, top);
    }
    for &x in blocks.remainder() {
        top = larger(x, top);
    }
    top
}

#[inline(always)]
fn weight_of(x: &[f32], top: f32, scale: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let mut blocks = x.chunks_exact(LANES);
    for block in &mut blocks {
        for lane in 0..LANES {
            lanes[lane] += weight(block[lane], top, scale);
        }
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    for &x in blocks.remainder() {
        sum += weight(x, top, scale);
    }
    sum
}

multiversion! {
    /// The maximum of `x`, ignoring NaN; -inf if `x` is empty.
    pub(crate) fn max(x: &[f32]) -> f32 {
        max_of(x)
    }
}

multiversion! {
    /// Copies `x` to `out` with NaN replaced by -inf and +inf by the largest finite number, and
    /// writes the maximum of each [`CHUNK`] to `tops`.
    pub(crate) fn copy_clean(x: &[f32], out: &mut [f32], tops: &mut [f32]) {
        for ((x, out), top) in x.chunks(CHUNK).zip(out.chunks_mut(CHUNK)).zip(tops) {
            for (out, &x) in out.iter_mut().zip(x) {
                let x = larger(x, f32::NEG_INFINITY);
                *out = if x < f32::MAX { x } else { f32::MAX };
            }
            *top = max_of(out);
        }
    }
}

multiversion! {
    /// The maximum of each [`CHUNK`] of `x`.
    pub(crate) fn chunk_maxima(x: &[f32], tops: &mut [f32]) {
        for (x, top) in x.chunks(CHUNK).zip(tops) {
            *top = max_of(x);
        }
    }
}

multiversion! {
    /// The sum of e^((x - top) · scale) over each [`CHUNK`] of `x`.
    pub(crate) fn chunk_weights(x: &[f32], top: f32, scale: f32, sums: &mut [f32]) {
        for (x, sum) in x.chunks(CHUNK).zip(sums) {
            *sum = weight_of(x, top, scale);
        }
    }
}

multiversion! {
    /// The sum of e^((x - top) · scale) over `x`: each chunk in f32, their total in f64. NaN counts
    /// as -inf.
    pub(crate) fn sum_weights(x: &[f32], top: f32, scale: f32) -> f64 {
        let mut total = 0.0;
        for x in x.chunks(CHUNK) {
            total += f64::from(weight_of(x, top, scale));
        }
        total
    }
}

/// ln of the sum of e^x over `x`, accurate to 1e-5. NaN counts as -inf; of an empty slice it is
/// -inf. The log-softmax of `x[i]` is `x[i] - log_sum_exp(x)`.
pub(crate) fn log_sum_exp(x: &[f32]) -> f64 {
    let top = max(x);
    if top.is_infinite() {
        return f64::from(top);
    }
    f64::from(top) + sum_weights(x, top, 1.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use rand::Rng as _;

    #[test]
    fn exp_is_accurate_to_a_millionth() {
        for step in -8000..8000 {
            let x = step as f32 / 100.0;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 1e-6, "exp({x})");
        }
    }

    #[test]
    fn weights_are_accurate_to_five_millionths() {
        for step in 0..8600 {
            let x = step as f32 / -100.0;
            let want = f64::from(x).exp();
            assert!((f64::from(weight(x, 0.0, 1.0)) / want - 1.0).abs() < 5e-6, "e^{x}");
            assert!((f64::from(weight(1.0 + 2.0 * x, 1.0, 0.5)) / want - 1.0).abs() < 5e-6);
        }
        assert_eq!(weight(3.0, 3.0, 1.0), 1.0);
        assert_eq!(weight(f32::MIN, f32::MAX, 2.0), 0.0);
    }

    #[test]
    fn log_sum_exp_equals_the_sum_in_f64() {
        let mut rng = Rng::for_item(1, "rows", 0);
        for (length, spread) in [(1, 1.0), (15, 3.0), (127, 8.0), (1000, 0.0), (49_153, 12.0)] {
            let x: Vec<f32> = (0..length).map(|_| spread * rng.random::<f32>()).collect();
            let want = x.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
            assert!((log_sum_exp(&x) - want).abs() < 1e-5, "{length}: {} {want}", log_sum_exp(&x));
        }
    }

    #[test]
    fn nan_and_infinities_weigh_nothing() {
        let (nan, low) = (f32::NAN, f32::NEG_INFINITY);
        // Longer than the lanes, with the finite numbers within them and in the remainder.
        let mut x = vec![nan; 35];
        assert_eq!(log_sum_exp(&x), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
        (x[3], x[20], x[33]) = (2.0, low, 2.0);
        assert_eq!(max(&x), 2.0);
        assert!((log_sum_exp(&x) - (2.0 + 2f64.ln())).abs() < 1e-6);
        assert_eq!(sum_weights(&[0.0, -200.0], 0.0, 1.0), 1.0);

        let (mut out, mut tops) = (vec![0.0; 35], [0.0]);
        x[34] = f32::INFINITY;
        copy_clean(&x, &mut out, &mut tops);
        assert_eq!((out[0], out[3], out[34], tops[0]), (low, 2.0, f32::MAX, f32::MAX));
    }

    #[test]
    fn the_sums_of_chunks_add_up_to_the_total() {
        let x: Vec<f32> = (0..CHUNK * 2 + 5).map(|i| (i % 17) as f32 / 4.0).collect();
        let (mut sums, mut tops) = ([0.0; 3], [0.0; 3]);
        chunk_weights(&x, 4.0, 0.5, &mut sums);
        chunk_maxima(&x, &mut tops);
        assert_eq!(tops, [4.0, 4.0, max(&x[CHUNK * 2..])]);
        let want: f64 = x.iter().map(|&x| (f64::from(x - 4.0) * 0.5).exp()).sum();
        assert!((sums.iter().map(|&sum| f64::from(sum)).sum::<f64>() - want).abs() < 1e-4);
        assert!((sum_weights(&x, 4.0, 0.5) - want).abs() < 1e-4);
    }
}
