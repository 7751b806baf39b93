//! `import-labels`: what people answered about texts in a sheet becomes edits of `train.jsonl`, the
//! same as if they had edited the file by hand.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::{Event, Pipeline, PipelineError, import::class_named, sheet_rows::PREFIX};
use crate::{
    counted::counted,
    dataset::{DropReason, RowEdit, RowFields, SuggestedText, TextRow},
    run::{edits::next_id, ledger::Entry, names, read_rows_if_any},
    sheet::{self, Answer, NONE_OF_THESE, fault},
    task::{Fault, Task, TaskError},
    verbosity,
};

/// Spreadsheets cut a cell after this many characters.
const CELL: usize = 32_767;

/// What came of the answers in a sheet, counted by texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LabelCounts {
    /// New texts and unlabelled ones that have a label of a person from now on.
    pub labelled: usize,
    /// Those of them whose label is another one than before.
    pub relabelled: usize,
    /// Those of them that the run had no label for.
    pub added: usize,
    /// Texts that were corrected.
    pub texts: usize,
    /// Texts in none of the classes.
    pub dropped: usize,
    /// Texts that the sheet says nothing new about.
    pub unanswered: usize,
}

impl LabelCounts {
    fn summary(&self) -> String {
        let Self { labelled, relabelled, added, texts, dropped, unanswered } = *self;
        let mut parts = vec![format!("{} labelled", counted(labelled, "text"))];
        let mut add = |count: usize, words: &str| {
            if count > 0 {
                parts.push(format!("{count} {words}"));
            }
        };
        add(relabelled, "of them with another label than before");
        add(added, "of them new to the run");
        add(texts, "corrected");
        add(dropped, "in none of the classes");
        add(unanswered, "without a new answer");
        parts.join(", ")
    }
}

/// What people made of one text.
struct Verdict {
    /// One that `decision` comes from, if there is one.
    answer: Answer,
    /// The other answers.
    others: Vec<Answer>,
    decision: Option<Decision>,
}

#[derive(Debug, Clone, PartialEq)]
enum Decision {
    Class(String),
    NoneOfThese,
}

impl Pipeline<'_> {
    /// Records `answers` as edits of `train.jsonl`: all of them, or none.
    ///
    /// # Errors
    /// No `train.jsonl`, a failed write, and all answers that cannot be used, each with its place.
    pub(crate) fn import_labels(
        &mut self,
        answers: Vec<Answer>,
    ) -> Result<LabelCounts, PipelineError> {
        let Self { run, task, watch, .. } = self;
        let rows: Vec<TextRow> = run.read_rows(names::TRAIN, "run `promptmix filter` first")?;
        let rows = run.edits().keyed(names::TRAIN, rows);
        let rows = rows.into_iter().map(|(row, key)| (key, row)).collect();
        let offered: Vec<SuggestedText> = read_rows_if_any(run.path(), names::SUGGESTED)?;
        let offered = offered.into_iter().filter(|row| !row.in_run);
        let offered = offered.map(|row| (row.key, row.text)).collect();
        let entries = run.ledger().entries();
        let known = Known {
            run: run.tag(),
            rows,
            offered,
            past: past(entries),
            next_id: next_id(run.path()),
        };
        let (verdicts, mut faults) = verdicts(answers, task, entries);
        let (mut changes, mut counts) = (Vec::new(), LabelCounts::default());
        for verdict in verdicts {
            match known.change(verdict, changes.len(), &mut counts) {
                Ok(change) => changes.extend(change),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            faults.sort_by_key(|fault| (fault.place.line, fault.place.column));
            return Err(TaskError::from(faults).into());
        }
        if !changes.is_empty() {
            run.decide(names::TRAIN, changes)?;
            run.write_decisions(task)?;
        }
        watch(Event::End { summary: counts.summary() });
        Ok(counts)
    }
}

/// The answers about each text as one verdict, in the order of the sheet, and what is wrong.
fn verdicts(answers: Vec<Answer>, task: &Task, entries: &[Entry]) -> (Vec<Verdict>, Vec<Fault>) {
    let (mut verdicts, mut faults): (Vec<Verdict>, _) = (Vec::new(), Vec::new());
    let mut places: HashMap<String, usize> = HashMap::new();
    for answer in answers {
        let decision = match decision(&answer, task, entries) {
            Ok(decision) => decision,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let Some(&at) = places.get(&answer.id) else {
            places.insert(answer.id.clone(), verdicts.len());
            verdicts.push(Verdict { answer, others: Vec::new(), decision });
            continue;
        };
        let first = &mut verdicts[at];
        match (&first.decision, &decision) {
            (Some(a), Some(b)) if a != b => {
                let message = format!(
                    "{} and {} disagree about this text: {} or {}",
                    person(&first.answer),
                    person(&answer),
                    a.name(),
                    b.name()
                );
                faults.push(fault(
                    answer.place,
                    message,
                    "settle it, and leave one label in the sheet",
                ));
            }
            (None, Some(_)) => {
                first.others.push(std::mem::replace(&mut first.answer, answer));
                first.decision = decision;
            }
            _ => first.others.push(answer),
        }
    }
    (verdicts, faults)
}

/// Who gave an answer, or where.
fn person(answer: &Answer) -> String {
    match &answer.by {
        Some(by) => format!("annotator {}", by.escape_debug()),
        None => format!("line {}", answer.place.line),
    }
}

impl Decision {
    fn name(&self) -> &str {
        match self {
            Self::Class(name) => name,
            Self::NoneOfThese => NONE_OF_THESE,
        }
    }
}

/// What an answer says: "none of these" is the class for such texts, if the task has one. A class
/// that was removed from the task since is none.
fn decision(answer: &Answer, task: &Task, entries: &[Entry]) -> Result<Option<Decision>, Fault> {
    const HINT: &str = "choose one of the classes, or \"none of these\"";
    let Some(label) = answer.label.as_deref().map(str::trim) else { return Ok(None) };
    if task.class_index(label).is_none() && label.eq_ignore_ascii_case(NONE_OF_THESE) {
        let class = task.none_of_these().map(|class| task.classes[class].name.clone());
        return Ok(Some(class.map_or(Decision::NoneOfThese, Decision::Class)));
    }
    let class = class_named(task, entries, label)
        .map_err(|message| fault(answer.place.clone(), message, HINT))?;
    Ok(class.map(Decision::Class))
}

/// What a run knows of the texts in its sheets.
struct Known {
    /// [`crate::run::RunFolder::tag`].
    run: String,
    /// The rows of `train.jsonl`, by key.
    rows: HashMap<String, TextRow>,
    /// The unlabelled texts that people were asked about, by key.
    offered: HashMap<String, String>,
    /// What people made of texts before, by key.
    past: HashMap<String, Past>,
    next_id: usize,
}

/// What people made of a text before.
#[derive(Default)]
struct Past {
    /// The texts that it had: a sheet that shows one of them is older, and corrects nothing.
    texts: HashSet<String>,
    /// If it was removed last: its id, and what it was if it stood in the file.
    removed: Option<(usize, Option<RowFields>)>,
}

/// What people made of the texts of `train.jsonl` before, by key.
fn past(entries: &[Entry]) -> HashMap<String, Past> {
    let mut past: HashMap<String, Past> = HashMap::new();
    let edits = entries.iter().filter_map(|entry| match entry {
        Entry::Edit { file, changes, .. } if file == names::TRAIN => Some(changes),
        _ => None,
    });
    for RowEdit { row, key, before, after, .. } in edits.flatten() {
        let past = past.entry(key.clone()).or_default();
        past.texts.extend(before.iter().chain(after).map(|fields| normalised(&fields.text)));
        past.removed = after.is_none().then(|| (*row, before.clone()));
    }
    past
}

impl Known {
    /// The edit that `verdict` is, if it is one; `earlier` changes were made before.
    fn change(
        &self,
        verdict: Verdict,
        earlier: usize,
        counts: &mut LabelCounts,
    ) -> Result<Option<RowEdit>, Fault> {
        let key = self.key(&verdict.answer)?.to_owned();
        let row = self.rows.get(&key);
        let removed = self.past.get(&key).and_then(|past| past.removed.as_ref());
        let text = match (row, removed) {
            (Some(row), _) => Some(&row.augmented.text),
            (None, Some((_, Some(before)))) => Some(&before.text),
            (None, _) => self.offered.get(&key),
        };
        let Some(text) = text else {
            return Err(fault(
                verdict.answer.place,
                "the run has no text with this id",
                "the text was removed from the run since, or the id was changed; remove the row from the sheet",
            ));
        };
        let corrected = self.correction(&key, text, &verdict)?;
        let decision = verdict.decision;
        let change = match (row, removed) {
            (Some(row), _) => labelled(row, &key, corrected, decision, counts),
            // It was removed already.
            (None, Some(_)) if !matches!(decision, Some(Decision::Class(_))) => None,
            (None, removed) => {
                let id = match removed {
                    Some((id, Some(_))) => *id,
                    _ => self.next_id + earlier,
                };
                added(id, &key, corrected, text, decision, counts)
            }
        };
        counts.unanswered += usize::from(change.is_none());
        Ok(change)
    }

    /// The text that the answers in `verdict` correct `text` to.
    fn correction(
        &self,
        key: &str,
        text: &str,
        verdict: &Verdict,
    ) -> Result<Option<String>, Fault> {
        let earlier = self.past.get(key).map(|past| &past.texts);
        let mut found: Option<(&Answer, String)> = None;
        for answer in std::iter::once(&verdict.answer).chain(&verdict.others) {
            let Some(corrected) = changed_text(text, answer) else { continue };
            if earlier.is_some_and(|texts| texts.contains(&normalised(&corrected))) {
                continue;
            }
            match &found {
                Some((first, other)) if *other != corrected => {
                    let message = format!(
                        "{} and {} correct this text differently",
                        person(first),
                        person(answer)
                    );
                    let hint = "settle it, and leave one text in the sheet";
                    return Err(fault(answer.place.clone(), message, hint));
                }
                Some(_) => {}
                None => found = Some((answer, corrected)),
            }
        }
        Ok(found.map(|(_, corrected)| corrected))
    }

    /// The key in the id of `answer`.
    fn key<'a>(&self, answer: &'a Answer) -> Result<&'a str, Fault> {
        let mut parts = answer.id.splitn(3, '-');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(PREFIX), Some(run), Some(key)) if run == self.run => Ok(key),
            (Some(PREFIX), Some(_), Some(_)) => Err(fault(
                answer.place.clone(),
                "the sheet is of another run",
                "name the run folder that the sheet was written from",
            )),
            _ => Err(fault(
                answer.place.clone(),
                format!("the id{} is not one of a sheet", verbosity::quoted(&answer.id)),
                "restore the column `promptmix_id` as it was",
            )),
        }
    }
}

/// The text of `answer` if it is another one than `text`. Spreadsheets change line breaks and cut
/// long texts; that is no correction.
fn changed_text(text: &str, answer: &Answer) -> Option<String> {
    let (was, cell) = (normalised(text), normalised(&answer.text));
    let is_cut = cell.chars().count() + 1 >= CELL && was.starts_with(&cell);
    let plain = normalised(sheet::unquoted(&answer.text));
    let same = cell.is_empty() || cell == was || plain == was || is_cut;
    (!same).then(|| sheet::unquoted(&answer.text).to_owned())
}

/// `text` with Unix line breaks and without leading and trailing whitespace.
fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned()
}

/// The edit of a `row` of `train.jsonl`, whose text becomes `corrected`. A label that is confirmed
/// is a person's from now on.
fn labelled(
    row: &TextRow,
    key: &str,
    corrected: Option<String>,
    decision: Option<Decision>,
    counts: &mut LabelCounts,
) -> Option<RowEdit> {
    let before = row.fields();
    let edit = |after: Option<RowFields>, reason| RowEdit {
        row: row.augmented.id,
        key: key.to_owned(),
        before: Some(before.clone()),
        after,
        reason,
    };
    if decision == Some(Decision::NoneOfThese) {
        counts.dropped += 1;
        return Some(edit(None, Some(DropReason::NoneOfThese)));
    }
    let mut after = before.clone();
    counts.texts += usize::from(corrected.is_some());
    after.text = corrected.unwrap_or(after.text);
    if let Some(Decision::Class(label)) = decision {
        let is_other = before.relabel.as_ref() != Some(&label);
        let was_given = row.augmented.by.is_some() && !is_other && before.p == Some(1.0);
        counts.labelled += usize::from(!was_given);
        counts.relabelled += usize::from(is_other);
        if !was_given {
            (after.relabel, after.p) = (Some(label), Some(1.0));
            after.probabilities.clear();
        } else if after == before {
            return None;
        }
    } else if after == before {
        return None;
    }
    Some(edit(Some(after), None))
}

/// The edit that adds `text`, which is unlabelled or was removed, or `corrected`, with its label.
fn added(
    id: usize,
    key: &str,
    corrected: Option<String>,
    text: &str,
    decision: Option<Decision>,
    counts: &mut LabelCounts,
) -> Option<RowEdit> {
    let edit =
        |after, reason| RowEdit { row: id, key: key.to_owned(), before: None, after, reason };
    match decision? {
        Decision::NoneOfThese => {
            counts.dropped += 1;
            Some(edit(None, Some(DropReason::NoneOfThese)))
        }
        Decision::Class(label) => {
            counts.labelled += 1;
            counts.added += 1;
            counts.texts += usize::from(corrected.is_some());
            let after = RowFields {
                text: corrected.unwrap_or_else(|| text.to_owned()),
                major: label.clone(),
                relabel: Some(label),
                p: Some(1.0),
                ..RowFields::default()
            };
            Some(edit(Some(after), None))
        }
    }
}
