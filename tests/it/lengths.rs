//! Long texts, seeds beyond `shots`, and a student that is missing.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::{TINY, TestDir, count, json, rows};

const CLASSES: [&str; 2] = ["password_reset", "hardware_fault"];

/// An e-mail of `words` words.
fn mail(number: usize, words: usize) -> String {
    let vocabulary =
        ["please", "help", "password", "printer", "screen", "again", "office", "today"];
    let mut text = format!("Dear team {number}");
    for word in 0..words {
        let _ = write!(text, " {}", vocabulary[(word * 7 + number * 3 + word / 8) % 8]);
    }
    text
}

/// A task with as many seeds of each class as `seeds` says and a test set of `test` words a text.
fn task(dir: &TestDir, seeds: [usize; 2], words: usize, test: &[usize]) -> String {
    let folder = dir.task("");
    let row = |text: String, class: &str| {
        format!("{}\n", serde_json::json!({ "text": text, "label": class }))
    };
    let mut texts = String::new();
    for (class, count) in seeds.into_iter().enumerate() {
        for number in 0..count {
            texts += &row(mail(100 * class + number, words), CLASSES[class]);
        }
    }
    dir.write("task/seeds.jsonl", texts);
    let tests = test.iter().enumerate();
    let tests = tests.map(|(at, words)| row(mail(900 + at, *words), CLASSES[at % 2]));
    dir.write("task/test.jsonl", tests.collect::<String>());
    folder.to_str().unwrap().to_owned()
}

#[test]
fn long_mails_and_an_endless_one_are_read_as_far_as_they_can_be() {
    let dir = TestDir::new();
    let task = task(&dir, [3, 3], 200, &[200, 180, 20_000, 190]);
    let plan = dir.run(&[&["plan", &task], &TINY[..]].concat());
    let told = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert!(plan.status.success() && told.contains("test.jsonl:3"), "{told}");
    let out = dir.run(&[&["run", &task, "--out", "out"], &TINY[..]].concat());
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{told}");
    assert!(told.contains("examples in prompts are shortened"), "{told}");
    assert!(told.contains("test.jsonl:3"), "{told}");
    // The fixture knows 73 tokens: this is said before the first call, once.
    let unknown = told.find("vocabulary does not cover");
    assert!(unknown.is_some() && unknown < told.find("generate"), "{told}");
    assert_eq!(told.matches("vocabulary does not cover").count(), 1, "{told}");
    assert!(told.contains("distilbert-base-multilingual-cased"), "{told}");

    let report = json(&dir.path("out/report.json"));
    let length = &report["text_length"];
    let read = length["max_length"].as_u64().unwrap();
    assert!(read > 64, "{length}");
    assert!(length["test"]["texts"] == 4 && length["test"]["cut"].as_u64() >= Some(1), "{length}");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("is cut off"), "{warnings}");
    let question =
        "1 text to label is too long for the teacher and is cut at the end; the first is";
    assert!(warnings.contains(question) && told.contains(question), "{warnings}\n{told}");
    // What was asked about the beginning of a text is answered.
    let left: Value = serde_json::from_str(&dir.ok(&["plan", "out", "--json"])).unwrap();
    assert_eq!(left["resume"]["test_labels"], 0, "{}", left["resume"]);
    let config = json(&dir.path("out/student/tokenizer_config.json"));
    assert_eq!(
        (&config["model_max_length"], &config["truncation_side"]),
        (&read.into(), &"right".into())
    );
    let tokenizer = json(&dir.path("out/student/tokenizer.json"));
    let cut =
        json!({"direction": "Right", "max_length": read, "strategy": "LongestFirst", "stride": 0});
    assert_eq!(tokenizer["truncation"], cut);
    assert_eq!(json(&dir.path("out/student/config.json"))["promptmix_max_length"], read);
}

#[test]
fn every_labelled_row_is_trained_on_and_weighs_labels_whatever_shots_says() {
    let dir = TestDir::new();
    let task = task(&dir, [1, 12], 6, &[5, 5]);
    let rows_of = |out: &str, more: &[&str]| {
        dir.ok(&[&["run", &task, "--out", out], &TINY[..], more].concat());
        let ledger = rows(&dir.path(&format!("{out}/ledger.jsonl")));
        let seeds = ledger.iter().find(|row| row["kind"] == "student" && row["row"] == "seeds");
        let relabel = ledger.iter().find(|row| row["stage"] == "relabel" && row["kind"] == "stage");
        let left_out = &relabel.unwrap()["counts"]["examples_left_out"];
        [&seeds.unwrap()["train_rows"], left_out].map(|count| count.as_u64().unwrap())
    };
    // The only example of its class cannot be predicted from others.
    assert_eq!(rows_of("all", &[]), [13, 12]);
    // Up to 8 of each class are shown.
    let shots = ["--set", "student.gold=shots"];
    assert_eq!(rows_of("shown", &shots), [9, 8]);
    let unused = |out: &str| json(&dir.path(out))["warnings"].to_string();
    let warning = "4 labelled seeds are not trained on";
    assert!(unused("shown/report.json").contains(warning), "{}", unused("shown/report.json"));
    assert!(!unused("all/report.json").contains("not trained on"));
    let plan = dir.run(&[&["plan", &task], &shots[..], &TINY].concat());
    let errors = String::from_utf8_lossy(&plan.stderr);
    assert!(errors.contains(warning) && errors.contains("student.gold = \"all\""), "{errors}");
    let plan: Value =
        serde_json::from_str(&dir.ok(&[&["plan", &task, "--json"], &shots[..], &TINY].concat()))
            .unwrap();
    assert_eq!(plan["train"]["unused_seeds"], 4);
}

#[test]
fn a_missing_student_is_found_before_the_first_call() {
    let dir = TestDir::new();
    let task = task(&dir, [2, 2], 6, &[5, 5]);
    let student = ["--student", "nowhere/student"];
    for command in [&["run", &task, "--out", "out"][..], &["generate", &task, "--out", "out"]] {
        let told = dir.fails(&[command, &student].concat());
        assert!(told.contains("nowhere/student"), "{told}");
        assert_eq!(count(&dir.path("out/ledger.jsonl"), "reply"), 0);
    }
    let told = dir.fails(&[&["plan", &task][..], &student].concat());
    assert!(told.contains("nowhere/student"), "{told}");
}
