//! What training takes: students, steps, memory and time.

use super::TEXT_TOKENS;
use crate::{
    cli::{build, error},
    config::Settings,
    memory,
    models::{self, Role},
    pipeline::length,
    report::CutTexts,
    student::{
        self, Coverage,
        bench::{self, Planned},
    },
    task::Task,
};

/// What the stage `train` takes.
pub(super) struct Training {
    pub students: usize,
    /// Training texts of a student that gets all of them, before filtering.
    pub rows: usize,
    /// Labelled seeds that no student is trained on.
    pub unused_seeds: usize,
    /// Optimiser steps of all students together.
    pub steps: usize,
    /// Tokens of a text that a student reads, and the known texts that are longer; `None` if the
    /// base model is not on this machine.
    pub length: Option<(usize, CutTexts)>,
    /// Upper bound of one student's memory in bytes; 0 if the base model is not on this machine.
    pub memory: u64,
    /// What is wrong with the student's vocabulary for the texts of the task.
    pub unfamiliar: Option<String>,
    /// `Err`: why there is no estimate.
    pub time: Result<bench::Estimate, String>,
}

impl Training {
    pub(super) fn of(task: &Task, settings: &Settings, seeds: usize, texts: usize) -> Self {
        let training = &settings.student.training;
        let rows = seeds + texts;
        let all = student::steps(training, seeds, texts);
        // Without a test set only one student is trained, without seeds no student on seeds alone.
        let repeats = settings.run.seeds as usize;
        let (students, steps) = match (task.test.is_empty(), seeds) {
            (true, _) => (1, all),
            (false, 0) => (2 * repeats, 2 * repeats * all),
            (false, _) => (3 * repeats, repeats * (2 * all + student::steps(training, seeds, 0))),
        };
        let classes = task.classes.len();
        let known = build::student(settings).and_then(|base| {
            let lengths = length::of(&base, task, [])?;
            let training = training.with_length(&base, &lengths, classes, memory::available());
            Ok((base, lengths, training))
        });
        let memory = known
            .as_ref()
            .map_or(0, |(base, _, training)| student::max_memory_estimate(base, classes, training));
        let coverage = known.as_ref().ok().and_then(|(base, ..)| base.coverage(&task.texts()).ok());
        let unfamiliar = coverage.and_then(Coverage::warning);
        let length = known.as_ref().ok().map(|(base, lengths, training)| {
            let limit = training.limit(base);
            let cut = lengths.cut(limit) as u64;
            (limit, CutTexts { texts: lengths.texts() as u64, cut })
        });
        let time = || {
            let (base, lengths, training) = known?;
            let tokens = lengths.mean(training.limit(&base)).unwrap_or(TEXT_TOKENS as f64);
            let planned = Planned {
                students,
                steps,
                tokens_per_step: tokens * training.batch_size.min(rows) as f64,
                texts: students * task.test.len(),
                tokens_per_text: tokens,
            };
            let report = models::speed::<bench::StudentBenchReport>(Role::Student, base.sha256());
            anyhow::Ok(bench::estimate(&base, report.as_ref(), &planned))
        };
        Self {
            students,
            rows,
            unused_seeds: task.seeds.len() - seeds,
            steps,
            length,
            memory,
            unfamiliar,
            time: time().map_err(|error| error::one_line(&*error)),
        }
    }
}
