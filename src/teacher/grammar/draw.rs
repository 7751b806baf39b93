//! Draws tokens that the grammar accepts.

use super::{ListState, TokenBytes};
use crate::{
    rng::Rng,
    teacher::sampler::{Row, Rule, Sampler, Sampling},
};

/// The next token of a list, or `None` if no token may come next (a vocabulary without the bytes
/// that would be needed). Takes exactly one number from `rng`.
///
/// One token is drawn and checked, which is nearly always enough. A refused token is taken out and
/// another drawn; after a few refusals the whole vocabulary is masked. Either way a token comes with
/// the probability p(token) / p(all accepted tokens): drawing again after a refusal adds
/// p(refused) · p(token) / p(accepted) to p(token), and p(refused) + p(accepted) = 1.
pub(crate) fn draw_constrained(
    sampler: &mut Sampler,
    sampling: &Sampling,
    row: Row<'_>,
    state: &ListState,
    pieces: &TokenBytes,
    rng: &mut Rng,
) -> Option<i32> {
    let bar = |row: &mut [f32]| {
        let mut allowed = Vec::new();
        pieces.mask(state, &mut allowed);
        allowed.resize(row.len(), false);
        for (logit, allowed) in row.iter_mut().zip(allowed) {
            *logit = if allowed { *logit } else { f32::NEG_INFINITY };
        }
    };
    let accepts = |token| pieces.accepts(state, token);
    sampler.draw_by(sampling, row, &Rule { accepts: &accepts, bar: &bar }, rng)
}
