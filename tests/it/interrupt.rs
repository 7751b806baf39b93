//! Ctrl-C in every stage: the program ends within two seconds, says how to resume, and leaves no
//! partial file and no process behind.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use promptmix::testing::parse_ledger;

use crate::support::{STUDENT, TINY, TestDir, count, rows};

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !done() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The process ids of the children of `parent`.
fn children(parent: u32) -> Vec<u32> {
    let output = Command::new("pgrep").args(["-P", &parent.to_string()]).output().expect("pgrep");
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn is_alive(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
        !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    })
}

/// Starts the program with a crash or hang planted by `hook`, and its stderr in errors.txt.
fn start(dir: &TestDir, args: &[&str], hook: &str) -> Child {
    let errors = fs::File::create(dir.path("errors.txt")).unwrap();
    let mut command = dir.program(args);
    command.env("PROMPTMIX_TEST_CRASH", hook).stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(errors).spawn().unwrap()
}

/// Sends `signal` and checks that the program and its worker end in time and that it reports the
/// stop. Returns its stderr.
fn stop(dir: &TestDir, mut child: Child, signal: &str, what: &str) -> String {
    let workers = children(child.id());
    let clock = Instant::now();
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.unwrap().success(), "{what}: the program had ended already");
    let status = child.wait().unwrap();
    let took = clock.elapsed();
    wait_until("the end of the worker", || !workers.iter().any(|worker| is_alive(*worker)));
    assert!(took < Duration::from_secs(2), "{what}: {took:?}");
    assert!(clock.elapsed() < Duration::from_secs(2), "{what}: {:?}", clock.elapsed());
    let message = fs::read_to_string(dir.path("errors.txt")).unwrap();
    assert_eq!(status.code(), Some(2), "{what}: {message}");
    assert!(message.contains("stopped") && !message.contains("error: "), "{what}: {message}");
    eprintln!("{what} ({signal}): ended after {} ms", took.as_millis());
    message
}

/// Checks that the ledger is complete and that there are no partial or hidden files.
fn check(folder: &Path) {
    let path = folder.join("ledger.jsonl");
    let bytes = fs::read(&path).unwrap();
    let (entries, _, whole) = parse_ledger(&path, &bytes).expect("an intact chain");
    assert!(whole == bytes.len() && !entries.is_empty());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let partial =
                name.ends_with(".part") || name.ends_with(".tmp") || name.starts_with('.');
            assert!(!partial, "{}", path.display());
            folders.extend(path.is_dir().then_some(path));
        }
    }
}

#[test]
fn a_run_is_stopped_in_each_stage_of_the_teacher() {
    let dir = TestDir::new();
    dir.task("");
    let args =
        [&["run", "task", "--out", "out", "--set", "augment.per_class=100"], &TINY[..2]].concat();
    let ledger = dir.path("out/ledger.jsonl");
    let resume = format!("  {} {}\n", env!("CARGO_BIN_EXE_promptmix"), args.join(" "));
    for (kind, hook, signal) in [
        ("loading", "hang:loading", "-INT"),
        ("reply", "", "-INT"),
        ("hung", "hang:1.0.0", "-TERM"),
        ("scores", "", "-TERM"),
    ] {
        let child = start(&dir, &args, hook);
        match kind {
            "loading" | "hung" => {
                wait_until("a worker", || !children(child.id()).is_empty());
                std::thread::sleep(Duration::from_millis(300));
            }
            kind => {
                let before = count(&ledger, kind);
                wait_until(kind, || count(&ledger, kind) > before);
            }
        }
        let message = stop(&dir, child, signal, kind);
        assert!(message.contains("To resume, run:") && message.ends_with(&resume), "{message}");
        match kind {
            // Nothing is written before the models are there.
            "loading" => assert!(!dir.path("out").exists()),
            _ => check(&dir.path("out")),
        }
    }
}

#[test]
fn a_stopped_training_keeps_its_state() {
    let dir = TestDir::new();
    let task = dir.task("");
    // Without a test set only the final student is trained.
    let toml = fs::read_to_string(task.join("task.toml")).unwrap();
    fs::write(task.join("task.toml"), toml.replace("test = \"test.jsonl\"", "")).unwrap();
    let args = |out| {
        let long = ["--deterministic", "--set", "augment.per_class=4", "--set", "run.seeds=1"];
        [
            &["run", "task", "--out", out, "--student", STUDENT, "--set", "student.epochs=10000"],
            &long[..],
        ]
        .concat()
    };
    dir.ok(&args("undisturbed"));
    let child = start(&dir, &args("out"), "");
    let ledger = dir.path("out/ledger.jsonl");
    let filtered = || {
        let text = fs::read_to_string(&ledger).unwrap_or_default();
        text.lines().any(|line| line.contains("\"stage\":\"filter\"") && line.contains("counts"))
    };
    wait_until("the training", filtered);
    std::thread::sleep(Duration::from_millis(250));
    stop(&dir, child, "-INT", "training");
    check(&dir.path("out"));
    assert!(dir.path("out/training/training.safetensors").exists(), "its state was saved");
    assert_eq!(count(&ledger, "student"), 0, "the training was not finished");
    dir.ok(&args("out"));
    assert!(!dir.path("out/training").exists());
    let read = |run: &str| fs::read(dir.path(run).join("student/model.safetensors")).unwrap();
    assert!(
        read("undisturbed") == read("out"),
        "it ended with the same weights as the undisturbed one"
    );
    assert_eq!(rows(&ledger).iter().filter(|row| row["kind"] == "student").count(), 1);
}

#[test]
fn a_comparison_and_a_pipe_are_stopped() {
    let dir = TestDir::new();
    dir.task("");
    let args = [&["compare", "task", "--out", "out", "--set", "augment.per_class=100"], &TINY[..2]];
    let child = start(&dir, &args.concat(), "");
    let ledger = dir.path("out/ledger.jsonl");
    wait_until("a reply", || count(&ledger, "reply") > 0);
    assert!(stop(&dir, child, "-INT", "compare").contains("compare task --out out"));
    check(&dir.path("out"));

    let bert = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");
    let answers = fs::File::create(dir.path("answers.txt")).unwrap();
    let errors = fs::File::create(dir.path("errors.txt")).unwrap();
    let mut command = dir.program(&["predict", "--model", bert]);
    let mut child = command.stdin(Stdio::piped()).stdout(answers).stderr(errors).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "where is my card").unwrap();
    let answered = || fs::read_to_string(dir.path("answers.txt")).unwrap();
    wait_until("an answer", || answered().ends_with("}\n"));
    stop(&dir, child, "-TERM", "predict");
    assert_eq!(answered().lines().count(), 1);
    drop(input);
}
