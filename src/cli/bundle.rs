//! `promptmix bundle`: over the gap and back to work.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::exit_status::FailedGate;
use crate::{
    bundle::{self, BundleError, Destinations, Selection, Summary, Trust},
    models::{self, Role},
};

#[derive(Args)]
pub(super) struct BundleArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Pack the program, models, prompts and a bill of materials into one signed file
    Create(CreateArgs),
    /// Check that nothing in a bundle was changed since it was signed; exit code 1 if something was
    Verify(VerifyArgs),
    /// Verify a bundle, then take over its models, and the program or the sources if wanted
    Import(ImportArgs),
    /// Make a pair of keys: FILE, to be kept secret, and FILE.pub
    Keygen {
        /// Where the private key goes
        file: PathBuf,
    },
    /// Print the bill of materials of this program: CycloneDX 1.5, JSON
    Sbom,
}

#[derive(Args)]
struct CreateArgs {
    /// The file to make
    out: PathBuf,
    /// Your private Ed25519 key, PEM: from `bundle keygen`, or `openssl genpkey -algorithm ed25519`
    #[arg(long)]
    key: PathBuf,
    /// A teacher to take along: a GGUF file, or a name from `promptmix models list`; repeatable
    #[arg(long, value_name = "MODEL")]
    teacher: Vec<String>,
    /// A student to take along: a Hugging Face folder, or a name from `promptmix models list`; repeatable
    #[arg(long, value_name = "MODEL")]
    student: Vec<String>,
    /// A checkout of promptmix: its sources go in, with all crates that they depend on
    #[arg(long, value_name = "FOLDER")]
    source: Option<PathBuf>,
    /// Leave out the program itself
    #[arg(long)]
    no_program: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct VerifyArgs {
    /// The bundle
    file: PathBuf,
    /// The public key of whoever made it, PEM
    #[arg(long)]
    public_key: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ImportArgs {
    /// The bundle
    file: PathBuf,
    /// The public key of whoever made it, PEM
    #[arg(long, required_unless_present = "trust_embedded_key")]
    public_key: Option<PathBuf>,
    /// Take the key inside the bundle, which anybody could have put there
    #[arg(long, conflicts_with = "public_key")]
    trust_embedded_key: bool,
    /// Write the program to this file
    #[arg(long, value_name = "FILE")]
    program_to: Option<PathBuf>,
    /// Unpack the sources into this new folder
    #[arg(long, value_name = "FOLDER")]
    source_to: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command. What was changed, or signed by somebody else, is a failed gate.
pub(super) fn bundle(args: &BundleArgs, quiet: bool) -> anyhow::Result<()> {
    act(args, quiet).map_err(|error| {
        match error.downcast_ref().is_some_and(BundleError::is_verdict) {
            true => FailedGate::because(format!("{error:#}")).into(),
            false => error,
        }
    })
}

fn act(args: &BundleArgs, quiet: bool) -> anyhow::Result<()> {
    match &args.action {
        Action::Create(args) => create(args, quiet),
        Action::Verify(args) => verify(args, quiet),
        Action::Import(args) => import(args, quiet),
        Action::Keygen { file } => keygen(file),
        Action::Sbom => {
            print!("{}", bundle::bill());
            Ok(())
        }
    }
}

fn create(args: &CreateArgs, quiet: bool) -> anyhow::Result<()> {
    let (key, open) = bundle::private_key(&args.key)?;
    if open {
        eprintln!("warning: others can read {0}\nhint: chmod 600 {0}", args.key.display());
    }
    let teachers = args.teacher.iter().map(|spec| (Role::Teacher, spec));
    let students = args.student.iter().map(|spec| (Role::Student, spec));
    let models = teachers
        .chain(students)
        .map(|(role, spec)| models::local(role, spec))
        .collect::<Result<_, _>>()?;
    let program = if args.no_program {
        None
    } else {
        Some(
            env::current_exe()
                .context("cannot find this program's own file\nhint: --no-program")?,
        )
    };
    let selection = Selection { program, models, source: args.source.clone() };
    if selection.source.is_some() && !quiet {
        eprintln!("collecting the sources: `cargo vendor` takes a while");
    }
    let bar = bar(quiet);
    let created = bundle::create(&args.out, &selection, &key, &mut |done, total| {
        show(&bar, done, total);
    });
    bar.finish_and_clear();
    say("written", &args.out, &created?, args.json, json!({}));
    Ok(())
}

/// The trusted key, or none.
fn trust(public_key: Option<&Path>) -> anyhow::Result<Trust> {
    Ok(match public_key {
        Some(path) => Trust::Key(bundle::public_key(path)?),
        None => Trust::Embedded,
    })
}

fn warn_of_embedded_key(summary: &Summary) {
    eprintln!(
        "warning: checked with the key inside the bundle, {}: it is whole, but anybody could have made it\nhint: \
         --public-key FILE proves who did, if that file came on another way than the bundle",
        summary.signer
    );
}

fn verify(args: &VerifyArgs, quiet: bool) -> anyhow::Result<()> {
    let trust = trust(args.public_key.as_deref())?;
    let bar = bar(quiet);
    let verified = bundle::verify(&args.file, &trust, &mut |done, total| show(&bar, done, total));
    bar.finish_and_clear();
    let summary = verified.with_context(|| args.file.display().to_string())?;
    let origin = matches!(trust, Trust::Key(_));
    if !origin {
        warn_of_embedded_key(&summary);
    }
    say("whole", &args.file, &summary, args.json, json!({"origin_proven": origin}));
    Ok(())
}

fn import(args: &ImportArgs, quiet: bool) -> anyhow::Result<()> {
    let trust = trust(args.public_key.as_deref())?;
    let to =
        Destinations { program: args.program_to.as_deref(), source: args.source_to.as_deref() };
    let bar = bar(quiet);
    let imported = bundle::import(&args.file, &trust, to, &mut |done, total| {
        show(&bar, done, total);
    });
    bar.finish_and_clear();
    let imported = imported.with_context(|| args.file.display().to_string())?;
    if matches!(trust, Trust::Embedded) {
        warn_of_embedded_key(&imported.summary);
    }
    let models: Vec<Value> = imported
        .models
        .iter()
        .map(|(role, name, folder)| json!({"role": role, "name": name, "folder": folder}))
        .collect();
    let extra = json!({"installed": models, "program": to.program, "source": to.source});
    say("imported", &args.file, &imported.summary, args.json, extra);
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
    println!("{}  private: keep it, show it to nobody", file.display());
    println!("{}  public: give it to those who verify", public.display());
    println!("fingerprint {fingerprint}");
    Ok(())
}

/// `what` happened to the bundle at `path`.
fn say(what: &str, path: &Path, summary: &Summary, as_json: bool, extra: Value) {
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
    println!("{what}: {}", path.display());
    println!("  made by {created_by}, signed with the key {signer}");
    println!("  {packed} bytes, {unpacked} unpacked, {} files", summary.members);
    if summary.program {
        println!("  the program, built for {built_for}");
    }
    for model in &summary.models {
        let licence = if model.licence.is_empty() { "licence unknown" } else { &model.licence };
        println!("  {} {} ({licence}), {} bytes", model.role, model.name, model.bytes);
    }
    if summary.sources > 0 {
        println!("  the sources, {} files", summary.sources);
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
