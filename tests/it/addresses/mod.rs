//! A teacher behind addresses: what it answers is what this machine's engine would, whatever goes
//! wrong on the way, and nobody but the broker connects.

mod engine;
mod tokenizer;
mod trust;

use std::{
    collections::BTreeMap,
    sync::{Mutex, atomic::Ordering},
};

use serde_json::Value;

use crate::support::{TINY, TestDir, rows};
use engine::{Dialect, Engine, Fault, MODEL};

const TEXTS: [&str; 6] = [
    "password expired while I was on leave",
    "a key of my laptop is loose",
    "what is the password policy",
    "the headset has no sound",
    "new password does not work yet",
    "projector in room four shows no picture",
];

/// A task with six unlabelled texts, all of which the teacher labels.
fn task(dir: &TestDir) -> String {
    dir.write("task/all.csv", format!("text\n{}\n", TEXTS.join("\n")));
    let toml = "unlabelled = \"all.csv\"\n[label]\nbudget = 100\n[relabel]\ncalibration = \"none\"\n[augment]\nper_class = 3";
    dir.task(toml).to_str().unwrap().to_owned()
}

/// The arguments of a run in the folder `out` with the teacher of all engines.
fn run<'a>(task: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    run_with(MODEL, task, out, more)
}

/// The same with a teacher of which `teacher` is what is on this machine.
fn run_with<'a>(teacher: &'a str, task: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let set = ["--set", "teacher.check=0"];
    [&["run", task, "--out", out, "--teacher", teacher], &TINY[..8], &set[..], more].concat()
}

/// The probabilities of the labels of each unlabelled text.
fn labels(dir: &TestDir, out: &str) -> BTreeMap<String, Vec<f64>> {
    let labelled = rows(&dir.path(out).join("labelled.jsonl"));
    let probabilities = |row: &Value| {
        let pairs = row["probabilities"].as_array().unwrap();
        pairs.iter().map(|pair| pair[1].as_f64().unwrap()).collect()
    };
    labelled
        .iter()
        .map(|row| (row["text"].as_str().unwrap().to_owned(), probabilities(row)))
        .collect()
}

#[test]
fn every_dialect_gives_the_probabilities_of_the_engine_here() {
    let dir = TestDir::new();
    let task = task(&dir);
    for scoring in ["relabel.scoring=branch", "relabel.scoring=sequence"] {
        dir.ok(&run(&task, &format!("here-{scoring}"), &["--set", scoring]));
        let here = labels(&dir, &format!("here-{scoring}"));
        assert_eq!(here.len(), TEXTS.len());
        for dialect in [Dialect::LlamaServer, Dialect::Vllm, Dialect::Sglang] {
            let engine = Engine::start(dialect, |_| Fault::None);
            let out = format!("{dialect:?}-{scoring}");
            let printed =
                dir.ok(&run(&task, &out, &["--set", scoring, "--allow-address", &engine.url]));
            assert!(printed.contains("U (real texts"), "{printed}");
            for (text, there) in labels(&dir, &out) {
                for (a, b) in here[&text].iter().zip(&there) {
                    assert!((a - b).abs() < 5e-3, "{dialect:?} {scoring}: {here:?} {there:?}");
                }
            }
        }
    }
}

#[test]
fn a_label_that_differs_in_its_first_token_takes_one_request() {
    let dir = TestDir::new();
    let task = task(&dir);
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let engine = Engine::start(Dialect::LlamaServer, move |it| {
        noted.lock().unwrap().push(it.prompt.to_owned());
        Fault::None
    });
    let set = ["--set", "relabel.scoring=branch", "--allow-address", &engine.url];
    dir.ok(&run(&task, "out", &set));
    for text in TEXTS {
        let about = |prompt: &&String| prompt.contains(text) && !prompt.contains("texts");
        let asked = seen.lock().unwrap().iter().filter(about).count();
        assert_eq!(asked, 1, "{text}");
    }
}

#[test]
fn faults_change_nothing() {
    let dir = TestDir::new();
    let task = task(&dir);
    let calm = Engine::start(Dialect::LlamaServer, |_| Fault::None);
    dir.ok(&run(&task, "calm", &["--allow-address", &calm.url]));
    // Three of ten fail, each kind in turn; and nothing listens at the second address.
    let rough = Engine::start(Dialect::LlamaServer, |it| match it.number % 10 {
        3 => Fault::Status(503),
        6 => Fault::Cut,
        8 => Fault::Closed,
        _ => Fault::None,
    });
    let addresses = ["--allow-address", &rough.url, "--allow-address", "http://127.0.0.1:1"];
    dir.ok(&run(&task, "rough", &addresses));
    for file in ["augmented.jsonl", "relabelled.jsonl", "labelled.jsonl"] {
        let texts = |out: &str| {
            let mut rows = rows(&dir.path(out).join(file));
            rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("id")));
            rows
        };
        assert_eq!(texts("calm"), texts("rough"), "{file}");
    }
    let keys = |out: &str| {
        let ledger = rows(&dir.path(out).join("ledger.jsonl"));
        let answers = ledger.iter().filter(|row| row["kind"] == "reply" || row["kind"] == "scores");
        let mut keys: Vec<String> = answers.map(|row| row["key"].to_string()).collect();
        keys.sort();
        keys
    };
    let found = keys("rough");
    assert_eq!(found, keys("calm"));
    assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "an answer is there twice");
}

#[test]
fn a_request_that_breaks_every_connection_is_named_and_left_out() {
    let dir = TestDir::new();
    let task = task(&dir);
    let engine = Engine::start(Dialect::LlamaServer, |it| {
        if it.prompt.contains("the headset has no sound") { Fault::Closed } else { Fault::None }
    });
    dir.ok(&run(&task, "out", &["--allow-address", &engine.url]));
    let ledger = rows(&dir.path("out/ledger.jsonl"));
    let skipped: Vec<&Value> = ledger.iter().filter(|row| row["kind"] == "skipped").collect();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(skipped[0]["reason"].as_str().unwrap().contains("broke each time"), "{skipped:?}");
    assert_eq!(labels(&dir, "out").len(), TEXTS.len() - 1);
}

#[test]
fn another_model_under_the_same_name_is_refused() {
    let dir = TestDir::new();
    let task = task(&dir);
    // It is exchanged in the middle, which breaks the connections.
    let engine = Engine::start(Dialect::LlamaServer, |it| match it.number {
        20 => Fault::OtherModel,
        21..24 => Fault::Closed,
        _ => Fault::None,
    });
    let errors = dir.fails(&run(&task, "out", &["--allow-address", &engine.url]));
    assert!(errors.contains("another model answers there than at the start"), "{errors}");
    // Neither does a later command take it for the old one.
    let errors = dir.fails(&run(&task, "out", &["--allow-address", &engine.url]));
    assert!(errors.contains("is not the teacher that"), "{errors}");
    assert!(errors.contains("it gives other probabilities after a fixed prompt"), "{errors}");
    // The right one goes on where it was.
    let engine = Engine::start(Dialect::LlamaServer, |_| Fault::None);
    dir.ok(&run(&task, "out", &["--allow-address", &engine.url]));
    assert!(engine.answered.load(Ordering::SeqCst) > 0);
}

#[test]
fn two_engines_share_the_work_behind_ports_and_paths() {
    let dir = TestDir::new();
    let task = task(&dir);
    let path = dir.path("engine.sock");
    let (one, other) =
        (Engine::start(Dialect::Vllm, |_| Fault::None), Engine::at_path(Dialect::Vllm, &path));
    let addresses = ["--allow-address", &one.url, "--allow-address", &other.url];
    dir.ok(&run(&task, "out", &addresses));
    for engine in [&one, &other] {
        assert!(engine.answered.load(Ordering::SeqCst) > 2, "{}", engine.url);
    }
    // Where the texts went is told.
    let ledger = rows(&dir.path("out/ledger.jsonl"));
    let teacher = ledger.iter().find(|row| row["kind"] == "teacher").unwrap();
    assert_eq!(teacher["identity"]["remote"]["engine"], "vLLM");
    assert_eq!(teacher["identity"]["remote"]["addresses"][0], one.url.as_str());
    dir.ok(&["export", "out", "--to", "exported"]);
    for (file, name) in [("out/report.html", "the report"), ("exported/README.md", "the card")] {
        let text = std::fs::read_to_string(dir.path(file)).unwrap();
        // Slashes are escaped.
        let address = one.url.trim_start_matches("http://");
        assert!(text.contains(address), "{name} does not say {address}");
    }
    let audit = dir.ok(&["audit", "out"]);
    assert!(audit.contains(&one.url), "{audit}");
}
