//! The seeds with the labels that the teacher gives them (`relabel.gold`), as in the published code.
//! They stand in `gold.jsonl`, beside the labels of the task.

use serde::{Deserialize, Serialize};

use super::{PipelineError, Watch, relabel::Scoring, run_seeds};
use crate::{
    config::Settings,
    embed::Embedder,
    run::{RunError, RunFolder},
    task::{LabelledText, Task},
    teacher::Teacher,
    verbosity,
};

/// The seeds with both labels.
pub(crate) const FILE: &str = "gold.jsonl";

/// A row of `gold.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    text: String,
    /// Name of the class that a person gave it.
    major: String,
    /// Name of the class that the teacher gave it.
    relabel: String,
}

/// The seeds of `scoring`'s context, in order, with the teacher's labels, and the names of its calls in
/// the ledger. A seed that the teacher's process did not survive keeps its label.
///
/// # Errors
/// Whatever stops the teacher or the disk.
pub(crate) fn relabelled(
    run: &mut RunFolder,
    scoring: &Scoring<'_>,
    teacher: &mut dyn Teacher,
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<(Vec<LabelledText>, Vec<String>), PipelineError> {
    let seeds = scoring.context.seeds;
    let texts: Vec<String> = seeds.iter().map(|seed| seed.text.clone()).collect();
    let answers = scoring.classify(run, teacher, embedder, &texts, watch)?;
    let labelled = seeds
        .iter()
        .zip(answers.answers)
        .map(|(seed, answer)| LabelledText {
            text: seed.text.clone(),
            label: answer.map_or(seed.label, |answer| answer.class),
        })
        .collect();
    Ok((labelled, answers.keys))
}

/// Writes `gold.jsonl`: the `seeds` as they were and as they are `labelled` now.
///
/// # Errors
/// A disk that does not take it.
pub(crate) fn write(
    run: &RunFolder,
    task: &Task,
    seeds: &[LabelledText],
    labelled: &[LabelledText],
) -> Result<(), PipelineError> {
    let name = |text: &LabelledText| task.classes[text.label].name.clone();
    let row = |(seed, now): (&LabelledText, &LabelledText)| Row {
        text: seed.text.clone(),
        major: name(seed),
        relabel: name(now),
    };
    let rows: Vec<Row> = seeds.iter().zip(labelled).map(row).collect();
    Ok(run.write_rows(FILE, &rows)?)
}

/// The seeds of the run, with the teacher's labels where the settings want them. Texts that were
/// imported with their labels bring none for the seeds: these keep theirs.
///
/// # Errors
/// A missing or damaged `gold.jsonl`.
pub(crate) fn seeds(
    run: &RunFolder,
    task: &Task,
    settings: &Settings,
) -> Result<Vec<LabelledText>, PipelineError> {
    let path = run.path().join(FILE);
    if !settings.relabel.gold || (run.is_imported() && !path.exists()) {
        return Ok(run_seeds(task, settings));
    }
    let rows: Vec<Row> = run.read_rows(FILE, "run the stage `relabel` first")?;
    let seed = |(line, row): (usize, Row)| {
        let class = task.classes.iter().position(|class| class.name == row.relabel);
        let label = class.ok_or_else(|| RunError::Row {
            path: path.clone(),
            line: line + 1,
            message: format!(
                "the label{} is no class of the task",
                verbosity::quoted(&row.relabel)
            ),
        })?;
        Ok(LabelledText { text: row.text, label })
    };
    rows.into_iter().enumerate().map(seed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        dataset::{AugmentedText, RelabelledText},
        embed::fake_embedder::FakeEmbedder,
        pipeline::{relabel, scripted_teacher::ScriptedTeacher},
        run::ledger::Entry,
    };

    #[test]
    fn the_teacher_writes_the_labels_of_texts_and_of_seeds() {
        let folder = tempfile::tempdir().unwrap();
        let mut sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
        sample.task.shots = 1;
        let mut settings = Settings::default();
        (settings.relabel.free_text, settings.relabel.gold) = (true, true);
        let (task, prompts) = (&sample.task, &sample.prompts);
        let mut run = RunFolder::open(folder.path(), task, &settings, prompts).unwrap();
        assert!(seeds(&run, task, &settings).unwrap_err().to_string().contains("gold.jsonl"));
        let row = |text: &str| AugmentedText {
            text: text.to_owned(),
            major: "a".to_owned(),
            ..AugmentedText::default()
        };
        run.write_rows("augmented.jsonl", &[row("one"), row("two")]).unwrap();

        let embedder = FakeEmbedder(vec![("a", 0.0), ("b", 90.0), ("neither", 80.0)]);
        let mut teacher = ScriptedTeacher::new(|request| {
            assert_eq!((request.sampling.temperature, request.cue.as_str()), (0.0, ""));
            let answer = match request.prompt.lines().last() {
                Some("one") => "A.",
                Some("two") => "neither",
                Some("x") => "b",
                Some("y") => "b",
                other => panic!("{other:?}"),
            };
            answer.to_owned()
        });
        let watch: Watch<'_> = &mut |_| {};
        let rows = relabel(&mut run, task, &settings, prompts, &mut teacher, &embedder, watch);
        assert_eq!((teacher.replies, teacher.scores), (4, 0));
        let label = |row: &RelabelledText| (row.relabel.clone(), row.p, row.probabilities.len());
        let found: Vec<_> = rows.unwrap().iter().map(label).collect();
        assert_eq!(found, [("a".to_owned(), 1.0, 0), ("b".to_owned(), 1.0, 0)]);
        let replies = run.ledger.entries().iter().filter_map(|entry| match entry {
            Entry::Reply { ask, .. } => Some(ask.as_str()),
            _ => None,
        });
        assert_eq!(
            replies.collect::<Vec<_>>(),
            ["relabel.0", "relabel.1", "relabel.0", "relabel.1"]
        );

        assert_eq!(seeds(&run, task, &settings).unwrap(), [seed("x", 1), seed("y", 1)]);
        let written = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(written.starts_with(r#"{"text":"x","major":"a","relabel":"b"}"#), "{written}");
        settings.relabel.gold = false;
        assert_eq!(seeds(&run, task, &settings).unwrap(), sample.seeds);
    }
}
