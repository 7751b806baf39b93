//! Draws the next token from a row of logits, in Rust: llama.cpp's sampler chain can abort the
//! process and keeps its own random state, while ours is keyed by the request.
//!
//! A row has 32 000 to 256 000 logits, and every token of every reply takes a draw, so the row is
//! read as rarely as possible. It is divided into chunks. One pass copies it and takes each chunk's
//! maximum, another sums e^x over each chunk. A draw finds its chunk by the sums and reads only
//! that chunk. Excluding a token that a grammar refused sums only its chunk again. Cuts (top-k,
//! top-p, min-p) read only chunks with a large enough maximum and leave a short list of candidates.
//!
//! The order is that of llama.cpp's default chain: penalties, top-k, top-p (over the tokens that
//! top-k kept), min-p, temperature. So the cuts see the model's own probabilities at any
//! temperature.

#[cfg(test)]
mod tests;

use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::{
    rng::Rng,
    simd::{CHUNK, chunk_maxima, chunk_weights, copy_clean, max, sum_weights, weight},
};

/// How tokens are drawn. The defaults are the paper's (no cuts, no penalties) but for the
/// temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sampling {
    /// Divides the logits (paper: 1): lower values draw probable tokens more often, and small
    /// models then write less nonsense, and more repeats. 0 always takes the most probable token
    /// (the first one of a tie).
    pub temperature: f32,
    /// Keeps the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the smallest set of tokens with at least this total probability.
    pub top_p: f32,
    /// Drops tokens less probable than this share of the most probable one.
    pub min_p: f32,
    /// Divides the positive logits of recent tokens and multiplies the negative ones; 1 = off.
    pub repeat_penalty: f32,
    /// Subtracted from a token's logit once for each of its recent occurrences.
    pub frequency_penalty: f32,
    /// Subtracted once from the logit of every recent token.
    pub presence_penalty: f32,
    /// How many of the reply's last tokens count as recent.
    pub penalty_window: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: 64,
        }
    }
}

impl Sampling {
    fn penalises(&self) -> bool {
        self.repeat_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }

    fn cuts(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0
    }

    /// The penalised logit of a token that occurs `count` times among the recent ones.
    fn penalise(&self, logit: f32, count: usize) -> f32 {
        let repeated =
            if logit > 0.0 { logit / self.repeat_penalty } else { logit * self.repeat_penalty };
        repeated - count as f32 * self.frequency_penalty - self.presence_penalty
    }
}

/// The logits for one draw, and the tokens that change them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogitsRow<'a> {
    /// `[vocabulary]`, unnormalised; NaN is never drawn.
    pub logits: &'a [f32],
    /// Tokens that are never drawn; there are few.
    pub banned: &'a [i32],
    /// Tokens of the reply so far, for the penalties.
    pub recent: &'a [i32],
}

/// Which tokens a grammar allows.
pub(super) struct Constraint<'a> {
    /// Whether the token may come next.
    pub accepts: &'a dyn Fn(i32) -> bool,
    /// Sets the logits of all tokens that may not come next to -inf.
    pub mask: &'a dyn Fn(&mut [f32]),
}

/// How many tokens are drawn and checked one by one before the whole vocabulary is masked.
const MAX_SINGLE_DRAWS: usize = 16;

/// Draws tokens. It is nothing but working memory, so that a draw allocates nothing: one sampler
/// serves many replies, one after another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sampler {
    /// Logits after penalties; -inf for tokens that may not be drawn.
    logits: Vec<f32>,
    /// Maximum of each chunk of `logits`.
    chunk_max: Vec<f32>,
    /// Sum of weights of each chunk of `logits`, relative to `max_logit`.
    chunk_sums: Vec<f32>,
    max_logit: f32,
    /// 1 / temperature.
    scale: f32,
    /// The tokens that the cuts kept: token, logit, weight.
    candidates: Vec<(i32, f32, f32)>,
    pool: Pool,
}

/// Where the next token is drawn from.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Pool {
    /// The largest logit.
    Greedy,
    /// All `logits`, by `chunk_sums`.
    #[default]
    All,
    /// The `candidates`.
    Candidates,
}

impl Sampler {
    /// Draws a token; `None` if every token is banned or has no finite logit.
    ///
    /// Always takes exactly one number from `rng`.
    pub(crate) fn draw(
        &mut self,
        sampling: &Sampling,
        row: LogitsRow<'_>,
        rng: &mut Rng,
    ) -> Option<i32> {
        self.draw_with(sampling, row, &Constraint { accepts: &|_| true, mask: &|_| {} }, rng)
    }

    /// Draws a token among those that `constraint` accepts, with the probabilities that they would
    /// have if all others had been masked in advance. If the cuts keep none of them, the others are
    /// masked before the cuts.
    ///
    /// A refused token is excluded and another one is drawn. This does not change the distribution:
    /// give each token an exponential clock of rate p. Drawing without replacement visits the
    /// tokens in the order in which the clocks ring, and the first accepted one is t with
    /// probability p(t) / p(all accepted).
    pub(super) fn draw_with(
        &mut self,
        sampling: &Sampling,
        row: LogitsRow<'_>,
        constraint: &Constraint<'_>,
        rng: &mut Rng,
    ) -> Option<i32> {
        let mut share: f64 = rng.random();
        // Draws after a refusal use another stream: the request's moves by one number per token.
        let mut again = Rng::for_item(share.to_bits(), "after a refusal", 0);
        self.load(sampling, row);
        self.build_pool(sampling);
        for _ in 0..MAX_SINGLE_DRAWS {
            let Some(token) = self.pick_token(share) else { break };
            if (constraint.accepts)(token) {
                return Some(token);
            }
            self.exclude(token);
            share = again.random();
        }
        self.candidates.retain(|(token, ..)| (constraint.accepts)(*token));
        if self.pool != Pool::Candidates || self.candidates.is_empty() {
            (constraint.mask)(&mut self.logits);
            chunk_maxima(&self.logits, &mut self.chunk_max);
            self.build_pool(sampling);
        }
        self.pick_token(share)
    }

    /// Copies the row and applies penalties and bans.
    fn load(&mut self, sampling: &Sampling, row: LogitsRow<'_>) {
        let chunks = row.logits.len().div_ceil(CHUNK);
        self.logits.resize(row.logits.len(), 0.0);
        self.chunk_max.resize(chunks, 0.0);
        self.chunk_sums.resize(chunks, 0.0);
        copy_clean(row.logits, &mut self.logits, &mut self.chunk_max);
        if sampling.penalises() {
            let mut recent: Vec<i32> =
                row.recent.iter().rev().take(sampling.penalty_window).copied().collect();
            recent.sort_unstable();
            for same in recent.chunk_by(|a, b| a == b) {
                if let Some(&logit) = self.logits.get(same[0] as usize) {
                    self.set_logit(same[0] as usize, sampling.penalise(logit, same.len()));
                }
            }
        }
        let mut changed = None;
        for &token in row.banned {
            let Some(logit) = self.logits.get_mut(token as usize) else { continue };
            *logit = f32::NEG_INFINITY;
            // Control tokens are neighbours, so each chunk's maximum is updated once, after the
            // last.
            let chunk = token as usize / CHUNK;
            if let Some(last) = changed.replace(chunk).filter(|last| *last != chunk) {
                self.chunk_max[last] = max(chunk_of(&self.logits, last));
            }
        }
        if let Some(last) = changed {
            self.chunk_max[last] = max(chunk_of(&self.logits, last));
        }
    }

    fn set_logit(&mut self, index: usize, logit: f32) {
        self.logits[index] = logit;
        self.chunk_max[index / CHUNK] = max(chunk_of(&self.logits, index / CHUNK));
    }

    /// Prepares `pick_token` from `logits` and `chunk_max`.
    fn build_pool(&mut self, sampling: &Sampling) {
        self.candidates.clear();
        self.max_logit = max(&self.chunk_max);
        self.scale = 1.0 / sampling.temperature;
        self.pool = match sampling {
            _ if sampling.temperature <= 0.0 => Pool::Greedy,
            _ if sampling.cuts() => Pool::Candidates,
            _ => Pool::All,
        };
        match self.pool {
            Pool::Greedy => {}
            Pool::All => {
                chunk_weights(&self.logits, self.max_logit, self.scale, &mut self.chunk_sums)
            }
            Pool::Candidates => self.cut(sampling),
        }
    }

    /// Collects in `candidates` the tokens that top-k, top-p and min-p keep. Each cut keeps some
    /// number of the largest logits, so the strictest one decides.
    fn cut(&mut self, sampling: &Sampling) {
        if self.max_logit == f32::NEG_INFINITY {
            return;
        }
        let floor =
            if sampling.min_p > 0.0 { self.max_logit + sampling.min_p.ln() } else { f32::MIN };
        let k = sampling.top_k;
        if k > 0 && k < self.logits.len() {
            self.gather(self.bound_of_top(k).unwrap_or(f32::MIN));
            if self.candidates.len() > k {
                self.candidates.select_nth_unstable_by(k - 1, by_descending_logit);
                self.candidates.truncate(k);
            }
            if sampling.top_p < 1.0 {
                let total = self.candidate_weight();
                self.candidates.sort_unstable_by(by_descending_logit);
                self.cut_nucleus(sampling.top_p, total);
            }
            self.candidates.retain(|(_, logit, _)| *logit >= floor);
        } else if sampling.top_p < 1.0 {
            let total = sum_weights(&self.logits, self.max_logit, 1.0);
            // Reach ever further below the maximum, until enough probability is gathered.
            let mut depth = 4.0;
            loop {
                let lowest = (self.max_logit - depth).max(floor);
                self.gather(lowest);
                if self.candidate_weight() >= f64::from(sampling.top_p) * total || lowest == floor {
                    break;
                }
                depth *= 2.0;
            }
            self.candidates.sort_unstable_by(by_descending_logit);
            self.cut_nucleus(sampling.top_p, total);
        } else {
            self.gather(floor);
        }
        for (_, logit, share) in &mut self.candidates {
            *share = weight(*logit, self.max_logit, self.scale);
        }
        // The cuts leave the candidates in any order; draws need that of the vocabulary.
        self.candidates.sort_unstable_by_key(|(token, ..)| *token);
    }

    /// Weight of a logit at temperature 1.
    fn probability_weight(&self, logit: f32) -> f64 {
        f64::from(weight(logit, self.max_logit, 1.0))
    }

    /// Weight of all candidates at temperature 1.
    fn candidate_weight(&self) -> f64 {
        self.candidates.iter().map(|(_, logit, _)| self.probability_weight(*logit)).sum()
    }

    /// A bound that at least `k` logits reach: the k-th largest of the chunk maxima.
    fn bound_of_top(&self, k: usize) -> Option<f32> {
        let mut maxima = self.chunk_max.clone();
        let (_, bound, _) = (k <= maxima.len())
            .then(|| maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)))?;
        Some(bound.max(f32::MIN))
    }

    /// Fills `candidates` with the tokens of at least this logit.
    fn gather(&mut self, least: f32) {
        self.candidates.clear();
        for (chunk, _) in self.chunk_max.iter().enumerate().filter(|(_, top)| **top >= least) {
            for (offset, &logit) in chunk_of(&self.logits, chunk).iter().enumerate() {
                if logit >= least {
                    self.candidates.push(((chunk * CHUNK + offset) as i32, logit, 0.0));
                }
            }
        }
    }

    /// Keeps the first sorted candidates that together reach `top_p` of `total`, at least one.
    fn cut_nucleus(&mut self, top_p: f32, total: f64) {
        let mut mass = 0.0;
        let last = self.candidates.iter().position(|(_, logit, _)| {
            mass += self.probability_weight(*logit);
            mass >= f64::from(top_p) * total
        });
        self.candidates.truncate(last.map_or(self.candidates.len(), |last| last + 1));
    }

    /// The token at `share` (0 to 1) of the pool's total weight.
    fn pick_token(&self, share: f64) -> Option<i32> {
        match self.pool {
            Pool::Greedy => {
                let top = max(&self.chunk_max);
                let chunk =
                    self.chunk_max.iter().position(|t| *t == top && top > f32::NEG_INFINITY)?;
                let offset =
                    chunk_of(&self.logits, chunk).iter().position(|logit| *logit == top)?;
                Some((chunk * CHUNK + offset) as i32)
            }
            Pool::All => {
                let (chunk, left) =
                    pick(self.chunk_sums.iter().copied(), share * total(&self.chunk_sums))?;
                let weights = chunk_of(&self.logits, chunk)
                    .iter()
                    .map(|logit| weight(*logit, self.max_logit, self.scale));
                let (offset, _) = pick(weights, left)?;
                Some((chunk * CHUNK + offset) as i32)
            }
            Pool::Candidates => {
                let weights = || self.candidates.iter().map(|(.., weight)| *weight);
                let total: f64 = weights().map(f64::from).sum();
                let (index, _) = pick(weights(), share * total)?;
                Some(self.candidates[index].0)
            }
        }
    }

    /// Removes a token from the pool.
    fn exclude(&mut self, token: i32) {
        if self.pool == Pool::Candidates {
            self.candidates.retain(|(other, ..)| *other != token);
            return;
        }
        let index = token as usize;
        self.set_logit(index, f32::NEG_INFINITY);
        if self.pool == Pool::All {
            let chunk = index / CHUNK;
            let range = chunk..chunk + 1;
            let row = chunk_of(&self.logits, chunk);
            chunk_weights(row, self.max_logit, self.scale, &mut self.chunk_sums[range]);
            // The excluded tokens held nearly all the weight: rescale the rest, or it underflows.
            if total(&self.chunk_sums) < 1e-20 {
                self.max_logit = max(&self.chunk_max);
                chunk_weights(&self.logits, self.max_logit, self.scale, &mut self.chunk_sums);
            }
        }
    }
}

fn chunk_of(row: &[f32], chunk: usize) -> &[f32] {
    &row[chunk * CHUNK..row.len().min((chunk + 1) * CHUNK)]
}

fn by_descending_logit(a: &(i32, f32, f32), b: &(i32, f32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn total(sums: &[f32]) -> f64 {
    sums.iter().map(|&sum| f64::from(sum)).sum()
}

/// The first index at which the sum of `weights` exceeds `left`, and the remainder of `left` at
/// that index. If rounding keeps the sum below, the last index of positive weight; `None` if there
/// is none.
fn pick(weights: impl Iterator<Item = f32>, mut left: f64) -> Option<(usize, f64)> {
    let mut last = None;
    for (index, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        last = Some((index, left));
        if left < f64::from(weight) {
            break;
        }
        left -= f64::from(weight);
    }
    last
}
