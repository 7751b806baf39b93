//! Shared by the tests: running the program, a small task, reading its output.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder for one test, which is also the program's home and working directory.
pub(crate) struct TestDir {
    folder: TempDir,
}

/// Settings with which a run takes seconds.
pub(crate) const SMALL: [&str; 8] = [
    "--set",
    "augment.per_class=12",
    "--set",
    "run.seeds=2",
    "--set",
    "student.epochs=2",
    "--set",
    "teacher.slots=4",
];

/// The `ledger.head` of a run that was killed before its ledger had any line.
pub(crate) const FIRST_HEAD: &str = r#"{"lines": 0, "sha256": ""}"#;

/// A student that trains almost instantly, and little work for the teacher.
pub(crate) const STUDENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/distilbert");
pub(crate) const TINY: [&str; 10] = [
    "--student",
    STUDENT,
    "--set",
    "augment.per_class=4",
    "--set",
    "run.seeds=1",
    "--set",
    "student.epochs=2",
    "--set",
    "teacher.slots=4",
];

/// One student, trained for one epoch.
pub(crate) const ONE_EPOCH: [&str; 6] =
    ["--set", "run.seeds=1", "--set", "student.epochs=1", "--set", "student.min_steps=1"];

impl TestDir {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("a file");
        path
    }

    /// A command that runs the program in this folder.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_promptmix"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.program(args).output().expect("the program starts")
    }

    /// Runs the program, which must succeed. Returns its stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?} failed: {errors}");
        String::from_utf8(output.stdout).expect("stdout is text")
    }

    /// Runs the program, which must fail with exit code 2 and without a panic. Returns its stderr.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        check_failure(&self.run(args))
    }

    /// Starts the program and kills it once `ledger` has `wanted` lines of `kind`.
    pub(crate) fn killed_after(&self, args: &[&str], ledger: &Path, kind: &str, wanted: usize) {
        let mut child =
            self.program(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while count(ledger, kind) < wanted {
            assert!(Instant::now() < deadline, "no {kind} came");
            assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Writes a small task of two classes, with `toml` appended to its task.toml. Teacher and
    /// student are the pocket models, unless `toml` names others. Returns its folder.
    pub(crate) fn task(&self, toml: &str) -> PathBuf {
        self.write("task/seeds.jsonl", concat!(
            "{\"text\": \"I forgot my password\", \"label\": \"password_reset\"}\n",
            "{\"text\": \"my password has expired\", \"label\": \"password_reset\"}\n",
            "{\"text\": \"the screen of my laptop is cracked\", \"label\": \"hardware_fault\"}\n",
            "{\"text\": \"my keyboard is dead\", \"label\": \"hardware_fault\"}\n",
        ));
        self.write(
            "task/test.jsonl",
            concat!(
                "{\"text\": \"please send me a new password\", \"label\": \"password_reset\"}\n",
                "{\"text\": \"the printer is broken\", \"label\": \"hardware_fault\"}\n",
                "{\"text\": \"I do not remember my password\", \"label\": \"password_reset\"}\n",
                "{\"text\": \"my mouse does not move any more\", \"label\": \"hardware_fault\"}\n",
            ),
        );
        let text = format!(
            "item = \"ticket\"\nitems = \"tickets\"\n{}\n[data]\nseeds = \"seeds.jsonl\"\ntest = \"test.jsonl\"\n{}\n",
            "[[class]]\nname = \"password_reset\"\ntitle = \"password_reset\"\ndescription = \"forgotten, expired or new password\"\n\
             [[class]]\nname = \"hardware_fault\"\ntitle = \"hardware_fault\"\ndescription = \"a device or part is broken\"",
            with_models(toml),
        );
        self.write("task/task.toml", text).parent().expect("a parent").to_owned()
    }
}

/// Tables of a task.toml that name the pocket models where they name none.
fn with_models(toml: &str) -> String {
    let name = |toml: String, table: &str| {
        let (head, named) = (format!("[{table}]"), format!("[{table}]\nmodel = \"pocket\""));
        match toml.split_once(&head) {
            None => format!("{toml}\n{named}"),
            Some((_, rest))
                if rest.split("\n[").next().is_some_and(|own| own.contains("model = ")) =>
            {
                toml
            }
            Some(_) => toml.replacen(&head, &named, 1),
        }
    };
    name(name(toml.to_owned(), "teacher"), "student")
}

/// The number of complete lines of `kind` in the ledger.
pub(crate) fn count(ledger: &Path, kind: &str) -> usize {
    let text = fs::read_to_string(ledger).unwrap_or_default();
    text.lines()
        .filter(|line| line.contains(&format!("\"kind\":\"{kind}\"")) && line.ends_with('}'))
        .count()
}

/// Checks that the ledgers of two folders record the same calls, each of them once.
pub(crate) fn assert_same_calls(calm: &Path, killed: &Path) {
    let keys = |folder: &Path| -> Vec<String> {
        let rows = rows(&folder.join("ledger.jsonl"));
        rows.iter().filter_map(|row| Some(row.get("key")?.as_str()?.to_owned())).collect()
    };
    let unique: HashSet<String> = keys(killed).into_iter().collect();
    assert_eq!(unique.len(), keys(killed).len(), "a call was made twice");
    assert_eq!(unique, keys(calm).into_iter().collect());
}

/// Checks for exit code 2, an `error: ` line and no trace of a panic. Returns the stderr.
pub(crate) fn check_failure(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("error: "), "{errors}");
    for trace in ["panicked", "internal error", "backtrace", "RUST_BACKTRACE"] {
        assert!(!errors.contains(trace), "{errors}");
    }
    errors
}

/// The rows of a report's result table, by name.
pub(crate) fn result_rows(report: &Value) -> Vec<&str> {
    let results = report["results"].as_array().expect("a table");
    results.iter().map(|row| row["row"].as_str().expect("a name")).collect()
}

pub(crate) fn json(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

pub(crate) fn rows(path: &Path) -> Vec<Value> {
    json_lines(
        &fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
}
