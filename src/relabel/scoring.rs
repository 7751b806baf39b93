//! Turns label scores into probabilities, with optional corrections.
//!
//! *Length normalisation* divides a name's log-probability by its number of tokens, the end of the
//! turn included, so that long names are not at a disadvantage.
//!
//! *Calibration* removes a bias of the teacher towards some classes, whatever the text. Contextual
//! calibration (Zhao et al., "Calibrate Before Use", ICML 2021) asks the same question about texts
//! without content and divides by the probabilities there. Batch calibration (Zhou et al., "Batch
//! Calibration: Rethinking Calibration for In-Context Learning and Prompt Engineering", ICLR 2024)
//! asks nothing more: it divides by the mean over the texts ([`batch_correction`]). That makes the
//! classes about equally frequent. Where their shares are known, because texts of each class were
//! asked for, [`correction_to_asked`] makes the classes as frequent as they should be.
//!
//! A few texts say little about a bias: what looks like one may be their classes. So the logarithm
//! of each factor is shrunk towards 0, as if as many texts without a bias were among them as there
//! are classes. Of a single text nothing follows.

use crate::{
    student::probe::log_softmax,
    teacher::{Scored, normalise},
};

/// The texts without content of Zhao et al.
pub(crate) const CONTENT_FREE: [&str; 3] = ["N/A", "[MASK]", ""];

/// The candidate classes of a text with their probabilities, which sum to 1; empty for a text that
/// the teacher did not label.
pub(crate) type ClassProbabilities = Vec<(usize, f32)>;

/// Less than this is as good as impossible, whatever the rest of the texts say.
const MIN_LOG_PROB: f32 = -20.0;

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

/// The class with the highest score, the last one of several.
pub(crate) fn best_class(scores: impl IntoIterator<Item = (usize, f32)>) -> Option<usize> {
    scores.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(class, _)| class)
}

/// Adds `correction` to the logarithms of the probabilities of a text, which sum to 1 again.
pub(crate) fn correct(text: &mut ClassProbabilities, correction: &[f64]) {
    let logs: Vec<f32> = text.iter().map(|&(class, p)| log(p) + correction[class] as f32).collect();
    text.iter_mut().zip(normalise(&logs)).for_each(|((_, p), corrected)| *p = corrected);
}

/// What to add to the logarithms of each of `classes` so that the teacher does not favour some of
/// them.
///
/// Texts may have different candidates, so the mean of a class is relative to an even answer: what
/// the texts that have it as a candidate gave to it, divided by what they would have given to it
/// had they found all of their candidates alike.
pub(crate) fn batch_correction(texts: &[ClassProbabilities], classes: usize) -> Vec<f64> {
    let mut given = vec![0f64; classes];
    for &(class, p) in texts.iter().flatten() {
        given[class] += f64::from(log(p).exp());
    }
    let even = even_shares(texts, classes);
    let bias = given.iter().zip(&even).map(|(given, even)| match *even > 0.0 {
        true => (given / even).ln(),
        false => 0.0,
    });
    bias.zip(evidence(texts, &even)).map(|(bias, evidence)| -evidence * bias).collect()
}

/// What to add to the logarithms of each of `classes` so that each has the share of the texts that
/// was `asked` for.
///
/// A text whose class is none of its candidates counts evenly towards these.
pub(crate) fn correction_to_asked(
    texts: &[ClassProbabilities],
    asked: &[usize],
    classes: usize,
) -> Vec<f64> {
    let answered = texts.iter().filter(|text| !text.is_empty()).count();
    let even = even_shares(texts, classes);
    // One more text of each class, as far as it is a candidate, since a class needs a share.
    let more = classes as f64 / answered.max(1) as f64;
    let mut shares: Vec<f64> = even.iter().map(|even| even * more).collect();
    let mut logs = Vec::with_capacity(answered * classes);
    for (text, asked) in texts.iter().zip(asked).filter(|(text, _)| !text.is_empty()) {
        let mut row = vec![f32::NEG_INFINITY; classes];
        text.iter().for_each(|&(class, p)| row[class] = log(p));
        if row[*asked].is_finite() {
            shares[*asked] += 1.0;
        } else {
            text.iter().for_each(|(class, _)| shares[*class] += 1.0 / text.len() as f64);
        }
        logs.extend(row);
    }
    let total: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= total);
    let added = scale(&mut logs, &shares);
    // The same for all classes changes nothing; what is shrunk is the difference from the mean.
    let sum: f64 = added.iter().zip(&even).map(|(added, even)| added * even).sum();
    let mean = sum / even.iter().sum::<f64>().max(1.0);
    let shrunk = |(added, evidence): (f64, f64)| evidence * (added - mean);
    added.into_iter().zip(evidence(texts, &even)).map(shrunk).collect()
}

/// ln p, but for a `p` that is as good as 0.
fn log(p: f32) -> f32 {
    p.max(f32::MIN_POSITIVE).ln().max(MIN_LOG_PROB)
}

/// The number of texts of each class if the teacher found all candidates alike.
fn even_shares(texts: &[ClassProbabilities], classes: usize) -> Vec<f64> {
    let mut even = vec![0f64; classes];
    for text in texts {
        text.iter().for_each(|(class, _)| even[*class] += 1.0 / text.len() as f64);
    }
    even
}

/// How much the texts say about each class, from 0 to 1. With n texts and c classes, all of them
/// candidates of each text, it is (n - 1) / (n - 1 + c).
fn evidence(texts: &[ClassProbabilities], even: &[f64]) -> Vec<f64> {
    let mut having = vec![0f64; even.len()];
    texts.iter().flatten().for_each(|(class, _)| having[*class] += 1.0);
    let evidence = |(having, even): (&f64, &f64)| {
        let others = even * (having - 1.0) / having.max(1.0);
        others / (others + 1.0)
    };
    having.iter().zip(even).map(evidence).collect()
}

/// Adds to the scores of each class what makes its mean probability over all texts its share
/// (Sinkhorn's iteration), and returns what was added. `logs` are `[texts, classes]`, negative
/// infinity for a class that is no candidate of a text. A class with a share of 0 stays as it is.
pub(crate) fn scale(logs: &mut [f32], shares: &[f64]) -> Vec<f64> {
    const ITERATIONS: usize = 200;
    const CLOSE: f64 = 1e-4;
    let classes = shares.len();
    let mut added = vec![0f64; classes];
    let texts = logs.len() / classes.max(1);
    if texts == 0 {
        return added;
    }
    for _ in 0..ITERATIONS {
        let mut means = vec![0f64; classes];
        for row in logs.chunks_exact_mut(classes) {
            log_softmax(row);
            means.iter_mut().zip(&*row).for_each(|(mean, log)| *mean += f64::from(log.exp()));
        }
        let shift: Vec<f64> = means
            .iter()
            .zip(shares)
            .map(|(mean, share)| match *share > 0.0 {
                true => (share * texts as f64 / mean.max(f64::MIN_POSITIVE)).ln(),
                false => 0.0,
            })
            .collect();
        for row in logs.chunks_exact_mut(classes) {
            row.iter_mut().zip(&shift).for_each(|(log, shift)| *log += *shift as f32);
        }
        added.iter_mut().zip(&shift).for_each(|(added, shift)| *added += shift);
        if shift.iter().all(|shift| shift.abs() < CLOSE) {
            break;
        }
    }
    logs.chunks_exact_mut(classes).for_each(log_softmax);
    added
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

    /// Texts of which all three classes are candidates.
    fn texts(probabilities: &[[f32; 2]]) -> Vec<ClassProbabilities> {
        probabilities.iter().map(|row| row.iter().copied().enumerate().collect()).collect()
    }

    fn close_to(texts: &[ClassProbabilities], wanted: &[&[(usize, f32)]]) {
        assert_eq!(texts.len(), wanted.len());
        for (text, wanted) in texts.iter().zip(wanted) {
            let (found, wanted) = (text.iter(), wanted.iter());
            let near =
                |(a, b): (&(usize, f32), &(usize, f32))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-3;
            assert!(text.len() == wanted.len() && found.zip(wanted).all(near), "{texts:?}");
        }
    }

    fn near(found: &[f64], wanted: &[f64]) {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-3;
        assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(near), "{found:?}");
    }

    #[test]
    fn a_batch_divides_by_the_mean() {
        let mut batch = texts(&[[0.9, 0.1], [0.8, 0.2], [0.55, 0.45]]);
        // Means of 3/4 and 1/4, which are 3/2 and 1/2 of an even answer. Three texts and two
        // classes: the power is 2 / (2 + 2).
        let correction = batch_correction(&batch, 2);
        near(&correction, &[-0.5 * 1.5f64.ln(), 0.5 * 2f64.ln()]);
        batch.iter_mut().for_each(|text| correct(text, &correction));
        // The odds are divided by the root of 3, so the last label changes.
        let p = |odds: f32| odds / 3f32.sqrt() / (1.0 + odds / 3f32.sqrt());
        let wanted = [9.0, 4.0, 11.0 / 9.0].map(p);
        close_to(&batch, &wanted.map(|p| [(0, p), (1, 1.0 - p)]).each_ref().map(|it| &it[..]));
        assert!(wanted[2] < 0.5);
    }

    #[test]
    fn many_texts_are_divided_by_the_mean_alone() {
        let batch = texts(&[[0.9, 0.1], [0.7, 0.3]].repeat(5000));
        near(&batch_correction(&batch, 2), &[-1.6f64.ln(), -0.4f64.ln()]);
    }

    #[test]
    fn nothing_follows_of_a_single_text() {
        let one = texts(&[[0.9, 0.1]]);
        assert_eq!(batch_correction(&one, 2), [0.0, 0.0]);
        assert_eq!(correction_to_asked(&one, &[1], 2), [0.0, 0.0]);
        // Nor of texts that the teacher did not label, or of others without common candidates.
        let apart = [vec![(0, 0.9), (1, 0.1)], Vec::new(), vec![(2, 0.7), (3, 0.3)]];
        assert_eq!(batch_correction(&apart, 5), [0.0; 5]);
        assert_eq!(correction_to_asked(&apart, &[1, 1, 2], 5), [0.0; 5]);
        assert!(
            batch_correction(&[], 2) == [0.0; 2] && correction_to_asked(&[], &[], 2) == [0.0; 2]
        );
        let mut text = one[0].clone();
        correct(&mut text, &[0.0, 0.0]);
        close_to(&[text], &[&one[0]]);
    }

    #[test]
    fn the_mean_is_over_the_texts_that_have_the_class_as_a_candidate() {
        let batch = [
            vec![(0, 0.6), (1, 0.4)],
            vec![(0, 0.6), (2, 0.4)],
            vec![(0, 0.8), (1, 0.1), (2, 0.1)],
        ];
        // Even answers give 1/2 + 1/2 + 1/3 to class 0, 1/2 + 1/3 to the others. Powers: two of
        // three texts are others, 8/9 / (8/9 + 1), and one of two, 5/12 / (5/12 + 1).
        let wanted = [8.0 / 17.0 * (3f64 / 2.0).ln(), 5.0 / 17.0 * (3f64 / 5.0).ln()];
        near(&batch_correction(&batch, 3), &[-wanted[0], -wanted[1], -wanted[1]]);
    }

    #[test]
    fn scaling_gives_each_class_its_share() {
        let ln = |p: &[f32]| p.iter().map(|p| p.ln()).collect::<Vec<f32>>();
        let mut logs = ln(&[0.8, 0.2, 0.5, 0.5]);
        // Odds of 4 and 1, multiplied by 1/2: 2/3 and 1/3 of the first class, together half.
        let added = scale(&mut logs, &[0.5, 0.5]);
        for (log, wanted) in logs.iter().zip(&ln(&[2.0, 1.0, 1.0, 2.0])) {
            assert!((log - wanted + 3f32.ln()).abs() < 1e-3, "{logs:?}");
        }
        assert!((added[1] - added[0] - 2f64.ln()).abs() < 1e-3, "{added:?}");
        assert_eq!(scale(&mut [], &[0.5, 0.5]), [0.0, 0.0]);
    }

    #[test]
    fn classes_get_the_share_that_was_asked_for() {
        // Odds of 16 and 1, one text asked for of each class: both times 1/4. The power is 1/3.
        let batch = texts(&[[16.0 / 17.0, 1.0 / 17.0], [0.5, 0.5]]);
        let correction = correction_to_asked(&batch, &[0, 1], 2);
        near(&[correction[1] - correction[0]], &[4f64.ln() / 3.0]);
        // Three texts of class 0 were asked for, one of class 1, and one more of each is assumed:
        // 2/3 of them, which are odds of 2 for alike texts. Before: odds of 4. The power is 3/5.
        let batch = texts(&[[0.8, 0.2]; 4]);
        let correction = correction_to_asked(&batch, &[0, 1, 0, 0], 2);
        near(&[correction[1] - correction[0]], &[0.6 * 2f64.ln()]);
        // Many texts have the shares, but for one text or so.
        let many: Vec<[f32; 2]> =
            (0..400).map(|text| if text % 4 == 0 { [0.4, 0.6] } else { [0.95, 0.05] }).collect();
        let mut batch = texts(&many);
        let correction = correction_to_asked(&batch, &[0, 1].repeat(200), 2);
        batch.iter_mut().for_each(|text| correct(text, &correction));
        let first: f32 = batch.iter().map(|text| text[0].1).sum();
        assert!((first - 200.0).abs() < 1.5, "{first}");
    }

    #[test]
    fn a_text_whose_class_is_no_candidate_does_not_pull_others_to_that_class() {
        // Both texts were asked for as class 0, but only the first can be: one of each class. What
        // is assumed beside them, as far as it is a candidate, makes it 1 + 1/2 and 1 + 3/2 of 4,
        // so the first is to be of class 0 with 3/4: odds of 3. With both counted as class 0 they
        // would be infinite. Relative to their mean, a quarter and three quarters of the classes,
        // class 1 loses a quarter of that; its power is 3/4 / (3/4 + 1). Of class 0, a candidate of
        // one text, nothing follows.
        let texts = [vec![(0, 0.5), (1, 0.5)], vec![(1, 1.0)], Vec::new()];
        let correction = correction_to_asked(&texts, &[0, 0, 1], 2);
        near(&correction, &[0.0, -3.0 / 7.0 * 3f64.ln() / 4.0]);
    }
}
