//! The setting `filter.redact`: what is trained on has marks (`[EMAIL]`, `[PHONE]`, …) in the place of
//! personal data. Texts are compared, relabelled and dropped as they were written; the marks come last.

use serde::Serialize;

use crate::{
    config::{ConfigError, Settings},
    dataset::RelabelledText,
    pii::Scanner,
    student::Example,
};

/// A row of `train.jsonl` that says how much of it was masked.
#[derive(Serialize)]
pub(crate) struct RedactedText<'a> {
    #[serde(flatten)]
    pub row: &'a RelabelledText,
    /// Marks in the text; absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub redacted: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What masks, where the settings want it.
pub(crate) fn scanner(settings: &Settings) -> Result<Option<Scanner>, ConfigError> {
    settings.filter.redact.then(|| settings.audit.scanner()).transpose()
}

/// Masks the texts of `rows` where the settings want it; the marks of each row.
///
/// # Errors
/// A pattern of the task's that is none.
pub(crate) fn rows(
    settings: &Settings,
    rows: &mut [RelabelledText],
) -> Result<Vec<usize>, ConfigError> {
    let Some(scanner) = scanner(settings)? else { return Ok(vec![0; rows.len()]) };
    Ok(rows.iter_mut().map(|row| mask(&scanner, &mut row.augmented.text)).collect())
}

/// Masks what students are trained on, the seeds among it, where the settings want it.
///
/// # Errors
/// As [`rows`].
pub(crate) fn examples(settings: &Settings, examples: &mut [Example]) -> Result<(), ConfigError> {
    let Some(scanner) = scanner(settings)? else { return Ok(()) };
    for example in examples {
        mask(&scanner, &mut example.text);
    }
    Ok(())
}

pub(crate) fn mask(scanner: &Scanner, text: &mut String) -> usize {
    let (masked, marks) = scanner.redact(text);
    *text = masked;
    marks
}
