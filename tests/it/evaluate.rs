//! `promptmix evaluate`: the scores of the report, gates, labels of another file, two models.

use std::fs;

use serde_json::Value;

use crate::support::{ONE_EPOCH, TestDir, check_failure, json};

/// A classifier of the classes money, travel and other that `transformers` wrote.
pub(crate) const OTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");

/// Trains the pocket student on the demo's twelve examples and one more text, in the folder `out`.
pub(crate) fn trained(dir: &TestDir, more: &[&str]) {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/demo");
    for file in ["task.toml", "seeds.jsonl", "test.jsonl", "pool.jsonl"] {
        dir.write(&format!("task/{file}"), fs::read(format!("{demo}/{file}")).unwrap());
    }
    dir.write(
        "more.jsonl",
        "{\"text\": \"my keyboard is dead\", \"major\": \"hardware_fault\", \"relabel\": \"hardware_fault\"}\n",
    );
    let import = ["import", "task", "more.jsonl", "--out", "out"];
    dir.ok(&[&import[..], &ONE_EPOCH, more].concat());
    dir.ok(&["filter", "out"]);
    dir.ok(&["train", "out"]);
}

fn evaluation(dir: &TestDir, args: &[&str]) -> Value {
    serde_json::from_str(&dir.ok(&[&["evaluate"], args, &["--json"]].concat())).unwrap()
}

#[test]
fn the_scores_are_those_of_the_report_for_the_same_student_and_texts() {
    let dir = TestDir::new();
    trained(&dir, &[]);
    dir.ok(&["eval", "out"]);
    let report = json(&dir.path("out/report.json"));
    let found = evaluation(&dir, &["out", "task/test.jsonl", "--html", "page.html"]);
    let rows = report["results"].as_array().unwrap();
    let kept = rows.iter().find(|row| row["row"] == "A2").unwrap();
    assert_eq!(found["accuracy"], kept["accuracy"]);
    assert_eq!(found["macro_f1"], kept["macro_f1"]);
    assert_eq!(found["confusion"], report["confusion"]["matrix"]);
    let reliability = report["reliability"].as_array().unwrap();
    let reliability = reliability.iter().find(|row| row["row"] == "A2").unwrap();
    let ece = found["calibration"]["ece"]["mean"].as_f64().unwrap();
    assert!((ece - reliability["ece"].as_f64().unwrap()).abs() < 1e-6);
    assert_eq!(found["rows"], 336);
    let f1 = |class: &Value| class["f1"]["mean"].as_f64().unwrap();
    let classes = found["classes"].as_array().unwrap();
    let mean = classes.iter().map(f1).sum::<f64>() / classes.len() as f64;
    assert!((mean - found["macro_f1"]["mean"].as_f64().unwrap()).abs() < 1e-9);
    // The page has the numbers and no text.
    let page = fs::read_to_string(dir.path("page.html")).unwrap();
    assert!(page.contains("id=\"confusion\"") && page.contains("wifi_problem"));
    assert!(!page.contains("self-assigned IP address") && !page.contains("<script"));
    // The table on the terminal.
    let table = dir.ok(&["evaluate", "out/student", "task/test.jsonl"]);
    assert!(table.contains("macro-F1") && table.contains("password_reset"), "{table}");
}

#[test]
fn the_gate_takes_the_accuracy_and_tells_of_the_interval() {
    let dir = TestDir::new();
    let labels = evaluation_of_other(&dir);
    let accuracy = labels["accuracy"]["mean"].as_f64().unwrap();
    assert!(accuracy > 0.0 && accuracy < 1.0, "{accuracy}");
    let gate =
        |least: f64| dir.run(&["evaluate", OTHER, "x.csv", "--fail-below", &least.to_string()]);
    let failed = gate((accuracy + 1.0) / 2.0);
    assert_eq!(failed.status.code(), Some(1));
    let errors = String::from_utf8(failed.stderr).unwrap();
    assert!(
        errors.contains("the accuracy is") && errors.contains("below --fail-below"),
        "{errors}"
    );
    assert!(String::from_utf8(failed.stdout).unwrap().contains("macro-F1"), "results come first");
    let passed = gate(accuracy - 0.001);
    assert_eq!(passed.status.code(), Some(0));
    let errors = String::from_utf8(passed.stderr).unwrap();
    assert!(errors.contains("its interval reaches below"), "{errors}");
    assert_eq!(gate(1.5).status.code(), Some(2));
}

/// What the checkpoint OTHER reaches on twelve texts, whose labels are its own answers but for a
/// few.
fn evaluation_of_other(dir: &TestDir) -> Value {
    let texts = ["my card is lost", "the train is late", "why", "money money", "where is my card"];
    dir.write("texts.txt", texts.join("\n"));
    let answers = dir.ok(&["predict", "--model", OTHER, "--file", "texts.txt"]);
    let mut csv = "text,label\n".to_owned();
    for (at, answer) in crate::support::json_lines(&answers).iter().enumerate() {
        let own = answer["label"].as_str().unwrap();
        let wrong = if own == "other" { "money" } else { "other" };
        csv += &format!("{},{}\n", texts[at], if at == 0 { wrong } else { own });
    }
    dir.write("x.csv", csv);
    evaluation(dir, &[OTHER, "x.csv"])
}

#[test]
fn a_checkpoint_of_transformers_is_measured_and_compared_with_another_model() {
    let dir = TestDir::new();
    let alone = evaluation_of_other(&dir);
    assert!((alone["accuracy"]["mean"].as_f64().unwrap() - 0.8).abs() < 1e-9);
    assert!(alone["calibration"]["brier"]["mean"].as_f64().unwrap() > 0.0);
    // Against itself there is no difference, whatever the accuracy.
    let same = evaluation(&dir, &[OTHER, "x.csv", "--against", OTHER]);
    assert_eq!(same["against"]["difference"]["mean"], 0.0);
    assert_eq!((&same["against"]["wins"], &same["against"]["losses"]), (&0.into(), &0.into()));
    let table = dir.ok(&["evaluate", OTHER, "x.csv", "--against", OTHER]);
    assert!(table.contains("difference: +0.0 points") && table.contains("no difference shown"));
    // A model of other classes cannot be compared on these labels.
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/distilbert");
    let output = dir.run(&["evaluate", OTHER, "x.csv", "--against", pocket]);
    if output.status.code() != Some(0) {
        check_failure(&output);
    }
}

#[test]
fn unknown_labels_are_listed_with_the_classes_and_can_be_mapped() {
    let dir = TestDir::new();
    dir.write("x.csv", "text,label\nmy card,Money\nthe train,travel\nwhy,misc\nwhat,misc\n");
    let errors = dir.fails(&["evaluate", OTHER, "x.csv"]);
    assert!(errors.contains("x.csv:2:1: the model has no classes \"Money\", \"misc\""), "{errors}");
    assert!(errors.contains("3 of 4 rows"), "{errors}");
    assert!(errors.contains("\"money\", \"travel\", \"other\""), "{errors}");
    assert!(errors.contains("--map Money=money"), "{errors}");
    let mapped = ["evaluate", OTHER, "x.csv", "--map", "Money=money", "--map", "misc=other"];
    assert!(dir.ok(&mapped).contains("accuracy"));
    let errors = dir.fails(&["evaluate", OTHER, "x.csv", "--map", "misc=miscellaneous"]);
    assert!(errors.contains("--map: the model has no class \"miscellaneous\""), "{errors}");
    dir.write("x.csv", "text,label\nmy card,money\n,travel\nwhy\n");
    let errors = dir.fails(&["evaluate", OTHER, "x.csv"]);
    assert!(errors.contains("x.csv:3") && errors.contains("x.csv:4"), "{errors}");
    let errors = dir.fails(&["evaluate", OTHER, "nowhere.csv"]);
    assert!(errors.contains("nowhere.csv: no such file"), "{errors}");
}

#[test]
fn every_format_of_labelled_texts_gives_the_same_scores() {
    let dir = TestDir::new();
    let scores = |name: &str, text: &str, more: &[&str]| {
        dir.write(name, text);
        let mut found = evaluation(&dir, &[&[OTHER, name], more].concat());
        found.as_object_mut().unwrap().remove("file");
        found
    };
    let csv = scores("x.csv", "text,label\nmy card,money\nthe train,travel\n", &[]);
    let jsonl = "{\"body\": \"my card\", \"topic\": \"money\", \"label\": 1}\n{\"body\": \"the train\", \"topic\": \"travel\", \"label\": 2}\n";
    let named = ["--text-column", "body", "--label-column", "topic"];
    assert_eq!(scores("x.jsonl", jsonl, &named), csv);
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_texts() {
    let dir = TestDir::new();
    let peak = |rows: usize| {
        let text = " the train is late and my card is lost".repeat(20);
        let row = |at: usize| format!("{at}{text},{}\n", ["money", "travel"][at % 2]);
        dir.write("x.csv", format!("text,label\n{}", (0..rows).map(row).collect::<String>()));
        let mut child = dir.program(&["evaluate", OTHER, "x.csv"]);
        let mut child = child.stdout(std::process::Stdio::null()).spawn().unwrap();
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            let line = status.unwrap_or_default();
            let line = line.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(kb.unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(child.wait().unwrap().success());
        peak
    };
    // 16 and 48 MB of texts; 24 bytes of each row are kept.
    let (some, many) = (peak(20_000), peak(60_000));
    assert!(many < some + 12 * 1024, "{some} kB, {many} kB");
}
