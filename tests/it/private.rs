//! What a run writes is for its user alone, and what it says quotes no text.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::support::{TINY, TestDir, count};

/// The program under the umask that hides nothing.
fn open_handed(bench: &TestDir, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_promptmix")]);
    command.args(args).current_dir(bench.path("")).env_clear().env("HOME", bench.path(""));
    command.stdin(Stdio::null());
    command
}

/// What others may touch in the folder, and how much there is in it.
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

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn folders_and_files_are_for_their_user_alone() {
    let bench = TestDir::new();
    bench.task("");
    let run = |args: &[&str]| {
        let output = open_handed(&bench, args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    };
    run(&[&["demo", "--out", "deep/demo"], &TINY[..]].concat());
    let rows = ["compare", "task", "--out", "compare", "--rows", "seeds,A1,A2,teacher"];
    run(&[&rows[..], &TINY].concat());

    // Killed in mid-run.
    let args = [&["run", "task", "--out", "killed", "--set", "augment.per_class=200"], &TINY[..4]];
    let mut child = open_handed(&bench, &args.concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while count(&bench.path("killed/ledger.jsonl"), "reply") < 1 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    for (folder, least) in [("deep", 15), ("compare", 6), ("killed", 5)] {
        let (found, seen) = exposed(&bench.path(folder));
        assert!(found.is_empty(), "{found:#?}");
        assert!(seen >= least, "{folder}: {seen}");
    }

    // What is handed on has the rights that its user gives it.
    run(&["export", "deep/demo", "--to", "exported"]);
    let mode = fs::metadata(bench.path("exported/config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn a_folder_that_others_may_read_is_told() {
    let bench = TestDir::new();
    bench.task("");
    let generate = [&["generate", "task", "--out", "out"], &TINY[..]].concat();
    assert!(!said(&bench.run(&generate)).contains("chmod"));
    fs::set_permissions(bench.path("out"), fs::Permissions::from_mode(0o755)).unwrap();
    let told = said(&bench.run(&generate));
    assert!(told.contains("mode 755") && told.contains("hint: chmod -R go= out"), "{told}");
}

/// A word that stands in every text and nowhere else.
const MARKER: &str = "zebramarker";

/// Runs the command three times; the marker shows with `-vv` alone.
fn marked(bench: &TestDir, args: &[&str], crash: &str, code: i32) {
    for (flag, shown) in [("--quiet", false), ("-v", false), ("-vv", true)] {
        let _ = fs::remove_dir_all(bench.path("out"));
        let mut command = bench.program(&[args, &[flag]].concat());
        let output = command.env("PROMPTMIX_TEST_CRASH", crash).output().unwrap();
        let told = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?} {flag}: {told}");
        assert_eq!(told.contains(MARKER), shown, "{args:?} {flag}: {told}");
    }
}

#[test]
fn texts_are_told_with_vv_alone() {
    let bench = TestDir::new();
    let row = |text: &str, label: &str| {
        format!("{{\"text\": \"{text} {MARKER}\", \"label\": \"{label}\"}}\n")
    };
    let fresh = || {
        bench.task("");
        let seeds = row("I forgot my password", "password_reset") + &row("dead", "hardware_fault");
        bench.write("task/seeds.jsonl", &seeds);
        let test = row("a new password", "password_reset") + &row("broken", "hardware_fault");
        bench.write("task/test.jsonl", test);
        seeds
    };
    let seeds = fresh();
    let run = ["run", "task", "--out", "out"];

    // Columns that were mixed up: the label is the text.
    let swapped = format!("{{\"text\": \"vpn\", \"label\": \"{MARKER} is broken\"}}\n");
    bench.write("task/seeds.jsonl", seeds.clone() + &swapped);
    marked(&bench, &run, "", 2);
    // A file without a header.
    let toml = fs::read_to_string(bench.path("task/task.toml")).unwrap();
    bench.write("task/seeds.csv", format!("my {MARKER} is broken,hardware_fault\n"));
    bench.write("task/task.toml", toml.replace("seeds.jsonl", "seeds.csv"));
    marked(&bench, &run, "", 2);
    fresh();

    // Everything that is told of a run that goes well, and of one whose engine dies.
    let generate = [&["generate", "task", "--out", "out"], &TINY[..]].concat();
    marked(&bench, &generate, "", 0);
    marked(&bench, &generate, "abort:0.0.0", 0);

    // Rows that were written by hand.
    let broken =
        format!("{{\"text\": \"a {MARKER}\", \"major\": \"{MARKER}\", \"alpha\": \"{MARKER}\"}}\n");
    bench.write("rows.jsonl", broken);
    marked(&bench, &["import", "task", "rows.jsonl", "--out", "out"], "", 2);
    let mixed_up = format!("{{\"text\": \"vpn\", \"major\": \"{MARKER}\"}}\n");
    bench.write("rows.jsonl", mixed_up);
    marked(&bench, &["import", "task", "rows.jsonl", "--out", "out"], "", 2);

    // Never shown: faults that need no quote.
    for (file, content) in [
        ("task/seeds.jsonl", format!("{seeds}{{\"text\": \"{MARKER}\n")),
        ("task/seeds.jsonl", format!("{seeds}{seeds}")),
        ("task/test.jsonl", row("I forgot my password", "password_reset")),
    ] {
        fresh();
        bench.write(file, content);
        let told = bench.fails(&run);
        assert!(told.contains("hint: ") && !told.contains(MARKER), "{told}");
    }
}
