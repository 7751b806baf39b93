//! Bad input: a clear error with file, line and hint, exit code 2, nothing lost, no panic.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{SMALL, TINY, TestDir, check_failure, count};

#[test]
fn faults_of_a_task_are_reported_with_their_place() {
    let row =
        |text: &str, label: &str| format!("{{\"text\": \"{text}\", \"label\": \"{label}\"}}\n");
    let good =
        row("I forgot my password", "password_reset") + &row("dead screen", "hardware_fault");
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("seeds.jsonl", (good.clone() + &row("x y", "pasword_reset")).into(), "seeds.jsonl:3"),
        ("seeds.jsonl", (good.clone() + &row("  ", "password_reset")).into(), "seeds.jsonl:3"),
        (
            "seeds.jsonl",
            (good.clone() + &row("dead  Screen", "hardware_fault")).into(),
            "seeds.jsonl:3",
        ),
        ("seeds.jsonl", row("I forgot my password", "password_reset").into(), "hardware_fault"),
        ("seeds.jsonl", [good.as_bytes(), b"{\"text\": \"\xff\"}\n"].concat(), "seeds.jsonl:3"),
        (
            "seeds.jsonl",
            "{\"id\": 1, \"words\": \"a\", \"label\": \"password_reset\"}\n".into(),
            "seeds.jsonl:1",
        ),
        ("test.jsonl", row("i forgot my password", "password_reset").into(), "test.jsonl:1"),
        ("task.toml", "name = \n".into(), "task.toml:1"),
    ];
    for (file, content, place) in cases {
        let dir = TestDir::new();
        let task = dir.task("shots = 1");
        // `shots` is a top-level key, so it goes first.
        let toml = fs::read_to_string(task.join("task.toml")).unwrap().replace("shots = 1", "");
        dir.write("task/task.toml", format!("shots = 1\n{toml}"));
        dir.write("task/seeds.jsonl", &good);
        dir.write(&format!("task/{file}"), content);
        let errors = dir.fails(&["run", "task", "--out", "out"]);
        assert!(errors.contains(place) && errors.contains("hint: "), "expected {place}: {errors}");
        assert!(!dir.path("out").exists(), "the run was not started");
    }
}

#[test]
fn settings_and_flags_are_checked() {
    let dir = TestDir::new();
    dir.task("[student]\nepoch = 3");
    assert!(dir.fails(&["run", "task", "--out", "out"]).contains("epoch"));
    dir.task("");
    let wrong = dir.fails(&["run", "task", "--out", "out", "--set", "student.learning_rate=7"]);
    assert!(wrong.contains("student.learning_rate"), "{wrong}");
    assert!(dir.fails(&["run", "nowhere", "--out", "out"]).contains("nowhere"));
    dir.fails(&["run"]);
}

/// In TOML, a key belongs to the table above it, wherever it was meant to stand.
#[test]
fn a_wrong_setting_in_a_task_is_named_with_its_line() {
    let dir = TestDir::new();
    dir.task("");
    let classes = "[[class]]\nname = \"password_reset\"\n[[class]]\nname = \"hardware_fault\"\n";
    let data = "[data]\nseeds = \"seeds.jsonl\"\n";
    for (toml, wanted, hint) in [
        (
            format!("[teacher]\nmodel = \"pocket\"\nitem = \"ticket\"\n{classes}{data}"),
            "task.toml:3:1: invalid settings: unknown field `item`",
            "move item above the first [table]",
        ),
        (
            format!("{data}item = \"ticket\"\n{classes}"),
            "task.toml:3:1: unknown key \"item\" in [data]",
            "move item above the first [table]",
        ),
        (
            format!("{classes}{data}[student]\nepoch = 3\n"),
            "task.toml:8:1: invalid settings: unknown field `epoch`",
            "`promptmix plan` lists all settings",
        ),
        (
            format!("{classes}{data}[run]\nseed = 1\n[student]\nepochs = \"x\"\n"),
            "task.toml:10:1: invalid settings",
            "`promptmix plan` lists all settings",
        ),
        (
            format!("{classes}{data}[student]\nlearning_rate = 7.0\n"),
            "task.toml:8:1: student.learning_rate is 7",
            "change it in task.toml",
        ),
    ] {
        dir.write("task/task.toml", toml);
        for command in [&["plan", "task"][..], &["run", "task", "--out", "out"]] {
            let errors = dir.fails(command);
            assert!(errors.contains(wanted) && errors.contains(hint), "{errors}");
        }
    }
    // What a flag sets is not looked for in the file.
    let errors = dir.fails(&["plan", "task", "--set", "student.learning_rate=8"]);
    assert!(!errors.contains("task.toml:"), "{errors}");
}

#[test]
fn a_refused_command_leaves_no_folder_and_changes_none() {
    let dir = TestDir::new();
    let task = dir.task("");
    let task = task.to_str().unwrap();
    dir.write("broken.gguf", "GGUF");
    let refusals: [&[&str]; 4] = [
        &["--student", "./no/student"],
        &["--teacher", "./no/teacher.gguf"],
        &["--teacher", "broken.gguf"],
        &["--teacher", "replay:nothing.jsonl"],
    ];
    for refused in refusals {
        for command in ["run", "generate", "compare"] {
            dir.fails(&[&[command, task, "--out", "new"][..], refused].concat());
            assert!(!dir.path("new").exists(), "{command} {refused:?}");
        }
    }
    dir.ok(&[&["run", task, "--out", "out"][..], &TINY].concat());
    let files = || -> Vec<(String, Vec<u8>)> {
        let files = fs::read_dir(dir.path("out")).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.is_file() && !path.ends_with("run.lock"));
        let mut files: Vec<_> =
            files.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let before = files();
    for refused in refusals {
        dir.fails(&[&["run", task, "--out", "out"][..], &TINY[2..], refused].concat());
        assert!(files() == before, "{refused:?}");
    }
    let set = ["--set", "student.model=./no/student", "--set", "run.seeds=3"];
    for stage in ["relabel", "train", "eval"] {
        dir.fails(&[&[stage, "out"][..], &set].concat());
        assert!(files() == before, "{stage}");
    }
}

#[test]
fn missing_or_broken_models_are_errors_with_their_name() {
    let dir = TestDir::new();
    dir.task("");
    let run = |teacher: &str| dir.fails(&["run", "task", "--out", "out", "--teacher", teacher]);
    assert!(run("nowhere.gguf").contains("nowhere.gguf"));
    assert!(run("gpt-9").contains("gpt-9"));
    assert!(run("qwen2.5-0.5b-instruct").contains("models pull"));
    dir.write("text.gguf", "this is no model");
    assert!(run("text.gguf").contains("text.gguf"));

    // The embedded teacher, truncated.
    dir.ok(&["doctor"]);
    let home = dir.path(".cache/promptmix");
    let whole = fs::read_dir(home).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(whole).unwrap();
    for length in [4, 100, 5_000, bytes.len() / 2, bytes.len() - 1] {
        dir.write("cut.gguf", &bytes[..length]);
        let errors = run("cut.gguf");
        assert!(errors.contains("cut.gguf") && errors.contains("hint: "), "{length}: {errors}");
    }

    let errors = dir.fails(&["run", "task", "--out", "out", "--student", "./nowhere"]);
    assert!(errors.contains("nowhere"), "{errors}");
    assert!(dir.fails(&["predict", "--model", "nowhere", "x"]).contains("nowhere"));
}

#[test]
fn a_folder_that_is_not_a_run_is_left_alone() {
    let dir = TestDir::new();
    dir.task("");
    dir.write("out/thesis.txt", "precious");
    assert!(dir.fails(&["run", "task", "--out", "out"]).contains("not a run folder"));
    assert!(dir.fails(&["train", "out"]).contains("not a run folder"));
    assert_eq!(fs::read_dir(dir.path("out")).unwrap().count(), 1);
    dir.fails(&["run", "task", "--out", "/proc/run"]);
}

#[test]
fn a_changed_ledger_is_rejected() {
    let dir = TestDir::new();
    dir.task("");
    let command = [&["generate", "task", "--out", "out"], &SMALL[..]].concat();
    dir.ok(&command);
    let ledger = dir.path("out/ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    fs::write(&ledger, text.replacen("1. ", "1. not ", 1)).unwrap();
    assert!(dir.fails(&command).contains("ledger.jsonl:"));
}

/// Runs `script` as root in a private mount namespace, where small file systems can be mounted.
/// `None` if this machine does not allow that.
fn in_mount_namespace(dir: &TestDir, script: &str) -> Option<std::process::Output> {
    let possible = Command::new("unshare")
        .args(["-rm", "sh", "-c", "mkdir -p \"$0\" && mount -t tmpfs none \"$0\""])
        .arg(dir.path("mount"))
        .output()
        .is_ok_and(|output| output.status.success());
    if !possible {
        eprintln!("SKIPPED: this machine does not allow mounts in a namespace");
        return None;
    }
    let program = env!("CARGO_BIN_EXE_promptmix");
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .current_dir(dir.path(""))
        .env("HOME", dir.path(""))
        .env("P", program)
        .env("SMALL", SMALL.join(" "))
        .env("TINY", TINY.join(" "))
        .output();
    Some(output.expect("unshare starts"))
}

#[test]
fn a_full_disk_loses_nothing() {
    let dir = TestDir::new();
    dir.task("");
    // The disk is full from the first reply on; after it was enlarged, the same command resumes the
    // run.
    let script = format!(
        "mount -t tmpfs -o size=512m none mount && {FILLED} \
        filled_when 'grep -qs reply mount/run/ledger.jsonl' run task --out mount/run $SMALL; \
        cp mount/run/ledger.jsonl before.jsonl; \
        mount -o remount,size=512m mount && $P run task --out mount/run $SMALL 2>second.txt && \
        cp mount/run/ledger.jsonl after.jsonl"
    );
    let Some(output) = in_mount_namespace(&dir, &script) else { return };
    let read = |name: &str| fs::read_to_string(dir.path(name)).unwrap_or_default();
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
    let dir = TestDir::new();
    dir.task("");
    let script = "mount -t tmpfs none mount && mount -o remount,ro mount && $P run task --out mount/run $SMALL";
    if let Some(output) = in_mount_namespace(&dir, script) {
        assert!(check_failure(&output).contains("mount/run"));
    }
}

/// A shell function that runs the program and leaves no room on its disk once a condition holds.
const FILLED: &str = "filled_when() { condition=$1; shift; \
    $P \"$@\" 2>first.txt & \
    until eval \"$condition\"; do kill -0 $! || break; sleep 0.01; done; \
    mount -o remount,size=$(du -sk mount | cut -f1)k mount; wait $!; echo $? >code; };";

/// Runs the stages up to `train.jsonl` one by one, so that a later fault hits one stage only.
const STAGES: &str = "set -e; $P generate task --out mount/run $TINY >&2; $P relabel mount/run >&2; $P filter mount/run >&2; set +e;";

#[test]
fn a_disk_that_is_full_when_the_student_is_saved_loses_nothing() {
    let dir = TestDir::new();
    dir.task("");
    // Enough epochs that training is far from its end when the disk has been filled.
    let script = format!(
        "mount -t tmpfs -o size=512m none mount && {STAGES} {FILLED} \
        filled_when 'test -s first.txt' \
            train mount/run --set student.texts=always --set student.epochs=500; \
        ls -a mount/run mount/run/student >left.txt 2>&1; \
        mount -o remount,size=512m mount && $P train mount/run && test -s mount/run/student/model.safetensors"
    );
    let Some(output) = in_mount_namespace(&dir, &script) else { return };
    let read = |name: &str| fs::read_to_string(dir.path(name)).unwrap_or_default();
    let first = read("first.txt");
    assert!(output.status.success(), "{}{first}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(read("code").trim(), "2", "{first}");
    assert!(first.contains("No space left") && first.contains("mount/run"), "{first}");
    assert!(first.contains("hint: "), "{first}");
    assert!(!read("left.txt").contains("config.json"), "no partial student: {}", read("left.txt"));
}

#[test]
fn a_disk_that_becomes_read_only_is_an_error_and_the_run_can_be_resumed() {
    let dir = TestDir::new();
    dir.task("");
    let script = format!(
        "mount -t tmpfs -o size=512m none mount && {STAGES} \
        mount -o remount,ro mount; $P train mount/run 2>first.txt; echo $? >code; \
        mount -o remount,rw mount && $P train mount/run"
    );
    let Some(output) = in_mount_namespace(&dir, &script) else { return };
    let read = |name: &str| fs::read_to_string(dir.path(name)).unwrap_or_default();
    let first = read("first.txt");
    assert!(output.status.success(), "{}{first}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(read("code").trim(), "2", "{first}");
    assert!(first.contains("mount/run") && first.contains("hint: "), "{first}");
}

#[test]
fn a_deleted_or_replaced_teacher_is_an_error_until_it_is_restored() {
    let dir = TestDir::new();
    dir.task("");
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
    let model = dir.path("teacher.gguf");
    fs::copy(pocket, &model).unwrap();
    let command = [&["generate", "task", "--out", "out", "--teacher", "teacher.gguf"], &TINY[..]];
    let command = command.concat();
    dir.ok(&command);
    let before = fs::read_to_string(dir.path("out/ledger.jsonl")).unwrap();

    fs::remove_file(&model).unwrap();
    let message = dir.fails(&["relabel", "out"]);
    assert!(message.contains("teacher.gguf") && message.contains("hint: "), "{message}");

    // The same name with other weights: one bit of the last tensor differs.
    let mut bytes = fs::read(pocket).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&model, &bytes).unwrap();
    let message = dir.fails(&["relabel", "out"]);
    assert!(message.contains("not the teacher") && message.contains("teacher.gguf"), "{message}");
    assert!(message.contains("hint: put the old file back"), "{message}");
    let ledger = fs::read_to_string(dir.path("out/ledger.jsonl")).unwrap();
    assert_eq!(ledger, before, "no request was sent to it");

    fs::copy(pocket, &model).unwrap();
    dir.ok(&["relabel", "out"]);
}

#[test]
#[cfg(unix)]
fn a_teacher_replaced_while_its_process_restarts_is_rejected() {
    let dir = TestDir::new();
    dir.task("");
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
    let mut other = fs::read(pocket).unwrap();
    *other.last_mut().unwrap() ^= 1;
    for (what, replaced) in [("gone", false), ("replaced", true)] {
        let (model, out) = (dir.path("teacher.gguf"), format!("out-{what}"));
        fs::copy(pocket, &model).unwrap();
        let command = ["generate", "task", "--out", &out, "--teacher", "teacher.gguf"];
        let more = ["--set", "augment.per_class=200", "--set", "teacher.slots=4"];
        let mut program = dir.program(&[&command[..], &more].concat());
        let child = program.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while count(&dir.path(&out).join("ledger.jsonl"), "reply") == 0 {
            assert!(Instant::now() < deadline, "no reply came");
            std::thread::sleep(Duration::from_millis(2));
        }
        // A new file, as after a download: the running process keeps its mapping of the old one.
        fs::remove_file(&model).unwrap();
        if replaced {
            dir.write("teacher.gguf", &other);
        }
        let worker = Command::new("pkill").args(["-9", "-P", &child.id().to_string()]).status();
        assert!(worker.unwrap().success());
        let message = check_failure(&child.wait_with_output().unwrap());
        assert!(
            message.contains("teacher.gguf") && message.contains("hint: "),
            "{what}: {message}"
        );
        assert!(message.contains("changed during the run") == replaced, "{what}: {message}");
    }
}

#[test]
fn a_torn_last_line_is_removed_with_a_warning() {
    let dir = TestDir::new();
    dir.task("");
    let command = [&["generate", "task", "--out", "out"], &TINY[..]].concat();
    dir.ok(&command);
    let ledger = dir.path("out/ledger.jsonl");
    let whole = fs::read(&ledger).unwrap();
    let torn = [&whole[..], b"{\"n\":99,\"prev\":\"zebramarker"].concat();
    fs::write(&ledger, torn).unwrap();
    let output = dir.run(&command);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("ledger.jsonl: the last line was incomplete"), "{message}");
    assert!(!message.contains("zebramarker"), "{message}");
    assert_eq!(fs::read(&ledger).unwrap(), whole);
}
