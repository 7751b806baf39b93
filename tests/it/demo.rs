//! The whole road on the embedded task, and the contracts for tools that read its output.

use std::{fs, io::Write as _, process::Stdio};

use crate::support::{SMALL, TestDir, json, json_lines, result_rows, rows};

#[test]
fn the_demo_walks_the_whole_road() {
    let bench = TestDir::new();
    let stdout = bench.ok(&[&["demo", "--out", "out"], &SMALL[..]].concat());
    for row in ["seeds only", "A1", "A2", "teacher itself"] {
        assert!(stdout.contains(row), "{stdout}");
    }
    let out = bench.path("out");

    let report = json(&out.join("report.json"));
    let results = report["results"].as_array().unwrap();
    assert_eq!(result_rows(&report), ["seeds", "embed-seeds", "A1", "A2", "teacher"]);
    for row in results {
        for measure in ["accuracy", "macro_f1"] {
            let value = |key: &str| row[measure][key].as_f64().unwrap();
            assert!(0.0 <= value("low") && value("low") <= value("mean"), "{row}");
            assert!(value("mean") <= value("high") && value("high") <= 1.0, "{row}");
        }
    }
    assert_eq!(results[0]["seeds"], 2);
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("<svg"));

    // Every text says where it came from, and the numbers of the funnel are those of the files.
    let augmented = rows(&out.join("augmented.jsonl"));
    let relabelled = rows(&out.join("relabelled.jsonl"));
    let kept = rows(&out.join("train.jsonl"));
    let dropped = rows(&out.join("dropped.jsonl"));
    assert_eq!(augmented.len(), relabelled.len());
    assert_eq!(kept.len() + dropped.len(), relabelled.len());
    assert_eq!(report["funnel"]["relabelled"], relabelled.len());
    assert_eq!(report["funnel"]["kept"], kept.len());
    for row in &relabelled {
        assert_eq!(row["shown"].as_array().unwrap().len(), 4);
        assert_eq!(row["teacher_sha256"].as_str().unwrap().len(), 64);
        let sum: f64 = row["probabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| pair[1].as_f64().unwrap())
            .sum();
        assert!((sum - 1.0).abs() < 1e-4, "{row}");
    }
    let changed = relabelled.iter().filter(|row| row["relabel"] != row["major"]).count();
    assert_eq!(report["relabel"]["changed"], changed);

    // The trained student answers from stdin.
    let mut child = bench
        .program(&["predict", "--model", "out/student"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"I forgot my password\nno wifi \"here\"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let answers = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[1]["text"], "no wifi \"here\"");
    for answer in &answers {
        let probabilities = answer["probabilities"].as_object().unwrap();
        assert_eq!(probabilities.len(), 6);
        let label = answer["label"].as_str().unwrap();
        assert_eq!(answer["probability"], probabilities[label]);
        let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-4);
    }
}

#[test]
fn stages_alone_do_what_a_run_does() {
    let bench = TestDir::new();
    let task = bench.task("");
    let task = task.to_str().unwrap();
    bench.ok(&[&["run", task, "--out", "whole", "--deterministic"], &SMALL[..]].concat());
    bench.ok(&[&["generate", task, "--out", "parts", "--deterministic"], &SMALL[..]].concat());
    for stage in ["relabel", "filter", "train", "eval"] {
        bench.ok(&[stage, "parts"]);
    }
    for file in ["augmented.jsonl", "relabelled.jsonl", "train.jsonl", "predictions.json"] {
        let read = |run: &str| fs::read_to_string(bench.path(run).join(file)).unwrap();
        assert_eq!(read("whole"), read("parts"), "{file}");
    }
}

#[test]
fn doctor_plan_and_lists_speak_json() {
    let bench = TestDir::new();
    let task = bench.task("");
    let doctor: serde_json::Value = serde_json::from_str(&bench.ok(&["doctor", "--json"])).unwrap();
    assert_eq!(doctor["pocket_teacher"], "loads");
    let plan = bench.ok(&["plan", task.to_str().unwrap(), "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["generate_calls"], 2 * 100_usize.div_ceil(3));
    assert!(plan["mixup_prompt"].as_str().unwrap().contains("password_reset"));
    assert!(plan["estimated_minutes"].as_f64().unwrap() > 0.0);
    assert!(plan["too_long"].as_array().unwrap().is_empty());
    // No prompt leaves room for such a reply.
    let task_name = task.to_str().unwrap();
    let errors = bench.fails(&["plan", task_name, "--set", "augment.max_tokens=5000"]);
    assert!(errors.contains("request for texts needs 5") && errors.contains("1024"), "{errors}");
    let models: serde_json::Value =
        serde_json::from_str(&bench.ok(&["models", "list", "--json"])).unwrap();
    assert!(models.as_array().unwrap().len() > 4);
    let cluster = bench.ok(&[
        "plan",
        task.to_str().unwrap(),
        "--json",
        "--machines=4",
        "--teacher-tokens-per-second=1000,50",
        "--price-per-hour=3",
    ]);
    let cluster: serde_json::Value = serde_json::from_str(&cluster).unwrap();
    let minutes = |part: usize| cluster["shards"]["parts"][part]["minutes"].as_f64().unwrap();
    let teacher = 4.0 * (minutes(0) + minutes(1)) + minutes(2);
    let alone = cluster["estimated_minutes"].as_f64().unwrap();
    assert!((teacher - alone).abs() < 1e-6, "{teacher} {alone}");
    let hours = cluster["shards"]["machine_hours"].as_f64().unwrap();
    assert!((hours - (teacher + minutes(3)) / 60.0).abs() < 1e-6, "{hours}");
    assert_eq!(cluster["shards"]["price"].as_f64().unwrap(), 3.0 * hours);
    assert!(!bench.path("task/ledger.jsonl").exists(), "plan spends nothing");
}

#[test]
fn init_makes_a_task_that_runs_once_it_is_described() {
    let bench = TestDir::new();
    bench.write("examples.csv", "text,label\n\"I forgot it, again\",password\nno signal,wifi\n");
    let stdout = bench.ok(&["init", "examples.csv", "mine"]);
    assert!(stdout.contains("password") && stdout.contains("no description"), "{stdout}");
    let plan = bench.run(&["plan", "mine", "--teacher", "pocket", "--student", "pocket"]);
    assert_eq!(plan.status.code(), Some(0));
    assert!(bench.fails(&["init", "examples.csv", "mine"]).contains("mine"));
}

#[test]
fn what_bench_measures_of_a_student_is_what_plan_estimates_with() {
    let bench = TestDir::new();
    let task = bench.task("");
    let plan = |more: &[&str]| -> serde_json::Value {
        let plan = [&["plan", task.to_str().unwrap(), "--json"], more].concat();
        serde_json::from_str::<serde_json::Value>(&bench.ok(&plan)).unwrap()["train"].clone()
    };
    // Rows: 4 seeds and 2 x 100 texts. Of 5 seeds each, 3 students: 60 steps at least, 26 an epoch.
    let guessed = plan(&[]);
    assert_eq!(guessed["students"], 15);
    assert_eq!(guessed["rows"], 204);
    assert_eq!(guessed["steps"], 5 * (60 + 2 * 5 * 26));
    assert_eq!(guessed["measured"], false);
    assert!(guessed["estimated_minutes"].as_f64().unwrap() > 0.0);

    let sizes = ["--rows", "12", "--steps", "3", "--students", "2", "--threads", "1"];
    let report = bench.ok(&[&["bench", "--student", "pocket", "--json"], &sizes[..]].concat());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let kinds: Vec<&str> = report["measures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|measure| measure["kind"].as_str().unwrap())
        .collect();
    // Eight bits are left out where the processor has no instructions for them.
    let kinds: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "classify_fast").collect();
    assert_eq!(kinds, ["train", "classify", "students"]);
    assert_eq!(plan(&[])["measured"], true);
    assert!(bench.ok(&["plan", task.to_str().unwrap()]).contains("15 students on up to 204 texts"));

    // Texts of one's own; a part of the measures does not replace what is known.
    let texts = task.join("test.jsonl");
    let only = ["--only", "train", "--texts", texts.to_str().unwrap(), "--equal-length", "20"];
    let table = bench.ok(&[&["bench", "--student", "pocket"], &sizes[..], &only[..]].concat());
    assert!(table.contains("2 classes") && table.contains("train "), "{table}");
    assert_eq!(plan(&[])["measured"], true);

    for (args, word) in [
        (&["bench"][..], "--teacher"),
        (&["bench", "--student", "pocket", "--slots", "3"], "--slots"),
        (&["bench", "--student", "pocket", "--only", "decode"], "classify_fast"),
        (&["bench", "--student", "nobody"], "nobody"),
    ] {
        assert!(bench.fails(args).contains(word), "{args:?}");
    }
}

#[cfg(unix)]
#[test]
fn nobody_reading_on_is_no_fault() {
    let bench = TestDir::new();
    let mut child = bench
        .program(&["models", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
