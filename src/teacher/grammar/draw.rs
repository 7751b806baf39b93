//! Draws tokens that the grammar accepts.

use super::{ListState, TokenBytes};
use crate::{
    rng::Rng,
    teacher::sampler::{Constraint, LogitsRow, Sampler, Sampling},
};

/// Draws the next token of a list; `None` if no token may come next (the vocabulary lacks the bytes
/// that are needed). Takes exactly one number from `rng`.
///
/// One token is drawn and checked, which is nearly always enough. A refused token is excluded and
/// another one is drawn; after a few refusals the whole vocabulary is masked. Either way a token
/// comes with probability p(token) / p(all accepted tokens): drawing again after a refusal adds
/// p(refused) · p(token) / p(accepted) to p(token), and p(refused) + p(accepted) = 1.
pub(crate) fn draw_constrained(
    sampler: &mut Sampler,
    sampling: &Sampling,
    row: LogitsRow<'_>,
    state: &ListState,
    tokens: &TokenBytes,
    rng: &mut Rng,
) -> Option<i32> {
    let mask = |row: &mut [f32]| {
        let mut allowed = Vec::new();
        tokens.mask(state, &mut allowed);
        allowed.resize(row.len(), false);
        for (logit, allowed) in row.iter_mut().zip(allowed) {
            *logit = if allowed { *logit } else { f32::NEG_INFINITY };
        }
    };
    let accepts = |token| tokens.accepts(state, token);
    sampler.draw_with(sampling, row, &Constraint { accepts: &accepts, mask: &mask }, rng)
}
