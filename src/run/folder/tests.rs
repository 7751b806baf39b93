use super::*;
use crate::{
    augment::sample::{Sample, seed},
    dataset::TextRow,
    run::ledger::Entry,
};

fn sample() -> Sample {
    Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)])
}

#[test]
fn a_stage_that_takes_its_file_back_says_so() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let mut run =
        RunFolder::open(folder.path(), &sample.task, &Settings::default(), &sample.prompts)
            .unwrap();
    let mut write = |stage: &str, content: &[u8]| {
        run.write("augmented.jsonl", content).unwrap();
        run.finish_stage(stage, &[("texts", 1)], &["augmented.jsonl"], Vec::new()).unwrap();
        (run.ledger.entries().len(), run.is_imported())
    };
    assert_eq!(write("generate", b"one"), (2, false));
    assert_eq!(write("generate", b"one"), (2, false));
    assert_eq!(write("import", b"two"), (3, true));
    assert_eq!(write("generate", b"one"), (4, false));
    assert_eq!(write("generate", b"one"), (4, false));
}

#[test]
fn a_file_that_is_edited_while_its_stage_ends_is_recorded_as_it_was_written() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let open = || {
        RunFolder::open(folder.path(), &sample.task, &Settings::default(), &sample.prompts).unwrap()
    };
    let row = |text: &str| {
        let mut row = TextRow::default();
        (row.augmented.text, row.augmented.major) = (text.to_owned(), "a".to_owned());
        (row.relabel, row.p) = (Some("a".to_owned()), Some(1.0));
        row
    };
    let mut run = open();
    run.write_rows(names::TRAIN, &[row("one")]).unwrap();
    let written = run.hash(names::TRAIN).unwrap();
    // A person is faster than the next line of the program.
    fs::write(folder.path().join(names::TRAIN), json_lines(&[row("two")])).unwrap();
    run.finish_stage("filter", &[], &[names::TRAIN], Vec::new()).unwrap();
    let Some(Entry::Stage { files, .. }) = run.ledger.entries().last() else { panic!("a stage") };
    assert_eq!(files[names::TRAIN], written);
    drop(run);
    assert_eq!(open().edited(), ["1 text changed by hand in train.jsonl"]);
}

#[test]
fn a_folder_in_use_is_refused_before_anything_is_loaded() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let path = folder.path().join("run");
    RunFolder::check(&path).unwrap();
    assert!(!path.exists());
    let settings = Settings::default();
    let run = RunFolder::open(&path, &sample.task, &settings, &sample.prompts).unwrap();
    assert!(matches!(RunFolder::check(&path), Err(RunError::InUse { pid: Some(_), .. })));
    drop(run);
    RunFolder::check(&path).unwrap();
}

#[test]
fn only_what_was_decided_otherwise_is_told_again() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let mut run =
        RunFolder::open(folder.path(), &sample.task, &Settings::default(), &sample.prompts)
            .unwrap();
    let mut decide = |outcomes: [&str; 2]| {
        let decisions = outcomes.iter().map(|outcome| (*outcome).to_owned()).enumerate();
        let before = run.ledger.entries().len();
        let kept = outcomes.iter().filter(|outcome| **outcome == "kept").count();
        run.finish_stage("filter", &[("kept", kept)], &[], decisions.collect()).unwrap();
        run.ledger.entries()[before..].to_vec()
    };
    assert_eq!(decide(["kept", "kept"]).len(), 3);
    let told = decide(["kept", "duplicate"]);
    let (stage, outcome) = ("filter".to_owned(), "duplicate".to_owned());
    assert_eq!(told[0], Entry::Decision { stage, row: 1, outcome });
    assert_eq!(told.len(), 2);
}

#[test]
fn a_folder_that_was_just_begun_is_taken_up() {
    let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
    let path = folder.path();
    for left in ["run.lock", "ledger.jsonl", "task.part"] {
        fs::write(path.join(left), b"").unwrap();
    }
    let (task, settings, prompts) = (&sample.task, Settings::default(), &sample.prompts);
    RunFolder::open(path, task, &settings, prompts).unwrap();
    assert!(!path.join("task.part").exists());

    // A comparison has its mark before its task.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(names::COMPARISON), b"").unwrap();
    RunFolder::open_comparison(folder.path(), task, &settings, prompts).unwrap();
    assert!(matches!(
        RunFolder::open(folder.path(), task, &settings, prompts),
        Err(RunError::Comparison { .. })
    ));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter.txt"), b"").unwrap();
    assert!(matches!(
        RunFolder::open(folder.path(), task, &settings, prompts),
        Err(RunError::NotARun { .. })
    ));
}
