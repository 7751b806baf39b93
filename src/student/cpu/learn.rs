//! The network in training: weights, gradients and moments in four buffers of one layout.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::{
    super::{
        Result, StudentError,
        dropout::{Dropout, Mask, Site},
        error::Fault,
        network::{Learner, Slot, Source, State, Update},
        optimizer::Factors,
    },
    Buffer,
    arith::{self, AdamStep},
    head::{normalise, normalise_backward, pool, pooled_rows},
    layer::{self, Activations, CHUNK, Dense, F32Layers, Gradients, Masks, Norm, Scratch},
    layout::{Contents, Layout, Linear},
    pages,
    product::Init,
};
use crate::student::{model_spec::ModelSpec, packed_batch::PackedBatch};

/// The network with its optimiser.
pub(in crate::student) struct CpuLearner {
    spec: ModelSpec,
    layout: Layout,
    weights: Vec<f32>,
    gradients: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Whether the gradients hold those of a backward pass since the last step.
    gathered: bool,
    pass: Pass,
}

/// What the last forward pass stored for its backward pass.
#[derive(Default)]
struct Pass {
    rows: PackedBatch,
    spans: Vec<Range<usize>>,
    dropout: Option<Dropout>,
    /// Input of the embedding's norm, `[tokens, width]`.
    sums: Buffer,
    /// Input of each layer, and the output of the last.
    states: Vec<Buffer>,
    layers: Vec<Activations>,
    /// `[texts, width]`: pooled; the head's features; after dropout.
    pooled: Buffer,
    features: Buffer,
    dropped: Buffer,
    grad: Buffer,
    other: Buffer,
    scratch: Scratch,
}

impl CpuLearner {
    /// Reads every tensor of `spec`.
    pub(crate) fn new(spec: ModelSpec, source: &dyn Source) -> Result<Self> {
        let layout = Layout::new(&spec, Contents::All);
        let weights = layout.read(source)?;
        let pass = Pass {
            states: (0..=layout.layers.len()).map(|_| Buffer::default()).collect(),
            layers: layout.layers.iter().map(|_| Activations::default()).collect(),
            ..Pass::default()
        };
        let zeros = || pages::zeros(layout.len);
        Ok(Self {
            weights,
            gradients: zeros(),
            first: zeros(),
            second: zeros(),
            gathered: false,
            pass,
            spec,
            layout,
        })
    }

    fn named(&self, values: &[f32]) -> BTreeMap<String, Vec<f32>> {
        self.layout.named().map(|(name, at)| (name.to_owned(), values[at].to_vec())).collect()
    }
}

/// The dropout masks of one pass.
#[derive(Clone, Copy)]
struct PassDropout<'a> {
    dropout: Option<Dropout>,
    spec: &'a ModelSpec,
}

impl PassDropout<'_> {
    fn at(self, site: Site, share: f64) -> Mask {
        match self.dropout {
            Some(dropout) if share > 0.0 => dropout.at(site, share),
            _ => Mask::NONE,
        }
    }

    fn embeddings(self) -> Mask {
        self.at(Site::Embeddings, self.spec.dropout)
    }

    fn head(self) -> Mask {
        self.at(Site::Head, self.spec.head_dropout())
    }

    fn layer(self, layer: usize) -> Masks {
        Masks {
            attention: self.at(Site::Attention(layer), self.spec.attention_dropout),
            output: self.at(Site::Output(layer), self.spec.output_dropout),
            feed_forward: self.at(Site::FeedForward(layer), self.spec.dropout),
        }
    }
}

impl Learner for CpuLearner {
    fn forward(&mut self, rows: &PackedBatch, dropout: Option<Dropout>) -> Result<Vec<f32>> {
        let Self { spec, layout, weights, pass, .. } = self;
        let drops = PassDropout { dropout, spec };
        let (width, shape) = (spec.hidden, spec.shape());
        let len = rows.tokens() * width;
        if let Some(id) = rows.ids().iter().find(|&&id| id as usize >= spec.words_kept) {
            return Err(StudentError::bug(format!("word {id} of a table of {}", spec.words_kept)));
        }
        pass.rows = rows.clone();
        pass.dropout = dropout;
        pass.spans = rows.spans().collect();

        let sums = pass.sums.of(len);
        let words = &weights[layout.words.clone()];
        for (&id, sum) in rows.ids().iter().zip(sums.chunks_exact_mut(width)) {
            sum.copy_from_slice(&words[id as usize * width..][..width]);
        }
        layout.add_position_embeddings(weights, rows, width, sums);
        let norm = Norm::of(&layout.embedding_norm, weights, spec.layer_norm_eps);
        let x = pass.states[0].of(len);
        norm.forward(sums, x);
        layer::drop_out(drops.embeddings(), x);

        for (at, layer) in layout.layers.iter().enumerate() {
            let (before, after) = pass.states.split_at_mut(at + 1);
            let (x, out) = (before[at].of(len), after[0].of(len));
            let (masks, kept) = (drops.layer(at), &mut pass.layers[at]);
            let mut dense = F32Layers { layer, weights };
            layer::forward(&mut dense, layer, weights, shape, &pass.spans, masks, x, kept, out);
        }

        let hidden = pass.states[layout.layers.len()].of(len);
        let pooled = pass.pooled.of(rows.texts() * width);
        pool(spec.pooling(), rows, hidden, pooled);
        let features = pass.features.of(pooled.len());
        let Some(head) = &layout.head else {
            normalise(width, pooled, features);
            return Ok(features.to_vec());
        };
        let dense =
            |at: &Linear, x: &[f32], out: &mut [f32]| Dense::of(at, weights).forward(x, out);
        head.forward(dense, pooled, features);
        let dropped = pass.dropped.of(features.len());
        arith::masked(drops.head(), 0, features, dropped);
        let mut logits = vec![0f32; rows.texts() * spec.classes];
        Dense::of(&head.classifier, weights).forward(dropped, &mut logits);
        Ok(logits)
    }

    fn backward(&mut self, dlogits: &[f32]) -> Result<()> {
        let Self { spec, layout, weights, gradients, pass, gathered, .. } = self;
        let init = match std::mem::replace(gathered, true) {
            true => Init::Current,
            false => {
                // The first pass overwrites the gradients of the matrices, and adds to all others.
                gradients[layout.tables.clone()].fill(0.0);
                gradients[layout.decayed..].fill(0.0);
                Init::Zero
            }
        };
        let mut gradients = Gradients { values: gradients, init };
        let drops = PassDropout { dropout: pass.dropout, spec };
        let (width, shape) = (spec.hidden, spec.shape());
        let (texts, len) = (pass.rows.texts() * width, pass.rows.tokens() * width);

        let (pooled, features) = (pass.pooled.of(texts), pass.features.of(texts));
        let dpooled = pass.dropped.of(texts);
        if let Some(head) = &layout.head {
            gradients.dense(&head.classifier, dpooled, dlogits);
            let dfeatures = pass.other.of(texts);
            Dense::of(&head.classifier, weights).backward(dlogits, dfeatures, Init::Zero);
            arith::mask(drops.head(), 0, dfeatures);
            head.backward(weights, &mut gradients, pooled, features, dfeatures, dpooled);
        } else {
            normalise_backward(width, pooled, features, dlogits, dpooled);
        }

        let grad = pass.grad.of(len);
        grad.fill(0.0);
        for (span, dpooled) in pass.rows.spans().zip(dpooled.chunks_exact(width)) {
            let (rows, share) = pooled_rows(spec.pooling(), span);
            for grad in grad[rows.start * width..rows.end * width].chunks_exact_mut(width) {
                grad.iter_mut().zip(dpooled).for_each(|(grad, dpooled)| *grad = dpooled * share);
            }
        }
        for (at, layer) in layout.layers.iter().enumerate().rev() {
            let (x, kept, scratch) =
                (pass.states[at].of(len), &mut pass.layers[at], &mut pass.scratch);
            let masks = drops.layer(at);
            layer::backward(
                layer,
                weights,
                shape,
                &pass.spans,
                masks,
                x,
                kept,
                scratch,
                &mut gradients,
                grad,
            );
        }

        layer::drop_out(drops.embeddings(), grad);
        let norm = Norm::of(&layout.embedding_norm, weights, spec.layer_norm_eps);
        let dsums = pass.other.of(len);
        gradients.norm(&layout.embedding_norm, &norm, pass.sums.of(len), grad, dsums);
        let tokens = pass.rows.ids().iter().zip(pass.rows.positions());
        for ((&id, position), dsum) in tokens.zip(dsums.chunks_exact(width)) {
            let word = layout.words.start + id as usize * width;
            arith::add(dsum, &mut gradients.values[word..word + width]);
            let position = layout.positions.start + position as usize * width;
            arith::add(dsum, &mut gradients.values[position..position + width]);
            if let Some(types) = &layout.types {
                arith::add(dsum, &mut gradients.values[types.start..types.start + width]);
            }
        }
        Ok(())
    }

    fn step(&mut self, update: Update) -> Result<f64> {
        if !std::mem::replace(&mut self.gathered, false) {
            return Err(StudentError::bug("the weights received no gradient"));
        }
        // Chunks are summed in order, so that the sum does not depend on the number of threads.
        let squares: Vec<f64> = self.gradients.par_chunks(CHUNK).map(arith::sum_squares).collect();
        let norm = squares.iter().sum::<f64>().sqrt();
        let factors = Factors::new(update, norm);
        let decayed = AdamStep::new(&factors, factors.keep);
        let free = AdamStep::new(&factors, 1.0);
        let cut = self.layout.decayed;
        for (range, numbers) in [(0..cut, decayed), (cut..self.layout.len, free)] {
            self.weights[range.clone()]
                .par_chunks_mut(CHUNK)
                .zip(self.first[range.clone()].par_chunks_mut(CHUNK))
                .zip(self.second[range.clone()].par_chunks_mut(CHUNK))
                .zip(self.gradients[range].par_chunks(CHUNK))
                .for_each(|(((weights, first), second), grad)| {
                    arith::adamw(numbers, weights, first, second, grad);
                });
        }
        Ok(norm)
    }

    fn state(&self) -> Result<State> {
        let slot = |at: Range<usize>| Slot {
            weight: self.weights[at.clone()].to_vec(),
            first: self.first[at.clone()].to_vec(),
            second: self.second[at].to_vec(),
        };
        Ok(self.layout.named().map(|(name, at)| (name.to_owned(), slot(at))).collect())
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        for (name, at) in self.layout.named() {
            let slot = state.get(name).filter(|slot| {
                [&slot.weight, &slot.first, &slot.second].iter().all(|x| x.len() == at.len())
            });
            let Some(slot) = slot else {
                return Err(StudentError::Training(Fault::with_hint(
                    format!("the snapshot has no {name} of {} numbers", at.len()),
                    "delete the run's folder `training`, then train again",
                )));
            };
            self.weights[at.clone()].copy_from_slice(&slot.weight);
            self.first[at.clone()].copy_from_slice(&slot.first);
            self.second[at].copy_from_slice(&slot.second);
        }
        self.gathered = false;
        Ok(())
    }

    fn weights(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        Ok(self.named(&self.weights))
    }

    #[cfg(test)]
    fn gradients(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        Ok(self.named(&self.gradients))
    }
}
