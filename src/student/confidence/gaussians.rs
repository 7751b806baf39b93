//! A normal distribution around the mean of each class, all with one covariance, and the
//! Mahalanobis distance to the nearest mean (Lee et al. 2018, arXiv 1807.03888).
//!
//! A few hundred vectors do not determine a covariance of several hundred dimensions. It is shrunk
//! towards a multiple of the identity, by the share that minimises the expected squared error
//! (Ledoit and Wolf 2004): with few texts the distance is close to the Euclidean one.

use crate::{
    simd::dot,
    student::cpu::{Matrix, ProductInit, Target, product},
};

/// Class means and the shared covariance, as the map that makes the covariance the identity.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gaussians {
    pub width: usize,
    /// The inverse of the covariance's Cholesky factor, `[width, width]`, lower triangular.
    pub whitening: Vec<f32>,
    /// The mean of each class that has a text, whitened, `[classes, width]`.
    pub means: Vec<f32>,
}

impl Gaussians {
    /// Fits `vectors`, `[texts][width]`, of the classes `labels` with the weights `weights`, both
    /// `[texts]`. `None` if the vectors of a class are all equal, or there is none.
    pub(super) fn fit(vectors: &[&[f32]], labels: &[usize], weights: &[f32]) -> Option<Self> {
        let width = vectors.first()?.len();
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let means = means(vectors, labels, weights, width);
        // Residuals times the root of their share of the weight: their squares sum to the
        // covariance.
        let mut residuals = Vec::with_capacity(vectors.len() * width);
        let (mut fourth, mut squares) = (0.0, 0.0);
        for ((vector, &label), &weight) in vectors.iter().zip(labels).zip(weights) {
            let mean = means[label].as_ref()?;
            let share = f64::from(weight) / total;
            let residual = vector.iter().zip(mean).map(|(x, mean)| f64::from(*x) - mean);
            let length: f64 = residual.clone().map(|x| x * x).sum();
            fourth += share * length * length;
            squares += share * share;
            residuals.extend(residual.map(|x| (x * share.sqrt()) as f32));
        }
        let mut covariance = vec![0f32; width * width];
        product(
            Matrix::new(&residuals, width).transposed(),
            Matrix::new(&residuals, width),
            Target::new(&mut covariance, width),
            ProductInit::Zero,
        );
        let mut factor: Vec<f64> = covariance.into_iter().map(f64::from).collect();
        shrink(&mut factor, width, fourth, squares)?;
        cholesky(&mut factor, width)?;
        let whitening = invert(&factor, width);
        let mut gaussians = Self { width, whitening, means: Vec::new() };
        let present = means.into_iter().flatten();
        let whitened = present.flat_map(|mean| {
            let mean: Vec<f32> = mean.into_iter().map(|x| x as f32).collect();
            gaussians.whiten(&mean)
        });
        gaussians.means = whitened.collect();
        let finite = gaussians.whitening.iter().chain(&gaussians.means).all(|x| x.is_finite());
        finite.then_some(gaussians)
    }

    /// `vector` where the covariance is the identity.
    fn whiten(&self, vector: &[f32]) -> Vec<f32> {
        let rows = self.whitening.chunks_exact(self.width).enumerate();
        rows.map(|(at, row)| dot(&row[..=at], &vector[..=at])).collect()
    }

    /// The squared Mahalanobis distance of `vector`, `[width]`, to the nearest mean.
    pub(super) fn distance(&self, vector: &[f32]) -> f32 {
        let whitened = self.whiten(vector);
        let to = |mean: &[f32]| {
            mean.iter().zip(&whitened).map(|(mean, x)| (x - mean) * (x - mean)).sum::<f32>()
        };
        self.means.chunks_exact(self.width).map(to).fold(f32::INFINITY, f32::min)
    }
}

/// The weighted mean of each class; `None` for one without weight.
fn means(
    vectors: &[&[f32]],
    labels: &[usize],
    weights: &[f32],
    width: usize,
) -> Vec<Option<Vec<f64>>> {
    let classes = labels.iter().max().map_or(0, |label| label + 1);
    let mut sums = vec![(0.0, vec![0.0; width]); classes];
    for ((vector, &label), &weight) in vectors.iter().zip(labels).zip(weights) {
        let (total, sum) = &mut sums[label];
        *total += f64::from(weight);
        for (sum, x) in sum.iter_mut().zip(*vector) {
            *sum += f64::from(weight) * f64::from(*x);
        }
    }
    let mean = |(total, sum): (f64, Vec<f64>)| {
        (total > 0.0).then(|| sum.into_iter().map(|x| x / total).collect())
    };
    sums.into_iter().map(mean).collect()
}

/// Moves `covariance`, `[width, width]`, towards its mean variance times the identity. `fourth` is
/// the weighted mean of the residuals' fourth power of length, `squares` the sum of squared
/// weights, one over the number of texts if all weigh the same. `None` if there is no variance.
fn shrink(covariance: &mut [f64], width: usize, fourth: f64, squares: f64) -> Option<()> {
    let trace: f64 = covariance.iter().step_by(width + 1).sum();
    let variance = trace / width as f64;
    if !(variance.is_finite() && variance > f64::MIN_POSITIVE) {
        return None;
    }
    let norm: f64 = covariance.iter().map(|x| x * x).sum();
    // Squared distance to the target, and the sampling error of the covariance.
    let distance = norm - variance * variance * width as f64;
    let error = squares * (fourth - norm);
    let share = if distance > 0.0 { (error / distance).clamp(0.0, 1.0) } else { 1.0 };
    // A little always: vectors in a subspace have no inverse.
    let share = share.max(1e-6);
    covariance.iter_mut().for_each(|x| *x *= 1.0 - share);
    covariance.iter_mut().step_by(width + 1).for_each(|x| *x += share * variance);
    Some(())
}

/// The lower triangular L with L Lᵀ = `matrix`, in its place; `None` if that is not positive
/// definite.
fn cholesky(matrix: &mut [f64], width: usize) -> Option<()> {
    for row in 0..width {
        let (above, rest) = matrix.split_at_mut(row * width);
        let current = &mut rest[..width];
        for column in 0..row {
            let other = &above[column * width..][..width];
            let sum: f64 = current[..column].iter().zip(&other[..column]).map(|(a, b)| a * b).sum();
            current[column] = (current[column] - sum) / other[column];
        }
        let square = current[row] - current[..row].iter().map(|x| x * x).sum::<f64>();
        if !(square.is_finite() && square > 0.0) {
            return None;
        }
        current[row] = square.sqrt();
        current[row + 1..].fill(0.0);
    }
    Some(())
}

/// The inverse of the lower triangular `factor`, `[width, width]`.
fn invert(factor: &[f64], width: usize) -> Vec<f32> {
    let mut inverse = vec![0f64; width * width];
    for row in 0..width {
        let (above, rest) = inverse.split_at_mut(row * width);
        let factors = &factor[row * width..][..=row];
        let current = &mut rest[..=row];
        for (at, factor) in factors[..row].iter().enumerate() {
            let other = &above[at * width..][..=at];
            current.iter_mut().zip(other).for_each(|(x, other)| *x -= factor * other);
        }
        current[row] = 1.0;
        current.iter_mut().for_each(|x| *x /= factors[row]);
    }
    inverse.into_iter().map(|x| x as f32).collect()
}

#[cfg(test)]
mod tests {
    use rand_core::RngCore;

    use super::*;
    use crate::rng::Rng;

    fn fit(vectors: &[Vec<f32>], labels: &[usize]) -> Option<Gaussians> {
        let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        Gaussians::fit(&vectors, labels, &vec![1.0; labels.len()])
    }

    /// A standard normal number, nearly: the sum of twelve uniform ones.
    fn normal(rng: &mut Rng) -> f32 {
        let uniform = |_| rng.next_u32() as f32 / u32::MAX as f32;
        (0..12).map(uniform).sum::<f32>() - 6.0
    }

    #[test]
    fn the_distance_is_that_of_the_covariance_that_drew_the_vectors() {
        // Two classes around (0, 0) and (20, 0); the second coordinate has ten times the deviation.
        let mut rng = Rng::for_item(3, "gaussians", 0);
        let mut vector =
            |label: usize| vec![20.0 * label as f32 + normal(&mut rng), 10.0 * normal(&mut rng)];
        let labels: Vec<usize> = (0..4000).map(|at| at % 2).collect();
        let vectors: Vec<Vec<f32>> = labels.iter().map(|label| vector(*label)).collect();
        let fit = fit(&vectors, &labels).unwrap();
        for (vector, wanted) in [([0.0, 0.0], 0.0), ([3.0, 0.0], 9.0), ([20.0, 30.0], 9.0)] {
            let found = fit.distance(&vector);
            assert!((found - wanted).abs() < 0.6, "{vector:?}: {found}, not {wanted}");
        }
    }

    #[test]
    fn few_vectors_in_many_dimensions_give_nearly_the_euclidean_distance() {
        let mut rng = Rng::for_item(4, "gaussians", 0);
        let vectors: Vec<Vec<f32>> =
            (0..8).map(|_| (0..64).map(|_| normal(&mut rng)).collect()).collect();
        let fit = fit(&vectors, &[0, 1, 0, 1, 0, 1, 0, 1]).unwrap();
        assert!(fit.distance(&vectors[0]).is_finite());
        let step = |at: usize| {
            let mut far = vec![0f32; 64];
            far[at] = 30.0;
            fit.distance(&far)
        };
        let steps: Vec<f32> = (0..64).map(step).collect();
        let (low, high) = steps.iter().fold((f32::MAX, 0f32), |(a, b), &x| (a.min(x), b.max(x)));
        assert!(high < 1.5 * low, "{low} to {high}");
    }

    #[test]
    fn a_text_that_weighs_twice_counts_as_two_and_equal_texts_have_no_distance() {
        let vectors = [vec![0.0, 0.0], vec![1.0, 3.0], vec![2.0, 1.0], vec![1.0, 3.0]];
        let once: Vec<&[f32]> = vectors[..3].iter().map(Vec::as_slice).collect();
        let weighed = Gaussians::fit(&once, &[0; 3], &[1.0, 2.0, 1.0]).unwrap();
        let twice = fit(&vectors, &[0; 4]).unwrap();
        assert!((weighed.means[0] / twice.means[0] - 1.0).abs() < 0.2, "{weighed:?} {twice:?}");
        assert_eq!(fit(&[vec![1.0, 2.0], vec![1.0, 2.0]], &[0, 0]), None);
        assert_eq!(fit(&[], &[]), None);
        // A class of which there is no text has no mean.
        let gap = fit(&[vec![0.0], vec![1.0], vec![5.0], vec![7.0]], &[0, 0, 2, 2]).unwrap();
        assert_eq!(gap.means.len(), 2);
    }
}
