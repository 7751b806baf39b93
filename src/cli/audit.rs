//! `promptmix audit`: is the run what it says, and does what it trains on give somebody away?

mod render;

use std::{
    collections::HashSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::{build, exit_status::FailedGate, run};
use crate::{
    audit::{self, Chain, Changed, Privacy, ReferenceTexts, Text},
    dataset::SyntheticText,
    run::{read_task_and_settings, read_texts},
};

#[derive(Args)]
pub(super) struct AuditArgs {
    /// The folder of a run or of a comparison
    run: PathBuf,
    /// End with 1 if there is any: leak, phantom, copy; several with commas
    ///
    /// leak: a value (an address, a number) that stands in a text that is trained on and in a seed, the
    /// pool or the test set. phantom: one that stands in such a text alone. copy: a text that is one of
    /// those, letter case and punctuation aside, or shares eight words in a row with one. A folder
    /// without any text to look at ends with 2. A broken chain and a changed file end with 1 in any
    /// case.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    fail_on: Vec<Gate>,
    /// The last hash of the chain as noted before; ends with 1 if the ledger no longer has it
    #[arg(long, value_name = "HASH")]
    expect: Option<String>,
    /// Look at all texts of relabelled.jsonl, also those that are not trained on
    #[arg(long)]
    all: bool,
    /// Show personal data instead of masking it
    #[arg(long)]
    show: bool,
    /// Leave out the embeddings, for which the student's starting point is loaded
    #[arg(long)]
    no_nearest: bool,
    /// Mask personal data in what is trained on: sets filter.redact for this run and filters again
    #[arg(long)]
    redact: bool,
    /// Print as JSON
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
    record: Record,
    /// Absent where the folder has no texts that are trained on.
    privacy: Option<Privacy>,
    /// Why there are no embeddings.
    not_embedded: Option<String>,
}

/// What the ledger says of itself and of the files.
struct Record {
    chain: Chain,
    /// Whether the chain has the hash that was noted, and at which line.
    expected: Option<Option<usize>>,
    changed: Vec<Changed>,
}

impl Record {
    fn of(args: &AuditArgs) -> anyhow::Result<Self> {
        let chain = audit::follow(&args.run)?;
        let expected = args.expect.as_ref().map(|wanted| {
            let wanted = wanted.trim().to_lowercase();
            chain.hashes.iter().position(|hash| *hash == wanted).map(|at| at + 1)
        });
        let changed = audit::changed_files(&args.run, &chain);
        Ok(Self { chain, expected, changed })
    }

    /// Why it cannot be relied on.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(broken) = &self.chain.broken {
            faults.push(format!("the ledger's chain breaks at line {}", broken.line));
        }
        if self.expected == Some(None) {
            faults.push("the ledger does not hold the hash that was expected".to_owned());
        }
        if let Some(first) = self.changed.first() {
            faults.push(format!("{} is not what the run wrote", render::name(&first.file)));
        }
        faults
    }
}

/// Runs the command.
pub(super) fn audit(args: &AuditArgs, quiet: bool) -> anyhow::Result<()> {
    let mut record = Record::of(args)?;
    // What was tampered with is not written over.
    let redacts = args.redact && record.faults().is_empty();
    if redacts {
        run::redact(&args.run, quiet)?;
        record = Record::of(args)?;
    }
    let (privacy, not_embedded) = look(args)?;
    let findings = Findings { record, privacy, not_embedded };
    if args.json {
        render::json(&findings);
    } else {
        render::table(&args.run, &findings);
    }
    if redacts && !quiet {
        eprintln!("{}", render::redacted(&args.run));
    }
    gates(args, &findings)
}

/// The file of texts that students are trained on, and the one of all that were relabelled.
const TRAIN: &str = "train.jsonl";
const RELABELLED: &str = "relabelled.jsonl";

/// The texts of the folder by file, those that are trained on first. A comparison has a file of them for
/// each teacher, method, number of seeds and draw.
fn texts(args: &AuditArgs) -> anyhow::Result<Vec<(String, Vec<SyntheticText>)>> {
    let mut names = vec![TRAIN.to_owned()];
    names.extend(compared(&args.run)?);
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

/// The files `texts/*/*.jsonl` of a comparison, in order.
fn compared(run: &Path) -> anyhow::Result<Vec<String>> {
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
                return Err(error).with_context(|| {
                    format!("cannot read {}\nhint: the folder must be readable", path.display())
                });
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

/// Looks at the texts of the run, where it has some.
fn look(args: &AuditArgs) -> anyhow::Result<(Option<Privacy>, Option<String>)> {
    let (task, settings) = read_task_and_settings(&args.run)?;
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
    // What was done, not what is set: the setting may be younger than the file.
    privacy.redacted = files.iter().flat_map(|(_, texts)| texts).any(|text| text.redacted > 0);
    if args.no_nearest {
        return Ok((Some(privacy), None));
    }
    // A student that is not there any more leaves the rest as it is.
    let nearest = build::student(&settings)
        .and_then(|base| Ok(audit::nearest(&texts, &references, true, &build::embedder(&base)?)?));
    let not_embedded = match nearest {
        Ok(nearest) => {
            privacy.nearest = nearest;
            None
        }
        Err(error) => Some(format!("{error:#}")),
    };
    Ok((Some(privacy), not_embedded))
}

fn gates(args: &AuditArgs, findings: &Findings) -> anyhow::Result<()> {
    let mut failed = findings.record.faults();
    let sound = failed.is_empty();
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
        let failed = failed.join("; ");
        let hint = match (sound, args.redact) {
            (false, false) => UNSOUND.to_owned(),
            (false, true) => format!("nothing was masked; {UNSOUND}"),
            (true, _) => format!(
                "look at the lines above; `promptmix audit {run} --redact` masks personal data in what a run trains on"
            ),
        };
        return Err(FailedGate::because(format!("{failed}\nhint: {hint}")).into());
    }
    // A gate that looked at nothing has let nothing through.
    let seen = findings.privacy.as_ref().map_or(0, |privacy| privacy.texts);
    if seen == 0 && !args.fail_on.is_empty() {
        anyhow::bail!(
            "{run} has no text that is trained on: --fail-on had nothing to look at\nhint: {}",
            render::to_come(&args.run)
        );
    }
    Ok(())
}

const UNSOUND: &str =
    "what this folder says cannot be relied on; a copy from before, or a new run, can";
