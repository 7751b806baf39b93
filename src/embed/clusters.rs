//! Clusters of texts that are close to each other.

use rayon::prelude::*;

use crate::{rng::Rng, simd::dot};

/// Starts, of which the closest clustering is taken.
const STARTS: u64 = 3;
/// Most rounds of a start; it ends when no vector changes its cluster.
const ROUNDS: usize = 100;

/// Vectors of a cluster by their places, those that are closest to its centre first.
pub(crate) type Cluster = Vec<usize>;

/// Partitions `vectors`, `[n][width]`, into at most `count` clusters by weighted k-means: Lloyd's
/// algorithm from the seeds of k-means++ (Arthur & Vassilvitskii 2007), for the smallest sum of
/// weighted squared distances to the centres. `weights` are not negative. The cluster that weighs
/// most comes first; there is none without weights. `seed` determines the draws.
pub(crate) fn clusters(
    vectors: &[Vec<f32>],
    weights: &[f32],
    count: usize,
    seed: u64,
) -> Vec<Cluster> {
    let points = Points { vectors, weights };
    let start = |start| points.converged(count, &mut Rng::for_item(seed, "clusters", start));
    let best = (0..STARTS).map(start).min_by(|a, b| a.spread.total_cmp(&b.spread));
    let Clustering { centres, owners, .. } = best.unwrap_or_default();
    let mut clusters: Vec<(f64, Cluster)> = vec![(0.0, Vec::new()); centres.len()];
    for (at, owner) in owners.into_iter().enumerate() {
        clusters[owner].0 += f64::from(weights[at]);
        clusters[owner].1.push(at);
    }
    for ((_, cluster), centre) in clusters.iter_mut().zip(&centres) {
        let near = |at: &usize| distance(&vectors[*at], centre);
        cluster.sort_by(|a, b| near(a).total_cmp(&near(b)));
    }
    clusters.retain(|(_, cluster)| !cluster.is_empty());
    clusters.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    clusters.into_iter().map(|(_, cluster)| cluster).collect()
}

struct Points<'a> {
    vectors: &'a [Vec<f32>],
    weights: &'a [f32],
}

#[derive(Default)]
struct Clustering {
    centres: Vec<Vec<f32>>,
    /// The centre of each vector.
    owners: Vec<usize>,
    /// The sum of the weighted squared distances.
    spread: f64,
}

impl Points<'_> {
    /// The end of one start.
    fn converged(&self, count: usize, rng: &mut Rng) -> Clustering {
        let seeds = self.seeds(count, rng);
        if seeds.is_empty() {
            return Clustering::default();
        }
        let mut now = self.assigned(seeds);
        for _ in 0..ROUNDS {
            let next = self.assigned(self.means(&now));
            if next.owners == now.owners {
                return next;
            }
            now = next;
        }
        now
    }

    /// Up to `count` vectors, each drawn with a probability proportional to its weight and its
    /// squared distance from those before.
    fn seeds(&self, count: usize, rng: &mut Rng) -> Vec<Vec<f32>> {
        let mut shares: Vec<f64> = self.weights.iter().map(|&weight| f64::from(weight)).collect();
        let mut nearest = vec![f32::INFINITY; self.vectors.len()];
        let mut seeds: Vec<Vec<f32>> = Vec::new();
        while seeds.len() < count
            && let Some(at) = rng.weighted(&shares)
        {
            let seed = self.vectors[at].clone();
            nearest.par_iter_mut().zip(self.vectors).for_each(|(nearest, vector)| {
                *nearest = nearest.min(distance(vector, &seed));
            });
            nearest[at] = 0.0;
            shares = (self.weights.iter().zip(&nearest))
                .map(|(weight, nearest)| f64::from(weight * nearest))
                .collect();
            seeds.push(seed);
        }
        seeds
    }

    fn assigned(&self, centres: Vec<Vec<f32>>) -> Clustering {
        let nearest = |vector: &Vec<f32>| {
            let distances = centres.iter().map(|centre| distance(vector, centre)).enumerate();
            distances.min_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap_or((0, 0.0))
        };
        let (owners, distances): (Vec<usize>, Vec<f32>) =
            self.vectors.par_iter().map(nearest).unzip();
        let weighted = |(distance, weight): (&f32, &f32)| f64::from(distance * weight);
        let spread = distances.iter().zip(self.weights).map(weighted).sum();
        Clustering { centres, owners, spread }
    }

    /// The weighted mean of each cluster; the centre as it was, of a cluster without weight.
    fn means(&self, clustering: &Clustering) -> Vec<Vec<f32>> {
        let width = self.vectors.first().map_or(0, Vec::len);
        let mut means = vec![(vec![0.0; width], 0.0_f32); clustering.centres.len()];
        for ((vector, weight), &owner) in
            self.vectors.iter().zip(self.weights).zip(&clustering.owners)
        {
            let (sum, whole) = &mut means[owner];
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value * weight);
            *whole += weight;
        }
        let mean = |((mut sum, weight), centre): ((Vec<f32>, f32), &Vec<f32>)| {
            if weight <= 0.0 {
                return centre.clone();
            }
            sum.iter_mut().for_each(|value| *value /= weight);
            sum
        };
        means.into_iter().zip(&clustering.centres).map(mean).collect()
    }
}

/// The squared distance.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    (dot(a, a) + dot(b, b) - 2.0 * dot(a, b)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors at these angles, in degrees.
    fn at(degrees: &[f32]) -> Vec<Vec<f32>> {
        degrees
            .iter()
            .map(|angle| vec![angle.to_radians().cos(), angle.to_radians().sin()])
            .collect()
    }

    #[test]
    fn groups_are_found_and_the_weightiest_and_its_middle_come_first() {
        let vectors = at(&[0.0, 5.0, 10.0, 80.0, 85.0, 90.0]);
        let found = clusters(&vectors, &[0.5, 0.5, 0.5, 0.6, 0.6, 0.6], 2, 7);
        assert_eq!(found.iter().map(|cluster| cluster[0]).collect::<Vec<_>>(), [4, 1]);
        let mut places: Vec<usize> = found.concat();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4, 5]);
        // What weighs more draws the centre to itself.
        let found = clusters(&vectors, &[9.0, 1.0, 0.1, 0.1, 0.1, 0.1], 2, 7);
        assert_eq!(found[0][0], 0);
    }

    #[test]
    fn there_are_no_more_clusters_than_different_vectors() {
        let vectors = at(&[1.0, 1.0, 50.0]);
        let mut sizes: Vec<usize> =
            clusters(&vectors, &[1.0; 3], 9, 1).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 2]);
        assert!(clusters(&[], &[], 2, 1).is_empty());
        assert_eq!(clusters(&vectors, &[0.0; 3], 2, 1), Vec::<Cluster>::new());
    }
}
