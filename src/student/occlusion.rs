//! The words that speak for and against a label: each is left out once, and the change of the
//! label's log-odds is its effect.
//!
//! This is occlusion (Zeiler and Fergus 2014; Li et al. 2016, arXiv 1612.08220). It needs no
//! gradient, is exact for the student as it predicts, 8 bits included, and costs one row of a batch
//! for each word. It does not see words that say the same twice: leaving out one of them changes
//! little.

use std::ops::Range;

use super::{Classifier, Result};

/// Words of a text that are left out one by one; of a longer text, runs of as many words as are
/// needed. At 200 words, a pass over as many copies takes about as long as 200 predictions.
const MAX_PARTS: usize = 200;

/// A word, or a run of words, and what it does to the label.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WordEffect {
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// The label's log-odds with it, less those without it: positive if it speaks for the label.
    pub effect: f32,
    /// The label's probability without it.
    pub without: f32,
}

impl Classifier {
    /// The effect of each word of `text` that the student reads on the class number `class`, in the
    /// order of the text; empty for a single word.
    ///
    /// # Errors
    /// The tokenizer fails, or the weights are damaged.
    pub(crate) fn word_effects(&self, text: &str, class: usize) -> Result<Vec<WordEffect>> {
        let words = joined(text, &self.pieces(text)?);
        let parts: Vec<Range<usize>> = words
            .chunks(words.len().div_ceil(MAX_PARTS).max(1))
            .map(|run| run[0].start..run[run.len() - 1].end)
            .collect();
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            return Ok(Vec::new());
        };
        if parts.len() < 2 {
            return Ok(Vec::new());
        }
        // Only what is read: otherwise words from beyond the limit would move up.
        let read = first.start..last.end;
        let left_out = parts.iter().map(|part| without(text, &read, part));
        let texts: Vec<String> =
            std::iter::once(text[read.clone()].to_owned()).chain(left_out).collect();
        let odds: Vec<f64> = self
            .logits_of_variants(&texts)?
            .iter()
            .map(|logits| log_odds(logits, class, self.temperature()))
            .collect();
        let effect = |(span, without): (Range<usize>, &f64)| WordEffect {
            span,
            effect: (odds[0] - without) as f32,
            without: (1.0 / (1.0 + (-without).exp())) as f32,
        };
        Ok(parts.into_iter().zip(&odds[1..]).map(effect).collect())
    }
}

/// The part `read` of `text` without `part`, nor the space that it leaves.
fn without(text: &str, read: &Range<usize>, part: &Range<usize>) -> String {
    let (before, after) = (&text[read.start..part.start], &text[part.end..read.end]);
    let after = if before.is_empty() || before.ends_with(char::is_whitespace) {
        after.trim_start()
    } else {
        after
    };
    format!("{before}{after}")
}

/// The logarithm of p / (1 - p) of the class, from `logits` over `temperature`. Unlike the
/// probability it does not end at 1.
fn log_odds(logits: &[f32], class: usize, temperature: f64) -> f64 {
    let scaled = |at: usize| f64::from(logits[at]) / temperature;
    let others: Vec<f64> = (0..logits.len()).filter(|at| *at != class).map(scaled).collect();
    let top = others.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = others.iter().map(|other| (other - top).exp()).sum();
    scaled(class) - top - sum.ln()
}

/// Joins pieces that an apostrophe holds together, as in `don't`.
fn joined(text: &str, pieces: &[Range<usize>]) -> Vec<Range<usize>> {
    let shown = |at: usize| pieces.get(at).map_or("", |piece| &text[piece.clone()]);
    // Whether the piece touches the one before it, and both are parts of a word.
    let touches = |at: usize| {
        at > 0
            && pieces.get(at).is_some_and(|piece| piece.start == pieces[at - 1].end)
            && shown(at - 1).ends_with(char::is_alphanumeric)
    };
    let inner = |at: usize| {
        matches!(shown(at), "'" | "\u{2019}")
            && touches(at)
            && shown(at + 1).starts_with(char::is_alphanumeric)
            && pieces[at + 1].start == pieces[at].end
    };
    let mut words: Vec<Range<usize>> = Vec::with_capacity(pieces.len());
    for (at, piece) in pieces.iter().enumerate() {
        match words.last_mut() {
            Some(word) if inner(at) || at.checked_sub(1).is_some_and(&inner) => {
                word.end = piece.end
            }
            _ => words.push(piece.clone()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::student::parity::fixture;

    fn student() -> Classifier {
        Classifier::load(&fixture("bert"), &Device::Cpu).unwrap()
    }

    #[test]
    fn an_effect_is_the_change_when_the_word_is_left_out() {
        let student = student();
        let text = "where is  my lost card?";
        let effects = student.word_effects(text, 1).unwrap();
        let words: Vec<&str> = effects.iter().map(|it| &text[it.span.clone()]).collect();
        assert_eq!(words, ["where", "is", "my", "lost", "card", "?"]);
        let odds = |text: &str| {
            let row = student.predict(&[text.to_owned()]).unwrap().remove(0);
            (row[1], (row[1] / (1.0 - row[1])).ln())
        };
        for (at, wanted) in
            [(0, "is  my lost card?"), (1, "where my lost card?"), (4, "where is  my lost ?")]
        {
            let (probability, without) = odds(wanted);
            let effect = &effects[at];
            assert!((effect.without - probability).abs() < 1e-5, "{wanted}: {effect:?}");
            assert!(
                (effect.effect - (odds(text).1 - without)).abs() < 1e-3,
                "{wanted}: {effect:?}"
            );
        }
    }

    #[test]
    fn only_what_is_read_is_explained_and_long_texts_in_runs() {
        let student = student().with_max_length(6);
        let text = "the card is lost and the train is late";
        let effects = student.word_effects(text, 0).unwrap();
        assert!(text[..effects.last().unwrap().span.end].split(' ').count() <= 4, "{effects:?}");
        let long = "my card ".repeat(400);
        let student = super::tests::student().with_max_length(1000);
        let effects = student.word_effects(&long, 0).unwrap();
        assert!((2..=MAX_PARTS).contains(&effects.len()), "{}", effects.len());
        for (one, next) in effects.iter().zip(&effects[1..]) {
            assert!(one.span.end <= next.span.start);
        }
        for short in ["", " ", "card"] {
            assert_eq!(student.word_effects(short, 0).unwrap(), []);
        }
    }

    #[test]
    fn an_apostrophe_holds_a_word_together() {
        let text = "I don't 'know' it's";
        let pieces = [0..1, 2..5, 5..6, 6..7, 8..9, 9..13, 13..14, 15..17, 17..18, 18..19];
        let words = joined(text, &pieces);
        let words: Vec<&str> = words.into_iter().map(|span| &text[span]).collect();
        assert_eq!(words, ["I", "don't", "'", "know", "'", "it's"]);
    }
}
