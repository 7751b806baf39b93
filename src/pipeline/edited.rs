//! Edits by people, where the stages meet them: each stage edits its rows as they were edited
//! before, just before it writes them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Event;
use crate::{
    config::{ConfigError, Settings},
    counted::counted,
    dataset::{AugmentedText, DropReason, DroppedText, RelabelledText, TextRow, canonical},
    pii::Scanner,
    run::{RunFolder, edits::Rule, names},
    task::Task,
};

/// The `rows` that a stage has for `file`, edited as people edited that file.
pub(super) fn rows<R: From<TextRow> + Into<TextRow>>(
    run: &RunFolder,
    file: &str,
    rows: Vec<R>,
    task: &Task,
) -> Vec<R> {
    let rows = rows.into_iter().map(Into::into).collect();
    let is_class = |name: &str| task.class_index(name).is_some();
    let (rows, _) = run.edits().apply(file, rows, Vec::new(), &is_class);
    rows.into_iter().map(Into::into).collect()
}

/// What is left to train on and what is dropped, edited as people edited `train.jsonl`. A row that
/// the filter dropped is kept if a person edited it there; a text of the test set never is.
///
/// # Errors
/// An invalid pattern under `audit.patterns`.
pub(super) fn train_rows(
    run: &RunFolder,
    task: &Task,
    settings: &Settings,
    kept: Vec<RelabelledText>,
    dropped: Vec<DroppedText>,
) -> Result<(Vec<TextRow>, Vec<DroppedText>), ConfigError> {
    let edits = run.edits();
    let reasons: HashMap<usize, DropReason> =
        dropped.iter().map(|row| (row.row.augmented.id, row.dropped)).collect();
    let mut kept: Vec<TextRow> = kept.into_iter().map(TextRow::from).collect();
    let mut pool: Vec<TextRow> = dropped.into_iter().map(|row| TextRow::from(row.row)).collect();
    if !edits.rules(names::TRAIN).is_empty() {
        let scanner = settings.audit.scanner()?;
        for row in kept.iter_mut().chain(&mut pool) {
            know_masked(row, edits.rules(names::TRAIN), &scanner);
        }
    }
    let said = edits.dropped(names::TRAIN, &kept, &pool);
    let is_class = |name: &str| task.class_index(name).is_some();
    let (kept, pool) = edits.apply(names::TRAIN, kept, pool, &is_class);
    let left = pool.into_iter().map(|row| {
        let dropped = reasons[&row.augmented.id];
        DroppedText { row: row.into(), dropped }
    });
    let (kept, leaks) = without_leaks(kept, task, |row| &row.augmented);
    let leak = |row: TextRow| DroppedText { row: row.into(), dropped: DropReason::LeakFromTest };
    let dropped = left.chain(leaks.into_iter().map(leak)).chain(said);
    Ok((kept, dropped.collect()))
}

/// A row that was edited while its text was masked is known by the masked text.
fn know_masked(row: &mut TextRow, rules: &[Rule], scanner: &Scanner) {
    let (text, masks) = scanner.redact(&row.augmented.text);
    if masks > 0 && row.augmented.origin.is_none() {
        let masked = AugmentedText { text, ..AugmentedText::default() };
        let key = TextRow::from(masked).key();
        // Of texts that read alike once masked, the second has `#2` behind its key.
        let is_of = |rule: &Rule| rule.key.split('#').next() == Some(key.as_str());
        row.augmented.origin = rules.iter().any(is_of).then_some(key);
    }
}

/// `rows` without those that a person edited to a text of the test set, and these. The filter finds
/// all others.
pub(super) fn without_leaks<R>(
    rows: Vec<R>,
    task: &Task,
    augmented: impl Fn(&R) -> &AugmentedText,
) -> (Vec<R>, Vec<R>) {
    let test: HashSet<String> = task.test.iter().map(|item| canonical(&item.text)).collect();
    rows.into_iter().partition(|row| {
        let row = augmented(row);
        row.by.is_none() || !test.contains(&canonical(&row.text))
    })
}

/// A warning if rows of a person are among the `dropped` ones.
pub(super) fn dropped_warning(dropped: &[DroppedText]) -> Option<Event> {
    let mut reasons: BTreeMap<DropReason, usize> = BTreeMap::new();
    for row in dropped.iter().filter(|row| row.row.augmented.by.is_some()) {
        *reasons.entry(row.dropped).or_default() += 1;
    }
    let count: usize = reasons.values().sum();
    let reasons: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{} ({count})", reason.describe())).collect();
    (count > 0).then(|| Event::Warning {
        message: format!(
            "dropped {} edited by hand: {}",
            counted(count, "row"),
            reasons.join(", ")
        ),
        hint: Some("they are in dropped.jsonl; edit them again to keep them".to_owned()),
    })
}
