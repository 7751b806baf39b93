//! `promptmix audit`: is the run what it says, and does what it trains on give somebody away?

mod say;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{gate::FailedGate, parts, road};
use crate::{
    audit::{self, Chain, Changed, Customer, Text},
    report::Privacy,
    run::{self, SyntheticText},
};

#[derive(Args)]
pub struct AuditArgs {
    /// The folder of a run or of a comparison
    run: PathBuf,
    /// End with 1 if there is any: leak, phantom, copy; several with commas
    ///
    /// leak: a value (an address, a number) that stands in a text that is trained on and in a seed, the
    /// pool or the test set. phantom: one that stands in such a text alone. copy: a text that is one of
    /// those, letter case and punctuation aside, or shares eight words in a row with one. A broken
    /// chain and a changed file end with 1 in any case.
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
    chain: Chain,
    /// Whether the chain has the hash that was noted, and at which line.
    expected: Option<Option<usize>>,
    changed: Vec<Changed>,
    /// Absent where the folder has no texts that are trained on.
    privacy: Option<Privacy>,
    /// Why there are no embeddings.
    not_embedded: Option<String>,
}

/// Runs the command.
pub fn audit(args: &AuditArgs, quiet: bool) -> anyhow::Result<()> {
    if args.redact {
        road::redact(&args.run, quiet)?;
    }
    let chain = audit::follow(&args.run)?;
    let expected = args.expect.as_ref().map(|wanted| {
        let wanted = wanted.trim().to_lowercase();
        chain.hashes.iter().position(|hash| *hash == wanted).map(|at| at + 1)
    });
    let changed = audit::changed_files(&args.run, &chain.files);
    let (privacy, not_embedded) = look(args)?;
    let findings = Findings { chain, expected, changed, privacy, not_embedded };
    if args.json {
        say::json(&findings);
    } else {
        say::table(&args.run, &findings);
    }
    if args.redact && !quiet {
        eprintln!("{}", say::redacted(&args.run));
    }
    gates(args, &findings)
}

/// Looks at the texts of the run, where it has some.
fn look(args: &AuditArgs) -> anyhow::Result<(Option<Privacy>, Option<String>)> {
    let (task, settings) = run::begun_with(&args.run)?;
    let train = SyntheticText::read(&args.run, "train.jsonl")?;
    let relabelled = match args.all {
        true => SyntheticText::read(&args.run, "relabelled.jsonl")?,
        false => None,
    };
    if train.is_none() && relabelled.is_none() {
        return Ok((None, None));
    }
    let trained: std::collections::HashSet<usize> =
        train.iter().flatten().map(|text| text.id).collect();
    let others = relabelled.iter().flatten().filter(|text| !trained.contains(&text.id));
    let of = |file| move |found: &'_ SyntheticText| (file, found.line);
    let texts: Vec<Text<'_>> = train
        .iter()
        .flatten()
        .map(|text| (of("train.jsonl")(text), text))
        .chain(others.map(|text| (of("relabelled.jsonl")(text), text)))
        .map(|((file, line), found)| Text { file, line, text: &found.text })
        .collect();
    let customer = Customer::of(&task);
    let mut privacy = audit::look(&texts, &customer, &settings.audit.scanner()?, args.show);
    privacy.redacted = settings.filter.redact;
    if args.no_nearest {
        return Ok((Some(privacy), None));
    }
    // A student that is not there any more leaves the rest as it is.
    let nearest = parts::student(&settings)
        .and_then(|base| Ok(audit::nearest(&texts, &customer, true, &parts::embedder(&base)?)?));
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
    let mut failed = Vec::new();
    if let Some(broken) = &findings.chain.broken {
        failed.push(format!("the ledger's chain breaks at line {}", broken.line));
    }
    if findings.expected == Some(None) {
        failed.push("the ledger does not hold the hash that was expected".to_owned());
    }
    if let Some(first) = findings.changed.first() {
        failed.push(format!("{} is not what the run wrote", first.file));
    }
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
    if failed.is_empty() {
        return Ok(());
    }
    let hint = hint(findings, &args.run);
    Err(FailedGate::because(format!("{}\nhint: {hint}", failed.join("; "))).into())
}

fn hint(findings: &Findings, run: &Path) -> String {
    let chain = findings.chain.broken.is_some() || findings.expected == Some(None);
    if chain || !findings.changed.is_empty() {
        return "what this folder says cannot be relied on; a copy from before, or a new run, can"
            .to_owned();
    }
    format!(
        "look at the lines above; `promptmix audit {} --redact` masks personal data, and lines can be taken out of relabelled.jsonl before `promptmix filter`",
        run.display()
    )
}
