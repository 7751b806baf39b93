//! The output of `promptmix audit`, as text and as JSON.

use std::{fmt::Write as _, path::Path};

use serde_json::json;

use super::{Findings, Integrity};
use crate::{
    audit::{HowCopied, Nearest, Privacy},
    cli::table::aligned,
    counted::{agree, counted},
    hint::shell_path,
    printable::excerpt,
};

pub(super) fn json(findings: &Findings) {
    let Findings { integrity, privacy, not_embedded } = findings;
    let Integrity { chain, expected, changed } = integrity;
    let value = json!({
        "chain": {
            "ok": chain.broken.is_none(),
            "lines": chain.lines,
            "last": chain.last,
            "torn": chain.torn,
            "broken": chain.broken,
            "expected": expected.map(|line| json!({"found": line.is_some(), "line": line})),
        },
        "files": {"noted": chain.files.len(), "changed": changed},
        "edits": chain.edits,
        "sent_to": chain.sent_to,
        "privacy": privacy,
        "leaks": privacy.as_ref().map(Privacy::leaks),
        "phantoms": privacy.as_ref().map(Privacy::phantoms),
        "not_embedded": not_embedded,
    });
    println!("{value:#}");
}

pub(super) fn table(run: &Path, findings: &Findings) {
    print!("{}", integrity(&findings.integrity));
    match &findings.privacy {
        None => println!("\nno training texts yet: {}", next_step(run)),
        Some(found) => print!("\n{}", privacy(found)),
    }
    if let Some(reason) = &findings.not_embedded {
        println!("\nnearest   not computed: {reason}");
    }
}

/// The command that writes the training texts.
pub(super) fn next_step(run: &Path) -> String {
    if run.join("comparison").exists() {
        return "`promptmix compare` writes them to texts/".to_owned();
    }
    format!("`promptmix filter {}` writes train.jsonl", shell_path(run))
}

/// A file name from the ledger, escaped: the ledger may come from somebody else.
pub(super) fn name(file: &str) -> String {
    excerpt(file)
}

/// What remains to be done after masking.
pub(super) fn redacted(run: &Path) -> String {
    let run = shell_path(run);
    format!(
        "
train.jsonl is masked, and filter.redact is on for this run. The student and the report are still based on the
unmasked texts. To update them, run
  promptmix train {run}
  promptmix eval {run}
augmented.jsonl, relabelled.jsonl, labelled.jsonl, dropped.jsonl, suggested.jsonl, gold.jsonl, task.json, the ledger
and the copies in written/ keep the original texts.
To mask in `promptmix run` as well, set `redact = true` under [filter] in task.toml."
    )
}

fn integrity(Integrity { chain, expected, changed }: &Integrity) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: String| {
        let _ = writeln!(out, "{label:<10}{text}");
    };
    match &chain.broken {
        None => {
            line("chain", format!("OK, {}, last hash {}", counted(chain.lines, "line"), chain.last))
        }
        Some(broken) => line(
            "chain",
            format!(
                "BROKEN at ledger.jsonl:{}: {}; {} before it {} intact",
                broken.line,
                broken.reason,
                counted(broken.sound, "line"),
                agree(broken.sound, "is", "are")
            ),
        ),
    }
    if chain.protected.is_none() && chain.lines > 0 {
        line("", "without a ledger.head its last line is not protected".into());
    }
    if chain.torn {
        line(
            "",
            "the last line is incomplete; resuming the run removes it and repeats its work".into(),
        );
    }
    match expected {
        Some(Some(number)) => line(
            "expected",
            format!(
                "found at line {number}; {} added since",
                counted(chain.lines - number, "line")
            ),
        ),
        Some(None) => {
            line("expected", "NOT FOUND: the ledger was truncated or rewritten".into());
        }
        None => {}
    }
    if chain.edits > 0 {
        line("edits", format!("{} by hand, recorded", counted(chain.edits, "edit")));
    }
    if !chain.sent_to.is_empty() {
        let addresses: Vec<&str> = chain.sent_to.iter().map(String::as_str).collect();
        line("sent to", format!("{} (prompts, with texts of the task)", addresses.join(", ")));
    }
    match (chain.files.len(), changed.as_slice()) {
        (0, []) => line("files", "the ledger names none".into()),
        (count, []) => line(
            "files",
            format!(
                "OK, {} as the run wrote {}",
                counted(count, "file"),
                agree(count, "it", "them")
            ),
        ),
        (_, changed) => {
            for changed in changed {
                let state = if changed.unrecorded {
                    "is NOT RECORDED in the ledger: it was added, or its stage was interrupted"
                } else if changed.missing {
                    "is MISSING, or not a plain file of this folder"
                } else {
                    "was CHANGED after the run wrote it"
                };
                line("files", format!("{} {state}", name(&changed.file)));
            }
        }
    }
    out
}

fn privacy(found: &Privacy) -> String {
    let mut out = String::new();
    let compared = found.compared;
    let _ = writeln!(
        out,
        "{} compared with {}, {} and {}{}\n",
        counted(found.texts as usize, "text"),
        counted(compared.seeds as usize, "seed"),
        counted(compared.pool as usize, "pool text"),
        counted(compared.test as usize, "test text"),
        if found.redacted { "; personal data is masked in train.jsonl" } else { "" },
    );
    let mut lines = vec![["personal data", "leaks", "phantoms"].map(str::to_owned)];
    for kind in &found.kinds {
        lines.push([kind.kind.clone(), kind.leaks.to_string(), kind.phantoms.to_string()]);
    }
    lines.push(["all".to_owned(), found.leaks().to_string(), found.phantoms().to_string()]);
    out += &aligned(&lines);
    let copies = found.copies;
    out.push('\n');
    out += &aligned(&[
        ["copies", "texts"].map(str::to_owned),
        ["exact".to_owned(), copies.exact.to_string()],
        ["ignoring case and punctuation".to_owned(), copies.normalised.to_string()],
        ["eight or more consecutive words".to_owned(), copies.shared.to_string()],
    ]);
    if copies.longest > 0 {
        let _ = writeln!(out, "most consecutive words: {}", copies.longest);
    }
    if let Some(found) = &found.nearest {
        out.push('\n');
        out += &nearest(found);
    }
    if !found.findings.is_empty() || !found.copied.is_empty() {
        out.push('\n');
    }
    for value in &found.findings {
        let source = match &value.source {
            Some(source) => format!("LEAK, also in {source}"),
            None => "phantom".to_owned(),
        };
        let _ =
            writeln!(out, "{}:{} {} {} {source}", value.file, value.line, value.kind, value.value);
    }
    for text in &found.copied {
        let how = match (text.how, text.words) {
            (HowCopied::Exact, _) => "(exact) of".to_owned(),
            (HowCopied::Normalised, _) => "(ignoring case and punctuation) of".to_owned(),
            (HowCopied::Words, words) => {
                format!("({} consecutive words) of", words.unwrap_or(0))
            }
        };
        let _ = writeln!(out, "{}:{} copy {how} {}", text.file, text.line, text.source);
    }
    out
}

fn nearest(nearest: &Nearest) -> String {
    let texts = counted(nearest.compared_with as usize, "text");
    let mut out = format!("cosine similarity to the nearest of {texts}\n");
    let name = |share: f64| match share {
        share if share <= 0.0 => "least".to_owned(),
        share if share >= 1.0 => "most".to_owned(),
        share => format!("{:.0} %", share * 100.0),
    };
    let (names, values): (Vec<String>, Vec<String>) = nearest
        .quantiles
        .iter()
        .map(|(share, value)| (name(*share), format!("{value:.3}")))
        .unzip();
    let width = 8;
    for row in [names, values] {
        for cell in row {
            let _ = write!(out, "{cell:>width$}");
        }
        out.push('\n');
    }
    for near in nearest.few.iter().take(5) {
        let _ = writeln!(out, "  {}:{} {:.3} {}", near.file, near.line, near.cosine, near.source);
    }
    out
}
