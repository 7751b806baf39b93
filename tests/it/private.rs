//! Only the user can read what a run writes, and what it prints quotes no text.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::support::{TINY, TestDir, count};

/// A command that runs the program under umask 0000, which makes new files public.
fn with_open_umask(dir: &TestDir, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_promptmix")]);
    command.args(args).current_dir(dir.path("")).env_clear().env("HOME", dir.path(""));
    command.stdin(Stdio::null());
    command
}

/// The files and folders below `folder` with other permissions than 0600 and 0700, and the number
/// of all.
fn exposed(folder: &Path) -> (Vec<String>, usize) {
    let (mut found, mut seen, mut folders) = (Vec::new(), 0, vec![folder.to_owned()]);
    let mut note = |path: &Path, wanted: u32| {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        seen += 1;
        found.extend((mode != wanted).then(|| format!("{mode:o} {}", path.display())));
    };
    while let Some(folder) = folders.pop() {
        note(&folder, 0o700);
        let entries: Vec<PathBuf> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        for path in entries {
            if path.is_dir() { folders.push(path) } else { note(&path, 0o600) }
        }
    }
    (found, seen)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn only_the_user_can_read_folders_and_files() {
    let dir = TestDir::new();
    dir.task("");
    let run = |args: &[&str]| {
        let output = with_open_umask(&dir, args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    };
    run(&[&["demo", "--out", "deep/demo"], &TINY[..]].concat());
    let rows = ["compare", "task", "--out", "compare", "--rows", "seeds,A1,A2,teacher"];
    run(&[&rows[..], &TINY].concat());

    // A run that is killed.
    let args = [&["run", "task", "--out", "killed", "--set", "augment.per_class=200"], &TINY[..4]];
    let mut child = with_open_umask(&dir, &args.concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while count(&dir.path("killed/ledger.jsonl"), "reply") < 1 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    for (folder, least) in [("deep", 15), ("compare", 6), ("killed", 5)] {
        let (found, seen) = exposed(&dir.path(folder));
        assert!(found.is_empty(), "{found:#?}");
        assert!(seen >= least, "{folder}: {seen}");
    }

    // An export is meant to be shared: its permissions follow the umask.
    run(&["export", "deep/demo", "--to", "exported"]);
    let mode = fs::metadata(dir.path("exported/config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn a_folder_that_others_may_read_gives_a_warning() {
    let dir = TestDir::new();
    dir.task("");
    let generate = [&["generate", "task", "--out", "out"], &TINY[..]].concat();
    assert!(!stderr(&dir.run(&generate)).contains("chmod"));
    fs::set_permissions(dir.path("out"), fs::Permissions::from_mode(0o755)).unwrap();
    let message = stderr(&dir.run(&generate));
    assert!(
        message.contains("mode 755") && message.contains("hint: chmod -R go= out"),
        "{message}"
    );
}

/// A word that occurs in every text and nowhere else.
const MARKER: &str = "zebramarker";

/// Runs the command three times and checks that it prints the marker only with `-vv`.
fn check_marker(dir: &TestDir, args: &[&str], crash: &str, code: i32) {
    for (flag, shown) in [("--quiet", false), ("-v", false), ("-vv", true)] {
        let _ = fs::remove_dir_all(dir.path("out"));
        let mut command = dir.program(&[args, &[flag]].concat());
        let output = command.env("PROMPTMIX_TEST_CRASH", crash).output().unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?} {flag}: {message}");
        assert_eq!(message.contains(MARKER), shown, "{args:?} {flag}: {message}");
    }
}

#[test]
fn texts_are_printed_only_with_vv() {
    let dir = TestDir::new();
    let row = |text: &str, label: &str| {
        format!("{{\"text\": \"{text} {MARKER}\", \"label\": \"{label}\"}}\n")
    };
    let fresh = || {
        dir.task("");
        let seeds = row("I forgot my password", "password_reset") + &row("dead", "hardware_fault");
        dir.write("task/seeds.jsonl", &seeds);
        let test = row("a new password", "password_reset") + &row("broken", "hardware_fault");
        dir.write("task/test.jsonl", test);
        seeds
    };
    let seeds = fresh();
    let run = ["run", "task", "--out", "out"];

    // Swapped columns: the label is the text.
    let swapped = format!("{{\"text\": \"vpn\", \"label\": \"{MARKER} is broken\"}}\n");
    dir.write("task/seeds.jsonl", seeds.clone() + &swapped);
    check_marker(&dir, &run, "", 2);
    // A file without a header.
    let toml = fs::read_to_string(dir.path("task/task.toml")).unwrap();
    dir.write("task/seeds.csv", format!("my {MARKER} is broken,hardware_fault\n"));
    dir.write("task/task.toml", toml.replace("seeds.jsonl", "seeds.csv"));
    check_marker(&dir, &run, "", 2);
    fresh();

    // Everything printed by a run that succeeds, and by one in which the engine crashes.
    let generate = [&["generate", "task", "--out", "out"], &TINY[..]].concat();
    check_marker(&dir, &generate, "", 0);
    check_marker(&dir, &generate, "abort:0.0.0", 0);

    // Imported rows with faults.
    let broken =
        format!("{{\"text\": \"a {MARKER}\", \"major\": \"{MARKER}\", \"alpha\": \"{MARKER}\"}}\n");
    dir.write("rows.jsonl", broken);
    check_marker(&dir, &["import", "task", "rows.jsonl", "--out", "out"], "", 2);
    let mixed_up = format!("{{\"text\": \"vpn\", \"major\": \"{MARKER}\"}}\n");
    dir.write("rows.jsonl", mixed_up);
    check_marker(&dir, &["import", "task", "rows.jsonl", "--out", "out"], "", 2);

    // Faults that never quote a text, even with `-vv`.
    for (file, content) in [
        ("task/seeds.jsonl", format!("{seeds}{{\"text\": \"{MARKER}\n")),
        ("task/seeds.jsonl", format!("{seeds}{seeds}")),
        ("task/test.jsonl", row("I forgot my password", "password_reset")),
    ] {
        fresh();
        dir.write(file, content);
        let message = dir.fails(&run);
        assert!(message.contains("hint: ") && !message.contains(MARKER), "{message}");
    }
}
