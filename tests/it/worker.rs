//! The teacher's process crashes, hangs or is killed: that costs a batch, never a call and never
//! the run.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{SMALL, TestDir, rows};

const PATIENCE: Duration = Duration::from_secs(120);

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited for {what} in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Number of the teacher's answers in the ledger.
fn answers(ledger: &Path) -> usize {
    let text = fs::read_to_string(ledger).unwrap_or_default();
    let is_answer = |line: &&str| {
        ["reply", "scores"].iter().any(|kind| line.contains(&format!("\"kind\":\"{kind}\"")))
    };
    text.lines().filter(is_answer).count()
}

/// Child processes of `parent`.
fn children(parent: u32) -> Vec<u32> {
    let output = Command::new("pgrep").args(["-P", &parent.to_string()]).output().expect("pgrep");
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

fn kill(process: u32) {
    // It may have ended by itself in the meantime.
    let _ = Command::new("kill").args(["-9", &process.to_string()]).stderr(Stdio::null()).status();
}

/// Whether the process is running; a zombie is not.
fn is_alive(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
        !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    })
}

fn start(bench: &TestDir, args: &[&str]) -> Child {
    let errors = fs::File::create(bench.path("errors.txt")).unwrap();
    bench.program(args).stdout(Stdio::null()).stderr(errors).spawn().unwrap()
}

fn of_kind(ledger: &[Value], kind: &str) -> Vec<Value> {
    ledger.iter().filter(|row| row["kind"] == kind).cloned().collect()
}

/// The keys of all teacher calls, each of which may occur only once.
fn calls(ledger: &[Value]) -> HashSet<String> {
    let keys: Vec<String> = ledger
        .iter()
        .filter(|row| ["reply", "scores", "skipped"].iter().any(|kind| row["kind"] == *kind))
        .map(|row| row["key"].as_str().unwrap().to_owned())
        .collect();
    let unique: HashSet<String> = keys.iter().cloned().collect();
    assert_eq!(unique.len(), keys.len(), "a call is in the ledger twice");
    unique
}

/// Kills the worker `times` times, each time a little after a new answer has arrived. Returns how
/// many workers were killed before the run ended.
fn kill_workers(run: &Child, ledger: &Path, times: u32) -> u32 {
    let (mut killed, mut last, mut grown) = (0, 0, 0);
    let deadline = Instant::now() + PATIENCE;
    while killed < times && is_alive(run.id()) {
        assert!(Instant::now() < deadline, "only {killed} workers were killed");
        let now = answers(ledger);
        let worker = children(run.id()).first().copied().filter(|worker| *worker != last);
        if let Some(worker) = worker.filter(|_| now > grown) {
            std::thread::sleep(Duration::from_millis(u64::from(killed % 5) * 7));
            kill(worker);
            (killed, last, grown) = (killed + 1, worker, now);
        }
    }
    killed
}

#[test]
fn a_worker_killed_again_and_again_loses_and_duplicates_nothing() {
    let bench = TestDir::new();
    bench.task("");
    // Many small steps, so that kills fall between all kinds of events.
    let more = ["--deterministic", "--set", "augment.per_class=60"];
    let generate = |out| [&["generate", "task", "--out", out], &SMALL[..], &more[..]].concat();
    bench.ok(&generate("calm"));
    bench.ok(&["relabel", "calm"]);

    let ledger = bench.path("killed/ledger.jsonl");
    let mut run = start(&bench, &generate("killed"));
    let mut killed = kill_workers(&run, &ledger, 14);
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let mut run = start(&bench, &["relabel", "killed"]);
    killed += kill_workers(&run, &ledger, 6);
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(killed >= 15, "only {killed} workers were killed");

    for file in ["augmented.jsonl", "relabelled.jsonl"] {
        let read = |run: &str| fs::read_to_string(bench.path(run).join(file)).unwrap();
        assert_eq!(read("calm"), read("killed"), "{file}");
    }
    let killed = rows(&ledger);
    assert_eq!(calls(&killed), calls(&rows(&bench.path("calm/ledger.jsonl"))));
    assert!(of_kind(&killed, "skipped").is_empty(), "a kill from outside blames no request");
    assert!(!of_kind(&killed, "restart").is_empty());
}

#[test]
fn a_request_that_aborts_the_engine_is_named_and_skipped() {
    let bench = TestDir::new();
    bench.task("");
    let run = [&["run", "task", "--out", "out"], &SMALL[..]].concat();
    let output = bench
        .program(&run)
        .env("PROMPTMIX_TEST_CRASH", "abort:0.0.1,abort:relabel.3,abort:test.2")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    for id in ["0.0.1", "relabel.3", "test.2"] {
        assert!(errors.contains(&format!("request {id} is skipped")), "{errors}");
    }
    let ledger = rows(&bench.path("out/ledger.jsonl"));
    let skipped = of_kind(&ledger, "skipped");
    let ids: Vec<&str> = skipped.iter().map(|row| row["request"].as_str().unwrap()).collect();
    assert_eq!(ids, ["0.0.1", "relabel.3", "test.2"]);
    assert!(skipped[0]["reason"].as_str().unwrap().contains("SIGABRT"), "{skipped:?}");
    calls(&ledger);
    let augmented = rows(&bench.path("out/augmented.jsonl")).len();
    assert_eq!(rows(&bench.path("out/relabelled.jsonl")).len(), augmented - 1);
    let report = fs::read_to_string(bench.path("out/report.json")).unwrap();
    assert!(report.contains("request test.2 was skipped"));

    // A request that the ledger has as skipped is not sent again, so the engine does not crash.
    let output = bench.program(&run).env("PROMPTMIX_TEST_CRASH", "abort:0.0.1").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(rows(&bench.path("out/ledger.jsonl")), ledger);
}

#[test]
fn a_hung_engine_is_replaced() {
    let bench = TestDir::new();
    bench.task("");
    let watchdog = ["--set", "teacher.watchdog_seconds=2"];
    let output = bench
        .program(&[&["generate", "task", "--out", "out"], &SMALL[..], &watchdog[..]].concat())
        .env("PROMPTMIX_TEST_CRASH", "hang:0.1.0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let skipped = of_kind(&rows(&bench.path("out/ledger.jsonl")), "skipped");
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0]["request"], "0.1.0");
    assert!(skipped[0]["reason"].as_str().unwrap().contains("watchdog"));
    assert!(rows(&bench.path("out/augmented.jsonl")).len() > 12);
}

#[test]
fn an_engine_that_never_loads_is_an_error() {
    let bench = TestDir::new();
    bench.task("");
    let output = bench
        .program(&["run", "task", "--out", "out"])
        .env("PROMPTMIX_TEST_CRASH", "abort:loading")
        .output()
        .unwrap();
    let errors = crate::support::check_failure(&output);
    assert!(errors.contains("loaded") && errors.contains("SIGABRT"), "{errors}");
    assert!(errors.contains("hint: "), "{errors}");
}

#[test]
fn several_workers_share_the_work() {
    let bench = TestDir::new();
    bench.task("");
    let walk = |out: &str, replicas: &str| {
        let set = format!("teacher.replicas={replicas}");
        let choices = ["--deterministic", "--set", &set];
        bench.ok(&[&["generate", "task", "--out", out], &SMALL[..], &choices[..]].concat());
        bench.ok(&["relabel", out]);
    };
    walk("one", "1");
    walk("three", "3");
    for file in ["augmented.jsonl", "relabelled.jsonl"] {
        let read = |run: &str| fs::read_to_string(bench.path(run).join(file)).unwrap();
        assert_eq!(read("one"), read("three"), "{file}");
    }
    let ledger = |run: &str| calls(&rows(&bench.path(run).join("ledger.jsonl")));
    assert_eq!(ledger("one"), ledger("three"));
}

#[test]
fn the_same_rows_with_and_without_a_worker() {
    let bench = TestDir::new();
    bench.task("");
    for (out, flag) in [("apart", "--quiet"), ("within", "--in-process")] {
        let choices = ["--deterministic", flag];
        bench.ok(&[&["generate", "task", "--out", out], &SMALL[..], &choices[..]].concat());
        bench.ok(&["relabel", out, flag]);
    }
    let read = |run: &str| fs::read_to_string(bench.path(run).join("relabelled.jsonl")).unwrap();
    assert_eq!(read("apart"), read("within"));
}

#[test]
fn a_worker_never_outlives_its_parent() {
    let bench = TestDir::new();
    bench.task("");
    let more = ["--set", "augment.per_class=200"];
    let ledger = bench.path("out/ledger.jsonl");
    for hook in ["", "hang:loading", "hang:0.0.0"] {
        let mut command =
            bench.program(&[&["generate", "task", "--out", "out"], &SMALL[..], &more[..]].concat());
        command.env("PROMPTMIX_TEST_CRASH", hook).stdout(Stdio::null()).stderr(Stdio::null());
        let mut run = command.spawn().unwrap();
        wait_until("a worker", || !children(run.id()).is_empty());
        let worker = children(run.id())[0];
        if hook.is_empty() {
            wait_until("work", || answers(&ledger) > 1);
        } else {
            std::thread::sleep(Duration::from_millis(300));
        }
        assert!(is_alive(worker));
        run.kill().unwrap();
        run.wait().unwrap();
        let killed = Instant::now();
        wait_until("the end of the worker", || !is_alive(worker));
        assert!(killed.elapsed() < Duration::from_secs(1), "{hook}: {:?}", killed.elapsed());
    }
}
