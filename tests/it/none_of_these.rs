//! A class for texts that belong to none of the others, declared without examples.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::support::{ONE_EPOCH, TestDir, json, rows};

const NONE: &str = "hardware_fault";

/// The task of the demo with the class [`NONE`] as the one that is none of the others, without an
/// example. Returns its folder.
fn task(dir: &TestDir) -> String {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/demo");
    let read = |name: &str| fs::read_to_string(format!("{demo}/{name}")).unwrap();
    let seeds = read("seeds.jsonl");
    let seeds: String =
        seeds.lines().filter(|line| !line.contains(NONE)).map(|line| format!("{line}\n")).collect();
    dir.write("task/seeds.jsonl", seeds);
    dir.write("task/test.jsonl", read("test.jsonl"));
    let toml = read("task.toml").replace("pool = \"pool.jsonl\"\n", "");
    let name = format!("name = \"{NONE}\"\n");
    assert!(toml.contains(&name));
    let toml = toml.replace(&name, &format!("{name}none_of_these = true\n"));
    dir.write("task/task.toml", toml).parent().unwrap().to_str().unwrap().to_owned()
}

fn count(rows: &[Value], key: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row[key].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn near_misses_are_written_relabelled_and_learnt() {
    let dir = TestDir::new();
    let task = task(&dir);
    let plan = dir.ok(&["plan", &task]);
    assert!(plan.contains("belong to none of these classes (a device or part"), "{plan}");
    let refused = dir.fails(&["run", &task, "--out", "paper", "--paper"]);
    assert!(refused.contains("none_of_these = true") && refused.contains("--paper"), "{refused}");
    let run =
        [&["run", &task, "--out", "out", "--set", "augment.per_class=20"], &ONE_EPOCH[..]].concat();
    dir.ok(&run);
    let out = dir.path("out");
    let written = rows(&out.join("augmented.jsonl"));
    assert_eq!(count(&written, "major")[NONE], 20, "as many as of each class");
    let own: Vec<Value> = written.iter().filter(|row| row["major"] == NONE).cloned().collect();
    let near = count(&own, "minor");
    assert!(near.len() == 5 && !near.contains_key(NONE), "all others in turn: {near:?}");
    assert!(own.iter().all(|row| row.get("alpha").is_none()));
    let others = written.iter().filter(|row| row["major"] != NONE);
    let shows_it = |row: &Value| row["shown"].as_array().unwrap().iter().any(|name| *name == NONE);
    assert!(others.clone().count() > 90 && !others.clone().any(shows_it));
    assert!(!others.clone().any(|row| row["minor"] == NONE));

    let train = rows(&out.join("train.jsonl"));
    let labels = count(&train, "relabel");
    assert!(labels.get(NONE).is_some_and(|rows| *rows > 3), "{labels:?}");
    let report = json(&out.join("report.json"));
    let variants: Vec<&str> = report["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["row"].as_str().unwrap())
        .collect();
    assert_eq!(variants, ["seeds", "embed-seeds", "A1", "A2", "teacher"]);
    let answers = dir.ok(&["predict", "--model", "out", "--file", "task/test.jsonl"]);
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let none: Vec<&Value> = answers.iter().filter(|answer| answer["label"] == NONE).collect();
    let right = none.iter().filter(|answer| answer["input_label"] == NONE).count();
    assert!(right > 0, "{right} of {} answers are right", none.len());
    dir.ok(&["audit", "out"]);
}
