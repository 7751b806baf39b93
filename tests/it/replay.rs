//! A recording as the teacher: the ledger of a run, or texts with their labels.

use std::{fs, path::Path};

use crate::support::{TestDir, json, result_rows, rows};

const TINY: [&str; 8] = [
    "--set",
    "augment.per_class=6",
    "--set",
    "run.seeds=1",
    "--set",
    "student.epochs=1",
    "--set",
    "student.min_steps=1",
];

#[test]
fn a_run_is_repeated_from_its_ledger_without_a_model() {
    let bench = TestDir::new();
    bench.ok(&[&["demo", "--out", "first"], &TINY[..]].concat());
    let ledger = fs::read(bench.path("first/ledger.jsonl")).unwrap();

    // On another machine that has nothing but the ledger.
    let other = TestDir::new();
    other.write("shared/ledger.jsonl", ledger);
    for (from, to) in [("shared/ledger.jsonl", "second"), ("second", "third")] {
        let teacher = format!("replay:{from}");
        other.ok(&[&["demo", "--out", to, "--teacher", &teacher], &TINY[..]].concat());
        for file in ["augmented.jsonl", "relabelled.jsonl", "train.jsonl", "predictions.json"] {
            let read = |folder: &Path| fs::read_to_string(folder.join(file)).unwrap();
            assert_eq!(read(&bench.path("first")), read(&other.path(to)), "{file}");
        }
        let report = |folder: &Path| json(&folder.join("report.json"));
        let (first, again) = (report(&bench.path("first")), report(&other.path(to)));
        assert_eq!(first["results"], again["results"]);
        assert_eq!(first["teacher"], again["teacher"], "the recorded teacher is named");
        assert!(again["provenance"]["settings"].as_str().unwrap().contains("replay:"));
    }
    assert!(bench.path(".cache/promptmix").exists() && !other.path(".cache/promptmix").exists());

    let teacher = "replay:shared/ledger.jsonl";
    let seed = [&["demo", "--out", "seed", "--teacher", teacher, "--seed", "2"], &TINY[..]];
    let errors = other.fails(&seed.concat());
    assert!(errors.contains("shared/ledger.jsonl has no answer to "), "{errors}");
    assert!(errors.contains("hint: the task, the prompts or the settings differ"), "{errors}");
}

#[test]
fn recorded_texts_answer_by_class_and_by_text() {
    let bench = TestDir::new();
    let task = bench.task("");
    let line = |n: usize| {
        let (major, noun) = [("password_reset", "password"), ("hardware_fault", "printer")][n % 2];
        let relabel = if n == 0 { "hardware_fault" } else { major };
        format!(
            "{{\"text\": \"my {noun} number {n} {n} is gone\", \"major\": \"{major}\", \"relabel\": \"{relabel}\", \"p\": 0.9}}\n"
        )
    };
    bench.write("texts.jsonl", (0..14).map(line).collect::<String>());
    let command =
        ["run", task.to_str().unwrap(), "--out", "out", "--teacher", "replay:texts.jsonl"];
    let alone = ["--set", "relabel.labels=teacher"];
    bench.ok(&[&command[..], &TINY[..], &alone].concat());
    let relabelled = rows(&bench.path("out/relabelled.jsonl"));
    assert_eq!(relabelled.len(), 12);
    let changed: Vec<&str> = relabelled
        .iter()
        .filter(|row| row["relabel"] != row["major"])
        .map(|row| row["text"].as_str().unwrap())
        .collect();
    assert_eq!(changed, ["my password number 0 0 is gone"]);
    // It cannot label the test set, so the teacher itself is not evaluated.
    let report = json(&bench.path("out/report.json"));
    assert_eq!(result_rows(&report), ["seeds", "embed-seeds", "A1", "A2"]);
    assert_eq!(report["teacher"]["name"], "recorded texts of texts.jsonl");
    let plan = [&["plan", task.to_str().unwrap(), "--teacher", "replay:texts.jsonl"], &TINY[..]];
    assert!(bench.ok(&plan.concat()).contains("recorded texts of texts.jsonl"));
}

#[test]
fn unusable_recordings_are_errors_that_name_the_file() {
    let bench = TestDir::new();
    let task = bench.task("");
    let fails = |file: &str| {
        let teacher = format!("replay:{file}");
        bench.fails(&["run", task.to_str().unwrap(), "--out", "out", "--teacher", &teacher])
    };
    let errors = fails("nowhere.jsonl");
    assert!(
        errors.contains("nowhere.jsonl") && errors.contains("hint: `replay:` takes"),
        "{errors}"
    );
    for (second, wanted) in [
        ("{\"text\": \"x y\"}", "major"),
        ("{\"text\": \" \", \"major\": \"a\"}", "empty"),
        ("{\"text\": \"x\", \"major\": \"a\", \"p\": 1.5}", "`p` is 1.5"),
    ] {
        bench.write("texts.jsonl", format!("{{\"text\": \"a\", \"major\": \"a\"}}\n{second}\n"));
        let errors = fails("texts.jsonl");
        assert!(errors.contains("texts.jsonl:2") && errors.contains(wanted), "{errors}");
    }
    // A run without a teacher.
    bench.write("import.jsonl", "{\"text\": \"a b\", \"major\": \"password_reset\"}\n");
    bench.ok(&["import", task.to_str().unwrap(), "import.jsonl", "--out", "imported"]);
    assert!(fails("imported").contains("names no teacher"));
    // A modified ledger.
    let ledger = bench.path("imported/ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    bench.write("changed.jsonl", text.replacen("begun", "Begun", 1));
    assert!(fails("changed.jsonl").contains("changed.jsonl:1"));
}

/// 306 questions that a large model wrote and labelled. They are next to the repository, not in it.
#[test]
fn the_recorded_questions_are_relabelled_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recorded/trec6");
    if !folder.exists() {
        eprintln!("SKIPPED: there is no {}", folder.display());
        return;
    }
    let bench = TestDir::new();
    let recorded = rows(&folder.join("augmented.jsonl"));
    let classes: String = json(&folder.join("descriptions.json"))
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, text)| format!("[[class]]\nname = \"{name}\"\ndescription = {text}\n"))
        .collect();
    bench.write("task/seeds.jsonl", fs::read(folder.join("seeds.jsonl")).unwrap());
    bench.write(
        "task/test.jsonl",
        "{\"text\": \"Who built the town hall ?\", \"label\": \"human\"}\n",
    );
    bench.write(
        "task/task.toml",
        format!("item = \"question\"\nitems = \"questions\"\n[data]\nseeds = \"seeds.jsonl\"\ntest = \"test.jsonl\"\n{classes}"),
    );
    let teacher = format!("replay:{}", folder.join("augmented.jsonl").display());
    let set = ["--student", "pocket", "--set", "augment.per_class=51"];
    bench.ok(&[&["generate", "task", "--out", "out", "--teacher", &teacher], &set[..]].concat());
    bench.ok(&["relabel", "out", "--set", "relabel.labels=teacher"]);
    let found = rows(&bench.path("out/relabelled.jsonl"));
    assert_eq!(found.len(), recorded.len());
    for row in &recorded {
        let found = found.iter().find(|other| other["text"] == row["text"]).unwrap();
        assert_eq!((&found["major"], &found["relabel"]), (&row["major"], &row["relabel"]));
        let p = |row: &serde_json::Value| row["p"].as_f64().unwrap();
        assert!((p(found) - p(row)).abs() < 1e-3, "{found} {row}");
    }
    assert_eq!(found.iter().filter(|row| row["relabel"] != row["major"]).count(), 8);
}
