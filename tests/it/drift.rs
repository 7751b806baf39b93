//! `promptmix drift`: the reference in a student's folder, alarms, gates, and that it has no text.

use std::fs;

use serde_json::Value;

use crate::{
    evaluate::{OTHER, trained},
    support::{TestDir, rows},
};

/// The texts of the demo's test set.
fn texts(dir: &TestDir) -> Vec<String> {
    let rows = rows(&dir.path("task/test.jsonl"));
    rows.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect()
}

fn write(dir: &TestDir, name: &str, texts: &[String]) {
    let row = |text: &String| format!("{}\n", serde_json::json!({ "text": text }));
    dir.write(name, texts.iter().map(row).collect::<String>());
}

fn drift(dir: &TestDir, args: &[&str]) -> Value {
    let output = dir.run(&[&["drift"], args, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn texts_of_the_same_kind_raise_no_alarm_and_others_do() {
    let dir = TestDir::new();
    trained(&dir, &[]);
    let texts = texts(&dir);
    // The reference is the test set itself: a part of it is no change.
    let same: Vec<String> = texts.iter().step_by(2).cloned().collect();
    write(&dir, "same.jsonl", &same);
    let found = drift(&dir, &["out", "same.jsonl", "--fail-on", "0.05"]);
    assert_eq!((&found["source"], &found["drift"]), (&"test".into(), &false.into()), "{found}");
    assert_eq!(found["reference_texts"], serde_json::json!([336, 336]));
    assert_eq!(found["tests"].as_array().unwrap().len(), 5);
    assert!(found["p"].as_f64().unwrap() > 0.05);
    // Fewer classes and longer texts.
    let one = texts.iter().filter(|text| text.to_lowercase().contains("wifi"));
    let longer: Vec<String> =
        one.map(|text| format!("{text} Best regards, your colleague")).collect();
    assert!(longer.len() > 20);
    write(&dir, "longer.jsonl", &longer);
    let found = drift(&dir, &["out/student", "longer.jsonl"]);
    assert!(found["drift"].as_bool().unwrap() && found["p"].as_f64().unwrap() < 0.01, "{found}");
    let output = dir.run(&["drift", "out", "longer.jsonl", "--fail-on", "0.05"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("differ from the test set in") && errors.contains("length"),
        "{errors}"
    );
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("drift in") && table.contains("p (Holm)"), "{table}");
    // Two files, whatever the folder keeps.
    let found = drift(&dir, &["out", "longer.jsonl", "--reference", "longer.jsonl"]);
    assert_eq!((&found["source"], &found["drift"]), (&"file".into(), &false.into()));
}

#[test]
fn the_reference_has_no_text_follows_the_setting_and_is_recorded() {
    let dir = TestDir::new();
    trained(&dir, &[]);
    let file = dir.path("out/student/drift.safetensors");
    let bytes = fs::read(&file).unwrap();
    for text in texts(&dir) {
        for part in text.as_bytes().windows(12) {
            assert!(!bytes.windows(12).any(|found| found == part), "{text}");
        }
    }
    assert!(dir.ok(&["audit", "out", "--no-nearest"]).contains("OK"));
    // Unchanged, it is not written again.
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    dir.ok(&["train", "out"]);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
    dir.ok(&["train", "out", "--set", "student.drift_reference=numbers"]);
    assert!(fs::metadata(&file).unwrap().len() < 9_000);
    write(&dir, "x.jsonl", &texts(&dir));
    let found = drift(&dir, &["out", "x.jsonl"]);
    assert_eq!(found["tests"].as_array().unwrap().len(), 4);
    dir.ok(&["train", "out", "--set", "student.drift_reference=none"]);
    assert!(!file.exists());
    assert!(dir.ok(&["audit", "out", "--no-nearest"]).contains("OK"));
    let errors = dir.fails(&["drift", "out", "x.jsonl"]);
    assert!(errors.contains("has no reference") && errors.contains("--reference FILE"), "{errors}");
    // A run of before gets one.
    dir.ok(&["train", "out", "--set", "student.drift_reference=full"]);
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn without_a_test_set_unlabelled_texts_or_else_training_texts_are_the_reference() {
    let dir = TestDir::new();
    trained(&dir, &[]);
    let all = texts(&dir);
    let toml = fs::read_to_string(dir.path("task/task.toml")).unwrap();
    let without = toml.replace("test = \"test.jsonl\"\n", "");
    for (data, source, tests) in
        [("", "training", 4), ("unlabelled = \"u.jsonl\"\n", "unlabelled", 5)]
    {
        let task = without.replace("[data]\n", &format!("[data]\n{data}"));
        dir.write("task/task.toml", task);
        write(&dir, "task/u.jsonl", &all);
        let out = format!("out-{source}");
        dir.ok(&["import", "task", "more.jsonl", "--out", &out, "--set", "student.epochs=1"]);
        dir.ok(&["filter", &out]);
        dir.ok(&["train", &out]);
        write(&dir, "x.jsonl", &all);
        let output = dir.run(&["drift", &out, "x.jsonl", "--json"]);
        let errors = String::from_utf8(output.stderr).unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["source"], source);
        assert_eq!(found["tests"].as_array().unwrap().len(), tests, "{found}");
        assert_eq!(errors.contains("made of training texts"), source == "training", "{errors}");
    }
}

#[test]
fn what_cannot_be_compared_is_told() {
    let dir = TestDir::new();
    dir.write("x.csv", "text\nmy card\n\"\"\nthe train\n");
    let output = dir.run(&["drift", OTHER, "x.csv", "--reference", "x.csv"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("1 row was left out; first: x.csv:3"), "{errors}");
    assert!(errors.contains("only 2 texts"), "{errors}");
    dir.write("one.csv", "text\nmy card\n");
    let errors = dir.fails(&["drift", OTHER, "one.csv", "--reference", "x.csv"]);
    assert!(errors.contains("the new file has 1 usable text"), "{errors}");
    let errors = dir.fails(&["drift", OTHER, "x.csv"]);
    assert!(errors.contains("drift.safetensors is missing"), "{errors}");
    assert!(dir.fails(&["drift", OTHER, "x.csv", "--fail-on", "0.0001"]).contains("0.001"));
    // A file that somebody damaged is no reference.
    for file in fs::read_dir(OTHER).unwrap() {
        let file = file.unwrap();
        dir.write(
            &format!("m/{}", file.file_name().to_str().unwrap()),
            fs::read(file.path()).unwrap(),
        );
    }
    dir.write("m/drift.safetensors", "nonsense");
    let errors = dir.fails(&["drift", "m", "x.csv"]);
    assert!(errors.contains("m/drift.safetensors: "), "{errors}");
}

#[test]
fn an_export_has_the_reference_without_embeddings_unless_they_are_wanted() {
    let dir = TestDir::new();
    trained(&dir, &[]);
    let kept = fs::read(dir.path("out/student/drift.safetensors")).unwrap();
    write(&dir, "x.jsonl", &texts(&dir));
    let tests = |model: &str| -> Vec<Value> {
        drift(&dir, &[model, "x.jsonl"])["tests"].as_array().unwrap().clone()
    };
    let export = |to: &str, more: &[&str]| {
        dir.ok(&[&["export", "out/student", "--to", to], more].concat());
        fs::read(dir.path(to).join("drift.safetensors")).ok()
    };
    let numbers = export("numbers", &[]).expect("a file");
    assert!(numbers.len() < kept.len() && tests("numbers").len() == 4, "no embeddings");
    let full = export("full", &["--drift-reference", "full"]);
    assert_eq!(full.as_ref(), Some(&kept), "as in the student's folder");
    assert_eq!(tests("full"), tests("out"));
    for more in [["--drift-reference", "none"], ["--format", "onnx"]] {
        assert_eq!(export(more[1], &more), None, "{more:?}");
    }
    let errors = dir.fails(&["drift", "none", "x.jsonl"]);
    assert!(errors.contains("has no reference"), "{errors}");
    // The folder is another student's: its file would be wrong.
    dir.write("out/student/drift.safetensors", &kept[..kept.len() / 2]);
    let errors = dir.fails(&["export", "out/student", "--to", "broken"]);
    assert!(errors.contains("drift.safetensors") && errors.contains("hint: "), "{errors}");
    assert!(!dir.path("broken").exists());
}
