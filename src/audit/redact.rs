//! The setting `filter.redact`: training texts carry masks (`[EMAIL]`, `[PHONE]`, …) in place of
//! personal data. Texts are compared, relabelled and filtered unmasked; masking comes last.

use crate::{
    config::{ConfigError, Settings},
    dataset::TextRow,
    pii::Scanner,
    student::Example,
};

/// The scanner that masks, if `filter.redact` is set.
///
/// # Errors
/// An invalid pattern under `audit.patterns`.
pub(crate) fn scanner(settings: &Settings) -> Result<Option<Scanner>, ConfigError> {
    settings.filter.redact.then(|| settings.audit.scanner()).transpose()
}

/// Masks the texts of `rows` if `filter.redact` is set, and counts the masks in each row.
///
/// # Errors
/// As [`scanner`].
pub(crate) fn rows(settings: &Settings, rows: &mut [TextRow]) -> Result<(), ConfigError> {
    let Some(scanner) = scanner(settings)? else { return Ok(()) };
    for row in rows {
        let key = row.key();
        row.redacted = mask(&scanner, &mut row.augmented.text);
        // An edited row has the same key, masked or not. Of others not even a hash is kept.
        if row.redacted > 0 && row.augmented.by.is_some() {
            row.augmented.origin = Some(key);
        }
    }
    Ok(())
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
