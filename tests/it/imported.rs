//! Imported texts go through the second half of the pipeline.

use crate::support::{SMALL, TestDir, json, result_rows, rows};

#[test]
fn students_are_trained_on_imported_texts() {
    let dir = TestDir::new();
    let task = dir.task("");
    let task = task.to_str().unwrap();
    let rows_in = (0..8).map(|n| {
        let (major, noun) = [("password_reset", "password"), ("hardware_fault", "printer")][n % 2];
        let relabel = if n == 0 { "hardware_fault" } else { major };
        format!("{{\"text\": \"my {noun} number {n} {n} is gone\", \"major\": \"{major}\", \"alpha\": 0.8, \"relabel\": \"{relabel}\", \"p\": 0.9}}\n")
    });
    dir.write("texts.jsonl", rows_in.collect::<String>());
    dir.ok(&[&["import", task, "texts.jsonl", "--out", "out"], &SMALL[..]].concat());
    for stage in ["filter", "train", "eval"] {
        dir.ok(&[stage, "out"]);
    }
    let report = json(&dir.path("out/report.json"));
    assert_eq!(result_rows(&report), ["seeds", "embed-seeds", "A1", "A2"]);
    assert_eq!(report["relabel"]["changed"], 1);
    assert!(rows(&dir.path("out/train.jsonl")).len() >= 2);
}

#[test]
fn imported_texts_without_a_label_of_a_teacher_can_be_relabelled() {
    let dir = TestDir::new();
    let task = dir.task("");
    let task = task.to_str().unwrap();
    dir.write(
        "texts.jsonl",
        "{\"text\": \"my keyboard is broken\", \"major\": \"password_reset\"}\n",
    );
    dir.ok(&["import", task, "texts.jsonl", "--out", "out"]);
    assert!(dir.fails(&["filter", "out"]).contains("relabelled.jsonl"));
    dir.ok(&["relabel", "out", "--set", "relabel.labels=teacher"]);
    assert_eq!(rows(&dir.path("out/relabelled.jsonl"))[0]["relabel"], "hardware_fault");
}

#[test]
fn an_invalid_row_is_reported_with_its_line() {
    let dir = TestDir::new();
    let task = dir.task("");
    let task = task.to_str().unwrap();
    for (line, wanted) in [
        ("{\"text\": \"x\", \"major\": \"pasword\"}", "password_reset"),
        ("{\"text\": \"\", \"major\": \"password_reset\"}", "empty"),
        ("{\"major\": \"password_reset\"}", "text"),
        (
            "{\"text\": \"x\", \"major\": \"password_reset\", \"relabel\": \"password_reset\", \"p\": 1.7}",
            "`p` is 1.7; expected a number from 0 to 1",
        ),
        ("{\"text\": \"x\", \"major\": \"password_reset\", \"alpha\": 85}", "`alpha` is 85"),
        ("nonsense", "texts.jsonl:2"),
    ] {
        let good = "{\"text\": \"a\", \"major\": \"password_reset\"}";
        dir.write("texts.jsonl", format!("{good}\n{line}\n"));
        let errors = dir.fails(&["import", task, "texts.jsonl", "--out", "out"]);
        assert!(errors.contains("texts.jsonl:2") && errors.contains(wanted), "{errors}");
    }
}

#[test]
fn a_spreadsheet_is_imported_as_it_is() {
    let dir = TestDir::new();
    let task = dir.task("");
    let task = task.to_str().unwrap();
    dir.write(
        "texts.csv",
        "Text;major;relabel;p\nmy keyboard; password_reset;hardware_fault;0.7\n\"a; b\";hardware_fault;;\n"
            .replace("; password", ";password"),
    );
    dir.ok(&["import", task, "texts.csv", "--out", "out"]);
    let rows = rows(&dir.path("out/augmented.jsonl"));
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["my keyboard", "a; b"]);
    assert_eq!(rows[0]["given"]["label"], "hardware_fault");
    assert_eq!((&rows[1]["major"], rows[1].get("given")), (&"hardware_fault".into(), None));
    // What is wrong is named with its line, and what is wanted.
    for (name, content, wanted) in [
        (
            "a.csv",
            "text,label\nx,password_reset\n",
            "a.csv:2: `major`, the name of its class, is missing",
        ),
        ("b.csv", "text,major,p\nx,password_reset,high\n", "b.csv:2: `p` is not a number"),
        (
            "c.jsonl",
            "{\"text\": \"x\", \"major\": \"password_reset\", \"text\": \"private\"}\n",
            "\"text\"",
        ),
    ] {
        dir.write(name, content);
        let errors = dir.fails(&["import", task, name, "--out", "new"]);
        assert!(errors.contains(&format!("{name}:")) && errors.contains(wanted), "{errors}");
        assert!(errors.contains("hint:") && !errors.contains("private"), "{errors}");
        assert!(!dir.path("new").exists(), "a refused import leaves no folder");
    }
}

#[test]
fn labels_that_are_given_are_kept_and_the_others_are_asked_for() {
    let dir = TestDir::new();
    let task = dir.task("");
    // Both labels are wrong on purpose: the teacher would give others.
    dir.write(
        "texts.jsonl",
        "{\"text\": \"my keyboard is broken\", \"major\": \"password_reset\"}\n\
         {\"text\": \"the screen went dark\", \"major\": \"hardware_fault\", \"relabel\": \"password_reset\", \"p\": 0.7}\n",
    );
    dir.ok(&["import", task.to_str().unwrap(), "texts.jsonl", "--out", "out"]);
    dir.ok(&["relabel", "out", "--set", "relabel.labels=teacher"]);
    let rows = rows(&dir.path("out/relabelled.jsonl"));
    let label = |row: &serde_json::Value| (row["relabel"].clone(), row["p"].clone());
    assert_eq!(rows[0]["relabel"], "hardware_fault");
    assert!(!rows[0]["probabilities"].as_array().unwrap().is_empty());
    let ((relabel, p), wanted) = (label(&rows[1]), 0.7_f64);
    assert_eq!((relabel.as_str(), rows[1].get("given")), (Some("password_reset"), None));
    assert!((p.as_f64().unwrap() - wanted).abs() < 1e-6, "{p}");
    assert_eq!(rows.len(), 2);
}
