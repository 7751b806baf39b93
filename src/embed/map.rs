//! A map of sentence embeddings in two dimensions, for a picture of which classes are close, where
//! new texts fill a gap, and where the errors are.
//!
//! The projection is t-SNE (van der Maaten & Hinton 2008): each text keeps its neighbours, so
//! points that are close are similar; distances between far groups, their sizes and the axes mean
//! nothing. It is the exact algorithm over all pairs, which is fast enough for the number of points
//! that a page can show. It is initialised with the first two principal components instead of noise
//! (Kobak & Berens 2019), which preserves the global structure better and makes the result
//! deterministic.
//!
//! Sums are computed in a fixed order for any number of threads, so that the same embeddings give
//! the same points.

use rayon::prelude::*;

use crate::simd::{dot, multiversion};

/// Effective number of neighbours of a text; at most a third of the other texts.
const PERPLEXITY: f64 = 30.0;
/// With fewer points, which would have less than two neighbours each, the principal components are
/// the map.
const MIN_POINTS: usize = 8;
/// Steps with early exaggeration, and steps after that.
const STEPS: (usize, usize) = (250, 500);
/// Factor of the attraction during early exaggeration.
const EXAGGERATION: f32 = 12.0;
/// Standard deviation of the initial points along the first component.
const INITIAL_SPREAD: f32 = 1e-4;
/// Power iterations for each of the two components.
const POWER_ITERATIONS: usize = 40;
/// Parallel partial sums, so that loops vectorise and still have a fixed order.
const LANES: usize = 16;

/// A point `[x, y]` for each of `vectors`, `[n][width]`, within 0..=1; both axes have the same
/// scale.
///
/// Equal vectors get the same point; if all are equal (or there is only one), they are in the
/// middle. Time grows with n²: 800 vectors of width 384 take half a second on two cores.
pub(crate) fn project(vectors: &[Vec<f32>]) -> Vec<[f32; 2]> {
    let initial = principal_components(vectors);
    let points = if vectors.len() < MIN_POINTS { None } else { t_sne(vectors, &initial) };
    fit_to_unit(points.unwrap_or(initial))
}

/// Coordinates along the first two principal components (by power iteration).
fn principal_components(vectors: &[Vec<f32>]) -> Vec<[f32; 2]> {
    let Some(width) = vectors.first().map(Vec::len) else { return Vec::new() };
    // In f64, so that the mean of equal vectors is the vector itself.
    let mut sums = vec![0.0_f64; width];
    for vector in vectors {
        sums.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let centre: Vec<f32> = sums.iter().map(|sum| (sum / vectors.len() as f64) as f32).collect();
    let centred: Vec<Vec<f32>> = vectors
        .iter()
        .map(|vector| vector.iter().zip(&centre).map(|(value, centre)| value - centre).collect())
        .collect();
    let mut directions: Vec<Vec<f32>> = Vec::new();
    for axis in 0..2_u64 {
        // Any start works that is not orthogonal to the result.
        let mut rng = crate::rng::Rng::for_item(0, "embed/map", axis);
        let mut direction: Vec<f32> = (0..width).map(|_| rand::Rng::random(&mut rng)).collect();
        for _ in 0..POWER_ITERATIONS {
            let along: Vec<f32> = centred.iter().map(|row| dot(row, &direction)).collect();
            direction.fill(0.0);
            for (row, along) in centred.iter().zip(along) {
                direction.iter_mut().zip(row).for_each(|(sum, value)| *sum += along * value);
            }
            for found in &directions {
                let along = dot(&direction, found);
                direction.iter_mut().zip(found).for_each(|(value, found)| *value -= along * found);
            }
            let length = dot(&direction, &direction).sqrt();
            // Without any variance left there is no such component: all coordinates are 0.
            let scale = if length > 1e-12 { 1.0 / length } else { 0.0 };
            direction.iter_mut().for_each(|value| *value *= scale);
        }
        directions.push(direction);
    }
    centred.iter().map(|row| [dot(row, &directions[0]), dot(row, &directions[1])]).collect()
}

/// t-SNE from `initial`; `None` if `initial` has no spread or the optimisation diverged.
fn t_sne(vectors: &[Vec<f32>], initial: &[[f32; 2]]) -> Option<Vec<[f32; 2]>> {
    let n = vectors.len();
    let spread = (initial.iter().map(|[x, _]| x * x).sum::<f32>() / n as f32).sqrt();
    if spread.is_nan() || spread <= 1e-6 {
        return None;
    }
    let pull = affinities(vectors);
    // All x, then all y.
    let mut at: [Vec<f32>; 2] = [0, 1]
        .map(|axis| initial.iter().map(|point| point[axis] / spread * INITIAL_SPREAD).collect());
    let mut velocity = [vec![0.0_f32; n], vec![0.0_f32; n]];
    let mut gain = [vec![1.0_f32; n], vec![1.0_f32; n]];
    // Belkina et al. 2019: the learning rate grows with n. The minimum is for few points.
    let rate = (n as f32 / EXAGGERATION).max(10.0);
    for step in 0..STEPS.0 + STEPS.1 {
        let (exaggeration, momentum) =
            if step < STEPS.0 { (EXAGGERATION, 0.5) } else { (1.0, 0.8) };
        let forces: Vec<Forces> = pull
            .par_iter()
            .with_min_len(64)
            .enumerate()
            .map(|(i, pull)| forces(pull, &at[0], &at[1], at[0][i], at[1][i]))
            .collect();
        // Each point includes itself, with nearness 1.
        let total = forces.iter().map(|force| f64::from(force.nearness) - 1.0).sum::<f64>() as f32;
        for axis in 0..2 {
            for (i, force) in forces.iter().enumerate() {
                let gradient =
                    4.0 * (exaggeration * force.pull[axis] - force.push[axis] / total.max(1e-12));
                let (velocity, gain) = (&mut velocity[axis][i], &mut gain[axis][i]);
                // Jacobs 1988: larger steps while the direction stays the same.
                *gain =
                    if gradient * *velocity > 0.0 { *gain * 0.8 } else { *gain + 0.2 }.max(0.01);
                *velocity = momentum * *velocity - rate * *gain * gradient;
                at[axis][i] += *velocity;
            }
            let mean = at[axis].iter().sum::<f32>() / n as f32;
            at[axis].iter_mut().for_each(|value| *value -= mean);
        }
    }
    let [x, y] = at;
    let points: Vec<[f32; 2]> = x.into_iter().zip(y).map(|(x, y)| [x, y]).collect();
    points.iter().flatten().all(|value| value.is_finite()).then_some(points)
}

/// The affinity of each pair of `vectors`: `[n][n]`, symmetric, sums to 1.
fn affinities(vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let n = vectors.len();
    let perplexity = PERPLEXITY.min((n - 1) as f64 / 3.0);
    let nearness: Vec<Vec<f32>> = vectors
        .par_iter()
        .enumerate()
        .map(|(i, from)| {
            let squares: Vec<f32> = vectors.iter().map(|to| square(from, to)).collect();
            conditional(&squares, i, perplexity)
        })
        .collect();
    let both = |i: usize, j: usize| (nearness[i][j] + nearness[j][i]) / (2 * n) as f32;
    (0..n).into_par_iter().map(|i| (0..n).map(|j| both(i, j)).collect()).collect()
}

/// Gaussian weights for `squares` (squared distances from point `own`), with the bandwidth at which
/// their entropy is ln(`perplexity`). They sum to 1; that of `own` is 0.
fn conditional(squares: &[f32], own: usize, perplexity: f64) -> Vec<f32> {
    let others = || squares.iter().enumerate().filter(|(j, _)| *j != own);
    let least = others().map(|(_, square)| *square).fold(f32::INFINITY, f32::min);
    let target = perplexity.ln();
    let (mut low, mut high, mut precision) = (0.0_f64, f64::INFINITY, 1.0_f64);
    let mut weights = vec![0.0_f32; squares.len()];
    for _ in 0..64 {
        let (mut sum, mut moment) = (0.0_f64, 0.0_f64);
        for (j, square) in others() {
            let square = f64::from(square - least);
            let weight = (-precision * square).exp();
            weights[j] = weight as f32;
            sum += weight;
            moment += weight * square;
        }
        // The nearest point has weight 1, so the sum is at least 1.
        weights.iter_mut().for_each(|weight| *weight /= sum as f32);
        let entropy = sum.ln() + precision * moment / sum;
        if (entropy - target).abs() < 1e-5 {
            break;
        }
        (low, high) = if entropy > target { (precision, high) } else { (low, precision) };
        precision = if high.is_finite() { (low + high) / 2.0 } else { precision * 2.0 };
    }
    weights
}

/// The forces of all points on one of them.
#[derive(Debug, Clone, Copy)]
struct Forces {
    /// Sum over all points of 1 / (1 + distance²).
    nearness: f32,
    /// Attraction by neighbours, `[x, y]`.
    pull: [f32; 2],
    /// Repulsion by all points, not yet divided by the nearness of all pairs.
    push: [f32; 2],
}

multiversion! {
    /// The forces at (`own_x`, `own_y`) of the points at (`x`, `y`) with the affinities `pull`.
    fn forces(pull: &[f32], x: &[f32], y: &[f32], own_x: f32, own_y: f32) -> Forces {
        let mut sums = [[0.0_f32; LANES]; 5];
        let blocks = pull.chunks(LANES).zip(x.chunks(LANES)).zip(y.chunks(LANES));
        for ((pull, x), y) in blocks {
            if let (Ok(pull), Ok(x), Ok(y)) = (pull.try_into(), x.try_into(), y.try_into()) {
                add_forces(pull, x, y, own_x, own_y, &mut sums);
            } else {
                // The last block, padded with points that are too far away to have any effect.
                let (mut some, mut far_x, mut far_y) =
                    ([0.0; LANES], [f32::MAX; LANES], [f32::MAX; LANES]);
                some[..pull.len()].copy_from_slice(pull);
                far_x[..x.len()].copy_from_slice(x);
                far_y[..y.len()].copy_from_slice(y);
                add_forces(&some, &far_x, &far_y, own_x, own_y, &mut sums);
            }
        }
        let [nearness, pull_x, pull_y, push_x, push_y] = sums.map(|lanes| lanes.iter().sum());
        Forces { nearness, pull: [pull_x, pull_y], push: [push_x, push_y] }
    }
}

#[inline(always)]
fn add_forces(
    pull: &[f32; LANES],
    x: &[f32; LANES],
    y: &[f32; LANES],
    own_x: f32,
    own_y: f32,
    sums: &mut [[f32; LANES]; 5],
) {
    for lane in 0..LANES {
        let (dx, dy) = (own_x - x[lane], own_y - y[lane]);
        let near = 1.0 / (1.0 + dx * dx + dy * dy);
        let (pulled, pushed) = (pull[lane] * near, near * near);
        sums[0][lane] += near;
        sums[1][lane] += pulled * dx;
        sums[2][lane] += pulled * dy;
        sums[3][lane] += pushed * dx;
        sums[4][lane] += pushed * dy;
    }
}

multiversion! {
    /// Squared distance of `a` and `b`.
    fn square(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        for (a, b) in (&mut left).zip(&mut right) {
            for lane in 0..LANES {
                lanes[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
            }
        }
        let rest = left.remainder().iter().zip(right.remainder());
        lanes.iter().sum::<f32>() + rest.map(|(a, b)| (a - b) * (a - b)).sum::<f32>()
    }
}

/// Scales to 0..=1 and centres; points without any extent are in the middle.
fn fit_to_unit(mut points: Vec<[f32; 2]>) -> Vec<[f32; 2]> {
    let bounds = [0, 1].map(|axis| {
        points.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), point| {
            (low.min(point[axis]), high.max(point[axis]))
        })
    });
    let extent = bounds.iter().map(|(low, high)| high - low).fold(0.0, f32::max);
    let scale = if extent > 1e-9 { 1.0 / extent } else { 0.0 };
    for point in &mut points {
        for (value, (low, high)) in point.iter_mut().zip(bounds) {
            *value = (0.5 + (*value - (low + high) / 2.0) * scale).clamp(0.0, 1.0);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;

    /// `each` unit vectors around each of `clusters` random directions; clusters take turns.
    fn clustered(clusters: usize, each: usize, width: usize, noise: f32) -> Vec<Vec<f32>> {
        let mut rng = crate::rng::Rng::for_item(3, "test", 0);
        let mut random = |scale: f32| -> Vec<f32> {
            (0..width).map(|_| scale * (rng.random::<f32>() - 0.5)).collect()
        };
        let centres: Vec<Vec<f32>> = (0..clusters).map(|_| random(1.0)).collect();
        let around = |centre: &Vec<f32>, random: &mut dyn FnMut(f32) -> Vec<f32>| {
            let mut vector = random(noise);
            vector.iter_mut().zip(centre).for_each(|(value, centre)| *value += centre);
            let length = dot(&vector, &vector).sqrt();
            vector.iter_mut().for_each(|value| *value /= length);
            vector
        };
        (0..each * clusters).map(|i| around(&centres[i % clusters], &mut random)).collect()
    }

    fn assert_inside(points: &[[f32; 2]]) {
        let fine = |value: &f32| value.is_finite() && (0.0..=1.0).contains(value);
        assert!(points.iter().flatten().all(fine), "{points:?}");
    }

    #[test]
    fn clusters_stay_apart() {
        let points = project(&clustered(6, 25, 48, 1.2));
        assert_inside(&points);
        let distance = |a: usize, b: usize| square(&points[a], &points[b]);
        let own = (0..points.len()).filter(|&i| {
            let others = (0..points.len()).filter(|&j| j != i);
            let nearest = others.min_by(|&a, &b| distance(i, a).total_cmp(&distance(i, b)));
            nearest.is_some_and(|nearest| nearest % 6 == i % 6)
        });
        let own = own.count();
        assert!(own >= 147, "{own} of 150 have a nearest neighbour of their own cluster");
        // They are spread out along both axes.
        for axis in 0..2 {
            let values = || points.iter().map(|point| point[axis]);
            let extent = values().fold(0.0, f32::max) - values().fold(1.0, f32::min);
            assert!(extent > 0.5, "axis {axis}: {extent}");
        }
    }

    #[test]
    fn the_same_texts_give_the_same_points_on_any_number_of_threads() {
        let vectors = clustered(3, 30, 20, 1.0);
        let once = project(&vectors);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(once, pool.install(|| project(&vectors)));
    }

    #[test]
    fn few_and_equal_points() {
        assert!(project(&[]).is_empty());
        let vectors = clustered(2, 10, 7, 1.0);
        assert_eq!(project(&vectors[..1]), [[0.5, 0.5]]);
        for n in 2..20 {
            let points = project(&vectors[..n]);
            assert_eq!(points.len(), n);
            assert_inside(&points);
            assert!(points[0] != points[1], "{points:?}");
        }
        for n in [2, 3, 9, 40] {
            assert_eq!(project(&vec![vectors[0].clone(); n]), vec![[0.5, 0.5]; n]);
        }
        // Two different vectors, each many times.
        let points = project(&vectors[..2].iter().cycle().take(60).cloned().collect::<Vec<_>>());
        assert_inside(&points);
        assert!(points[0] == points[2] && points[0] != points[1], "{points:?}");
    }

    #[test]
    fn two_principal_components_by_hand() {
        // A cross of four points, twice as wide as high.
        let cross = [[2.0, 0.0, 5.0], [-2.0, 0.0, 5.0], [0.0, 1.0, 5.0], [0.0, -1.0, 5.0]];
        let points = project(&cross.map(Vec::from));
        let expected = [[0.0, 0.5], [1.0, 0.5], [0.5, 0.25], [0.5, 0.75]];
        for axis in 0..2 {
            // The sign of a component is arbitrary.
            let same = |flip: bool| {
                points.iter().zip(expected).all(|(found, expected)| {
                    let found = if flip { 1.0 - found[axis] } else { found[axis] };
                    (found - expected[axis]).abs() < 1e-4
                })
            };
            assert!(same(false) || same(true), "{points:?}");
        }
    }

    #[test]
    fn weights_have_the_perplexity_asked_for() {
        let squares: Vec<f32> = (0..50).map(|j| j as f32 / 10.0).collect();
        let weights = conditional(&squares, 7, 5.0);
        let entropy: f64 = weights
            .iter()
            .filter(|weight| **weight > 0.0)
            .map(|&weight| -f64::from(weight) * f64::from(weight).ln())
            .sum();
        assert!((entropy.exp() - 5.0).abs() < 0.01 && weights[7] == 0.0, "{}", entropy.exp());
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    #[ignore = "a measurement"]
    fn eight_hundred_points() {
        let vectors = clustered(10, 80, 384, 2.0);
        let clock = std::time::Instant::now();
        assert_inside(&project(&vectors));
        eprintln!("{:.2} s", clock.elapsed().as_secs_f64());
    }
}
