//! Bad input: a clear error with file, line and mend, exit code 2, nothing lost, no panic.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{SMALL, TINY, TestDir, check_failure, count};

#[test]
fn faults_of_a_task_are_named_with_their_place() {
    let row =
        |text: &str, label: &str| format!("{{\"text\": \"{text}\", \"label\": \"{label}\"}}\n");
    let good =
        row("I forgot my password", "password_reset") + &row("dead screen", "hardware_fault");
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("seeds.jsonl", (good.clone() + &row("x y", "pasword_reset")).into(), "seeds.jsonl:3"),
        ("seeds.jsonl", (good.clone() + &row("  ", "password_reset")).into(), "seeds.jsonl:3"),
        (
            "seeds.jsonl",
            (good.clone() + &row("dead  Screen", "hardware_fault")).into(),
            "seeds.jsonl:3",
        ),
        ("seeds.jsonl", row("I forgot my password", "password_reset").into(), "hardware_fault"),
        ("seeds.jsonl", [good.as_bytes(), b"{\"text\": \"\xff\"}\n"].concat(), "seeds.jsonl:3"),
        ("seeds.jsonl", [b"\xef\xbb\xbf", good.as_bytes()].concat(), "seeds.jsonl:1"),
        (
            "seeds.jsonl",
            "{\"message\": \"a\", \"label\": \"password_reset\"}\n".into(),
            "seeds.jsonl:1",
        ),
        ("test.jsonl", row("i forgot my password", "password_reset").into(), "test.jsonl:1"),
        ("task.toml", "name = \n".into(), "task.toml:1"),
    ];
    for (file, content, place) in cases {
        let bench = TestDir::new();
        let task = bench.task("shots = 1");
        // `shots` is a key of the top level.
        let toml = fs::read_to_string(task.join("task.toml")).unwrap().replace("shots = 1", "");
        bench.write("task/task.toml", format!("shots = 1\n{toml}"));
        bench.write("task/seeds.jsonl", &good);
        bench.write(&format!("task/{file}"), content);
        let errors = bench.fails(&["run", "task", "--out", "out"]);
        assert!(errors.contains(place) && errors.contains("hint: "), "wanted {place}: {errors}");
        assert!(!bench.path("out").exists(), "nothing was begun");
    }
}

#[test]
fn settings_and_flags_are_checked() {
    let bench = TestDir::new();
    bench.task("[student]\nepoch = 3");
    assert!(bench.fails(&["run", "task", "--out", "out"]).contains("epoch"));
    bench.task("");
    let wrong = bench.fails(&["run", "task", "--out", "out", "--set", "student.learning_rate=7"]);
    assert!(wrong.contains("student.learning_rate"), "{wrong}");
    assert!(bench.fails(&["run", "nowhere", "--out", "out"]).contains("nowhere"));
    bench.fails(&["run"]);
}

#[test]
fn models_that_are_missing_or_broken_are_named() {
    let bench = TestDir::new();
    bench.task("");
    let run = |teacher: &str| bench.fails(&["run", "task", "--out", "out", "--teacher", teacher]);
    assert!(run("nowhere.gguf").contains("nowhere.gguf"));
    assert!(run("gpt-9").contains("gpt-9"));
    assert!(run("qwen2.5-0.5b-instruct").contains("models pull"));
    bench.write("text.gguf", "this is no model");
    assert!(run("text.gguf").contains("text.gguf"));

    // The program's own teacher, cut off in the middle.
    bench.ok(&["doctor"]);
    let home = bench.path(".cache/promptmix");
    let whole = fs::read_dir(home).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(whole).unwrap();
    for length in [4, 100, 5_000, bytes.len() / 2, bytes.len() - 1] {
        bench.write("cut.gguf", &bytes[..length]);
        let errors = run("cut.gguf");
        assert!(errors.contains("cut.gguf") && errors.contains("hint: "), "{length}: {errors}");
    }

    let errors = bench.fails(&["run", "task", "--out", "out", "--student", "./nowhere"]);
    assert!(errors.contains("nowhere"), "{errors}");
    assert!(bench.fails(&["predict", "--model", "nowhere", "x"]).contains("nowhere"));
}

#[test]
fn a_folder_that_is_no_run_is_left_alone() {
    let bench = TestDir::new();
    bench.task("");
    bench.write("out/thesis.txt", "precious");
    assert!(bench.fails(&["run", "task", "--out", "out"]).contains("not a run folder"));
    assert!(bench.fails(&["train", "out"]).contains("no run folder"));
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 1);
    bench.fails(&["run", "task", "--out", "/proc/run"]);
}

#[test]
fn a_run_folder_keeps_to_its_task() {
    let bench = TestDir::new();
    bench.task("");
    bench.ok(&[&["generate", "task", "--out", "out"], &SMALL[..]].concat());
    let toml = fs::read_to_string(bench.path("task/task.toml")).unwrap();
    bench.write("task/task.toml", toml.replace("a device or part is broken", "something else"));
    let errors = bench.fails(&[&["run", "task", "--out", "out"], &SMALL[..]].concat());
    assert!(errors.contains("another task"), "{errors}");
}

#[test]
fn a_ledger_that_was_changed_is_refused() {
    let bench = TestDir::new();
    bench.task("");
    let command = [&["generate", "task", "--out", "out"], &SMALL[..]].concat();
    bench.ok(&command);
    let ledger = bench.path("out/ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    fs::write(&ledger, text.replacen("1. ", "1. not ", 1)).unwrap();
    assert!(bench.fails(&command).contains("ledger.jsonl:"));
}

/// Runs `script` as root of a private mount namespace, where small file systems can be mounted.
fn in_mount_namespace(bench: &TestDir, script: &str) -> Option<std::process::Output> {
    let possible = Command::new("unshare")
        .args(["-rm", "sh", "-c", "mkdir -p \"$0\" && mount -t tmpfs none \"$0\""])
        .arg(bench.path("mount"))
        .output()
        .is_ok_and(|output| output.status.success());
    if !possible {
        eprintln!("SKIPPED: this machine does not allow mounts in a namespace");
        return None;
    }
    let program = env!("CARGO_BIN_EXE_promptmix");
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .current_dir(bench.path(""))
        .env("HOME", bench.path(""))
        .env("P", program)
        .env("SMALL", SMALL.join(" "))
        .env("TINY", TINY.join(" "))
        .output();
    Some(output.expect("unshare starts"))
}

#[test]
fn a_full_disk_loses_nothing() {
    let bench = TestDir::new();
    bench.task("");
    // The first run fills a tiny disk; once it has grown, the same command goes on.
    let script = "mount -t tmpfs -o size=24k none mount && \
        $P run task --out mount/run $SMALL 2>first.txt; echo $? >code; cp mount/run/ledger.jsonl before.jsonl; \
        mount -o remount,size=64m mount && $P run task --out mount/run $SMALL 2>second.txt && \
        cp mount/run/ledger.jsonl after.jsonl";
    let Some(output) = in_mount_namespace(&bench, script) else { return };
    let read = |name: &str| fs::read_to_string(bench.path(name)).unwrap_or_default();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        read("second.txt")
    );
    assert_eq!(read("code").trim(), "2", "{}", read("first.txt"));
    assert!(read("first.txt").contains("No space left"), "{}", read("first.txt"));
    assert!(read("first.txt").contains("hint: "), "{}", read("first.txt"));
    assert!(read("before.jsonl").lines().count() > 1);
    assert!(read("after.jsonl").starts_with(&read("before.jsonl")), "finished calls were kept");
}

#[test]
fn a_read_only_run_folder_is_an_error() {
    let bench = TestDir::new();
    bench.task("");
    let script = "mount -t tmpfs none mount && mount -o remount,ro mount && $P run task --out mount/run $SMALL";
    if let Some(output) = in_mount_namespace(&bench, script) {
        assert!(check_failure(&output).contains("mount/run"));
    }
}

/// Stage by stage up to `train.jsonl`, so that a fault hits one stage alone.
const STAGES: &str = "set -e; $P generate task --out mount/run $TINY >&2; $P relabel mount/run >&2; $P filter mount/run >&2; set +e;";

#[test]
fn a_disk_that_is_full_when_the_student_is_saved_loses_nothing() {
    let bench = TestDir::new();
    bench.task("");
    let script = format!(
        "mount -t tmpfs -o size=64m none mount && {STAGES} \
        used=$(du -sk mount | cut -f1); mount -o remount,size=$((used + 48))k mount; \
        $P train mount/run 2>first.txt; echo $? >code; ls -a mount/run mount/run/student >left.txt 2>&1; \
        mount -o remount,size=64m mount && $P train mount/run && test -s mount/run/student/model.safetensors"
    );
    let Some(output) = in_mount_namespace(&bench, &script) else { return };
    let read = |name: &str| fs::read_to_string(bench.path(name)).unwrap_or_default();
    let first = read("first.txt");
    assert!(output.status.success(), "{}{first}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(read("code").trim(), "2", "{first}");
    assert!(first.contains("No space left") && first.contains("mount/run"), "{first}");
    assert!(first.contains("hint: "), "{first}");
    assert!(!read("left.txt").contains("config.json"), "no half student: {}", read("left.txt"));
}

#[test]
fn rights_that_are_lost_in_mid_run_are_an_error_and_come_back() {
    let bench = TestDir::new();
    bench.task("");
    let script = format!(
        "mount -t tmpfs -o size=64m none mount && {STAGES} \
        mount -o remount,ro mount; $P train mount/run 2>first.txt; echo $? >code; \
        mount -o remount,rw mount && $P train mount/run"
    );
    let Some(output) = in_mount_namespace(&bench, &script) else { return };
    let read = |name: &str| fs::read_to_string(bench.path(name)).unwrap_or_default();
    let first = read("first.txt");
    assert!(output.status.success(), "{}{first}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(read("code").trim(), "2", "{first}");
    assert!(first.contains("mount/run") && first.contains("hint: "), "{first}");
}

#[test]
fn a_teacher_that_vanishes_or_is_replaced_is_refused_and_welcome_back() {
    let bench = TestDir::new();
    bench.task("");
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
    let model = bench.path("teacher.gguf");
    fs::copy(pocket, &model).unwrap();
    let command = [&["generate", "task", "--out", "out", "--teacher", "teacher.gguf"], &TINY[..]];
    let command = command.concat();
    bench.ok(&command);
    let before = fs::read_to_string(bench.path("out/ledger.jsonl")).unwrap();

    fs::remove_file(&model).unwrap();
    let told = bench.fails(&["relabel", "out"]);
    assert!(told.contains("teacher.gguf") && told.contains("hint: "), "{told}");

    // The same name, other weights: one bit of the last tensor.
    let mut bytes = fs::read(pocket).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&model, &bytes).unwrap();
    let told = bench.fails(&["relabel", "out"]);
    assert!(told.contains("not the teacher") && told.contains("teacher.gguf"), "{told}");
    assert!(told.contains("hint: put the old file back"), "{told}");
    let ledger = fs::read_to_string(bench.path("out/ledger.jsonl")).unwrap();
    assert_eq!(ledger, before, "nothing was asked of it");

    fs::copy(pocket, &model).unwrap();
    bench.ok(&["relabel", "out"]);
}

#[test]
#[cfg(unix)]
fn a_teacher_replaced_while_its_process_is_down_is_refused() {
    let bench = TestDir::new();
    bench.task("");
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
    let mut other = fs::read(pocket).unwrap();
    *other.last_mut().unwrap() ^= 1;
    for (what, replaced) in [("gone", false), ("replaced", true)] {
        let (model, out) = (bench.path("teacher.gguf"), format!("out-{what}"));
        fs::copy(pocket, &model).unwrap();
        let command = ["generate", "task", "--out", &out, "--teacher", "teacher.gguf"];
        let more = ["--set", "augment.per_class=200", "--set", "teacher.slots=4"];
        let mut program = bench.program(&[&command[..], &more].concat());
        let child = program.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while count(&bench.path(&out).join("ledger.jsonl"), "reply") == 0 {
            assert!(Instant::now() < deadline, "no reply came");
            std::thread::sleep(Duration::from_millis(2));
        }
        // Renamed over, as a download does it: the mapped file of the running process stays whole.
        fs::remove_file(&model).unwrap();
        if replaced {
            bench.write("teacher.gguf", &other);
        }
        let worker = Command::new("pkill").args(["-9", "-P", &child.id().to_string()]).status();
        assert!(worker.unwrap().success());
        let told = check_failure(&child.wait_with_output().unwrap());
        assert!(told.contains("teacher.gguf") && told.contains("hint: "), "{what}: {told}");
        assert!(told.contains("changed during the run") == replaced, "{what}: {told}");
    }
}

#[test]
fn a_torn_last_line_is_cut_off_and_told() {
    let bench = TestDir::new();
    bench.task("");
    let command = [&["generate", "task", "--out", "out"], &TINY[..]].concat();
    bench.ok(&command);
    let ledger = bench.path("out/ledger.jsonl");
    let whole = fs::read(&ledger).unwrap();
    let torn = [&whole[..], b"{\"n\":99,\"prev\":\"zebramarker"].concat();
    fs::write(&ledger, torn).unwrap();
    let output = bench.run(&command);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("ledger.jsonl: the last line was not whole"), "{told}");
    assert!(!told.contains("zebramarker"), "{told}");
    assert_eq!(fs::read(&ledger).unwrap(), whole);
}
