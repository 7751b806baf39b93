//! `plan RUN` and `plan TASK --out RUN`: what a run that was begun has left to do.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Plan, time::duration};
use crate::{
    cli::{
        PlanArgs, build,
        error::{CommandError, warn},
    },
    config::{Partners, Settings},
    counted::counted,
    embed::Embedder,
    pipeline::{
        self,
        grow::RunInput,
        remaining::{Remaining, remaining},
    },
    relabel::QuestionBuilder,
    run::{self, names, read_json},
    task::{self, Task},
    teacher::Teacher,
};

/// What is planned: a task with its settings, for a new run or for one that was begun.
pub(super) struct Subject {
    pub task: Task,
    pub settings: Settings,
    pub run: Option<PathBuf>,
}

impl Subject {
    pub(super) fn of(args: &PlanArgs) -> anyhow::Result<Self> {
        let (path, models) = (&args.task.task, &args.task.model_args);
        if is_run(path) && !path.join("task.toml").exists() {
            if args.out.is_some() {
                return Err(CommandError::new(
                    format!("{} is a run folder, and so is that of --out", path.display()),
                    "`promptmix plan RUN`, or `promptmix plan TASK --out RUN`",
                )
                .into());
            }
            let before: Task = read_json(&path.join(names::TASK), run::INCOMPLETE)?;
            let task = again(path, &before)?;
            let settings = run::read_settings(path)?.with(&models.overrides(&task))?;
            if before.settings != task.settings {
                warn(
                    "the settings in task.toml changed; this plan uses those of the run",
                    Some(
                        "`promptmix plan TASK --out RUN` with the flags of `run` uses the new ones",
                    ),
                );
            }
            return Ok(Self { task, settings, run: Some(path.clone()) });
        }
        let task = Task::load(path)?;
        let settings = Settings::of_task(&task, &models.overrides(&task))?;
        let run = args.out.clone().filter(|out| out.join(names::TASK).exists());
        Ok(Self { task, settings, run })
    }
}

fn is_run(path: &Path) -> bool {
    path.join(names::TASK).exists() || path.join(names::LEDGER).exists()
}

/// The task of the run in the folder `path`, read again from where it was when the run began.
fn again(path: &Path, before: &Task) -> anyhow::Result<Task> {
    if before.folder.as_os_str().is_empty() {
        return Ok(task::demo_task()?);
    }
    if !before.folder.join("task.toml").exists() {
        return Err(CommandError::new(
            format!(
                "there is no task.toml in {}, where the task of {} was",
                before.folder.display(),
                path.display()
            ),
            format!("name the task: `promptmix plan TASK --out {}`", path.display()),
        )
        .into());
    }
    Ok(Task::load(&before.folder)?)
}

/// What a run has left to do.
pub(super) struct Resume {
    run: PathBuf,
    remaining: Remaining,
}

impl Resume {
    pub(super) fn of(
        run: &Path,
        task: &Task,
        plan: &Plan,
        teacher: &mut dyn Teacher,
    ) -> anyhow::Result<Self> {
        let (settings, prompts) = (&plan.settings, build::prompts(task)?);
        let seeds = task.draw_seeds(settings.run.seed);
        let builder = QuestionBuilder::new(task, &prompts, &seeds, &settings.relabel);
        let confusable = settings.augment.partners == Partners::Confusable;
        let embedder = match builder.needs_embedder() || confusable {
            true => Some(build::embedder(&build::student(settings)?)?),
            false => None,
        };
        let embedder = embedder.as_ref().map(|embedder| embedder as &dyn Embedder);
        let input = RunInput { task, settings, prompts: &prompts };
        let material = pipeline::material(&input.context(&seeds), embedder)?;
        let remaining = remaining(run, input, plan.shown(), teacher, &material, embedder)?;
        Ok(Self { run: run.to_owned(), remaining })
    }

    /// The teacher's time for what is left, in seconds: of each kind of call the share that is not
    /// in the ledger.
    fn seconds(&self, plan: &Plan) -> f64 {
        let share = |left: usize, all: usize| left as f64 / all.max(1) as f64;
        let Remaining { requests, labels, test_labels, .. } = self.remaining;
        let requests = share(requests, plan.generation.count);
        let labels = share(labels + test_labels, plan.relabelling.count);
        requests * plan.generation_seconds() + labels * plan.label_seconds()
    }

    pub(super) fn json(&self, plan: &Plan) -> Value {
        let Remaining { lines, requests, texts, labels, test_labels, .. } = &self.remaining;
        json!({
            "run": self.run, "change": lines, "generate_calls": requests, "texts": texts,
            "labels": labels, "test_labels": test_labels,
            "estimated_minutes": self.seconds(plan) / 60.0,
        })
    }

    pub(super) fn print(&self, plan: &Plan) {
        let Remaining { lines, warnings, requests, texts, labels, test_labels } = &self.remaining;
        for (message, hint) in warnings {
            warn(message, Some(hint));
        }
        println!("{:<10}{}", "run", self.run.display());
        lines.iter().for_each(|line| println!("{:<10}{line}", ""));
        println!(
            "{:<10}{} for {}; labels for {} and {}",
            "left",
            counted(*requests, "call"),
            counted(*texts, "text"),
            counted(*labels, "text"),
            counted(*test_labels, "test text")
        );
        let time = duration(self.seconds(plan), plan.speed.basis, "--teacher");
        println!("{:<10}teacher: {time}\n", "");
    }
}
