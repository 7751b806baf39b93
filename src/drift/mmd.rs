//! The maximum mean discrepancy of two sets of embeddings (Gretton et al. 2012, "A kernel
//! two-sample test", JMLR 13), which is 0 exactly if their distributions are equal.
//!
//! The kernel is k(x, y) = exp(-‖x - y‖² / 2σ²); σ is the median distance of the pooled vectors,
//! which is the same for every split. The estimate is the unbiased one (their equation 3): for n
//! new vectors X and m of the reference Y,
//! MMD² = Σ_{i≠j} k(xᵢ, xⱼ) / n(n-1) + Σ_{i≠j} k(yᵢ, yⱼ) / m(m-1) - 2 Σ k(xᵢ, yⱼ) / nm.

use rayon::prelude::*;

use crate::simd::dot;

/// The kernel of all pairs of the pooled vectors, those of the reference first.
pub(super) struct Kernel {
    /// `[texts, texts]`, symmetric; 0 on the diagonal, which the estimate leaves out.
    values: Vec<f32>,
    /// Sums of its rows.
    sums: Vec<f64>,
    /// Number of new vectors.
    new: usize,
}

impl Kernel {
    /// `None` if a side has fewer than two vectors, or all are equal.
    pub(super) fn new<'a>(
        old: impl Iterator<Item = &'a [f32]>,
        new: impl ExactSizeIterator<Item = &'a [f32]>,
    ) -> Option<Self> {
        let count = new.len();
        let vectors: Vec<&[f32]> = old.chain(new).collect();
        let n = vectors.len();
        if count < 2 || n < count + 2 {
            return None;
        }
        let mut values = squared_distances(&vectors);
        let two_variances = 2.0 * median(&values, n)?;
        for (at, value) in values.iter_mut().enumerate() {
            let diagonal = at / n == at % n;
            *value = if diagonal { 0.0 } else { (-*value / two_variances).exp() };
        }
        let sum = |row: &[f32]| row.iter().map(|&value| f64::from(value)).sum();
        let sums = values.chunks_exact(n).map(sum).collect();
        Some(Self { values, sums, new: count })
    }

    /// Number of vectors.
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Number of new vectors.
    pub(super) fn count(&self) -> usize {
        self.new
    }

    /// The estimate of MMD² where the vectors `new` are the new ones, in any order; there are
    /// [`Self::count`].
    pub(super) fn mmd(&self, new: &[u32]) -> f64 {
        let all = self.len();
        let (n, m) = (new.len() as f64, (all - new.len()) as f64);
        // The sums within the new ones, between both, and within the reference follow from the
        // first one and from the sums of rows.
        let mut within = 0.0;
        for (at, &i) in new.iter().enumerate() {
            let row = &self.values[i as usize * all..][..all];
            within += new[..at].iter().map(|&j| f64::from(row[j as usize])).sum::<f64>();
        }
        within *= 2.0;
        let between = new.iter().map(|&i| self.sums[i as usize]).sum::<f64>() - within;
        let rest = self.sums.iter().sum::<f64>() - within - 2.0 * between;
        within / (n * (n - 1.0)) + rest / (m * (m - 1.0)) - 2.0 * between / (n * m)
    }
}

/// ‖x - y‖² of all pairs, `[texts, texts]`.
fn squared_distances(vectors: &[&[f32]]) -> Vec<f32> {
    let lengths: Vec<f32> = vectors.iter().map(|vector| dot(vector, vector)).collect();
    let row = |i: usize| {
        let lengths = &lengths;
        vectors.iter().enumerate().map(move |(j, other)| {
            // The same rounding in both directions.
            (lengths[i.min(j)] + lengths[i.max(j)] - 2.0 * dot(vectors[i], other)).max(0.0)
        })
    };
    (0..vectors.len()).into_par_iter().flat_map_iter(row).collect()
}

/// The median of the squared distances of two different vectors; `None` if it is 0, as where most
/// texts are equal, and all are.
fn median(squares: &[f32], n: usize) -> Option<f32> {
    let above = (0..n).flat_map(|i| (i + 1..n).map(move |j| squares[i * n + j]));
    let mut pairs: Vec<f32> = above.collect();
    let middle = pairs.len() / 2;
    let (_, &mut median, larger) = pairs.select_nth_unstable_by(middle, f32::total_cmp);
    if median > 0.0 {
        return Some(median);
    }
    // Most texts are equal: any scale will do that tells the others apart.
    larger.iter().copied().filter(|square| *square > 0.0).min_by(f32::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(old: &[Vec<f32>], new: &[Vec<f32>]) -> Option<Kernel> {
        Kernel::new(old.iter().map(Vec::as_slice), new.iter().map(Vec::as_slice))
    }

    #[test]
    fn the_estimate_by_its_definition() {
        let vectors = |from: usize, n: usize| -> Vec<Vec<f32>> {
            (from..from + n).map(|at| vec![(at * at % 7) as f32, at as f32 / 3.0]).collect()
        };
        let (old, new) = (vectors(0, 5), vectors(4, 4));
        let all = kernel(&old, &new).unwrap();
        let square = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let pooled = [&old[..], &new].concat();
        let pairs = (0..9).flat_map(|i| (i + 1..9).map(move |j| (i, j)));
        let mut squares: Vec<f64> = pairs.map(|(i, j)| square(&pooled[i], &pooled[j])).collect();
        squares.sort_by(f64::total_cmp);
        let k = |a: &[f32], b: &[f32]| (-square(a, b) / (2.0 * squares[squares.len() / 2])).exp();
        let sum = |one: &[Vec<f32>], other: &[Vec<f32>], same: bool| {
            let mut sum = 0.0;
            for (i, a) in one.iter().enumerate() {
                for (j, b) in other.iter().enumerate() {
                    sum += if same && i == j { 0.0 } else { k(a, b) };
                }
            }
            sum
        };
        let expected = sum(&new, &new, true) / 12.0 + sum(&old, &old, true) / 20.0
            - 2.0 * sum(&new, &old, false) / 20.0;
        let found = all.mmd(&[5, 6, 7, 8]);
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        assert!((found - all.mmd(&[8, 5, 7, 6])).abs() < 1e-12);
        assert_eq!((all.len(), all.count()), (9, 4));
    }

    #[test]
    fn sets_far_apart_have_a_large_distance_and_equal_ones_none() {
        let near: Vec<Vec<f32>> = (0..20).map(|at| vec![at as f32 / 20.0]).collect();
        let far: Vec<Vec<f32>> = (0..10).map(|at| vec![100.0 + at as f32 / 20.0]).collect();
        let new: Vec<u32> = (20..30).collect();
        assert!(kernel(&near, &far).unwrap().mmd(&new) > 0.5);
        let same: Vec<Vec<f32>> = near.iter().step_by(2).cloned().collect();
        assert!(kernel(&near, &same).unwrap().mmd(&new) < 0.05);
    }

    #[test]
    fn what_cannot_be_compared_is_left_out() {
        let one = vec![vec![1.0, 2.0]; 5];
        assert!(kernel(&one, &one).is_none(), "all texts are equal");
        assert!(kernel(&one[..1], &one).is_none() && kernel(&one, &one[..1]).is_none());
        // Most are equal.
        let mostly = [&one[..], &[vec![5.0, 5.0]]].concat();
        assert!(kernel(&mostly, &one).is_some());
    }
}
