//! Every row of the paper's table in one command: what it writes, and that a kill changes nothing.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::support::{TestDir, assert_same_calls, json};

const SMALL: [&str; 8] = [
    "--set",
    "augment.per_class=6",
    "--seeds",
    "2",
    "--set",
    "student.epochs=2",
    "--set",
    "student.min_steps=10",
];

/// A task with real training texts.
fn task(bench: &TestDir) -> PathBuf {
    let texts = [
        ("the monitor shows nothing but stripes", "hardware_fault"),
        ("one key of my keyboard is stuck", "hardware_fault"),
        ("the fan of the laptop is very loud", "hardware_fault"),
        ("where can I change my password", "password_reset"),
        ("a new password for the portal please", "password_reset"),
        ("the reset link has expired", "password_reset"),
        ("my webcam stays dark", "hardware_fault"),
        ("the dock does not charge the laptop", "hardware_fault"),
        ("the printer eats every page", "hardware_fault"),
        ("my headset crackles", "hardware_fault"),
        ("the battery is empty after ten minutes", "hardware_fault"),
        ("which rules does the new password have", "password_reset"),
        ("the page for the new password stays blank", "password_reset"),
        ("I wrote my password down and lost the paper", "password_reset"),
        ("please reset my password for the wiki", "password_reset"),
        ("my old password does not work after the holidays", "password_reset"),
    ];
    let rows = texts.map(|(text, label)| serde_json::json!({"text": text, "label": label}));
    let pool: String = rows.iter().map(|row| format!("{row}\n")).collect();
    bench.write("task/pool.jsonl", pool);
    bench.task("pool = \"pool.jsonl\"")
}

fn line<'a>(comparison: &'a Value, row: &str, k: usize) -> Option<&'a Value> {
    let lines = comparison["rows"].as_array().expect("rows");
    lines.iter().find(|line| line["row"] == row && line["k"] == k)
}

/// The rows without what a clock says.
fn timeless(comparison: &Value) -> Vec<Value> {
    let mut lines = comparison["rows"].as_array().expect("rows").clone();
    for line in &mut lines {
        for key in ["seconds", "student_seconds"] {
            assert!(line.as_object_mut().expect("a row").remove(key).is_some(), "{key}");
        }
    }
    lines
}

#[test]
fn every_row_has_its_line_or_its_reason() {
    let bench = TestDir::new();
    let task = task(&bench);
    let task = task.to_str().unwrap();
    let rows = "seeds,contrastive-seeds,EDA,continuation,GPT3Mix,no-mixup,no-descriptions,no-examples,paper,A1,A2,teacher,real,real-all";
    let out =
        bench.ok(&[&["compare", task, "--out", "all", "--k", "2,0,5", "--rows", rows], &SMALL[..]]
            .concat());
    assert!(out.contains("A2 (after relabelling)") && out.contains("left out:"), "{out}");
    let found = json(&bench.path("all/compare.json"));
    for row in rows.split(',') {
        let line = line(&found, row, 2).unwrap_or_else(|| panic!("no row {row}"));
        let accuracy = &line["accuracy"];
        let [mean, low, high] = ["mean", "low", "high"].map(|end| accuracy[end].as_f64().unwrap());
        assert!(0.0 <= low && low <= mean && mean <= high && high <= 1.0, "{line}");
        assert_eq!((line["seeds"].as_u64(), line["test_rows"].as_u64()), (Some(2), Some(4)));
        assert_eq!(line["student"].is_null(), row == "teacher", "{line}");
        let free = ["seeds", "contrastive-seeds", "EDA", "real", "real-all"].contains(&row);
        assert_eq!(line["teacher"].is_null(), free, "{line}");
        assert_eq!(line["teacher_calls"].as_f64().unwrap() == 0.0, free, "{line}");
        assert!(line["seconds"].as_f64().unwrap() > 0.0, "{line}");
    }
    let number = |row: &str, key: &str| line(&found, row, 2).unwrap()[key].as_f64().unwrap();
    // A1 and A2 are the same texts; A2 pays for its labels as well.
    assert_eq!(number("A1", "train_rows"), number("A2", "train_rows"));
    assert!(number("A2", "teacher_calls") > number("A1", "teacher_calls"));
    assert_eq!(number("A1", "generated_tokens"), number("A2", "generated_tokens"));
    // As many real texts as generated ones, which are at most twelve; or all, and the gold seeds.
    assert_eq!(number("real", "train_rows"), number("A2", "train_rows"));
    assert_eq!(number("real-all", "train_rows"), 4.0 + 16.0);
    assert_eq!(number("teacher", "teacher_calls"), 4.0);

    // Without seeds, and with five of each class, of which there are: two and three.
    for row in ["seeds", "EDA", "continuation", "GPT3Mix", "no-examples"] {
        assert!(line(&found, row, 0).is_none(), "{row}");
        let left_out = found["left_out"].as_array().unwrap();
        let said = left_out.iter().find(|out| out["row"] == row && out["k"] == 0).unwrap();
        assert!(said["reason"].as_str().unwrap().len() > 10);
    }
    assert!(line(&found, "A2", 0).is_some() && line(&found, "seeds", 5).is_some());
    assert_eq!(line(&found, "seeds", 5).unwrap()["train_rows"], 10.0);

    let markdown = fs::read_to_string(bench.path("all/compare.md")).unwrap();
    assert!(markdown.contains("| EDA | **") && markdown.contains("## Left out"), "{markdown}");
    let report = json(&bench.path("all/report.json"));
    assert_eq!(report["comparison"]["lines"], found["rows"]);
    assert!(fs::read_to_string(bench.path("all/report.html")).unwrap().contains("GPT3Mix"));
}

#[test]
fn a_comparison_that_is_killed_ends_with_the_same_table() {
    let bench = TestDir::new();
    let command = |out: &'static str| {
        let rows = "seeds,EDA,continuation,GPT3Mix,no-mixup,paper,A1,A2,teacher,real";
        // In batches, a reply may depend on what is decoded beside it.
        [&["compare", "--deterministic", "--out", out, "--rows", rows], &SMALL[..]].concat()
    };
    bench.ok(&command("calm"));
    let ledger = bench.path("killed/ledger.jsonl");
    for (kind, wanted) in [("reply", 4), ("scores", 40), ("student", 1), ("student", 5)] {
        bench.killed_after(&command("killed"), &ledger, kind, wanted);
    }
    bench.ok(&command("killed"));
    let (calm, killed) =
        (json(&bench.path("calm/compare.json")), json(&bench.path("killed/compare.json")));
    assert_eq!(timeless(&calm), timeless(&killed));
    assert_eq!(calm["differences"], killed["differences"]);
    assert_same_calls(&bench.path("calm"), &bench.path("killed"));

    // Once more costs nothing and says the same, times included.
    let before = fs::read_to_string(&ledger).unwrap();
    bench.ok(&command("killed"));
    assert_eq!(before, fs::read_to_string(&ledger).unwrap());
    assert_eq!(killed["rows"], json(&bench.path("killed/compare.json"))["rows"]);
}

#[test]
fn models_of_the_same_name_are_told_apart() {
    let bench = TestDir::new();
    let task = task(&bench);
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
    for folder in ["a", "b"] {
        fs::create_dir(bench.path(folder)).unwrap();
        fs::copy(pocket, bench.path(&format!("{folder}/model.gguf"))).unwrap();
    }
    let teachers = ["--teacher", "a/model.gguf", "--teacher", "b/model.gguf"];
    let command = ["compare", task.to_str().unwrap(), "--out", "two", "--rows", "seeds,A2,teacher"];
    let out = bench.ok(&[&command[..], &teachers, &SMALL].concat());
    assert!(out.contains("model − model (2): +0.0"), "{out}");
    let found = json(&bench.path("two/compare.json"));
    let lines = |row: &str| -> Vec<&Value> {
        found["rows"].as_array().unwrap().iter().filter(|line| line["row"] == row).collect()
    };
    assert_eq!((lines("seeds").len(), lines("A2").len(), lines("teacher").len()), (1, 2, 2));
    // It is the same file: what the second is asked is known, and costs what it cost the first.
    assert_eq!(lines("A2")[0]["accuracy"], lines("A2")[1]["accuracy"]);
    assert_eq!(lines("A2")[0]["tokens"], lines("A2")[1]["tokens"]);
    let models = found["differences"].as_array().unwrap().iter();
    let models: Vec<&Value> = models.filter(|one| !one["against"].is_null()).collect();
    assert_eq!(models.len(), 2, "{models:?}");
    assert!(
        models.iter().all(|one| one["mean"] == 0.0 && one["against"]["teacher"] == "model (2)")
    );
    assert!(found["provenance"]["settings"].as_str().unwrap().contains("a/model.gguf"));
}

#[test]
fn long_examples_are_shortened_and_rows_whose_prompts_do_not_fit_are_left_out() {
    let bench = TestDir::new();
    let task = bench.task("");
    // The pocket teacher takes 1024 tokens.
    let long = |text: &str| format!("{text} {}", "and so on and so forth ".repeat(80));
    let seeds = [
        ("I forgot my password", "password_reset"),
        ("my password has expired", "password_reset"),
        ("the screen of my laptop is cracked", "hardware_fault"),
        ("my keyboard is dead", "hardware_fault"),
    ];
    let seeds = seeds.map(|(text, label)| serde_json::json!({"text": long(text), "label": label}));
    let seeds: String = seeds.iter().map(|row| format!("{row}\n")).collect();
    fs::write(task.join("seeds.jsonl"), seeds).unwrap();
    let rows = "seeds,A1,A2,teacher,no-examples";
    let path = task.to_str().unwrap();
    bench.ok(&[&["compare", path, "--out", "out", "--rows", rows], &SMALL[..]].concat());
    let found = json(&bench.path("out/compare.json"));
    for row in rows.split(',') {
        assert!(line(&found, row, 2).is_some(), "{row}");
    }
    // A reply that leaves no room for a prompt, even without examples.
    let crowded = ["--set", "augment.max_tokens=1000"];
    let args = [&["compare", path, "--out", "crowded", "--rows", rows][..], &crowded, &SMALL];
    bench.ok(&args.concat());
    let found = json(&bench.path("crowded/compare.json"));
    for row in ["A1", "A2", "no-examples"] {
        assert!(line(&found, row, 2).is_none(), "{row}");
        let left_out = found["left_out"].as_array().unwrap();
        let said = left_out.iter().find(|out| out["row"] == row).unwrap();
        assert_eq!(said["teacher"], "pocket");
        assert!(said["reason"].as_str().unwrap().contains("1024"), "{said}");
    }
    assert!(line(&found, "seeds", 2).is_some() && line(&found, "teacher", 2).is_some());
}

#[test]
fn a_comparison_that_cannot_be_says_why() {
    let bench = TestDir::new();
    let task = bench.task("");
    let path = task.to_str().unwrap();
    let errors = bench.fails(&["compare", path, "--rows", "A3"]);
    assert!(errors.contains("A3") && errors.contains("GPT3Mix"), "{errors}");
    bench.ok(&["generate", path, "--out", "single", "--set", "augment.per_class=3"]);
    let errors = bench.fails(&["compare", path, "--out", "single"]);
    assert!(errors.contains("single run") && errors.contains("--out"), "{errors}");
    bench.ok(&[&["compare", path, "--out", "several", "--rows", "seeds"], &SMALL[..]].concat());
    let errors = bench.fails(&["run", path, "--out", "several"]);
    assert!(errors.contains("a comparison") && errors.contains("--out"), "{errors}");
    let toml = fs::read_to_string(task.join("task.toml")).unwrap();
    fs::write(task.join("task.toml"), toml.replace("test = \"test.jsonl\"", "")).unwrap();
    let errors = bench.fails(&["compare", path]);
    assert!(errors.contains("test set") && errors.contains("[data]"), "{errors}");
}
