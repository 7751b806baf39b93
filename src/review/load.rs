//! What a run folder holds for a review: `train.jsonl`, `dropped.jsonl`, what `suggest` asked
//! about, what people decided before, the student's mistakes on the test set, and what `refine`
//! drafted.

use std::collections::HashMap;

use super::{
    Review, drafts,
    list::Members,
    row::{Row, Source},
};
use crate::{
    dataset::{
        DropReason, DroppedText, RowFields, SuggestedText, TextRow, TrainedStudent, Variant,
    },
    run::{
        RunError, RunFolder,
        edits::{Edits, next_id},
        ledger::Entry,
        names, read_json, read_rows_if_any,
    },
    task::Task,
};

impl Review {
    /// The review of the open `run` of `task`.
    ///
    /// # Errors
    /// A run that has no `train.jsonl` for its present task, a file that cannot be read.
    pub(crate) fn open(run: RunFolder, task: Task) -> Result<Self, RunError> {
        run.check_current(&["filter"], names::TRAIN)?;
        let trained: Vec<TextRow> = run.read_rows(names::TRAIN, "run `filter` first")?;
        let dropped: Vec<DroppedText> = run.read_rows(names::DROPPED, "run `filter` first")?;
        let reasons: Vec<DropReason> = dropped.iter().map(|row| row.dropped).collect();
        let trained_rows = trained.len();
        // Numbered together: a duplicate that is kept stands behind its original.
        let all = trained.into_iter().chain(dropped.into_iter().map(|row| TextRow::from(row.row)));
        let mut rows: Vec<Row> = run
            .edits()
            .keyed(names::TRAIN, all.collect())
            .into_iter()
            .enumerate()
            .map(|(at, (row, key))| {
                let reason = at.checked_sub(trained_rows).map(|at| reasons[at]);
                Row::new(key, row, reason.map_or(Source::Train, Source::Dropped))
            })
            .collect();
        add_suggested(&mut rows, &run)?;
        add_decisions(&mut rows, run.ledger().entries());
        // What agrees with nobody stands before what has the same probability.
        rows.sort_by(|a, b| {
            let voices = |row: &Row| row.agreeing().unwrap_or(usize::MAX);
            a.certainty().total_cmp(&b.certainty()).then_with(|| voices(a).cmp(&voices(b)))
        });
        rows.extend(mistakes(&run, &task)?);
        let open = rows.iter().enumerate().filter(|(_, row)| row.source.edited_file().is_some());
        let places = open.map(|(at, row)| (row.key.clone(), at)).collect();
        let (lists, drafts) = (Members::of(&rows), drafts::read(&run, &task)?);
        Ok(Self { run, task, rows, lists, drafts, places, decisions: 0, closed: false })
    }
}

/// Marks those of `rows` that `suggest` asked about, and adds the unlabelled ones.
fn add_suggested(rows: &mut Vec<Row>, run: &RunFolder) -> Result<(), RunError> {
    let suggested: Vec<SuggestedText> = read_rows_if_any(run.path(), names::SUGGESTED)?;
    let places: HashMap<String, usize> =
        rows.iter().enumerate().map(|(at, row)| (row.key.clone(), at)).collect();
    let mut next_id = next_id(run.path());
    for text in suggested {
        match places.get(&text.key) {
            Some(at) => rows[*at].suggested = Some(text.why.unwrap_or_default()),
            // A text that was written anew since.
            None if text.in_run => {}
            None => {
                rows.push(Row::of_suggested(text, next_id));
                next_id += 1;
            }
        }
    }
    Ok(())
}

/// Adds to `rows` what the ledger with `entries` says of earlier decisions and edits by hand.
fn add_decisions(rows: &mut Vec<Row>, entries: &[Entry]) {
    let mut places: HashMap<String, usize> =
        rows.iter().enumerate().map(|(at, row)| (row.key.clone(), at)).collect();
    for rule in Edits::of(entries).rules(names::TRAIN) {
        match (places.get(&rule.key), &rule.before, &rule.after) {
            (Some(at), Some(before), _) => rows[*at].first = before.clone(),
            // Removed: no file has it.
            (None, Some(before), None) => {
                places.insert(rule.key.clone(), rows.len());
                rows.push(removed(&rule.key, before));
            }
            _ => {}
        }
    }
    // Entries from before a change of the task may call classes by other names.
    let since = entries.iter().rposition(|entry| matches!(entry, Entry::TaskChanged(_)));
    for (number, entry) in entries.iter().enumerate() {
        let Entry::Edit { file, by, at, changes, .. } = entry else { continue };
        for steps in changes.chunk_by(|one, next| one.key == next.key) {
            let place = places.get(&steps[0].key).filter(|_| file == names::TRAIN);
            let Some(place) = place else { continue };
            let row = &mut rows[*place];
            row.version += steps.len();
            row.last = Some((by.clone(), at.clone()));
            if Some(number) > since {
                row.id = steps[0].row;
                row.was_edited = false;
                remember(row, &steps[0].before, &steps[steps.len() - 1].after);
            }
        }
    }
}

/// Remembers that `row` was `before` until it became `after`, so that it can be taken back; what
/// takes the last change back removes it.
fn remember(row: &mut Row, before: &Option<RowFields>, after: &Option<RowFields>) {
    match row.history.last() {
        Some(last) if last == after => drop(row.history.pop()),
        _ => row.history.push(before.clone()),
    }
}

/// A row that a person removed.
fn removed(key: &str, before: &RowFields) -> Row {
    let row = Row::new(key.to_owned(), TextRow::default(), Source::Train);
    Row { first: before.clone(), now: None, was_edited: true, ..row }
}

/// The texts of the test set that the student of this run gets wrong: none if it was trained for
/// another test set.
fn mistakes(run: &RunFolder, task: &Task) -> Result<Vec<Row>, RunError> {
    let path = run.path().join(names::PREDICTIONS);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let trained: Vec<TrainedStudent> = read_json(&path, "run `train` first")?;
    // The student that is kept.
    let rows = [Variant::A2U, Variant::A2];
    let student = rows.iter().find_map(|row| trained.iter().find(|student| student.row == *row));
    let Some(student) = student else { return Ok(Vec::new()) };
    let (predicted, confidence) = (&student.predictions.predicted, &student.predictions.confidence);
    if predicted.len() != task.test.len() {
        return Ok(Vec::new());
    }
    let name = |class: usize| task.classes.get(class).map(|class| class.name.clone());
    let items = task.test.iter().zip(predicted).enumerate();
    let wrong = items.filter(|(_, (item, predicted))| item.label != **predicted);
    let row = |(at, (item, predicted)): (usize, (&crate::task::LabelledText, &usize))| {
        let first = RowFields {
            text: item.text.clone(),
            major: name(item.label)?,
            relabel: Some(name(*predicted)?),
            p: confidence.get(at).copied(),
            ..RowFields::default()
        };
        let line = task.test_lines.get(at).copied().unwrap_or(at + 1);
        let row = Row::new(format!("test {at}"), TextRow::default(), Source::Test);
        Some(Row { id: line, now: Some(first.clone()), first, ..row })
    };
    let mut rows: Vec<Row> = wrong.filter_map(row).collect();
    rows.sort_by(|a, b| b.certainty().total_cmp(&a.certainty()));
    Ok(rows)
}
