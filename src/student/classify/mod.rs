//! Classifying with a trained student: one text or millions, and how sure to be.
//!
//! | file | what it is for |
//! |---|---|
//! | `passes` | which texts go through the network together |
//! | `stream` | texts from an endless input, in constant memory |
//! | `calibration` | the temperature that makes "90 % sure" right nine times in ten |
//! | `sentences` | sentence embeddings by the same passes |

mod calibration;
mod passes;
mod sentences;
mod stream;

pub(crate) use calibration::{Temperature, calibrate};
pub(super) use calibration::{check_temperature, softmax};
pub(super) use passes::run;
pub(crate) use sentences::SentenceEncoder;
pub(crate) use stream::{Prediction, Texts, largest};
