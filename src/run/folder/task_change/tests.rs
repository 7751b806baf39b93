use std::{collections::BTreeMap, path::Path};

use super::*;
use crate::{
    augment::sample::{Sample, seed},
    dataset::AugmentedText,
    hint::Hint,
    run::ledger::SetAside,
};

fn row(id: usize, text: &str, major: &str, minor: &str) -> AugmentedText {
    AugmentedText {
        id,
        text: text.to_owned(),
        major: major.to_owned(),
        minor: Some(minor.to_owned()),
        ..AugmentedText::default()
    }
}

/// A run folder whose task got another name for class b, opened with the new task.
fn opened(folder: &Path, sample: &Sample, task: &Task) -> RunFolder {
    RunFolder::open(folder, task, &Settings::default(), &sample.prompts).unwrap()
}

#[test]
fn the_ledger_decides_whether_a_change_happened() {
    let mut sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
    sample.task.sha256 = "then".to_owned();
    let mut after = sample.task.clone();
    (after.sha256, after.classes[1].name) = ("now".to_owned(), "c".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(opened(folder.path(), &sample, &sample.task));
    let former = fs::read(path(names::TASK)).unwrap();

    // Not decided: the next file is forgotten, and the change is still to be taken up.
    fs::write(path(names::NEXT_TASK), task_json(&after)).unwrap();
    let mut run = opened(folder.path(), &sample, &after);
    assert!(!path(names::NEXT_TASK).exists());
    let pending = run.take_pending().unwrap();
    assert_eq!(pending.change.renamed["b"], "c");
    assert_eq!(fs::read(path(names::TASK)).unwrap(), former, "nothing is written yet");

    let kept = vec![row(0, "one", "c", "a")];
    let aside = SetAside { row: row(1, "two", "b", "a"), descriptions: BTreeMap::new() };
    let texts = KeptTexts { kept: kept.clone(), set_aside: vec![aside], ..Default::default() };
    let entry = TaskChanged {
        before: "then".to_owned(),
        after: "now".to_owned(),
        change: pending.change,
        texts: Some(texts),
        files: BTreeMap::new(),
    };
    run.change_task(&after, &Settings::default(), &sample.prompts, entry).unwrap();
    let written = [names::TASK, names::AUGMENTED, names::SET_ASIDE].map(|name| {
        let bytes = fs::read(path(name)).unwrap();
        (name, bytes)
    });
    drop(run);

    // Decided, but the files did not follow before the program was killed.
    for (name, bytes) in &written {
        fs::remove_file(path(name)).unwrap();
        if *name == names::TASK {
            fs::write(path(names::NEXT_TASK), bytes).unwrap();
            fs::write(path(names::TASK), &former).unwrap();
        }
    }
    let mut run = opened(folder.path(), &sample, &after);
    assert!(run.take_pending().is_none());
    for (name, bytes) in &written {
        assert_eq!(&fs::read(path(name)).unwrap(), bytes, "{name}");
    }
    let Some(Entry::TaskChanged(entry)) =
        run.ledger().entries().iter().find(|entry| matches!(entry, Entry::TaskChanged(_)))
    else {
        panic!("no entry")
    };
    for (name, bytes) in &written {
        assert_eq!(entry.files[*name], hash::of_bytes(bytes), "{name}");
    }
    // What a stage did before the change is not current any more.
    assert!(run.check_current(&["relabel"], names::RELABELLED).is_err());
    run.finish_stage("relabel", &[], &[], Vec::new()).unwrap();
    run.check_current(&["relabel"], names::RELABELLED).unwrap();
    // An import without labels leaves the labels of the one before it behind.
    run.finish_stage("import", &[], &[], Vec::new()).unwrap();
    let error = run.check_current(&["relabel", "import"], names::RELABELLED).unwrap_err();
    assert!(error.hint().unwrap().contains("`relabel`"), "{error}");
}

#[test]
fn examples_that_no_prompt_shows_leave_labels_valid_and_nothing_behind_them() {
    let mut sample = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]);
    sample.task.sha256 = "then".to_owned();
    let mut after = sample.task.clone();
    after.sha256 = "now".to_owned();
    after.seeds.push(seed("z", 1));
    let folder = tempfile::tempdir().unwrap();
    let mut run = opened(folder.path(), &sample, &sample.task);
    for stage in ["generate", "relabel", "filter", "train"] {
        run.finish_stage(stage, &[], &[], Vec::new()).unwrap();
    }
    drop(run);
    let mut run = opened(folder.path(), &sample, &after);
    let change = run.take_pending().unwrap().change;
    let entry = TaskChanged {
        before: "then".to_owned(),
        after: "now".to_owned(),
        change,
        texts: None,
        files: BTreeMap::new(),
    };
    run.change_task(&after, &Settings::default(), &sample.prompts, entry).unwrap();
    run.check_current(&["generate"], names::AUGMENTED).unwrap();
    run.check_current(&["relabel"], names::RELABELLED).unwrap();
    assert!(run.check_current(&["filter"], names::TRAIN).is_err());
    assert!(run.check_current(&["train"], names::PREDICTIONS).is_err());
}
