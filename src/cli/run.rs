//! `demo`, `init`, `run`, the single stages and `import`: the commands that work on a run folder.

use std::path::Path;

use anyhow::Context;

use super::{
    DemoArgs, GenerateArgs, ImportArgs, InitArgs, LabelStageArgs, ModelArgs, RunArgs, StageArgs,
    TaskArgs, TeacherStageArgs, build, error::CommandError, preflight, progress::Progress, table,
};
use crate::{
    config::{Partners, Settings},
    counted::{agree, counted},
    hint::shell_path,
    pipeline::{
        Event, ImportedTexts, Pipeline, PipelineError, Watch,
        grow::{self, RunInput},
    },
    report::Report,
    run::{Remark, RunFolder, names, read_texts},
    student::{BaseModel, Coverage},
    task::{self, Task},
    teacher::Teacher,
};

/// Opens the run folder `out` for `task`: a new one, or one to resume. `prepare` opens and checks
/// what the command needs before that: a command that cannot run leaves no folder behind, and one
/// that is there as it was.
fn begin<T>(
    task: Task,
    model_args: &ModelArgs,
    out: &Path,
    quiet: bool,
    prepare: impl FnOnce(&Task, &Settings, Watch<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<(Pipeline<'static>, T)> {
    let overrides = model_args.overrides(&task);
    let settings = Settings::of_task(&task, &overrides)?;
    let prompts = build::prompts(&task)?;
    RunFolder::check(out)?;
    let mut watch = watch(quiet);
    let prepared = prepare(&task, &settings, &mut *watch)?;
    for warning in task.told_warnings() {
        watch(Event::warning(warning));
    }
    let mut run = RunFolder::open(out, &task, &settings, &prompts)?;
    opened(&run, &mut *watch);
    grow::take_up(
        &mut run,
        RunInput { task: &task, settings: &settings, prompts: &prompts },
        &mut *watch,
    )?;
    Ok((Pipeline { run, task, settings, prompts, embedder: None, watch }, prepared))
}

/// Opens the existing run folder `path`. `prepare` opens and checks what the command needs; then
/// the run keeps the settings of `set`. Those of `passing` are for this command only.
pub(super) fn reopen<T>(
    path: &Path,
    set: &[String],
    passing: &[String],
    quiet: bool,
    prepare: impl FnOnce(&mut Pipeline<'static>) -> anyhow::Result<T>,
) -> anyhow::Result<(Pipeline<'static>, T)> {
    let (run, task, before) = RunFolder::reopen(path)?;
    let kept = before.with(set)?;
    let settings = kept.with(passing)?;
    let prompts = build::prompts(&task)?;
    let mut watch = watch(quiet);
    opened(&run, &mut *watch);
    let mut pipeline = Pipeline { run, task, settings, prompts, embedder: None, watch };
    let prepared = prepare(&mut pipeline)?;
    if kept != before {
        pipeline.run.change_settings(&kept)?;
    }
    Ok((pipeline, prepared))
}

pub(super) fn watch(quiet: bool) -> Box<dyn FnMut(Event) + Send> {
    let mut progress = Progress::new(quiet);
    Box::new(move |event| progress.show(event))
}

/// Opens the student and checks what else a run in the folder `out` needs.
fn open_student(
    task: &Task,
    settings: &Settings,
    out: &Path,
    watch: Watch<'_>,
) -> anyhow::Result<BaseModel> {
    let base = preflight::check(settings, task, out)?;
    check_vocabulary(task, &base, watch)?;
    Ok(base)
}

/// Warns if the student's vocabulary lacks the words of the task.
fn check_vocabulary(task: &Task, base: &BaseModel, watch: Watch<'_>) -> anyhow::Result<()> {
    if let Some(message) = base.coverage(&task.texts())?.warning() {
        watch(Event::Warning { message, hint: Some(Coverage::HINT.to_owned()) });
    }
    Ok(())
}

/// Gives the pipeline the embeddings of its student `base`.
pub(super) fn add_embedder(pipeline: &mut Pipeline<'_>, base: &BaseModel) -> anyhow::Result<()> {
    (pipeline.watch)(build::loading("student", &pipeline.settings.student.model));
    pipeline.embedder = Some(Box::new(build::embedder(base)?));
    Ok(())
}

/// The teacher of the settings. It sizes its context by the memory that is free: start it before
/// [`add_embedder`] loads the student.
pub(super) fn start_teacher(
    settings: &Settings,
    watch: Watch<'_>,
) -> anyhow::Result<Box<dyn Teacher>> {
    if let Some(warning) = build::without_template(settings) {
        watch(warning);
    }
    watch(build::loading("teacher", &settings.teacher.model));
    let teacher = build::teacher(settings)?;
    watch(build::identity(&*teacher));
    Ok(teacher)
}

/// The student's base model and the teacher, for a command that needs both in the folder `out`.
fn models(
    task: &Task,
    settings: &Settings,
    out: &Path,
    watch: Watch<'_>,
) -> anyhow::Result<(BaseModel, Box<dyn Teacher>)> {
    build::require_teacher(settings)?;
    let base = open_student(task, settings, out, &mut *watch)?;
    Ok((base, start_teacher(settings, watch)?))
}

/// Runs all stages.
fn run_all(
    mut pipeline: Pipeline<'_>,
    (base, mut teacher): (BaseModel, Box<dyn Teacher>),
) -> anyhow::Result<Report> {
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
    watch(Event::Fact(format!(
        "{}: {} in the ledger",
        run.path().display(),
        counted(known, "line")
    )));
}

/// `promptmix demo`
pub(super) fn demo(args: &DemoArgs, quiet: bool) -> anyhow::Result<()> {
    let task = task::demo_task()?;
    let out = &args.out;
    let (pipeline, models) = begin(task, &args.model_args, out, quiet, |task, settings, watch| {
        if !quiet {
            let classes = task.classes.len();
            eprintln!(
                "{} examples of {classes} classes; a tiny local teacher generates and relabels texts, a small student is trained on them\n",
                task.shots * classes,
            );
        }
        models(task, settings, out, watch)
    })?;
    let report = run_all(pipeline, models)?;
    finish(&report, &args.out, args.json, quiet)
}

/// `promptmix run`
pub(super) fn run(args: &RunArgs, quiet: bool) -> anyhow::Result<()> {
    let task = Task::load(&args.task.task)?;
    let out = &args.out;
    let (pipeline, models) =
        begin(task, &args.task.model_args, out, quiet, |task, settings, watch| {
            models(task, settings, out, watch)
        })?;
    let report = run_all(pipeline, models)?;
    finish(&report, &args.out, args.task.json, quiet)
}

/// `promptmix generate`
pub(super) fn generate(args: &GenerateArgs, quiet: bool) -> anyhow::Result<()> {
    const STAGE: &str = "generate";
    let RunArgs { task: TaskArgs { task, model_args, json }, out } = &args.run;
    let task = Task::load(task)?;
    let folder = &args.shard.folder(STAGE, out)?;
    let (mut pipeline, (base, mut teacher)) =
        begin(task, model_args, folder, quiet, |task, settings, watch| {
            models(task, settings, folder, watch)
        })?;
    if pipeline.settings.augment.partners == Partners::Confusable {
        add_embedder(&mut pipeline, &base)?;
    }
    if args.shard.begin(STAGE, &mut pipeline)? {
        let outcome = pipeline.generate(&mut *teacher);
        return args.shard.finish(&mut pipeline, outcome, (out, *json, quiet));
    }
    pipeline.check_teacher(&mut *teacher)?;
    pipeline.generate(&mut *teacher)?;
    written(out, names::AUGMENTED, *json)
}

/// `promptmix relabel`
pub(super) fn relabel(args: &LabelStageArgs, quiet: bool) -> anyhow::Result<()> {
    label_stage(args, ("relabel", names::RELABELLED), quiet, |pipeline, teacher| {
        pipeline.relabel(teacher).map(|_| ())
    })
}

/// `promptmix label`
pub(super) fn label(args: &LabelStageArgs, quiet: bool) -> anyhow::Result<()> {
    label_stage(args, ("label", names::LABELLED), quiet, |pipeline, teacher| {
        pipeline.label(teacher).map(|_| ())
    })
}

/// Runs the stage `name`, in which the teacher labels texts; it writes `file`.
fn label_stage(
    args: &LabelStageArgs,
    (name, file): (&'static str, &str),
    quiet: bool,
    stage: impl FnOnce(&mut Pipeline<'_>, &mut dyn Teacher) -> Result<(), PipelineError>,
) -> anyhow::Result<()> {
    let TeacherStageArgs { stage: StageArgs { run, set, json }, teacher_args } = &args.stage;
    let passing = teacher_args.overrides();
    let folder = &args.shard.folder(name, run)?;
    let (mut pipeline, mut teacher) = reopen(folder, set, &passing, quiet, |pipeline| {
        let Pipeline { task, settings, watch, .. } = pipeline;
        let (base, teacher) = models(task, settings, folder, &mut **watch)?;
        add_embedder(pipeline, &base)?;
        Ok(teacher)
    })?;
    if args.shard.begin(name, &mut pipeline)? {
        let outcome = stage(&mut pipeline, &mut *teacher);
        return args.shard.finish(&mut pipeline, outcome, (run, *json, quiet));
    }
    stage(&mut pipeline, &mut *teacher)?;
    written(run, file, *json)
}

/// `promptmix filter`
pub(super) fn filter(args: &StageArgs, quiet: bool) -> anyhow::Result<()> {
    reopen(&args.run, &args.set, &[], quiet, |_| Ok(()))?.0.filter()?;
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
    reopen(path, &["filter.redact=true".to_owned()], &[], quiet, |_| Ok(()))?.0.filter()?;
    Ok(())
}

/// `promptmix train`
pub(super) fn train(args: &StageArgs, quiet: bool) -> anyhow::Result<()> {
    let (mut pipeline, base) = reopen(&args.run, &args.set, &[], quiet, |pipeline| {
        let Pipeline { task, settings, watch, .. } = pipeline;
        open_student(task, settings, &args.run, &mut **watch)
    })?;
    pipeline.train(&base)?;
    written(&args.run, names::STUDENT, args.json)
}

/// `promptmix eval`
pub(super) fn eval(args: &TeacherStageArgs, quiet: bool) -> anyhow::Result<()> {
    let StageArgs { run: folder, set, json } = &args.stage;
    let passing = args.teacher_args.overrides();
    let (mut pipeline, mut teacher) = reopen(folder, set, &passing, quiet, |pipeline| {
        // Imported texts were written elsewhere: no teacher of ours is evaluated.
        let Pipeline { run, task, settings, watch, .. } = &mut *pipeline;
        let teacher = match run.is_imported() {
            true => None,
            false => Some(start_teacher(settings, &mut **watch)?),
        };
        let base = build::student(settings)?;
        check_vocabulary(task, &base, &mut **watch)?;
        add_embedder(pipeline, &base)?;
        Ok(teacher)
    })?;
    let teacher = teacher.as_mut().map(|teacher| &mut **teacher as &mut dyn Teacher);
    let report = pipeline.evaluate(teacher)?;
    finish(&report, folder, *json, quiet)
}

/// `promptmix import`
pub(super) fn import(args: &ImportArgs, quiet: bool) -> anyhow::Result<()> {
    let task = Task::load(&args.task.task)?;
    let (out, models) = (&args.out, &args.task.model_args);
    let (mut pipeline, texts) = begin(task, models, out, quiet, |task, _, watch| {
        Ok(ImportedTexts::read(&args.file, task, out, watch)?)
    })?;
    pipeline.import(texts)?;
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
        println!("  {}  {}, no description yet", class.name, counted(class.count, "example"));
    }
    if made.repeated > 0 {
        println!(
            "  {} {} left out",
            counted(made.repeated, "duplicate example"),
            agree(made.repeated, "was", "were")
        );
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
