//! The texts to measure with: given ones, or generated from the tokenizer's words with realistic
//! lengths.

use rand::Rng as _;

use super::{
    super::{BaseModel, Example, Result, StudentError, error::Fault},
    Workload,
};
use crate::rng::Rng;

/// Deciles of the tokens per sentence in Banking77 (Casanueva et al. 2020, arXiv 2003.04807) under
/// BERT's tokenizer: the median is 13.
const LENGTHS: [usize; 11] = [4, 9, 10, 11, 12, 13, 15, 16, 19, 28, 98];
/// Classes of generated texts, unless the student has classes of its own.
const CLASSES: usize = 6;

/// The labels, and the first `rows` texts as examples. The labels are `known`, those of a trained
/// student, and all others that the texts have; a text without a label gets the first one. With
/// `equal_length` texts are extended to at least that many tokens; the tokenizer truncates them
/// later.
pub(super) fn examples(
    base: &BaseModel,
    known: &[String],
    texts: &[(String, String)],
    workload: &Workload,
) -> Result<(Vec<String>, Vec<Example>)> {
    let rows = workload.rows.max(1);
    let (mut labels, mut examples) = (known.to_vec(), Vec::new());
    if texts.is_empty() {
        let missing = if labels.is_empty() { CLASSES } else { 0 };
        labels.extend((0..missing).map(|class| format!("class {class}")));
        let words = words(base);
        if words.is_empty() {
            return Err(StudentError::Training(Fault::with_hint(
                "the tokenizer has no words to make texts from",
                "give texts with --texts",
            )));
        }
        let text = |row: usize| generated(&words, row as u64);
        examples.extend((0..rows).map(|row| example(text(row), row % labels.len())));
    } else {
        let mut numbers = Vec::with_capacity(texts.len());
        for (_, label) in texts {
            let known = labels.iter().position(|known| known == label);
            let first = (label.is_empty() && !labels.is_empty()).then_some(0);
            numbers.push(known.or(first).unwrap_or_else(|| {
                labels.push(label.clone());
                labels.len() - 1
            }));
        }
        for ((text, _), number) in texts.iter().zip(numbers).cycle().take(rows) {
            examples.push(example(text.clone(), number));
        }
        // Training needs at least two classes.
        labels.extend((labels.len()..2).map(|class| format!("class {class}")));
    }
    if let Some(length) = workload.equal_length {
        lengthen(base, &mut examples, length)?;
    }
    Ok((labels, examples))
}

fn example(text: String, label: usize) -> Example {
    Example::new(text, label)
}

/// Appends following texts to each text until it has at least `length` tokens.
fn lengthen(base: &BaseModel, examples: &mut [Example], length: usize) -> Result<()> {
    let originals: Vec<String> = examples.iter().map(|example| example.text.clone()).collect();
    let long = base.config().max_positions;
    for (row, example) in examples.iter_mut().enumerate() {
        let mut following = originals.iter().cycle().skip(row + 1);
        loop {
            let tokens = base.tokenise(std::slice::from_ref(&example.text), long)?[0].len();
            if tokens >= length {
                break;
            }
            if example.text.len() > 100 * length.max(100) || length > long {
                return Err(StudentError::Training(Fault::with_hint(
                    format!("cannot make a text of {length} tokens"),
                    format!("lower --equal-length to at most {long}, or give texts with words"),
                )));
            }
            example.text.push(' ');
            example.text += following.next().map_or("", String::as_str);
        }
    }
    Ok(())
}

/// The tokenizer's words by id, which is roughly the order of their frequency.
fn words(base: &BaseModel) -> Vec<String> {
    let mut words: Vec<(u32, String)> = base
        .inner
        .tokenizer
        .get_vocab(false)
        .into_iter()
        .filter(|(word, _)| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .map(|(word, id)| (id, word))
        .collect();
    words.sort_unstable();
    words.into_iter().map(|(_, word)| word).collect()
}

fn generated(words: &[String], row: u64) -> String {
    let mut rng = Rng::for_item(0, "student bench", row);
    let at = rng.random::<f64>() * (LENGTHS.len() - 1) as f64;
    let (below, above) = (LENGTHS[at as usize], LENGTHS[at as usize + 1]);
    let length = below as f64 + (above - below) as f64 * at.fract();
    // Two of the tokens are special.
    let count = (length.round() as usize).saturating_sub(2).max(1);
    let draw = || {
        // Skewed towards frequent words: half of the draws fall on an eighth of the words.
        let share = rng.random::<f64>().powi(3);
        words[(share * words.len() as f64) as usize].as_str()
    };
    std::iter::repeat_with(draw).take(count).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{hint::Hint, student::parity::fixture};

    fn lengths(workload: &Workload, texts: &[(String, String)]) -> (usize, Vec<usize>) {
        let base = BaseModel::load(&fixture("bert"), &Device::Cpu).unwrap();
        let (labels, examples) = examples(&base, &[], texts, workload).unwrap();
        let texts: Vec<String> = examples.into_iter().map(|example| example.text).collect();
        let cut = workload.equal_length.unwrap_or(workload.max_length);
        let mut lengths: Vec<usize> =
            base.tokenise(&texts, cut).unwrap().iter().map(Vec::len).collect();
        lengths.sort_unstable();
        (labels.len(), lengths)
    }

    #[test]
    fn generated_texts_have_realistic_lengths() {
        let workload = Workload { rows: 300, ..Workload::default() };
        let (classes, lengths) = lengths(&workload, &[]);
        assert_eq!((classes, lengths.len(), lengths[299]), (CLASSES, 300, 50));
        assert!((12..=14).contains(&lengths[150]), "{}", lengths[150]);
        assert!((9..=11).contains(&lengths[45]) && lengths[0] >= 3, "{lengths:?}");
    }

    #[test]
    fn a_trained_student_has_its_own_classes() {
        let base = BaseModel::load(&fixture("bert"), &Device::Cpu).unwrap();
        let known: Vec<String> = (0..8).map(|class| format!("c{class}")).collect();
        let workload = Workload { rows: 3, ..Workload::default() };
        let labels = |known: &[String], texts: &[(&str, &str)]| {
            let texts: Vec<(String, String)> =
                texts.iter().map(|(text, label)| ((*text).into(), (*label).into())).collect();
            examples(&base, known, &texts, &workload).unwrap().0
        };
        assert_eq!(labels(&known, &[]), known);
        assert_eq!(labels(&known, &[("a dog", ""), ("a cat", "c7")]), known);
        // All classes of the texts count, not only those of the first rows.
        let texts = [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"), ("e", "z")];
        assert_eq!(labels(&[], &texts), ["x", "y", "z"]);
    }

    #[test]
    fn short_texts_are_extended_to_equal_length() {
        let texts = [("cheap train", "x"), ("lost card", "x")]
            .map(|(text, label)| (text.to_owned(), label.to_owned()));
        let workload = Workload { rows: 3, equal_length: Some(11), ..Workload::default() };
        assert_eq!(lengths(&workload, &texts), (2, vec![11; 3]));
        let base = BaseModel::load(&fixture("bert"), &Device::Cpu).unwrap();
        let too_long = Workload { equal_length: Some(513), ..workload };
        let error = examples(&base, &[], &texts, &too_long).unwrap_err();
        assert!(error.to_string().contains("513"), "{error}");
        assert!(error.hint().unwrap().contains("--equal-length"));
    }
}
