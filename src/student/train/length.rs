//! How many tokens of a text a student reads: chosen from the texts, unless the settings say it.

use super::{
    super::{BaseModel, Result},
    TrainSettings, max_memory_estimate,
};

/// Share of the texts that the chosen length does not cut.
const SHARE: f64 = 0.98;
/// The chosen length is a multiple of this.
const STEP: usize = 16;
/// Least length chosen: batches are packed, so that short texts cost the same whatever the limit,
/// and texts to come may be longer than those of the task.
const LEAST: usize = 64;
/// Share of the free memory that a training of the chosen length may take.
const MEMORY_SHARE: f64 = 0.8;

/// The numbers of tokens of some texts, special ones included, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenLengths(Vec<usize>);

impl TokenLengths {
    /// Counts the tokens of `texts`, each text once.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn of<'a>(
        base: &BaseModel,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let mut texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
        texts.sort_unstable();
        texts.dedup();
        Ok(Self::new(base.token_counts(&texts)?))
    }

    fn new(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        Self(lengths)
    }

    /// The length to train with: that of the 98th percentile (nearest rank), rounded up, and at
    /// most `limit`.
    pub(crate) fn choose(&self, limit: usize) -> usize {
        let rank = (self.0.len() as f64 * SHARE).ceil() as usize;
        let percentile = rank.checked_sub(1).map_or(0, |rank| self.0[rank]);
        percentile.next_multiple_of(STEP).max(LEAST).min(limit)
    }

    /// Number of texts.
    pub(crate) fn texts(&self) -> usize {
        self.0.len()
    }

    /// Number of texts with more than `max_length` tokens.
    pub(crate) fn cut(&self, max_length: usize) -> usize {
        self.0.len() - self.0.partition_point(|length| *length <= max_length)
    }

    /// Tokens of the average text that are read with this `max_length`; `None` without texts.
    pub(crate) fn mean(&self, max_length: usize) -> Option<f64> {
        let sum: usize = self.0.iter().map(|length| length.min(&max_length)).sum();
        (!self.0.is_empty()).then(|| sum as f64 / self.0.len() as f64)
    }
}

impl TrainSettings {
    /// Tokens per text for `base`, at most what it takes; for `"auto"` as many as it takes.
    pub(crate) fn limit(&self, base: &BaseModel) -> usize {
        let most = base.max_tokens();
        self.max_length.unwrap_or(most).min(most)
    }

    /// These settings with the length chosen, where it is `"auto"`: from the `lengths` of the
    /// texts, within what a training on `classes` classes may take of the `free` bytes of memory.
    #[must_use]
    pub(crate) fn with_length(
        &self,
        base: &BaseModel,
        lengths: &TokenLengths,
        classes: usize,
        free: Option<u64>,
    ) -> Self {
        let of = |length| Self { max_length: self.max_length.or(length), ..self.clone() };
        let room = free.map_or(u64::MAX, |free| (free as f64 * MEMORY_SHARE) as u64);
        let fits = |length: &usize| max_memory_estimate(base, classes, &of(*length)) <= room;
        let chosen = lengths.choose(base.max_tokens());
        let shorter = (LEAST..chosen).step_by(STEP).rev();
        // If not even the least fits, the training says what it lacks.
        let length = [chosen].into_iter().chain(shorter).find(fits);
        of(length.unwrap_or(chosen.min(LEAST)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_98th_percentile_is_rounded_up_within_the_bounds() {
        let lengths = TokenLengths::new((1..=200).collect());
        // Rank 196 of 200, rounded up to a multiple of 16.
        assert_eq!(lengths.choose(512), 208);
        assert_eq!(lengths.choose(128), 128);
        assert_eq!((lengths.cut(208), lengths.cut(196), lengths.cut(128)), (0, 4, 72));
        assert_eq!(lengths.mean(1), Some(1.0));
        // One long text of a hundred does not make the others wait; two percent are cut.
        let one_long = TokenLengths::new([vec![100; 99], vec![5000]].concat());
        assert_eq!((one_long.choose(512), one_long.cut(112)), (112, 1));
        // Short texts leave room for longer ones to come; no text at all is no reason to fail.
        assert_eq!(TokenLengths::new(vec![7; 10]).choose(512), 64);
        assert_eq!(
            (TokenLengths::default().choose(512), TokenLengths::default().mean(9)),
            (64, None)
        );
    }
}
