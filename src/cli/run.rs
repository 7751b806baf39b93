//! `demo`, `init`, `run`, the stages and `import`: the commands that walk the run.

use std::path::Path;

use anyhow::Context;

use super::{
    DemoArgs, ImportArgs, InitArgs, ModelArgs, RunArgs, StageArgs, TeacherStageArgs, build,
    error::CommandError, progress::Progress, table,
};
use crate::{
    config::{Partners, Settings},
    embed::Embedder,
    pipeline::{self, Event},
    prompt::Prompts,
    report::Report,
    run::{RunFolder, read_texts},
    task::{self, Task},
    teacher::Teacher,
};

/// An open run with everything that its stages need.
struct OpenRun {
    folder: RunFolder,
    task: Task,
    settings: Settings,
    prompts: Prompts,
    progress: Progress,
}

impl OpenRun {
    fn begin(task: Task, model_args: &ModelArgs, out: &Path, quiet: bool) -> anyhow::Result<Self> {
        let overrides = model_args.overrides(&task);
        let settings = Settings::resolve(&task.settings, &task.folder, &overrides)?;
        let prompts = build::prompts(&task)?;
        let folder = RunFolder::open(out, &task, &settings, &prompts)?;
        let mut progress = Progress::new(quiet);
        for warning in &task.warnings {
            progress.show(Event::Warning(warning.to_string()));
        }
        opened(&folder, &mut progress);
        Ok(Self { folder, task, settings, prompts, progress })
    }

    fn reopen(path: &Path, overrides: &[String], quiet: bool) -> anyhow::Result<Self> {
        let (folder, task, settings) = RunFolder::reopen(path)?;
        let settings = settings.with(overrides)?;
        let prompts = build::prompts(&task)?;
        let mut progress = Progress::new(quiet);
        opened(&folder, &mut progress);
        Ok(Self { folder, task, settings, prompts, progress })
    }

    fn generate(&mut self, teacher: &mut dyn Teacher) -> anyhow::Result<()> {
        let Self { folder, task, settings, prompts, progress } = self;
        let embedder = match settings.augment.partners {
            Partners::Even => None,
            Partners::Confusable => Some(build::embedder(&build::student(settings)?)?),
        };
        let embedder = embedder.as_ref().map(|embedder| embedder as &dyn Embedder);
        pipeline::generate(folder, task, settings, prompts, teacher, embedder, &mut |event| {
            progress.show(event)
        })?;
        Ok(())
    }

    fn relabel(&mut self, teacher: &mut dyn Teacher) -> anyhow::Result<()> {
        let Self { folder, task, settings, prompts, progress } = self;
        let embedder = build::embedder(&build::student(settings)?)?;
        pipeline::relabel(folder, task, settings, prompts, teacher, &embedder, &mut |event| {
            progress.show(event)
        })?;
        Ok(())
    }

    fn filter(&mut self) -> anyhow::Result<()> {
        let Self { folder, task, settings, progress, .. } = self;
        pipeline::filter(folder, task, settings, &mut |event| progress.show(event))?;
        Ok(())
    }

    fn train(&mut self) -> anyhow::Result<()> {
        let Self { folder, task, settings, progress, .. } = self;
        let base = build::student(settings)?;
        pipeline::train(folder, task, settings, &base, &mut |event| progress.show(event))?;
        Ok(())
    }

    fn evaluate(&mut self, teacher: Option<&mut dyn Teacher>) -> anyhow::Result<Report> {
        let Self { folder, task, settings, prompts, progress } = self;
        let embedder = build::embedder(&build::student(settings)?)?;
        let name = build::student_name(settings);
        let watch: &mut (dyn FnMut(Event) + Send) = &mut |event| progress.show(event);
        Ok(pipeline::evaluate(folder, task, settings, prompts, teacher, &embedder, &name, watch)?)
    }

    /// The whole run.
    fn walk(&mut self) -> anyhow::Result<Report> {
        let mut teacher = build::teacher(&self.settings)?;
        self.progress.show(build::said_of(&*teacher));
        self.generate(&mut *teacher)?;
        self.relabel(&mut *teacher)?;
        self.filter()?;
        self.train()?;
        self.evaluate(Some(&mut *teacher))
    }

    fn say(&self, quiet: bool, text: &str) {
        if !quiet {
            eprintln!("{text}");
        }
    }
}

/// What is worth knowing of a folder that was opened.
pub(crate) fn opened(folder: &RunFolder, progress: &mut Progress) {
    folder.remarks().into_iter().for_each(|remark| progress.show(Event::Warning(remark)));
    let known = folder.ledger().entries().len();
    progress.show(Event::Fact(format!("{}: {known} lines in the ledger", folder.path().display())));
}

/// `promptmix demo`
pub(super) fn demo(args: &DemoArgs, quiet: bool) -> anyhow::Result<()> {
    let task = task::demo_task()?;
    let mut run = OpenRun::begin(task, &args.model_args, &args.out, quiet)?;
    run.say(
        quiet,
        &format!(
            "{} examples of {} classes; a tiny local teacher generates and relabels texts, a small student is trained on them\n",
            run.task.shots * run.task.classes.len(),
            run.task.classes.len(),
        ),
    );
    let report = run.walk()?;
    finish(&report, &args.out, args.json, quiet)
}

/// `promptmix run`
pub(super) fn run(args: &RunArgs, quiet: bool) -> anyhow::Result<()> {
    let task = Task::load(&args.task.task)?;
    let mut run = OpenRun::begin(task, &args.task.model_args, &args.out, quiet)?;
    let report = run.walk()?;
    finish(&report, &args.out, args.task.json, quiet)
}

/// `promptmix generate`
pub(super) fn generate(args: &RunArgs, quiet: bool) -> anyhow::Result<()> {
    let task = Task::load(&args.task.task)?;
    let mut run = OpenRun::begin(task, &args.task.model_args, &args.out, quiet)?;
    let mut teacher = build::teacher(&run.settings)?;
    run.progress.show(build::said_of(&*teacher));
    run.generate(&mut *teacher)?;
    written(&args.out, "augmented.jsonl", args.task.json)
}

/// `promptmix relabel`
pub(super) fn relabel(args: &TeacherStageArgs, quiet: bool) -> anyhow::Result<()> {
    let StageArgs { run: folder, json } = &args.stage;
    let mut run = OpenRun::reopen(folder, &args.teacher_args.overrides(), quiet)?;
    let mut teacher = build::teacher(&run.settings)?;
    run.progress.show(build::said_of(&*teacher));
    run.relabel(&mut *teacher)?;
    written(folder, "relabelled.jsonl", *json)
}

/// `promptmix filter`
pub(super) fn filter(args: &StageArgs, quiet: bool) -> anyhow::Result<()> {
    OpenRun::reopen(&args.run, &[], quiet)?.filter()?;
    written(&args.run, "train.jsonl", args.json)
}

/// Masks personal data in what the run at `path` trains on from here on.
pub(crate) fn redact(path: &Path, quiet: bool) -> anyhow::Result<()> {
    // Nothing is written before all is known to be there that is needed.
    if read_texts(path, "relabelled.jsonl")?.is_none() {
        return Err(CommandError::new(
            format!("{} has no relabelled.jsonl, so there is nothing to mask", path.display()),
            "`--redact` needs a run with relabelled or imported texts; for a comparison or a future run, set `redact = true` under [filter] in task.toml",
        )
        .into());
    }
    let mut run = OpenRun::reopen(path, &["filter.redact=true".to_owned()], quiet)?;
    run.folder.change_settings(&run.settings)?;
    run.filter()
}

/// `promptmix train`
pub(super) fn train(args: &StageArgs, quiet: bool) -> anyhow::Result<()> {
    OpenRun::reopen(&args.run, &[], quiet)?.train()?;
    written(&args.run, "student", args.json)
}

/// `promptmix eval`
pub(super) fn eval(args: &TeacherStageArgs, quiet: bool) -> anyhow::Result<()> {
    let StageArgs { run: folder, json } = &args.stage;
    let mut run = OpenRun::reopen(folder, &args.teacher_args.overrides(), quiet)?;
    // Imported texts were written by somebody else: no teacher of ours is judged.
    let report = if run.folder.is_imported() {
        run.evaluate(None)?
    } else {
        let mut teacher = build::teacher(&run.settings)?;
        run.progress.show(build::said_of(&*teacher));
        run.evaluate(Some(&mut *teacher))?
    };
    finish(&report, folder, *json, quiet)
}

/// `promptmix import`
pub(super) fn import(args: &ImportArgs, quiet: bool) -> anyhow::Result<()> {
    let task = Task::load(&args.task.task)?;
    let mut run = OpenRun::begin(task, &args.task.model_args, &args.out, quiet)?;
    let OpenRun { folder, task, progress, .. } = &mut run;
    pipeline::import(folder, task, &args.file, &mut |event| progress.show(event))?;
    written(&args.out, "augmented.jsonl", args.task.json)
}

/// `promptmix init`
pub(super) fn init(args: &InitArgs) -> anyhow::Result<()> {
    let made = task::scaffold(&args.examples, &args.out, &args.text_column, &args.label_column)?;
    if args.json {
        let classes: Vec<_> = made
            .classes
            .iter()
            .map(|class| serde_json::json!({"name": class.name, "examples": class.count, "description": ""}))
            .collect();
        println!("{}", serde_json::json!({"folder": made.folder, "classes": classes}));
        return Ok(());
    }
    println!("{}: {} classes", made.folder.display(), made.classes.len());
    for class in &made.classes {
        println!("  {}  {} examples, no description yet", class.name, class.count);
    }
    if made.repeated > 0 {
        println!("  {} duplicate examples were left out", made.repeated);
    }
    let task = made.folder.join("task.toml");
    println!("\nnext: give each class a one-line description in {}, then", task.display());
    println!("  promptmix plan {}", made.folder.display());
    Ok(())
}

fn finish(report: &Report, out: &Path, json: bool, quiet: bool) -> anyhow::Result<()> {
    if json {
        let text =
            serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
        println!("{text}");
        return Ok(());
    }
    if !quiet {
        eprintln!();
    }
    print!("{}", table::results(report));
    if !quiet {
        eprintln!("\nreport:   {}", out.join("report.html").display());
        eprintln!("student:  {}", out.join("student").display());
        eprintln!(
            "try it:   echo \"I need a hand\" | promptmix predict --model {}",
            out.join("student").display()
        );
    }
    Ok(())
}

fn written(folder: &Path, name: &str, json: bool) -> anyhow::Result<()> {
    let path = folder.join(name);
    if json {
        println!("{}", serde_json::json!({"written": path}));
    } else {
        println!("{}", path.display());
    }
    Ok(())
}
