//! `refine`: drafts of sharper descriptions, shown with what they change, and accepted into
//! `task.toml`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    TeacherArgs, build,
    error::CommandError,
    run::{add_embedder, reopen, start_teacher},
    table::aligned,
};
use crate::{
    counted::counted,
    dataset::{Draft, Effect, Paired, Refinement, Verdict},
    hint::shell_path,
    pipeline::Pipeline,
    relabel::QuestionBuilder,
    run::{RunFolder, names, read_json},
    suggest::nearest,
    task::{NewDescription, Task, manifest_path, replace_descriptions},
};

/// What `--accept` takes for all drafts that are not worse.
const ALL: &str = "all";

#[derive(Args)]
pub(super) struct RefineArgs {
    /// The run folder
    run: PathBuf,
    /// How many pairs of classes, the most mistaken first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// How many drafts of each class; the best of those that are of use is shown
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    drafts: u32,
    /// Put drafts that were shown into task.toml: those of these classes, or `all` that are not
    /// worse
    ///
    /// A draft that makes the labels worse has to be named. Comments and layout of the file stay.
    #[arg(long, value_name = "CLASS", num_args = 1.., conflicts_with_all = ["pairs", "drafts", "set"])]
    accept: Vec<String>,
    /// The task.toml for --accept, or its folder [default: that of the run]
    #[arg(long, value_name = "TASK", requires = "accept")]
    task: Option<PathBuf>,
    /// Any setting, for this command alone, for example `--set teacher.check=200`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub teacher_args: TeacherArgs,
}

/// Runs the command.
pub(super) fn refine(args: &RefineArgs, quiet: bool) -> anyhow::Result<()> {
    if !args.accept.is_empty() {
        return accept(args, quiet);
    }
    let passing = [&args.set[..], &args.teacher_args.overrides()].concat();
    let (mut pipeline, mut teacher) = reopen(&args.run, &[], &passing, quiet, |pipeline| {
        let Pipeline { task, settings, prompts, watch, .. } = &mut *pipeline;
        let teacher = start_teacher(settings, &mut **watch)?;
        if QuestionBuilder::new(task, prompts, &[], &settings.relabel).needs_embedder() {
            let base = build::student(settings)?;
            add_embedder(pipeline, &base)?;
        }
        Ok(teacher)
    })?;
    let refinement = pipeline.refine(&mut *teacher, args.pairs as usize, args.drafts as usize)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&refinement)?);
        return Ok(());
    }
    print!("{}", render(&refinement));
    if !quiet {
        let run = shell_path(&args.run);
        if refinement.drafts.iter().any(|draft| draft.acceptable().is_some()) {
            eprintln!(
                "\nto put those that are not worse into task.toml: promptmix refine {run} --accept all"
            );
        }
        if refinement.drafts.iter().any(|draft| draft.new.is_some()) {
            eprintln!("to choose: promptmix refine {run} --accept CLASS …");
        }
    }
    Ok(())
}

/// The refinement in words.
fn render(refinement: &Refinement) -> String {
    let Refinement { examples, right, texts, pairs, drafts, together } = refinement;
    let mut out = format!(
        "the teacher labels {right} of {} correctly that its prompt does not show\n",
        counted(*examples, "labelled example")
    );
    if pairs.is_empty() {
        return out + "no two classes are mistaken for each other\n";
    }
    let of = |all: &usize, noun: &str| format!("of {}", counted(*all, noun));
    let header = "mistaken for each other".to_owned();
    let mut lines = vec![[header, of(examples, "example"), of(texts, "text")]];
    for pair in pairs {
        let [a, b] = &pair.classes;
        lines.push([format!("  {a} ↔ {b}"), pair.examples.to_string(), pair.texts.to_string()]);
    }
    let _ = write!(out, "\n{}", aligned(&lines));
    for draft in drafts {
        let _ = write!(out, "\n{}", drafted(draft));
    }
    if let Some(effect) = together {
        let _ = writeln!(out, "\nall that are not worse, together");
        out += &measured(effect);
    }
    out
}

fn drafted(draft: &Draft) -> String {
    let Draft { class, against, old, new, usable, refused, effect } = draft;
    let old = if old.is_empty() { "(none)" } else { old };
    let new = new.as_deref().unwrap_or("no usable draft");
    let mut out = format!("{class} (against {against})\n  old    {old}\n  new    {new}\n");
    out += &effect.as_ref().map(measured).unwrap_or_default();
    let refused: Vec<String> =
        refused.iter().map(|(why, count)| format!("{count} × {why}")).collect();
    let parts = [(*usable > 1).then(|| format!("the best of {usable}"))];
    let refused = (!refused.is_empty()).then(|| format!("refused: {}", refused.join(", ")));
    let parts: Vec<String> = parts.into_iter().chain([refused]).flatten().collect();
    if !parts.is_empty() {
        let _ = writeln!(out, "  drafts {}", parts.join("; "));
    }
    out
}

/// What new descriptions change, in two lines.
fn measured(effect: &Effect) -> String {
    let counts = |paired: &Paired| {
        let Paired { examples, before, after, gained, lost } = paired;
        format!("{before} → {after} of {examples} right, {gained} gained, {lost} lost")
    };
    let verdict = match effect.verdict() {
        Verdict::Better => "better",
        Verdict::Same => "no change in sum",
        Verdict::Worse => "WORSE",
    };
    let Effect { all, unseen } = effect;
    format!("  check  {}: {verdict}\n         not drafted from: {}\n", counts(all), counts(unseen))
}

/// Puts drafts that were shown into `task.toml`.
fn accept(args: &RefineArgs, quiet: bool) -> anyhow::Result<()> {
    let path = args.run.join(names::REFINED);
    let again = || {
        let run = shell_path(&args.run);
        format!("`promptmix refine {run}` makes and shows drafts; accept them afterwards")
    };
    let (run, task, _) = RunFolder::reopen(&args.run)?;
    if !path.exists() {
        let message = format!("{} has no drafts of descriptions", args.run.display());
        return Err(CommandError::new(message, again()).into());
    }
    if !run.is_as_recorded(names::REFINED) {
        let message = format!("{} is not what was shown", path.display());
        return Err(CommandError::new(message, again()).into());
    }
    let refinement: Refinement = read_json(&path, "check the file's permissions")?;
    let wanted = chosen(&refinement.drafts, &args.accept)?;
    let new: Vec<NewDescription<'_>> = wanted
        .iter()
        .filter_map(|draft| {
            let Draft { class, old, new, .. } = draft;
            Some(NewDescription { class, old, new: new.as_deref()? })
        })
        .collect();
    let file = manifest_path(&folder(&task, args)?);
    let changed = replace_descriptions(&file, &new)?;
    if args.json {
        println!("{}", serde_json::json!({ "task": file, "accepted": changed }));
        return Ok(());
    }
    for class in &changed {
        println!("{}: the description of {class} is new", file.display());
    }
    if changed.is_empty() {
        println!("{}: nothing to change", file.display());
    } else if !quiet {
        let task = file.parent().unwrap_or(Path::new("."));
        eprintln!(
            "next: `promptmix run {} --out {}` writes the texts of {} anew",
            shell_path(task),
            shell_path(&args.run),
            if changed.len() == 1 { "this class" } else { "these classes" }
        );
    }
    Ok(())
}

/// Where the task of the run is.
fn folder(task: &Task, args: &RefineArgs) -> anyhow::Result<PathBuf> {
    match &args.task {
        Some(path) => Ok(path.clone()),
        None if task.folder.as_os_str().is_empty() => Err(CommandError::new(
            format!("the task of {} is built into promptmix", args.run.display()),
            "descriptions are accepted into the task.toml of a task of your own",
        )
        .into()),
        None => Ok(task.folder.clone()),
    }
}

/// The drafts of the classes `named`.
fn chosen<'d>(drafts: &'d [Draft], named: &[String]) -> Result<Vec<&'d Draft>, CommandError> {
    let mut chosen: Vec<&Draft> = Vec::new();
    for name in named {
        if name == ALL {
            chosen.extend(drafts.iter().filter(|draft| draft.acceptable().is_some()));
            continue;
        }
        let Some(draft) = drafts.iter().find(|draft| draft.class == *name && draft.new.is_some())
        else {
            let known = || drafts.iter().filter(|draft| draft.new.is_some());
            let names: Vec<&str> = known().map(|draft| draft.class.as_str()).collect();
            let hint = match (nearest(name, names.iter().copied()), names.is_empty()) {
                (Some(near), _) => format!("did you mean \"{near}\"?"),
                (None, true) => "`refine` found no usable draft".to_owned(),
                (None, false) => format!("there are drafts for {}", names.join(", ")),
            };
            let message = format!("there is no draft for the class \"{}\"", name.escape_debug());
            return Err(CommandError::new(message, hint));
        };
        chosen.push(draft);
    }
    chosen.sort_by(|a, b| a.class.cmp(&b.class));
    chosen.dedup();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::MistakenPair;

    fn draft(class: &str, before: usize, after: usize) -> Draft {
        let all = Paired { examples: 48, before, after, gained: 4, lost: before + 4 - after };
        Draft {
            class: class.to_owned(),
            against: "number".to_owned(),
            old: String::new(),
            new: Some(format!("what {class} is")),
            usable: 1,
            refused: [].into(),
            effect: Some(Effect { all, unseen: all }),
        }
    }

    #[test]
    fn a_draft_that_is_worse_is_accepted_only_by_name() {
        let mut none = draft("none", 1, 1);
        (none.new, none.effect) = (None, None);
        let drafts = [draft("up", 30, 33), draft("down", 30, 29), draft("level", 30, 30), none];
        let of = |named: &[&str]| {
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            chosen(&drafts, &named)
                .map(|found| found.into_iter().map(|draft| draft.class.clone()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["all"]).unwrap(), ["level", "up"]);
        assert_eq!(of(&["down", "all"]).unwrap(), ["down", "level", "up"]);
        assert_eq!(of(&["up", "up"]).unwrap(), ["up"]);
        for wrong in ["none", "gone"] {
            let message = of(&[wrong]).unwrap_err().to_string();
            assert_eq!(message, format!("there is no draft for the class \"{wrong}\""));
        }
    }

    #[test]
    fn old_and_new_stand_above_what_changes() {
        let mut useless = draft("number", 1, 1);
        (useless.new, useless.effect) = (None, None);
        useless.usable = 0;
        useless.refused =
            [("it is a question".to_owned(), 3), ("it does not end".to_owned(), 1)].into();
        useless.old = "how many".to_owned();
        let refinement = Refinement {
            examples: 48,
            right: 30,
            texts: 120,
            pairs: vec![MistakenPair {
                classes: ["entity".to_owned(), "number".to_owned()],
                examples: 5,
                texts: 31,
            }],
            drafts: vec![Draft { usable: 2, ..draft("entity", 30, 29) }, useless],
            together: None,
        };
        let wanted = "\
the teacher labels 30 of 48 labelled examples correctly that its prompt does not show

mistaken for each other  of 48 examples  of 120 texts
  entity ↔ number                     5            31

entity (against number)
  old    (none)
  new    what entity is
  check  30 → 29 of 48 right, 4 gained, 5 lost: WORSE
         not drafted from: 30 → 29 of 48 right, 4 gained, 5 lost
  drafts the best of 2

number (against number)
  old    how many
  new    no usable draft
  drafts refused: 1 × it does not end, 3 × it is a question
";
        assert_eq!(render(&refinement), wanted);
        let none = render(&Refinement { examples: 1, right: 1, ..Refinement::default() });
        assert!(none.ends_with("show\nno two classes are mistaken for each other\n"), "{none}");
    }
}
