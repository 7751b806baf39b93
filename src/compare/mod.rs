//! `promptmix compare`: does the method pay on *this* task, with *this* teacher? Every row of the
//! paper's table, on the same few-shot subsets, the same test set and the same student.
//!
//! A comparison is a folder like a run, with one [ledger](crate::run::ledger) for all rows: what
//! two rows ask alike is asked once, and a killed comparison resumes where it stopped. It runs
//!
//! ```text
//! for each teacher, k, row, seed:      texts ─► labels ─► filter ─► training set and its cost
//! for each student, training set:      the predictions of one student on the test set
//! for each student, teacher, k, row:   a line with its interval ─► compare.json, .md, report
//! ```
//!
//! Seed `s` draws the few-shot subset, the prompts and the student's initial weights, each from its
//! own random stream. All rows of a seed use the same subset, so rows are compared in pairs.
//!
//! | file | what it does |
//! |---|---|
//! | `grid` | which rows, numbers of seeds, students and teachers; what cannot be run, and why |
//! | `shots` | the few-shot subset of a seed, and draws from the real data |
//! | `texts` | the texts of each row, and their labels |
//! | `unlabelled` | real texts that a teacher labels |
//! | `training_set` | the training set of each row |
//! | `outcome` | from predictions to the lines of the table, paired differences, costs |
//! | `markdown` | the table as `compare.md` |

mod grid;
mod markdown;
mod outcome;
mod shots;
mod texts;
mod training_set;
mod unlabelled;

use std::collections::{BTreeMap, HashMap};

pub(crate) use grid::{Grid, GridError};
pub(crate) use markdown::{markdown, points};

use crate::{
    audit::redact,
    config::Settings,
    counted::counted,
    dataset::{RelabelledText, TestPredictions, Variant},
    embed::Embedder,
    memory,
    pipeline::{
        Candidates, Counts, Event, PipelineError, StudentTrainer, TrainingJob, Watch, length,
    },
    prompt::Prompts,
    report::{self, LeftOut, Report},
    run::RunFolder,
    student::{BaseModel, TrainSettings},
    task::{LabelledText, Task},
    teacher::TeacherIdentity,
};
use training_set::TrainingSet;

/// A comparison while it runs.
pub(crate) struct Compare<'a> {
    pub(crate) run: &'a mut RunFolder,
    task: &'a Task,
    settings: &'a Settings,
    /// The settings of the row `paper`.
    paper: Settings,
    prompts: &'a Prompts,
    grid: Grid,
    /// The few-shot subset of each (k, seed).
    subsets: HashMap<(usize, u64), Vec<LabelledText>>,
    training_sets: Vec<TrainingSet>,
    teacher_predictions: Vec<TeacherPredictions>,
    teachers: Vec<(String, TeacherIdentity)>,
    students: Vec<String>,
    /// By (training set, student): the key in the ledger and the predictions.
    predictions: HashMap<(usize, usize), (String, TestPredictions)>,
    /// Rows that cannot be run on this task.
    left_out: Vec<LeftOut>,
    /// Rows that one of the teachers cannot fill.
    skipped: Vec<LeftOut>,
    /// What the reader should know before believing the rest.
    warnings: Vec<String>,
    detailed: Option<DetailedTexts>,
    /// The unlabelled texts, embedded once.
    candidates: Option<Candidates>,
    /// The method's texts that students are trained on, by (k, seed, teacher).
    written: HashMap<(usize, u64, usize), Vec<RelabelledText>>,
}

/// A teacher's own predictions on the test set.
struct TeacherPredictions {
    k: usize,
    teacher: usize,
    predicted: Vec<usize>,
    confidence: Vec<f32>,
    keys: Vec<String>,
}

/// The method's texts for the first k, teacher and seed: the report shows them in detail.
struct DetailedTexts {
    k: usize,
    seed: u64,
    teacher: usize,
    counts: Counts,
    /// Texts dropped as junk, by reason.
    junk: BTreeMap<&'static str, usize>,
    relabelled: Vec<RelabelledText>,
    kept: Vec<RelabelledText>,
    dropped: Vec<crate::dataset::DroppedText>,
}

/// The key of the random streams of seed number `seed`.
fn stream(settings: &Settings, seed: u64) -> u64 {
    settings.run.seed.wrapping_add(seed)
}

impl<'a> Compare<'a> {
    /// Draws the few-shot subsets and notes rows that cannot be run, with the reason. The second
    /// settings are those of the row `paper`.
    pub(crate) fn new(
        run: &'a mut RunFolder,
        task: &'a Task,
        (settings, paper): (&'a Settings, Settings),
        prompts: &'a Prompts,
        grid: Grid,
    ) -> Self {
        let mut left_out = Vec::new();
        let mut subsets = HashMap::new();
        let mut drawn = Vec::new();
        for &k in &grid.shots {
            match shots::source(task, k) {
                Ok(source) => {
                    for seed in 0..grid.seeds {
                        let stream = stream(settings, seed);
                        subsets.insert((k, seed), shots::draw(task, &source, k, stream));
                    }
                    drawn.push(k);
                }
                Err(reason) => left_out.extend(grid.rows.iter().map(|&row| LeftOut {
                    row,
                    k,
                    teacher: None,
                    reason: reason.clone(),
                })),
            }
        }
        let grid = Grid { shots: drawn, ..grid };
        let fixed = |k: &usize| {
            *k > 0
                && grid.seeds > 1
                && (1..grid.seeds).all(|s| subsets[&(*k, s)] == subsets[&(*k, 0)])
        };
        let mut warnings = Vec::new();
        if let Some(k) = grid.shots.iter().find(|k| fixed(k)) {
            warnings.push(format!(
                "The task has just {k} labelled seeds per class, so every seed starts from the same ones: with k = {k} no interval covers another choice of examples."
            ));
        }
        for (place, &k) in grid.shots.iter().enumerate() {
            for &row in &grid.rows {
                let reason = grid::obstacle(task, row, k, place == 0);
                left_out.extend(reason.map(|reason| LeftOut { row, k, teacher: None, reason }));
            }
        }
        Self {
            run,
            task,
            settings,
            paper,
            prompts,
            grid,
            subsets,
            training_sets: Vec::new(),
            teacher_predictions: Vec::new(),
            teachers: Vec::new(),
            students: Vec::new(),
            predictions: HashMap::new(),
            left_out,
            skipped: Vec::new(),
            warnings,
            detailed: None,
            candidates: None,
            written: HashMap::new(),
        }
    }

    /// Whether any row needs a teacher.
    pub(crate) fn needs_teacher(&self) -> bool {
        self.cells().any(|(row, _)| row.needs_teacher())
    }

    /// The rows that are run, with their numbers of seeds per class.
    fn cells(&self) -> impl Iterator<Item = (Variant, usize)> {
        let rows =
            self.grid.shots.iter().flat_map(|&k| self.grid.rows.iter().map(move |r| (*r, k)));
        rows.filter(|&(row, k)| !self.left_out.iter().any(|out| (out.row, out.k) == (row, k)))
    }

    fn runs(&self, row: Variant, k: usize) -> bool {
        self.cells().any(|cell| cell == (row, k))
    }

    /// Trains a student on each training set, starting from `base`, called `name` in the table.
    ///
    /// # Errors
    /// A student that cannot be trained, a failed write.
    pub(crate) fn train(
        &mut self,
        name: &str,
        base: &BaseModel,
        watch: Watch<'_>,
    ) -> Result<(), PipelineError> {
        let student = self.students.len();
        self.students.push(name.to_owned());
        for training_set in &mut self.training_sets {
            redact::examples(self.settings, &mut training_set.examples)?;
        }
        let texts = self.training_sets.iter().flat_map(|set| &set.examples);
        let texts = texts.map(|example| example.text.as_str());
        let lengths = length::of(base, self.task, texts)?;
        let (classes, free) = (self.task.classes.len(), memory::available());
        let training = |set: &TrainingSet| {
            let own = set.training.as_ref().unwrap_or(&self.settings.student.training);
            own.with_length(base, &lengths, classes, free)
        };
        let trainings: Vec<TrainSettings> = self.training_sets.iter().map(training).collect();
        let jobs: Vec<TrainingJob<'_>> = (self.training_sets.iter().zip(&trainings))
            .map(|(set, training)| TrainingJob {
                row: set.row,
                seed: set.seed,
                examples: &set.examples,
                training,
                save: None,
            })
            .collect();
        let trainer = StudentTrainer { task: self.task, settings: self.settings, base };
        let predictions = trainer.train(self.run, &jobs, &mut *watch)?;
        let count = predictions.len();
        self.predictions.extend((0..).map(|training_set| (training_set, student)).zip(predictions));
        watch(Event::End { summary: format!("{} of {name} trained", counted(count, "student")) });
        Ok(())
    }

    /// The teachers by name, file and sha256, the students by name, and the settings of the row
    /// `paper`, for `compare.json`.
    fn models(&self) -> serde_json::Value {
        let teachers: Vec<_> = self
            .teachers
            .iter()
            .map(|(name, identity)| {
                serde_json::json!({"name": name, "file": identity.file, "sha256": identity.sha256})
            })
            .collect();
        let paper = self.cells().any(|(row, _)| row == Variant::Paper);
        serde_json::json!({
            "teachers": teachers,
            "students": self.students,
            "paper_settings": paper.then(|| self.paper.to_toml()),
        })
    }

    /// The whole result, once texts are gathered and students trained.
    ///
    /// # Errors
    /// Predictions that do not fit the test set; errors of the embedder.
    pub(crate) fn finish(&self, embedder: &dyn Embedder) -> Result<Report, PipelineError> {
        outcome::report(self, embedder)
    }

    /// Writes `compare.json`, `compare.md` and the report; returns the first.
    ///
    /// # Errors
    /// A failed write.
    pub(crate) fn write(&mut self, report: &Report) -> Result<String, PipelineError> {
        let (models, markdown) = (self.models(), markdown(report));
        let comparison = report.comparison.as_ref();
        let json = serde_json::to_string_pretty(&serde_json::json!({
            "task": report.task.name,
            "task_sha256": report.task.sha256,
            "test_rows": report.task.test_rows,
            "rows": comparison.map(|comparison| &comparison.lines),
            "differences": comparison.map(|comparison| &comparison.differences),
            "left_out": comparison.map(|comparison| &comparison.left_out),
            "models": models,
            "warnings": report.warnings,
            "provenance": report.provenance,
        }));
        let json = json.expect("a comparison holds nothing that JSON cannot write");
        self.run.write("compare.json", format!("{json}\n").as_bytes())?;
        self.run.write("compare.md", markdown.as_bytes())?;
        report.write(self.run.path())?;
        let mut files = self.run.files_in("texts")?;
        let results = ["compare.json", "compare.md", report::JSON_FILE, report::HTML_FILE];
        files.extend(results.map(str::to_owned));
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        self.run.finish_stage("compare", &[("rows", report.results.len())], &files, Vec::new())?;
        Ok(json)
    }
}
