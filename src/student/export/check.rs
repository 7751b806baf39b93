//! Compares an exported folder with its classifier: the texts and the comparison.

use super::{Compared, ExportError};

/// Built-in texts of many lengths and scripts: empty, one token, truncated at `max_length`, unknown
/// words.
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
    // About the maximum length, and much longer.
    probes.push("now and then ".repeat(max_length.div_ceil(4)));
    probes.push("again and again, ".repeat(max_length));
    probes
}

/// The largest difference between two tables of logits.
pub(super) fn compare(a: &[Vec<f32>], b: &[Vec<f32>]) -> Compared {
    let shaped = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.len() == b.len());
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    // NaN never counts as agreement.
    let far = |difference: f32| if difference.is_nan() { f32::INFINITY } else { difference };
    let difference = pairs.map(|(a, b)| far((a - b).abs())).fold(0.0, f32::max);
    Compared { texts: a.len(), difference: if shaped { difference } else { f32::INFINITY } }
}

impl Compared {
    /// # Errors
    /// [`ExportError::Differs`] for any difference.
    pub(super) fn must_be_equal(self) -> Result<(), ExportError> {
        let Self { texts, difference } = self;
        if difference == 0.0 { Ok(()) } else { Err(ExportError::Differs { difference, texts }) }
    }
}
