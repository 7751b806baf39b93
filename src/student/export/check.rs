//! On which texts an export is compared with its classifier, and how.

use std::path::Path;

use super::{super::tokens, Compared, ExportError, Facts, onnx::Interpreter};

/// Texts of a run that the interpreter computes, which is slow, beside our own.
const MOST: usize = 64;
/// Texts that the interpreter computes at a time.
const BATCH: usize = 8;

/// Texts about nothing, of many lengths and scripts: empty, one token, cut at `max_length`, what a
/// tokenizer has no word for.
pub(super) fn probes(max_length: usize) -> Vec<String> {
    let mut probes: Vec<String> = [
        "",
        " \t\n ",
        "a",
        ".",
        "Yes",
        "one two three",
        "The meeting is on Tuesday at 10:30.",
        "Please send it to the second address, not to the first one; thank you very much!",
        "ALL CAPITALS AND no capitals, 3.14159 and -7e+12, a_b-c/d\\e, https://example.org/?q=1&r=2",
        "Ärger mit übergroßen Öfen, façade, naïve, Łódź, ﬁne ligatures and cafe\u{301}",
        "это короткая фраза",
        "今天天气很好。",
        "السلام عليكم",
        "👩‍👩‍👧 and 🇪🇺, zero\u{200b}width, \u{feff}mark, nul\u{0}byte",
        "pneumonoultramicroscopicsilicovolcanoconiosispneumonoultramicroscopicsilicovolcanoconiosis",
        "[CLS] [SEP] [MASK] [PAD] [UNK]",
    ]
    .map(str::to_owned)
    .into();
    // About as long as a text may be, and much longer.
    probes.push("now and then ".repeat(max_length.div_ceil(4)));
    probes.push("again and again, ".repeat(max_length));
    probes
}

/// The numbers of the texts that the interpreter computes, out of `all`: the first `own`, and of the
/// rest so many that it does not take long, spread evenly.
pub(super) fn sample(own: usize, all: usize) -> Vec<usize> {
    let step = (all - own).div_ceil(MOST).max(1);
    (0..own).chain((own..all).step_by(step)).collect()
}

/// What `model.onnx` says to each text; `None` for a text that this tokenizer makes no token of,
/// which no runtime could be given. `folder` holds the tokenizer.
pub(super) fn interpret(
    interpreter: &Interpreter,
    folder: &Path,
    facts: &Facts,
    texts: &[&str],
) -> Result<Vec<Option<Vec<f32>>>, ExportError> {
    let origin = folder.display().to_string();
    let tokenizer = tokens::read(&super::read(&folder.join("tokenizer.json"))?, &origin)?;
    let tokenizer = tokens::limited(&tokenizer, facts.max_length, &origin)?;
    let ids = tokens::tokenise(&tokenizer, texts, facts.vocabulary, &origin)?;
    let mut order: Vec<usize> = (0..texts.len()).filter(|&at| !ids[at].is_empty()).collect();
    order.sort_by_key(|&at| ids[at].len());
    let mut results = vec![None; texts.len()];
    // The longest beside the shortest, so that most of a row is padding; the others by length.
    let uneven: Vec<usize> = order.pop().into_iter().chain(order.first().copied()).collect();
    for batch in [uneven.as_slice()].into_iter().chain(order.chunks(BATCH)) {
        let rows: Vec<&[u32]> = batch.iter().map(|&at| ids[at].as_slice()).collect();
        // What fills a batch up must not matter.
        for (&at, logits) in batch.iter().zip(interpreter.logits(&rows, 0)?) {
            results[at].get_or_insert(logits);
        }
    }
    Ok(results)
}

/// The largest difference between two tables of logits.
pub(super) fn compare(a: &[Vec<f32>], b: &[Vec<f32>]) -> Compared {
    let shaped = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.len() == b.len());
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    // What is no number is no agreement.
    let far = |difference: f32| if difference.is_nan() { f32::INFINITY } else { difference };
    let difference = pairs.map(|(a, b)| far((a - b).abs())).fold(0.0, f32::max);
    Compared { texts: a.len(), difference: if shaped { difference } else { f32::INFINITY } }
}

impl Compared {
    /// # Errors
    /// [`ExportError::Differs`] where the difference is above `limit`.
    pub(super) fn within(self, limit: f32, what: &'static str) -> Result<(), ExportError> {
        let Self { texts, difference } = self;
        if difference <= limit {
            return Ok(());
        }
        Err(ExportError::Differs { what, difference, limit, texts })
    }
}
