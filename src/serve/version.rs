//! A model as it was loaded.

use std::path::Path;

use candle_core::Device;

use super::ServeError;
use crate::{
    model_file,
    student::{Classifier, Precision},
};

/// One state of a model's folder.
pub(super) struct Version {
    /// 1 for the first.
    pub number: u64,
    pub student: Classifier,
}

impl Version {
    /// Loads the student in `folder` and classifies a text with it: what is damaged shows here and
    /// not in an answer.
    ///
    /// # Errors
    /// It cannot be loaded, or its answers are no numbers.
    pub(super) fn load(
        name: &str,
        folder: &Path,
        number: u64,
        (device, precision): (&Device, Precision),
    ) -> Result<Self, ServeError> {
        let fault = |source| ServeError::Model { name: name.to_owned(), source };
        let weights = folder.join("model.safetensors");
        if weights.exists() {
            model_file::check_one(&weights).map_err(|error| fault(error.into()))?;
        }
        let student = Classifier::load_resident(folder, device, precision)
            .map_err(|error| fault(error.into()))?;
        student.scores(&["Hello, world!"]).map_err(|error| fault(error.into()))?;
        Ok(Self { number, student })
    }
}
