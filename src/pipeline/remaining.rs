//! What is left to do of a run: the calls that its ledger does not have. Reads the folder and
//! changes nothing.

use std::{collections::HashSet, path::Path};

use super::{
    Context, PipelineError,
    generate::rounds,
    gold,
    grow::{self, PreviousRun, Replies, RunInput},
    kept,
    scoring::Scoring,
    texts::{Piles, call},
};
use crate::{
    augment::{Material, PromptContext, PromptRequest, mixup::Mixup, paper::PendingText},
    dataset::{AugmentedText, TextRow},
    embed::Embedder,
    run::{
        KeptTexts, PendingChange, RunError, edits::Edits, is_imported, kept_texts, ledger::Entry,
        names, present_task, read_ledger, read_rows,
    },
    task::LabelledText,
    teacher::{Teacher, TeacherIdentity},
};

/// What a run in a folder has left to do.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Remaining {
    /// What changed in the task, what is kept and what is redone, in words.
    pub lines: Vec<String>,
    pub warnings: Vec<(String, String)>,
    /// Requests for new texts of the next round.
    pub requests: usize,
    /// Texts that are to be written.
    pub texts: usize,
    /// Labels of texts, real ones too, and of seeds that are to be asked.
    pub labels: usize,
    /// Labels of the test set that are to be asked.
    pub test_labels: usize,
}

/// The few-shot subset as prompts show it, which may be less than the task has.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// In requests for texts.
    pub requests: &'a [LabelledText],
    /// In questions about labels.
    pub questions: &'a [LabelledText],
}

/// What the run in `folder` has left to do with the task of `input` and `teacher`. `embedder` as in
/// [`Scoring::keys`]; `material` as for generation.
///
/// # Errors
/// A folder that is no run or of another task, a damaged file.
pub(crate) fn remaining(
    folder: &Path,
    input: RunInput<'_>,
    shown: Shown<'_>,
    teacher: &mut dyn Teacher,
    material: &Material,
    embedder: Option<&dyn Embedder>,
) -> Result<Remaining, PipelineError> {
    if folder.join(names::COMPARISON).exists() {
        return Err(RunError::Comparison { path: folder.to_owned() }.into());
    }
    let identity = teacher.identity().clone();
    let entries = read_ledger(folder, "this is not a run folder")?;
    let before = present_task(folder, &entries)?;
    let pending = PendingChange::between(folder, before, input.task)?;
    let previous =
        pending.as_ref().map(|pending| PreviousRun { folder, entries: &entries, pending });
    let plan = previous.map(|previous| grow::plan_change(previous, input)).transpose()?;
    let kept = plan.as_ref().and_then(|plan| plan.changed.texts.as_ref());
    let kept = kept.or_else(|| kept_texts(&entries));
    let kept = kept.and_then(|texts| kept::usable(texts, input.settings, input.prompts, &identity));

    let RunInput { task, settings, .. } = input;
    let known = keys(&entries);
    let texts = match is_imported(&entries) {
        true => Texts {
            known: read_rows(folder, names::AUGMENTED, "import the texts again")?,
            ..Texts::default()
        },
        false => {
            texts(&input.context(shown.requests), material, kept.as_ref(), &identity, &entries)?
        }
    };
    let mut unknown = |stage, texts: &[String]| -> Result<usize, PipelineError> {
        let context = input.context(shown.questions);
        let keys = Scoring { stage, context }.keys(texts, &mut *teacher, embedder)?;
        let keys: HashSet<String> = keys.into_iter().collect();
        Ok(keys.iter().filter(|key| !known.contains(key.as_str())).count())
    };
    let rows: Vec<TextRow> = texts.known.into_iter().map(TextRow::from).collect();
    let is_class = |name: &str| task.class_index(name).is_some();
    let (rows, _) = Edits::of(&entries).apply(names::AUGMENTED, rows, Vec::new(), &is_class);
    let asked = rows.iter().filter(|row| row.augmented.given.is_none());
    let mut bare: Vec<String> = asked.map(|row| row.augmented.text.clone()).collect();
    if settings.relabel.gold {
        bare.extend(gold::seeds(task, settings).iter().map(|seed| seed.text.clone()));
    }
    let test: Vec<String> = task.test.iter().map(|item| item.text.clone()).collect();
    let real = match (&task.unlabelled, picked(&entries)) {
        (None, _) => 0,
        (Some(_), Some(texts)) => unknown("label", &texts)?,
        (Some(_), None) => settings.label.budget,
    };
    let (lines, warnings) = plan.map(|plan| (plan.lines, plan.warnings)).unwrap_or_default();
    Ok(Remaining {
        lines,
        warnings,
        requests: texts.requests,
        texts: texts.missing,
        labels: unknown("relabel", &bare)? + texts.missing + real,
        test_labels: unknown("test", &test)?,
    })
}

/// The unlabelled texts that were picked last.
fn picked(entries: &[Entry]) -> Option<Vec<String>> {
    entries.iter().rev().find_map(|entry| match entry {
        Entry::Picked { texts, .. } => Some(texts.iter().map(|text| text.text.clone()).collect()),
        _ => None,
    })
}

/// The keys of all calls in a ledger.
fn keys(entries: &[Entry]) -> HashSet<&str> {
    entries.iter().filter_map(Entry::key).collect()
}

/// The texts of a run.
#[derive(Default)]
struct Texts {
    known: Vec<AugmentedText>,
    /// Requests of the first round that the ledger does not have in full.
    requests: usize,
    missing: usize,
}

/// The texts that generation finds in the ledger, and what it has to ask for.
fn texts(
    context: &Context<'_>,
    material: &Material,
    kept: Option<&KeptTexts>,
    teacher: &TeacherIdentity,
    entries: &[Entry],
) -> Result<Texts, PipelineError> {
    let (prompts, known) = (context.for_prompts(material), keys(entries));
    let lacking = |requests: &[PromptRequest]| {
        let keys = requests.iter().map(|request| call(&prompts, request).key(teacher));
        keys.filter(|key| !known.contains(key.as_str())).collect::<HashSet<_>>().len()
    };
    if context.settings.augment.unique_per_text > 0 {
        return paper_texts(context, &prompts, kept, &lacking);
    }
    let replies = Replies::of(entries);
    let mut requests = 0;
    let rounds = rounds(context, &Mixup, material, kept, &teacher.sha256, &mut |asked| {
        // What a later round asks depends on these answers.
        if requests > 0 {
            return Ok(Vec::new());
        }
        requests = lacking(asked);
        Ok(replies.parsed(&prompts, &Mixup, asked, teacher))
    })?;
    let missing = if requests > 0 { rounds.piles.missing().iter().sum() } else { 0 };
    Ok(Texts { known: rounds.piles.wanted_rows(), requests, missing })
}

/// As [`texts`], for a run that asks as the published code does: only its first requests are known
/// beforehand.
fn paper_texts(
    context: &Context<'_>,
    prompts: &PromptContext<'_>,
    kept: Option<&KeptTexts>,
    lacking: &dyn Fn(&[PromptRequest]) -> usize,
) -> Result<Texts, PipelineError> {
    let piles = Piles::new(context.task, context.settings.augment.per_class, false, kept);
    let first = kept.map_or(0, |kept| kept.next_id);
    let mut asked = Vec::new();
    for mut text in PendingText::all(prompts, &piles.missing(), first) {
        asked.extend(text.next_requests(prompts)?);
    }
    let requests = lacking(&asked);
    let missing = if requests > 0 { piles.missing().iter().sum() } else { 0 };
    Ok(Texts { known: piles.wanted_rows(), requests, missing })
}
