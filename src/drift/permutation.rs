//! P-values by permutation: how many random splits of the pooled texts are at least as extreme as
//! the one that was seen. That one counts as a split of its own, so a p-value is never 0 and the
//! test holds its level exactly (Phipson & Smyth 2010).

use rand::seq::index;
use rayon::prelude::*;

use super::{mmd::Kernel, statistic::Statistic};
use crate::rng::Rng;

/// Statistics of equal splits, summed in different orders, differ by rounding.
const ROUNDING: f64 = 1e-9;

/// The value and the p-value of each of `statistics`, whose last `count` texts are the new ones.
/// All see the same `permutations`.
pub(super) fn of_statistics(
    statistics: &[&Statistic],
    count: usize,
    permutations: u64,
) -> Vec<(f64, f64)> {
    let Some(texts) = statistics.iter().map(|statistic| statistic.texts()).max() else {
        return Vec::new();
    };
    let of = |new: &[bool]| -> Vec<f64> {
        statistics.iter().map(|statistic| statistic.of(new, count)).collect()
    };
    let seen = of(&(0..texts).map(|at| at >= texts - count).collect::<Vec<_>>());
    let extreme = (0..permutations)
        .into_par_iter()
        .map(|number| {
            let mut new = vec![false; texts];
            drawn(texts, count, number, "drift/permutation").iter().for_each(|at| new[at] = true);
            let is_extreme = |(value, seen): (f64, &f64)| u64::from(reaches(value, *seen));
            of(&new).into_iter().zip(&seen).map(is_extreme).collect::<Vec<_>>()
        })
        .reduce(
            || vec![0; seen.len()],
            |sums, more| sums.iter().zip(&more).map(|(a, b)| a + b).collect(),
        );
    seen.into_iter().zip(extreme).map(|(value, n)| (value, p_value(n, permutations))).collect()
}

/// The value of MMD² and its p-value.
pub(super) fn of_kernel(kernel: &Kernel, permutations: u64) -> (f64, f64) {
    let (all, count) = (kernel.len(), kernel.count());
    let new: Vec<u32> = (all - count..all).map(|at| at as u32).collect();
    let seen = kernel.mmd(&new);
    let extreme = (0..permutations)
        .into_par_iter()
        .filter(|&number| {
            let new = drawn(all, count, number, "drift/mmd");
            let new: Vec<u32> = new.iter().map(|at| at as u32).collect();
            reaches(kernel.mmd(&new), seen)
        })
        .count();
    (seen, p_value(extreme as u64, permutations))
}

/// `count` of `texts` at random.
fn drawn(texts: usize, count: usize, number: u64, key: &str) -> index::IndexVec {
    index::sample(&mut Rng::for_item(0, key, number), texts, count)
}

/// Whether a split is at least as extreme.
fn reaches(value: f64, seen: f64) -> bool {
    value >= seen - ROUNDING * seen.abs().max(1e-3)
}

fn p_value(extreme: u64, permutations: u64) -> f64 {
    (extreme + 1) as f64 / (permutations + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{Measure, statistic::Column};

    #[test]
    fn the_p_value_is_the_share_of_splits_that_are_as_extreme() {
        // 2 new texts of 6 that are the largest: of the 15 splits, this one and its mirror image
        // are the most extreme.
        let column = Column::values(Measure::Length, &[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0]);
        let [(distance, p)] = of_statistics(&[&column.statistic], 2, 20_000)[..] else { panic!() };
        assert_eq!(distance, 1.0);
        assert!((p - 2.0 / 15.0).abs() < 0.01, "{p}");
    }

    #[test]
    fn equal_texts_are_no_evidence() {
        let values = Column::values(Measure::Length, &[3.0; 9], &[3.0; 4]);
        let classes = Column::classes(&[1; 9], &[1; 4]);
        let unknown = Column::unknown_tokens((&[0; 9], &[5; 9]), (&[0; 4], &[7; 4]));
        let all = [&values.statistic, &classes.statistic, &unknown.statistic];
        for (value, p) in of_statistics(&all, 4, 99) {
            assert_eq!((value, p), (0.0, 1.0));
        }
    }

    #[test]
    fn embeddings_that_are_apart_are_the_most_extreme_split() {
        let line = |from: f32| (0..12).map(|at| vec![from + at as f32 / 10.0]).collect::<Vec<_>>();
        let (near, far) = (line(0.0), line(9.0));
        let kernel = Kernel::new(near.iter().map(Vec::as_slice), far.iter().map(Vec::as_slice));
        assert_eq!(of_kernel(&kernel.unwrap(), 999).1, 0.001);
    }
}
