//! The reference engine: candle's differentiable ops.

pub(super) mod bert;
pub(super) mod distilbert;
pub(super) mod dropout;
pub(super) mod fused;
pub(super) mod head;
pub(super) mod kernels;
pub(super) mod layers;
pub(super) mod optimizer;
pub(super) mod rows;

use super::{Encoder, Pooling, Result, StudentError, arith};
use dropout::DropoutRng;
use rows::Rows;
