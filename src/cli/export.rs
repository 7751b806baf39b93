//! `promptmix export`: a trained student for others, checked before the folder gets its final name.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{error::CommandError, exit_status::FailedGate};
use crate::{
    audit,
    config::Settings,
    counted::counted,
    drift::{self, Reference},
    hint::shell_path,
    models,
    report::{
        RunRecord,
        card::{Base, Card},
    },
    student::{
        BaseModel,
        export::{Checks, Draft, ExportError, Format},
    },
};

#[derive(Args)]
pub(super) struct ExportArgs {
    /// Run folder, or folder of a trained student
    from: PathBuf,
    /// Folder to create
    #[arg(long)]
    to: PathBuf,
    /// What to write into the folder
    #[arg(long, value_enum, default_value_t = FormatArg::All)]
    format: FormatArg,
    /// Licence in the model card, as Hugging Face spells it, for example apache-2.0
    #[arg(long, default_value = "unknown")]
    license: String,
    /// Heading of the model card [default: the task's name]
    #[arg(long)]
    name: Option<String>,
    /// Leave the class descriptions out of the model card
    #[arg(long)]
    no_descriptions: bool,
    /// What `drift` gets in a Hugging Face folder
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = DriftArg::Numbers)]
    drift_reference: DriftArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DriftArg {
    /// The embeddings, too, from which texts can be guessed
    Full,
    /// Classes, probabilities and numbers of tokens of the reference texts
    Numbers,
    /// Nothing: `drift` needs `--reference`
    None,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    /// A Hugging Face folder
    Hf,
    /// model.onnx with configuration and tokenizer
    Onnx,
    /// Both in one folder
    All,
}

/// Runs the command.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let format = match args.format {
        FormatArg::Hf => Format::HuggingFace,
        FormatArg::Onnx => Format::Onnx,
        FormatArg::All => Format::All,
    };
    let run = RunRecord::is_at(&args.from)
        .then(|| -> anyhow::Result<_> {
            let record = RunRecord::read(&args.from)?;
            let base = base(&record.settings);
            Ok((record, base))
        })
        .transpose()?;
    if run.is_some() {
        verify(&args.from)?;
    }
    let student = match run {
        Some(_) => RunRecord::student(&args.from),
        None => args.from.clone(),
    };
    if run.is_some() && !student.join("config.json").is_file() {
        let run = args.from.display();
        return Err(CommandError::new(
            format!("{run} has no trained student yet"),
            format!("train it with `promptmix train {}`", shell_path(&args.from)),
        )
        .into());
    }
    let draft = Draft::write(&student, &args.to, format)?;
    let test = run.iter().flat_map(|(record, _)| &record.task.test);
    let texts: Vec<String> = test.map(|item| item.text.clone()).collect();
    let checks = draft.check(&texts).map_err(|error| match error {
        ExportError::Differs { .. } | ExportError::OnnxDiffers { .. } => {
            FailedGate::because(error).into()
        }
        _ => anyhow::Error::from(error),
    })?;
    let task_name = run.as_ref().map(|(record, _)| record.task.name.as_str());
    let card = Card {
        title: args.name.as_deref().or(task_name).unwrap_or("Text classifier"),
        licence: &args.license,
        descriptions: !args.no_descriptions,
        format,
        facts: draft.facts(),
        checks: &checks,
        run: run.as_ref().map(|(record, base)| (record, base)),
    };
    draft.add("README.md", card.render().as_bytes())?;
    // An ONNX file alone is no student of `drift`.
    if format != Format::Onnx && args.drift_reference != DriftArg::None {
        let full = args.drift_reference == DriftArg::Full;
        if let Some(bytes) = Reference::to_pass_on(&student, &draft.facts().labels, full)? {
            draft.add(drift::FILE, &bytes)?;
        }
    }
    let files = draft.publish()?;
    print(args, &checks, &files);
    Ok(())
}

/// Checks that the run folder `run` is as the run wrote it: the card states what its report says.
fn verify(run: &Path) -> anyhow::Result<()> {
    let chain = audit::follow(run)?;
    let faults = audit::faults(&chain, &audit::changed_files(run, &chain));
    if faults.is_empty() {
        return Ok(());
    }
    let hint = format!(
        "`promptmix audit {}` shows what changed; restore it, or rerun the stage that writes it; to export only the student, use {}",
        shell_path(run),
        shell_path(&run.join("student"))
    );
    Err(FailedGate::because(CommandError::new(faults.join("; "), hint)).into())
}

/// The base model of the run's student, as far as it is still on this machine.
fn base(settings: &Settings) -> Base {
    let known = models::known_models();
    let name = crate::pipeline::student_name(settings);
    let known = known
        .into_iter()
        .find(|model| model.role == models::Role::Student && model.name == settings.student.model);
    let found = BaseModel::open(&settings.student.model, &candle_core::Device::Cpu);
    Base {
        name,
        repo: known.map(|model| model.repo).filter(|repo| !repo.is_empty()),
        sha256: found.ok().map(|base| base.sha256().to_owned()),
    }
}

fn print(args: &ExportArgs, checks: &Checks, files: &[(String, u64)]) {
    let to: &Path = &args.to;
    if args.json {
        let files: Vec<_> =
            files.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes})).collect();
        let folder = checks.folder;
        let checks = json!({
            "folder": {"texts": folder.texts, "largest_difference": folder.difference, "limit": 0.0},
            "onnx": checks.onnx_weights.map(|weights| json!({"equal_weights": weights})),
        });
        println!("{}", json!({"written": to, "files": files, "checks": checks}));
        return;
    }
    println!("{}", to.display());
    for (name, bytes) in files {
        println!("  {name:<26} {bytes:>12} bytes");
    }
    println!(
        "checked: the reloaded folder gives the same logits on {}",
        counted(checks.folder.texts, "text")
    );
    if let Some(weights) = checks.onnx_weights {
        println!(
            "checked: model.onnx, read back, holds the intended graph and the same weights in all {weights} tensors"
        );
    }
}
