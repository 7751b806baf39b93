//! The initial weights of a training: a pretrained encoder with a reduced word table under a new
//! head; and the way back to a complete checkpoint.
//!
//! **Only words that occur are trained.** A word that no example contains has no gradient: AdamW
//! only decays its row of the embedding table. So the table is reduced to the words of the examples
//! (with ids renumbered), and at the end the other rows are decayed in one step. The result is the
//! same but faster, since the table is half of a small encoder's weights.

use std::collections::BTreeMap;

use rand_distr::{Distribution, Normal};
use serde::Serialize;

use crate::{
    rng::Rng,
    student::{
        Result, StudentError,
        error::Fault,
        model_spec::{HeadParts, ModelSpec},
        network::Source,
        weights::Checkpoint,
    },
};

/// Weights by name.
pub(crate) type Weights = BTreeMap<String, Vec<f32>>;

/// The initial weights of a linear head.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LinearHead {
    /// `[classes, hidden]`.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

/// The weights of the head that `base` lacks: those `given`; or drawn with `seed`, weights from
/// Normal(0, `range`), biases zero.
///
/// # Errors
/// `range` is not a standard deviation; a head is given that is not the network's.
pub(super) fn fresh_head(
    base: &Checkpoint,
    spec: &ModelSpec,
    given: Option<&LinearHead>,
    range: f64,
    seed: u64,
) -> Result<Weights> {
    let classifier = spec.classifier_tensors();
    if let Some(LinearHead { weight, bias }) = given {
        let sizes = classifier.iter().map(|wanted| wanted.shape.iter().product::<usize>());
        if !matches!(spec.head, HeadParts::Linear(_)) || !sizes.eq([weight.len(), bias.len()]) {
            return Err(StudentError::bug("the initial head is not that of the network"));
        }
        let names = classifier.into_iter().map(|wanted| wanted.name);
        return Ok(names.zip([weight.clone(), bias.clone()]).collect());
    }
    let normal = Normal::new(0.0, range).map_err(|error| {
        StudentError::Training(Fault::with_hint(
            format!("initializer_range is {range}: {error}"),
            "correct initializer_range in the student's config.json; 0.02 is usual",
        ))
    })?;
    let mut fresh = Weights::new();
    let dense = spec.dense_tensors();
    let has_dense = dense.iter().all(|wanted| base.holds(&wanted.name));
    for (item, part) in [dense, classifier].into_iter().enumerate().skip(usize::from(has_dense)) {
        let mut rng = Rng::for_item(seed, "student-head", item as u64);
        for tensor in part {
            let len = tensor.shape.iter().product();
            let values = match tensor.shape.len() {
                1 => vec![0.0; len],
                _ => (0..len).map(|_| normal.sample(&mut rng) as f32).collect(),
            };
            fresh.insert(tensor.name, values);
        }
    }
    Ok(fresh)
}

/// The initial weights of a training.
pub(crate) struct InitialWeights<'a> {
    base: &'a dyn Source,
    /// The head: the classifier, and its first dense layer if the checkpoint has none.
    fresh: Weights,
    /// Name of the word table.
    words: String,
    /// Ids of its rows that are trained, ascending.
    kept: Vec<u32>,
}

impl<'a> InitialWeights<'a> {
    /// The weights of `base` under a `fresh` head. Renumbers `ids` to the rows of the reduced word
    /// table, and adjusts `spec` to its size.
    pub(super) fn new(
        base: &'a dyn Source,
        fresh: Weights,
        spec: &mut ModelSpec,
        ids: &mut [Vec<u32>],
    ) -> Self {
        let mut kept = ids.iter().flatten().copied().collect::<Vec<_>>();
        kept.sort_unstable();
        kept.dedup();
        let new_id = |id: &u32| kept.partition_point(|kept| kept < id) as u32;
        ids.iter_mut().flatten().for_each(|id| *id = new_id(id));
        spec.words_kept = kept.len();
        Self { base, fresh, words: spec.words.clone(), kept }
    }

    /// Puts the trained rows back into the whole table of `vocabulary` rows, and multiplies the
    /// others by `unused_decay`, the product of all steps' decay factors.
    pub(super) fn put_back(
        &self,
        weights: &mut Weights,
        vocabulary: usize,
        unused_decay: f64,
    ) -> Result<()> {
        let trained = weights.remove(&self.words).unwrap_or_default();
        let width = trained.len() / self.kept.len().max(1);
        let mut whole = vec![0f32; vocabulary * width];
        self.base.read(&self.words, &mut whole)?;
        whole.iter_mut().for_each(|value| *value = (f64::from(*value) * unused_decay) as f32);
        for (&id, row) in self.kept.iter().zip(trained.chunks_exact(width.max(1))) {
            whole[id as usize * width..][..width].copy_from_slice(row);
        }
        weights.insert(self.words.clone(), whole);
        Ok(())
    }
}

impl Source for InitialWeights<'_> {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        if name == self.words {
            return self.base.rows(name, &self.kept, out);
        }
        match self.fresh.get(name) {
            Some(values) => out.copy_from_slice(values),
            None => self.base.read(name, out)?,
        }
        Ok(())
    }

    fn rows(&self, name: &str, ids: &[u32], out: &mut [f32]) -> Result<()> {
        if name == self.words {
            let ids = ids.iter().map(|&id| self.kept[id as usize]).collect::<Vec<_>>();
            return self.base.rows(name, &ids, out);
        }
        self.base.rows(name, ids, out)
    }
}
