//! How much of a text the student reads, and how many texts are longer.

use serde::{Deserialize, Serialize};

use crate::counted::part;

/// Tokens of a text that the student reads, and the texts that are longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextLength {
    /// Tokens, the special ones included; the rest is cut off.
    pub max_length: usize,
    /// Of the texts that the kept student is trained on.
    pub train: CutTexts,
    /// Of the test set.
    pub test: CutTexts,
}

/// A number of texts, and how many of them are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutTexts {
    /// Different texts.
    pub texts: u64,
    /// Those that are longer than the student reads.
    pub cut: u64,
}

impl TextLength {
    /// One sentence, if any text is cut.
    pub fn warning(&self) -> Option<String> {
        let named = [(self.train, "training"), (self.test, "test")];
        let parts: Vec<String> = named
            .iter()
            .filter(|(texts, _)| texts.cut > 0)
            .map(|(texts, what)| {
                part(texts.cut as usize, texts.texts as usize, &format!("{what} text"))
            })
            .collect();
        let several = self.train.cut + self.test.cut > 1;
        let (are, each) = if several { ("are", "each") } else { ("is", "it") };
        (!parts.is_empty()).then(|| {
            format!(
                "{} {are} longer than {} tokens; the rest of {each} is cut off",
                parts.join(" and "),
                self.max_length
            )
        })
    }
}
