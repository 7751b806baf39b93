//! Texts that were written elsewhere go through the second half of the road.

use crate::support::{SMALL, TestDir, json, result_rows, rows};

#[test]
fn imported_texts_are_trained_on() {
    let bench = TestDir::new();
    let task = bench.task("");
    let task = task.to_str().unwrap();
    let rows_in = (0..8).map(|n| {
        let (major, noun) = [("password_reset", "password"), ("hardware_fault", "printer")][n % 2];
        let relabel = if n == 0 { "hardware_fault" } else { major };
        format!("{{\"text\": \"my {noun} number {n} {n} is gone\", \"major\": \"{major}\", \"alpha\": 0.8, \"relabel\": \"{relabel}\", \"p\": 0.9}}\n")
    });
    bench.write("texts.jsonl", rows_in.collect::<String>());
    bench.ok(&[&["import", task, "texts.jsonl", "--out", "out"], &SMALL[..]].concat());
    for stage in ["filter", "train", "eval"] {
        bench.ok(&[stage, "out"]);
    }
    let report = json(&bench.path("out/report.json"));
    assert_eq!(result_rows(&report), ["seeds", "A1", "A2"]);
    assert_eq!(report["relabel"]["changed"], 1);
    assert!(rows(&bench.path("out/train.jsonl")).len() >= 2);
}

#[test]
fn texts_without_labels_of_a_teacher_are_relabelled_next() {
    let bench = TestDir::new();
    let task = bench.task("");
    let task = task.to_str().unwrap();
    bench.write(
        "texts.jsonl",
        "{\"text\": \"my keyboard is broken\", \"major\": \"password_reset\"}\n",
    );
    bench.ok(&["import", task, "texts.jsonl", "--out", "out"]);
    assert!(bench.fails(&["filter", "out"]).contains("relabelled.jsonl"));
    bench.ok(&["relabel", "out"]);
    assert_eq!(rows(&bench.path("out/relabelled.jsonl"))[0]["relabel"], "hardware_fault");
}

#[test]
fn a_row_that_does_not_fit_is_named() {
    let bench = TestDir::new();
    let task = bench.task("");
    let task = task.to_str().unwrap();
    for (line, wanted) in [
        ("{\"text\": \"x\", \"major\": \"pasword\"}", "password_reset"),
        ("{\"text\": \"\", \"major\": \"password_reset\"}", "empty"),
        ("{\"major\": \"password_reset\"}", "text"),
        ("nonsense", "texts.jsonl:2"),
    ] {
        let good = "{\"text\": \"a\", \"major\": \"password_reset\"}";
        bench.write("texts.jsonl", format!("{good}\n{line}\n"));
        let errors = bench.fails(&["import", task, "texts.jsonl", "--out", "out"]);
        assert!(errors.contains("texts.jsonl:2") && errors.contains(wanted), "{errors}");
    }
}
