//! `promptmix compare`: every row of the paper's table on one task.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::{TeacherArgs, build, preflight, quoted, run, table};
use crate::{
    compare::{Compare, Grid},
    config::{self, Settings},
    dataset::Variant,
    hint::{shell_path, shell_word},
    pipeline::{
        self, Event,
        grow::{self, RunInput},
    },
    report::Report,
    run::RunFolder,
    task::{self, Task},
};

#[derive(Args)]
pub(super) struct CompareArgs {
    /// A task.toml or the folder that contains it [default: the task of `promptmix demo`]
    task: Option<PathBuf>,
    /// The comparison folder; an existing comparison is resumed
    #[arg(long, default_value = "promptmix-compare")]
    out: PathBuf,
    /// Rows of the table, for example `seeds,EDA,A1,A2` [default: all but `real-all`, which trains
    /// on all real texts, and `U` and `A2+U`, which take unlabelled texts]
    #[arg(long, value_delimiter = ',', value_name = "ROW,…")]
    rows: Vec<String>,
    /// Numbers of labelled seeds per class, for example `0,2,5,10` [default: the task's number]
    #[arg(long, value_delimiter = ',', value_name = "K,…")]
    k: Option<Vec<usize>>,
    /// Number of repetitions, each with another few-shot subset, other prompts and other initial
    /// weights [default: `run.seeds` of the task]
    #[arg(long)]
    seeds: Option<u64>,
    /// Teacher, as in `promptmix run`; repeat the flag to compare several
    #[arg(long, value_name = "MODEL")]
    teacher: Vec<String>,
    /// Student, as in `promptmix run`; repeat the flag to compare several
    ///
    /// The embeddings of the first student find the nearest classes for all of them.
    #[arg(long, value_name = "MODEL")]
    student: Vec<String>,
    /// Seed of all random choices
    #[arg(long)]
    seed: Option<u64>,
    /// Accepted without effect: it is the default
    #[arg(long, hide = true, conflicts_with = "deterministic")]
    fast: bool,
    #[command(flatten)]
    pub teacher_args: TeacherArgs,
    /// Any setting, for example `--set augment.per_class=40`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Print compare.json instead of the table
    #[arg(long)]
    json: bool,
}

impl CompareArgs {
    fn overrides(&self) -> Vec<String> {
        let mut overrides = self.set.clone();
        overrides.extend(self.seed.map(|seed| format!("run.seed={seed}")));
        overrides.extend(self.seeds.map(|seeds| format!("run.seeds={seeds}")));
        overrides.extend(self.teacher_args.overrides());
        overrides
    }
}

/// Runs the command.
pub(super) fn compare(args: &CompareArgs, quiet: bool) -> anyhow::Result<()> {
    let task = match &args.task {
        Some(path) => Task::load(path)?,
        None => task::demo_task()?,
    };
    let resolve = |overrides: &[String]| Settings::of_task(&task, overrides);
    // The folder speaks of the first teacher and student; the others stand beside them.
    let mut overrides = args.overrides();
    overrides.extend(args.teacher.first().map(|model| quoted("teacher.model", model)));
    overrides.extend(args.student.first().map(|model| quoted("student.model", model)));
    let settings = resolve(&overrides)?;
    // `Compare` leaves the row out where the task has a class that the paper has no prompt for.
    let paper = match task.none_of_these() {
        None => resolve(&config::paper_row_overrides(&task.settings, &overrides))?,
        Some(_) => settings.clone(),
    };
    let with = |key: &str, model: &String| settings.with(&[quoted(key, model)]);
    let several = |key: &str, given: &[String]| -> anyhow::Result<Vec<Settings>> {
        match given {
            [] => Ok(vec![settings.clone()]),
            given => Ok(given.iter().map(|model| with(key, model)).collect::<Result<_, _>>()?),
        }
    };
    let mut teachers = several("teacher.model", &args.teacher)?;
    let mut students = several("student.model", &args.student)?;
    let named = |settings: &[Settings], name: &dyn Fn(&Settings) -> String| {
        distinct(settings.iter().map(name).collect())
    };
    drop_repeats(&mut teachers);
    drop_repeats(&mut students);
    let teacher_names = named(&teachers, &pipeline::teacher_name);
    let student_names = named(&students, &pipeline::student_name);
    let prompts = build::prompts(&task)?;
    let grid = Grid::new(&task, &args.rows, args.k.as_deref(), settings.run.seeds)?;
    if grid.rows.iter().any(|row| row.needs_teacher()) {
        teachers.iter().try_for_each(build::check_teacher)?;
    }
    let opened = students.iter().map(|settings| preflight::check(settings, &task, &args.out));
    let bases = opened.collect::<anyhow::Result<Vec<_>>>()?;
    let first = bases.first().context("there is always a student")?;
    let embedder = build::embedder(first)?;

    let mut folder = RunFolder::open_comparison(&args.out, &task, &settings, &prompts)?;
    let mut watch = run::watch(quiet);
    let watch = &mut *watch;
    for warning in task.told_warnings() {
        watch(Event::warning(warning));
    }
    run::opened(&folder, watch);
    let input = RunInput { task: &task, settings: &settings, prompts: &prompts };
    grow::take_up(&mut folder, input, watch)?;
    let mut compare = Compare::new(&mut folder, &task, (&settings, paper), &prompts, grid);
    compare.gather_seeds(first)?;
    if compare.needs_teacher() {
        for (settings, name) in teachers.iter().zip(&teacher_names) {
            if let Some(warning) = build::without_template(settings) {
                watch(warning);
            }
            watch(build::loading("teacher", &settings.teacher.model));
            let mut teacher = build::teacher(settings)?;
            watch(build::identity(&*teacher));
            compare.gather(name, &mut *teacher, &embedder, watch)?;
        }
    }
    compare.gather_real()?;
    for (base, name) in bases.iter().zip(&student_names) {
        compare.train(name, base, watch)?;
    }
    let report = compare.finish(&embedder)?;
    let json = compare.write(&report)?;
    show(args, &report, &json, quiet);
    Ok(())
}

/// Prints the result, and where to find it.
fn show(args: &CompareArgs, report: &Report, json: &str, quiet: bool) {
    if args.json {
        println!("{json}");
        return;
    }
    if !quiet {
        eprintln!();
    }
    print!("{}", table::comparison(report));
    if !quiet {
        let path = |name| Path::new(&args.out).join(name);
        eprintln!("\nreport:   {}", path("report.html").display());
        eprintln!(
            "table:    {} and {}",
            path("compare.md").display(),
            path("compare.json").display()
        );
        if report
            .comparison
            .as_ref()
            .is_some_and(|all| all.lines.iter().any(|line| line.row == Variant::A2))
        {
            let task = args.task.as_ref().map_or_else(|| "TASK".into(), |task| shell_path(task));
            let teacher = args.teacher.first();
            let teacher = teacher.map(|model| format!(" --teacher {}", shell_word(model)));
            let teacher = teacher.unwrap_or_default();
            eprintln!("a student to keep: promptmix run {task} --out DIR{teacher}");
        }
    }
}

/// The same model given twice is compared once.
fn drop_repeats(settings: &mut Vec<Settings>) {
    let mut seen = Vec::new();
    settings.retain(|settings| {
        let models = (settings.teacher.model.clone(), settings.student.model.clone());
        let new = !seen.contains(&models);
        seen.push(models);
        new
    });
}

/// `names` with a number behind those that an earlier one equals: lines are told apart by them.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for name in names {
        let free = (1..).map(|number| match number {
            1 => name.clone(),
            number => format!("{name} ({number})"),
        });
        let mut free = free.filter(|name| !told.contains(name));
        told.extend(free.next());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_equal_are_numbered() {
        let names = ["model", "other", "model", "model"].map(str::to_owned).to_vec();
        assert_eq!(distinct(names), ["model", "other", "model (2)", "model (3)"]);
    }
}
