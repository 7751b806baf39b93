//! The stage `relabel`: the teacher scores every new text. Reads `augmented.jsonl`, writes
//! `relabelled.jsonl`.

use super::{
    Event, Pipeline, PipelineError, edited,
    fuse::{self, Fusion},
    gold,
    scoring::{ClassShares, Scoring, asked_classes},
};
use crate::{
    counted::{counted, part},
    dataset::{AugmentedText, RelabelledText},
    relabel::Answer,
    report::fitness,
    run::names,
    task::Task,
    teacher::Teacher,
};

/// The ledger's count of texts that the teacher did not see to their end.
pub(super) const CUT: &str = "cut";

impl Pipeline<'_> {
    /// Runs the stage.
    ///
    /// # Errors
    /// A missing or damaged `augmented.jsonl`, and whatever stops the teacher or the disk.
    pub(crate) fn relabel(
        &mut self,
        teacher: &mut dyn Teacher,
    ) -> Result<Vec<RelabelledText>, PipelineError> {
        let seeds = self.seeds();
        let (run, context, embedder, watch) = self.split(&seeds);
        let embedder = embedder.ok_or(PipelineError::NoEmbedder)?;
        run.check_current(&["generate", "import"], names::AUGMENTED)?;
        let mut rows: Vec<AugmentedText> =
            run.read_rows(names::AUGMENTED, "run `generate` first, or `import` texts")?;
        let open = rows.iter().filter(|row| row.given.is_none());
        let texts: Vec<String> = open.clone().map(|row| row.text.clone()).collect();
        let asked = asked_classes(context.task, open);
        let (relabel, imported) = (&context.settings.relabel, run.is_imported());
        let shares = ClassShares::of_new_texts(relabel, &asked, imported);
        let judged = match texts.is_empty() {
            true => Vec::new(),
            false => fuse::judged_examples(run, &context, teacher, embedder, &mut *watch)?,
        };
        let scoring = Scoring { stage: "relabel", context };
        let answers = scoring.classify(run, teacher, embedder, (&texts, shares), &mut *watch)?;
        let (mut answers, mut cut) = (answers.answers, answers.cut.len());
        let mut open: Vec<&mut AugmentedText> =
            rows.iter_mut().filter(|row| row.given.is_none()).collect();
        let gold = gold::seeds(context.task, context.settings);
        let fusion = fuse::fuse(&context, &gold, embedder, &judged, &mut open, &mut answers)?;
        let mut files = vec![names::RELABELLED];
        if context.settings.relabel.gold {
            let labelled = gold::relabelled(run, &scoring, &gold, teacher, embedder, &mut *watch)?;
            gold::write(run, context.task, &gold, &labelled.seeds)?;
            cut += labelled.cut;
            files.push(names::GOLD);
        }
        let (total, given) = (rows.len(), rows.len() - texts.len());
        let rows = with_given(context.task, rows, answers);
        let skipped = total - rows.len();
        let rows = edited::rows(run, names::RELABELLED, rows, context.task);
        run.write_rows(names::RELABELLED, &rows)?;
        let changed = rows.iter().filter(|row| row.relabel != row.augmented.major).count();
        let mut counts = vec![("texts", rows.len()), ("changed", changed)];
        counts
            .extend([("skipped", skipped), (CUT, cut)].into_iter().filter(|(_, count)| *count > 0));
        counts.extend(fusion.iter().flat_map(Fusion::counts));
        let labels = rows.iter().map(|row| (row.augmented.id, row.relabel.clone()));
        run.finish_stage("relabel", &counts, &files, labels.collect())?;
        if let Some(message) = fitness::relabel_warning(changed as u64, rows.len() as u64) {
            watch(Event::Warning { message, hint: Some(fitness::HINT.to_owned()) });
        }
        let share = 100.0 * changed as f64 / rows.len().max(1) as f64;
        let kept = if given > 0 {
            format!("; {} kept", counted(given, "given label"))
        } else {
            String::new()
        };
        let fused = fusion.map_or_else(String::new, |of| format!("; {}", of.reliability.summary()));
        let changed = part(changed, rows.len(), "label");
        watch(Event::End { summary: format!("{changed} changed ({share:.1} %){kept}{fused}") });
        Ok(rows)
    }
}

/// As [`relabelled`], with `answers` for the rows without a given label; the others keep theirs.
fn with_given(
    task: &Task,
    rows: Vec<AugmentedText>,
    answers: Vec<Option<Answer>>,
) -> Vec<RelabelledText> {
    let (given, open): (Vec<_>, Vec<_>) =
        rows.into_iter().enumerate().partition(|(_, row)| row.given.is_some());
    let (places, open): (Vec<usize>, Vec<AugmentedText>) = open.into_iter().unzip();
    let mut placed = Vec::with_capacity(given.len() + open.len());
    // Row by row, since a text without an answer is left out.
    for ((place, row), answer) in places.into_iter().zip(open).zip(answers) {
        let rows = relabelled(task, vec![row], vec![answer]);
        placed.extend(rows.into_iter().map(|row| (place, row)));
    }
    let keep = |(place, row)| Some((place, RelabelledText::of_given(row)?));
    placed.extend(given.into_iter().filter_map(keep));
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, row)| row).collect()
}

/// `rows` with the labels that `answers` give them, one for each row in order. A text without an
/// answer is left out; the ledger names it.
pub(crate) fn relabelled(
    task: &Task,
    rows: Vec<AugmentedText>,
    answers: Vec<Option<Answer>>,
) -> Vec<RelabelledText> {
    let name = |class: usize| task.classes[class].name.clone();
    let relabelled = |(augmented, answer): (AugmentedText, Option<Answer>)| {
        let answer = answer?;
        let p = answer.confidence().unwrap_or(1.0);
        let probabilities = answer.probabilities.into_iter().map(|(class, p)| (name(class), p));
        let relabel = name(answer.class);
        Some(RelabelledText { augmented, relabel, p, probabilities: probabilities.collect() })
    };
    rows.into_iter().zip(answers).filter_map(relabelled).collect()
}
