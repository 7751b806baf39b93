//! `promptmix bundle`: signed bundles for machines without a network.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    error::{self, CommandError},
    exit_status::FailedGate,
};
use crate::{
    bundle::{self, BundleError, Destinations, Selection, Summary, Trust},
    counted::counted,
    hint::shell_path,
    models::{self, Role},
};

#[derive(Args)]
pub(super) struct BundleArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Pack the program, models, prompts and a software bill of materials into one signed file
    Create(CreateArgs),
    /// Check that a bundle is unchanged since it was signed; exit with 1 if it is not
    Verify(VerifyArgs),
    /// Verify a bundle, then install its models and, on request, the program or the sources
    Import(ImportArgs),
    /// Create a key pair: FILE (private) and FILE.pub (public)
    Keygen {
        /// File to write the private key to
        file: PathBuf,
    },
    /// Print this program's software bill of materials (JSON)
    Sbom {
        /// CycloneDX 1.5 or SPDX 2.3
        #[arg(long, value_enum, default_value_t)]
        format: BillFormat,
    },
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum BillFormat {
    #[default]
    Cyclonedx,
    Spdx,
}

#[derive(Args)]
struct CreateArgs {
    /// The bundle to create
    out: PathBuf,
    /// Your private Ed25519 key (PEM), from `bundle keygen` or `openssl genpkey -algorithm ed25519`
    #[arg(long)]
    key: PathBuf,
    /// Teacher to include: a GGUF file or a name from `promptmix models list`; repeatable
    #[arg(long, value_name = "MODEL")]
    teacher: Vec<String>,
    /// Student to include: a Hugging Face folder or a name from `promptmix models list`; repeatable
    #[arg(long, value_name = "MODEL")]
    student: Vec<String>,
    /// Checkout of promptmix to include as sources, together with all crates it depends on
    #[arg(long, value_name = "FOLDER")]
    source: Option<PathBuf>,
    /// Leave out the program
    #[arg(long)]
    no_program: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct VerifyArgs {
    /// The bundle
    file: PathBuf,
    /// The signer's public key (PEM)
    #[arg(long)]
    public_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ImportArgs {
    /// The bundle
    file: PathBuf,
    /// The signer's public key (PEM)
    #[arg(long, required_unless_present = "trust_embedded_key")]
    public_key: Option<PathBuf>,
    /// Trust the key inside the bundle, which proves nothing about its origin
    #[arg(long, conflicts_with = "public_key")]
    trust_embedded_key: bool,
    /// File to write the program to
    #[arg(long, value_name = "FILE")]
    program_to: Option<PathBuf>,
    /// New folder to unpack the sources into
    #[arg(long, value_name = "FOLDER")]
    source_to: Option<PathBuf>,
    /// Import a bundle that is older than one of the same signer that was imported before
    #[arg(long)]
    downgrade: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn bundle(args: &BundleArgs, quiet: bool) -> anyhow::Result<()> {
    match &args.action {
        Action::Create(args) => create(args, quiet),
        Action::Verify(args) => verify(args, quiet),
        Action::Import(args) => import(args, quiet),
        Action::Keygen { file } => keygen(file),
        Action::Sbom { format } => {
            let bill = match format {
                BillFormat::Cyclonedx => bundle::bill(),
                BillFormat::Spdx => bundle::spdx_bill(),
            };
            print!("{bill}");
            Ok(())
        }
    }
}

fn create(args: &CreateArgs, quiet: bool) -> anyhow::Result<()> {
    let (key, open) = bundle::private_key(&args.key)?;
    if open {
        let message = format!("others can read {}", args.key.display());
        error::warn(&message, Some(&format!("chmod 600 {}", shell_path(&args.key))));
    }
    let teachers = args.teacher.iter().map(|spec| (Role::Teacher, spec));
    let students = args.student.iter().map(|spec| (Role::Student, spec));
    let models = teachers
        .chain(students)
        .map(|(role, spec)| models::local(role, spec))
        .collect::<Result<_, _>>()?;
    let program = if args.no_program {
        None
    } else if cfg!(feature = "cpu-variants") {
        return Err(CommandError::new(
            "this program consists of several files, and a bundle carries one",
            "leave it out with --no-program, and carry its package beside the bundle",
        )
        .into());
    } else {
        Some(env::current_exe().map_err(|source| {
            CommandError::new(
                "cannot find the program's own file",
                "leave it out with --no-program",
            )
            .caused_by(source)
        })?)
    };
    let selection = Selection { program, models, source: args.source.clone() };
    if selection.source.is_some() && !quiet {
        eprintln!("collecting the sources with `cargo vendor`; this takes a while");
    }
    let bar = bar(quiet);
    let created = bundle::create(&args.out, &selection, &key, &mut |done, total| {
        show(&bar, done, total);
    });
    bar.finish_and_clear();
    print(
        "written",
        &args.out,
        &created.map_err(|error| refused(error, &args.out))?,
        args.json,
        json!({}),
    );
    Ok(())
}

/// The key to verify with.
fn trust(public_key: Option<&Path>) -> anyhow::Result<Trust> {
    Ok(match public_key {
        Some(path) => Trust::Key(bundle::public_key(path)?),
        None => Trust::Embedded,
    })
}

fn warn_of_embedded_key(summary: &Summary) {
    error::warn(
        &format!(
            "verified with the key inside the bundle, {}: the bundle is intact, but anybody could have made it",
            summary.signer
        ),
        Some(
            "--public-key FILE proves the origin, if that file came by another route than the bundle",
        ),
    );
}

/// `error` with the bundle's path. A bundle that was changed, or signed with another key, is a
/// failed gate.
fn refused(error: BundleError, path: &Path) -> anyhow::Error {
    let path = path.display();
    if error.is_verdict() {
        let error = anyhow::Error::from(error).context(format!("{path} failed verification"));
        return FailedGate::because(error).into();
    }
    anyhow::Error::from(error).context(format!("cannot use the bundle {path}"))
}

fn verify(args: &VerifyArgs, quiet: bool) -> anyhow::Result<()> {
    let trust = trust(args.public_key.as_deref())?;
    let bar = bar(quiet);
    let verified = bundle::verify(&args.file, &trust, &mut |done, total| show(&bar, done, total));
    bar.finish_and_clear();
    let summary = verified.map_err(|error| refused(error, &args.file))?;
    let origin_proven = matches!(trust, Trust::Key(_));
    if !origin_proven {
        warn_of_embedded_key(&summary);
    }
    print("whole", &args.file, &summary, args.json, json!({"origin_proven": origin_proven}));
    Ok(())
}

fn import(args: &ImportArgs, quiet: bool) -> anyhow::Result<()> {
    let trust = trust(args.public_key.as_deref())?;
    let to = Destinations {
        program: args.program_to.as_deref(),
        source: args.source_to.as_deref(),
        downgrade: args.downgrade,
    };
    let bar = bar(quiet);
    let imported = bundle::import(&args.file, &trust, to, &mut |done, total| {
        show(&bar, done, total);
    });
    bar.finish_and_clear();
    let imported = imported.map_err(|error| refused(error, &args.file))?;
    if matches!(trust, Trust::Embedded) {
        warn_of_embedded_key(&imported.summary);
    }
    let models: Vec<Value> = imported
        .models
        .iter()
        .map(|(role, name, folder)| json!({"role": role, "name": name, "folder": folder}))
        .collect();
    let extra = json!({"installed": models, "program": to.program, "source": to.source});
    print("imported", &args.file, &imported.summary, args.json, extra);
    if !args.json {
        for (role, name, folder) in &imported.models {
            println!("  --{role} {name}   {}", folder.display());
        }
        for path in [to.program, to.source].into_iter().flatten() {
            println!("  {}", path.display());
        }
    }
    Ok(())
}

fn keygen(file: &Path) -> anyhow::Result<()> {
    let (public, fingerprint) = bundle::generate(file)?;
    println!("private key  {}  (keep it secret)", file.display());
    println!("public key   {}  (for those who verify your bundles)", public.display());
    println!("fingerprint  {fingerprint}");
    Ok(())
}

/// Prints what was done with the bundle at `path`, and what it contains. `what` is also the JSON
/// key of the path.
fn print(what: &str, path: &Path, summary: &Summary, as_json: bool, extra: Value) {
    let Summary { created_by, built_for, signer, packed, unpacked, .. } = summary;
    if as_json {
        let models: Vec<Value> = summary
            .models
            .iter()
            .map(|model| json!({"role": model.role, "name": model.name, "licence": model.licence, "bytes": model.bytes}))
            .collect();
        let mut value = json!({
            what: path,
            "created_by": created_by,
            "built_for": built_for,
            "key": signer.to_string(),
            "bytes": packed,
            "unpacked": unpacked,
            "members": summary.members,
            "source_files": summary.sources,
            "has_program": summary.program,
            "models": models,
        });
        if let (Some(value), Value::Object(extra)) = (value.as_object_mut(), extra) {
            value.extend(extra);
        }
        println!("{value}");
        return;
    }
    let what = if what == "whole" { "intact" } else { what };
    println!("{what}: {}", path.display());
    println!("  {:<11}{created_by}", "created by");
    println!("  {:<11}{signer}", "key");
    println!(
        "  {:<11}{packed} bytes, {unpacked} unpacked, {}",
        "size",
        counted(summary.members, "file")
    );
    if summary.program {
        println!("  {:<11}built for {built_for}", "program");
    }
    for model in &summary.models {
        let licence = if model.licence.is_empty() { "licence unknown" } else { &model.licence };
        println!("  {:<11}{} ({licence}), {} bytes", model.role, model.name, model.bytes);
    }
    if summary.sources > 0 {
        println!("  {:<11}{}", "sources", counted(summary.sources, "file"));
    }
}

fn bar(quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn show(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}
