//! The stage `train`: one student for each variant and seed. Reads `train.jsonl`, writes `student/`
//! (variant A2, with unlabelled texts A2+U; first seed) and `predictions.json`; the predictions are
//! in the ledger as well.

use std::{
    collections::HashMap,
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{
    Event, Pipeline, PipelineError, Watch, class_rows, edited,
    examples::{self, ExampleBuilder},
    fuse, gold, length, reference,
    training_progress::{Share, Shares},
};
use crate::{
    audit::redact,
    config::Settings,
    counted::{agree, counted},
    dataset::{RelabelledText, TestPredictions, TrainedStudent, Variant},
    interrupt, memory,
    run::{RunError, RunFolder, key, ledger::Entry, names},
    student::{
        self, BaseModel, Choice, Classifier, Corpus, Example, Parallelism, Precision, Snapshots,
        TrainSettings, TrainStep, Training,
    },
    task::Task,
};

/// The files that the stage reads and writes, as the ledger records them; the student's own are
/// recorded too.
const FILES: [&str; 3] = [names::TRAIN, names::PREDICTIONS, names::STUDENT_KEY];

/// The ledger's count of labelled seeds that no student is trained on.
pub(super) const UNUSED_SEEDS: &str = "unused seeds";

impl Pipeline<'_> {
    /// Runs the stage: the variants `seeds`, `embed-seeds`, `A1` (labels as asked for) and `A2`
    /// (labels after relabelling) on the same texts, and with unlabelled texts `U` (these alone)
    /// and `A2+U`; all with the same settings, each with `run.seeds` seeds.
    ///
    /// # Errors
    /// A missing or empty `train.jsonl`, a student that cannot be trained or saved.
    pub(crate) fn train(&mut self, base: &BaseModel) -> Result<Vec<TrainedStudent>, PipelineError> {
        let Self { run, task, settings, watch, .. } = self;
        run.check_current(&["filter"], names::TRAIN)?;
        let rows: Vec<RelabelledText> = run.read_rows(names::TRAIN, "run `filter` first")?;
        let (rows, leaks) = edited::without_leaks(rows, task, |row| &row.augmented);
        if !leaks.is_empty() {
            watch(Event::Warning {
                message: format!(
                    "{} edited by hand {are} also in the test set and {are} not trained on",
                    counted(leaks.len(), "row"),
                    are = agree(leaks.len(), "is", "are"),
                ),
                hint: Some("`promptmix filter` drops them".to_owned()),
            });
        }
        let (real, rows): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.augmented.is_unlabelled());
        if rows.is_empty() && real.is_empty() {
            return Err(PipelineError::NothingLeft { detail: "train.jsonl is empty".to_owned() });
        }
        let build = ExampleBuilder { run, task, student: &settings.student };
        let seeds = gold::seeds(task, settings);
        let unused = task.seeds.len() - seeds.len();
        if let Some(message) = gold::unused_warning(unused) {
            watch(Event::Warning { message, hint: Some(gold::UNUSED_HINT.to_owned()) });
        }
        let mut used = rows.clone();
        if let Some(gain) = fuse::unused(fuse::recorded_gain(run), task, settings, &seeds) {
            used.retain(|row| row.augmented.is_given());
            let message = fuse::unused_warning(gain, task, &seeds);
            watch(Event::Warning { message, hint: Some(fuse::UNUSED_HINT.to_owned()) });
        }
        let gold = examples::gold(&seeds);
        let relabelled_gold = examples::gold(&gold::read(run, task, settings)?);
        let new = [relabelled_gold, build.relabelled(&used, false)?].concat();
        let mut variants = vec![
            (Variant::Seeds, gold.clone()),
            (Variant::EmbedSeeds, gold.clone()),
            (Variant::A1, [&gold[..], &build.asked(&rows)?].concat()),
            (Variant::A2, new.clone()),
        ];
        if !real.is_empty() {
            let real = build.relabelled(&real, false)?;
            variants.push((Variant::U, [&gold[..], &real].concat()));
            variants.push((Variant::A2U, [new, real].concat()));
        }
        for (_, examples) in &mut variants {
            redact::examples(settings, examples)?;
        }
        let (_, kept) = variants.last().expect("there are at least four");
        let warning = class_rows::check(task, kept, settings.student.allow_empty_classes)?;
        warning.into_iter().for_each(&mut **watch);
        let texts = variants.iter().flat_map(|(_, examples)| examples).map(|it| it.text.as_str());
        let lengths = length::of(base, task, texts)?;
        let (classes, free) = (task.classes.len(), memory::available());
        let training = settings.student.training.with_length(base, &lengths, classes, free);
        let frozen = training.frozen();
        let length = length::cut(base, kept, &task.test, training.limit(base))?;
        length::warning(&length, base.max_tokens()).into_iter().for_each(&mut **watch);
        let jobs = jobs(run, task, settings, &variants, [&training, &frozen]);
        let predictions =
            StudentTrainer { task, settings, base }.train(run, &jobs, &mut **watch)?;
        keep_answers(task, &jobs, &predictions)?;
        let trained = jobs.iter().zip(predictions).map(|(job, (_, predictions))| TrainedStudent {
            row: job.row,
            seed: job.seed,
            train_rows: job.examples.len(),
            predictions,
        });
        let trained: Vec<TrainedStudent> = trained.collect();
        let json = serde_json::to_vec(&trained).expect("predictions are plain numbers");
        run.write(names::PREDICTIONS, &json)?;
        reference::write(run, (&*task, &*settings), base, kept, &mut **watch)?;
        let student = run.files_in(names::STUDENT)?;
        let files: Vec<&str> =
            FILES.into_iter().chain(student.iter().map(String::as_str)).collect();
        let counts = [("students", trained.len()), (UNUSED_SEEDS, unused)];
        let counts = [&counts[..], &length::counts(&length)].concat();
        run.finish_stage("train", &counts, &files, Vec::new())?;
        watch(Event::End { summary: format!("{} trained", counted(trained.len(), "student")) });
        Ok(trained)
    }
}

/// Keeps with the saved student which of its answers to the test set are right. The ledger has
/// the answers; another label for a test text needs no student.
fn keep_answers(
    task: &Task,
    jobs: &[TrainingJob<'_>],
    predictions: &[(String, TestPredictions)],
) -> Result<(), PipelineError> {
    for (job, (_, predictions)) in jobs.iter().zip(predictions) {
        if let Some(folder) = &job.save {
            let TestPredictions { predicted, confidence, .. } = predictions;
            let correct =
                predicted.iter().zip(&task.test).map(|(class, item)| *class == item.label);
            student::keep_answers(folder, confidence.iter().copied().zip(correct).collect())?;
        }
    }
    Ok(())
}

/// One job for each of `variants` and seed, with the settings `tuned` for a student that is
/// fine-tuned and `frozen` for a head over the encoder as it is. The first student of the last
/// variant is kept; without a test set nothing is compared, and only that one is trained.
fn jobs<'a>(
    run: &RunFolder,
    task: &Task,
    settings: &Settings,
    variants: &'a [(Variant, Vec<Example>)],
    [tuned, frozen]: [&'a TrainSettings; 2],
) -> Vec<TrainingJob<'a>> {
    let mut jobs = Vec::new();
    let last = variants.last().map(|(row, _)| *row);
    for seed in 0..settings.run.seeds {
        for (row, examples) in variants {
            let keep = Some(*row) == last && seed == 0;
            // Nothing is random without fine-tuning.
            let again = row.is_frozen() && seed > 0;
            if keep || (!again && !task.test.is_empty() && !examples.is_empty()) {
                let save = keep.then(|| run.path().join(names::STUDENT));
                let training = if row.is_frozen() { frozen } else { tuned };
                jobs.push(TrainingJob { row: *row, seed, examples, training, save });
            }
        }
    }
    jobs
}

/// A length for the corpus of no job at all.
const SHORTEST: usize = 3;

/// One student to train.
pub(crate) struct TrainingJob<'a> {
    pub row: Variant,
    /// Counts the students of a variant; with the run's seed it determines the initial weights and
    /// the order of the examples.
    pub seed: u64,
    pub examples: &'a [Example],
    pub training: &'a TrainSettings,
    /// Where the student is saved, if it is kept.
    pub save: Option<PathBuf>,
}

/// What the students of a run have in common.
pub(crate) struct StudentTrainer<'a> {
    pub task: &'a Task,
    pub settings: &'a Settings,
    pub base: &'a BaseModel,
}

/// What came of a job.
struct Trained {
    predictions: TestPredictions,
    /// What decided whether the encoder was fine-tuned, if that was open.
    choice: Option<Choice>,
    /// Held until the predictions of a saved student are in the ledger.
    uninterrupted: Option<interrupt::Hold>,
}

/// A job that is not in the ledger yet, ready to run.
struct ReadyJob<'a> {
    key: &'a str,
    /// [`StudentTrainer::training_key`].
    training_key: &'a str,
    job: &'a TrainingJob<'a>,
    training: Training<'a>,
    /// Whether the student is in its folder already: only the test set is another one.
    is_saved: bool,
}

impl StudentTrainer<'_> {
    /// Trains the students of `jobs`, several at a time, and classifies the test set with each.
    /// Students that the ledger has are not trained again. Each result comes with its key in the
    /// ledger.
    ///
    /// # Errors
    /// As [`Pipeline::train`].
    pub(crate) fn train(
        &self,
        run: &mut RunFolder,
        jobs: &[TrainingJob<'_>],
        watch: Watch<'_>,
    ) -> Result<Vec<(String, TestPredictions)>, PipelineError> {
        let test: Vec<String> = self.task.test.iter().map(|item| item.text.clone()).collect();
        let base = self.base.identity();
        let keys: Vec<String> = jobs.iter().map(|job| self.key(job, &base, &test)).collect();
        let training_keys: Vec<String> =
            jobs.iter().map(|job| self.training_key(job, &base)).collect();
        // Older runs marked the student with its key, which does not tell the names of the classes.
        let renamed = run.ledger.entries().iter().any(|e| matches!(e, Entry::TaskChanged(_)));
        let missing: Vec<usize> = (0..jobs.len())
            .filter(|&job| {
                let marks = [training_keys[job].as_str(), keys[job].as_str()];
                let marks = if renamed { &marks[..1] } else { &marks[..] };
                run.ledger.find(&keys[job]).is_none() || !is_saved(run, marks, &jobs[job])
            })
            .collect();
        let resumed = jobs.len() - missing.len();
        watch(Event::Begin { stage: "train", total: jobs.len(), resumed });

        let texts = missing.iter().flat_map(|&job| jobs[job].examples);
        let texts = texts.map(|example| example.text.as_str());
        // The row `paper` of a comparison may read fewer; it tokenises its own.
        let most = jobs.iter().map(|job| job.training.limit(self.base)).max().unwrap_or(0);
        let corpus = Corpus::new(self.base, texts, most.max(SHORTEST))?;
        let labels: Vec<String> =
            self.task.classes.iter().map(|class| class.name.clone()).collect();
        let training_folder = run.path().join(names::TRAINING);
        let ready = |job: usize| ReadyJob {
            key: &keys[job],
            training_key: &training_keys[job],
            training: self.training(&jobs[job], &labels, &corpus, training_folder.clone()),
            is_saved: jobs[job].save.is_some() && is_saved(run, &[&training_keys[job]], &jobs[job]),
            job: &jobs[job],
        };
        let ready: Vec<ReadyJob<'_>> = missing.into_iter().map(ready).collect();
        let needs = ready.iter().map(|job| job.training.memory_estimate());
        let need = needs.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
        let parallelism = Parallelism::new(self.base, ready.len(), need);

        let mark = run.path().join(names::STUDENT_KEY);
        let shared =
            Mutex::new((&mut run.ledger, watch, HashMap::<String, TestPredictions>::new()));
        let (failed, shares) = (AtomicBool::new(false), Shares::default());
        let work = |ready: &ReadyJob<'_>| {
            let clock = Instant::now();
            let mut share = Share::new(&shares);
            let mut on_step = |step: TrainStep| {
                if let Some(items) = share.advance(&step) {
                    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    (shared.1)(Event::Partly { items });
                }
                interrupt::flow()
            };
            let Trained { predictions, choice, uninterrupted: _uninterrupted } =
                self.train_one(ready, &test, &mark, &mut on_step)?;
            // Its share of the clock: `workers` students are trained at a time.
            let seconds = clock.elapsed().as_secs_f64() / parallelism.workers as f64;
            let entry = self.entry(ready, predictions.clone(), seconds);
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.0.find(ready.key).is_none() {
                shared.0.append(vec![entry])?;
            }
            shared.2.insert(ready.key.to_owned(), predictions);
            if let Some(choice) = choice.filter(|_| ready.job.save.is_some()) {
                (shared.1)(Event::Note(choice.summary()));
            }
            (shared.1)(Event::Partly { items: share.end() });
            (shared.1)(Event::Advance { items: 1, rejected: 0, tokens: 0 });
            Ok(())
        };
        let results = student::run_parallel(parallelism, &ready, |ready| {
            // After a failure, such as a full disk, no result could be kept.
            if failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            work(ready).inspect_err(|_: &PipelineError| failed.store(true, Ordering::Relaxed))
        })?;
        results.into_iter().collect::<Result<(), PipelineError>>()?;
        let (_, _, mut trained) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        // What was trained just now describes the student in its folder; the ledger may hold the
        // predictions of a former one.
        let predictions = |key: &String| {
            let recorded = || match run.ledger.find(key) {
                Some(Entry::Student { predictions, .. }) => predictions.clone(),
                _ => TestPredictions::default(),
            };
            (key.clone(), trained.remove(key).unwrap_or_else(recorded))
        };
        Ok(keys.iter().map(predictions).collect())
    }

    /// The key of `job` in the ledger: the hash of all that its result depends on.
    /// `base` is [`BaseModel::identity`], which reads the whole tokenizer.
    fn key(&self, job: &TrainingJob<'_>, base: &str, test: &[String]) -> String {
        let TrainingJob { row, seed, examples, training, .. } = job;
        key(&(row.key(), seed, examples, training, self.settings.run.seed, base, test))
    }

    /// The hash of all that the student of `job` depends on: its key but for the test set.
    fn training_key(&self, job: &TrainingJob<'_>, base: &str) -> String {
        let TrainingJob { row, seed, examples, training, .. } = job;
        let labels: Vec<&str> = self.task.classes.iter().map(|class| class.name.as_str()).collect();
        key(&(row.key(), seed, examples, training, self.settings.run.seed, base, labels))
    }

    fn training<'b>(
        &'b self,
        job: &'b TrainingJob<'_>,
        labels: &'b [String],
        corpus: &'b Corpus,
        folder: PathBuf,
    ) -> Training<'b> {
        // Of the students that only serve the comparison, nothing but their predictions is kept.
        let snapshots = job.save.as_ref().map(|_| Snapshots {
            every_steps: self.settings.student.snapshot_steps,
            ..Snapshots::new(folder)
        });
        let seed = self.settings.run.seed.wrapping_mul(1_000).wrapping_add(job.seed);
        let training = Training::new(self.base, labels, job.examples, job.training);
        Training { seed, corpus: Some(corpus), snapshots, ..training }
    }

    /// Trains one student, or loads it if it is saved, classifies the test set and saves the
    /// student if it is kept, with its training's key in the file `mark` beside it. The program is
    /// not to end before the predictions of a saved student are in the ledger: that is what
    /// [`Trained::uninterrupted`] is for.
    fn train_one(
        &self,
        ready: &ReadyJob<'_>,
        test: &[String],
        mark: &Path,
        on_step: &mut dyn FnMut(TrainStep) -> ControlFlow<()>,
    ) -> Result<Trained, PipelineError> {
        let save = ready.job.save.as_ref();
        // A student that is kept saves its state before the program ends.
        let saves = save.map(|_| interrupt::hold());
        let saved = save.filter(|_| ready.is_saved);
        let (student, choice) = match saved {
            Some(folder) => (Classifier::load(folder, self.base.device())?, None),
            None => {
                let outcome = ready.training.run(on_step)?;
                (outcome.classifier, outcome.choice)
            }
        };
        drop(saves);
        // The texts that it was trained on tell how far another text is from them.
        let student = match save {
            Some(_) => student.with_scope(ready.job.examples, test)?,
            None => student,
        };
        let (predicted, confidence) = most_probable(&student.predict(test)?);
        let uninterrupted = save.map(|_| interrupt::hold());
        let fast = match save {
            Some(folder) => {
                match saved {
                    Some(_) => student.save_confidence(folder)?,
                    None => self.save(&student, folder, ready.training_key, mark)?,
                }
                self.fast_predictions(&student, test)?
            }
            None => None,
        };
        let predictions = TestPredictions { predicted, confidence, fast };
        Ok(Trained { predictions, choice, uninterrupted })
    }

    fn save(
        &self,
        student: &Classifier,
        folder: &Path,
        key: &str,
        mark: &Path,
    ) -> Result<(), PipelineError> {
        let failed = |source| RunError::Write { path: mark.to_owned(), source };
        match fs::remove_file(mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(error).into());
            }
            _ => {}
        }
        student.save(folder)?;
        crate::fs::write_atomic(mark, key.as_bytes()).map_err(failed)?;
        Ok(())
    }

    /// The classes in 8 bits, if this processor has the instructions that make them pay.
    fn fast_predictions(
        &self,
        student: &Classifier,
        test: &[String],
    ) -> Result<Option<Vec<usize>>, PipelineError> {
        if test.is_empty() || !self.base.device().is_cpu() || !Precision::Int8.pays() {
            return Ok(None);
        }
        let fast = student.with_precision(Precision::Int8)?.predict(test)?;
        Ok(Some(most_probable(&fast).0))
    }

    fn entry(&self, ready: &ReadyJob<'_>, predictions: TestPredictions, seconds: f64) -> Entry {
        Entry::Student {
            key: ready.key.to_owned(),
            row: ready.job.row.key().to_owned(),
            seed: ready.job.seed,
            train_rows: ready.job.examples.len(),
            training: ready.training_key.to_owned(),
            base_sha256: self.base.sha256().to_owned(),
            predictions,
            seconds,
        }
    }
}

/// Whether the student of `job` is in its folder, if it is kept. The folder may hold a student of
/// other settings: the key beside it, one of `keys`, tells.
fn is_saved(run: &RunFolder, keys: &[&str], job: &TrainingJob<'_>) -> bool {
    job.save.as_ref().is_none_or(|folder| {
        let mark = run.path().join(names::STUDENT_KEY);
        let marked = fs::read_to_string(mark).is_ok_and(|mark| keys.contains(&mark.as_str()));
        marked && folder.join("config.json").exists()
    })
}

/// The most probable class of each row, and its probability.
fn most_probable(probabilities: &[Vec<f32>]) -> (Vec<usize>, Vec<f32>) {
    let largest = |row: &Vec<f32>| {
        let class = student::largest(row);
        (class, row[class])
    };
    probabilities.iter().map(largest).unzip()
}
