//! The stage `eval`: scores the students' predictions, lets the teacher classify the test set itself,
//! and writes `report.json` and `report.html`.

use std::collections::BTreeMap;

use super::{
    Event, RunError, RunFolder, Scene, TrainedRow, Watch, ledger::Entry, read_json,
    relabelling::Scoring, run_seeds,
};
use crate::{
    augment::AugmentedText,
    config::Settings,
    embed::Embedder,
    eval::{accuracy_interval, macro_f1_interval, paired_difference},
    prompt::Prompts,
    relabel::RelabelledText,
    report::{self, Report, Row},
    task::Task,
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
    let mut by_row: BTreeMap<Row, Vec<&TrainedRow>> = BTreeMap::new();
    for row in trained.iter().filter(|row| !row.said.predicted.is_empty()) {
        by_row.entry(row.row).or_default().push(row);
    }
    let mut table: Vec<(Row, Vec<Vec<usize>>, usize)> = by_row
        .into_iter()
        .map(|(row, students)| {
            let predicted = students.iter().map(|student| student.said.predicted.clone()).collect();
            (row, predicted, students[0].train_rows)
        })
        .collect();
    let eight_bits = eight_bits(&trained, task);
    let identity = teacher.as_ref().map(|teacher| teacher.identity().clone());
    let teacher = teacher.filter(|teacher| teacher.scores_any_text());
    if identity.is_some() && teacher.is_none() {
        watch(Event::Warning(
            "the teacher labels its own texts only: its row is left out".to_owned(),
        ));
    }
    if let Some(teacher) = teacher.filter(|_| !task.test.is_empty()) {
        let texts: Vec<String> = task.test.iter().map(|item| item.text.clone()).collect();
        let seeds = run_seeds(task, settings);
        let scene = Scene { task, seeds: &seeds, settings, prompts, seed: settings.run.seed };
        let scoring = Scoring { stage: "test", scene };
        let answers = scoring.classify(run, teacher, embedder, &texts, &mut *watch)?.answers;
        watch(Event::End {
            summary: format!("{} test {} classified by the teacher", texts.len(), task.items),
        });
        // A text that the teacher's process did not survive counts as classified wrong.
        let predicted = answers.iter().zip(&task.test).map(|(answer, item)| {
            answer.as_ref().map_or((item.label + 1) % task.classes.len(), |answer| answer.class)
        });
        table.push((Row::Teacher, vec![predicted.collect()], 0));
    }
    let student = report::Student { name: student_name.to_owned(), eight_bits };
    let report = Assembly { run, task, settings, prompts }.report(&table, identity, student)?;
    report.write(&run.path)?;
    run.finish_stage("eval", &[("rows", report.results.len())])?;
    Ok(report)
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
}

impl Assembly<'_> {
    fn report(
        &self,
        table: &[(Row, Vec<Vec<usize>>, usize)],
        teacher: Option<TeacherIdentity>,
        student: report::Student,
    ) -> Result<Report, RunError> {
        let task = self.task;
        let classes = task.classes.len();
        let gold: Vec<usize> = task.test.iter().map(|item| item.label).collect();
        let correct = |predicted: &[Vec<usize>]| -> Vec<Vec<bool>> {
            let right = |row: &Vec<usize>| row.iter().zip(&gold).map(|(a, b)| a == b).collect();
            predicted.iter().map(right).collect()
        };
        let mut results = Vec::new();
        for (row, predicted, train_rows) in table {
            results.push(report::Scores {
                row: *row,
                accuracy: accuracy_interval(&correct(predicted))?,
                macro_f1: macro_f1_interval(&gold, predicted, classes)?,
                seeds: predicted.len(),
                train_rows: *train_rows,
                test_rows: gold.len(),
            });
        }
        let predictions =
            |row: Row| table.iter().find(|(other, ..)| *other == row).map(|(_, p, _)| p);
        let mut differences = Vec::new();
        let pairs = [
            (Row::A1, Row::Seeds),
            (Row::A2, Row::Seeds),
            (Row::A2, Row::A1),
            (Row::A2, Row::Teacher),
        ];
        for (a, b) in pairs {
            if let (Some(left), Some(right)) = (predictions(a), predictions(b)) {
                let (left, mut right) = (correct(left), correct(right));
                // The teacher has one set of answers, which stands against each seed.
                right.resize(left.len(), right[0].clone());
                let interval = paired_difference(&left, &right)?;
                differences.push(report::Difference { a, b, interval });
            }
        }
        let confusion = predictions(Row::A2).map(|predicted| {
            let mut matrix = vec![vec![0; classes]; classes];
            for seed in predicted {
                for (gold, predicted) in gold.iter().zip(seed) {
                    matrix[*gold][*predicted] += 1;
                }
            }
            report::Confusion { row: Row::A2, matrix, pairs: Vec::new() }
        });
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
            relabel: Some(self.relabel(&relabelled)),
            confusion,
            examples: examples(&relabelled),
            comparison: None,
            reliability: Vec::new(),
            map: None,
            diversity: Vec::new(),
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

    fn relabel(&self, rows: &[RelabelledText]) -> report::Relabel {
        let classes = self.task.classes.len();
        let index = |name: &str| self.task.classes.iter().position(|class| class.name == name);
        let mut flow = vec![vec![0; classes]; classes];
        let mut by_alpha: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut changed = 0;
        for row in rows {
            let moved = u64::from(row.relabel != row.augmented.major);
            changed += moved;
            if let (Some(from), Some(to)) = (index(&row.augmented.major), index(&row.relabel)) {
                flow[from][to] += 1;
            }
            if let Some(alpha) = row.augmented.alpha {
                let bucket = by_alpha.entry((alpha * 100.0).round() as u64).or_default();
                bucket.0 += 1;
                bucket.1 += moved;
            }
        }
        let by_alpha = by_alpha
            .into_iter()
            .map(|(percent, (total, changed))| report::AlphaShare {
                alpha: percent as f64 / 100.0,
                total,
                changed,
            })
            .collect();
        report::Relabel { changed, total: rows.len() as u64, by_alpha, by_pair: Vec::new(), flow }
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
                Entry::Reply { seconds, prompt_tokens, generated_tokens, .. } => {
                    ("generate", *seconds, *prompt_tokens, *generated_tokens, 1)
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

/// A dozen texts, spread evenly over the run, the ones whose label changed first.
fn examples(rows: &[RelabelledText]) -> Vec<report::Example> {
    const WANTED: usize = 12;
    let spread = |rows: Vec<&RelabelledText>, wanted: usize| -> Vec<RelabelledText> {
        let step = rows.len().div_ceil(wanted.max(1)).max(1);
        rows.into_iter().step_by(step).take(wanted).cloned().collect()
    };
    let (moved, stayed): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.relabel != row.augmented.major);
    let mut chosen = spread(moved, WANTED / 2);
    chosen.extend(spread(stayed, WANTED - chosen.len()));
    chosen
        .into_iter()
        .map(|row| {
            let AugmentedText { text, major, minor, alpha, .. } = row.augmented;
            report::Example {
                text,
                major,
                minor,
                alpha: alpha.unwrap_or(1.0),
                relabelled: Some(row.relabel),
                probability: Some(f64::from(row.p)),
            }
        })
        .collect()
}
