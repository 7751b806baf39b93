//! What `promptmix audit` prints.

use std::{fmt::Write as _, path::Path};

use serde_json::json;

use super::{Findings, Record};
use crate::{
    audit::{HowCopied, Nearest, Privacy},
    cli::table::aligned,
};

pub(crate) fn json(findings: &Findings) {
    let Findings { record: Record { chain, expected, changed }, privacy, not_embedded } = findings;
    let told = json!({
        "chain": {
            "ok": chain.broken.is_none(),
            "lines": chain.lines,
            "last": chain.last,
            "torn": chain.torn,
            "broken": chain.broken,
            "expected": expected.map(|line| json!({"found": line.is_some(), "line": line})),
        },
        "files": {"noted": chain.files.len(), "changed": changed},
        "privacy": privacy,
        "leaks": privacy.as_ref().map(Privacy::leaks),
        "phantoms": privacy.as_ref().map(Privacy::phantoms),
        "not_embedded": not_embedded,
    });
    println!("{told:#}");
}

pub(crate) fn table(run: &Path, findings: &Findings) {
    print!("{}", chain(findings));
    match &findings.privacy {
        None => println!("\nno text that is trained on yet: {}", to_come(run)),
        Some(found) => print!("\n{}", privacy(found)),
    }
    if let Some(reason) = &findings.not_embedded {
        println!("\nnearest     not computed: {reason}");
    }
}

/// What writes the texts that an audit looks at.
pub(crate) fn to_come(run: &Path) -> String {
    if run.join("comparison").exists() {
        return "`promptmix compare` writes them to texts/ as it goes on".to_owned();
    }
    format!("`promptmix filter {}` writes train.jsonl", run.display())
}

/// A file's name as it can be shown: the ledger may come from somebody else.
pub(crate) fn name(file: &str) -> String {
    file.escape_debug().to_string()
}

/// What is left to do after masking.
pub(crate) fn redacted(run: &Path) -> String {
    let run = run.display();
    format!(
        "\nfilter.redact is on for this run: train.jsonl is masked. The student and the report are still those of the\nunmasked texts; repeat\n  promptmix train {run}\n  promptmix eval {run}\naugmented.jsonl, relabelled.jsonl, dropped.jsonl, gold.jsonl, task.json and the ledger keep the texts as they were written.\nTo keep it for `promptmix run`, write `redact = true` under [filter] in task.toml."
    )
}

fn chain(findings: &Findings) -> String {
    let Record { chain, expected, changed } = &findings.record;
    let mut out = String::new();
    match &chain.broken {
        None => {
            let _ =
                writeln!(out, "chain       OK, {} lines, last hash {}", chain.lines, chain.last);
        }
        Some(broken) => {
            let _ = writeln!(
                out,
                "chain       BROKEN at ledger.jsonl:{}: {}; the {} lines before it are sound",
                broken.line, broken.reason, broken.sound
            );
        }
    }
    if chain.torn {
        out +=
            "            the last line is torn: it is cut off at the next start and done again\n";
    }
    match expected {
        Some(Some(line)) => {
            let since = chain.lines - line;
            let _ = writeln!(out, "expected    found: line {line}, {since} lines were added since");
        }
        Some(None) => {
            out += "expected    NOT FOUND: lines at the end were taken away, or all was written anew\n";
        }
        None => {}
    }
    match (chain.files.len(), changed.as_slice()) {
        (0, _) => out += "files       the ledger notes none\n",
        (count, []) => {
            let _ = writeln!(out, "files       OK, {count} as the run wrote them");
        }
        (_, changed) => {
            for changed in changed {
                let how = if changed.missing {
                    "is MISSING, or no plain file of this folder"
                } else {
                    "was CHANGED after the run wrote it"
                };
                let _ = writeln!(out, "files       {} {how}", name(&changed.file));
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
        "{} texts, held against {} seeds, {} texts of the pool and {} of the test set{}\n",
        found.texts,
        compared.seeds,
        compared.pool,
        compared.test,
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
        ["letter case and punctuation aside".to_owned(), copies.normalised.to_string()],
        ["eight words or more in a row".to_owned(), copies.shared.to_string()],
    ]);
    if copies.longest > 0 {
        let _ = writeln!(out, "most words in a row: {}", copies.longest);
    }
    if let Some(nearest) = &found.nearest {
        out.push('\n');
        out += &near(nearest);
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
            (HowCopied::Exact, _) => "an exact copy of".to_owned(),
            (HowCopied::Normalised, _) => {
                "a copy, letter case and punctuation aside, of".to_owned()
            }
            (HowCopied::Words, words) => format!("{} words in a row of", words.unwrap_or(0)),
        };
        let _ = writeln!(out, "{}:{} copy {how} {}", text.file, text.line, text.source);
    }
    out
}

fn near(nearest: &Nearest) -> String {
    let mut out = format!("nearest of {} texts, cosine\n", nearest.compared_with);
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
