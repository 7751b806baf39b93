//! Turns label scores into probabilities, with two optional corrections.
//!
//! *Length normalisation* divides a name's log-probability by its number of tokens, the end of the
//! turn included, so that long names are not at a disadvantage. *Contextual calibration* (Zhao et
//! al., "Calibrate Before Use", ICML 2021) asks the same question about texts without content and
//! divides by the teacher's probabilities there: its bias towards a name regardless of the text.

use crate::teacher::{Scored, normalise};

/// The texts without content of Zhao et al.
pub(crate) const CONTENT_FREE: [&str; 3] = ["N/A", "[MASK]", ""];

/// The probabilities of the candidates of `scored`; they sum to 1. `prior` holds the candidates'
/// probabilities for texts without content.
pub(crate) fn label_probabilities(
    scored: &Scored,
    length_normalise: bool,
    prior: Option<&[f32]>,
) -> Vec<f32> {
    let mut log_probs = scored.log_probs.clone();
    if length_normalise {
        for (log_prob, tokens) in log_probs.iter_mut().zip(&scored.tokens) {
            *log_prob /= (tokens + 1) as f32;
        }
    }
    for (log_prob, prior) in log_probs.iter_mut().zip(prior.unwrap_or_default()) {
        *log_prob -= prior.max(f32::MIN_POSITIVE).ln();
    }
    normalise(&log_probs)
}

/// The mean of the probabilities `answers` to texts without content; `None` if there are none.
pub(crate) fn content_free_prior(answers: &[Vec<f32>]) -> Option<Vec<f32>> {
    let mut sum = answers.first()?.clone();
    for answer in &answers[1..] {
        sum.iter_mut().zip(answer).for_each(|(sum, value)| *sum += value);
    }
    Some(sum.into_iter().map(|sum| sum / answers.len() as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f32], wanted: &[f32]) {
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
        }
    }

    fn scored() -> Scored {
        let log_probs = [0.2f32, 0.1, 0.1].map(f32::ln).to_vec();
        Scored { log_probs, tokens: vec![0, 1, 0], prompt_tokens: 1 }
    }

    #[test]
    fn plain_scores_are_renormalised() {
        close(&label_probabilities(&scored(), false, None), &[0.5, 0.25, 0.25]);
    }

    #[test]
    fn length_normalisation_takes_the_root_for_a_name_of_two_tokens() {
        let total = 0.2 + 0.1f32.sqrt() + 0.1;
        let wanted = [0.2 / total, 0.1f32.sqrt() / total, 0.1 / total];
        close(&label_probabilities(&scored(), true, None), &wanted);
    }

    #[test]
    fn a_bias_is_divided_out() {
        let bias = content_free_prior(&[vec![0.5, 0.25, 0.25], vec![0.7, 0.15, 0.15]]).unwrap();
        close(&bias, &[0.6, 0.2, 0.2]);
        // 0.2 / 0.6 against 0.1 / 0.2 and 0.1 / 0.2.
        close(&label_probabilities(&scored(), false, Some(&bias)), &[0.25, 0.375, 0.375]);
        assert!(content_free_prior(&[]).is_none());
    }
}
