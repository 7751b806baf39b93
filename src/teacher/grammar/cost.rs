//! Measures the cost of sampler and grammar per token, with synthetic logits and a synthetic
//! vocabulary in the shape of a real model's.

use std::time::Instant;

use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::{ListGrammar, TokenBytes, TokenRole, draw_constrained};
use crate::{
    rng::Rng,
    teacher::sampler::{LogitsRow, Sampler, Sampling},
};

/// Microseconds per token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct GrammarCost {
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// A draw without a grammar.
    pub draw: f64,
    /// A draw without a grammar, min-p at 0.05.
    pub draw_min_p: f64,
    /// A draw with a grammar that accepts the first token drawn.
    pub checked: f64,
    /// A draw with a grammar that refuses the likeliest tokens until the whole vocabulary is
    /// masked.
    pub refused: f64,
    /// The mask alone, in the middle of a line.
    pub mask: f64,
}

/// Measures it for a synthetic vocabulary of this size: every byte, then words, most of them after
/// a space, and some that end a line. Takes about a tenth of a second.
pub(crate) fn cost(vocabulary: usize) -> GrammarCost {
    let mut rng = Rng::for_item(1, "cost", 0);
    let tokens = synthetic(vocabulary.max(300), &mut rng);
    let mut state = ListGrammar::new(3, 200).with_budget(256).begin("1.").expect("a list's number");
    state.advance(b" where is my card");
    // A few likely tokens and a long tail.
    let mut logits: Vec<f32> =
        (0..tokens.len()).map(|_| 1.2 * -(rng.random::<f32>() + 1e-7).ln()).collect();
    let free = Sampling::default();
    let min_p = Sampling { min_p: 0.05, ..free };
    let mut sampler = Sampler::default();
    let row = |logits| LogitsRow { logits, banned: &[], recent: &[] };
    let draw = timed(|| sampler.draw(&free, row(&logits), &mut rng));
    let draw_min_p = timed(|| sampler.draw(&min_p, row(&logits), &mut rng));
    let mut constrained = |logits: &[f32]| {
        let row = LogitsRow { logits, banned: &[], recent: &[] };
        timed(|| draw_constrained(&mut sampler, &free, row, &state, &tokens, &mut rng))
    };
    let common = tokens.len() - 1;
    logits[common] = 40.0;
    let checked = constrained(&logits);
    // Continuation bytes, each far likelier than all other tokens together.
    logits[0x80..0xc0].fill(80.0);
    let refused = constrained(&logits);
    let mut allowed = Vec::new();
    let mask = timed(|| tokens.mask(&state, &mut allowed));
    GrammarCost { vocabulary: tokens.len(), draw, draw_min_p, checked, refused, mask }
}

fn synthetic(vocabulary: usize, rng: &mut Rng) -> TokenBytes {
    let word = |rng: &mut Rng| -> Vec<u8> {
        (0..rng.random_range(2..9)).map(|_| rng.random_range(b'a'..=b'z')).collect()
    };
    let words = (256..vocabulary).map(|number| {
        let word = word(rng);
        let piece = match number % 64 {
            0 => [b".\n", &word[..1]].concat(),
            1 => [&word[..1], b".\n"].concat(),
            2 => [&word[..], "é".as_bytes()].concat(),
            3 => [&word[..1], b"\t"].concat(),
            4 => "日本".as_bytes()[..5].to_vec(),
            5..24 => word,
            _ => [b" ", &word[..]].concat(),
        };
        (piece, TokenRole::Text)
    });
    TokenBytes::new((0..=255).map(|byte| (vec![byte], TokenRole::Text)).chain(words))
}

/// Microseconds that `work` takes: the fastest of 100 runs, since slower ones include the time of
/// other programs.
fn timed<T>(mut work: impl FnMut() -> T) -> f64 {
    let runs = (0..100).map(|_| {
        let start = Instant::now();
        std::hint::black_box(work());
        start.elapsed().as_secs_f64() * 1e6
    });
    runs.fold(f64::INFINITY, f64::min)
}
