//! What training takes: students, steps, memory and time.

use super::TEXT_TOKENS;
use crate::{
    cli::{build, error},
    config::Settings,
    models::{self, Role},
    student::{
        self, Coverage,
        bench::{self, Planned},
    },
    task::Task,
};

/// Number of seeds and test texts that are tokenised to estimate the length of a text.
const SAMPLE: usize = 500;

/// What the stage `train` takes.
pub(super) struct Training {
    pub students: usize,
    /// Training texts of a student that gets all of them, before filtering.
    pub rows: usize,
    /// Optimiser steps of all students together.
    pub steps: usize,
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
        let base = build::student(settings);
        let memory = base
            .as_ref()
            .map_or(0, |base| student::max_memory_estimate(base, task.classes.len(), training));
        let coverage = build::student(settings).and_then(|base| Ok(base.coverage(&task.texts())?));
        let unfamiliar = coverage.ok().and_then(Coverage::warning);
        let time = || {
            let base = base?;
            let known = task.seeds.iter().chain(&task.test).take(SAMPLE);
            let known: Vec<String> = known.map(|item| item.text.clone()).collect();
            let lengths = base.tokenise(&known, training.max_length)?;
            let tokens = match lengths.len() {
                0 => TEXT_TOKENS as f64,
                count => lengths.iter().map(Vec::len).sum::<usize>() as f64 / count as f64,
            };
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
            steps,
            memory,
            unfamiliar,
            time: time().map_err(|error| error::one_line(&*error)),
        }
    }
}
