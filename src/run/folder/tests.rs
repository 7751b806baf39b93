use super::*;
use crate::{
    augment::sample::{Sample, seed},
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
