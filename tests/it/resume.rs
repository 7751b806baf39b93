//! A run that is killed goes on where it was and ends with the rows of an undisturbed one.

use std::{fs, process::Stdio, time::Duration};

use crate::support::{SMALL, TestDir, assert_same_calls, count, json};

#[test]
fn a_run_killed_in_each_stage_ends_like_an_undisturbed_one() {
    let bench = TestDir::new();
    // Without the flag a reply may depend on what is decoded beside it: the same calls, other rows.
    bench.ok(&[&["demo", "--out", "calm", "--deterministic"], &SMALL[..]].concat());
    let command = [&["demo", "--out", "killed", "--deterministic"], &SMALL[..]].concat();
    let ledger = bench.path("killed/ledger.jsonl");

    // One kill while replies come in, one while labels are scored, one between students.
    for (kind, wanted) in [("reply", 3), ("scores", 1), ("student", 1), ("student", 3)] {
        bench.killed_after(&command, &ledger, kind, wanted);
    }
    bench.ok(&command);

    for file in ["augmented.jsonl", "relabelled.jsonl", "train.jsonl", "predictions.json"] {
        let read = |run: &str| fs::read_to_string(bench.path(run).join(file)).unwrap();
        assert_eq!(read("calm"), read("killed"), "{file}");
    }
    let results = |run: &str| json(&bench.path(run).join("report.json"))["results"].clone();
    assert_eq!(results("calm"), results("killed"));

    // No call was made twice, and none more than in the undisturbed run.
    assert_same_calls(&bench.path("calm"), &bench.path("killed"));
}

#[test]
fn a_finished_run_costs_nothing_to_repeat() {
    let bench = TestDir::new();
    let task = bench.task("");
    let command = [&["run", task.to_str().unwrap(), "--out", "out"], &SMALL[..]].concat();
    bench.ok(&command);
    let before = fs::read_to_string(bench.path("out/ledger.jsonl")).unwrap();
    bench.ok(&command);
    assert_eq!(before, fs::read_to_string(bench.path("out/ledger.jsonl")).unwrap());
}

#[test]
fn a_second_program_is_refused() {
    let bench = TestDir::new();
    let command = [&["demo", "--out", "out"], &SMALL[..]].concat();
    let mut first =
        bench.program(&command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while count(&bench.path("out/ledger.jsonl"), "begun") == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let errors = bench.fails(&command);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(errors.contains(&first.id().to_string()), "{errors}");
}
