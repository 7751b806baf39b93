//! A batch as a rectangle: on GPUs all texts of a batch have the same length.
//!
//! Padding cells hold token 0. They have no effect: attention masks them, pooling ignores them, and
//! results are packed again. Dropout uses packed indices, so that it drops the same numbers as
//! without padding.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::student::{Pooling, Result, dropout::Mask, packed_batch::PackedBatch};

/// Added to the attention score of a padding cell: its exponential is 0 in F32 and F64.
const MASKED_SCORE: f32 = -1e30;

/// A batch with its padding.
pub(crate) struct PaddedBatch {
    /// (first packed token, number of tokens) of each text.
    spans: Vec<(usize, usize)>,
    /// Length of the longest text, at least 1.
    pub seq: usize,
    /// Token ids, `[texts * seq]`.
    pub ids: Tensor,
    /// Positions, `[texts * seq]`.
    pub positions: Tensor,
    /// Added to the attention scores, `[texts, 1, 1, seq]`.
    pub bias: Tensor,
    dtype: DType,
}

impl PaddedBatch {
    /// Pads `rows`; `dtype` is that of the computation.
    pub(super) fn new(rows: &PackedBatch, dtype: DType, device: &Device) -> Result<Self> {
        let seq = rows.longest().max(1);
        let cells = rows.texts() * seq;
        let (mut ids, mut bias) = (vec![0u32; cells], vec![MASKED_SCORE; cells]);
        let mut spans = Vec::with_capacity(rows.texts());
        for (text, span) in rows.spans().enumerate() {
            let first = text * seq;
            ids[first..first + span.len()].copy_from_slice(&rows.ids()[span.clone()]);
            bias[first..first + span.len()].fill(0.0);
            spans.push((span.start, span.len()));
        }
        let positions = (0..cells).map(|cell| (cell % seq) as u32).collect::<Vec<_>>();
        Ok(Self {
            seq,
            ids: Tensor::from_vec(ids, cells, device)?,
            positions: Tensor::from_vec(positions, cells, device)?,
            bias: Tensor::from_vec(bias, (spans.len(), 1, 1, seq), device)?.to_dtype(dtype)?,
            spans,
            dtype,
        })
    }

    /// Number of texts.
    pub(super) fn texts(&self) -> usize {
        self.spans.len()
    }

    fn device(&self) -> &Device {
        self.ids.device()
    }

    /// Hidden states `[texts * seq, width]` without the padding, `[tokens, width]`.
    pub(super) fn pack(&self, hidden: &Tensor) -> Result<Tensor> {
        let cells = self.spans.iter().enumerate().flat_map(|(text, &(_, len))| {
            let first = text * self.seq;
            (first..first + len).map(|cell| cell as u32)
        });
        let cells = cells.collect::<Vec<_>>();
        let count = cells.len();
        Ok(hidden.index_select(&Tensor::from_vec(cells, count, self.device())?, 0)?)
    }

    /// One vector per text, `[texts, width]`, from hidden states `[texts * seq, width]`; zero for a
    /// text without tokens.
    pub(super) fn pool(&self, hidden: &Tensor, pooling: Pooling) -> Result<Tensor> {
        let mut shares = vec![0f32; self.texts() * self.seq];
        for (&(_, len), shares) in self.spans.iter().zip(shares.chunks_exact_mut(self.seq)) {
            match pooling {
                Pooling::First => shares[..len.min(1)].fill(1.0),
                Pooling::Mean => shares[..len].fill(1.0 / len as f32),
            }
        }
        let shape = (self.texts(), self.seq, 1);
        let shares = Tensor::from_vec(shares, shape, self.device())?.to_dtype(self.dtype)?;
        let hidden = hidden.reshape((self.texts(), self.seq, hidden.dim(1)?))?;
        Ok(hidden.broadcast_mul(&shares)?.sum(1)?)
    }

    /// Dropout on `x`, `[texts * seq, width]`.
    pub(super) fn drop_rows(&self, x: Tensor, mask: Mask) -> Result<Tensor> {
        let width = x.dim(1)?;
        self.drop(x, mask, self.seq * width, |text, kept| {
            let (start, len) = self.spans[text];
            fill(mask, start * width, &mut kept[..len * width]);
        })
    }

    /// Dropout on attention weights, `[texts, heads, seq, seq]`.
    pub(super) fn drop_attention(&self, x: Tensor, mask: Mask) -> Result<Tensor> {
        let heads = x.dim(1)?;
        let mut firsts = Vec::with_capacity(self.texts());
        let mut next = 0;
        for &(_, len) in &self.spans {
            firsts.push(next);
            next += heads * len * len;
        }
        self.drop(x, mask, heads * self.seq * self.seq, |text, kept| {
            let (len, mut first) = (self.spans[text].1, firsts[text]);
            for square in kept.chunks_exact_mut(self.seq * self.seq) {
                for line in square.chunks_exact_mut(self.seq).take(len) {
                    fill(mask, first, &mut line[..len]);
                    first += len;
                }
            }
        })
    }

    /// Dropout on one vector per text, `[texts, width]`.
    pub(super) fn drop_texts(&self, x: Tensor, mask: Mask) -> Result<Tensor> {
        let width = x.dim(1)?;
        self.drop(x, mask, width, |text, kept| fill(mask, text * width, kept))
    }

    /// `x` under `mask`. `fill_text` marks the kept numbers of a text, of which `x` holds
    /// `per_text`; padding counts as kept. One byte per number is sent to the device.
    fn drop(
        &self,
        x: Tensor,
        mask: Mask,
        per_text: usize,
        fill_text: impl Fn(usize, &mut [u8]) + Sync,
    ) -> Result<Tensor> {
        if !mask.drops() {
            return Ok(x);
        }
        let mut kept = vec![1u8; x.elem_count()];
        kept.par_chunks_exact_mut(per_text.max(1))
            .enumerate()
            .for_each(|(text, kept)| fill_text(text, kept));
        let kept = Tensor::from_vec(kept, x.shape(), self.device())?.to_dtype(self.dtype)?;
        Ok((x * (kept * f64::from(mask.kept()))?)?)
    }
}

/// Marks the numbers from packed index `first` on: 1 if the mask keeps them, else 0.
fn fill(mask: Mask, first: usize, kept: &mut [u8]) {
    for (at, kept) in kept.iter_mut().enumerate() {
        *kept = u8::from(mask.keeps((first + at) as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::dropout::{Dropout, Site};

    fn padded(texts: &[&[u32]]) -> PaddedBatch {
        PaddedBatch::new(&PackedBatch::new(texts), DType::F32, &Device::Cpu).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn cells_are_padded_pooled_and_packed() {
        let padded = padded(&[&[5], &[6, 7], &[]]);
        assert_eq!(padded.ids.to_vec1::<u32>().unwrap(), [5, 0, 6, 7, 0, 0]);
        assert_eq!(padded.positions.to_vec1::<u32>().unwrap(), [0, 1, 0, 1, 0, 1]);
        let hidden = Tensor::new(&[[1f32], [9.0], [2.0], [4.0], [9.0], [9.0]], &Device::Cpu);
        let hidden = hidden.unwrap();
        assert_eq!(numbers(&padded.pack(&hidden).unwrap()), [1.0, 2.0, 4.0]);
        assert_eq!(numbers(&padded.pool(&hidden, Pooling::First).unwrap()), [1.0, 2.0, 0.0]);
        assert_eq!(numbers(&padded.pool(&hidden, Pooling::Mean).unwrap()), [1.0, 3.0, 0.0]);
    }

    #[test]
    fn dropout_counts_packed_numbers() {
        let padded = padded(&[&[5], &[6, 7, 8]]);
        let mask = Dropout::new(1, 2).at(Site::Output(0), 0.5);
        let factor = |index: u32| mask.factor(index);
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();

        let rows = numbers(&padded.drop_rows(ones(&[6, 2]), mask).unwrap());
        let packed = (0..8).map(factor).collect::<Vec<_>>();
        assert_eq!((&rows[..2], &rows[6..]), (&packed[..2], &packed[2..]));
        // One head's 1 x 1, then 3 x 3, once for each of two heads.
        let squares = numbers(&padded.drop_attention(ones(&[2, 2, 3, 3]), mask).unwrap());
        assert_eq!((squares[0], squares[9]), (factor(0), factor(1)));
        assert_eq!(squares[18..], (2..20).map(factor).collect::<Vec<_>>());
        let texts = numbers(&padded.drop_texts(ones(&[2, 4]), mask).unwrap());
        assert_eq!(texts, packed);
    }
}
