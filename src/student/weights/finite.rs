//! Checks that all weights of a network are finite.
//!
//! A single NaN or infinity, of a damaged file or a diverged training, spreads to every text; a
//! maximum or a comparison on the way may swallow it, and the result then looks like a prediction.

use rayon::prelude::*;
use safetensors::Dtype;

use super::{CHUNK, Checkpoint, Entry, Result};
use crate::{
    simd::multiversion,
    student::{error::Fault, model_spec::TensorSpec},
};

impl Checkpoint {
    /// Checks every number of the tensors `wanted` that the file has. [`Checkpoint::check`] comes
    /// first.
    ///
    /// # Errors
    /// Names the first tensor that holds a NaN or an infinity.
    pub(crate) fn check_finite(&self, wanted: &[TensorSpec]) -> Result<()> {
        let held = wanted.par_iter().filter_map(|wanted| self.entries.get(&wanted.name));
        match held.find_first(|entry| !self.is_finite(entry)) {
            None => Ok(()),
            Some(entry) => Err(self.fault(Fault::with_hint(
                format!("{} holds a number that is not finite (NaN or infinity)", entry.name),
                "the file is damaged, or its training diverged: download it again, or take an earlier checkpoint of that training",
            ))),
        }
    }

    fn is_finite(&self, entry: &Entry) -> bool {
        let mut at = entry.data.start;
        self.bytes.all()[entry.data.clone()].chunks(CHUNK).all(|chunk| {
            let finite = match entry.dtype {
                Dtype::F32 => all_finite_f32(chunk.as_chunks().0),
                Dtype::F16 => all_finite_16(chunk.as_chunks().0, 0x7c00),
                Dtype::BF16 => all_finite_16(chunk.as_chunks().0, 0x7f80),
                // `check` has refused the others.
                _ => true,
            };
            self.bytes.release(at..at + chunk.len());
            at += chunk.len();
            finite
        })
    }
}

multiversion! {
    fn all_finite_f32(numbers: &[[u8; 4]]) -> bool {
        let exponent = 0x7f80_0000;
        let special = |&bytes: &[u8; 4]| u32::from_le_bytes(bytes) & exponent == exponent;
        // Without a branch in the loop.
        !numbers.iter().fold(false, |any, number| any | special(number))
    }
}

multiversion! {
    /// F16 or BF16, whose exponent is `exponent` in infinities and NaNs.
    fn all_finite_16(numbers: &[[u8; 2]], exponent: u16) -> bool {
        let special = |&bytes: &[u8; 2]| u16::from_le_bytes(bytes) & exponent == exponent;
        !numbers.iter().fold(false, |any, number| any | special(number))
    }
}
