use super::*;
use crate::rng::Rng;
use rand::Rng as _;

fn numbers(count: usize, spread: f32, rng: &mut Rng) -> Vec<f32> {
    (0..count).map(|_| spread * (rng.random::<f32>() - 0.5)).collect()
}

/// The layer by its definition, with sums in 64 bits.
fn reference(dense: &QuantisedDense, x: &[f32]) -> Vec<f32> {
    let (inputs, groups) = (dense.inputs, dense.inputs.div_ceil(GROUP));
    let mut out = Vec::new();
    for x in x.chunks_exact(inputs) {
        let low = x.iter().copied().fold(0.0, f32::min);
        let high = x.iter().copied().fold(0.0, f32::max);
        let scale = (high - low) / 255.0;
        let inverse = inverse_scale(scale);
        let zero = (-low * inverse).round_ties_even();
        let levels: Vec<i64> = (x.iter())
            .map(|x| (x * inverse + zero).clamp(0.0, 255.0).round_ties_even() as i64)
            .collect();
        for output in 0..dense.outputs {
            let sum: i64 = (0..inputs)
                .map(|at| {
                    let byte = ((output / PANEL * groups + at / GROUP) * PANEL + output % PANEL)
                        * GROUP
                        + at % GROUP;
                    let weight = dense.levels[byte / Line::BYTES].0[byte % Line::BYTES];
                    (levels[at] - zero as i64) * i64::from(weight)
                })
                .sum();
            let sum = i32::try_from(sum).expect("sums fit");
            out.push(sum as f32 * (scale * dense.scales[output]) + dense.bias[output]);
        }
    }
    out
}

fn check(dense: &QuantisedDense, x: &[f32], why: &str) {
    let want = reference(dense, x);
    for kernel in Kernel::available() {
        let mut rows = QuantisedActivations::with(kernel);
        // Stale data in the buffer, as in a second call.
        rows.fill(&vec![3.0; x.len() + dense.inputs], dense.inputs);
        let mut out = vec![f32::NAN; want.len()];
        dense.forward(x, &mut out, &mut rows);
        let wrong = out.iter().zip(&want).position(|(out, want)| out.to_bits() != want.to_bits());
        if let Some(at) = wrong {
            panic!("{kernel:?}, {why}: number {at} is {} and not {}", out[at], want[at]);
        }
    }
}

#[test]
fn every_kernel_gives_the_same_bits_as_the_definition() {
    let mut rng = Rng::for_item(1, "quantised", 0);
    let odd = [(1, 1, 1), (2, 3, 2), (5, 4, 31), (13, 63, 33), (15, 65, 40), (29, 257, 96)];
    let usual = [(1, 384, 1536), (14, 768, 64), (43, 127, 129), (97, 1536, 95)];
    for (rows, inputs, outputs) in odd.into_iter().chain(usual) {
        let weight = numbers(outputs * inputs, 0.2, &mut rng);
        let dense = QuantisedDense::new(&weight, &numbers(outputs, 1.0, &mut rng), inputs);
        let x = numbers(rows * inputs, 7.0, &mut rng);
        check(&dense, &x, &format!("{rows} rows, {inputs} to {outputs}"));
    }
    // Levels by the definition, too.
    let weight = [1.0, -0.5, 0.25, 0.0, 1e-40, 0.0];
    let dense = QuantisedDense::new(&weight, &[0.0; 2], 3);
    let line = dense.levels[0].0;
    assert_eq!((line[..3].to_vec(), dense.sums[0]), (vec![127, -64, 32], 95));
    assert_eq!((line[GROUP..GROUP + 3].to_vec(), dense.sums[1]), (vec![0; 3], 0));
    for rows in 1..30 {
        let dense = QuantisedDense::new(&numbers(37 * 10, 1.0, &mut rng), &[0.5; 37], 10);
        check(&dense, &numbers(rows * 10, 1.0, &mut rng), &format!("{rows} rows"));
    }
}

#[test]
fn the_largest_levels_do_not_overflow() {
    // 255 · 127 each, all of one sign: a kernel that saturates at 16 bits fails here.
    for sign in [-1.0, 1.0] {
        let inputs = 3072;
        let dense = QuantisedDense::new(&vec![sign; 33 * inputs], &[0.0; 33], inputs);
        check(&dense, &vec![2.0; 3 * inputs], "all the highest");
        check(&dense, &vec![-2.0; 3 * inputs], "all the lowest");
    }
}

#[test]
fn many_threads_give_the_same_as_one() {
    let mut rng = Rng::for_item(2, "quantised", 0);
    let (rows, inputs, outputs) = (301, 256, 200);
    let weight = numbers(outputs * inputs, 0.2, &mut rng);
    let dense = QuantisedDense::new(&weight, &vec![0.1; outputs], inputs);
    let x = numbers(rows * inputs, 4.0, &mut rng);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let mut out = vec![0.0; rows * outputs];
        pool.install(|| dense.forward(&x, &mut out, &mut QuantisedActivations::default()));
        out
    };
    let one = run(1);
    assert_eq!(one, reference(&dense, &x));
    assert_eq!(one, run(3));
}

#[test]
fn the_layer_is_near_the_one_in_f32() {
    let mut rng = Rng::for_item(3, "quantised", 0);
    let (rows, inputs, outputs) = (20, 768, 96);
    let weight = numbers(outputs * inputs, 0.2, &mut rng);
    let bias = numbers(outputs, 1.0, &mut rng);
    let x = numbers(rows * inputs, 4.0, &mut rng);
    let rows = QuantisedActivations::of(&x, inputs);
    let mut out = vec![0.0; rows.rows() * outputs];
    QuantisedDense::new(&weight, &bias, inputs).forward_rows(&rows, &mut out);
    let (mut error, mut power) = (0f64, 0f64);
    for (out, x) in out.chunks(outputs).zip(x.chunks(inputs)) {
        for ((out, weight), bias) in out.iter().zip(weight.chunks(inputs)).zip(&bias) {
            let sum: f64 = x.iter().zip(weight).map(|(x, w)| f64::from(x * w)).sum();
            error += (f64::from(out - bias) - sum).powi(2);
            power += sum * sum;
        }
    }
    // Uniform numbers: a step of 1/255 (inputs) and 1/254 (weights) of the range, each with an
    // error of 1/sqrt(12) of a step against 1/sqrt(12) of the range: sqrt(2)/255 in all.
    assert!((error / power).sqrt() < 0.0065, "{}", (error / power).sqrt());
}

#[test]
fn zeros_are_exact_and_nan_and_infinity_propagate() {
    let dense = QuantisedDense::new(&[1.0, -0.5, 0.0, 0.0], &[0.25, 3.0], 2);
    let mut out = [f32::INFINITY; 8];
    let x = [0.0, 0.0, 1.0, 0.0, f32::NAN, 1.0, f32::INFINITY, 0.0];
    dense.forward(&x, &mut out, &mut QuantisedActivations::default());
    assert_eq!(out[..2], [0.25, 3.0]);
    assert!((out[2] - 1.25).abs() < 1e-5 && out[3] == 3.0, "{out:?}");
    assert!(out[4].is_nan() && out[5].is_nan() && !out[6].is_finite());
}

#[test]
fn stacked_layers_give_what_each_gives() {
    let mut rng = Rng::for_item(4, "quantised", 0);
    let (a, b) = (numbers(40 * 24, 1.0, &mut rng), numbers(40 * 24, 3.0, &mut rng));
    let rows = QuantisedActivations::of(&numbers(5 * 24, 1.0, &mut rng), 24);
    let one = |weight: &[f32], outputs: usize| {
        let mut out = vec![0.0; 5 * outputs];
        QuantisedDense::new(weight, &vec![0.0; outputs], 24).forward_rows(&rows, &mut out);
        out
    };
    let both = one(&[a.clone(), b.clone()].concat(), 80);
    let (a, b) = (one(&a, 40), one(&b, 40));
    for row in 0..5 {
        assert_eq!(both[row * 80..][..40], a[row * 40..][..40]);
        assert_eq!(both[row * 80 + 40..][..40], b[row * 40..][..40]);
    }
}
