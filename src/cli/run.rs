//! `demo`, `init`, `run`, the single stages and `import`: the commands that work on a run folder.

use std::path::Path;

use anyhow::Context;

use super::{
    DemoArgs, ImportArgs, InitArgs, ModelArgs, RunArgs, StageArgs, TeacherStageArgs, build,
    error::CommandError, preflight, progress::Progress, table,
};
use crate::{
    config::{Partners, Settings},
    hint::shell_path,
    pipeline::{
        Event, Pipeline, Watch,
        grow::{self, RunInput},
    },
    report::Report,
    run::{Remark, RunFolder, names, read_texts},
    student::{BaseModel, Coverage},
    task::{self, Task},
    teacher::Teacher,
};

/// Opens the run folder `out` for `task`: a new one, or one to resume. Nothing is written if a
/// teacher is needed and none is named.
fn begin(
    task: Task,
    model_args: &ModelArgs,
    out: &Path,
    needs_teacher: bool,
    quiet: bool,
) -> anyhow::Result<Pipeline<'static>> {
    let overrides = model_args.overrides(&task);
    let settings = Settings::resolve(&task.settings, &task.folder, &overrides)?;
    if needs_teacher {
        build::require_teacher(&settings)?;
    }
    let prompts = build::prompts(&task)?;
    let mut run = RunFolder::open(out, &task, &settings, &prompts)?;
    let mut watch = watch(quiet);
    for warning in task.told_warnings() {
        watch(Event::warning(warning));
    }
    opened(&run, &mut *watch);
    grow::take_up(
        &mut run,
        RunInput { task: &task, settings: &settings, prompts: &prompts },
        &mut *watch,
    )?;
    Ok(Pipeline { run, task, settings, prompts, embedder: None, watch })
}

/// Opens the existing run folder `path`. The run keeps the settings of `set`; those of `passing`
/// are for this command only.
fn reopen(
    path: &Path,
    set: &[String],
    passing: &[String],
    quiet: bool,
) -> anyhow::Result<Pipeline<'static>> {
    let (mut run, task, settings) = RunFolder::reopen(path)?;
    let kept = settings.with(set)?;
    if kept != settings {
        run.change_settings(&kept)?;
    }
    let settings = kept.with(passing)?;
    let prompts = build::prompts(&task)?;
    let mut watch = watch(quiet);
    opened(&run, &mut *watch);
    Ok(Pipeline { run, task, settings, prompts, embedder: None, watch })
}

pub(super) fn watch(quiet: bool) -> Box<dyn FnMut(Event) + Send> {
    let mut progress = Progress::new(quiet);
    Box::new(move |event| progress.show(event))
}

/// Gives the pipeline the embeddings of its student `base`.
fn add_embedder(pipeline: &mut Pipeline<'_>, base: &BaseModel) -> anyhow::Result<()> {
    (pipeline.watch)(build::loading("student", &pipeline.settings.student.model));
    if let Some(message) = base.coverage(&pipeline.task.texts())?.warning() {
        (pipeline.watch)(Event::Warning { message, hint: Some(Coverage::HINT.to_owned()) });
    }
    pipeline.embedder = Some(Box::new(build::embedder(base)?));
    Ok(())
}

/// The teacher of the pipeline's settings. It sizes its context by the memory that is free: start
/// it before [`add_embedder`] loads the student.
fn start_teacher(pipeline: &mut Pipeline<'_>) -> anyhow::Result<Box<dyn Teacher>> {
    if let Some(warning) = build::without_template(&pipeline.settings) {
        (pipeline.watch)(warning);
    }
    (pipeline.watch)(build::loading("teacher", &pipeline.settings.teacher.model));
    let teacher = build::teacher(&pipeline.settings)?;
    (pipeline.watch)(build::identity(&*teacher));
    Ok(teacher)
}

/// Runs all stages.
fn run_all(pipeline: &mut Pipeline<'_>) -> anyhow::Result<Report> {
    let base = preflight::check(&pipeline.settings, &pipeline.task, pipeline.run.path())?;
    let mut teacher = start_teacher(pipeline)?;
    pipeline.embedder = Some(Box::new(build::embedder(&base)?));
    Ok(pipeline.run(&mut *teacher, &base)?)
}

/// Reports what is worth knowing about the run folder that was opened.
pub(super) fn opened(run: &RunFolder, watch: Watch<'_>) {
    for Remark { message, hint } in run.remarks() {
        watch(Event::Warning { message, hint });
    }
    for edited in run.edited() {
        watch(Event::Note(format!(
            "{edited}; recorded in the ledger and kept by later stages and reruns"
        )));
    }
    let known = run.ledger().entries().len();
    watch(Event::Fact(format!("{}: {known} lines in the ledger", run.path().display())));
}

/// `promptmix demo`
pub(super) fn demo(args: &DemoArgs, quiet: bool) -> anyhow::Result<()> {
    let task = task::demo_task()?;
    let mut pipeline = begin(task, &args.model_args, &args.out, true, quiet)?;
    if !quiet {
        let classes = pipeline.task.classes.len();
        eprintln!(
            "{} examples of {classes} classes; a tiny local teacher generates and relabels texts, a small student is trained on them\n",
            pipeline.task.shots * classes,
        );
    }
    let report = run_all(&mut pipeline)?;
    finish(&report, &args.out, args.json, quiet)
}

/// `promptmix run`
pub(super) fn run(args: &RunArgs, quiet: bool) -> anyhow::Result<()> {
    let task = Task::load(&args.task.task)?;
    let mut pipeline = begin(task, &args.task.model_args, &args.out, true, quiet)?;
    let report = run_all(&mut pipeline)?;
    finish(&report, &args.out, args.task.json, quiet)
}

/// `promptmix generate`
pub(super) fn generate(args: &RunArgs, quiet: bool) -> anyhow::Result<()> {
    let task = Task::load(&args.task.task)?;
    let mut pipeline = begin(task, &args.task.model_args, &args.out, true, quiet)?;
    let base = preflight::check(&pipeline.settings, &pipeline.task, &args.out)?;
    let mut teacher = start_teacher(&mut pipeline)?;
    if pipeline.settings.augment.partners == Partners::Confusable {
        add_embedder(&mut pipeline, &base)?;
    }
    pipeline.check_teacher(&mut *teacher)?;
    pipeline.generate(&mut *teacher)?;
    written(&args.out, names::AUGMENTED, args.task.json)
}

/// `promptmix relabel`
pub(super) fn relabel(args: &TeacherStageArgs, quiet: bool) -> anyhow::Result<()> {
    let StageArgs { run: folder, set, json } = &args.stage;
    let mut pipeline = reopen(folder, set, &args.teacher_args.overrides(), quiet)?;
    let base = preflight::check(&pipeline.settings, &pipeline.task, folder)?;
    let mut teacher = start_teacher(&mut pipeline)?;
    add_embedder(&mut pipeline, &base)?;
    pipeline.relabel(&mut *teacher)?;
    written(folder, names::RELABELLED, *json)
}

/// `promptmix filter`
pub(super) fn filter(args: &StageArgs, quiet: bool) -> anyhow::Result<()> {
    reopen(&args.run, &args.set, &[], quiet)?.filter()?;
    written(&args.run, names::TRAIN, args.json)
}

/// `promptmix audit --redact`: masks personal data in what the run at `path` trains on from here
/// on.
pub(super) fn redact(path: &Path, quiet: bool) -> anyhow::Result<()> {
    // Checked before anything is written.
    if read_texts(path, names::RELABELLED)?.is_none() {
        return Err(CommandError::new(
            format!("{} has no relabelled.jsonl, so there is nothing to mask", path.display()),
            "`--redact` needs a run with relabelled or imported texts; for a comparison or a future run, set `redact = true` under [filter] in task.toml",
        )
        .into());
    }
    reopen(path, &["filter.redact=true".to_owned()], &[], quiet)?.filter()?;
    Ok(())
}

/// `promptmix train`
pub(super) fn train(args: &StageArgs, quiet: bool) -> anyhow::Result<()> {
    let mut pipeline = reopen(&args.run, &args.set, &[], quiet)?;
    let base = preflight::check(&pipeline.settings, &pipeline.task, &args.run)?;
    pipeline.train(&base)?;
    written(&args.run, names::STUDENT, args.json)
}

/// `promptmix eval`
pub(super) fn eval(args: &TeacherStageArgs, quiet: bool) -> anyhow::Result<()> {
    let StageArgs { run: folder, set, json } = &args.stage;
    let mut pipeline = reopen(folder, set, &args.teacher_args.overrides(), quiet)?;
    // Imported texts were written elsewhere: no teacher of ours is evaluated.
    let mut teacher = match pipeline.run.is_imported() {
        true => None,
        false => Some(start_teacher(&mut pipeline)?),
    };
    let base = build::student(&pipeline.settings)?;
    add_embedder(&mut pipeline, &base)?;
    let teacher = teacher.as_mut().map(|teacher| &mut **teacher as &mut dyn Teacher);
    let report = pipeline.evaluate(teacher)?;
    finish(&report, folder, *json, quiet)
}

/// `promptmix import`
pub(super) fn import(args: &ImportArgs, quiet: bool) -> anyhow::Result<()> {
    let task = Task::load(&args.task.task)?;
    begin(task, &args.task.model_args, &args.out, false, quiet)?.import(&args.file)?;
    written(&args.out, names::AUGMENTED, args.task.json)
}

/// `promptmix init`
pub(super) fn init(args: &InitArgs) -> anyhow::Result<()> {
    let label = args.label_column.as_deref();
    let made = task::scaffold(&args.examples, &args.out, &args.text_column, label)?;
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
    println!(
        "  promptmix plan {} --teacher qwen2.5-1.5b-instruct # or another of `promptmix models list`",
        shell_path(&made.folder)
    );
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
        let student = shell_path(&out.join("student"));
        eprintln!("try it:   echo \"I need a hand\" | promptmix predict --model {student}");
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
