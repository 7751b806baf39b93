//! A batch of token ids, laid out so that padding costs nothing.
//!
//! On a CPU the tokens of all texts stand one after another, `[tokens]`, and the padding of the
//! shorter ones is not there at all: every dense layer works on real tokens alone (a quarter less
//! arithmetic on a usual batch), and attention walks each text's span. On a GPU, where kernels
//! want rectangles, the rows are padded to the longest and an additive mask hides the padding.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::{Pooling, Result, fused, kernels};

/// Large enough that a masked weight is exactly 0 after the softmax, small enough not to overflow.
const HIDDEN_SCORE: f32 = -1e9;

/// One batch of texts as token ids and positions.
pub struct Rows {
    /// Token ids, `[tokens]` u32.
    pub ids: Tensor,
    /// Place of each token in its text, `[tokens]` u32.
    pub positions: Tensor,
    /// Where each text's tokens are: (first row, number of real tokens).
    pub(in crate::student) spans: Arc<Vec<(usize, usize)>>,
    /// Padded layouts only: additive mask, `[batch, 1, 1, seq]`, 0 or a large negative number.
    pub(in crate::student) bias: Option<Tensor>,
    /// Tokens of the longest text.
    pub(in crate::student) longest: usize,
    /// Padded input only: the column of each packed token, to put it back.
    columns: Option<Vec<usize>>,
    seq: usize,
}

impl Rows {
    /// Lays texts out for `device`: packed on a CPU, padded with `pad` elsewhere.
    pub fn new(texts: &[&[u32]], pad: u32, device: &Device) -> Result<Self> {
        if device.is_cpu() { Self::packed(texts, device) } else { Self::padded(texts, pad, device) }
    }

    fn packed(texts: &[&[u32]], device: &Device) -> Result<Self> {
        let mut spans = Vec::with_capacity(texts.len());
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for text in texts {
            spans.push((ids.len(), text.len()));
            ids.extend_from_slice(text);
            positions.extend(0..text.len() as u32);
        }
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let tokens = ids.len();
        Ok(Self {
            ids: Tensor::from_vec(ids, tokens, device)?,
            positions: Tensor::from_vec(positions, tokens, device)?,
            spans: Arc::new(spans),
            bias: None,
            longest,
            columns: None,
            seq: longest,
        })
    }

    /// The rectangle with its mask, on any device: the layout for GPUs, and the oracle of tests.
    pub(in crate::student) fn padded(texts: &[&[u32]], pad: u32, device: &Device) -> Result<Self> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let (mut ids, mut bias, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for (row, text) in texts.iter().enumerate() {
            let padding = longest - text.len();
            spans.push((row * longest, text.len()));
            ids.extend_from_slice(text);
            ids.extend(std::iter::repeat_n(pad, padding));
            bias.extend(std::iter::repeat_n(0f32, text.len()));
            bias.extend(std::iter::repeat_n(HIDDEN_SCORE, padding));
        }
        let positions = (0..ids.len()).map(|at| (at % longest.max(1)) as u32).collect::<Vec<_>>();
        let tokens = ids.len();
        Ok(Self {
            ids: Tensor::from_vec(ids, tokens, device)?,
            positions: Tensor::from_vec(positions, tokens, device)?,
            spans: Arc::new(spans),
            bias: Some(Tensor::from_vec(bias, (texts.len(), 1, 1, longest), device)?),
            longest,
            columns: None,
            seq: longest,
        })
    }

    /// Takes a padded batch apart; `ids` and `mask` are `[batch, seq]` u32. Padding may stand
    /// anywhere: positions are counted as in the batch.
    pub(in crate::student) fn from_padded(ids: &Tensor, mask: &Tensor) -> Result<Self> {
        let device = ids.device();
        let (_, seq) = ids.dims2()?;
        let ids = ids.to_vec2::<u32>()?;
        let mask = mask.to_vec2::<u32>()?;
        let (mut texts, mut columns) = (Vec::new(), Vec::new());
        for (ids, mask) in ids.iter().zip(&mask) {
            let real = (0..seq).filter(|&at| mask[at] != 0).collect::<Vec<_>>();
            texts.push(real.iter().map(|&at| ids[at]).collect::<Vec<_>>());
            columns.extend(real);
        }
        let texts = texts.iter().map(Vec::as_slice).collect::<Vec<_>>();
        let mut rows = Self::new(&texts, 0, device)?;
        if rows.bias.is_none() {
            let positions = columns.iter().map(|&at| at as u32).collect::<Vec<_>>();
            rows.positions = Tensor::from_vec(positions, columns.len(), device)?;
        }
        rows.columns = Some(columns);
        rows.seq = seq;
        Ok(rows)
    }

    /// Number of texts.
    pub fn batch(&self) -> usize {
        self.spans.len()
    }

    /// Rows of the hidden states: real tokens, and padding where the layout has it.
    pub(in crate::student) fn tokens(&self) -> usize {
        self.ids.elem_count()
    }

    /// One vector per text, `[batch, hidden]`, from hidden states `[tokens, hidden]`.
    pub fn pool(&self, hidden: &Tensor, pooling: Pooling) -> Result<Tensor> {
        if kernels::serves(hidden) {
            return Ok(hidden.apply_op1(fused::Pool { spans: self.spans.clone(), pooling })?);
        }
        // A product with a small matrix of weights: both ways of pooling, and their gradients.
        let tokens = self.tokens();
        let mut weights = vec![0f32; self.batch() * tokens];
        for (text, &(start, len)) in self.spans.iter().enumerate() {
            let row = &mut weights[text * tokens..][start..][..len];
            match pooling {
                Pooling::First => row.iter_mut().take(1).for_each(|weight| *weight = 1.0),
                Pooling::Mean => row.fill(1.0 / len as f32),
            }
        }
        let weights = Tensor::from_vec(weights, (self.batch(), tokens), hidden.device())?;
        Ok(weights.to_dtype(hidden.dtype())?.matmul(hidden)?)
    }

    /// Hidden states `[tokens, hidden]` as the padded batch they came from,
    /// `[batch, seq, hidden]`, zero where there was padding.
    pub(in crate::student) fn unpack(&self, hidden: &Tensor) -> Result<Tensor> {
        let (tokens, width) = hidden.dims2()?;
        let mut places = vec![0f32; self.batch() * self.seq * tokens];
        let mut real = 0;
        for (text, &(start, len)) in self.spans.iter().enumerate() {
            for at in 0..len {
                let column = self.columns.as_ref().map_or(at, |columns| columns[real]);
                places[(text * self.seq + column) * tokens + start + at] = 1.0;
                real += 1;
            }
        }
        let places = Tensor::from_vec(places, (self.batch() * self.seq, tokens), hidden.device())?;
        Ok(places.to_dtype(hidden.dtype())?.matmul(hidden)?.reshape((
            self.batch(),
            self.seq,
            width,
        ))?)
    }
}
