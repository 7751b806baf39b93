//! The stage `eval`: scores the students' predictions, lets the teacher classify the test set itself,
//! and writes `report.json` and `report.html`. What the report's sections hold is computed in
//! `sections`; here they are gathered.

use std::collections::BTreeMap;

use super::{
    Event, RunError, RunFolder, Scene, TrainedRow, Watch, ledger::Entry, read_json,
    relabelling::Scoring, run_seeds, sections,
};
use crate::{
    config::Settings,
    embed::Embedder,
    eval::{accuracy_interval, against, macro_f1_interval},
    prompt::Prompts,
    relabel::RelabelledText,
    report::{self, Report, Row},
    task::{LabelledText, Task},
    teacher::{Teacher, TeacherIdentity},
};

/// Runs the stage. Without a `teacher` that can score any text its own row is left out.
///
/// # Errors
/// Students that were not trained yet, and whatever stops the teacher or the disk.
#[expect(clippy::too_many_arguments, reason = "the stage joins all parts of the road")]
pub fn evaluate(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    prompts: &Prompts,
    teacher: Option<&mut dyn Teacher>,
    embedder: &dyn Embedder,
    student_name: &str,
    watch: Watch<'_>,
) -> Result<Report, RunError> {
    let trained: Vec<TrainedRow> = read_json(&run.path.join("predictions.json"))?;
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
        let scene = Scene { task, seeds: &seeds, settings, prompts, seed: settings.run.seed };
        let scoring = Scoring { stage: "test", scene };
        let answers = scoring.classify(run, teacher, embedder, &texts, &mut *watch)?.answers;
        watch(Event::End {
            summary: format!("{} test {} classified by the teacher", texts.len(), task.items),
        });
        let (predicted, confidence) = sections::heard(task, &answers);
        table.push(Arm {
            row: Row::Teacher,
            predicted: vec![predicted],
            confidence: vec![confidence],
            train_rows: 0,
        });
    }
    let student = report::Student { name: student_name.to_owned(), eight_bits };
    let assembly = Assembly { run, task, settings, prompts, seeds: &seeds, embedder };
    let report = assembly.report(&table, identity, student)?;
    report.write(&run.path)?;
    run.finish_stage("eval", &[("rows", report.results.len())])?;
    Ok(report)
}

/// What the models of one row of the table said about the test set.
struct Arm {
    row: Row,
    /// Class indices, `[seeds][rows]`.
    predicted: Vec<Vec<usize>>,
    /// Their probabilities; lists are empty where an older ledger has none.
    confidence: Vec<Vec<f32>>,
    train_rows: usize,
}

/// The students' rows.
fn students(trained: &[TrainedRow]) -> Vec<Arm> {
    let mut by_row: BTreeMap<Row, Vec<&TrainedRow>> = BTreeMap::new();
    for row in trained.iter().filter(|row| !row.said.predicted.is_empty()) {
        by_row.entry(row.row).or_default().push(row);
    }
    let arm = |(row, students): (Row, Vec<&TrainedRow>)| Arm {
        row,
        predicted: students.iter().map(|student| student.said.predicted.clone()).collect(),
        confidence: students.iter().map(|student| student.said.confidence.clone()).collect(),
        train_rows: students[0].train_rows,
    };
    by_row.into_iter().map(arm).collect()
}

/// What 8 bits cost the student that is kept, on the test set.
fn eight_bits(trained: &[TrainedRow], task: &Task) -> Option<report::EightBits> {
    let (exact, fast) =
        trained.iter().find_map(|row| Some((&row.said.predicted, row.said.fast.as_ref()?)))?;
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

/// Gathers the report from what the stages left behind.
struct Assembly<'a> {
    run: &'a RunFolder,
    task: &'a Task,
    settings: &'a Settings,
    prompts: &'a Prompts,
    seeds: &'a [LabelledText],
    embedder: &'a dyn Embedder,
}

impl Assembly<'_> {
    fn report(
        &self,
        table: &[Arm],
        teacher: Option<TeacherIdentity>,
        student: report::Student,
    ) -> Result<Report, RunError> {
        let task = self.task;
        let classes = task.classes.len();
        let gold: Vec<usize> = task.test.iter().map(|item| item.label).collect();
        let correct = |arm: &Arm| -> Vec<Vec<bool>> {
            let right = |row: &Vec<usize>| row.iter().zip(&gold).map(|(a, b)| a == b).collect();
            arm.predicted.iter().map(right).collect()
        };
        let mut results = Vec::new();
        for arm in table {
            results.push(report::Scores {
                row: arm.row,
                accuracy: accuracy_interval(&correct(arm))?,
                macro_f1: macro_f1_interval(&gold, &arm.predicted, classes)?,
                seeds: arm.predicted.len(),
                train_rows: arm.train_rows,
                test_rows: gold.len(),
            });
        }
        let find = |row: Row| table.iter().find(|arm| arm.row == row);
        let mut differences = Vec::new();
        let pairs = [
            (Row::A1, Row::Seeds),
            (Row::A2, Row::Seeds),
            (Row::A2, Row::A1),
            (Row::A2, Row::Teacher),
        ];
        for (a, b) in pairs {
            if let (Some(left), Some(right)) = (find(a), find(b)) {
                let interval = against(&correct(left), &correct(right))?;
                differences.push(report::Difference { a, b, interval });
            }
        }
        let a2 = find(Row::A2);
        let confusion = a2.map(|arm| sections::confusion(task, &gold, &arm.predicted, Row::A2));
        let reliability = [find(Row::Teacher), a2].into_iter().flatten().filter_map(|arm| {
            sections::reliability(arm.row, &gold, &arm.predicted, &arm.confidence)
        });
        let kept: Vec<RelabelledText> =
            self.run.read_rows("train.jsonl", "run the stage `filter` first")?;
        let predicted = a2.map_or(&[][..], |arm| &arm.predicted[0]);
        let map = sections::map(task, self.seeds, &kept, predicted, self.embedder)?;
        let relabelled: Vec<RelabelledText> =
            self.run.read_rows("relabelled.jsonl", "run the stage `relabel` first")?;
        let teacher = teacher.map_or_else(
            || report::Teacher {
                name: "imported texts".into(),
                sha256: String::new(),
                file: String::new(),
            },
            |identity| report::Teacher {
                file: identity.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                name: identity.name,
                sha256: identity.sha256,
            },
        );
        Ok(Report {
            task: report::Task {
                name: task.name.clone(),
                classes: task
                    .classes
                    .iter()
                    .map(|class| report::Class {
                        name: class.name.clone(),
                        description: class.description.clone(),
                    })
                    .collect(),
                shots: task.shots,
                test_rows: gold.len(),
                sha256: task.sha256.clone(),
            },
            teacher,
            student,
            results,
            differences,
            funnel: self.funnel(relabelled.len()),
            relabel: Some(sections::relabel(task, &relabelled)),
            confusion,
            examples: sections::examples(&relabelled),
            comparison: None,
            reliability: reliability.collect(),
            map,
            diversity: sections::diversity(self.seeds, &kept),
            stages: self.stages(),
            provenance: self.provenance(),
            warnings: self.warnings(),
        })
    }

    /// The counts that `stage` ended with last.
    fn counts(&self, stage: &str) -> BTreeMap<String, usize> {
        let entries = self.run.ledger.entries().iter().rev();
        let mut found = entries.filter_map(|entry| match entry {
            Entry::Stage { stage: other, counts } if other == stage => Some(counts.clone()),
            _ => None,
        });
        found.next().unwrap_or_default()
    }

    fn funnel(&self, relabelled: usize) -> report::Funnel {
        let generated = self.counts("generate");
        let imported = self.counts("import").get("texts").copied();
        let count = |name: &str| generated.get(name).copied().or(imported).unwrap_or(0) as u64;
        let mut filtered = self.counts("filter");
        let kept = filtered.remove("kept").unwrap_or(0) as u64;
        let mut dropped: BTreeMap<String, u64> =
            filtered.into_iter().map(|(reason, count)| (reason, count as u64)).collect();
        let skipped = self.counts("relabel").get("skipped").copied().unwrap_or(0) as u64;
        let surplus = count("unique").saturating_sub(relabelled as u64 + skipped);
        let extra = [("more than asked for", surplus), ("not answered", skipped)];
        dropped
            .extend(extra.into_iter().filter(|(_, n)| *n > 0).map(|(why, n)| (why.to_owned(), n)));
        report::Funnel {
            asked: count("asked"),
            parsed: count("parsed"),
            unique: count("unique"),
            relabelled: relabelled as u64,
            kept,
            dropped,
        }
    }

    /// What the task's readers found odd, and what the teacher could not answer.
    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.task.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(self.run.ledger.entries().iter().filter_map(|entry| match entry {
            Entry::Skipped { request, reason, .. } => {
                Some(format!("request {request} was skipped: {reason}"))
            }
            _ => None,
        }));
        warnings
    }

    /// Calls, tokens and seconds of each stage, summed over the ledger.
    fn stages(&self) -> Vec<report::Stage> {
        let mut stages: Vec<report::Stage> = ["generate", "relabel", "train", "test"]
            .map(|stage| report::Stage {
                stage: stage.to_owned(),
                seconds: 0.0,
                prompt_tokens: 0,
                generated_tokens: 0,
                calls: 0,
            })
            .into();
        for entry in self.run.ledger.entries() {
            let (name, spent, read, written, calls) = match entry {
                Entry::Reply { ask, seconds, prompt_tokens, generated_tokens, .. } => {
                    // A written label; requests for texts have numbers for names.
                    let stage =
                        ask.split('.').next().filter(|name| ["relabel", "test"].contains(name));
                    (stage.unwrap_or("generate"), *seconds, *prompt_tokens, *generated_tokens, 1)
                }
                Entry::Scores { stage, seconds, prompt_tokens, .. } => {
                    (stage.as_str(), *seconds, *prompt_tokens, 0, 1)
                }
                Entry::Student { seconds, .. } => ("train", *seconds, 0, 0, 0),
                Entry::Begun { .. }
                | Entry::Teacher { .. }
                | Entry::Stage { .. }
                | Entry::Skipped { .. }
                | Entry::Restart { .. } => continue,
            };
            if let Some(stage) = stages.iter_mut().find(|stage| stage.stage == name) {
                stage.seconds += spent;
                stage.prompt_tokens += read as u64;
                stage.generated_tokens += written as u64;
                stage.calls += calls;
            }
        }
        stages.retain(|stage| stage.seconds > 0.0);
        stages
    }

    fn provenance(&self) -> report::Provenance {
        let entries = self.run.ledger.entries();
        let started = entries.iter().find_map(|entry| match entry {
            Entry::Begun { started, .. } => Some(started.clone()),
            _ => None,
        });
        report::Provenance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.unwrap_or_default(),
            settings: self.settings.to_toml(),
            prompts_sha256: self.prompts.sha256().to_owned(),
            ledger_rows: entries.len() as u64,
        }
    }
}
