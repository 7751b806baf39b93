//! `promptmix export`: checked, with a model card that quotes no text.

use std::fs;

use crate::support::{SMALL, TestDir, json_lines, rows};

#[test]
fn a_run_is_exported_with_its_card() {
    let dir = TestDir::new();
    dir.task("");
    dir.ok(&[&["run", "task", "--out", "out"], &SMALL[..]].concat());
    let output = dir.ok(&["export", "out", "--to", "shared/model", "--json", "--license", "mit"]);
    let output: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output["checks"]["folder"]["largest_difference"], 0.0);
    assert!(output["checks"]["folder"]["texts"].as_u64().unwrap() > 10);
    assert!(output["checks"]["onnx"]["equal_weights"].as_u64().unwrap() > 30, "{output}");

    let model = dir.path("shared/model");
    let card = fs::read_to_string(model.join("README.md")).unwrap();
    assert!(card.starts_with("---\nlicense: \"mit\"\n"), "{card}");
    for wanted in ["forgotten, expired or new password", "On 4 labelled test texts", "2 per class"]
    {
        assert!(card.contains(wanted), "no {wanted:?} in\n{card}");
    }
    let inputs = ["task/seeds.jsonl", "task/test.jsonl", "out/train.jsonl"];
    for row in inputs.iter().flat_map(|file| rows(&dir.path(file))) {
        let text = row["text"].as_str().unwrap();
        assert!(text.len() < 8 || !card.contains(text), "{text:?} is in\n{card}");
    }
    assert!(!card.contains(dir.path("").to_str().unwrap()), "a path is in\n{card}");

    // The exported folder gives the same answers.
    let answer = |model: &str| json_lines(&dir.ok(&["predict", "--model", model, "no password"]));
    assert_eq!(answer("out/student"), answer("shared/model"));

    // A folder that holds files is not overwritten.
    assert!(dir.fails(&["export", "out", "--to", "shared/model"]).contains("name another folder"));
    assert_eq!(fs::read_dir(dir.path("shared")).unwrap().count(), 1, "no temporary folder remains");
}

#[test]
fn a_student_folder_without_a_run_is_exported_too() {
    let dir = TestDir::new();
    dir.task("");
    let short = ["--set", "student.min_steps=1", "--set", "student.epochs=1"];
    dir.ok(&[&["run", "task", "--out", "out"], &SMALL[..], &short].concat());
    let output = dir.ok(&["export", "out/student", "--to", "model", "--format", "onnx"]);
    assert!(output.contains("model.onnx, read back, holds the intended graph"), "{output}");
    assert!(!dir.path("model/model.safetensors").exists());
    let card = fs::read_to_string(dir.path("model/README.md")).unwrap();
    assert!(card.contains("Unknown: this was exported from a student folder alone"), "{card}");
    assert!(dir.fails(&["export", "nowhere", "--to", "other"]).contains("nowhere"));
    assert!(!dir.path("other").exists());
}
