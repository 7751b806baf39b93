//! The setting `filter.redact`: training texts carry masks (`[EMAIL]`, `[PHONE]`, …) in place of
//! personal data. Texts are compared, relabelled and filtered unmasked; masking comes last.

use serde::Serialize;

use crate::{
    config::{ConfigError, Settings},
    dataset::RelabelledText,
    pii::Scanner,
    student::Example,
};

/// A row of `train.jsonl` with the number of values that were masked in it.
#[derive(Serialize)]
pub(crate) struct RedactedText<'a> {
    #[serde(flatten)]
    pub row: &'a RelabelledText,
    /// Number of masks in the text; absent if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub redacted: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The scanner that masks, if `filter.redact` is set.
///
/// # Errors
/// An invalid pattern under `audit.patterns`.
pub(crate) fn scanner(settings: &Settings) -> Result<Option<Scanner>, ConfigError> {
    settings.filter.redact.then(|| settings.audit.scanner()).transpose()
}

/// Masks the texts of `rows` if `filter.redact` is set. Returns the number of masks in each row.
///
/// # Errors
/// As [`scanner`].
pub(crate) fn rows(
    settings: &Settings,
    rows: &mut [RelabelledText],
) -> Result<Vec<usize>, ConfigError> {
    let Some(scanner) = scanner(settings)? else { return Ok(vec![0; rows.len()]) };
    Ok(rows.iter_mut().map(|row| mask(&scanner, &mut row.augmented.text)).collect())
}

/// Masks the texts that students are trained on, seeds included, if `filter.redact` is set.
///
/// # Errors
/// As [`scanner`].
pub(crate) fn examples(settings: &Settings, examples: &mut [Example]) -> Result<(), ConfigError> {
    let Some(scanner) = scanner(settings)? else { return Ok(()) };
    for example in examples {
        mask(&scanner, &mut example.text);
    }
    Ok(())
}

/// Masks personal data in `text`. Returns the number of masks set.
pub(crate) fn mask(scanner: &Scanner, text: &mut String) -> usize {
    let (masked, count) = scanner.redact(text);
    *text = masked;
    count
}
