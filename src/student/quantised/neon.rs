//! The dot product of ARMv8.2 (`sdot`): 6 rows by 16 outputs in 24 of the 32 registers.
//!
//! It multiplies signed bytes, so that 128 is subtracted from the inputs' levels and from their
//! zero points. It is inline assembly because its intrinsic is not in stable Rust yet. Processors
//! without the instruction run the portable kernel.

// The loops unroll over registers.
#![allow(clippy::needless_range_loop)]

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::tile::{GROUP, PANEL, Panel, Tile, Window, by_rows};

/// Rows of the tallest tile.
pub(super) const ROWS: usize = 6;
/// Outputs of a register.
const LANES: usize = 4;
/// Registers of a line of weights.
const WIDE: usize = 4;
/// Flips the sign bits: 0..=255 becomes -128..=127.
const SIGN: i32 = i32::from_ne_bytes([0x80; 4]);

pub(super) fn available() -> bool {
    is_aarch64_feature_detected!("dotprod")
}

/// # Safety
/// As `Kernel::run`, and its assertions hold.
pub(super) unsafe fn run(tile: &Tile, panel: &Panel, out: &Window) {
    // SAFETY: as promised by the caller.
    unsafe { by_rows!(rows, tile, panel, out, [1, 2, 3, 4, 5, 6]) }
}

/// # Safety
/// As [`run`], for a tile of `R` rows.
#[target_feature(enable = "neon,dotprod")]
unsafe fn rows<const R: usize>(tile: &Tile, panel: &Panel, out: &Window) {
    // SAFETY: a panel's group of inputs is two lines of four registers; a tile has R times four
    // bytes for each group; a panel has PANEL sums, scales and biases; and only the `width` numbers
    // of the window's R rows are written. All of it is asserted by `Kernel::run`.
    unsafe {
        for half in 0..2 {
            let mut sums = [[vdupq_n_s32(0); WIDE]; R];
            let mut levels = tile.levels.as_ptr().cast::<i32>();
            for lines in panel.levels.as_chunks::<2>().0 {
                let line = lines[half].0.as_ptr();
                let mut weights = [vdupq_n_s8(0); WIDE];
                for at in 0..WIDE {
                    weights[at] = vld1q_s8(line.add(at * LANES * GROUP));
                }
                for row in 0..R {
                    let level = vdupq_n_s32(levels.add(row).read_unaligned() ^ SIGN);
                    for at in 0..WIDE {
                        sums[row][at] =
                            dot(sums[row][at], weights[at], vreinterpretq_s8_s32(level));
                    }
                }
                levels = levels.add(R);
            }
            for at in 0..WIDE {
                let column = half * PANEL / 2 + at * LANES;
                let shift = vld1q_s32(panel.sums.as_ptr().add(column));
                let scales = vld1q_f32(panel.scales.as_ptr().add(column));
                let bias = vld1q_f32(panel.bias.as_ptr().add(column));
                let here = panel.width.saturating_sub(column).min(LANES);
                for row in 0..R {
                    let sum = vmlaq_n_s32(sums[row][at], shift, 128 - tile.zero_points[row]);
                    let scale = vmulq_n_f32(scales, tile.scales[row]);
                    let value = vaddq_f32(vmulq_f32(vcvtq_f32_s32(sum), scale), bias);
                    let to = out.at.wrapping_add(row * out.stride + column);
                    if here == LANES {
                        vst1q_f32(to, value);
                    } else {
                        let mut values = [0f32; LANES];
                        vst1q_f32(values.as_mut_ptr(), value);
                        for (lane, &value) in values[..here].iter().enumerate() {
                            to.add(lane).write(value);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of four signed bytes to each of four sums.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(mut sum: int32x4_t, weights: int8x16_t, levels: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction accesses only its three registers, and the processor has it.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {levels:v}.16b",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            levels = in(vreg) levels,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
