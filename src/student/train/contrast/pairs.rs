//! The batches of a contrastive stage: pairs of texts of one class, with pairs of the classes that
//! are easily confused with it.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use crate::{embed::normalise, rng::Rng, simd::dot};

/// Two texts of one class; the same text twice if it is the only one of its class. Dropout makes
/// its two embeddings differ (SimCSE, Gao et al. 2021, arXiv 2104.08821).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    class: usize,
    texts: [usize; 2],
}

/// Texts by class, and the classes that are near each other.
#[derive(Debug)]
pub(super) struct Pairs {
    /// Indices of the texts of each class.
    texts: Vec<Vec<usize>>,
    /// The other classes, the nearest first, for each class.
    nearest: Vec<Vec<usize>>,
    /// Pairs in a batch, at most.
    per_batch: usize,
}

impl Pairs {
    /// Of texts with these `labels` and `embeddings` (`[texts]`, of unit length).
    pub(super) fn new(labels: &[usize], embeddings: &[Vec<f32>], per_batch: usize) -> Self {
        let classes = labels.iter().map(|label| label + 1).max().unwrap_or(0);
        let mut texts = vec![Vec::new(); classes];
        let width = embeddings.first().map_or(0, Vec::len);
        let mut centres = vec![vec![0f32; width]; classes];
        for (text, (&label, embedding)) in labels.iter().zip(embeddings).enumerate() {
            texts[label].push(text);
            centres[label].iter_mut().zip(embedding).for_each(|(sum, value)| *sum += value);
        }
        centres.iter_mut().for_each(|centre| normalise(centre));
        let near = |class: usize| {
            let mut others: Vec<usize> =
                (0..classes).filter(|&other| other != class && !texts[other].is_empty()).collect();
            let cosine = |other: &usize| dot(&centres[class], &centres[*other]);
            others.sort_by(|a, b| cosine(b).total_cmp(&cosine(a)));
            others.truncate(per_batch / 2);
            others
        };
        let nearest = (0..classes).map(near).collect();
        Self { texts, nearest, per_batch }
    }

    /// The batches of an epoch, each text once (twice, for one of an odd number). Half of a batch
    /// is a pair of a class and one of each of the nearest classes; the others are drawn.
    pub(super) fn batches(&self, epoch: usize, seed: u64) -> Vec<Vec<usize>> {
        let mut rng = Rng::for_item(seed, "student-pairs", epoch as u64);
        let mut pairs = Vec::new();
        for (class, texts) in self.texts.iter().enumerate() {
            let mut texts = texts.clone();
            texts.shuffle(&mut rng);
            let of_two =
                |two: &[usize]| Pair { class, texts: [two[0], *two.get(1).unwrap_or(&texts[0])] };
            pairs.extend(texts.chunks(2).map(of_two));
        }
        pairs.shuffle(&mut rng);
        let mut batches = Vec::new();
        for left in (1..=pairs.len().div_ceil(self.per_batch)).rev() {
            // Batches of equal size: a last one of a single pair would have no negatives.
            let size = pairs.len().div_ceil(left);
            let Some(first) = pairs.pop() else { break };
            let mut batch = vec![first];
            for class in &self.nearest[first.class] {
                let near = pairs.iter().rposition(|pair| pair.class == *class);
                batch.extend(near.filter(|_| batch.len() < size).map(|at| pairs.swap_remove(at)));
            }
            while batch.len() < size {
                batch.extend(pairs.pop());
            }
            batches.push(batch.into_iter().flat_map(|pair| pair.texts).collect());
        }
        batches
    }
}

/// The pairs of an epoch over texts with these labels.
pub(super) fn count_pairs(labels: impl Iterator<Item = usize>) -> usize {
    let mut counts = BTreeMap::<usize, usize>::new();
    labels.for_each(|label| *counts.entry(label).or_default() += 1);
    counts.values().map(|count| count.div_ceil(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve texts: five of class 0, which lies beside class 1 (four), one of class 2, two of 4.
    fn pairs(per_batch: usize) -> (Vec<usize>, Pairs) {
        let labels = vec![0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 4, 4];
        let angle = |label: &usize| [0.0f32, 0.2, 1.5, 0.0, 3.0][*label];
        let embeddings: Vec<Vec<f32>> =
            labels.iter().map(|it| vec![angle(it).cos(), angle(it).sin()]).collect();
        let pairs = Pairs::new(&labels, &embeddings, per_batch);
        (labels, pairs)
    }

    #[test]
    fn an_epoch_has_every_text_in_a_pair_of_its_class() {
        let (labels, pairs) = pairs(3);
        let batches = pairs.batches(0, 7);
        assert_eq!((batches.len(), count_pairs(labels.iter().copied())), (3, 7));
        assert!(batches.iter().all(|batch| (2..=6).contains(&batch.len())), "{batches:?}");
        let mut seen = vec![0; labels.len()];
        for pair in batches.iter().flat_map(|batch| batch.chunks(2)) {
            assert_eq!(labels[pair[0]], labels[pair[1]]);
            pair.iter().for_each(|&text| seen[text] += 1);
        }
        // One text of class 0 has no partner left, nor has the only text of class 2.
        assert_eq!(seen.iter().sum::<usize>(), 14);
        assert!(seen.iter().all(|count| *count >= 1) && seen[9] == 2, "{seen:?}");
        assert_eq!(batches, pairs.batches(0, 7));
        assert_ne!(batches, pairs.batches(1, 7));
    }

    #[test]
    fn a_batch_brings_the_nearest_class_together_with_its_first() {
        let (labels, pairs) = pairs(2);
        assert_eq!(pairs.nearest[0], [1]);
        let first = |seed: u64| {
            let batch = &pairs.batches(0, seed)[0];
            (labels[batch[0]], labels[batch[2]])
        };
        let met: Vec<(usize, usize)> = (0..40).map(first).filter(|it| it.0 == 0).collect();
        assert!(!met.is_empty() && met.iter().all(|it| it.1 == 1), "{met:?}");
    }
}
