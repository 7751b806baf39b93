//! The teacher's labels of the seeds (`relabel.gold`), as in the published code. They stand in
//! `gold.jsonl`, beside the labels of the task.

use serde::{Deserialize, Serialize};

use super::{
    PipelineError, Watch,
    scoring::{ClassShares, Scoring},
};
use crate::{
    config::{Gold, Settings},
    counted::{agree, counted},
    embed::Embedder,
    run::{RunError, RunFolder, names},
    task::{LabelledText, Task},
    teacher::Teacher,
};

/// A row of `gold.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct GoldRow {
    text: String,
    /// Name of the class that a person gave it.
    major: String,
    /// Name of the class that the teacher gave it.
    relabel: String,
}

/// The seeds that students are trained on, with the labels that people gave them, class by class.
pub(crate) fn seeds(task: &Task, settings: &Settings) -> Vec<LabelledText> {
    match settings.student.gold {
        Gold::All => {
            let mut seeds = task.seeds.clone();
            seeds.sort_by_key(|seed| seed.label);
            seeds
        }
        Gold::Shots => task.draw_seeds(settings.run.seed),
    }
}

/// A sentence if `unused` labelled seeds are not trained on.
pub(crate) fn unused_warning(unused: usize) -> Option<String> {
    let (seeds, are) = (counted(unused, "labelled seed"), agree(unused, "is", "are"));
    (unused > 0).then(|| format!("{seeds} {are} not trained on"))
}

/// What helps if seeds are not trained on.
pub(crate) const UNUSED_HINT: &str = "student.gold = \"all\" trains on all of them";

/// Seeds with the teacher's labels.
pub(crate) struct RelabelledSeeds {
    /// In the order of the seeds. One without an answer keeps its label.
    pub seeds: Vec<LabelledText>,
    /// Keys of the calls in the ledger.
    pub keys: Vec<String>,
    /// How many the teacher did not see to their end.
    pub cut: usize,
}

/// The `seeds` with the teacher's labels.
///
/// # Errors
/// Whatever stops the teacher or the disk.
pub(crate) fn relabelled(
    run: &mut RunFolder,
    scoring: &Scoring<'_>,
    seeds: &[LabelledText],
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<RelabelledSeeds, PipelineError> {
    let texts: Vec<String> = seeds.iter().map(|seed| seed.text.clone()).collect();
    let answers =
        scoring.classify(run, teacher, embedder, (&texts, ClassShares::Unknown), watch)?;
    let labelled = seeds
        .iter()
        .zip(answers.answers)
        .map(|(seed, answer)| LabelledText {
            text: seed.text.clone(),
            label: answer.map_or(seed.label, |answer| answer.class),
        })
        .collect();
    Ok(RelabelledSeeds { seeds: labelled, keys: answers.keys, cut: answers.cut.len() })
}

/// Writes `gold.jsonl`: the `seeds` with their own labels and with those of `labelled`.
///
/// # Errors
/// A failed write.
pub(super) fn write(
    run: &RunFolder,
    task: &Task,
    seeds: &[LabelledText],
    labelled: &[LabelledText],
) -> Result<(), RunError> {
    let name = |text: &LabelledText| task.classes[text.label].name.clone();
    let row = |(seed, now): (&LabelledText, &LabelledText)| GoldRow {
        text: seed.text.clone(),
        major: name(seed),
        relabel: name(now),
    };
    let rows: Vec<GoldRow> = seeds.iter().zip(labelled).map(row).collect();
    run.write_rows(names::GOLD, &rows)
}

/// The seeds of the run, with the teacher's labels if the settings ask for them. Imported texts
/// bring no labels of the seeds, which then keep their own.
///
/// # Errors
/// A missing or damaged `gold.jsonl`.
pub(super) fn read(
    run: &RunFolder,
    task: &Task,
    settings: &Settings,
) -> Result<Vec<LabelledText>, RunError> {
    let path = run.path().join(names::GOLD);
    if !settings.relabel.gold || (run.is_imported() && !path.exists()) {
        return Ok(seeds(task, settings));
    }
    let rows: Vec<GoldRow> = run.read_rows(names::GOLD, "run `relabel` first")?;
    let seed = |(line, row): (usize, GoldRow)| {
        let label = task
            .class_index(&row.relabel)
            .ok_or_else(|| RunError::unknown_label(path.clone(), line + 1, &row.relabel))?;
        Ok(LabelledText { text: row.text, label })
    };
    rows.into_iter().enumerate().map(seed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        config::Labels,
        dataset::{AugmentedText, RelabelledText},
        embed::fake_embedder::FakeEmbedder,
        pipeline::scripted_teacher::{ScriptedTeacher, pipeline},
        run::ledger::Entry,
    };

    #[test]
    fn the_teacher_writes_the_labels_of_texts_and_of_seeds() {
        let folder = tempfile::tempdir().unwrap();
        let mut sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        sample.task.shots = 1;
        let mut settings = Settings::default();
        settings.relabel.labels = Labels::Teacher;
        (settings.relabel.free_text, settings.relabel.gold) = (true, true);
        let task = &sample.task;
        let mut pipeline = pipeline(folder.path(), &sample, &settings, |_| {});
        let missing = read(&pipeline.run, task, &settings).unwrap_err();
        assert!(missing.to_string().contains("gold.jsonl"));
        let row = |text: &str| AugmentedText {
            text: text.to_owned(),
            major: "a".to_owned(),
            ..AugmentedText::default()
        };
        pipeline.run.write_rows(names::AUGMENTED, &[row("one"), row("two")]).unwrap();

        let embedder = FakeEmbedder(vec![("a", 0.0), ("b", 90.0), ("neither", 80.0)]);
        let mut teacher = ScriptedTeacher::new(|request| {
            assert_eq!((request.sampling.temperature, request.cue.as_str()), (0.0, ""));
            let answer = match request.prompt.lines().rev().nth(1) {
                Some("Ticket: one") => "A.",
                Some("Ticket: two") => "neither",
                Some("Ticket: x") => "b",
                Some("Ticket: y") => "b",
                other => panic!("{other:?}"),
            };
            answer.to_owned()
        });
        pipeline.embedder = Some(Box::new(embedder));
        let rows = pipeline.relabel(&mut teacher);
        assert_eq!((teacher.replies, teacher.scores), (4, 0));
        let label = |row: &RelabelledText| (row.relabel.clone(), row.p, row.probabilities.len());
        let found: Vec<_> = rows.unwrap().iter().map(label).collect();
        assert_eq!(found, [("a".to_owned(), 1.0, 0), ("b".to_owned(), 1.0, 0)]);
        let replies = pipeline.run.ledger.entries().iter().filter_map(|entry| match entry {
            Entry::Reply { ask, .. } => Some(ask.as_str()),
            _ => None,
        });
        assert_eq!(
            replies.collect::<Vec<_>>(),
            ["relabel.0", "relabel.1", "relabel.0", "relabel.1"]
        );

        assert_eq!(read(&pipeline.run, task, &settings).unwrap(), [seed("x", 1), seed("y", 1)]);
        let written = std::fs::read_to_string(folder.path().join(names::GOLD)).unwrap();
        assert!(written.starts_with(r#"{"text":"x","major":"a","relabel":"b"}"#), "{written}");
        settings.relabel.gold = false;
        assert_eq!(read(&pipeline.run, task, &settings).unwrap(), sample.seeds);
    }
}
