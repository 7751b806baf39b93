//! The stage `eval`: scores the students' predictions, lets the teacher classify the test set
//! itself, and writes `report.json` and `report.html`. [`crate::report::build`] computes what the
//! report holds.

use std::collections::BTreeMap;

use super::{
    Context, Event, Pipeline, PipelineError, filter, fuse, gold, label, length, relabel,
    scoring::{ClassShares, Scoring, cut_texts},
    screen, student_name, teacher_check, train,
};
use crate::{
    audit::{self, ReferenceTexts},
    config::Settings,
    counted::agree,
    dataset::{RelabelledText, TrainedStudent, Variant},
    embed::Embedder,
    report::{
        self, Report, TextLength,
        build::{Findings, ReportBuilder, VariantPredictions, classes, sections},
    },
    run::{RunFolder, ledger::Entry, names, read_json, read_texts},
    task::Task,
    teacher::Teacher,
};

impl Pipeline<'_> {
    /// Runs the stage. Without a `teacher` that can score any text, its own row is left out.
    ///
    /// # Errors
    /// Students that are not trained yet, or on other texts than there are now; and whatever stops
    /// the teacher or the disk.
    pub(crate) fn evaluate(
        &mut self,
        teacher: Option<&mut dyn Teacher>,
    ) -> Result<Report, PipelineError> {
        let seeds = self.seeds();
        let (run, context, embedder, watch) = self.split(&seeds);
        let embedder = embedder.ok_or(PipelineError::NoEmbedder)?;
        let Context { task, settings, prompts, .. } = context;
        run.check_current(&["train"], names::PREDICTIONS)?;
        let trained: Vec<TrainedStudent> =
            read_json(&run.path().join(names::PREDICTIONS), "run `train` first")?;
        check_age(run)?;
        let mut table = students(&trained);
        let eight_bits = eight_bits(&trained, task);
        let identity = teacher.as_ref().map(|teacher| teacher.identity().clone());
        let teacher = teacher.filter(|teacher| teacher.scores_any_text());
        if identity.is_some() && teacher.is_none() {
            watch(Event::warning("the teacher labels its own texts only: its row is left out"));
        }
        let mut cut = None;
        if let Some(teacher) = teacher.filter(|_| !task.test.is_empty()) {
            let texts: Vec<String> = task.test.iter().map(|item| item.text.clone()).collect();
            let scoring = Scoring { stage: "test", context };
            let answers = scoring.classify(
                run,
                teacher,
                embedder,
                (&texts, ClassShares::Unknown),
                &mut *watch,
            )?;
            cut = scoring.cut_warning(&answers.cut);
            let item = agree(texts.len(), &task.item, &task.items);
            let summary = format!("{} test {item} classified by the teacher", texts.len());
            watch(Event::End { summary });
            let (predicted, confidence) = sections::teacher_predictions(task, &answers.answers);
            table.push(VariantPredictions {
                row: Variant::Teacher,
                predicted: vec![predicted],
                confidence: vec![confidence],
                train_rows: 0,
            });
        }
        let student = report::Student { name: student_name(settings), eight_bits };
        let all: Vec<RelabelledText> = run.read_rows(names::TRAIN, "run `filter` first")?;
        let (real, kept): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|row| row.augmented.is_unlabelled());
        let relabelled: Vec<RelabelledText> =
            run.read_rows(names::RELABELLED, "run `relabel` first")?;
        let funnel = funnel(run, relabelled.len(), kept.len());
        let check = match run.is_imported() {
            true => None,
            false => report::TeacherCheck::of_counts(&run.ledger.counts(teacher_check::STAGE)),
        };
        let findings =
            Findings { variants: &table, relabelled: &relabelled, kept: &kept, funnel, check };
        let builder = ReportBuilder { run, task, settings, prompts, seeds: &seeds, embedder };
        let mut report = builder.build(&findings, identity.as_ref(), student)?;
        for warning in classes::without_texts(task, &all) {
            watch(Event::warning(warning));
        }
        let privacy = privacy(run, task, settings, embedder)?;
        report.warnings.extend(unused_edits(run));
        report.warnings.extend(embedder.unfamiliar(&task.texts())?);
        report.warnings.extend(privacy.warning());
        let (labelled, trained) = (run.ledger.counts("relabel"), run.ledger.counts("train"));
        report.warnings.extend(labelled.get(relabel::CUT).and_then(|count| cut_texts(*count)));
        report.warnings.extend(cut);
        let gold = gold::seeds(task, settings);
        let unused = fuse::unused(fuse::recorded_gain(run), task, settings, &gold);
        report.warnings.extend(unused.map(|gain| fuse::unused_warning(gain, task, &gold)));
        let unused = trained.get(train::UNUSED_SEEDS);
        report.warnings.extend(unused.and_then(|count| gold::unused_warning(*count)));
        report.text_length = length::recorded(&trained);
        report.warnings.extend(report.text_length.as_ref().and_then(TextLength::warning));
        report.privacy = Some(privacy);
        report.unlabelled = unlabelled(run, real.len());
        report.write(run.path())?;
        let files = [report::JSON_FILE, report::HTML_FILE];
        run.finish_stage("eval", &[("rows", report.results.len())], &files, Vec::new())?;
        Ok(report)
    }
}

/// What the training texts reveal, as `promptmix audit` reports it; the nearest texts are searched
/// among the seeds alone.
fn privacy(
    run: &RunFolder,
    task: &Task,
    settings: &Settings,
    embedder: &dyn Embedder,
) -> Result<audit::Privacy, PipelineError> {
    let references = ReferenceTexts::of(task);
    let kept = read_texts(run.path(), names::TRAIN)?.unwrap_or_default();
    let text = |row| audit::Text::of(names::TRAIN, row);
    let texts: Vec<audit::Text<'_>> = kept.iter().map(text).collect();
    let privacy = audit::scan(&texts, &references, &settings.audit.scanner()?, false);
    let nearest = audit::nearest(&texts, &references, false, embedder)?;
    // What was done, not what is set: the setting may have changed since.
    let redacted = kept.iter().any(|row| row.redacted > 0);
    Ok(audit::Privacy { nearest, redacted, ..privacy })
}

/// Checks that the students were trained on the `train.jsonl` that is there now: the report
/// describes both.
///
/// # Errors
/// [`PipelineError::OldStudents`].
fn check_age(run: &RunFolder) -> Result<(), PipelineError> {
    let trained = run.ledger.entries().iter().rev().find_map(|entry| match entry {
        Entry::Stage { stage, files, .. } if stage == "train" => Some(files.get(names::TRAIN)),
        _ => None,
    });
    match trained.flatten() {
        Some(trained) if run.hash(names::TRAIN)? != *trained => {
            Err(PipelineError::OldStudents { run: run.path().to_owned() })
        }
        _ => Ok(()),
    }
}

/// Warnings about edits by hand that the stage after them has not seen.
fn unused_edits(run: &RunFolder) -> Vec<String> {
    let entries = run.ledger.entries();
    let last = |is: &dyn Fn(&Entry) -> bool| entries.iter().rposition(is);
    let stages =
        [(names::AUGMENTED, "relabel"), (names::RELABELLED, "filter"), (names::LABELLED, "filter")];
    let warning = |(name, next): (&str, &str)| {
        let edited = last(&|entry| matches!(entry, Entry::Edit { file, .. } if file == name))?;
        let used = last(&|entry| matches!(entry, Entry::Stage { stage, .. } if stage == next));
        (used < Some(edited)).then(|| {
            format!(
                "{name} was edited by hand after the stage `{next}`; `promptmix {next} {}` and the stages after it use the edits",
                run.path().display()
            )
        })
    };
    stages.into_iter().filter_map(warning).collect()
}

/// The predictions of the students, by variant.
fn students(trained: &[TrainedStudent]) -> Vec<VariantPredictions> {
    let mut by_row: BTreeMap<Variant, Vec<&TrainedStudent>> = BTreeMap::new();
    for row in trained.iter().filter(|row| !row.predictions.predicted.is_empty()) {
        by_row.entry(row.row).or_default().push(row);
    }
    let variant = |(row, students): (Variant, Vec<&TrainedStudent>)| VariantPredictions {
        row,
        predicted: students.iter().map(|student| student.predictions.predicted.clone()).collect(),
        confidence: students.iter().map(|student| student.predictions.confidence.clone()).collect(),
        train_rows: students[0].train_rows,
    };
    by_row.into_iter().map(variant).collect()
}

/// The accuracy that 8 bits cost the student that is kept, on the test set.
fn eight_bits(trained: &[TrainedStudent], task: &Task) -> Option<report::EightBits> {
    let (exact, fast) = trained
        .iter()
        .find_map(|row| Some((&row.predictions.predicted, row.predictions.fast.as_ref()?)))?;
    let share = |right: usize| right as f64 / task.test.len().max(1) as f64;
    let right = |predicted: &[usize]| {
        share(
            predicted.iter().zip(&task.test).filter(|(class, item)| **class == item.label).count(),
        )
    };
    Some(report::EightBits {
        accuracy_f32: right(exact),
        accuracy: right(fast),
        same_class: share(exact.iter().zip(fast).filter(|(a, b)| a == b).count()),
    })
}

/// The numbers of real texts, of which so many are `kept`.
fn unlabelled(run: &RunFolder, kept: usize) -> Option<report::Unlabelled> {
    let (read, labelled) = label::recorded(run)?;
    let [read, labelled, kept] = [read, labelled, kept].map(|count| count as u64);
    Some(report::Unlabelled { read, labelled, kept })
}

/// The numbers of texts from those asked for to those trained on.
fn funnel(run: &RunFolder, relabelled: usize, kept: usize) -> report::Funnel {
    let generated = run.ledger.counts("generate");
    let imported = run.ledger.counts("import").get("texts").copied();
    let count = |name: &str| generated.get(name).copied().or(imported).unwrap_or(0) as u64;
    let mut filtered = run.ledger.counts("filter");
    filtered
        .retain(|name, _| !["kept", filter::REAL_KEPT, filter::REAL_DROPPED].contains(&&**name));
    let mut dropped: BTreeMap<String, u64> =
        filtered.into_iter().map(|(reason, count)| (reason, count as u64)).collect();
    let skipped = run.ledger.counts("relabel").get("skipped").copied().unwrap_or(0) as u64;
    let edits = run.edits();
    let hand = |file: &str| edits.tally_of(file);
    let (before, after) = (hand(names::AUGMENTED), hand(names::RELABELLED));
    let added = (before.added + after.added) as u64;
    let removed = (before.removed + after.removed) as u64;
    let surplus = (count("unique") + added).saturating_sub(relabelled as u64 + skipped + removed);
    // Those that a person gave a reason for are among what the filter dropped.
    let rules = edits.rules(names::TRAIN).iter();
    let unexplained = rules.filter(|rule| rule.after.is_none() && rule.reason.is_none()).count();
    let removed = removed + unexplained as u64;
    let extra =
        [("more than asked for", surplus), ("not answered", skipped), ("removed by hand", removed)];
    dropped.extend(extra.into_iter().filter(|(_, n)| *n > 0).map(|(why, n)| (why.to_owned(), n)));
    let junk = generated.iter().filter_map(|(name, count)| {
        Some((name.strip_prefix(screen::COUNTED)?.to_owned(), *count as u64))
    });
    report::Funnel {
        asked: count("asked"),
        parsed: count("parsed"),
        junk: junk.collect(),
        cleaned: count("cleaned"),
        unique: count("unique"),
        relabelled: relabelled as u64,
        kept: kept as u64,
        dropped,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        hint::Hint,
    };

    #[test]
    fn students_of_another_training_file_are_not_evaluated() {
        let sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let mut run =
            RunFolder::open(folder.path(), &sample.task, &settings, &sample.prompts).unwrap();
        let write = |text: &str| fs::write(folder.path().join(names::TRAIN), text).unwrap();
        write("one");
        assert!(check_age(&run).is_ok(), "nothing is known of a training");
        run.finish_stage("train", &[("students", 1)], &[names::TRAIN], Vec::new()).unwrap();
        assert!(check_age(&run).is_ok());
        write("another");
        let error = check_age(&run).unwrap_err();
        assert!(error.to_string().contains("another train.jsonl"), "{error}");
        assert!(error.hint().unwrap().contains("promptmix train "), "{:?}", error.hint());
        write("one");
        assert!(check_age(&run).is_ok());
    }
}
