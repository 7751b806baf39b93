//! Classification with a trained student: one text or millions, with calibrated probabilities.
//!
//! | file | what it is for |
//! |---|---|
//! | `passes` | groups texts into passes through the network |
//! | `prediction` | the answer to a text |
//! | `stream` | texts from an endless input, in constant memory |
//! | `calibration` | temperature scaling: of predictions with a probability of 90 %, nine in ten are correct |
//! | `sentences` | sentence embeddings, in the same passes |

mod calibration;
mod passes;
mod prediction;
mod sentences;
mod stream;

pub(crate) use calibration::{Temperature, calibrate};
pub(super) use calibration::{check_temperature, softmax};
pub(super) use passes::run;
pub(crate) use prediction::{Prediction, largest};
pub(crate) use sentences::SentenceEncoder;
pub(crate) use stream::{Item, Texts};
