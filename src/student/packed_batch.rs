//! A batch of token ids without padding.
//!
//! The tokens of all texts are concatenated: on a CPU the dense layers compute real tokens only (a
//! quarter less arithmetic on a typical batch), and attention iterates over each text's span. An
//! engine that needs rectangles adds its own padding.

use std::ops::Range;

/// One batch of texts as token ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PackedBatch {
    ids: Vec<u32>,
    /// (first token, number of tokens) of each text.
    spans: Vec<(usize, usize)>,
}

impl PackedBatch {
    /// Concatenates texts.
    pub(super) fn new(texts: &[&[u32]]) -> Self {
        let mut rows = Self::default();
        for text in texts {
            rows.spans.push((rows.ids.len(), text.len()));
            rows.ids.extend_from_slice(text);
        }
        rows
    }

    /// Token ids, `[tokens]`.
    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Number of texts.
    pub(super) fn texts(&self) -> usize {
        self.spans.len()
    }

    /// Number of tokens in all texts.
    pub(super) fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Length of the longest text.
    pub(super) fn longest(&self) -> usize {
        self.spans.iter().map(|&(_, len)| len).max().unwrap_or(0)
    }

    /// Each text's rows in a `[tokens, width]` matrix.
    pub(super) fn spans(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.spans.iter().map(|&(start, len)| start..start + len)
    }

    /// Position of each token in its text, `[tokens]`.
    pub(super) fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.spans.iter().flat_map(|&(_, len)| 0..len as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_concatenated() {
        let rows = PackedBatch::new(&[&[5, 6, 7], &[], &[8]]);
        assert_eq!((rows.texts(), rows.tokens(), rows.longest()), (3, 4, 3));
        assert_eq!(rows.ids(), [5, 6, 7, 8]);
        assert_eq!(rows.spans().collect::<Vec<_>>(), [0..3, 3..3, 3..4]);
        assert_eq!(rows.positions().collect::<Vec<_>>(), [0, 1, 2, 0]);
    }
}
