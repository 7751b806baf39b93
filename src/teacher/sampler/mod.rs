//! Draws the next token from a row of logits, in Rust: llama.cpp's own chain can abort the process
//! and keeps its own random state, ours is keyed by the request.
//!
//! A row has 32 000 to 256 000 logits and one is drawn for every token of every reply, so the row is
//! read as seldom as possible. It is cut into chunks; one pass copies it and takes each chunk's
//! maximum, another sums each chunk's e^x. A draw finds its chunk among the sums and looks through
//! that one alone, and taking a token out again (a grammar refused it) sums that one chunk anew.
//! Cuts look only into chunks whose maximum is high enough, and leave a short list of candidates.
//!
//! The order is that of llama.cpp's default chain: penalties, top-k, top-p (over what top-k left),
//! min-p, temperature. So the cuts see the model's own probabilities, whatever the temperature.

#[cfg(test)]
mod tests;

use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::{
    rng::Rng,
    simd::{CHUNK, chunk_maxima, chunk_weights, copy_clean, max, sum_weights, weight},
};

/// How tokens are drawn. The defaults are the paper's: temperature 1, nothing cut off, nothing
/// penalised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Sampling {
    /// Divides the logits; 0 always takes the most probable token, of equals the first.
    pub temperature: f32,
    /// Keeps the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the smallest set of tokens whose probabilities reach this sum.
    pub top_p: f32,
    /// Drops tokens less probable than this share of the most probable one.
    pub min_p: f32,
    /// Divides the positive logits of recent tokens and multiplies the negative ones; 1 is off.
    pub repeat_penalty: f32,
    /// Subtracted from a logit for every time the token is among the recent ones.
    pub frequency_penalty: f32,
    /// Subtracted once from the logit of every recent token.
    pub presence_penalty: f32,
    /// This many last tokens of the reply are recent.
    pub penalty_window: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
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

    /// A penalised logit, for a token that stands `count` times among the recent ones.
    fn penalise(&self, logit: f32, count: usize) -> f32 {
        let repeated =
            if logit > 0.0 { logit / self.repeat_penalty } else { logit * self.repeat_penalty };
        repeated - count as f32 * self.frequency_penalty - self.presence_penalty
    }
}

/// From what a token is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// `[vocabulary]`, unnormalised; NaN is never drawn.
    pub logits: &'a [f32],
    /// Tokens that are never drawn; few.
    pub banned: &'a [i32],
    /// Tokens of the reply so far, for the penalties.
    pub recent: &'a [i32],
}

/// What a token must comply with, beside being probable.
pub(super) struct Rule<'a> {
    /// Whether the token may stand here.
    pub accepts: &'a dyn Fn(i32) -> bool,
    /// Sets the logits of all tokens that may not stand here to -inf.
    pub bar: &'a dyn Fn(&mut [f32]),
}

/// Tokens that are drawn one by one and checked, before the whole vocabulary is.
const SINGLE_CHECKS: usize = 16;

/// Draws tokens. It holds the working memory alone, so that a draw allocates nothing: one sampler
/// serves many replies, one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sampler {
    /// Logits after penalties; what may not be drawn is -inf.
    row: Vec<f32>,
    /// Maximum of each chunk of `row`.
    tops: Vec<f32>,
    /// Sum of weights of each chunk of `row`, relative to `top`.
    sums: Vec<f32>,
    top: f32,
    scale: f32,
    /// What the cuts left: token, logit, weight.
    few: Vec<(i32, f32, f32)>,
    pool: Pool,
}

/// From what the next token is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Pool {
    /// The greatest logit of `row`.
    Greedy,
    /// All of `row`, by `sums`.
    #[default]
    Row,
    /// The candidates `few`.
    Few,
}

impl Sampler {
    /// The token drawn, or `None` if every token is banned or has no finite logit.
    ///
    /// Takes exactly one number from `rng`, whatever happens inside.
    pub(crate) fn draw(&mut self, sampling: &Sampling, row: Row<'_>, rng: &mut Rng) -> Option<i32> {
        self.draw_by(sampling, row, &Rule { accepts: &|_| true, bar: &|_| {} }, rng)
    }

    /// A token drawn among those that `rule` accepts, each as probable as it would be if all others
    /// had been barred in advance. If the cuts leave none of them, the others are barred before the
    /// cuts.
    ///
    /// A refused token is taken out and another is drawn. That changes nothing: give each token an
    /// exponential clock of rate p; drawing without putting back visits them in the order in which
    /// they ring, and the first accepted one to ring is t with probability p(t) / p(all accepted).
    pub(super) fn draw_by(
        &mut self,
        sampling: &Sampling,
        row: Row<'_>,
        rule: &Rule<'_>,
        rng: &mut Rng,
    ) -> Option<i32> {
        let mut share: f64 = rng.random();
        // Draws after a refusal have a stream of their own: the request's moves one step per token.
        let mut again = Rng::for_item(share.to_bits(), "after a refusal", 0);
        self.load(sampling, row);
        self.open_pool(sampling);
        for _ in 0..SINGLE_CHECKS {
            let Some(token) = self.take(share) else { break };
            if (rule.accepts)(token) {
                return Some(token);
            }
            self.remove(token);
            share = again.random();
        }
        self.few.retain(|(token, ..)| (rule.accepts)(*token));
        if self.pool != Pool::Few || self.few.is_empty() {
            (rule.bar)(&mut self.row);
            chunk_maxima(&self.row, &mut self.tops);
            self.open_pool(sampling);
        }
        self.take(share)
    }

    /// Copies the row, penalties and bans included.
    fn load(&mut self, sampling: &Sampling, row: Row<'_>) {
        let chunks = row.logits.len().div_ceil(CHUNK);
        self.row.resize(row.logits.len(), 0.0);
        self.tops.resize(chunks, 0.0);
        self.sums.resize(chunks, 0.0);
        copy_clean(row.logits, &mut self.row, &mut self.tops);
        if sampling.penalises() {
            let mut recent: Vec<i32> =
                row.recent.iter().rev().take(sampling.penalty_window).copied().collect();
            recent.sort_unstable();
            for same in recent.chunk_by(|a, b| a == b) {
                if let Some(&logit) = self.row.get(same[0] as usize) {
                    self.change(same[0] as usize, sampling.penalise(logit, same.len()));
                }
            }
        }
        let mut changed = None;
        for &token in row.banned {
            let Some(logit) = self.row.get_mut(token as usize) else { continue };
            *logit = f32::NEG_INFINITY;
            // Control tokens stand side by side: a chunk of them is looked at once.
            let chunk = token as usize / CHUNK;
            if let Some(last) = changed.replace(chunk).filter(|last| *last != chunk) {
                self.tops[last] = max(chunk_of(&self.row, last));
            }
        }
        if let Some(last) = changed {
            self.tops[last] = max(chunk_of(&self.row, last));
        }
    }

    fn change(&mut self, index: usize, logit: f32) {
        self.row[index] = logit;
        self.tops[index / CHUNK] = max(chunk_of(&self.row, index / CHUNK));
    }

    /// Prepares `take`, from `row` and `tops`.
    fn open_pool(&mut self, sampling: &Sampling) {
        self.few.clear();
        self.top = max(&self.tops);
        self.scale = 1.0 / sampling.temperature;
        self.pool = match sampling {
            _ if sampling.temperature <= 0.0 => Pool::Greedy,
            _ if sampling.cuts() => Pool::Few,
            _ => Pool::Row,
        };
        match self.pool {
            Pool::Greedy => {}
            Pool::Row => chunk_weights(&self.row, self.top, self.scale, &mut self.sums),
            Pool::Few => self.cut(sampling),
        }
    }

    /// Leaves in `few` what top-k, top-p and min-p keep. Each keeps the first so many tokens in the
    /// order of their logits, so together they keep the fewest.
    fn cut(&mut self, sampling: &Sampling) {
        if self.top == f32::NEG_INFINITY {
            return;
        }
        let floor = if sampling.min_p > 0.0 { self.top + sampling.min_p.ln() } else { f32::MIN };
        let k = sampling.top_k;
        if k > 0 && k < self.row.len() {
            self.gather(self.bound_of_top(k).unwrap_or(f32::MIN));
            if self.few.len() > k {
                self.few.select_nth_unstable_by(k - 1, by_logit);
                self.few.truncate(k);
            }
            if sampling.top_p < 1.0 {
                let total = self.few.iter().map(|(_, logit, _)| self.share_of(*logit)).sum();
                self.few.sort_unstable_by(by_logit);
                self.cut_nucleus(sampling.top_p, total);
            }
            self.few.retain(|(_, logit, _)| *logit >= floor);
        } else if sampling.top_p < 1.0 {
            let total = sum_weights(&self.row, self.top, 1.0);
            // Farther and farther below the top, until enough is gathered.
            let mut depth = 4.0;
            loop {
                let deep = (self.top - depth).max(floor);
                self.gather(deep);
                let mass: f64 = self.few.iter().map(|(_, logit, _)| self.share_of(*logit)).sum();
                if mass >= f64::from(sampling.top_p) * total || deep == floor {
                    break;
                }
                depth *= 2.0;
            }
            self.few.sort_unstable_by(by_logit);
            self.cut_nucleus(sampling.top_p, total);
        } else {
            self.gather(floor);
        }
        for (_, logit, share) in &mut self.few {
            *share = weight(*logit, self.top, self.scale);
        }
        // What the cuts before left in any order is drawn from in that of the vocabulary.
        self.few.sort_unstable_by_key(|(token, ..)| *token);
    }

    /// Weight of a logit at temperature 1.
    fn share_of(&self, logit: f32) -> f64 {
        f64::from(weight(logit, self.top, 1.0))
    }

    /// A number that at least `k` logits reach: the k-th largest of the chunks' maxima.
    fn bound_of_top(&self, k: usize) -> Option<f32> {
        let mut tops = self.tops.clone();
        let (_, bound, _) =
            (k <= tops.len()).then(|| tops.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)))?;
        Some(bound.max(f32::MIN))
    }

    /// Fills `few` with the tokens whose logits reach `least`.
    fn gather(&mut self, least: f32) {
        self.few.clear();
        for (chunk, _) in self.tops.iter().enumerate().filter(|(_, top)| **top >= least) {
            for (offset, &logit) in chunk_of(&self.row, chunk).iter().enumerate() {
                if logit >= least {
                    self.few.push(((chunk * CHUNK + offset) as i32, logit, 0.0));
                }
            }
        }
    }

    /// Keeps the first of the sorted candidates that reach `top_p` of `total`, at least one.
    fn cut_nucleus(&mut self, top_p: f32, total: f64) {
        let mut mass = 0.0;
        let last = self.few.iter().position(|(_, logit, _)| {
            mass += self.share_of(*logit);
            mass >= f64::from(top_p) * total
        });
        self.few.truncate(last.map_or(self.few.len(), |last| last + 1));
    }

    /// The token at `share` (0 to 1) of the pool's weight.
    fn take(&self, share: f64) -> Option<i32> {
        match self.pool {
            Pool::Greedy => {
                let top = max(&self.tops);
                let chunk = self.tops.iter().position(|t| *t == top && top > f32::NEG_INFINITY)?;
                let offset = chunk_of(&self.row, chunk).iter().position(|logit| *logit == top)?;
                Some((chunk * CHUNK + offset) as i32)
            }
            Pool::Row => {
                let (chunk, left) = pick(self.sums.iter().copied(), share * total(&self.sums))?;
                let weights = chunk_of(&self.row, chunk)
                    .iter()
                    .map(|logit| weight(*logit, self.top, self.scale));
                let (offset, _) = pick(weights, left)?;
                Some((chunk * CHUNK + offset) as i32)
            }
            Pool::Few => {
                let weights = || self.few.iter().map(|(.., weight)| *weight);
                let total: f64 = weights().map(f64::from).sum();
                let (index, _) = pick(weights(), share * total)?;
                Some(self.few[index].0)
            }
        }
    }

    /// Takes a token out of the pool.
    fn remove(&mut self, token: i32) {
        if self.pool == Pool::Few {
            self.few.retain(|(other, ..)| *other != token);
            return;
        }
        let index = token as usize;
        self.change(index, f32::NEG_INFINITY);
        if self.pool == Pool::Row {
            let chunk = index / CHUNK;
            let range = chunk..chunk + 1;
            let row = chunk_of(&self.row, chunk);
            chunk_weights(row, self.top, self.scale, &mut self.sums[range]);
            // The rest is so improbable beside what is gone that it needs a scale of its own.
            if total(&self.sums) < 1e-20 {
                self.top = max(&self.tops);
                chunk_weights(&self.row, self.top, self.scale, &mut self.sums);
            }
        }
    }
}

fn chunk_of(row: &[f32], chunk: usize) -> &[f32] {
    &row[chunk * CHUNK..row.len().min((chunk + 1) * CHUNK)]
}

fn by_logit(a: &(i32, f32, f32), b: &(i32, f32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn total(sums: &[f32]) -> f64 {
    sums.iter().map(|&sum| f64::from(sum)).sum()
}

/// The first index at which the sum of `weights` exceeds `left`, and what was left of it before
/// that; the last of positive weight if rounding keeps the sum below; `None` if there is none.
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
