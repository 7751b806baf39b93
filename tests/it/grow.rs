//! A task grows while its run folder stays: what is still valid is taken up, what is not is redone,
//! and both are said before it starts.

use std::{collections::HashSet, fs};

use serde_json::Value;

use crate::support::{FIRST_HEAD, TINY, TestDir, count, json, json_lines, rows};

pub(crate) const PASSWORD: (&str, &str) = ("password_reset", "forgotten, expired or new password");
pub(crate) const HARDWARE: (&str, &str) = ("hardware_fault", "a device or part is broken");
pub(crate) const VPN: (&str, &str) = ("vpn_access", "the remote connection cannot be established");

pub(crate) const SEEDS: [(&str, usize); 6] = [
    ("I forgot my password", 0),
    ("my password has expired", 0),
    ("the screen of my laptop is cracked", 1),
    ("my keyboard is dead", 1),
    ("the VPN does not connect from home", 2),
    ("no tunnel to the office network", 2),
];
const TEST: [(&str, usize); 4] = [
    ("please send me a new password", 0),
    ("the printer is broken", 1),
    ("I do not remember my password", 0),
    ("my mouse does not move any more", 1),
];

/// A task that a test changes step by step.
pub(crate) struct Growing {
    pub(crate) dir: TestDir,
    pub(crate) classes: Vec<(&'static str, &'static str)>,
    pub(crate) toml: String,
    pub(crate) seeds: Vec<(&'static str, usize)>,
    pub(crate) test: Vec<(&'static str, usize)>,
}

impl Growing {
    pub(crate) fn new(classes: &[(&'static str, &'static str)]) -> Self {
        let seeds = SEEDS.into_iter().filter(|(_, class)| *class < classes.len()).collect();
        let (classes, test) = (classes.to_vec(), TEST.to_vec());
        Self { dir: TestDir::new(), classes, toml: String::new(), seeds, test }
    }

    pub(crate) fn write(&self) {
        let mut toml = format!("item = \"ticket\"\n{}\n", self.toml);
        for (name, description) in &self.classes {
            toml += &format!("[[class]]\nname = {name:?}\ndescription = {description:?}\n");
        }
        toml += "[teacher]\nmodel = \"pocket\"\n[student]\nmodel = \"pocket\"\n";
        toml += "[data]\nseeds = \"seeds.jsonl\"\ntest = \"test.jsonl\"\n";
        self.dir.write("task/task.toml", toml);
        let lines = |rows: &[(&str, usize)]| {
            let line = |(text, class): &(&str, usize)| {
                let label = self.classes[*class].0;
                format!("{}\n", serde_json::json!({"text": text, "label": label}))
            };
            rows.iter().map(line).collect::<String>()
        };
        self.dir.write("task/seeds.jsonl", lines(&self.seeds));
        self.dir.write("task/test.jsonl", lines(&self.test));
    }

    /// Runs the task as it is now; returns what was said and the ledger's new entries.
    pub(crate) fn run(&self) -> (String, Vec<Value>) {
        self.command(&["run", "task", "--out", "out", "--deterministic"], &TINY)
    }

    pub(crate) fn command(&self, command: &[&str], flags: &[&str]) -> (String, Vec<Value>) {
        self.write();
        let before = self.ledger().len();
        let output = self.dir.run(&[command, flags].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        (said, self.ledger().split_off(before))
    }

    pub(crate) fn ledger(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path("out/ledger.jsonl")).unwrap_or_default();
        json_lines(&text)
    }

    /// What `plan out` says is left to do.
    pub(crate) fn plan(&self) -> Value {
        self.write();
        let before = self.files();
        let plan = self.dir.ok(&["plan", "out", "--json"]);
        assert!(before == self.files(), "a plan changes nothing");
        serde_json::from_str::<Value>(&plan).unwrap()["resume"].clone()
    }

    /// The files of the run, without those that hold times or the number of a process.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.dir.path("out")).unwrap();
        let mut files: Vec<(String, Vec<u8>)> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
            .filter(|(name, _)| !["report.", "run.lock"].iter().any(|part| name.contains(part)))
            .collect();
        files.sort();
        files
    }

    pub(crate) fn rows(&self, file: &str) -> Vec<Value> {
        rows(&self.dir.path("out").join(file))
    }

    pub(crate) fn texts(&self) -> HashSet<String> {
        self.rows("augmented.jsonl").iter().map(|row| string(&row["text"])).collect()
    }

    pub(crate) fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.dir.path("out").join(file)).unwrap()
    }
}

pub(crate) fn string(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// The number of entries of `kind`; scores of the stage `stage` if one is given.
pub(crate) fn number(entries: &[Value], kind: &str, stage: &str) -> usize {
    let wanted =
        |entry: &&Value| entry["kind"] == kind && (stage.is_empty() || entry["stage"] == stage);
    entries.iter().filter(wanted).count()
}

/// Calls for texts, labels of texts, labels of the test set.
pub(crate) fn calls(entries: &[Value]) -> (usize, usize, usize) {
    let scores = |stage| number(entries, "scores", stage);
    (number(entries, "reply", ""), scores("relabel"), scores("test"))
}

/// The same numbers as a plan has them.
fn planned(plan: &Value) -> (usize, usize, usize) {
    let number = |key: &str| plan[key].as_u64().unwrap() as usize;
    (number("generate_calls"), number("labels"), number("test_labels"))
}

/// Whether `row` was made from class `name`.
fn is_of(row: &Value, name: &str) -> bool {
    row["major"] == name || row["minor"] == name
}

#[test]
fn a_mended_test_set_makes_only_the_evaluation_anew() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    let stages =
        ["augmented.jsonl", "relabelled.jsonl", "train.jsonl", "student/model.safetensors"];
    let before = stages.map(|file| task.bytes(file));

    task.test[1] = ("the printer jams all the time", 1);
    task.test.push(("which password do I use here", 0));
    let plan = task.plan();
    assert_eq!(plan["change"][0], "task changed: 2 test texts added, 1 removed");
    assert_eq!(planned(&plan), (0, 0, 2));
    let (said, new) = task.run();
    assert!(said.contains("task changed: 2 test texts added, 1 removed"), "{said}");
    assert!(said.contains("kept: all texts and labels, and the student; redone: "), "{said}");
    assert_eq!(calls(&new), (0, 0, 2));
    assert_eq!(stages.map(|file| task.bytes(file)), before);
    assert_eq!(json(&task.dir.path("out/report.json"))["task"]["test_rows"], 5);
    // The student that is kept was not trained again: it only predicts, as a fresh run's does.
    let fresh = ["run", "task", "--out", "fresh", "--deterministic"];
    task.dir.ok(&[&fresh[..], &TINY].concat());
    assert_eq!(
        task.bytes("predictions.json"),
        fs::read(task.dir.path("fresh/predictions.json")).unwrap()
    );

    // Another label for a test text needs no model at all, another column name nothing.
    task.test[0].1 = 1;
    let (_, new) = task.run();
    assert_eq!((calls(&new), number(&new, "student", "")), ((0, 0, 0), 0));
    let toml = fs::read_to_string(task.dir.path("task/task.toml")).unwrap();
    task.dir.write("task/task.toml", toml + "text_column = \"text\"\n");
    let again = [&["run", "task", "--out", "out", "--deterministic"], &TINY[..]].concat();
    let output = task.dir.run(&again);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("task changed"), "{said}");
    task.dir.ok(&["audit", "out"]);
}

#[test]
fn a_new_class_leaves_the_texts_of_the_others() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    let before = task.rows("augmented.jsonl");
    task.classes.push(VPN);
    task.seeds = SEEDS.to_vec();
    let plan = task.plan();
    assert_eq!(plan["change"][0], "task changed: class `vpn_access` added, 2 examples added");
    let (said, new) = task.run();
    let wanted = "kept: 8 texts of 2 classes; redone: all labels; new: 4 texts of `vpn_access`";
    assert!(said.contains(wanted) && plan["change"][1] == wanted, "{said}");
    assert!(said.contains("generate  started, 2 to do") && !said.contains("started, 0"), "{said}");

    // Two calls of three texts; every text and test text is asked about once more.
    assert_eq!(planned(&plan), (2, 12, 4));
    assert_eq!(calls(&new), (2, 12, 4));
    let after = task.rows("augmented.jsonl");
    assert_eq!(after[..8], before, "the old rows are as they were, ids included");
    assert_eq!(after.len(), 12);
    let ids: HashSet<u64> = after.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), 12);
    // Once more: nothing is asked, nothing changes.
    let files = task.files();
    let (said, new) = task.run();
    assert!(new.is_empty() && !said.contains("task changed"), "{said}");
    assert!(said.contains("generate  started, 0 to do"), "{said}");
    assert!(files == task.files(), "a file differs");
    assert_eq!(planned(&task.plan()), (0, 0, 0));
    task.dir.ok(&["audit", "out"]);
}

#[test]
fn texts_of_a_removed_class_are_set_aside_and_come_back_with_it() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE, VPN]);
    task.run();
    let before = task.rows("augmented.jsonl");
    let gone: Vec<Value> = before.iter().filter(|row| is_of(row, "vpn_access")).cloned().collect();
    assert!(gone.len() >= 4 && gone.len() < 12);

    task.classes.pop();
    task.seeds.truncate(4);
    let (said, new) = task.run();
    assert!(
        said.contains("task changed: class `vpn_access` removed, 2 examples removed"),
        "{said}"
    );
    assert!(said.contains(&format!("kept: {} texts of", 12 - gone.len())), "{said}");
    assert!(said.contains(&format!("set aside: {} texts of", gone.len())), "{said}");
    let aside = task.rows("set-aside.jsonl");
    let bare =
        |rows: &[Value]| -> Vec<String> { rows.iter().map(|row| string(&row["text"])).collect() };
    assert_eq!(bare(&aside), bare(&gone));
    assert!(aside.iter().all(|row| row["descriptions"]["vpn_access"] == VPN.1));
    let after = task.rows("augmented.jsonl");
    assert!(after.len() == 8 && !after.iter().any(|row| is_of(row, "vpn_access")), "{after:?}");
    let missing = 8 - (12 - gone.len());
    assert!(calls(&new).0 >= missing.div_ceil(3) && calls(&new).1 == 8, "{:?}", calls(&new));
    let config = json(&task.dir.path("out/student/config.json"));
    assert_eq!(config["id2label"].as_object().unwrap().len(), 2);

    // It comes back: nothing is written, its texts are taken up, the file keeps them.
    task.classes.push(VPN);
    task.seeds = SEEDS.to_vec();
    let plan = task.plan();
    let (said, new) = task.run();
    assert!(said.contains("restored: ") && said.contains(" of `vpn_access`"), "{said}");
    assert_eq!(planned(&plan).0, calls(&new).0);
    assert_eq!(calls(&new).0, 0, "{said}");
    let again = task.rows("augmented.jsonl");
    let of_vpn = |rows: &[Value]| -> HashSet<String> {
        let rows = rows.iter().filter(|row| row["major"] == "vpn_access");
        rows.map(|row| string(&row["text"])).collect()
    };
    assert_eq!(of_vpn(&again), of_vpn(&before));
    assert_eq!(task.rows("set-aside.jsonl"), aside);
    task.dir.ok(&["audit", "out"]);
}

#[test]
fn a_renamed_class_keeps_its_texts_under_the_new_name() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    let texts = task.texts();
    task.classes[1].0 = "broken_device";
    let (said, new) = task.run();
    assert!(said.contains("class `hardware_fault` renamed to `broken_device`\n"), "{said}");
    assert!(said.contains("kept: 8 texts of 2 classes; redone: all labels\n"), "{said}");
    assert_eq!(calls(&new), (0, 8, 4));
    assert_eq!(task.texts(), texts);
    let after = task.rows("augmented.jsonl");
    assert!(!after.iter().any(|row| is_of(row, "hardware_fault")));
    assert!(after.iter().any(|row| is_of(row, "broken_device")));
    let labels = json(&task.dir.path("out/student/config.json"))["id2label"].to_string();
    assert!(labels.contains("broken_device"), "{labels}");

    // Neither description nor examples tell: the task says it itself.
    task.classes[1] = ("device", "anything with a plug");
    task.seeds = vec![SEEDS[0], SEEDS[1], ("smoke comes out of the monitor", 1), ("no sound", 1)];
    let (said, _) = task.run();
    assert!(said.contains("class `device` added, class `broken_device` removed"), "{said}");
    assert!(!task.rows("set-aside.jsonl").is_empty());
}

#[test]
fn a_class_that_is_described_anew_gets_new_texts() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE, VPN]);
    task.run();
    let before = task.rows("augmented.jsonl");
    let valid: HashSet<String> = before
        .iter()
        .filter(|row| !is_of(row, "vpn_access"))
        .map(|row| string(&row["text"]))
        .collect();
    task.classes[2].1 = "remote access of any kind";
    let (said, _) = task.run();
    assert!(said.contains("task changed: description of `vpn_access` changed\n"), "{said}");
    let kept =
        format!("kept: {} texts of 2 classes; redone: {} texts of", valid.len(), 12 - valid.len());
    assert!(said.contains(&kept) && said.contains(", all labels; set aside: "), "{said}");
    assert!(valid.is_subset(&task.texts()));
    assert_eq!(task.rows("set-aside.jsonl").len(), 12 - valid.len());
}

#[test]
fn more_examples_keep_the_texts_and_ask_only_where_they_are_shown() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    let texts = task.texts();
    task.seeds.extend([("my account says wrong password", 0), ("the battery does not charge", 1)]);
    let plan = task.plan();
    let (said, new) = task.run();
    assert!(said.contains("task changed: 2 examples added, shots 3 instead of 2\n"), "{said}");
    assert_eq!((calls(&new), planned(&plan)), ((0, 8, 4), (0, 8, 4)));
    assert_eq!(task.texts(), texts);

    // With `shots = 3`, whatever is not drawn changes no prompt.
    task.toml = "shots = 3".to_owned();
    let (_, new) = task.run();
    assert_eq!(calls(&new), (0, 0, 0));
    let mut unseen = 0;
    for more in ["no login since this morning", "reset link is gone", "pin blocked", "locked out"] {
        task.seeds.push((more, 0));
        let (said, new) = task.run();
        assert!(said.contains("task changed: 1 example added"), "{said}");
        assert_eq!(calls(&new).0, 0);
        assert_eq!(task.texts(), texts);
        unseen += usize::from(calls(&new).1 == 0);
    }
    assert!(unseen > 0, "one of four more examples is not drawn");
}

#[test]
fn a_run_killed_while_it_takes_up_a_change_ends_like_an_undisturbed_one() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    let copy = |from: &str, to: &str| {
        for path in fs::read_dir(task.dir.path(from)).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_file() {
                fs::create_dir_all(task.dir.path(to)).unwrap();
                fs::copy(&path, task.dir.path(to).join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    copy("out", "killed");
    for file in ["task.json", "augmented.jsonl", "settings.toml"] {
        task.dir.write(&format!("former/{file}"), task.bytes(file));
    }
    task.classes.push(VPN);
    task.seeds = SEEDS.to_vec();
    task.run();

    let command = ["run", "task", "--out", "killed", "--deterministic"];
    let command = [&command[..], &TINY].concat();
    let ledger = task.dir.path("killed/ledger.jsonl");
    task.dir.killed_after(&command, &ledger, "task_changed", 1);
    // As if it had been killed before the files followed the entry: the ledger ends behind it.
    let text = fs::read_to_string(&ledger).unwrap();
    let changed = text.lines().position(|line| line.contains("\"kind\":\"task_changed\"")).unwrap();
    let lines: Vec<&str> = text.lines().take(changed + 2).collect();
    task.dir.write("killed/ledger.jsonl", lines.join("\n") + "\n");
    task.dir.write("killed/ledger.head", FIRST_HEAD);
    // It may have been killed just there.
    let next = task.dir.path("killed/task.json.next");
    if !next.exists() {
        fs::rename(task.dir.path("killed/task.json"), next).unwrap();
    }
    copy("former", "killed");
    // A stage without a task finishes the change first, and then sees that texts are missing.
    let errors = task.dir.fails(&["relabel", "killed"]);
    assert!(errors.contains("run the stage `generate` first"), "{errors}");
    assert!(!task.dir.path("killed/task.json.next").exists());
    assert_eq!(json(&task.dir.path("killed/task.json"))["classes"].as_array().unwrap().len(), 3);
    task.dir.ok(&command);
    assert_eq!(count(&ledger, "task_changed"), 1);
    for file in ["augmented.jsonl", "relabelled.jsonl", "train.jsonl", "predictions.json"] {
        let killed = fs::read(task.dir.path("killed").join(file)).unwrap();
        assert_eq!(task.bytes(file), killed, "{file}");
    }
    task.dir.ok(&["audit", "killed"]);
}
