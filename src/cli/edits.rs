//! `promptmix edits`: manual edits in a run folder, recorded or not.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    counted::counted,
    dataset::{RowEdit, RowFields},
    run::{
        INCOMPLETE,
        edits::{FileEdits, find},
        ledger::Entry,
        names, read_json, read_ledger, read_settings,
    },
    task::Task,
    verbosity,
};

#[derive(Args)]
pub(super) struct EditsArgs {
    /// The run folder
    run: PathBuf,
    /// Print JSON, with the texts before and after
    #[arg(long)]
    json: bool,
}

/// The edits of one file that were recorded together, or that are not recorded yet.
#[derive(Serialize)]
struct Batch {
    file: String,
    recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    changes: Vec<RowEdit>,
    /// Whether it is a decision of a review: each is recorded alone.
    #[serde(skip)]
    decided: bool,
}

impl Batch {
    /// Takes the changes of `next` if both are decisions of one person about the same file.
    fn takes(&mut self, next: &mut Self) -> bool {
        let same = self.decided && next.decided && (&self.file, &self.by) == (&next.file, &next.by);
        if same {
            self.changes.append(&mut next.changes);
        }
        same
    }
}

/// Runs the command.
pub(super) fn edits(args: &EditsArgs) -> anyhow::Result<()> {
    // The first error that says that the folder is no run.
    read_settings(&args.run)?;
    let task: Task = read_json(&args.run.join(names::TASK), INCOMPLETE)?;
    let entries = read_ledger(&args.run, INCOMPLETE)?;
    let classes: Vec<String> = task.classes.iter().map(|class| class.name.clone()).collect();
    let found = find(&args.run, &entries, &classes)?;
    let mut batches: Vec<Batch> = entries.into_iter().filter_map(recorded).collect();
    batches.dedup_by(|next, before| before.takes(next));
    let open = found.into_iter().filter(|found| !found.changes.is_empty());
    batches.extend(open.map(|FileEdits { file, changes, .. }| Batch {
        file: file.to_owned(),
        recorded: false,
        by: None,
        at: None,
        changes,
        decided: false,
    }));
    if args.json {
        println!("{:#}", serde_json::json!({ "edits": batches }));
    } else {
        print!("{}", render(&batches));
    }
    Ok(())
}

fn recorded(entry: Entry) -> Option<Batch> {
    let Entry::Edit { file, by, at, changes, files } = entry else { return None };
    let decided = files.is_empty();
    let batch = Batch { file, recorded: true, by: Some(by), at: Some(at), changes, decided };
    // The end of a review changes nothing.
    (!batch.changes.is_empty()).then_some(batch)
}

fn render(batches: &[Batch]) -> String {
    let count = |recorded: bool| -> usize {
        let batches = batches.iter().filter(|batch| batch.recorded == recorded);
        batches.map(|batch| batch.changes.len()).sum()
    };
    let mut out = String::new();
    for Batch { file, by, at, changes, .. } in batches {
        let state = match (by, at) {
            (Some(by), Some(at)) => format!("recorded {at} by {}", plain(by)),
            _ => "not recorded yet".to_owned(),
        };
        out += &format!("{}: {state}\n", plain(file));
        for change in changes {
            out += &format!("  row {}  {}\n", change.row, described(change));
        }
    }
    match (count(true), count(false)) {
        (0, 0) => out += "no edits by hand\n",
        (recorded, 0) => out += &format!("{} by hand, recorded\n", counted(recorded, "edit")),
        (recorded, open) => {
            out += &format!(
                "{} by hand, recorded; {open} found, which the next command on the folder records\n",
                counted(recorded, "edit")
            );
        }
    }
    out
}

/// What was done to a row; its texts only with `-vv`.
fn described(change: &RowEdit) -> String {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => changed(before, after),
        (None, Some(after)) => format!("added{}", verbosity::quoted(&after.text)),
        (before, None) => {
            let text = before.as_ref().map_or("", |before| before.text.as_str());
            format!("removed{}", verbosity::quoted(text))
        }
    }
}

fn changed(before: &RowFields, after: &RowFields) -> String {
    let mut parts = Vec::new();
    let name = |label: &Option<String>| plain(label.as_deref().unwrap_or("none"));
    if before.major != after.major {
        parts.push(format!("major {} → {}", plain(&before.major), plain(&after.major)));
    } else if before.relabel != after.relabel {
        parts.push(format!("label {} → {}", name(&before.relabel), name(&after.relabel)));
    }
    if before.text != after.text {
        let (old, new) = (verbosity::quoted(&before.text), verbosity::quoted(&after.text));
        let arrow = if new.is_empty() { "" } else { " →" };
        parts.push(format!("text{old}{arrow}{new}"));
    }
    if (&before.minor, before.alpha) != (&after.minor, after.alpha) {
        parts.push("mixing".to_owned());
    }
    if parts.is_empty() {
        let confirmed = before.is_confirmed_by(after);
        parts.push(if confirmed { "confirmed" } else { "probabilities" }.to_owned());
    }
    parts.join(", ")
}

/// A name from the ledger, escaped: the ledger may come from somebody else.
fn plain(name: &str) -> String {
    name.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_edit_is_listed_without_its_text() {
        let fields = |text: &str, relabel: &str| RowFields {
            text: text.to_owned(),
            major: "a".to_owned(),
            relabel: Some(relabel.to_owned()),
            ..RowFields::default()
        };
        let edit = |row, before: Option<RowFields>, after: Option<RowFields>| RowEdit {
            row,
            key: String::new(),
            before,
            after,
            reason: None,
        };
        let changes = vec![
            edit(3, Some(fields("secret", "a")), Some(fields("secret", "b"))),
            edit(4, Some(fields("secret", "a")), Some(fields("hidden", "a"))),
            edit(5, Some(fields("secret", "a")), None),
        ];
        let (file, by, at) = ("train.jsonl".to_owned(), Some("an\x1bna".to_owned()), None);
        let at = at.or(Some("today".to_owned()));
        let added = vec![edit(9, None, Some(fields("secret", "a")))];
        let decided = false;
        let batches = [
            Batch { file: file.clone(), recorded: true, by, at, changes, decided },
            Batch { file, recorded: false, by: None, at: None, changes: added, decided },
        ];
        let wanted = "train.jsonl: recorded today by an\\u{1b}na\n  row 3  label a → b\n  row 4  text\n  \
             row 5  removed\ntrain.jsonl: not recorded yet\n  row 9  added\n\
             3 edits by hand, recorded; 1 found, which the next command on the folder records\n";
        assert_eq!(render(&batches), wanted);
        assert_eq!(render(&[]), "no edits by hand\n");
    }
}
