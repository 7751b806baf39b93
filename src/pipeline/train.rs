//! The stage `train`: for each row of the result table and each seed, one student. Reads
//! `train.jsonl`, writes `student/` (row A2, first seed); predictions go into the ledger.

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{
    Event, PipelineError, Watch,
    examples::{self, Labels},
    gold, run_seeds,
};
use crate::{
    audit::redact,
    config::Settings,
    dataset::{RelabelledText, TestPredictions, TrainedStudent, Variant},
    interrupt,
    run::{RunError, RunFolder, key, ledger::Entry},
    student::{
        self, BaseModel, Corpus, Crew, Example, Precision, Snapshots, TrainSettings, Training,
    },
    task::Task,
};

/// What the stage reads, and what it writes: the predictions of all students, and the one that is kept.
const FILES: [&str; 5] = [
    "train.jsonl",
    "predictions.json",
    "student/config.json",
    "student/model.safetensors",
    "student/tokenizer.json",
];

/// One student to be trained.
pub(crate) struct TrainingJob<'a> {
    pub row: Variant,
    /// Counts the students of a row; the initial weights and the order of the examples follow from
    /// it and the run's seed.
    pub seed: u64,
    pub examples: &'a [Example],
    pub training: &'a TrainSettings,
    /// Where the student is kept, if it is.
    pub save: Option<PathBuf>,
}

/// What the students of a run have in common.
pub(crate) struct StudentTrainer<'a> {
    pub task: &'a Task,
    pub settings: &'a Settings,
    pub base: &'a BaseModel,
}

/// Runs the stage: rows `seeds`, `A1` (labels as asked for) and `A2` (labels after relabelling), all
/// on the same texts with the same settings, each with `run.seeds` seeds.
///
/// # Errors
/// A missing or empty `train.jsonl`, a student that cannot be trained or saved.
pub(crate) fn train(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    base: &BaseModel,
    watch: Watch<'_>,
) -> Result<Vec<TrainedStudent>, PipelineError> {
    let rows: Vec<RelabelledText> = run.read_rows("train.jsonl", "run the stage `filter` first")?;
    if rows.is_empty() {
        return Err(PipelineError::NothingLeft { detail: "train.jsonl is empty".to_owned() });
    }
    let labels = Labels { path: run.path(), classes: &task.classes, student: &settings.student };
    let gold = examples::gold(&run_seeds(task, settings));
    let taught = examples::gold(&gold::seeds(run, task, settings)?);
    let mut arms = [
        (Variant::Seeds, gold.clone()),
        (Variant::A1, [gold, labels.asked(&rows)?].concat()),
        (Variant::A2, [taught, labels.relabelled(&rows, false)?].concat()),
    ];
    for (_, examples) in &mut arms {
        redact::examples(settings, examples)?;
    }
    let mut jobs = Vec::new();
    for seed in 0..settings.run.seeds {
        for (row, examples) in &arms {
            let keep = *row == Variant::A2 && seed == 0;
            // Without a test set there is nothing to compare: only the student itself is trained.
            if keep || (!task.test.is_empty() && !examples.is_empty()) {
                let save = keep.then(|| run.path().join("student"));
                let training = &settings.student.training;
                jobs.push(TrainingJob { row: *row, seed, examples, training, save });
            }
        }
    }
    let said = StudentTrainer { task, settings, base }.train(run, &jobs, &mut *watch)?;
    let trained: Vec<TrainedStudent> = jobs
        .iter()
        .zip(said)
        .map(|(job, (_, said))| {
            let (row, seed, train_rows) = (job.row, job.seed, job.examples.len());
            TrainedStudent { row, seed, train_rows, predictions: said }
        })
        .collect();
    run.write(
        "predictions.json",
        &serde_json::to_vec(&trained).expect("predictions are plain numbers"),
    )?;
    run.finish_stage("train", &[("students", trained.len())], &FILES, Vec::new())?;
    watch(Event::End { summary: format!("{} students trained", trained.len()) });
    Ok(trained)
}

impl StudentTrainer<'_> {
    /// Trains the students of `jobs`, several at a time, and asks them about the test set. Those that
    /// the ledger knows are not trained again. Each comes with its name in the ledger.
    ///
    /// # Errors
    /// As [`train`].
    pub(crate) fn train(
        &self,
        run: &mut RunFolder,
        jobs: &[TrainingJob<'_>],
        watch: Watch<'_>,
    ) -> Result<Vec<(String, TestPredictions)>, PipelineError> {
        let Self { task, settings, base } = *self;
        let labels: Vec<String> = task.classes.iter().map(|class| class.name.clone()).collect();
        let test: Vec<String> = task.test.iter().map(|item| item.text.clone()).collect();
        let identity = base.identity();
        let named = jobs.iter().map(|job| {
            let TrainingJob { row, seed, examples, training, .. } = job;
            let parts = (row.key(), seed, examples, training, settings.run.seed, &identity, &test);
            (key(&parts), job)
        });
        let jobs: Vec<(String, &TrainingJob<'_>)> = named.collect();
        let mut known: HashMap<String, TestPredictions> = HashMap::new();
        for entry in run.ledger.entries() {
            if let Entry::Student { key, said, .. } = entry {
                known.insert(key.clone(), said.clone());
            }
        }
        // The folder may hold a student of other settings: beside it stands whose it is.
        let mark = run.path().join("student.key");
        let lacks_folder = |key: &str, job: &TrainingJob<'_>| {
            job.save.as_ref().is_some_and(|path| {
                let marked = fs::read_to_string(&mark).is_ok_and(|mark| mark == key);
                !(marked && path.join("config.json").exists())
            })
        };
        let open: Vec<&(String, &TrainingJob<'_>)> = jobs
            .iter()
            .filter(|(key, job)| !known.contains_key(key) || lacks_folder(key, job))
            .collect();
        watch(Event::Begin { stage: "train", total: jobs.len(), resumed: jobs.len() - open.len() });

        let texts = open.iter().flat_map(|(_, job)| job.examples);
        let texts = texts.map(|example| example.text.as_str());
        let corpus = Corpus::new(base, texts, settings.student.training.max_length)?;
        let ready: Vec<(&str, &TrainingJob<'_>, Training<'_>)> = open
            .into_iter()
            .map(|(key, job)| {
                // Of the students that only serve the comparison, nothing but their answers is kept.
                let snapshots = job.save.as_ref().map(|_| Snapshots {
                    every_steps: settings.student.snapshot_steps,
                    ..Snapshots::new(run.path().join("training"))
                });
                let seed = settings.run.seed.wrapping_mul(1_000).wrapping_add(job.seed);
                let training = Training::new(base, &labels, job.examples, job.training);
                let corpus = Some(&corpus);
                (key.as_str(), *job, Training { seed, corpus, snapshots, ..training })
            })
            .collect();
        let needs = ready.iter().map(|(.., training)| training.need());
        let need = needs.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
        let crew = Crew::new(base, ready.len(), need);
        let shared = Mutex::new((&mut run.ledger, &mut known, watch));
        let stopped = AtomicBool::new(false);
        let train_one = |key: &str, job: &TrainingJob<'_>, training: &Training<'_>| {
            let clock = Instant::now();
            // A student that is kept saves its state before the program ends.
            let saves = job.save.as_ref().map(|_| interrupt::hold());
            let student = training.run(&mut |_| interrupt::flow())?.classifier;
            drop(saves);
            let (predicted, confidence) = sure(&student.predict(&test)?);
            let mut said = TestPredictions { predicted, confidence, fast: None };
            let _whole = job.save.as_ref().map(|_| interrupt::hold());
            if let Some(folder) = &job.save {
                let fault = |source| RunError::Write { path: mark.clone(), source };
                match fs::remove_file(&mark) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(fault(error).into());
                    }
                    _ => {}
                }
                student.save(folder)?;
                crate::fs::write_atomic(&mark, key.as_bytes()).map_err(fault)?;
                if !test.is_empty() && base.device().is_cpu() && Precision::Int8.pays() {
                    let fast = student.with_precision(Precision::Int8)?.predict(&test)?;
                    said.fast = Some(sure(&fast).0);
                }
            }
            let entry = Entry::Student {
                key: key.to_owned(),
                row: job.row.key().to_owned(),
                seed: job.seed,
                train_rows: job.examples.len(),
                base_sha256: base.sha256().to_owned(),
                said: said.clone(),
                // Its share of the wall clock: as many students as workers are in the making at a
                // time.
                seconds: clock.elapsed().as_secs_f64() / crew.workers as f64,
            };
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.1.insert(key.to_owned(), said).is_none() {
                shared.0.append(vec![entry])?;
            }
            (shared.2)(Event::Advance { items: 1, rejected: 0, tokens: 0 });
            Ok(())
        };
        let results = student::side_by_side(crew, &ready, |(key, job, training)| {
            // After a fault, a full disk for one, nothing that is begun could be kept.
            if stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            train_one(key, job, training)
                .inspect_err(|_: &PipelineError| stopped.store(true, Ordering::Relaxed))
        })?;
        results.into_iter().collect::<Result<(), PipelineError>>()?;
        let said = |key: String| {
            let said = known.get(&key).cloned().unwrap_or_default();
            (key, said)
        };
        Ok(jobs.into_iter().map(|(key, _)| said(key)).collect())
    }
}

/// The most probable class of each row, and its probability.
fn sure(probabilities: &[Vec<f32>]) -> (Vec<usize>, Vec<f32>) {
    let largest = |row: &Vec<f32>| {
        let class = student::largest(row);
        (class, row[class])
    };
    probabilities.iter().map(largest).unzip()
}
