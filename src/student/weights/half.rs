//! Converts little-endian F32, F16 and BF16 to f32.

use crate::simd::multiversion;

/// The difference of the exponent biases: F16's bits shifted to their positions in an f32 are too
/// small by a factor of 2^112.
const LIFT: f32 = f32::from_bits((127 + 112) << 23);

/// f32, a plain copy on a little-endian machine.
pub(super) fn from_f32(from: &[[u8; 4]], out: &mut [f32]) {
    for (out, &bytes) in out.iter_mut().zip(from) {
        *out = f32::from_le_bytes(bytes);
    }
}

multiversion! {
    /// IEEE half precision, exact, including subnormal numbers, infinities and NaN.
    pub(super) fn from_f16(from: &[[u8; 2]], out: &mut [f32]) {
        for (out, &bytes) in out.iter_mut().zip(from) {
            let bits = u32::from(u16::from_le_bytes(bytes));
            let size = f32::from_bits((bits & 0x7fff) << 13) * LIFT;
            // F16's largest exponent means infinity or NaN, which in f32 is an exponent of all
            // ones.
            let special = if size >= 65536.0 { 0x7f80_0000 } else { 0 };
            *out = f32::from_bits(size.to_bits() | special | (bits & 0x8000) << 16);
        }
    }
}

multiversion! {
    /// The upper half of an f32.
    pub(super) fn from_bf16(from: &[[u8; 2]], out: &mut [f32]) {
        for (out, &bytes) in out.iter_mut().zip(from) {
            *out = f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    #[test]
    fn all_65536_numbers_of_both_types_equal_candles() {
        let all = (0..=u16::MAX).map(u16::to_le_bytes).collect::<Vec<_>>();
        for (dtype, ours) in
            [(DType::F16, from_f16 as fn(&[[u8; 2]], &mut [f32])), (DType::BF16, from_bf16)]
        {
            let raw = Tensor::from_raw_buffer(all.as_flattened(), dtype, &[65536], &Device::Cpu);
            let wanted = raw.unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
            let mut found = vec![0.0; all.len()];
            ours(&all, &mut found);
            for (at, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
                let same = wanted.to_bits() == found.to_bits() || wanted.is_nan() && found.is_nan();
                assert!(same, "{dtype:?} {at:#06x}: {wanted} {found}");
            }
        }
    }
}
