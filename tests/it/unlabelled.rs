//! Texts without labels: picked, labelled by the teacher, trained on, edited by people.

use std::{collections::HashSet, fs, path::Path};

use serde_json::Value;

use crate::support::{TINY, TestDir, assert_same_calls, json, rows};

/// Texts of two classes and none, a blank row, a text that stands twice, one of the seeds and one
/// of the test set.
const ALL: &str = "\
id,body
1,the monitor flickers all day
2,reset my password please
3,
4,My keyboard is DEAD!
5,The printer is broken.
6,the docking station makes a noise
7,Reset my password please.
8,password expired while I was on leave
9,a key of my laptop is loose
10,what is the password policy
11,the headset has no sound
12,I typed the wrong password too often
13,my phone fell into the water
14,new password does not work yet
15,the scanner pulls in several sheets
16,where do I change my password
17,projector in room four shows no picture
18,forgot the password of the time sheet
";
const KEY: &str =
    "unlabelled = { file = \"all.csv\", text_column = \"body\" }\n[label]\nbudget = 8";

fn task(dir: &TestDir) -> String {
    dir.write("task/all.csv", ALL);
    dir.task(KEY).to_str().unwrap().to_owned()
}

/// The last entry of `stage` in the ledger of `run`.
fn stage(run: &Path, stage: &str) -> Value {
    let entries = rows(&run.join("ledger.jsonl"));
    let ends = |entry: &Value| entry["kind"] == "stage" && entry["stage"] == stage;
    entries.into_iter().rfind(ends).expect("the stage has ended")
}

fn table(run: &Path) -> Vec<String> {
    let report = json(&run.join("report.json"));
    let results = report["results"].as_array().unwrap();
    results.iter().map(|scores| scores["row"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_run_picks_labels_and_trains_on_real_texts() {
    let dir = TestDir::new();
    let task = task(&dir);
    let plan = dir.ok(&[&["plan", &task], &TINY[..]].concat());
    assert!(plan.contains("label     at most 8 unlabelled texts"), "{plan}");
    let run = [&["run", &task, "--out", "out"], &TINY[..]].concat();
    let printed = dir.ok(&run);
    assert!(printed.contains("A2+U (new and real texts)"), "{printed}");

    let out = dir.path("out");
    let labelled = rows(&out.join("labelled.jsonl"));
    assert_eq!(labelled.len(), 8);
    let lines: Vec<&str> = ALL.lines().collect();
    for row in &labelled {
        let (line, text) = (row["line"].as_u64().unwrap() as usize, row["text"].as_str().unwrap());
        assert!(lines[line - 1].ends_with(text), "{row}");
        let known = ["keyboard", "printer"];
        assert!(!known.iter().any(|known| text.contains(known)), "{row}");
        assert!(row["opinions"]["judge"].is_string() && row["opinions"]["probe"].is_string());
        let shares = row["probabilities"].as_array().unwrap();
        let sum: f64 = shares.iter().map(|share| share[1].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{row}");
    }
    let counts = stage(&out, "label")["counts"].clone();
    for (name, wanted) in [
        ("read", 18),
        ("unusable", 1),
        ("copy of a seed", 1),
        ("is in the test set", 1),
        ("duplicate", 1),
        ("texts", 8),
    ] {
        assert_eq!(counts[name], wanted, "{name} in {counts}");
    }

    let train = rows(&out.join("train.jsonl"));
    let ids: HashSet<u64> = train.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), train.len(), "ids are unique");
    let real = train.iter().filter(|row| row["line"].is_u64()).count();
    assert_eq!(stage(&out, "filter")["counts"]["real kept"], real);
    assert!(real > 0 && real <= 8);
    assert_eq!(table(&out), ["seeds", "embed-seeds", "A1", "A2", "U", "A2+U", "teacher"]);
    let report = json(&out.join("report.json"));
    assert_eq!(report["unlabelled"]["read"], 18);
    assert_eq!(
        (&report["unlabelled"]["labelled"], &report["unlabelled"]["kept"]),
        (&8.into(), &real.into())
    );
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("The teacher labelled 8 of 18"), "the report says so");

    let before = fs::read_to_string(out.join("ledger.jsonl")).unwrap();
    dir.ok(&run);
    assert_eq!(before, fs::read_to_string(out.join("ledger.jsonl")).unwrap());
    dir.ok(&["audit", "out"]);
    // Another file asks only about what is new.
    dir.write("task/all.csv", ALL.replace("headset", "webcam"));
    dir.ok(&run);
    assert_eq!(rows(&out.join("labelled.jsonl")).len(), 8);
}

#[test]
fn labelling_resumes_after_a_kill_with_the_same_texts() {
    let dir = TestDir::new();
    let task = task(&dir);
    let command = |out| [&["run", &task, "--out", out, "--deterministic"], &TINY[..]].concat();
    dir.ok(&command("undisturbed"));
    let ledger = dir.path("killed/ledger.jsonl");
    for (kind, wanted) in [("picked", 1), ("student", 1)] {
        dir.killed_after(&command("killed"), &ledger, kind, wanted);
    }
    dir.ok(&command("killed"));
    for file in ["labelled.jsonl", "train.jsonl", "predictions.json"] {
        let read = |run: &str| fs::read_to_string(dir.path(run).join(file)).unwrap();
        assert_eq!(read("undisturbed"), read("killed"), "{file}");
    }
    assert_same_calls(&dir.path("undisturbed"), &dir.path("killed"));
}

#[test]
fn edits_of_labelled_texts_are_kept() {
    let dir = TestDir::new();
    let task = task(&dir);
    let run = [&["run", &task, "--out", "out"], &TINY[..]].concat();
    dir.ok(&run);
    let path = dir.path("out/labelled.jsonl");
    let mut edited = rows(&path);
    let classes = ["password_reset", "hardware_fault"];
    let other = classes[usize::from(edited[0]["relabel"] == classes[0])];
    edited[0]["relabel"] = other.into();
    let (kept, gone) = (edited[0]["text"].clone(), edited.remove(1)["text"].clone());
    let lines: String = edited.iter().map(|row| format!("{row}\n")).collect();
    fs::write(
        &path,
        lines + "{\"text\": \"the lid is cracked\", \"relabel\": \"hardware_fault\"}\n",
    )
    .unwrap();
    dir.ok(&run);
    for file in ["labelled.jsonl", "train.jsonl"] {
        let rows = rows(&dir.path("out").join(file));
        let with = |text: &Value| rows.iter().find(|row| row["text"] == *text).cloned();
        let row = with(&kept).unwrap();
        assert_eq!((&row["relabel"], &row["by"]), (&other.into(), &"person".into()), "{file}");
        assert_eq!(with(&gone), None, "{file}");
        let added = with(&"the lid is cracked".into()).unwrap();
        assert_eq!((&added["line"], &added["by"]), (&0.into(), &"person".into()), "{file}");
    }
    let told = dir.ok(&["edits", "out"]);
    assert!(told.contains("labelled.jsonl"), "{told}");
}

#[test]
fn a_single_stage_and_a_comparison_label_too() {
    let dir = TestDir::new();
    let task = task(&dir);
    dir.ok(&[&["generate", &task, "--out", "out"], &TINY[..]].concat());
    dir.ok(&["relabel", "out"]);
    let errors = dir.fails(&["filter", "out"]);
    assert!(errors.contains("labelled.jsonl") && errors.contains("label"), "{errors}");
    let written = dir.ok(&["label", "out", "--set", "label.budget=5"]);
    assert!(written.contains("labelled.jsonl"), "{written}");
    assert_eq!(rows(&dir.path("out/labelled.jsonl")).len(), 5);
    dir.ok(&["filter", "out"]);

    let rows = ["--rows", "seeds,U,A2+U", "--out", "all", "--json"];
    let compared = dir.ok(&[&["compare", &task][..], &rows, &TINY[..]].concat());
    let compared: Value = serde_json::from_str(&compared).unwrap();
    let lines = compared["rows"].as_array().unwrap();
    let train = |row: &str| {
        let line = lines.iter().find(|line| line["row"] == row).expect("the row is there");
        line["train_rows"].as_f64().unwrap()
    };
    assert!(train("seeds") < train("U") && train("U") < train("A2+U"), "{lines:?}");
    let bare = dir.task("");
    let bare = bare.to_str().unwrap();
    let rows = ["--rows", "seeds,U", "--out", "bare", "--json"];
    let left_out = dir.ok(&[&["compare", bare][..], &rows, &TINY[..]].concat());
    assert!(left_out.contains("the task names no unlabelled texts"), "{left_out}");
    dir.ok(&[&["generate", bare, "--out", "plain"], &TINY[..]].concat());
    let errors = dir.fails(&["label", "plain"]);
    assert!(errors.contains("the task names no unlabelled texts"), "{errors}");
}

#[test]
fn a_column_that_is_not_there_is_named_before_anything_runs() {
    let dir = TestDir::new();
    let task = task(&dir);
    let toml = fs::read_to_string(dir.path("task/task.toml")).unwrap();
    dir.write("task/task.toml", toml.replace("\"body\"", "\"words\""));
    let errors = dir.fails(&[&["run", &task, "--out", "out"], &TINY[..]].concat());
    for wanted in ["all.csv:1", "\"words\"", "\"body\"", "text_column"] {
        assert!(errors.contains(wanted), "{wanted} is not in {errors}");
    }
    assert!(!dir.path("out").exists());
}
