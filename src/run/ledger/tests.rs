use std::fs;

use super::*;
use crate::{
    augment::sample::{Sample, seed},
    config::Settings,
    run::RunFolder,
};

fn stage(name: &str) -> Entry {
    Entry::Stage { stage: name.into(), counts: BTreeMap::new(), files: BTreeMap::new() }
}

#[test]
fn entries_survive_and_a_torn_line_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.append(vec![stage("a"), stage("b")]).unwrap();
    drop(ledger);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"n\":2,\"pre").unwrap();
    let mut ledger = Ledger::open(&path).unwrap();
    assert!(ledger.was_torn());
    assert_eq!(ledger.entries(), [stage("a"), stage("b")]);
    ledger.append(vec![stage("c")]).unwrap();
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().entries(), [stage("a"), stage("b"), stage("c")]);
}

#[test]
fn decisions_that_a_power_cut_left_are_not_written_twice() {
    let sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let settings = Settings::default();
        RunFolder::open(folder.path(), &sample.task, &settings, &sample.prompts).unwrap()
    };
    let decisions = vec![(0, "a".to_owned()), (1, "b".to_owned()), (2, "a".to_owned())];
    let finish = |run: &mut RunFolder| {
        run.finish_stage("relabel", &[("texts", 3)], &["task.json"], decisions.clone()).unwrap();
    };
    let mut run = open();
    let head = fs::read(folder.path().join(names::HEAD)).unwrap();
    finish(&mut run);
    let whole = run.ledger().entries().to_vec();
    assert_eq!(whole.len(), 1 + 3 + 1);
    finish(&mut run);
    assert_eq!(run.ledger().entries(), whole, "nothing new is to be told");
    drop(run);

    let path = folder.path().join("ledger.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let two = text.match_indices('\n').nth(2).unwrap().0 + 1;
    fs::write(&path, &text[..two + 20]).unwrap();
    fs::write(folder.path().join(names::HEAD), head).unwrap();
    let mut run = open();
    assert!(run.ledger().was_torn());
    finish(&mut run);
    assert_eq!(run.ledger().entries(), whole);
    drop(run);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn an_empty_line_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    Ledger::open(&path).unwrap().append(vec![stage("a"), stage("b")]).unwrap();
    let text = fs::read_to_string(&path).unwrap().replacen('\n', "\n\n", 1);
    fs::write(&path, text).unwrap();
    let message = Ledger::open(&path).err().unwrap().to_string();
    assert!(message.contains("ledger.jsonl:2:"), "{message}");
}

#[test]
fn one_process_at_a_time_has_the_ledger_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let mut first = Ledger::open(&path).unwrap();
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Locked { .. })));
    // Removed or replaced by hand: the first does not write into a file that nobody sees.
    fs::rename(&path, folder.path().join("old")).unwrap();
    let second = Ledger::open(&path).unwrap();
    let error = first.append(vec![stage("a")]).unwrap_err();
    assert!(matches!(error, LedgerError::Write { .. }), "{error}");
    drop((first, second));
    assert_eq!(Ledger::open(&path).unwrap().entries(), []);
}

#[test]
fn a_changed_last_line_and_missing_lines_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.append_and_seal(vec![stage("a"), stage("b")]).unwrap();
    ledger.append(vec![stage("after the head")]).unwrap();
    drop(ledger);
    Ledger::open(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let first = text.split_inclusive('\n').next().unwrap();
    let second = text.split_inclusive('\n').nth(1).unwrap();
    let changed = [first, &second.replacen("\"b\"", "\"x\"", 1)].concat();
    for (text, line) in [(changed.as_str(), 2), (first, 2), ("", 1)] {
        fs::write(&path, text).unwrap();
        let message = Ledger::open(&path).err().unwrap().to_string();
        assert!(message.contains(&format!("ledger.jsonl:{line}:")), "{message}");
    }
}

#[test]
fn a_head_that_was_removed_is_missed() {
    let begun = |format| Entry::Begun {
        version: String::new(),
        started: String::new(),
        task_sha256: String::new(),
        prompts_sha256: String::new(),
        settings: String::new(),
        format,
        files: BTreeMap::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let head = folder.path().join(names::HEAD);
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.append_and_seal(vec![begun(0)]).unwrap();
    // Older runs have no head, and get one.
    fs::remove_file(&head).unwrap();
    drop(ledger);
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.append_and_seal(vec![begun(FORMAT)]).unwrap();
    drop(ledger);
    Ledger::open(&path).unwrap();
    fs::remove_file(&head).unwrap();
    let message = Ledger::open(&path).err().unwrap().to_string();
    assert!(message.contains("ledger.jsonl:2: the file ledger.head"), "{message}");
}

#[test]
fn the_head_is_there_before_the_entry_that_promises_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let ledger = Ledger::open(&path).unwrap();
    ledger.seal().unwrap();
    drop(ledger);
    // Killed here, the run begins as if nothing had happened.
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.append_and_seal(vec![stage("a")]).unwrap();
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().entries(), [stage("a")]);
}

#[test]
fn a_changed_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    Ledger::open(&path).unwrap().append(vec![stage("a"), stage("b"), stage("c")]).unwrap();
    let text = fs::read_to_string(&path).unwrap().replacen("\"b\"", "\"x\"", 1);
    fs::write(&path, text).unwrap();
    let message = Ledger::open(&path).err().unwrap().to_string();
    assert!(message.contains("ledger.jsonl:3:"), "{message}");
}
