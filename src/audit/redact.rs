//! The setting `filter.redact`: what is trained on has marks (`[EMAIL]`, `[PHONE]`, …) in the place of
//! personal data. Texts are compared, relabelled and dropped as they were written; the marks come last.

use serde::Serialize;

use super::pii::Scanner;
use crate::{
    config::{ConfigError, Settings},
    relabel::RelabelledText,
    report::Report,
    student::Example,
};

/// A row of `train.jsonl` that says how much of it was masked.
#[derive(Serialize)]
pub struct RedactedText<'a> {
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
fn scanner(settings: &Settings) -> Result<Option<Scanner>, ConfigError> {
    settings.filter.redact.then(|| settings.audit.scanner()).transpose()
}

/// Masks the texts of `rows` where the settings want it; the marks of each row.
///
/// # Errors
/// A pattern of the task's that is none.
pub fn rows(settings: &Settings, rows: &mut [RelabelledText]) -> Result<Vec<usize>, ConfigError> {
    let Some(scanner) = scanner(settings)? else { return Ok(vec![0; rows.len()]) };
    Ok(rows.iter_mut().map(|row| mask(&scanner, &mut row.augmented.text)).collect())
}

/// Masks what students are trained on, the seeds among it, where the settings want it.
///
/// # Errors
/// As [`rows`].
pub fn examples(settings: &Settings, examples: &mut [Example]) -> Result<(), ConfigError> {
    let Some(scanner) = scanner(settings)? else { return Ok(()) };
    for example in examples {
        mask(&scanner, &mut example.text);
    }
    Ok(())
}

/// Masks every text of the customer's and the teacher's in `report` where the settings want it.
///
/// # Errors
/// As [`rows`].
pub fn report(settings: &Settings, report: &mut Report) -> Result<(), ConfigError> {
    let Some(scanner) = scanner(settings)? else { return Ok(()) };
    let descriptions = report.task.classes.iter_mut().map(|class| &mut class.description);
    let examples = report.examples.iter_mut().map(|example| &mut example.text);
    let points = report.map.iter_mut().flat_map(|map| &mut map.points).map(|point| &mut point.text);
    let pairs = report.confusion.iter_mut().flat_map(|confusion| &mut confusion.pairs);
    let mistaken = pairs.flat_map(|pair| &mut pair.texts);
    for text in descriptions.chain(examples).chain(points).chain(mistaken) {
        mask(&scanner, text);
    }
    Ok(())
}

fn mask(scanner: &Scanner, text: &mut String) -> usize {
    let (masked, marks) = scanner.redact(text);
    *text = masked;
    marks
}
