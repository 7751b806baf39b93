//! A trained student is handed on: checked, with a card that tells no text.

use std::fs;

use crate::support::{SMALL, TestDir, json_lines, rows};

#[test]
fn a_run_is_exported_with_its_card() {
    let bench = TestDir::new();
    bench.task("");
    bench.ok(&[&["run", "task", "--out", "out"], &SMALL[..]].concat());
    let said = bench.ok(&["export", "out", "--to", "shared/model", "--json", "--license", "mit"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["checks"]["folder"]["largest_difference"], 0.0);
    assert!(said["checks"]["folder"]["texts"].as_u64().unwrap() > 10);
    assert!(said["checks"]["onnx"]["largest_difference"].as_f64().unwrap() < 1e-4, "{said}");

    let model = bench.path("shared/model");
    let card = fs::read_to_string(model.join("README.md")).unwrap();
    assert!(card.starts_with("---\nlicense: \"mit\"\n"), "{card}");
    for wanted in ["forgotten, expired or new password", "On 4 labelled test texts", "2 per class"]
    {
        assert!(card.contains(wanted), "no {wanted:?} in\n{card}");
    }
    let own = ["task/seeds.jsonl", "task/test.jsonl", "out/train.jsonl"];
    for row in own.iter().flat_map(|file| rows(&bench.path(file))) {
        let text = row["text"].as_str().unwrap();
        assert!(text.len() < 8 || !card.contains(text), "{text:?} stands in\n{card}");
    }
    assert!(!card.contains(bench.path("").to_str().unwrap()), "a path stands in\n{card}");

    // Who gets the folder gets the same answers.
    let answer = |model: &str| json_lines(&bench.ok(&["predict", "--model", model, "no password"]));
    assert_eq!(answer("out/student"), answer("shared/model"));

    // A folder that holds something is not written over.
    assert!(
        bench.fails(&["export", "out", "--to", "shared/model"]).contains("name another folder")
    );
    assert_eq!(fs::read_dir(bench.path("shared")).unwrap().count(), 1, "nothing hidden stays");
}

#[test]
fn a_student_alone_is_exported_too() {
    let bench = TestDir::new();
    bench.task("");
    let short = ["--set", "student.min_steps=1", "--set", "student.epochs=1"];
    bench.ok(&[&["run", "task", "--out", "out"], &SMALL[..], &short].concat());
    let said = bench.ok(&["export", "out/student", "--to", "model", "--format", "onnx"]);
    assert!(said.contains("the logits of model.onnx differ by at most"), "{said}");
    assert!(!bench.path("model/model.safetensors").exists());
    let card = fs::read_to_string(bench.path("model/README.md")).unwrap();
    assert!(card.contains("Unknown: this was exported from a student folder alone"), "{card}");
    assert!(bench.fails(&["export", "nowhere", "--to", "other"]).contains("nowhere"));
    assert!(!bench.path("other").exists());
}
