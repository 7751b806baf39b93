//! The stage `label`: the teacher scores real texts that nobody labelled. Reads the file that
//! `unlabelled` under `[data]` names, and `relabelled.jsonl`, if it is there; writes
//! `labelled.jsonl`.

use super::{
    Context, Event, Pipeline, PipelineError, Watch, edited, fuse, gold,
    pick::{self, Candidates, Picks, pick},
    relabel::{CUT, relabelled},
    scoring::{ClassShares, Scoring},
};
use crate::{
    dataset::{AugmentedText, PickedText, RelabelledText},
    embed::Embedder,
    relabel::fusion::Reliability,
    run::{RunFolder, names, read_rows_if_any, read_texts},
    task::LabelledText,
    teacher::Teacher,
};

/// The stage in the ledger.
const STAGE: &str = "label";
/// The ledger's count of labelled texts.
const TEXTS: &str = "texts";

impl Pipeline<'_> {
    /// Runs the stage.
    ///
    /// # Errors
    /// A task without unlabelled texts, a file that cannot be read, and whatever stops the teacher
    /// or the disk.
    pub(crate) fn label(
        &mut self,
        teacher: &mut dyn Teacher,
    ) -> Result<Vec<RelabelledText>, PipelineError> {
        let seeds = self.seeds();
        let (run, context, embedder, watch) = self.split(&seeds);
        let embedder = embedder.ok_or(PipelineError::NoEmbedder)?;
        let examples = gold::seeds(context.task, context.settings);
        let written = written(run, &context, &examples)?;
        let known = (&examples[..], &written[..]);
        let found = label_texts(run, &context, known, teacher, embedder, &mut None, &mut *watch)?;
        let mut rows = found.rows;
        // An id names a text in all files of the run.
        let others = read_texts(run.path(), names::AUGMENTED)?.unwrap_or_default();
        let first = others.iter().map(|text| text.id + 1).max().unwrap_or(0);
        rows.iter_mut().for_each(|row| row.augmented.id += first);
        let rows = edited::rows(run, names::LABELLED, rows, context.task);
        run.write_rows(names::LABELLED, &rows)?;
        let mut counts = vec![(TEXTS, rows.len()), ("skipped", found.skipped), (CUT, found.cut)];
        counts.retain(|(name, count)| *name == TEXTS || *count > 0);
        counts.extend(found.picks.counts());
        for (name, count) in found.reliability.iter().flat_map(Reliability::counts) {
            counts.push((name, count));
        }
        let labels = rows.iter().map(|row| (row.augmented.id, row.relabel.clone())).collect();
        run.finish_stage(STAGE, &counts, &[names::LABELLED], labels)?;
        let summary = found.picks.summary();
        let summary = match found.reliability {
            Some(reliability) => format!("{summary}; {}", reliability.summary()),
            None => summary,
        };
        watch(Event::End { summary });
        Ok(rows)
    }
}

/// The texts that the stage `relabel` has labelled, if students are trained on them.
fn written(
    run: &RunFolder,
    context: &Context<'_>,
    examples: &[LabelledText],
) -> Result<Vec<RelabelledText>, PipelineError> {
    let gain = fuse::recorded_gain(run);
    if fuse::unused(gain, context.task, context.settings, examples).is_some() {
        return Ok(Vec::new());
    }
    Ok(read_rows_if_any(run.path(), names::RELABELLED)?)
}

/// The numbers of texts that the stage read and labelled, if it has run.
pub(super) fn recorded(run: &RunFolder) -> Option<(usize, usize)> {
    let counts = run.ledger.counts(STAGE);
    Some((*counts.get(pick::READ)?, *counts.get(TEXTS)?))
}

/// Real texts with the teacher's labels.
pub(crate) struct LabelledReal {
    pub rows: Vec<RelabelledText>,
    pub picks: Picks,
    /// How often the opinions are right that the labels were pooled from, if they were.
    pub reliability: Option<Reliability>,
    /// Texts that got no label.
    pub skipped: usize,
    /// Texts that the teacher did not see to their end.
    pub cut: usize,
    /// Keys of the calls in the ledger.
    pub keys: Vec<String>,
}

/// Picks texts and lets the teacher label them; `examples` and `candidates` as in [`fn@pick`].
/// `written` are texts of the teacher that students are trained on.
///
/// # Errors
/// As [`Pipeline::label`].
pub(crate) fn label_texts(
    run: &mut RunFolder,
    context: &Context<'_>,
    (examples, written): (&[LabelledText], &[RelabelledText]),
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    candidates: &mut Option<Candidates>,
    watch: Watch<'_>,
) -> Result<LabelledReal, PipelineError> {
    if !teacher.scores_any_text() {
        return Err(PipelineError::RecordedTeacher);
    }
    let picks = pick(run, context, examples, embedder, candidates, &mut *watch)?;
    let texts: Vec<String> = picks.texts.iter().map(|text| text.text.clone()).collect();
    let scoring = Scoring { stage: STAGE, context: *context };
    let answers =
        scoring.classify(run, teacher, embedder, (&texts, ClassShares::Unknown), &mut *watch)?;
    let (keys, cut) = (answers.keys, answers.cut.len());
    let mut answers = answers.answers;
    let mut rows: Vec<AugmentedText> = picks.texts.iter().enumerate().map(row).collect();
    let mut open: Vec<&mut AugmentedText> = rows.iter_mut().collect();
    let known = (examples, written);
    let reliability = fuse::pool(context, known, embedder, &mut open, &mut answers)?;
    let total = rows.len();
    let mut rows = relabelled(context.task, rows, answers);
    for row in &mut rows {
        row.augmented.major.clone_from(&row.relabel);
    }
    Ok(LabelledReal { skipped: total - rows.len(), rows, picks, reliability, cut, keys })
}

/// The row of a text whose label is not known yet.
fn row((id, text): (usize, &PickedText)) -> AugmentedText {
    let PickedText { text, line, .. } = text;
    AugmentedText { id, text: text.clone(), unlabelled_line: Some(*line), ..Default::default() }
}
