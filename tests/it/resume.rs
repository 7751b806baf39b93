//! A killed run resumes where it stopped and ends with the same rows as an undisturbed one.

use std::{fs, process::Stdio, time::Duration};

use crate::support::{SMALL, TestDir, assert_same_calls, count, json};

#[test]
fn a_run_killed_in_each_stage_ends_like_an_undisturbed_one() {
    let dir = TestDir::new();
    // Without `--deterministic` a reply may depend on the requests decoded in the same batch, so
    // the calls would be the same but not the rows.
    dir.ok(&[&["demo", "--out", "undisturbed", "--deterministic"], &SMALL[..]].concat());
    let command = [&["demo", "--out", "killed", "--deterministic"], &SMALL[..]].concat();
    let ledger = dir.path("killed/ledger.jsonl");

    // One kill while the teacher is measured (48 scores), one while replies arrive, one while labels
    // are scored, two between students.
    let kills = [("scores", 1), ("reply", 3), ("scores", 49), ("student", 1), ("student", 3)];
    for (kind, wanted) in kills {
        dir.killed_after(&command, &ledger, kind, wanted);
    }
    dir.ok(&command);

    for file in ["augmented.jsonl", "relabelled.jsonl", "train.jsonl", "predictions.json"] {
        let read = |run: &str| fs::read_to_string(dir.path(run).join(file)).unwrap();
        assert_eq!(read("undisturbed"), read("killed"), "{file}");
    }
    let results = |run: &str| json(&dir.path(run).join("report.json"))["results"].clone();
    assert_eq!(results("undisturbed"), results("killed"));

    // No call was made twice, and none that the undisturbed run did not make.
    assert_same_calls(&dir.path("undisturbed"), &dir.path("killed"));
}

#[test]
fn repeating_a_finished_run_makes_no_calls() {
    let dir = TestDir::new();
    let task = dir.task("");
    let command = [&["run", task.to_str().unwrap(), "--out", "out"], &SMALL[..]].concat();
    dir.ok(&command);
    let before = fs::read_to_string(dir.path("out/ledger.jsonl")).unwrap();
    dir.ok(&command);
    assert_eq!(before, fs::read_to_string(dir.path("out/ledger.jsonl")).unwrap());
}

#[test]
fn a_second_process_on_the_same_folder_is_rejected() {
    let dir = TestDir::new();
    let command = [&["demo", "--out", "out"], &SMALL[..]].concat();
    let mut first =
        dir.program(&command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while count(&dir.path("out/ledger.jsonl"), "begun") == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let errors = dir.fails(&command);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(errors.contains(&first.id().to_string()), "{errors}");
}
