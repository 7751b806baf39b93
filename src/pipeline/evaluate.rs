//! The stage `eval`: scores the students' predictions, lets the teacher classify the test set itself,
//! and writes `report.json` and `report.html`. What the report's sections hold is computed in
//! `sections`, and gathered in `assembly`.

use std::collections::BTreeMap;

use super::{Context, Event, PipelineError, Watch, relabel::Scoring, run_seeds};
use crate::{
    audit::{self, ReferenceTexts},
    config::Settings,
    dataset::{RelabelledText, TrainedStudent, Variant},
    embed::Embedder,
    prompt::Prompts,
    report::{
        self, Report,
        build::{Findings, ReportBuilder, VariantPredictions, sections},
    },
    run::{RunFolder, ledger::Entry, read_json, read_texts},
    task::Task,
    teacher::Teacher,
};

/// Runs the stage. Without a `teacher` that can score any text its own row is left out.
///
/// # Errors
/// Students that were not trained yet, and whatever stops the teacher or the disk.
#[expect(clippy::too_many_arguments, reason = "the stage joins all parts of the road")]
pub(crate) fn evaluate(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    prompts: &Prompts,
    teacher: Option<&mut dyn Teacher>,
    embedder: &dyn Embedder,
    student_name: &str,
    watch: Watch<'_>,
) -> Result<Report, PipelineError> {
    let trained: Vec<TrainedStudent> = read_json(&run.path().join("predictions.json"))?;
    let mut table = students(&trained);
    let eight_bits = eight_bits(&trained, task);
    let identity = teacher.as_ref().map(|teacher| teacher.identity().clone());
    let teacher = teacher.filter(|teacher| teacher.scores_any_text());
    if identity.is_some() && teacher.is_none() {
        watch(Event::Warning(
            "the teacher labels its own texts only: its row is left out".to_owned(),
        ));
    }
    let seeds = run_seeds(task, settings);
    if let Some(teacher) = teacher.filter(|_| !task.test.is_empty()) {
        let texts: Vec<String> = task.test.iter().map(|item| item.text.clone()).collect();
        let context = Context { task, seeds: &seeds, settings, prompts, seed: settings.run.seed };
        let scoring = Scoring { stage: "test", context };
        let answers = scoring.classify(run, teacher, embedder, &texts, &mut *watch)?.answers;
        watch(Event::End {
            summary: format!("{} test {} classified by the teacher", texts.len(), task.items),
        });
        let (predicted, confidence) = sections::teacher_predictions(task, &answers);
        table.push(VariantPredictions {
            row: Variant::Teacher,
            predicted: vec![predicted],
            confidence: vec![confidence],
            train_rows: 0,
        });
    }
    let student = report::Student { name: student_name.to_owned(), eight_bits };
    let kept: Vec<RelabelledText> = run.read_rows("train.jsonl", "run the stage `filter` first")?;
    let relabelled: Vec<RelabelledText> =
        run.read_rows("relabelled.jsonl", "run the stage `relabel` first")?;
    let funnel = funnel(run, relabelled.len());
    let findings = Findings { variants: &table, relabelled: &relabelled, kept: &kept, funnel };
    let builder = ReportBuilder { run, task, settings, prompts, seeds: &seeds, embedder };
    let mut report = builder.build(&findings, identity.as_ref(), student)?;
    let privacy = privacy(run, task, settings, embedder)?;
    report.warnings.extend(other_texts(run)?);
    report.warnings.extend(privacy.warning());
    report.privacy = Some(privacy);
    report.write(run.path())?;
    // The report tells times, so that its bytes are of this moment alone.
    run.finish_stage("eval", &[("rows", report.results.len())], &[], Vec::new())?;
    Ok(report)
}

/// What the texts that are trained on give away; as `promptmix audit` has it, but near to seeds alone.
fn privacy(
    run: &RunFolder,
    task: &Task,
    settings: &Settings,
    embedder: &dyn Embedder,
) -> Result<audit::Privacy, PipelineError> {
    let customer = ReferenceTexts::of(task);
    let kept = read_texts(run.path(), TRAIN)?.unwrap_or_default();
    let text = |row| audit::Text::of(TRAIN, row);
    let texts: Vec<audit::Text<'_>> = kept.iter().map(text).collect();
    let privacy = audit::look(&texts, &customer, &settings.audit.scanner()?, false);
    let nearest = audit::nearest(&texts, &customer, false, embedder)?;
    // What was done, not what is set: the prompt_context may be younger than the file.
    let redacted = kept.iter().any(|row| row.redacted > 0);
    Ok(audit::Privacy { nearest, redacted, ..privacy })
}

/// The file of texts that students are trained on.
const TRAIN: &str = "train.jsonl";

/// A warning where the students were trained on another file than the one that is there now.
fn other_texts(run: &RunFolder) -> Result<Option<String>, PipelineError> {
    let trained = run.ledger.entries().iter().rev().find_map(|entry| match entry {
        Entry::Stage { stage, files, .. } if stage == "train" => Some(files.get(TRAIN)),
        _ => None,
    });
    let Some(trained) = trained.flatten() else { return Ok(None) };
    Ok((run.hash(TRAIN)? != *trained).then(|| {
        format!(
            "the students were trained on another train.jsonl than the one that is there now, and that this report describes; `promptmix train {}` trains them on it",
            run.path().display()
        )
    }))
}

/// The students' rows.
fn students(trained: &[TrainedStudent]) -> Vec<VariantPredictions> {
    let mut by_row: BTreeMap<Variant, Vec<&TrainedStudent>> = BTreeMap::new();
    for row in trained.iter().filter(|row| !row.predictions.predicted.is_empty()) {
        by_row.entry(row.row).or_default().push(row);
    }
    let arm = |(row, students): (Variant, Vec<&TrainedStudent>)| VariantPredictions {
        row,
        predicted: students.iter().map(|student| student.predictions.predicted.clone()).collect(),
        confidence: students.iter().map(|student| student.predictions.confidence.clone()).collect(),
        train_rows: students[0].train_rows,
    };
    by_row.into_iter().map(arm).collect()
}

/// What 8 bits cost the student that is kept, on the test set.
fn eight_bits(trained: &[TrainedStudent], task: &Task) -> Option<report::EightBits> {
    let (exact, fast) = trained
        .iter()
        .find_map(|row| Some((&row.predictions.predicted, row.predictions.fast.as_ref()?)))?;
    let share = |right: usize| right as f64 / task.test.len().max(1) as f64;
    let right = |said: &[usize]| {
        share(said.iter().zip(&task.test).filter(|(said, item)| **said == item.label).count())
    };
    Some(report::EightBits {
        accuracy_f32: right(exact),
        accuracy: right(fast),
        same_class: share(exact.iter().zip(fast).filter(|(a, b)| a == b).count()),
    })
}

/// The counts that `stage` ended with last.
fn counts(run: &RunFolder, stage: &str) -> BTreeMap<String, usize> {
    let mut found = run.ledger.entries().iter().rev().filter_map(|entry| match entry {
        Entry::Stage { stage: other, counts, .. } if other == stage => Some(counts.clone()),
        _ => None,
    });
    found.next().unwrap_or_default()
}

/// What the stages counted, from the texts asked for to those trained on.
fn funnel(run: &RunFolder, relabelled: usize) -> report::Funnel {
    let generated = counts(run, "generate");
    let imported = counts(run, "import").get("texts").copied();
    let count = |name: &str| generated.get(name).copied().or(imported).unwrap_or(0) as u64;
    let mut filtered = counts(run, "filter");
    let kept = filtered.remove("kept").unwrap_or(0) as u64;
    let mut dropped: BTreeMap<String, u64> =
        filtered.into_iter().map(|(reason, count)| (reason, count as u64)).collect();
    let skipped = counts(run, "relabel").get("skipped").copied().unwrap_or(0) as u64;
    let surplus = count("unique").saturating_sub(relabelled as u64 + skipped);
    let extra = [("more than asked for", surplus), ("not answered", skipped)];
    dropped.extend(extra.into_iter().filter(|(_, n)| *n > 0).map(|(why, n)| (why.to_owned(), n)));
    report::Funnel {
        asked: count("asked"),
        parsed: count("parsed"),
        unique: count("unique"),
        relabelled: relabelled as u64,
        kept,
        dropped,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::augment::sample::{Sample, seed};

    #[test]
    fn texts_that_were_not_trained_on_are_told() {
        let sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let mut run =
            RunFolder::open(folder.path(), &sample.task, &settings, &sample.prompts).unwrap();
        let write = |text: &str| fs::write(folder.path().join(TRAIN), text).unwrap();
        write("one");
        assert_eq!(other_texts(&run).unwrap(), None, "nothing is known of a training");
        run.finish_stage("train", &[("students", 1)], &[TRAIN], Vec::new()).unwrap();
        assert_eq!(other_texts(&run).unwrap(), None);
        write("another");
        assert!(other_texts(&run).unwrap().unwrap().contains("another train.jsonl"));
    }
}
