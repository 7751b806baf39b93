//! `promptmix predict` in a pipe: it answers at once, in constant memory, and exits quietly.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::support::TestDir;

/// A trained student of three classes, small enough for thousands of texts.
const STUDENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");

fn start(dir: &TestDir, more: &[&str]) -> (Child, ChildStdin, ChildStdout) {
    let args = [&["predict", "--model", STUDENT], more].concat();
    let mut command = dir.program(&args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, stdout)
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_client_that_waits_for_each_answer_gets_it() {
    let dir = TestDir::new();
    let (mut child, mut stdin, stdout) = start(&dir, &[]);
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().try_for_each(|line| send.send(line.unwrap()))
    });
    // One at a time, three times: growing windows must not wait for more texts.
    for text in ["my card", "the train", "why"] {
        writeln!(stdin, "{text}").unwrap();
        let answer = receive.recv_timeout(Duration::from_secs(60)).expect("an answer");
        assert_eq!(rows(&answer)[0]["text"], text);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_input() {
    let dir = TestDir::new();
    let (mut child, mut stdin, stdout) = start(&dir, &[]);
    let mut answers = BufReader::new(stdout);
    let mut peak_after = |count: usize| {
        std::thread::scope(|scope| {
            let stdin = &mut stdin;
            scope.spawn(move || {
                for at in 0..count {
                    writeln!(stdin, "text {at}: where is my lost card{}?", " now".repeat(at % 9))
                        .unwrap();
                }
            });
            let mut line = String::new();
            for _ in 0..count {
                line.clear();
                assert!(answers.read_line(&mut line).unwrap() > 0);
            }
        });
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let tenth = peak_after(10_000);
    let whole = peak_after(90_000);
    assert!(whole < tenth + 8 * 1024, "{tenth} kB after a tenth, {whole} kB after the whole");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_closes_the_pipe_ends_it_quietly() {
    let dir = TestDir::new();
    let (mut child, mut stdin, stdout) = start(&dir, &["--abstain-below", "0.5"]);
    writeln!(stdin, "my card").unwrap();
    let mut answers = BufReader::new(stdout);
    answers.read_line(&mut String::new()).unwrap();
    drop(answers);
    // It may exit before everything is written.
    for _ in 0..10_000 {
        if writeln!(stdin, "the train").is_err() {
            break;
        }
    }
    drop(stdin);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(errors, "");
}

#[test]
fn below_the_threshold_there_is_no_label() {
    let dir = TestDir::new();
    let file = dir.write("texts.txt", "my card\nthe train\n");
    let file = file.to_str().unwrap();
    let predict =
        |more: &[&str]| dir.run(&[&["predict", "--model", STUDENT, "--file", file], more].concat());
    let output = predict(&["--abstain-below", "1"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "no label for 2 of 2 texts (100.0 %): below a probability of 1\n");
    for row in rows(&String::from_utf8(output.stdout).unwrap()) {
        assert_eq!(row["label"], Value::Null);
        assert_eq!(row["probability"], row["probabilities"][row["best"].as_str().unwrap()]);
    }
    let output = predict(&["--abstain-below", "0", "--quiet"]);
    assert!(output.stderr.is_empty());
    for row in rows(&String::from_utf8(output.stdout).unwrap()) {
        assert!(row["label"].is_string() && row["label"] == row["best"]);
    }
    let plain = rows(&String::from_utf8(predict(&[]).stdout).unwrap());
    assert!(plain.iter().all(|row| row.get("best").is_none()));
    assert_eq!(predict(&["--abstain-below", "1.5"]).status.code(), Some(2));
}

#[test]
fn every_format_gives_the_same_answers_and_an_error_gives_none() {
    let dir = TestDir::new();
    let predict = |name: &str, text: &str| {
        let file = dir.write(name, text);
        dir.ok(&["predict", "--model", STUDENT, "--file", file.to_str().unwrap()])
    };
    let plain = predict("x.txt", "my card\nthe train, late\n");
    assert_eq!(rows(&plain).len(), 2);
    assert_eq!(predict("x.csv", "id,text\n1,my card\n2,\"the train, late\"\n"), plain);
    let jsonl = "{\"text\": \"my card\"}\n{\"text\": \"the train, late\"}\n";
    assert_eq!(predict("x.jsonl", jsonl), plain);
    let file = dir.write("y.txt", "my card\n\nthe train\n");
    let output = dir.run(&["predict", "--model", STUDENT, "--file", file.to_str().unwrap()]);
    assert!(output.stdout.is_empty());
    assert!(crate::support::check_failure(&output).contains("y.txt:2:1: empty text"));
}
