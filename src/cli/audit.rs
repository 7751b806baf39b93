//! `promptmix audit`: whether a run's ledger and files are intact, and whether its training texts
//! leak personal data or copy the task's texts.

mod render;

use std::{
    collections::HashSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    build,
    error::{self, CommandError},
    exit_status::FailedGate,
    run,
};
use crate::{
    audit::{self, Chain, Changed, Privacy, ReferenceTexts, Text},
    dataset::SyntheticText,
    hint::shell_path,
    run::{edits, read_task_and_settings, read_texts},
};

#[derive(Args)]
pub(super) struct AuditArgs {
    /// The folder of a run or of a comparison
    run: PathBuf,
    /// Exit with 1 if there are any: leak, phantom, copy (comma-separated)
    ///
    /// leak: a value (an address, a number) that occurs in a training text and also in a seed, the
    /// pool or the test set. phantom: one that occurs in a training text only. copy: a training
    /// text that equals a seed or a text of the pool or test set, ignoring case and punctuation, or
    /// that shares eight consecutive words with one. If there are no training texts, the exit code
    /// is 2. A broken ledger chain or a changed file always exits with 1.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    fail_on: Vec<Gate>,
    /// A last hash of the chain noted earlier; exit with 1 if the ledger no longer contains it
    #[arg(long, value_name = "HASH")]
    expect: Option<String>,
    /// Check all texts of relabelled.jsonl, including those that are not trained on
    #[arg(long)]
    all: bool,
    /// Print personal data unmasked
    #[arg(long)]
    show: bool,
    /// Skip the nearest texts by embedding, which load the student's base model
    #[arg(long)]
    no_nearest: bool,
    /// Mask personal data in the training texts: sets filter.redact for this run and filters again
    #[arg(long)]
    redact: bool,
    /// Any setting, for this command only, for example `--set 'audit.patterns={badge="B-[0-9]+"}'`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Gate {
    Leak,
    Phantom,
    Copy,
}

/// What an audit found.
pub(super) struct Findings {
    integrity: Integrity,
    /// `None` if the folder has no training texts.
    privacy: Option<Privacy>,
    /// Why there are no embeddings.
    not_embedded: Option<String>,
}

/// Whether the ledger and the files that it names are as the run wrote them.
struct Integrity {
    chain: Chain,
    /// With `--expect`: the line that has the expected hash, if one does.
    expected: Option<Option<usize>>,
    changed: Vec<Changed>,
}

impl Integrity {
    fn of(args: &AuditArgs) -> anyhow::Result<Self> {
        let chain = audit::follow(&args.run)?;
        let expected = args.expect.as_ref().map(|wanted| {
            let wanted = wanted.trim().to_lowercase();
            chain.hashes.iter().position(|hash| *hash == wanted).map(|at| at + 1)
        });
        let changed = audit::changed_files(&args.run, &chain);
        Ok(Self { chain, expected, changed })
    }

    /// Whether all that is wrong are changes of files that people may edit.
    fn may_be_edits(&self) -> bool {
        let is_editable = |changed: &Changed| {
            !changed.missing && edits::EDITABLE.contains(&changed.file.as_str())
        };
        self.chain.broken.is_none()
            && self.expected != Some(None)
            && self.changed.iter().all(is_editable)
    }

    /// Reasons not to trust the folder.
    fn faults(&self) -> Vec<String> {
        let mut faults = audit::faults(&self.chain, &self.changed);
        if self.expected == Some(None) {
            faults.push("the ledger does not contain the expected hash".to_owned());
        }
        faults
    }
}

/// Runs the command.
pub(super) fn audit(args: &AuditArgs, quiet: bool) -> anyhow::Result<()> {
    let mut integrity = Integrity::of(args)?;
    // A folder that was tampered with is left unchanged.
    let redacts = args.redact && integrity.faults().is_empty();
    if redacts {
        run::redact(&args.run, quiet)?;
        integrity = Integrity::of(args)?;
    }
    let (privacy, not_embedded) = scan(args)?;
    let findings = Findings { integrity, privacy, not_embedded };
    if args.json {
        render::json(&findings);
    } else {
        render::table(&args.run, &findings);
    }
    if redacts && !quiet {
        eprintln!("{}", render::redacted(&args.run));
    }
    check_gates(args, &findings)
}

/// The file with the training texts, and the one with all relabelled texts.
const TRAIN: &str = "train.jsonl";
const RELABELLED: &str = "relabelled.jsonl";

/// The texts of the folder by file, training texts first. A comparison has one file for each
/// teacher, method, number of seeds and draw.
fn texts(args: &AuditArgs) -> anyhow::Result<Vec<(String, Vec<SyntheticText>)>> {
    let mut names = vec![TRAIN.to_owned()];
    names.extend(comparison_files(&args.run)?);
    let mut files = Vec::new();
    for name in names {
        files.extend(read_texts(&args.run, &name)?.map(|texts| (name, texts)));
    }
    if args.all {
        let trained: HashSet<usize> = match files.first() {
            Some((name, texts)) if name == TRAIN => texts.iter().map(|text| text.id).collect(),
            _ => HashSet::new(),
        };
        if let Some(mut others) = read_texts(&args.run, RELABELLED)? {
            others.retain(|text| !trained.contains(&text.id));
            files.push((RELABELLED.to_owned(), others));
        }
    }
    Ok(files)
}

/// The files `texts/*/*.jsonl` of a comparison, sorted.
fn comparison_files(run: &Path) -> anyhow::Result<Vec<String>> {
    let inner = |folder: &str| -> anyhow::Result<Vec<String>> {
        let path = run.join(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => {
                return Err(CommandError::new(
                    format!("cannot read {}", path.display()),
                    "check the permissions of the folder",
                )
                .caused_by(error)
                .into());
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
        names.sort();
        Ok(names)
    };
    let mut files = Vec::new();
    for teacher in inner("texts")? {
        files.extend(inner(&teacher)?.into_iter().filter(|name| name.ends_with(".jsonl")));
    }
    Ok(files)
}

/// Searches the texts of the folder, if it has any, for personal data and copies. The second value
/// tells why there are no embeddings.
fn scan(args: &AuditArgs) -> anyhow::Result<(Option<Privacy>, Option<String>)> {
    let (task, settings) = read_task_and_settings(&args.run)?;
    let settings = settings.with(&args.set)?;
    let files = texts(args)?;
    if files.is_empty() {
        return Ok((None, None));
    }
    let texts: Vec<Text<'_>> = files
        .iter()
        .flat_map(|(file, texts)| texts.iter().map(move |text| Text::of(file, text)))
        .collect();
    let references = ReferenceTexts::of(&task);
    let mut privacy = audit::scan(&texts, &references, &settings.audit.scanner()?, args.show);
    // The file decides, not the setting, which may have changed since the file was written.
    privacy.redacted = files.iter().flat_map(|(_, texts)| texts).any(|text| text.redacted > 0);
    if args.no_nearest {
        return Ok((Some(privacy), None));
    }
    // Without the base model the rest of the audit is still valid.
    let nearest = build::student(&settings)
        .and_then(|base| Ok(audit::nearest(&texts, &references, true, &build::embedder(&base)?)?));
    let not_embedded = match nearest {
        Ok(nearest) => {
            privacy.nearest = nearest;
            None
        }
        Err(error) => Some(error::one_line(&*error)),
    };
    Ok((Some(privacy), not_embedded))
}

fn check_gates(args: &AuditArgs, findings: &Findings) -> anyhow::Result<()> {
    let mut failed = findings.integrity.faults();
    let intact = failed.is_empty();
    if let Some(privacy) = &findings.privacy {
        let gates = [
            (Gate::Leak, privacy.leaks(), "leaks"),
            (Gate::Phantom, privacy.phantoms(), "phantoms"),
            (Gate::Copy, privacy.copies.all(), "copies"),
        ];
        for (gate, count, name) in gates {
            if count > 0 && args.fail_on.contains(&gate) {
                failed.push(format!("{name}: {count}"));
            }
        }
    }
    let run = args.run.display();
    if !failed.is_empty() {
        let hint = match (intact, args.redact) {
            (false, false) if findings.integrity.may_be_edits() => format!(
                "if you edited it by hand, the next command records the edit; `promptmix edits {}` shows what was edited",
                shell_path(&args.run)
            ),
            (false, false) => NOT_INTACT.to_owned(),
            (false, true) => format!("nothing was masked; {NOT_INTACT}"),
            (true, _) => format!(
                "see the lines above; `promptmix audit {} --redact` masks personal data in the training texts of a run",
                shell_path(&args.run)
            ),
        };
        return Err(FailedGate::because(CommandError::new(failed.join("; "), hint)).into());
    }
    // A gate that checked no text must not pass.
    let checked = findings.privacy.as_ref().map_or(0, |privacy| privacy.texts);
    if checked == 0 && !args.fail_on.is_empty() {
        return Err(CommandError::new(
            format!("{run} has no training texts, so --fail-on has nothing to check"),
            render::next_step(&args.run),
        )
        .into());
    }
    Ok(())
}

const NOT_INTACT: &str = "do not rely on this folder; restore an earlier copy, or start a new run";
